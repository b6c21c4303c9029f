//! Replays a partition's log into a state of its own, and hears what follows from each row.
//!
//! Same log, same state, same effects, to the byte: that is what verification and back-tests rest
//! on. A replay starts from the first row, or from the base that stands in for the rows that were
//! pruned; it reads the store and writes nothing.
//!
//! Not here: recovering a partition that goes on living (`partition::recovery`), what is compared
//! (`verify`), which rule is tried out (`backtest`).

use plimsoll_core::{
    archive::Archive,
    codec::{CORE_VERSION, Corrupt},
    command::{Command, ControlCommand, RowKind},
    effect::Effect,
    ids::EnvironmentId,
    state::{RowStamp, SliceOf, State, UsageEvent},
};
use plimsoll_store::{
    ReadError, Store,
    base::{self, Base},
    checkpoint::CheckpointRow,
    log,
    log::LogRow,
    meta,
};

use crate::{
    engine::META_PARTITIONS,
    partition::{HEAD, readings::Readings, usage_row},
};

pub mod backtest;
pub mod verify;

mod archive;
mod compare;
mod expected;

/// Bytes of the log that one read of the store brings at the most.
const PAGE_BYTES: usize = 16 * 1024 * 1024;

/// Why a replay cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The store cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// What is stored cannot be understood.
    #[error("partition {partition}, {place}: {source}")]
    Corrupt {
        /// Which partition.
        partition: u32,
        /// Where.
        place: String,
        /// What is wrong.
        source: Corrupt,
    },
    /// A newer program wrote it.
    #[error("partition {partition} was written by core version {found}, newer than this program")]
    Newer {
        /// Which partition.
        partition: u32,
        /// The version that was found.
        found: u32,
    },
    /// The rows that come next were pruned while they were about to be read.
    #[error("the log was pruned meanwhile; try again")]
    Pruned,
    /// The store was never used.
    #[error("the store is new: there is nothing to replay")]
    New,
}

/// One partition's log being applied, row after row.
#[derive(Debug)]
pub(crate) struct Replay<A> {
    partition: u32,
    pub(crate) state: State,
    pub(crate) archive: A,
    /// The last row that was applied.
    pub(crate) position: u64,
    readings: Readings,
    /// What was put in before the log's own changes of the catalogue: theirs come later by so many.
    injected: u64,
    /// Usage of other environments is passed over.
    only: Option<EnvironmentId>,
}

/// What a row was.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Applied {
    /// Usage events in it.
    pub(crate) events: u64,
    /// Whose row it was; nothing for a change of the catalogue.
    pub(crate) environment: Option<EnvironmentId>,
}

/// How many partitions the store was made with.
pub(crate) async fn partition_count(store: &dyn Store) -> Result<u32, ReplayError> {
    let text = meta::get(store, META_PARTITIONS).await?;
    text.and_then(|it| it.parse().ok()).ok_or(ReplayError::New)
}

impl<A: Archive> Replay<A> {
    /// After the row at `position`, which left this state.
    pub(crate) fn from(partition: u32, state: State, position: u64, archive: A) -> Self {
        let readings = Readings::default();
        Self { partition, state, archive, position, readings, injected: 0, only: None }
    }

    /// Passes over usage of other environments: nothing of this one depends on it.
    pub(crate) fn only_usage_of(&mut self, environment: EnvironmentId) {
        self.only = Some(environment);
    }

    /// Changes the catalogue as if that had happened before the next row.
    pub(crate) fn inject(&mut self, command: ControlCommand, effects: &mut Vec<Effect>) {
        self.injected += 1;
        let seq = self.state.catalog().seq() + 1;
        self.readings.forget();
        let command = Command::Control { seq, command };
        self.state.apply(self.position, &command, &mut self.archive, effects);
    }

    /// The rows that come next; none at the end of the log.
    pub(crate) async fn next_rows(&self, store: &dyn Store) -> Result<Vec<LogRow>, ReplayError> {
        let rows = log::read(store, self.partition, self.position as i64, PAGE_BYTES).await?;
        if rows.first().is_some_and(|it| it.position as u64 > self.position + 1) {
            return Err(ReplayError::Pruned);
        }
        Ok(rows)
    }

    /// Applies the next row.
    pub(crate) fn apply(
        &mut self,
        row: &LogRow,
        effects: &mut Vec<Effect>,
    ) -> Result<Applied, ReplayError> {
        check_version(self.partition, row.core_version)?;
        self.apply_row(row, effects).map_err(|source| {
            let place = format!("log position {}", row.position);
            ReplayError::Corrupt { partition: self.partition, place, source }
        })
    }

    fn apply_row(&mut self, row: &LogRow, effects: &mut Vec<Effect>) -> Result<Applied, Corrupt> {
        let position = row.position as u64;
        if position != self.position + 1 {
            return Err(Corrupt { expected: "the next position of the log" });
        }
        let mut applied = Applied::default();
        match RowKind::from_code(i64::from(row.kind))? {
            RowKind::Usage => applied = self.apply_usage(position, row, effects)?,
            kind @ (RowKind::Control | RowKind::Customer | RowKind::Slice | RowKind::Pulse) => {
                let mut command = Command::decode(kind, &row.payload)?;
                applied.environment = environment_of(&command);
                if let Command::Control { seq, .. } = &mut command {
                    *seq += self.injected;
                    self.readings.forget();
                }
                self.state.apply(position, &command, &mut self.archive, effects);
            }
        }
        self.position = position;
        Ok(applied)
    }

    fn apply_usage(
        &mut self,
        position: u64,
        row: &LogRow,
        effects: &mut Vec<Effect>,
    ) -> Result<Applied, Corrupt> {
        let usage = usage_row::decode(&row.payload)?;
        let (environment, stamped_at) = (usage.environment, usage.stamped_at);
        if self.only.is_some_and(|it| it != environment) {
            return Ok(Applied { events: 0, environment: Some(environment) });
        }
        let stamp = RowStamp { position, environment, stamped_at };
        self.state.begin_usage(stamp);
        for (index, stored) in usage.events.iter().enumerate() {
            let event = stored.event()?;
            let (customer, time) = (stored.customer, stored.time);
            let (event_type, data) = (event.event_type_raw, event.data);
            let readings = self.readings.of(&self.state, environment, time, event_type, data);
            let usage = UsageEvent { customer, time, index: index as u32, readings };
            self.state.apply_usage(stamp, usage, &mut self.archive, effects);
        }
        Ok(Applied { events: usage.events.len() as u64, environment: Some(environment) })
    }
}

fn environment_of(command: &Command) -> Option<EnvironmentId> {
    match command {
        Command::Control { .. } => None,
        Command::Customer { environment, .. }
        | Command::Slice { environment, .. }
        | Command::Pulse { environment, .. } => Some(*environment),
    }
}

/// The state that these rows of a checkpoint hold, and the position of its head; nothing without a
/// head.
pub(crate) fn restore(
    partition: u32,
    rows: &[CheckpointRow],
) -> Result<Option<(State, u64)>, ReplayError> {
    for row in rows {
        check_version(partition, row.core_version)?;
    }
    let Some(head) = rows.iter().find(|it| it.slice == HEAD) else { return Ok(None) };
    let slices = rows.iter().filter(|it| it.slice != HEAD).map(|it| SliceOf {
        slice: it.slice as usize - 1,
        position: it.position as u64,
        version: i64::from(it.core_version),
        bytes: &it.payload,
    });
    let slices: Vec<_> = slices.collect();
    let version = i64::from(head.core_version);
    let state = State::restore(&head.payload, version, &slices).map_err(|source| {
        ReplayError::Corrupt { partition, place: "its checkpoint".to_owned(), source }
    })?;
    Ok(Some((state, head.position as u64)))
}

fn check_version(partition: u32, found: u32) -> Result<(), ReplayError> {
    if i64::from(found) > CORE_VERSION {
        return Err(ReplayError::Newer { partition, found });
    }
    Ok(())
}

/// Where the log of a partition begins to be complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Start {
    /// The position of the base; zero if the log has its first row.
    pub(crate) position: u64,
    /// The base, if rows were pruned.
    pub(crate) base: Option<Base>,
}

/// The state with which a replay of a partition begins, and where that is.
pub(crate) async fn begin(
    store: &dyn Store,
    partition: u32,
) -> Result<(State, Start), ReplayError> {
    begin_with(store, partition, base::newest(store, partition).await?).await
}

/// The state after the rows that a base stands in for; without a base, before the first row.
pub(crate) async fn begin_with(
    store: &dyn Store,
    partition: u32,
    base: Option<Base>,
) -> Result<(State, Start), ReplayError> {
    let Some(base) = base else { return Ok((State::new(), Start { position: 0, base: None })) };
    let mut rows: Vec<CheckpointRow> = Vec::new();
    loop {
        let after = rows.last().map(|it| it.slice);
        let page = base::read(store, partition, base.position, after, PAGE_BYTES).await?;
        if page.is_empty() {
            break;
        }
        rows.extend(page);
    }
    let (mut state, position) = restore(partition, &rows)?.ok_or(ReplayError::Pruned)?;
    // Every slice of a base is good for the position of its head.
    state.finish_replay();
    Ok((state, Start { position, base: Some(base) }))
}
