//! Xor filters over the identities of a shard: a few thousand, known when the filter is made.
//!
//! Each identity names three cells, and their xor is its fingerprint. What was put in is always
//! found; something else is found once in 65,536 times with wide cells, once in 256 with narrow
//! ones. Since xor works bit by bit, narrow cells are the low bytes of wide ones: a filter can be
//! made narrower without knowing what is in it.
//!
//! Not here: which shards there are, and which are kept in memory (`segment`).

use bytes::Bytes;
use plimsoll_core::codec::Corrupt;

/// Bytes in front of the cells of a stored filter: its seed.
const HEAD_BYTES: usize = 2;

/// A filter, as far as it is in memory.
#[derive(Debug, Default)]
pub(super) struct Filter {
    seed: u16,
    cells: Cells,
}

#[derive(Debug, Default)]
enum Cells {
    /// Only in the store.
    #[default]
    Absent,
    Narrow(Box<[u8]>),
    Wide(Box<[u16]>),
}

/// What a filter says about an identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is not there.
    No,
    /// It may be there: look into the block.
    Maybe,
    /// The filter is not in memory: look into the store.
    Absent,
}

impl Filter {
    /// What it says about an identity.
    pub(super) fn verdict(&self, identity: u128) -> Verdict {
        let hash = mix(fold(identity), self.seed);
        let fits = match &self.cells {
            Cells::Absent => return Verdict::Absent,
            Cells::Wide(cells) => match picked(cells, hash) {
                Some([a, b, c]) => a ^ b ^ c == fingerprint(hash),
                None => false,
            },
            Cells::Narrow(cells) => match picked(cells, hash) {
                Some([a, b, c]) => a ^ b ^ c == fingerprint(hash) as u8,
                None => false,
            },
        };
        if fits { Verdict::Maybe } else { Verdict::No }
    }

    /// Bytes of its cells in memory.
    pub(super) fn bytes(&self) -> usize {
        match &self.cells {
            Cells::Absent => 0,
            Cells::Narrow(cells) => cells.len(),
            Cells::Wide(cells) => cells.len() * 2,
        }
    }

    /// Whether its cells are wide.
    pub(super) fn is_wide(&self) -> bool {
        matches!(self.cells, Cells::Wide(_))
    }

    /// Halves what it takes in memory; it errs more often then.
    pub(super) fn narrow(&mut self) {
        if let Cells::Wide(cells) = &self.cells {
            self.cells = Cells::Narrow(cells.iter().map(|it| *it as u8).collect());
        }
    }

    /// Leaves it to the store.
    pub(super) fn drop_cells(&mut self) {
        self.cells = Cells::Absent;
    }

    /// As it is stored, if its cells are wide.
    pub(super) fn encode(&self) -> Option<Bytes> {
        let Cells::Wide(cells) = &self.cells else { return None };
        let mut bytes = Vec::with_capacity(HEAD_BYTES + cells.len() * 2);
        bytes.extend_from_slice(&self.seed.to_le_bytes());
        bytes.extend(cells.iter().flat_map(|it| it.to_le_bytes()));
        Some(bytes.into())
    }

    /// Reads what [`Filter::encode`] has written.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Corrupt> {
        let expected = Corrupt { expected: "a filter of identities" };
        let Some((seed, rest)) = bytes.split_first_chunk::<HEAD_BYTES>() else {
            return Err(expected);
        };
        let (cells, torn) = rest.as_chunks::<2>();
        if !torn.is_empty() || !cells.len().is_multiple_of(3) {
            return Err(expected);
        }
        let cells = cells.iter().map(|it| u16::from_le_bytes(*it)).collect();
        Ok(Self { seed: u16::from_le_bytes(*seed), cells: Cells::Wide(cells) })
    }
}

/// The bits of an identity that count. The first ones choose the shard and are alike within it, so
/// the other half carries the weight.
fn fold(identity: u128) -> u64 {
    identity as u64 ^ ((identity >> 64) as u64).rotate_left(29)
}

fn mix(folded: u64, seed: u16) -> u64 {
    let mixed = (folded ^ u64::from(seed)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ mixed >> 29
}

fn fingerprint(hash: u64) -> u16 {
    (hash ^ hash >> 32) as u16
}

/// The cells that a hash names, one in each third.
fn places(hash: u64, third: usize) -> [usize; 3] {
    let place = |word: u64| (((word & 0xffff_ffff) * third as u64) >> 32) as usize;
    [place(hash), third + place(hash.rotate_left(21)), 2 * third + place(hash.rotate_left(42))]
}

fn picked<T: Copy>(cells: &[T], hash: u64) -> Option<[T; 3]> {
    let [a, b, c] = places(hash, cells.len() / 3);
    Some([*cells.get(a)?, *cells.get(b)?, *cells.get(c)?])
}

/// Makes filters, one after the other, with the same working memory.
#[derive(Debug, Default)]
pub(super) struct FilterMaker {
    /// For each cell: how many hashes name it, and their xor.
    cells: Vec<(u32, u64)>,
    single: Vec<usize>,
    /// Hashes in the order in which a cell was theirs alone, and that cell.
    order: Vec<(u64, usize)>,
    folded: Vec<u64>,
}

impl FilterMaker {
    /// A wide filter over these identities.
    pub(super) fn make(&mut self, identities: impl Iterator<Item = u128>) -> Filter {
        self.folded.clear();
        self.folded.extend(identities.map(fold));
        if self.folded.is_empty() {
            return Filter { seed: 0, cells: Cells::Wide(Box::default()) };
        }
        let third = (self.folded.len() * 123 / 100 + 32).div_ceil(3);
        for seed in 0..=u16::MAX {
            if self.peel(third, seed) {
                return Filter { seed, cells: Cells::Wide(self.assign(third)) };
            }
            // Seeds fail now and then; two that fold into one would make each of them fail.
            self.folded.sort_unstable();
            self.folded.dedup();
        }
        // Out of reach. Nothing is stored for it, and what has no filter is looked up in its block.
        Filter::default()
    }

    /// Orders the hashes so that each has a cell that no later one names.
    fn peel(&mut self, third: usize, seed: u16) -> bool {
        self.cells.clear();
        self.cells.resize(3 * third, (0, 0));
        self.order.clear();
        self.single.clear();
        for folded in &self.folded {
            let hash = mix(*folded, seed);
            for place in places(hash, third) {
                if let Some((count, hashes)) = self.cells.get_mut(place) {
                    *count += 1;
                    *hashes ^= hash;
                }
            }
        }
        let cells = self.cells.iter().enumerate();
        self.single.extend(cells.filter(|(_, (count, _))| *count == 1).map(|(place, _)| place));
        while let Some(place) = self.single.pop() {
            let Some((1, hash)) = self.cells.get(place).copied() else { continue };
            self.order.push((hash, place));
            for other in places(hash, third) {
                if let Some((count, hashes)) = self.cells.get_mut(other) {
                    *count -= 1;
                    *hashes ^= hash;
                    if *count == 1 {
                        self.single.push(other);
                    }
                }
            }
        }
        self.order.len() == self.folded.len()
    }

    fn assign(&self, third: usize) -> Box<[u16]> {
        let mut cells = vec![0; 3 * third].into_boxed_slice();
        for (hash, place) in self.order.iter().rev() {
            // The cell itself is still zero.
            let others = picked(&cells, *hash).map_or(0, |[a, b, c]| a ^ b ^ c);
            if let Some(cell) = cells.get_mut(*place) {
                *cell = fingerprint(*hash) ^ others;
            }
        }
        cells
    }
}

#[cfg(test)]
mod tests {
    use siphasher::sip128::{Hasher128, SipHasher13};
    use std::hash::Hasher;

    use super::*;

    fn identity(n: u64) -> u128 {
        let mut hasher = SipHasher13::new();
        hasher.write_u64(n);
        hasher.finish128().as_u128()
    }

    #[test]
    fn what_was_put_in_is_found_and_little_else() {
        let mut maker = FilterMaker::default();
        for count in [0, 1, 2, 3, 10, 100, 4_096, 5_000] {
            let mut filter = maker.make((0..count).map(identity));
            let bytes = filter.bytes();
            assert!(bytes as u64 <= count * 5 / 2 + 80, "{bytes} bytes for {count}");
            let stored = Filter::decode(&filter.encode().unwrap()).unwrap();
            for at_most in [20, 900] {
                for n in 0..count {
                    assert_eq!(filter.verdict(identity(n)), Verdict::Maybe, "{n} of {count}");
                    assert_eq!(stored.verdict(identity(n)), Verdict::Maybe, "{n} of {count}");
                }
                // 100,000 strangers: 1.5 are expected with wide cells, 390 with narrow ones.
                let strangers = (count..count + 100_000).map(identity);
                let errors = strangers.filter(|it| filter.verdict(*it) != Verdict::No).count();
                assert!(errors <= at_most, "{errors} of 100,000 strangers in {count}");
                filter.narrow();
            }
            assert_eq!((filter.bytes(), filter.is_wide()), (bytes / 2, false));
            filter.drop_cells();
            assert_eq!((filter.bytes(), filter.verdict(identity(0))), (0, Verdict::Absent));
        }
    }

    #[test]
    fn identities_that_fold_into_one_are_all_found() {
        let twins = |n: u64| [identity(n), identity(n) ^ (1 << 64) ^ (1 << 29)];
        let filter = FilterMaker::default().make((0..1_000).flat_map(twins));
        assert!((0..1_000).flat_map(twins).all(|it| filter.verdict(it) == Verdict::Maybe));
    }

    #[test]
    fn a_torn_filter_is_not_read() {
        let filter = FilterMaker::default().make((0..9).map(identity));
        let bytes = filter.encode().unwrap();
        for length in [0, 1, bytes.len() - 1, bytes.len() - 2] {
            assert!(Filter::decode(&bytes[..length]).is_err(), "{length} bytes");
        }
    }
}
