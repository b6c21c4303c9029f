//! Merges segments into one, a stretch at a time, so that few filters are asked about an identity.
//!
//! Segments of about the same size are merged when there are eight of them, as in any
//! log-structured tree: each identity is written again a few times in all, and the number of
//! segments grows with the logarithm of the number of identities. A segment half of which has
//! expired is written again alone.
//!
//! In memory a merge moves the border between its inputs and its output with each stretch, and the
//! filters with it. In the store the inputs stay complete until the output is: one transaction
//! makes it live and them dead. After a crash the merge begins again.
//!
//! Not here: when (`upkeep`), deleting what is dead (`upkeep`).

use plimsoll_store::{
    Statement, Store,
    dedupe::{self, Kind, SegmentState},
};

use super::{
    Dedupe, LookupError,
    entry::{self, Entry, first_bits, prefix},
    segment::Segment,
};

/// Segments of one size that are merged.
const FAN_IN: usize = 8;

/// A merge under way.
#[derive(Debug)]
pub(super) struct Merging {
    /// The numbers of the segments that go in.
    inputs: Vec<i64>,
    /// The number of the one that comes out.
    output: i64,
    /// The next stretch, and into how many the hashes are cut, as a power of two.
    stretch: usize,
    stretch_bits: u32,
}

/// What the inputs of a merge hold of its next stretch: sorted, once each, not expired.
#[derive(Debug)]
pub(in crate::partition) struct Stretch(Vec<Entry>);

impl Dedupe {
    /// The segments that should be merged now.
    pub(super) fn mergeable(&self) -> Option<Vec<i64>> {
        if self.merging.is_some() {
            return None;
        }
        let half_expired = |it: &&Segment| {
            let (oldest, newest) = it.days();
            oldest.middle(newest).has_expired(self.today) && !newest.has_expired(self.today)
        };
        if let Some(segment) = self.segments.iter().find(half_expired) {
            return Some(vec![segment.number()]);
        }
        let mut sizes: Vec<(u32, i64)> =
            self.segments.iter().map(|it| (self.size_of(it), it.number())).collect();
        sizes.sort_unstable();
        let full = sizes.chunk_by(|a, b| a.0 == b.0).find(|it| it.len() >= FAN_IN)?;
        Some(full.iter().map(|(_, number)| *number).collect())
    }

    /// Segments of one size hold up to eight times as many identities as each other. What is much
    /// less than one table of recent identities is all of one size: merging it costs nothing.
    fn size_of(&self, segment: &Segment) -> u32 {
        let seals = segment.identities() / (self.budget.recent() as u64 / 2).max(1);
        seals.checked_ilog(FAN_IN as u64).map_or(0, |it| it + 1)
    }

    /// Reads the next stretch of the merge under way, or of one that begins.
    pub(in crate::partition) async fn read_stretch(
        &mut self,
        store: &dyn Store,
    ) -> Result<Option<Stretch>, LookupError> {
        if let Some(inputs) = self.mergeable() {
            self.begin_merge(inputs);
        }
        let Some(merging) = &self.merging else { return Ok(None) };
        let (stretch, bits) = (merging.stretch, merging.stretch_bits);
        let mut entries = Vec::new();
        for segment in self.segments.iter().filter(|it| merging.inputs.contains(&it.number())) {
            let blocks = segment.blocks_of(stretch, bits);
            let number = segment.number();
            let pieces =
                dedupe::read_pieces(store, Kind::Block, self.partition, number, blocks).await?;
            for piece in pieces {
                entries.extend(entry::of_block(&piece.bytes)?.filter(|it| {
                    prefix(first_bits(it.identity()), bits) == stretch
                        && !it.day().has_expired(self.today)
                }));
            }
        }
        // Of an identity that was accepted again after it had expired, the last day counts.
        entries.sort_by_key(|it| (it.identity(), std::cmp::Reverse(it.day())));
        entries.dedup_by_key(|it| it.identity());
        Ok(Some(Stretch(entries)))
    }

    fn begin_merge(&mut self, inputs: Vec<i64>) {
        let of_inputs = self.segments.iter().filter(|it| inputs.contains(&it.number()));
        let (identities, last_position) = of_inputs
            .fold((0, 0), |(sum, last), it| (sum + it.identities(), it.last_position().max(last)));
        let output = self.new_number();
        let mut segment = Segment::empty(output, identities, self.budget.of_stretch());
        segment.set_last_position(last_position);
        let stretch_bits = segment.stretch_bits();
        self.segments.push(segment);
        self.merging = Some(Merging { inputs, output, stretch: 0, stretch_bits });
    }

    /// Writes a stretch that was read.
    pub(super) fn merge_step(&mut self, Stretch(entries): Stretch) -> Vec<Statement> {
        let Some(mut merging) = self.merging.take() else { return Vec::new() };
        let (partition, bits) = (self.partition, merging.stretch_bits);
        let is_first = merging.stretch == 0;
        merging.stretch += 1;
        for segment in &mut self.segments {
            if merging.inputs.contains(&segment.number()) {
                segment.answer_from(merging.stretch, bits);
            }
        }
        let output = self.segments.iter_mut().find(|it| it.number() == merging.output);
        let Some(output) = output else { return Vec::new() };
        let mut statements = output.append(&mut self.maker, &entries).put(partition);
        output.answer_before(merging.stretch, bits);
        let is_last = output.is_written();
        let state = if is_last { SegmentState::Live } else { SegmentState::Building };
        let row = output.row(partition, state);
        statements.push(if is_first { dedupe::begin(&row) } else { dedupe::update(&row) });
        if is_last {
            output.answer_for_all();
            let is_empty = output.identities() == 0;
            let left = merging.inputs.into_iter().chain(is_empty.then_some(merging.output));
            for number in left {
                statements.extend(self.bury(number));
            }
        } else {
            self.merging = Some(merging);
        }
        statements
    }

    /// Lets go of a segment; its pieces are deleted step by step.
    pub(super) fn bury(&mut self, number: i64) -> Option<Statement> {
        let at = self.segments.iter().position(|it| it.number() == number)?;
        let row = self.segments.remove(at).row(self.partition, SegmentState::Dead);
        let statement = dedupe::update(&row);
        self.dead.push_back((row, 0));
        Some(statement)
    }

    /// Whether a segment is being written or read by a merge.
    pub(super) fn is_merging(&self, number: i64) -> bool {
        let merging = self.merging.as_ref();
        merging.is_some_and(|it| it.output == number || it.inputs.contains(&number))
    }
}
