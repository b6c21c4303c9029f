//! Which events a partition has accepted within the dedupe window.
//!
//! An event is remembered by a 128-bit keyed hash of its identity, which counts as exact, and by
//! the day of its acceptance. What is new since the last checkpoint can be rebuilt from the log;
//! older identities are sealed in the store, in segments.

use std::hash::{BuildHasherDefault, Hasher};

use bytes::Bytes;
use hashbrown::{HashMap, hash_map::Entry};
use plimsoll_core::{
    limits,
    time::{DAY_MS, Timestamp},
};

/// Bytes of one identity, in memory and in a segment.
const IDENTITY_BYTES: usize = 16;
const WINDOW_DAYS: u16 = (limits::DEDUPE_WINDOW_MS / DAY_MS) as u16;

type Identity = [u8; IDENTITY_BYTES];

/// The identities are hashes already: eight of their bytes serve as they are.
#[derive(Debug, Default)]
struct FirstBytes(u64);

impl Hasher for FirstBytes {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk() {
            self.0 ^= u64::from_le_bytes(*first);
        }
    }

    // The length of an array says nothing.
    fn write_usize(&mut self, _: usize) {}
}

/// The identities of a partition.
#[derive(Debug, Default)]
pub(super) struct Dedupe {
    /// Identity and the day of its acceptance.
    days: HashMap<Identity, u16, BuildHasherDefault<FirstBytes>>,
    /// Accepted since the last seal.
    unsealed: Vec<Identity>,
    pruned_on: u16,
}

fn day_of(time: Timestamp) -> u16 {
    u16::try_from(time.as_ms().div_euclid(DAY_MS)).unwrap_or(0)
}

impl Dedupe {
    /// Remembers an identity; false if it was accepted within the window before.
    pub(super) fn insert(&mut self, identity: u128, at: Timestamp) -> bool {
        let day = day_of(at);
        if day > self.pruned_on {
            self.prune(day);
        }
        let identity = identity.to_le_bytes();
        match self.days.entry(identity) {
            Entry::Occupied(_) => false,
            Entry::Vacant(entry) => {
                entry.insert(day);
                self.unsealed.push(identity);
                true
            }
        }
    }

    /// Forgets what the window has left behind.
    fn prune(&mut self, today: u16) {
        self.days.retain(|_, day| today.saturating_sub(*day) <= WINDOW_DAYS);
        self.pruned_on = today;
    }

    /// Takes what was accepted since the last seal, in segments of at most `count` identities.
    pub(super) fn seal(&mut self, count: usize) -> Vec<Bytes> {
        let unsealed = std::mem::take(&mut self.unsealed);
        unsealed.chunks(count).map(|it| Bytes::from(it.concat())).collect()
    }

    /// Puts back a segment that was sealed at this time.
    pub(super) fn load(&mut self, segment: &[u8], sealed_at: Timestamp) {
        let day = day_of(sealed_at);
        let (identities, _) = segment.as_chunks::<IDENTITY_BYTES>();
        self.days.reserve(identities.len());
        for identity in identities {
            self.days.insert(*identity, day);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_new_once_in_a_window() {
        let mut dedupe = Dedupe::default();
        let start = Timestamp::from_ms(1_700_000_000_000);
        assert!(dedupe.insert(7, start));
        assert!(!dedupe.insert(7, start));
        assert!(dedupe.insert(8, start));
        assert!(!dedupe.insert(7, start.plus_ms(limits::DEDUPE_WINDOW_MS)));
        assert!(dedupe.insert(7, start.plus_ms(limits::DEDUPE_WINDOW_MS + DAY_MS)));
    }

    #[test]
    fn sealed_segments_restore_the_set() {
        let mut dedupe = Dedupe::default();
        let now = Timestamp::from_ms(1_700_000_000_000);
        for identity in 0..10_u128 {
            dedupe.insert(identity << 64 | identity, now);
        }
        let segments = dedupe.seal(4);
        assert_eq!(segments.iter().map(Bytes::len).collect::<Vec<_>>(), [64, 64, 32]);
        assert!(dedupe.seal(4).is_empty());
        let mut restored = Dedupe::default();
        for segment in &segments {
            restored.load(segment, now);
        }
        assert!((0..10_u128).all(|it| !restored.insert(it << 64 | it, now)));
        assert!(restored.insert(10, now));
    }
}
