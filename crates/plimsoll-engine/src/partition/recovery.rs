//! Rebuilds a partition's memory from its checkpoint and the log after it.

use plimsoll_core::{
    codec::{CORE_VERSION, Corrupt},
    command::ControlCommand,
    state::{SliceOf, State},
    time::Timestamp,
};
use plimsoll_store::{CommitError, ReadError, Store, checkpoint, control, log};

use super::{
    checkpoint::{Checkpointer, HEAD},
    dedupe::{Dedupe, LoadError, LookupError},
    memory::Memory,
};
use crate::ingest::Identify;

/// Bytes that one read of the store brings at the most.
const PAGE_BYTES: usize = 16 * 1024 * 1024;
/// Changes of the catalogue that one read of the store brings.
const PAGE_CHANGES: u32 = 1_000;

/// Why a partition could not be rebuilt.
#[derive(Debug, thiserror::Error)]
pub(super) enum RecoveryError {
    /// The store cannot be read now.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The store cannot be written now.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// What is stored cannot be understood. Waiting does not help.
    #[error("partition {partition}, {place}: {source}")]
    Corrupt {
        /// Which partition.
        partition: u32,
        /// Where.
        place: String,
        /// What is wrong.
        source: Corrupt,
    },
    /// A newer program wrote it. Waiting does not help.
    #[error("partition {partition} was written by core version {found}, newer than this program")]
    Newer {
        /// Which partition.
        partition: u32,
        /// The version that was found.
        found: u32,
    },
}

/// A partition as it was, ready to go on.
#[derive(Debug)]
pub(super) struct Recovered {
    pub(super) memory: Memory,
    pub(super) checkpointer: Checkpointer,
    /// Changes of the catalogue that its log does not have yet, in order.
    pub(super) missing_control: Vec<(u64, ControlCommand)>,
}

/// Reads checkpoint, identities and log of one partition.
pub(super) async fn recover(
    store: &dyn Store,
    partition: u32,
    identify: &Identify,
    dedupe_bytes: usize,
    now: Timestamp,
) -> Result<Recovered, RecoveryError> {
    let (state, head_position) = load_state(store, partition).await?;
    let identities = Dedupe::load(store, partition, dedupe_bytes, now)
        .await
        .map_err(|error| dedupe_error(partition, error))?;
    let sealed_position = identities.sealed_through().max(head_position);
    let mut memory = Memory::new(partition, state, identities, head_position);
    let mut replayed = 0;
    loop {
        let rows = log::read(store, partition, memory.position as i64, PAGE_BYTES).await?;
        if rows.is_empty() {
            break;
        }
        for row in rows {
            check_version(partition, row.core_version)?;
            memory.dedupe.make_room_for_row(store, memory.position).await?;
            replayed += memory.replay(&row, identify, sealed_position).map_err(|source| {
                let place = format!("log position {}", row.position);
                RecoveryError::Corrupt { partition, place, source }
            })?;
        }
    }
    memory.state.finish_replay();
    let missing_control = load_control(store, partition, memory.state.catalog().seq()).await?;
    let checkpointer = Checkpointer::new(head_position, replayed);
    Ok(Recovered { memory, checkpointer, missing_control })
}

async fn load_state(store: &dyn Store, partition: u32) -> Result<(State, u64), RecoveryError> {
    let mut head = None;
    let mut slices = Vec::new();
    let mut after = None;
    loop {
        let page = checkpoint::read(store, partition, after, PAGE_BYTES).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.slice);
        for row in page {
            check_version(partition, row.core_version)?;
            if row.slice == HEAD {
                head = Some(row);
            } else {
                slices.push(row);
            }
        }
    }
    // Slices without a head are of a first round that did not end: the log has it all.
    let Some(head) = head else { return Ok((State::new(), 0)) };
    let borrowed: Vec<SliceOf<'_>> = slices
        .iter()
        .map(|it| SliceOf {
            slice: it.slice as usize - 1,
            position: it.position as u64,
            version: i64::from(it.core_version),
            bytes: &it.payload,
        })
        .collect();
    let version = i64::from(head.core_version);
    let state = State::restore(&head.payload, version, &borrowed).map_err(|source| {
        RecoveryError::Corrupt { partition, place: "its checkpoint".to_owned(), source }
    })?;
    Ok((state, head.position as u64))
}

fn dedupe_error(partition: u32, error: LoadError) -> RecoveryError {
    match error {
        LoadError::Lookup(LookupError::Read(error)) => error.into(),
        LoadError::Commit(error) => error.into(),
        LoadError::Lookup(LookupError::Corrupt(source)) => {
            RecoveryError::Corrupt { partition, place: "its sealed identities".to_owned(), source }
        }
    }
}

async fn load_control(
    store: &dyn Store,
    partition: u32,
    mut seq: u64,
) -> Result<Vec<(u64, ControlCommand)>, RecoveryError> {
    let mut missing = Vec::new();
    loop {
        let rows = control::since(store, seq as i64, PAGE_CHANGES).await?;
        let Some(last) = rows.last() else { return Ok(missing) };
        seq = last.seq as u64;
        for row in rows {
            let command = ControlCommand::decode(&row.command).map_err(|source| {
                let place = format!("control sequence {}", row.seq);
                RecoveryError::Corrupt { partition, place, source }
            })?;
            missing.push((row.seq as u64, command));
        }
    }
}

fn check_version(partition: u32, found: u32) -> Result<(), RecoveryError> {
    if i64::from(found) > CORE_VERSION {
        return Err(RecoveryError::Newer { partition, found });
    }
    Ok(())
}
