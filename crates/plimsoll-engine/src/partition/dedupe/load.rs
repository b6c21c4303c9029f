//! Reads at a partition's start what is sealed: the list of segments, and filters as far as the
//! bound allows. The identities themselves stay where they are.
//!
//! Not here: identities that are not sealed; they come from the log (`recovery`).

use std::cmp::Reverse;

use plimsoll_core::{codec::Corrupt, time::Timestamp};
use plimsoll_store::{
    Batch, CommitError, Lane, ReadError, Store,
    dedupe::{self, Kind, SegmentRow, SegmentState, unsorted},
};

use super::{
    Dedupe, LookupError,
    entry::{Day, Entry},
    segment::Segment,
};

/// Filters that one read of the store brings: some 8 MiB.
const PAGE_FILTERS: u32 = 1_024;
/// Bytes of unsorted segments that one read of the store brings.
const PAGE_BYTES: usize = 8 * 1024 * 1024;

/// Why the sealed identities of a partition are not there.
#[derive(Debug, thiserror::Error)]
pub(in crate::partition) enum LoadError {
    /// The store cannot be read now, or what is stored cannot be understood.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// The store could not be written.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

impl From<ReadError> for LoadError {
    fn from(error: ReadError) -> Self {
        Self::Lookup(error.into())
    }
}

impl From<Corrupt> for LoadError {
    fn from(error: Corrupt) -> Self {
        Self::Lookup(error.into())
    }
}

impl Dedupe {
    /// Reads the segments of a partition, to be remembered in at most about so many bytes.
    pub(in crate::partition) async fn load(
        store: &dyn Store,
        partition: u32,
        bytes: usize,
        now: Timestamp,
    ) -> Result<Self, LoadError> {
        let mut loaded = Self::new(partition, bytes, now);
        for row in dedupe::segments(store, partition).await? {
            loaded.next_segment = loaded.next_segment.max(row.segment + 1);
            let has_expired = Day::of(row.newest_at).has_expired(loaded.today);
            if row.state == SegmentState::Live && !has_expired {
                let segment = Segment::stored(&row);
                loaded.sealed_through = loaded.sealed_through.max(segment.last_position());
                loaded.segments.push(segment);
            } else {
                loaded.dead.push_back((SegmentRow { state: SegmentState::Dead, ..row }, 0));
            }
        }
        loaded.load_filters(store).await?;
        loaded.seal_unsorted(store).await?;
        Ok(loaded)
    }

    /// Reads filters, those of the newest segments first, until there is no more room for them.
    async fn load_filters(&mut self, store: &dyn Store) -> Result<(), LoadError> {
        let mut newest_first: Vec<_> = self
            .segments
            .iter()
            .map(|it| (Reverse(it.last_position()), it.number(), it.shard_count() as u32))
            .collect();
        newest_first.sort_unstable();
        for (_, number, shards) in newest_first {
            for from in (0..shards).step_by(PAGE_FILTERS as usize) {
                let range = (from, shards.min(from + PAGE_FILTERS));
                let partition = self.partition;
                let filters =
                    dedupe::read_pieces(store, Kind::Filter, partition, number, range).await?;
                if let Some(segment) = self.segment_mut(number) {
                    for filter in filters {
                        segment.put_filter(filter.place, &filter.bytes)?;
                    }
                }
                if self.shrink_filters() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Seals again what the first schema had sealed. Until the last statement of this everything
    /// is there as it was.
    async fn seal_unsorted(&mut self, store: &dyn Store) -> Result<(), LoadError> {
        let (mut after, mut position) = (None, self.sealed_through);
        loop {
            let page = unsorted::read(store, self.partition, after, PAGE_BYTES).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.segment);
            for row in page {
                let (identities, torn) = row.hashes.as_chunks::<16>();
                if !torn.is_empty() {
                    return Err(Corrupt { expected: "a segment of whole identities" }.into());
                }
                position = position.max(row.last_position as u64);
                self.make_room(store, identities.len(), position).await?;
                let day = Day::of(row.sealed_at);
                if !day.has_expired(self.today) {
                    for identity in identities {
                        self.active.put(Entry::new(u128::from_le_bytes(*identity), day));
                    }
                }
            }
        }
        if after.is_some() {
            self.seal_all(store, position).await?;
            let delete = vec![unsorted::delete_all(self.partition)];
            store.commit(Batch::new(Lane::Checkpoint, delete)).await?;
            self.sealed_through = self.sealed_through.max(position);
        }
        Ok(())
    }
}
