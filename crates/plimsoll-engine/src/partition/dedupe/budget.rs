//! How the bound on memory is divided, and what gives way when filters need more than their part.
//!
//! Not here: the bound itself (`plimsoll_core::limits`).

use super::{
    Dedupe,
    recent::{bytes_of, capacity},
    segment::Segment,
};

/// Bits of the smallest table of recent identities.
const FEWEST_BITS: u32 = 6;
/// Identities that one step of sealing or merging writes, however large the bound is.
const MOST_OF_STRETCH: u64 = 1 << 16;

/// The parts of the bound.
#[derive(Debug, Clone, Copy)]
pub(super) struct Budget {
    /// Slots of the table of recent identities, as a power of two.
    recent_bits: u32,
    /// Bytes for filters.
    filter_bytes: usize,
}

impl Budget {
    /// Divides so many bytes: three eighths for recent identities, a sixteenth for what a turn has
    /// looked up, the rest for filters.
    pub(super) fn new(bytes: usize) -> Self {
        // One table fills while another is sealed, and a table that doubles is there twice.
        let tables = |bits| bytes_of(bits) / 2 * 5;
        let mut recent_bits = FEWEST_BITS;
        while tables(recent_bits + 1) <= bytes / 8 * 3 {
            recent_bits += 1;
        }
        let filter_bytes = bytes.saturating_sub(tables(recent_bits) + bytes / 16);
        Self { recent_bits, filter_bytes }
    }

    /// Identities that one step writes at the most: about a MiB of them.
    pub(super) fn of_stretch(&self) -> u64 {
        MOST_OF_STRETCH.min(self.recent() as u64)
    }

    /// Recent identities that are sealed at the latest.
    pub(super) fn recent(&self) -> usize {
        capacity(self.recent_bits)
    }
}

impl Dedupe {
    /// Brings the filters back to their part of the bound: those of the oldest segments lose
    /// their front, then are left to the store. Whether any had to be left.
    pub(super) fn shrink_filters(&mut self) -> bool {
        let mut excess = self.filter_bytes().saturating_sub(self.budget.filter_bytes);
        if excess == 0 {
            return false;
        }
        self.segments.sort_by_key(Segment::last_position);
        for segment in &mut self.segments {
            excess = excess.saturating_sub(segment.drop_fronts(excess));
        }
        let must_leave = excess > 0;
        for segment in &mut self.segments {
            excess = excess.saturating_sub(segment.drop_filters(excess));
        }
        must_leave
    }
}
