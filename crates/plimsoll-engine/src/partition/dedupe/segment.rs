//! What memory keeps of a sealed segment: how it is cut, and the filters over it.
//!
//! The space of hashes is cut by first bits, always into powers of two: into blocks, rows of a few
//! KiB that one look-up reads; eight blocks are a shard, which has a filter; some shards are a
//! stretch, which is what one step of sealing or merging writes.
//!
//! Not here: which segments there are, and when they are written (`seal`, `merge`).

use std::ops::Range;

use plimsoll_core::codec::Corrupt;
use plimsoll_store::dedupe::{Piece, SegmentRow, SegmentState};

use super::{
    entry::{Day, Entry, first_bits, prefix},
    filter::{Filter, FilterMaker, FrontWord, Verdict},
    lookup::{Doubt, Doubts},
};

/// Identities that a block is made for; it holds half of that or more on average.
const BLOCK_IDENTITIES: u64 = 512;
/// Blocks of a shard, as a power of two.
const BLOCKS_OF_SHARD_BITS: u32 = 3;

/// Identities that a segment is asked about together.
pub(super) const ASKED_TOGETHER: usize = 128;

/// A sealed segment, or one that is being written.
#[derive(Debug)]
pub(super) struct Segment {
    number: i64,
    block_bits: u32,
    /// Into how many stretches it is written, as a power of two.
    stretch_bits: u32,
    identities: u64,
    last_position: u64,
    oldest: Day,
    newest: Day,
    shards: Vec<Filter>,
    filter_bytes: usize,
    /// The part of the hashes that it answers for: stretches of so many bits, from one to before
    /// another. A merge moves the border between its inputs and its output.
    span: Span,
    /// Shards in front that it does not answer for any more.
    left: usize,
}

#[derive(Debug)]
struct Span {
    bits: u32,
    stretches: Range<usize>,
}

/// The rows of a stretch.
#[derive(Debug, Default)]
pub(super) struct Written {
    pub(super) blocks: Vec<Piece>,
    pub(super) filters: Vec<Piece>,
}

impl Segment {
    /// A segment for about so many identities, without any yet, to be written in stretches of at
    /// most so many or of one shard. It answers for nothing.
    pub(super) fn empty(number: i64, identities: u64, of_stretch: u64) -> Self {
        let bits = |parts: u64| parts.max(1).next_power_of_two().ilog2();
        let mut segment = Self::cut(number, bits(identities.div_ceil(BLOCK_IDENTITIES)));
        let stretches = identities.div_ceil(of_stretch.max(1));
        segment.stretch_bits = bits(stretches).min(segment.shard_bits());
        segment
    }

    fn cut(number: i64, block_bits: u32) -> Self {
        let mut segment = Self {
            number,
            block_bits,
            stretch_bits: 0,
            identities: 0,
            last_position: 0,
            oldest: Day::default(),
            newest: Day::default(),
            shards: Vec::new(),
            filter_bytes: 0,
            span: Span { bits: 0, stretches: 0..0 },
            left: 0,
        };
        segment.shards.reserve_exact(1 << segment.shard_bits());
        segment
    }

    /// A segment that is in the store, with its filters still there.
    pub(super) fn stored(row: &SegmentRow) -> Self {
        let mut segment = Self::cut(row.segment, row.block_bits);
        segment.shards.resize_with(1 << segment.shard_bits(), Filter::default);
        segment.identities = row.identities;
        segment.last_position = row.last_position as u64;
        segment.oldest = Day::of(row.oldest_at);
        segment.newest = Day::of(row.newest_at);
        segment.answer_for_all();
        segment
    }

    /// Its row in the store.
    pub(super) fn row(&self, partition: u32, state: SegmentState) -> SegmentRow {
        SegmentRow {
            partition,
            segment: self.number,
            state,
            block_bits: self.block_bits,
            identities: self.identities,
            last_position: self.last_position as i64,
            oldest_at: self.oldest.start(),
            newest_at: self.newest.start(),
        }
    }

    pub(super) fn number(&self) -> i64 {
        self.number
    }

    pub(super) fn identities(&self) -> u64 {
        self.identities
    }

    pub(super) fn last_position(&self) -> u64 {
        self.last_position
    }

    pub(super) fn set_last_position(&mut self, position: u64) {
        self.last_position = position;
    }

    /// The days on which its oldest and newest identities were accepted.
    pub(super) fn days(&self) -> (Day, Day) {
        (self.oldest, self.newest)
    }

    /// Bytes that its filters take in memory.
    pub(super) fn bytes(&self) -> usize {
        self.filter_bytes + self.shards.capacity() * size_of::<Filter>()
    }

    pub(super) fn shard_count(&self) -> usize {
        1 << self.shard_bits()
    }

    fn shard_bits(&self) -> u32 {
        self.block_bits.saturating_sub(BLOCKS_OF_SHARD_BITS)
    }

    /// Into how many stretches it is cut, as a power of two.
    pub(super) fn stretch_bits(&self) -> u32 {
        self.stretch_bits
    }

    /// The block that an identity belongs to.
    pub(super) fn block_of(&self, identity: u128) -> u32 {
        prefix(first_bits(identity), self.block_bits) as u32
    }

    /// The blocks that hold a stretch, from one to before another. If a stretch is smaller than a
    /// block, that block holds its neighbours as well.
    pub(super) fn blocks_of(&self, stretch: usize, stretch_bits: u32) -> (u32, u32) {
        let (from, until) = if let Some(finer) = self.block_bits.checked_sub(stretch_bits) {
            (stretch << finer, (stretch + 1) << finer)
        } else {
            let block = stretch >> (stretch_bits - self.block_bits);
            (block, block + 1)
        };
        (from as u32, until as u32)
    }

    /// Adds the next stretch: its identities, sorted.
    pub(super) fn append(&mut self, maker: &mut FilterMaker, entries: &[Entry]) -> Written {
        for entry in entries {
            let day = entry.day();
            let first = self.identities == 0;
            self.oldest = if first { day } else { self.oldest.min(day) };
            self.newest = self.newest.max(day);
            self.identities += 1;
        }
        let mut written = Written::default();
        let mut shards = runs(entries, self.shard_bits()).peekable();
        let until = self.shards.len() + (1 << (self.shard_bits() - self.stretch_bits));
        while self.shards.len() < until {
            let number = self.shards.len();
            let of_shard = shards.next_if(|(shard, _)| *shard == number);
            let of_shard = of_shard.map_or(&[][..], |(_, entries)| entries);
            let filter = maker.make(of_shard.iter().map(Entry::identity));
            if let Some(bytes) = filter.encode() {
                written.filters.push(self.piece(number, bytes));
            }
            for (block, entries) in runs(of_shard, self.block_bits) {
                let mut bytes = Vec::with_capacity(size_of_val(entries));
                for entry in entries {
                    entry.write(&mut bytes);
                }
                written.blocks.push(self.piece(block, bytes.into()));
            }
            self.filter_bytes += filter.bytes();
            self.shards.push(filter);
        }
        written
    }

    fn piece(&self, place: usize, bytes: bytes::Bytes) -> Piece {
        Piece { segment: self.number, place: place as u32, bytes }
    }

    /// Whether every stretch has been added.
    pub(super) fn is_written(&self) -> bool {
        self.shards.len() == self.shard_count()
    }

    /// From now on it answers for all hashes.
    pub(super) fn answer_for_all(&mut self) {
        self.span = Span { bits: 0, stretches: 0..1 };
    }

    /// It answers for stretches of so many bits up to, and without, one.
    pub(super) fn answer_before(&mut self, stretch: usize, bits: u32) {
        self.span = Span { bits, stretches: 0..stretch };
    }

    /// It answers for stretches of so many bits from one on. Filters before it are let go.
    pub(super) fn answer_from(&mut self, stretch: usize, bits: u32) {
        self.span = Span { bits, stretches: stretch..1 << bits };
        let shards = match self.shard_bits().checked_sub(bits) {
            Some(finer) => stretch << finer,
            None => stretch >> (bits - self.shard_bits()),
        };
        for filter in self.shards.iter_mut().take(shards).skip(self.left) {
            self.filter_bytes -= filter.bytes();
            filter.drop_all();
        }
        self.left = shards;
    }

    /// Notes where these identities may be in it.
    ///
    /// First the words of many are read from the fronts, and nothing hangs on what they hold: so
    /// the waits for memory overlap. Few identities pass.
    pub(super) fn ask(&self, identities: &[u128], doubts: &mut Doubts) {
        for identities in identities.chunks(ASKED_TOGETHER) {
            let mut fronts = [FrontWord::STRANGER; ASKED_TOGETHER];
            for (front, identity) in fronts.iter_mut().zip(identities) {
                *front = self.front_word(*identity);
            }
            for (front, identity) in fronts.iter().zip(identities) {
                if front.passes() {
                    self.ask_one(*identity, doubts);
                }
            }
        }
    }

    /// What the front of its filter has for this identity, if it answers for it.
    fn front_word(&self, identity: u128) -> FrontWord {
        let first = first_bits(identity);
        if !self.span.stretches.contains(&prefix(first, self.span.bits)) {
            return FrontWord::STRANGER;
        }
        let filter = self.shards.get(prefix(first, self.shard_bits()));
        filter.map_or(FrontWord::STRANGER, |it| it.front_word(identity))
    }

    fn ask_one(&self, identity: u128, doubts: &mut Doubts) {
        let shard = prefix(first_bits(identity), self.shard_bits());
        let Some(filter) = self.shards.get(shard) else { return };
        let segment = self.number;
        match filter.verdict(identity) {
            Verdict::No => {}
            Verdict::Maybe => {
                let place = self.block_of(identity);
                doubts.blocks.push(Doubt { segment, place, identity });
            }
            Verdict::Absent => {
                doubts.filters.push(Doubt { segment, place: shard as u32, identity });
            }
        }
    }

    /// Puts a filter that was read from the store into memory.
    pub(super) fn put_filter(&mut self, shard: u32, bytes: &[u8]) -> Result<(), Corrupt> {
        let slot = self.shards.get_mut(shard as usize);
        let slot = slot.ok_or(Corrupt { expected: "a shard that the segment has" })?;
        let filter = Filter::decode(bytes)?;
        self.filter_bytes = self.filter_bytes - slot.bytes() + filter.bytes();
        *slot = filter;
        Ok(())
    }

    /// Drops fronts of filters until so many bytes are saved; what was saved.
    pub(super) fn drop_fronts(&mut self, bytes: usize) -> usize {
        self.save(bytes, Filter::has_front, Filter::drop_front)
    }

    /// Leaves filters to the store until so many bytes are saved; what was saved.
    pub(super) fn drop_filters(&mut self, bytes: usize) -> usize {
        self.save(bytes, |it| it.bytes() > 0, Filter::drop_all)
    }

    /// Shards whose filters are only in the store.
    #[cfg(test)]
    pub(super) fn absent_filters(&self) -> usize {
        self.shards.iter().skip(self.left).filter(|it| it.verdict(0) == Verdict::Absent).count()
    }

    fn save(
        &mut self,
        bytes: usize,
        may: impl Fn(&Filter) -> bool,
        shrink: impl Fn(&mut Filter),
    ) -> usize {
        let mut saved = 0;
        for filter in self.shards.iter_mut().filter(|it| may(it)) {
            if saved >= bytes {
                break;
            }
            let before = filter.bytes();
            shrink(filter);
            saved += before - filter.bytes();
        }
        self.filter_bytes -= saved;
        saved
    }
}

/// Cuts sorted entries where the first `bits` of their hashes change.
fn runs(entries: &[Entry], bits: u32) -> impl Iterator<Item = (usize, &[Entry])> {
    let number = move |it: &Entry| prefix(first_bits(it.identity()), bits);
    entries
        .chunk_by(move |a, b| number(a) == number(b))
        .filter_map(move |run| run.first().map(|it| (number(it), run)))
}
