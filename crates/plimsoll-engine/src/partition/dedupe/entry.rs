//! One remembered identity: its hash and the day of its acceptance, as 18 bytes that sort by hash.
//!
//! Not here: tables and blocks of them (`recent`, `segment`), how an identity is hashed (`ingest`).

use plimsoll_core::{
    codec::Corrupt,
    limits,
    time::{DAY_MS, Timestamp},
};

/// Bytes of an entry, in memory and in a block.
pub(super) const ENTRY_BYTES: usize = 18;
const WINDOW_DAYS: u16 = (limits::DEDUPE_WINDOW_MS / DAY_MS) as u16;

/// A day of the machine's clock, counted from 1970-01-01. The first one stands for "none".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Day(u16);

impl Day {
    /// The day of a time.
    pub(super) fn of(time: Timestamp) -> Self {
        Self(time.as_ms().div_euclid(DAY_MS).clamp(1, i64::from(u16::MAX)) as u16)
    }

    /// When it begins.
    pub(super) fn start(self) -> Timestamp {
        Timestamp::from_ms(i64::from(self.0) * DAY_MS)
    }

    /// Whether what was accepted on this day is outside of the window today. A clock that was set
    /// back makes nothing older.
    pub(super) fn has_expired(self, today: Self) -> bool {
        today.0.saturating_sub(self.0) > WINDOW_DAYS
    }

    /// The day in the middle between this one and a later one.
    pub(super) fn middle(self, later: Self) -> Self {
        Self(self.0 + later.0.saturating_sub(self.0) / 2)
    }
}

/// The first 64 bits of a hash. They say where it stands: its slot, its block, its shard.
pub(super) fn first_bits(identity: u128) -> u64 {
    (identity >> 64) as u64
}

/// The number that the first `bits` of a hash make.
pub(super) fn prefix(first_bits: u64, bits: u32) -> usize {
    // In two steps, since a shift by all 64 bits is not allowed.
    ((first_bits >> 1) >> (63 - bits)) as usize
}

/// An identity and the day of its acceptance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Entry {
    identity: [u8; 16],
    day: [u8; 2],
}

impl Entry {
    /// No entry.
    pub(super) const EMPTY: Self = Self { identity: [0; 16], day: [0; 2] };

    pub(super) fn new(identity: u128, day: Day) -> Self {
        Self { identity: identity.to_be_bytes(), day: day.0.to_le_bytes() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.day == [0; 2]
    }

    pub(super) fn identity(&self) -> u128 {
        u128::from_be_bytes(self.identity)
    }

    pub(super) fn day(&self) -> Day {
        Day(u16::from_le_bytes(self.day))
    }

    /// Appends it to a block.
    pub(super) fn write(&self, block: &mut Vec<u8>) {
        block.extend_from_slice(&self.identity);
        block.extend_from_slice(&self.day);
    }

    fn read(bytes: &[u8; ENTRY_BYTES]) -> Self {
        let (identity, day) = bytes.split_at(16);
        Self {
            identity: identity.try_into().expect("16 of 18 bytes"),
            day: day.try_into().expect("2 of 18 bytes"),
        }
    }
}

/// The entries of a block, in order.
pub(super) fn of_block(
    block: &[u8],
) -> Result<impl DoubleEndedIterator<Item = Entry> + ExactSizeIterator + '_, Corrupt> {
    let entries = chunks(block)?;
    Ok(entries.iter().map(Entry::read))
}

/// The entry of an identity in a block, if it is there.
pub(super) fn find(block: &[u8], identity: u128) -> Result<Option<Entry>, Corrupt> {
    let entries = chunks(block)?;
    let found = entries.binary_search_by(|it| Entry::read(it).identity().cmp(&identity));
    Ok(found.ok().and_then(|at| entries.get(at)).map(Entry::read))
}

fn chunks(block: &[u8]) -> Result<&[[u8; ENTRY_BYTES]], Corrupt> {
    match block.as_chunks() {
        (entries, []) => Ok(entries),
        _ => Err(Corrupt { expected: "a block of whole identities" }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_expires_when_the_window_has_passed() {
        let day = |it: i64| Day::of(Timestamp::from_ms(it * DAY_MS));
        let cases = [(100, 100, false), (100, 132, false), (100, 133, true), (100, 3, false)];
        for (accepted, today, expired) in cases {
            assert_eq!(day(accepted).has_expired(day(today)), expired, "{accepted} on {today}");
        }
        assert_eq!(day(100).start(), Timestamp::from_ms(100 * DAY_MS));
        assert_eq!(day(100).middle(day(105)), day(102));
    }

    #[test]
    fn prefixes_cut_the_space_of_hashes() {
        let cases =
            [(u64::MAX, 0, 0), (u64::MAX, 3, 7), (1 << 63, 1, 1), (0xABCD << 48, 16, 0xABCD)];
        for (hash, bits, expected) in cases {
            assert_eq!(prefix(hash, bits), expected, "{bits} bits of {hash:x}");
        }
    }

    #[test]
    fn entries_are_found_in_a_block_and_a_torn_block_is_not_read() {
        let day = Day::of(Timestamp::from_ms(40 * DAY_MS));
        let mut block = Vec::new();
        for identity in [1, 5, u128::MAX] {
            Entry::new(identity, day).write(&mut block);
        }
        assert_eq!(find(&block, 5), Ok(Some(Entry::new(5, day))));
        assert_eq!(find(&block, 6), Ok(None));
        let all: Vec<_> = of_block(&block).unwrap().map(|it| it.identity()).collect();
        assert_eq!(all, [1, 5, u128::MAX]);
        assert!(find(&block[1..], 5).is_err());
    }
}
