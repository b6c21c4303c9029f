//! What is done beside usage, a piece at a time: sealing, merging, deleting.
//!
//! Every step of the partition's owner takes one piece of each that is under way, some 50,000
//! identities or 1 MiB, and commits it with the turn's usage or alone. If usage comes in faster
//! than it is sealed, it waits: [`Dedupe::make_room`].
//!
//! Not here: how a piece is written (`seal`, `merge`).

use plimsoll_core::limits;
use plimsoll_store::{
    Batch, CommitError, Lane, Statement, Store,
    dedupe::{self, Kind},
};

use super::{BYTES, Dedupe, Segment, merge::Stretch};

/// Blocks of a dead segment that one step deletes; a multiple of the blocks of a shard.
const DELETED_BLOCKS: u32 = 128;
/// Blocks of a shard.
const BLOCKS_OF_SHARD: u32 = 8;

impl Dedupe {
    /// Whether there is something to do beside usage.
    pub(in crate::partition) fn is_working(&self) -> bool {
        self.sealing.is_some()
            || self.must_freeze()
            || !self.dead.is_empty()
            || self.merging.is_some()
            || self.mergeable().is_some()
    }

    /// The next piece of everything that is under way. It must be committed with or after this
    /// position of the log; `stretch` is what [`Dedupe::read_stretch`] has just given.
    pub(in crate::partition) fn step(
        &mut self,
        stretch: Option<Stretch>,
        position: u64,
    ) -> Vec<Statement> {
        if self.sealing.is_none() && self.must_freeze() {
            self.freeze(position);
        }
        let mut statements = self.seal_step();
        statements.extend(stretch.map_or_else(Vec::new, |it| self.merge_step(it)));
        statements.extend(self.bury_expired());
        statements.extend(self.delete_step());
        self.shrink_filters();
        self.tell_bytes();
        statements
    }

    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float, and bytes are far fewer")]
    fn tell_bytes(&self) {
        let partition = self.partition.to_string();
        metrics::gauge!(BYTES, "partition" => partition).set(self.bytes() as f64);
    }

    /// Seals recent identities until so many more fit in. What is in memory must be committed.
    pub(in crate::partition) async fn make_room(
        &mut self,
        store: &dyn Store,
        events: usize,
        position: u64,
    ) -> Result<(), CommitError> {
        while self.active.len() > 0 && self.active.len() + events > self.budget.recent() {
            if self.sealing.is_none() {
                self.freeze(position);
            } else {
                let statements = self.seal_step();
                self.shrink_filters();
                store.commit(Batch::new(Lane::Checkpoint, statements)).await?;
            }
        }
        Ok(())
    }

    /// As [`Dedupe::make_room`], before a row of the log is replayed.
    pub(in crate::partition) async fn make_room_for_row(
        &mut self,
        store: &dyn Store,
        position: u64,
    ) -> Result<(), CommitError> {
        let events = limits::COMMIT_EVENTS + limits::BATCH_EVENTS;
        self.make_room(store, events.min(self.budget.recent() / 2), position).await
    }

    /// Seals everything there is. What is in memory must be committed.
    pub(super) async fn seal_all(
        &mut self,
        store: &dyn Store,
        position: u64,
    ) -> Result<(), CommitError> {
        while self.active.len() > 0 || self.sealing.is_some() {
            if self.sealing.is_none() {
                self.freeze(position);
            }
            let statements = self.seal_step();
            self.shrink_filters();
            store.commit(Batch::new(Lane::Checkpoint, statements)).await?;
        }
        Ok(())
    }

    fn must_freeze(&self) -> bool {
        let recent = self.active.len();
        let is_wanted = self.wanted > self.sealed_through && recent > 0;
        // Before it is full: the next turn brings many at once.
        is_wanted || recent >= self.budget.recent() / 8 * 7
    }

    /// Lets go of segments that the window has left behind.
    fn bury_expired(&mut self) -> Vec<Statement> {
        let expired: Vec<i64> = self
            .segments
            .iter()
            .filter(|it| it.days().1.has_expired(self.today) && !self.is_merging(it.number()))
            .map(Segment::number)
            .collect();
        expired.into_iter().filter_map(|it| self.bury(it)).collect()
    }

    /// Deletes the next piece of a dead segment.
    fn delete_step(&mut self) -> Vec<Statement> {
        let Some((row, deleted)) = self.dead.front_mut() else { return Vec::new() };
        let (partition, segment) = (row.partition, row.segment);
        let blocks = (*deleted, *deleted + DELETED_BLOCKS);
        let shards = (blocks.0 / BLOCKS_OF_SHARD, blocks.1 / BLOCKS_OF_SHARD);
        let mut statements = vec![
            dedupe::delete_pieces(Kind::Block, partition, segment, blocks),
            dedupe::delete_pieces(Kind::Filter, partition, segment, shards),
        ];
        if *deleted == 0 {
            // Once the first piece is gone, nobody must take it for complete.
            statements.push(dedupe::update(row));
        }
        *deleted = blocks.1;
        if u64::from(blocks.1) >= 1 << row.block_bits {
            statements.push(dedupe::delete(partition, segment));
            self.dead.pop_front();
        }
        statements
    }
}
