//! Which events a partition has accepted within the dedupe window, in bounded memory.
//!
//! An event is remembered by a 128-bit keyed hash of its identity, which counts as exact, and by
//! the day of its acceptance on the machine's clock. Recent identities are in memory (`recent`).
//! Older ones are sealed in the store, in sorted segments (`seal`) that are merged as they become
//! more (`merge`), behind filters in memory (`filter`). A filter that says "maybe" is never
//! believed: the block that it means is read, once a turn for all events together (`lookup`), and
//! only then are events inserted, without waiting.
//!
//! Memory is kept within a bound: older filters become smaller first, then stay in the store.
//! What is not sealed yet can be rebuilt from the log.
//!
//! Not here: hashing identities (`ingest`), SQL (`plimsoll-store`).

use std::{
    collections::VecDeque,
    hash::{BuildHasherDefault, Hasher},
};

use hashbrown::HashSet;
use plimsoll_core::time::Timestamp;
use plimsoll_store::dedupe::SegmentRow;

mod budget;
mod entry;
mod filter;
mod load;
mod lookup;
mod merge;
mod recent;
mod seal;
mod segment;
#[cfg(test)]
mod tests;
mod upkeep;

use budget::Budget;
use entry::{Day, Entry};
use filter::FilterMaker;
pub(super) use load::LoadError;
pub(super) use lookup::LookupError;
use merge::Merging;
use recent::Recent;
use seal::Sealing;
use segment::Segment;

/// Gauge: bytes that the identities of a partition take in memory.
const BYTES: &str = "plimsoll_dedupe_bytes";

/// The identities of a partition.
#[derive(Debug)]
pub(super) struct Dedupe {
    partition: u32,
    budget: Budget,
    today: Day,
    /// Accepted since the last seal began.
    active: Recent,
    /// Being sealed: known exactly until that is done.
    sealing: Option<Sealing>,
    /// An empty table of full size, for the next to be active: growing into one costs more than
    /// all that is done with it.
    spare: Option<Recent>,
    segments: Vec<Segment>,
    merging: Option<Merging>,
    /// Segments that are being deleted, and how many of their blocks are.
    dead: VecDeque<(SegmentRow, u32)>,
    next_segment: i64,
    /// Identities of log rows up to this position are sealed.
    sealed_through: u64,
    /// A checkpoint waits until identities up to this position are sealed.
    wanted: u64,
    /// Of the identities that were last looked up, those that the store remembers.
    known: HashSet<u128, BuildHasherDefault<LastBits>>,
    maker: FilterMaker,
}

/// Identities are hashes already: half of their bits serve as they are.
#[derive(Debug, Default)]
struct LastBits(u64);

impl Hasher for LastBits {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0 << 8 | u64::from(*byte);
        }
    }

    fn write_u128(&mut self, identity: u128) {
        self.0 = identity as u64;
    }
}

impl Dedupe {
    /// Without any identities, in at most about so many bytes.
    pub(super) fn new(partition: u32, bytes: usize, now: Timestamp) -> Self {
        Self {
            partition,
            budget: Budget::new(bytes),
            today: Day::of(now),
            active: Recent::default(),
            sealing: None,
            spare: None,
            segments: Vec::new(),
            merging: None,
            dead: VecDeque::new(),
            next_segment: 1,
            sealed_through: 0,
            wanted: 0,
            known: HashSet::default(),
            maker: FilterMaker::default(),
        }
    }

    /// Tells the time of day of the machine. Whatever an environment's clock says, an identity is
    /// remembered for a window of this one.
    pub(super) fn set_time(&mut self, now: Timestamp) {
        self.today = Day::of(now);
    }

    /// Reads what inserting these identities will read, so that the waits for memory overlap.
    pub(super) fn read_ahead(&self, identities: impl Iterator<Item = u128>) {
        for identity in identities {
            self.active.read_ahead(identity);
            if let Some(sealing) = &self.sealing {
                sealing.read_ahead(identity);
            }
        }
    }

    /// Remembers an identity; false if it was accepted within the window before.
    ///
    /// While usage is taken, `look_up` must have been asked about the identity before.
    pub(super) fn insert(&mut self, identity: u128) -> bool {
        if self.known.contains(&identity) {
            return false;
        }
        let sealing = self.sealing.as_ref().and_then(|it| it.get(identity));
        if sealing.is_some_and(|it| !it.day().has_expired(self.today)) {
            return false;
        }
        let entry = Entry::new(identity, self.today);
        match self.active.add_if_missing(entry) {
            None => true,
            Some(old) if old.day().has_expired(self.today) => {
                self.active.put(entry);
                true
            }
            Some(_) => false,
        }
    }

    /// Identities of log rows up to this position are sealed in the store; others must be
    /// inserted when the log is replayed.
    pub(super) fn sealed_through(&self) -> u64 {
        self.sealed_through
    }

    /// Asks that identities up to this position be sealed soon, for a checkpoint.
    pub(super) fn want_sealed(&mut self, position: u64) {
        self.wanted = self.wanted.max(position);
        if self.is_empty_beside_sealed() {
            self.sealed_through = self.sealed_through.max(position);
        }
    }

    /// Whether no identity up to this position depends on the log.
    pub(super) fn is_sealed_through(&self, position: u64) -> bool {
        self.sealed_through >= position || self.is_empty_beside_sealed()
    }

    fn is_empty_beside_sealed(&self) -> bool {
        self.active.len() == 0 && self.sealing.is_none()
    }

    /// Bytes that it takes in memory. What a look-up or a merge holds for a moment comes on top:
    /// a few MiB.
    pub(super) fn bytes(&self) -> usize {
        self.recent_bytes() + self.filter_bytes() + self.known.allocation_size()
    }

    fn recent_bytes(&self) -> usize {
        let spare = self.spare.as_ref().map_or(0, Recent::bytes);
        self.active.bytes() + self.sealing.as_ref().map_or(0, Sealing::recent_bytes) + spare
    }

    fn filter_bytes(&self) -> usize {
        let sealed: usize = self.segments.iter().map(Segment::bytes).sum();
        sealed + self.sealing.as_ref().map_or(0, Sealing::filter_bytes)
    }

    fn segment_mut(&mut self, number: i64) -> Option<&mut Segment> {
        self.segments.iter_mut().find(|it| it.number() == number)
    }

    fn new_number(&mut self) -> i64 {
        self.next_segment += 1;
        self.next_segment - 1
    }
}
