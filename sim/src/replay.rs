//! Replays the whole log of a partition through the core, into a state that knows nothing yet, and
//! compares its bytes with the checkpoint of a clean stop.
//!
//! The live state came there in another way: in other batches, over crashes, from checkpoints. The
//! same log must give the same bytes.
//!
//! Not here: what the bytes mean (`plimsoll-core`).

use plimsoll_core::{
    catalog::meter::{FoundValue, Meter, Reading, ValuePath},
    command::{Command, RowKind},
    ids::MeterId,
    state::{RowStamp, State, UsageEvent},
};
use plimsoll_engine::partition::usage_row;
use plimsoll_store::{
    MemoryStore, checkpoint,
    log::{self, LogRow},
};
use serde_json::Value;

use crate::check::{Findings, at_once};

/// Bytes that one read brings at the most.
const PAGE_BYTES: usize = 16 << 20;

/// What differs between the checkpoint of a partition and its log replayed.
pub fn compare(database: &MemoryStore, partition: u32) -> Findings {
    let mut findings = Findings::new();
    if let Err(finding) = compare_one(database, partition, &mut findings) {
        findings.push(finding);
    }
    findings.into_iter().map(|it| format!("replay of partition {partition}: {it}")).collect()
}

fn compare_one(
    database: &MemoryStore,
    partition: u32,
    findings: &mut Findings,
) -> Result<(), String> {
    let (state, position) = replay(database, partition)?;
    let rows = at_once(checkpoint::read(database, partition, None, PAGE_BYTES));
    let rows = rows.map_err(|it| it.to_string())?;
    if rows.is_empty() && position == 0 {
        return Ok(());
    }
    if rows.len() != state.slice_count() + 1 {
        findings.push(format!("{} rows of {} slices", rows.len(), state.slice_count()));
    }
    for row in rows {
        let expected = match row.slice.checked_sub(1) {
            None => state.encode_head(),
            Some(slice) => state.encode_slice(slice as usize),
        };
        if row.position != position {
            findings.push(format!("slice {} is of {}, not {position}", row.slice, row.position));
        } else if row.payload != expected {
            findings.push(format!("slice {} has other bytes than its log gives", row.slice));
        }
    }
    Ok(())
}

fn replay(database: &MemoryStore, partition: u32) -> Result<(State, i64), String> {
    let (mut state, mut position) = (State::new(), 0);
    loop {
        let rows = at_once(log::read(database, partition, position, PAGE_BYTES));
        let rows = rows.map_err(|it| it.to_string())?;
        let Some(last) = rows.last() else { return Ok((state, position)) };
        position = last.position;
        for row in &rows {
            apply(&mut state, row)?;
        }
    }
}

fn apply(state: &mut State, row: &LogRow) -> Result<(), String> {
    let mut effects = Vec::new();
    let position = row.position as u64;
    let kind = RowKind::from_code(i64::from(row.kind)).map_err(|it| it.to_string())?;
    if kind != RowKind::Usage {
        let command = Command::decode(kind, &row.payload).map_err(|it| it.to_string())?;
        state.apply(position, &command, &mut effects);
        return Ok(());
    }
    let usage = usage_row::decode(&row.payload).map_err(|it| it.to_string())?;
    let (environment, stamped_at) = (usage.environment, usage.stamped_at);
    let stamp = RowStamp { position, environment, stamped_at };
    state.begin_usage(stamp);
    for (index, event) in usage.events.iter().enumerate() {
        let json: Value = serde_json::from_str(&event.raw).map_err(|it| it.to_string())?;
        let event_type = json["type"].as_str().unwrap_or_default();
        let meters = state.catalog().meters_of(environment, event_type);
        let readings: Vec<(MeterId, Reading)> =
            meters.iter().map(|it| (it.id, reading(it, &json["data"]))).collect();
        let (customer, time) = (event.customer, event.time);
        let usage = UsageEvent { customer, time, index: index as u32, readings: &readings };
        state.apply_usage(stamp, usage, &mut effects);
    }
    Ok(())
}

fn reading(meter: &Meter, data: &Value) -> Reading {
    let members = meter.value_path().map(ValuePath::members).unwrap_or_default();
    let found = members.iter().try_fold(data, |value, name| value.get(&**name));
    match found {
        None => meter.reading(FoundValue::Missing),
        Some(Value::Number(number)) => meter.reading(FoundValue::Number(&number.to_string())),
        Some(Value::String(text)) => meter.reading(FoundValue::Text(text)),
        Some(_) => meter.reading(FoundValue::Other),
    }
}
