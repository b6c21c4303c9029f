//! Filters over the identities of a shard: a few thousand, known when the filter is made.
//!
//! A filter has two layers. The front is a Bloom filter that looks at one word an identity and
//! turns away 19 strangers of 20. Who passes is compared with an xor filter behind it, whose three
//! cells lie apart, and which turns away 255 strangers of 256. What was put in passes both. The
//! front can be left out to save memory: the answers stay right and cost more.
//!
//! Not here: which shards there are, and which are kept in memory (`segment`).

use bytes::Bytes;
use plimsoll_core::codec::Corrupt;

/// Bytes in front of the layers of a stored filter: its seed and the words of its front.
const HEAD_BYTES: usize = 4;
/// Identities that a word of the front is for: eight bits each.
const IDENTITIES_OF_WORD: usize = 8;

/// A filter, as far as it is in memory.
#[derive(Debug, Default)]
pub(super) struct Filter {
    seed: u16,
    layers: Layers,
}

#[derive(Debug, Default)]
enum Layers {
    /// Only in the store.
    #[default]
    Absent,
    Back(Box<[u8]>),
    Both(Box<[u64]>, Box<[u8]>),
}

/// The word of a front that an identity belongs to, and the bits there that are the identity's.
#[derive(Debug, Clone, Copy)]
pub(super) struct FrontWord {
    word: u64,
    bits: u64,
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
    /// What the front has for an identity, to be looked at later.
    pub(super) fn front_word(&self, identity: u128) -> FrontWord {
        match &self.layers {
            Layers::Both(front, _) => FrontWord::of(front, fold(identity)),
            Layers::Back(_) | Layers::Absent => FrontWord::KNOWN,
        }
    }

    /// What it says about an identity.
    pub(super) fn verdict(&self, identity: u128) -> Verdict {
        let folded = fold(identity);
        let cells = match &self.layers {
            Layers::Absent => return Verdict::Absent,
            Layers::Both(front, cells) => {
                if !FrontWord::of(front, folded).passes() {
                    return Verdict::No;
                }
                cells
            }
            Layers::Back(cells) => cells,
        };
        let hash = mix(folded, self.seed);
        match picked(cells, hash) {
            Some([a, b, c]) if a ^ b ^ c == fingerprint(hash) => Verdict::Maybe,
            Some(_) | None => Verdict::No,
        }
    }

    /// Bytes of its layers in memory.
    pub(super) fn bytes(&self) -> usize {
        match &self.layers {
            Layers::Absent => 0,
            Layers::Back(cells) => cells.len(),
            Layers::Both(front, cells) => size_of_val(&**front) + cells.len(),
        }
    }

    /// Whether it has a front.
    pub(super) fn has_front(&self) -> bool {
        matches!(self.layers, Layers::Both(..))
    }

    /// Nearly halves what it takes in memory; it errs more often then, and is slower.
    pub(super) fn drop_front(&mut self) {
        self.layers = match std::mem::take(&mut self.layers) {
            Layers::Both(_, cells) => Layers::Back(cells),
            other => other,
        };
    }

    /// Leaves it to the store.
    pub(super) fn drop_all(&mut self) {
        self.layers = Layers::Absent;
    }

    /// As it is stored, if both layers are in memory.
    pub(super) fn encode(&self) -> Option<Bytes> {
        let Layers::Both(front, cells) = &self.layers else { return None };
        let mut bytes = Vec::with_capacity(HEAD_BYTES + self.bytes());
        bytes.extend_from_slice(&self.seed.to_le_bytes());
        bytes.extend_from_slice(&(front.len() as u16).to_le_bytes());
        bytes.extend(front.iter().flat_map(|it| it.to_le_bytes()));
        bytes.extend_from_slice(cells);
        Some(bytes.into())
    }

    /// Reads what [`Filter::encode`] has written.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Corrupt> {
        let corrupt = Corrupt { expected: "a filter of identities" };
        let (head, layers) = bytes.split_first_chunk::<HEAD_BYTES>().ok_or(corrupt)?;
        let [seed_low, seed_high, words_low, words_high] = *head;
        let words = usize::from(u16::from_le_bytes([words_low, words_high]));
        let (front, cells) = layers.split_at_checked(words * size_of::<u64>()).ok_or(corrupt)?;
        if !cells.len().is_multiple_of(3) {
            return Err(corrupt);
        }
        let front = front.as_chunks().0.iter().map(|it| u64::from_le_bytes(*it)).collect();
        let seed = u16::from_le_bytes([seed_low, seed_high]);
        Ok(Self { seed, layers: Layers::Both(front, cells.into()) })
    }
}

/// The word of an identity in a front of so many words, and its bits there.
fn place_in_front(folded: u64, words: usize) -> (usize, u64) {
    // Another constant than in `mix`: who passes the front by chance is a stranger to the back.
    let hash = folded.wrapping_mul(0xd6e8_feb8_6659_fd93);
    let hash = hash ^ hash >> 32;
    let bit = |nth: u32| 1_u64 << (hash >> (6 * nth) & 63);
    (((hash >> 32) as usize * words) >> 32, bit(0) | bit(1) | bit(2) | bit(3))
}

impl FrontWord {
    /// What does not pass.
    pub(super) const STRANGER: Self = Self { word: 0, bits: 1 };
    /// What passes, whatever a front would say.
    const KNOWN: Self = Self { word: 0, bits: 0 };

    fn of(front: &[u64], folded: u64) -> Self {
        let (word, bits) = place_in_front(folded, front.len());
        front.get(word).map_or(Self::STRANGER, |word| Self { word: *word, bits })
    }

    /// Whether the identity may be there; the back must be asked.
    pub(super) fn passes(self) -> bool {
        self.word & self.bits == self.bits
    }
}

fn front_of(folded: &[u64]) -> Box<[u64]> {
    let mut front = vec![0; folded.len().div_ceil(IDENTITIES_OF_WORD)];
    for folded in folded {
        let (word, bits) = place_in_front(*folded, front.len());
        if let Some(word) = front.get_mut(word) {
            *word |= bits;
        }
    }
    front.into_boxed_slice()
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

fn fingerprint(hash: u64) -> u8 {
    (hash ^ hash >> 32) as u8
}

/// The cells that a hash names, one in each third.
fn places(hash: u64, third: usize) -> [usize; 3] {
    let place = |word: u64| (((word & 0xffff_ffff) * third as u64) >> 32) as usize;
    [place(hash), third + place(hash.rotate_left(21)), 2 * third + place(hash.rotate_left(42))]
}

fn picked(cells: &[u8], hash: u64) -> Option<[u8; 3]> {
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
    /// A filter over these identities, both layers.
    pub(super) fn make(&mut self, identities: impl Iterator<Item = u128>) -> Filter {
        self.folded.clear();
        self.folded.extend(identities.map(fold));
        if self.folded.is_empty() {
            return Filter { seed: 0, layers: Layers::Both(Box::default(), Box::default()) };
        }
        let third = (self.folded.len() * 123 / 100 + 32).div_ceil(3);
        for seed in 0..=u16::MAX {
            if self.peel(third, seed) {
                let layers = Layers::Both(front_of(&self.folded), self.assign(third));
                return Filter { seed, layers };
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

    fn assign(&self, third: usize) -> Box<[u8]> {
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
    use std::hash::Hasher;

    use siphasher::sip128::{Hasher128, SipHasher13};

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
            assert!(bytes as u64 <= count * 9 / 4 + 100, "{bytes} bytes for {count}");
            let stored = Filter::decode(&filter.encode().unwrap()).unwrap();
            for at_most in [60, 600] {
                for n in 0..count {
                    assert_eq!(filter.verdict(identity(n)), Verdict::Maybe, "{n} of {count}");
                    assert_eq!(stored.verdict(identity(n)), Verdict::Maybe, "{n} of {count}");
                }
                // Of 100,000 strangers 20 are expected to pass both layers, and 390 the back.
                let strangers = (count..count + 100_000).map(identity);
                let errors = strangers.filter(|it| filter.verdict(*it) != Verdict::No).count();
                assert!(errors <= at_most, "{errors} of 100,000 strangers in {count}");
                filter.drop_front();
            }
            let front = (count as usize).div_ceil(8) * 8;
            assert_eq!((filter.bytes(), filter.has_front()), (bytes - front, false));
            filter.drop_all();
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
        for length in [0, 3, 40, bytes.len() - 1, bytes.len() - 2] {
            assert!(Filter::decode(&bytes[..length]).is_err(), "{length} bytes");
        }
    }
}
