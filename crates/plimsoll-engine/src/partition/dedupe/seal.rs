//! Seals recent identities: writes them as a segment, a stretch at a time.
//!
//! The table that is being sealed answers exactly until its last stretch is written; the statement
//! that makes the segment live goes with that one. A crash before leaves a segment that nobody
//! looks at, and the log brings the identities back.
//!
//! Not here: when (`upkeep`), merging (`merge`).

use plimsoll_store::{
    Statement,
    dedupe::{self, Kind, SegmentState},
};

use super::{
    Dedupe,
    entry::{Entry, first_bits, prefix},
    recent::Recent,
    segment::{Segment, Written},
};

/// A table of identities on its way into a segment.
#[derive(Debug)]
pub(super) struct Sealing {
    recent: Recent,
    segment: Segment,
    stretch: usize,
    /// Where in the table the stretch begins.
    slot: usize,
}

impl Sealing {
    /// The entry of an identity that is being sealed.
    pub(super) fn get(&self, identity: u128) -> Option<Entry> {
        self.recent.get(identity)
    }

    /// See [`Recent::read_ahead`].
    pub(super) fn read_ahead(&self, identity: u128) {
        self.recent.read_ahead(identity);
    }

    /// Bytes that the table takes.
    pub(super) fn recent_bytes(&self) -> usize {
        self.recent.bytes()
    }

    /// Bytes that the filters of the segment take.
    pub(super) fn filter_bytes(&self) -> usize {
        self.segment.bytes()
    }

    /// The identities of the next stretch.
    fn next_entries(&mut self) -> Vec<Entry> {
        let (bits, stretch) = (self.segment.stretch_bits(), self.stretch);
        let mut entries = Vec::new();
        for (next, entry) in self.recent.entries_from(self.slot) {
            if prefix(first_bits(entry.identity()), bits) != stretch {
                break;
            }
            self.slot = next;
            entries.push(entry);
        }
        self.stretch += 1;
        entries
    }
}

impl Dedupe {
    /// Begins to seal what is recent. All of it belongs to log rows up to this position.
    pub(super) fn freeze(&mut self, position: u64) {
        let empty = self.spare.take().unwrap_or_default();
        let recent = std::mem::replace(&mut self.active, empty);
        let of_stretch = self.budget.of_stretch();
        let mut segment = Segment::empty(self.new_number(), recent.len() as u64, of_stretch);
        segment.set_last_position(position);
        self.sealing = Some(Sealing { recent, segment, stretch: 0, slot: 0 });
    }

    /// Writes the next stretch of what is being sealed.
    pub(super) fn seal_step(&mut self) -> Vec<Statement> {
        let Some(mut sealing) = self.sealing.take() else { return Vec::new() };
        let is_first = sealing.stretch == 0;
        let entries = sealing.next_entries();
        let written = sealing.segment.append(&mut self.maker, &entries);
        let is_last = sealing.segment.is_written();
        let state = if is_last { SegmentState::Live } else { SegmentState::Building };
        let row = sealing.segment.row(self.partition, state);
        let mut statements = written.put(self.partition);
        if is_first {
            statements.push(dedupe::begin(&row));
        } else if is_last {
            statements.push(dedupe::update(&row));
        }
        if is_last {
            sealing.segment.answer_for_all();
            self.sealed_through = sealing.segment.last_position();
            self.segments.push(sealing.segment);
            self.spare = sealing.recent.emptied(self.budget.recent());
        } else {
            self.sealing = Some(sealing);
        }
        statements
    }
}

impl Written {
    /// The statements that write the rows.
    pub(super) fn put(self, partition: u32) -> Vec<Statement> {
        let mut statements = dedupe::put_pieces(Kind::Block, partition, self.blocks);
        statements.extend(dedupe::put_pieces(Kind::Filter, partition, self.filters));
        statements
    }
}
