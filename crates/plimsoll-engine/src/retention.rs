//! Retention: prunes what the log has kept long enough, behind a base that stands in for it.
//!
//! A base is the state after the last row that goes, made by replaying those rows once more from
//! the base before. It is complete in the store before the first row is deleted, so a crash at any
//! point leaves a log that a replay can read: verification and back-tests begin at the base.
//!
//! How old a row is, the row does not say: its stamp is its environment's, and a sandbox may stand
//! in any year. So once in a while a mark is written of how far the log has come.
//!
//! Not here: forgetting identities (`partition::dedupe`) and recorded answers (`ops`).

use std::{collections::BTreeMap, time::Duration};

use plimsoll_core::{
    archive::{Archive, Archived, Segment},
    codec::CORE_VERSION,
    ids::{CustomerId, EntitlementId, EnvironmentId},
    limits,
    metering::cell::{Cell, CellKey},
    state::ClosedWindow,
    time::{DAY_MS, Timestamp},
};
use plimsoll_store::{
    Batch, CommitError, Lane, ReadError, Statement, Store, archive,
    base::{self, Base, Mark},
    checkpoint::{self, CheckpointRow},
    log, uncounted,
};

use crate::{
    deps::Deps,
    partition::HEAD,
    replay::{Replay, ReplayError, begin_with, partition_count},
};

/// How often the log is looked at.
const PASS_EVERY: Duration = Duration::from_hours(1);
/// How far two marks are apart at least.
const MARK_EVERY_MS: i64 = DAY_MS;
/// Rows of the log that one commit deletes: the writer is not held for long.
const DELETED_ROWS: i64 = 64;
/// Closed windows that one commit deletes.
const DELETED_WINDOWS: usize = 256;

/// Why nothing, or not everything, was pruned. Nothing that is needed is gone.
#[derive(Debug, thiserror::Error)]
pub enum RetentionError {
    /// The rows that were to go could not be replayed.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// The store could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The store could not be written.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

/// Prunes from time to time, until the tasks are told to stop.
pub(crate) fn start(deps: &Deps, keep_ms: i64) {
    let deps = deps.clone();
    let tasks = deps.tasks.clone();
    tasks.spawn(async move {
        let stopping = deps.tasks.stopping();
        tokio::pin!(stopping);
        loop {
            let pass = async {
                deps.clock.sleep(PASS_EVERY).await;
                prune(&*deps.store, deps.clock.now(), keep_ms).await
            };
            tokio::select! {
                biased;
                () = &mut stopping => return,
                pruned = pass => if let Err(error) = pruned {
                    tracing::warn!(%error, "the log could not be pruned; trying again later");
                },
            }
        }
    });
}

/// One pass over all partitions, where the machine's clock shows `now`: what was on the log for
/// longer than `keep_ms` goes. Gives how many rows of the log went.
pub async fn prune(store: &dyn Store, now: Timestamp, keep_ms: i64) -> Result<u64, RetentionError> {
    let mut rows = 0;
    for partition in 0..partition_count(store).await? {
        let pass = Pass { store, partition };
        pass.mark(now).await?;
        if let Some(target) = pass.target(now.plus_ms(-keep_ms)).await? {
            pass.move_base(target).await?;
        }
        rows += pass.delete().await?;
    }
    Ok(rows)
}

/// One partition being pruned.
struct Pass<'a> {
    store: &'a dyn Store,
    partition: u32,
}

impl Pass<'_> {
    async fn commit(&self, statements: Vec<Statement>) -> Result<(), CommitError> {
        self.store.commit(Batch::new(Lane::Pruning, statements)).await.map(drop)
    }

    /// Writes how far the log has come, once a day.
    async fn mark(&self, now: Timestamp) -> Result<(), RetentionError> {
        let marks = base::marks(self.store, self.partition).await?;
        if marks.last().is_some_and(|it| now.ms_since(it.at) < MARK_EVERY_MS) {
            return Ok(());
        }
        let position = log::last_position(self.store, self.partition).await?;
        if position > 0 {
            let mark = Mark { position, at: now };
            self.commit(vec![base::put_mark(self.partition, mark)]).await?;
        }
        Ok(())
    }

    /// The newest mark that is old enough, if it is ahead of the base. Everything up to it is in
    /// the checkpoint: a recovery never asks for it.
    async fn target(&self, oldest: Timestamp) -> Result<Option<Mark>, RetentionError> {
        let marks = base::marks(self.store, self.partition).await?;
        let held = checkpoint::head_position(self.store, self.partition).await?.unwrap_or(0);
        let done = base::newest(self.store, self.partition).await?.map_or(0, |it| it.position);
        let old = marks
            .into_iter()
            .filter(|it| it.at <= oldest && it.position <= held && it.position > done);
        Ok(old.max_by_key(|it| it.position))
    }

    /// Makes the base at `target`, and deletes windows that nothing can be late for any more.
    async fn move_base(&self, target: Mark) -> Result<(), RetentionError> {
        let before = base::newest(self.store, self.partition).await?;
        // What a pass that did not end has left of another base.
        let kept = before.map_or(0, |it| it.position);
        self.commit(vec![base::delete_others(self.partition, kept)]).await?;
        let (state, start) = begin_with(self.store, self.partition, before).await?;
        let mut replay = Replay::from(self.partition, state, start.position, Closing::default());
        let mut stamped_at = before.map_or(Timestamp::MIN, |it| it.stamped_at);
        let mut effects = Vec::new();
        while replay.position < target.position as u64 {
            let rows = replay.next_rows(self.store).await?;
            if rows.is_empty() {
                return Err(ReplayError::Pruned.into());
            }
            for row in rows {
                if row.position > target.position {
                    break;
                }
                let applied = replay.apply(&row, &mut effects)?;
                effects.clear();
                stamped_at = stamped_at.max(row.stamped_at);
                replay.archive.end_row(applied.environment, row.stamped_at);
                // Others have the thread between rows.
                tokio::task::yield_now().await;
            }
        }
        let base = Base { position: target.position, at: target.at, stamped_at };
        for slice in 0..replay.state.slice_count() {
            self.put(base, slice as u32 + 1, replay.state.encode_slice(slice)).await?;
        }
        self.put(base, HEAD, replay.state.encode_head()).await?;
        // A crash before the last of them leaves some for ever: they take room and do nothing.
        let windows = replay.archive.too_old();
        for windows in windows.chunks(DELETED_WINDOWS) {
            self.commit(archive::delete_windows(windows)).await?;
        }
        Ok(())
    }

    async fn put(&self, base: Base, slice: u32, payload: Vec<u8>) -> Result<(), CommitError> {
        let row = CheckpointRow {
            partition: self.partition,
            slice,
            position: base.position,
            core_version: CORE_VERSION as u32,
            payload: payload.into(),
        };
        self.commit(base::put(base, row)).await
    }

    /// Deletes the rows that the base stands in for, a few at a time.
    async fn delete(&self) -> Result<u64, RetentionError> {
        let Some(base) = base::newest(self.store, self.partition).await? else { return Ok(0) };
        let mut deleted = 0;
        while let Some(first) = log::first_position(self.store, self.partition).await? {
            if first > base.position {
                break;
            }
            let through = base.position.min(first + DELETED_ROWS - 1);
            self.commit(vec![
                log::delete_through(self.partition, through),
                uncounted::delete_through(self.partition, through),
            ])
            .await?;
            deleted += (through - first + 1) as u64;
        }
        self.commit(vec![
            base::delete_others(self.partition, base.position),
            base::delete_marks_through(self.partition, base.position),
        ])
        .await?;
        Ok(deleted)
    }
}

/// Remembers which windows closed, and nothing else.
#[derive(Debug, Default)]
struct Closing {
    in_row: Vec<(EntitlementId, Timestamp, Timestamp)>,
    closed: BTreeMap<EnvironmentId, Vec<(EntitlementId, Timestamp, Timestamp)>>,
    clocks: BTreeMap<EnvironmentId, Timestamp>,
}

impl Closing {
    /// What closed in a row closed in the row's environment.
    fn end_row(&mut self, environment: Option<EnvironmentId>, stamped_at: Timestamp) {
        let Some(environment) = environment else { return };
        let clock = self.clocks.entry(environment).or_insert(stamped_at);
        *clock = stamped_at.max(*clock);
        self.closed.entry(environment).or_default().append(&mut self.in_row);
    }

    /// Windows for which no event can be late any more: their environment's clock has left them
    /// behind by more than the dedupe window. In a sandbox that stands still they stay.
    fn too_old(self) -> Vec<(EntitlementId, Timestamp)> {
        let Self { closed, clocks, .. } = self;
        let windows = closed.into_iter().flat_map(|(environment, windows)| {
            let now = clocks.get(&environment).copied().unwrap_or(Timestamp::MIN);
            let oldest = now.plus_ms(-limits::DEDUPE_WINDOW_MS - DAY_MS);
            windows.into_iter().filter(move |it| it.2 < oldest)
        });
        windows.map(|(entitlement, from, _)| (entitlement, from)).collect()
    }
}

impl Archive for Closing {
    fn window(&mut self, _: EntitlementId, _: Timestamp) -> Archived {
        Archived::Settled
    }

    fn put_window(&mut self, _: CustomerId, entitlement: EntitlementId, it: ClosedWindow) {
        self.in_row.push((entitlement, it.window().from, it.window().to));
    }

    fn put_cell(&mut self, _: CellKey, _: Cell) {}

    fn add_to_cell(&mut self, _: CellKey, _: Cell) {}

    fn put_segment(&mut self, _: EntitlementId, _: Segment) {}
}
