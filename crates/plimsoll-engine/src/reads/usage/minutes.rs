//! Minutes: no cells are that short, so events are counted again from the log.
//!
//! Only recent ones: an event's effective time is never after its row's stamp, so minutes from a
//! moment on stand in rows stamped from that moment on. A late event counts in the minute of its
//! effective time. A meter counts what was accepted after it was made; its making is a row too.
//!
//! What only the counting of hours could refuse, such as one group-by value too many, is counted
//! here.
//!
//! Not here: how far back is allowed (`ops::usage`), cells.

use std::{collections::BTreeSet, sync::Arc};

use plimsoll_core::{
    command::{Command, ControlCommand, RowKind},
    ids::{CustomerId, MeterId},
    limits,
};
use plimsoll_store::log::{
    LogRow,
    since::{self, Since},
};

use super::{UsageError, UsageQuery, UsageReader, sums::Sums};
use crate::partition::{
    readings::Data,
    usage_row::{self, unquoted},
};

/// Bytes of rows that one read brings.
const PAGE_BYTES: usize = 1024 * 1024;

impl UsageReader {
    /// The rows of a query of minutes.
    pub(super) async fn minutes<'a>(&self, query: &'a UsageQuery) -> Result<Sums<'a>, UsageError> {
        let mut sums = Sums::new(query);
        let mut left = limits::USAGE_LOG_BYTES;
        for partition in self.partitions_of(query.customers.as_ref()) {
            sums.absorb(self.partition_minutes(query, partition, &mut left).await?)?;
        }
        Ok(sums)
    }

    fn partitions_of(&self, customers: Option<&BTreeSet<CustomerId>>) -> BTreeSet<usize> {
        match customers {
            Some(customers) => customers.iter().map(|it| self.open.partition_of(*it)).collect(),
            None => (0..self.open.partitions()).collect(),
        }
    }

    async fn partition_minutes<'a>(
        &self,
        query: &'a UsageQuery,
        partition: usize,
        left: &mut usize,
    ) -> Result<Sums<'a>, UsageError> {
        let since = Since {
            partition: u32::try_from(partition).unwrap_or(u32::MAX),
            always: RowKind::Control.code() as u32,
            kind: RowKind::Usage.code() as u32,
            stamped_at: query.range.from,
        };
        let mut sums = Sums::new(query);
        let Some(first) = since::first(&*self.store, &since).await? else { return Ok(sums) };
        let mut after = first - 1;
        loop {
            let rows = since::read(&*self.store, &since, after, PAGE_BYTES).await?;
            let Some(last) = rows.last() else { return Ok(sums) };
            after = last.position;
            for row in &rows {
                *left = left
                    .checked_sub(row.payload.len())
                    .ok_or(UsageError::TooLarge("too much was accepted since the range began"))?;
                add_row(query, row, &mut sums)?;
            }
            // Decoding is work; others have some too.
            tokio::task::yield_now().await;
        }
    }
}

fn add_row(query: &UsageQuery, row: &LogRow, sums: &mut Sums<'_>) -> Result<(), UsageError> {
    match RowKind::from_code(i64::from(row.kind))? {
        RowKind::Control => {
            if makes_meter(row, query.meter.id)? {
                // What came before was accepted before the meter was made.
                sums.clear();
            }
            Ok(())
        }
        RowKind::Usage => add_usage(query, row, sums),
        RowKind::Customer | RowKind::Slice | RowKind::Pulse => Ok(()),
    }
}

fn makes_meter(row: &LogRow, meter: MeterId) -> Result<bool, UsageError> {
    let command = Command::decode(RowKind::Control, &row.payload)?;
    let made = match &command {
        Command::Control { command: ControlCommand::PutMeter(made), .. } => Some(made.id),
        _ => None,
    };
    Ok(made == Some(meter))
}

fn add_usage(query: &UsageQuery, row: &LogRow, sums: &mut Sums<'_>) -> Result<(), UsageError> {
    let usage = usage_row::decode(&row.payload)?;
    if usage.environment != query.meter.environment {
        return Ok(());
    }
    let mut text = String::new();
    for stored in &usage.events {
        let named = query.customers.as_ref().is_none_or(|it| it.contains(&stored.customer));
        if !named || !query.range.contains(stored.time) {
            continue;
        }
        let event = stored.event()?;
        if unquoted(event.event_type_raw) != *query.meter.event_type {
            continue;
        }
        let mut data = Data { data: event.data, text: &mut text };
        let Some(reading) = Arc::clone(&query.meter).read(stored.time, &mut data) else {
            continue;
        };
        if let Ok(amount) = reading.amount {
            sums.add_event(stored.customer, stored.time, amount, &reading.groups)?;
        }
    }
    Ok(())
}
