//! Asks the store about identities of which the filters are not sure, a page at a time.
//!
//! A turn of the partition's owner asks once, for all its events, before any of them is applied.
//! Afterwards `Dedupe::insert` knows without waiting.
//!
//! Not here: the filters (`filter`, `segment`), what an answer means for an event (`dedupe`).

use hashbrown::HashMap;
use plimsoll_core::codec::Corrupt;
use plimsoll_store::{
    ReadError, Store,
    dedupe::{self, Kind, Piece},
};

use super::{
    Dedupe, entry,
    filter::{Filter, Verdict},
    segment::ASKED_TOGETHER,
};

/// Pieces that one read of the store brings: some 2 MiB.
const PAGE_PIECES: usize = 256;

/// Counter: pieces of segments that were read to find out about identities.
const LOOKUPS: &str = "plimsoll_dedupe_lookups_total";

/// A place where an identity may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Doubt {
    pub(super) segment: i64,
    /// The block, or the shard.
    pub(super) place: u32,
    pub(super) identity: u128,
}

/// What the filters are not sure of.
#[derive(Debug, Default)]
pub(super) struct Doubts {
    /// The filter is in the store.
    pub(super) filters: Vec<Doubt>,
    /// The block must be looked into.
    pub(super) blocks: Vec<Doubt>,
}

/// Why nothing is known about an identity.
#[derive(Debug, thiserror::Error)]
pub(in crate::partition) enum LookupError {
    /// The store cannot be read now.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// What is stored cannot be understood. Waiting does not help.
    #[error("sealed identities: {0}")]
    Corrupt(#[from] Corrupt),
}

impl Dedupe {
    /// Finds out which of these identities are sealed in the store, for the insertions that follow.
    pub(in crate::partition) async fn look_up(
        &mut self,
        store: &dyn Store,
        identities: impl Iterator<Item = u128>,
    ) -> Result<(), LookupError> {
        self.known.clear();
        let Doubts { filters, mut blocks } = self.doubts(identities);
        for doubts in pages(filters) {
            let pieces = fetch(store, Kind::Filter, self.partition, &doubts).await?;
            for doubts in doubts.chunk_by(is_same_place) {
                self.sift(doubts, &pieces, &mut blocks)?;
            }
        }
        for doubts in pages(blocks) {
            let pieces = fetch(store, Kind::Block, self.partition, &doubts).await?;
            for doubt in &doubts {
                let block = pieces.get(&(doubt.segment, doubt.place));
                let Some(block) = block else { continue };
                if let Some(entry) = entry::find(&block.bytes, doubt.identity)?
                    && !entry.day().has_expired(self.today)
                {
                    self.known.insert(doubt.identity);
                }
            }
        }
        Ok(())
    }

    /// What the filters in memory leave open.
    fn doubts(&self, mut identities: impl Iterator<Item = u128>) -> Doubts {
        let mut doubts = Doubts::default();
        if self.segments.is_empty() {
            return doubts;
        }
        let mut chunk = [0; ASKED_TOGETHER];
        loop {
            let mut count = 0;
            for (slot, identity) in chunk.iter_mut().zip(identities.by_ref()) {
                *slot = identity;
                count += 1;
            }
            let chunk = chunk.get(..count).unwrap_or_default();
            if chunk.is_empty() {
                return doubts;
            }
            for segment in &self.segments {
                segment.ask(chunk, &mut doubts);
            }
        }
    }

    /// Passes on what a filter from the store leaves open. One that is missing leaves all open.
    fn sift(
        &self,
        doubts: &[Doubt],
        pieces: &Pieces,
        blocks: &mut Vec<Doubt>,
    ) -> Result<(), Corrupt> {
        let Some(first) = doubts.first() else { return Ok(()) };
        let segment = self.segments.iter().find(|it| it.number() == first.segment);
        let Some(segment) = segment else { return Ok(()) };
        let filter = match pieces.get(&(first.segment, first.place)) {
            Some(piece) => Some(Filter::decode(&piece.bytes)?),
            None => None,
        };
        for doubt in doubts {
            if filter.as_ref().is_none_or(|it| it.verdict(doubt.identity) == Verdict::Maybe) {
                let place = segment.block_of(doubt.identity);
                blocks.push(Doubt { place, ..*doubt });
            }
        }
        Ok(())
    }
}

type Pieces = HashMap<(i64, u32), Piece>;

fn is_same_place(a: &Doubt, b: &Doubt) -> bool {
    (a.segment, a.place) == (b.segment, b.place)
}

/// Cuts doubts so that each part names a bounded number of places, and no place is named twice.
fn pages(mut doubts: Vec<Doubt>) -> Vec<Vec<Doubt>> {
    doubts.sort_unstable();
    doubts.dedup();
    let places: Vec<&[Doubt]> = doubts.chunk_by(is_same_place).collect();
    places.chunks(PAGE_PIECES).map(<[_]>::concat).collect()
}

async fn fetch(
    store: &dyn Store,
    kind: Kind,
    partition: u32,
    doubts: &[Doubt],
) -> Result<Pieces, ReadError> {
    let mut places: Vec<_> = doubts.iter().map(|it| (it.segment, it.place)).collect();
    places.dedup();
    let label = if kind == Kind::Block { "block" } else { "filter" };
    metrics::counter!(LOOKUPS, "kind" => label).increment(places.len() as u64);
    let pieces = dedupe::find_pieces(store, kind, partition, &places).await?;
    Ok(pieces.into_iter().map(|it| ((it.segment, it.place), it)).collect())
}
