//! After a clean stop: replays the whole log of every partition through the core, into states that
//! know nothing yet, and compares everything that is stored with what comes of it.
//!
//! The live state came there in another way: in other batches, over crashes, from checkpoints. The
//! same log must give the same bytes: checkpoints, closed windows, cells, segments, notifications.
//!
//! Not here: what is compared (`plimsoll_engine::replay::verify`).

use plimsoll_engine::replay::verify;
use plimsoll_store::{MemoryStore, checkpoint, log};

use crate::check::{Findings, at_once};

/// Bytes that one read brings at the most.
const PAGE_BYTES: usize = 16 << 20;

/// What differs between the store and its log replayed.
pub fn compare(database: &MemoryStore, partitions: u32) -> Findings {
    let mut findings = Findings::new();
    match at_once(verify::verify(database, None)) {
        Ok(verified) => findings.extend(verified.differences.iter().map(ToString::to_string)),
        Err(error) => findings.push(format!("the log cannot be replayed: {error}")),
    }
    for partition in 0..partitions {
        if let Err(finding) = leaves_no_tail(database, partition) {
            findings.push(format!("partition {partition}: {finding}"));
        }
    }
    findings
}

/// A clean stop leaves a checkpoint that is good for the end of the log.
fn leaves_no_tail(database: &MemoryStore, partition: u32) -> Result<(), String> {
    let last = at_once(log::last_position(database, partition)).map_err(|it| it.to_string())?;
    let rows = at_once(checkpoint::read(database, partition, None, PAGE_BYTES));
    let rows = rows.map_err(|it| it.to_string())?;
    match rows.iter().find(|it| it.position != last) {
        Some(row) => Err(format!("slice {} is of {}, not of {last}", row.slice, row.position)),
        None if rows.is_empty() && last > 0 => Err("there is no checkpoint".to_owned()),
        None => Ok(()),
    }
}
