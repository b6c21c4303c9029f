//! The exact set of identities that are not sealed yet: a sorted array with gaps.
//!
//! The slot at which an identity is looked for comes from the first bits of its hash, and entries
//! that are pushed aside keep their order. So the table is a hash table with one place to look,
//! and read from front to back it gives the identities sorted, which is how they are sealed.
//!
//! Not here: what follows from an identity being known (`dedupe`).

use super::entry::{ENTRY_BYTES, Entry, first_bits, prefix};

/// Slots behind the last one that a hash names, for entries that are pushed aside.
const SPARE_SLOTS: usize = 256;
/// Slots of the smallest table, as a power of two.
const FEWEST_BITS: u32 = 6;

/// A set of entries. At three quarters of its slots it doubles.
#[derive(Debug, Default)]
pub(super) struct Recent {
    slots: Vec<Entry>,
    bits: u32,
    count: usize,
}

/// Where an identity stands, or where it would.
enum Place {
    Found(usize),
    Missing(usize),
}

/// Identities that a table of 2 to the power of `bits` slots holds without growing.
pub(super) const fn capacity(bits: u32) -> usize {
    (1 << bits) / 4 * 3
}

/// Bytes of such a table.
pub(super) const fn bytes_of(bits: u32) -> usize {
    ((1 << bits) + SPARE_SLOTS) * ENTRY_BYTES
}

impl Recent {
    /// How many identities it holds.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// Bytes that it takes.
    pub(super) fn bytes(&self) -> usize {
        self.slots.capacity() * ENTRY_BYTES
    }

    /// The same table without its entries, if it holds so many without growing.
    pub(super) fn emptied(mut self, identities: usize) -> Option<Self> {
        if capacity(self.bits) < identities {
            return None;
        }
        self.slots.fill(Entry::EMPTY);
        self.count = 0;
        Some(self)
    }

    /// The entry of an identity.
    pub(super) fn get(&self, identity: u128) -> Option<Entry> {
        match self.place(identity) {
            Place::Found(at) => self.slots.get(at).copied(),
            Place::Missing(_) => None,
        }
    }

    /// Reads where an identity is looked for first, for a look that follows soon.
    pub(super) fn read_ahead(&self, identity: u128) {
        let home = prefix(first_bits(identity), self.bits);
        // Without a use of what is read, nothing is read.
        std::hint::black_box(self.slots.get(home).map(Entry::day));
    }

    /// Adds an entry whose identity is not there, or puts it in place of the one that is.
    pub(super) fn put(&mut self, entry: Entry) {
        match self.place(entry.identity()) {
            Place::Found(at) => self.set(at, entry),
            Place::Missing(at) => self.add(at, entry),
        }
    }

    /// Adds an identity unless it is there; if so, its entry is what comes back.
    pub(super) fn add_if_missing(&mut self, entry: Entry) -> Option<Entry> {
        match self.place(entry.identity()) {
            Place::Found(at) => self.slots.get(at).copied(),
            Place::Missing(at) => {
                self.add(at, entry);
                None
            }
        }
    }

    /// The entries from a slot on, in order, each with the slot that follows it.
    pub(super) fn entries_from(&self, slot: usize) -> impl Iterator<Item = (usize, Entry)> + '_ {
        let slots = self.slots.iter().enumerate().skip(slot);
        slots.filter(|(_, it)| !it.is_empty()).map(|(at, it)| (at + 1, *it))
    }

    fn place(&self, identity: u128) -> Place {
        let home = prefix(first_bits(identity), self.bits);
        for (at, slot) in self.slots.iter().enumerate().skip(home) {
            if slot.is_empty() || slot.identity() > identity {
                return Place::Missing(at);
            }
            if slot.identity() == identity {
                return Place::Found(at);
            }
        }
        Place::Missing(self.slots.len())
    }

    fn set(&mut self, at: usize, entry: Entry) {
        if let Some(slot) = self.slots.get_mut(at) {
            *slot = entry;
        }
    }

    /// Puts an entry where it belongs and moves aside what stands there.
    fn add(&mut self, at: usize, entry: Entry) {
        let gap = self.slots.iter().skip(at).position(Entry::is_empty);
        match gap {
            Some(gap) if self.count < capacity(self.bits) => {
                self.slots.copy_within(at..at + gap, at + 1);
                self.set(at, entry);
                self.count += 1;
            }
            Some(_) | None => {
                self.grow();
                self.put(entry);
            }
        }
    }

    fn grow(&mut self) {
        let mut bits = (self.bits + 1).max(FEWEST_BITS);
        // One more bit spreads the entries twice as far: the spare slots suffice soon.
        let slots = loop {
            if let Some(slots) = self.spread(bits) {
                break slots;
            }
            bits += 1;
        };
        (self.slots, self.bits) = (slots, bits);
    }

    /// The entries in a table of so many slots; nothing if they do not fit into its spare slots.
    fn spread(&self, bits: u32) -> Option<Vec<Entry>> {
        let mut slots = vec![Entry::EMPTY; (1 << bits) + SPARE_SLOTS];
        let mut next = 0;
        for (_, entry) in self.entries_from(0) {
            next = next.max(prefix(first_bits(entry.identity()), bits));
            *slots.get_mut(next)? = entry;
            next += 1;
        }
        Some(slots)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use plimsoll_core::time::{DAY_MS, Timestamp};
    use proptest::prelude::*;

    use super::{super::entry::Day, *};

    fn day(n: i64) -> Day {
        Day::of(Timestamp::from_ms(n * DAY_MS))
    }

    /// Identities that crowd: few first bits, so that they push each other aside.
    fn identity() -> impl Strategy<Value = u128> {
        prop_oneof![
            any::<u128>(),
            (0..8_u128, 0..200_u128).prop_map(|(first, last)| first << 125 | last),
            (0..200_u128).prop_map(|it| u128::MAX - it),
        ]
    }

    proptest! {
        #[test]
        fn it_is_a_sorted_map(
            operations in prop::collection::vec((identity(), 1..9_i64), 0..2_000),
        ) {
            let (mut recent, mut model) = (Recent::default(), BTreeMap::new());
            for (index, (identity, n)) in operations.into_iter().enumerate() {
                let entry = Entry::new(identity, day(n));
                if index % 3 == 0 {
                    recent.put(entry);
                    model.insert(identity, day(n));
                } else {
                    let before = model.get(&identity).copied();
                    prop_assert_eq!(recent.add_if_missing(entry).map(|it| it.day()), before);
                    model.entry(identity).or_insert_with(|| day(n));
                }
                for asked in [identity, identity ^ 1 << 90] {
                    let found = recent.get(asked).map(|it| it.day());
                    prop_assert_eq!(found, model.get(&asked).copied());
                }
            }
            let sorted = recent.entries_from(0).map(|(_, it)| (it.identity(), it.day()));
            prop_assert_eq!(sorted.collect::<Vec<_>>(), model.into_iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn uniform_hashes_fill_a_table_to_its_capacity() {
        let mut recent = Recent::default();
        for n in 0..capacity(14) as u64 {
            let hash = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            recent.put(Entry::new(u128::from(hash) << 64 | u128::from(n), day(1)));
        }
        assert_eq!((recent.len(), recent.bytes()), (capacity(14), bytes_of(14)));
    }
}
