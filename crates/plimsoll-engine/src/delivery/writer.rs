//! Writes the results of attempts, many in one transaction.
//!
//! While one batch commits, results gather for the next: no timer, no wait when idle. A batch that
//! cannot be written is tried again until it can; its deliveries stay in their lanes' memory
//! meanwhile, so that they are not sent again.
//!
//! Not here: what the results are (`lane`).

use std::{collections::BTreeMap, time::Duration};

use plimsoll_core::ids::{ChannelId, DeliveryId};
use plimsoll_store::{
    Batch, CommitError, Lane,
    attempt::{self, AttemptResult, AttemptRow},
};
use tokio::sync::mpsc;

use crate::deps::Deps;

/// Results in one transaction.
const BATCH_RESULTS: usize = 512;
/// Results that wait; more keep their place in their lane.
pub(super) const QUEUE_RESULTS: usize = 4_096;
/// Waits between tries while the store is not available.
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_LONGEST: Duration = Duration::from_secs(2);

/// The result of an attempt, and who wants to know that it is written.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) result: AttemptResult,
    pub(super) written: mpsc::UnboundedSender<Vec<Written>>,
    /// Names the sender of `written`, to tell each lane once a batch.
    pub(super) channel: ChannelId,
}

/// A delivery whose result is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) delivery: DeliveryId,
    /// The attempts that it has in the store now.
    pub(super) attempts: u32,
}

/// Writes what arrives until every sender is gone.
pub(super) async fn run(deps: Deps, mut inbox: mpsc::Receiver<Finished>) {
    let mut gathered = Vec::with_capacity(BATCH_RESULTS);
    while inbox.recv_many(&mut gathered, BATCH_RESULTS).await > 0 {
        write(&deps, std::mem::take(&mut gathered)).await;
    }
}

/// Writes these results, in as many transactions as it takes.
async fn write(deps: &Deps, results: Vec<Finished>) {
    let mut parts = vec![results];
    while let Some(part) = parts.pop() {
        let error = match commit(deps, &part).await {
            Ok(()) => {
                tell(part);
                continue;
            }
            Err(Unwritten::Stopped) => {
                let count = part.len();
                tracing::warn!(count, "results are lost at stop: their attempts will be repeated");
                continue;
            }
            Err(Unwritten::Refused(error)) => error,
        };
        let (known, mut rest) = match written_before(deps, part).await {
            Ok(split) => split,
            Err(Stopped) => continue,
        };
        if !known.is_empty() {
            tell(known);
            parts.extend(Some(rest).filter(|it| !it.is_empty()));
        } else if rest.len() > 1 {
            // One result that the store refuses must not hold up the others.
            let second = rest.split_off(rest.len() / 2);
            parts.extend([second, rest]);
        } else if let Some(refused) = rest.first() {
            // Its lane holds it until the next start, so that it is not sent over and over.
            let delivery = refused.result.attempt.delivery;
            tracing::error!(%delivery, %error, "the result of an attempt is refused");
        }
    }
}

enum Unwritten {
    /// Never: the store refuses it as it is.
    Refused(CommitError),
    /// The process stops, and the store is still not available.
    Stopped,
}

/// The process stops, and the store is still not available.
struct Stopped;

/// Commits until it is certain what came of it.
async fn commit(deps: &Deps, results: &[Finished]) -> Result<(), Unwritten> {
    let mut wait = RETRY_FIRST;
    loop {
        let rows = results.iter().map(|it| it.result.clone()).collect();
        let batch = Batch::new(Lane::Attempts, attempt::record(rows));
        let error = match deps.store.commit(batch).await {
            Ok(_) => return Ok(()),
            Err(error @ CommitError::Refused { .. }) => return Err(Unwritten::Refused(error)),
            Err(error @ (CommitError::Unavailable { .. } | CommitError::Unknown { .. })) => error,
        };
        let count = results.len();
        tracing::warn!(count, %error, "results of attempts cannot be written, trying again");
        pause(deps, &mut wait).await.map_err(|Stopped| Unwritten::Stopped)?;
    }
}

/// Splits refused results into those that are in the store and the rest.
///
/// After a commit whose outcome was unknown, the retry finds the rows of its first try.
async fn written_before(
    deps: &Deps,
    results: Vec<Finished>,
) -> Result<(Vec<Finished>, Vec<Finished>), Stopped> {
    let ids: Vec<_> = results.iter().map(|it| it.result.attempt.delivery).collect();
    let mut wait = RETRY_FIRST;
    let attempts = loop {
        match attempt::of_deliveries(&*deps.store, &ids).await {
            Ok(attempts) => break attempts,
            Err(error) => {
                tracing::warn!(%error, "attempts cannot be read, trying again");
                pause(deps, &mut wait).await?;
            }
        }
    };
    let is_written = |it: &Finished| {
        let AttemptRow { delivery, n, .. } = it.result.attempt;
        attempts.get(&delivery).is_some_and(|rows| rows.iter().any(|row| row.n == n))
    };
    Ok(results.into_iter().partition(is_written))
}

async fn pause(deps: &Deps, wait: &mut Duration) -> Result<(), Stopped> {
    if deps.tasks.is_stopping() {
        return Err(Stopped);
    }
    deps.clock.sleep(*wait).await;
    *wait = (*wait * 2).min(RETRY_LONGEST);
    Ok(())
}

/// Tells each lane which of its results are durable.
fn tell(results: Vec<Finished>) {
    // In the order of the channels: a hash map would wake the lanes in another order in each run.
    let mut lanes: BTreeMap<ChannelId, (mpsc::UnboundedSender<Vec<Written>>, Vec<Written>)> =
        BTreeMap::new();
    for Finished { result, written, channel } in results {
        let entry = Written { delivery: result.attempt.delivery, attempts: result.attempt.n };
        lanes.entry(channel).or_insert_with(|| (written, Vec::new())).1.push(entry);
    }
    for (lane, written) in lanes.into_values() {
        // A lane that has ended does not want to know.
        drop(lane.send(written));
    }
}
