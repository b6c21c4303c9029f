//! Writes a partition's state to the store, a slice at a time, beside its usage.
//!
//! A round captures the head (catalogue, clocks) first, at position *h*. Then come the slices of
//! customers, each good for the position at which it was taken, and last, when the dedupe
//! identities up to *h* are sealed, the head itself. Until the head is written, recovery starts
//! from the one before: slices that are newer than the head they are read with simply skip what
//! they already hold.
//!
//! Not here: sealing identities (`dedupe`), which goes on between rounds as well.

use bytes::Bytes;
use plimsoll_core::codec::CORE_VERSION;
use plimsoll_store::{
    Statement,
    checkpoint::{self, CheckpointRow},
};

use super::memory::Memory;

/// The slice that holds the head; customers come after it.
pub(crate) const HEAD: u32 = 0;
/// Usage events after which a round begins.
const ROUND_EVENTS: u64 = 1_000_000;
/// Log rows after which a round begins, however few events they hold.
const ROUND_ROWS: u64 = 20_000;

/// Decides what to write when.
#[derive(Debug)]
pub(super) struct Checkpointer {
    /// The position of the last head.
    head_position: u64,
    /// Events since the last head was captured.
    events: u64,
    round: Option<Round>,
}

#[derive(Debug)]
struct Round {
    head: Bytes,
    position: u64,
    next_slice: usize,
}

impl Checkpointer {
    /// Goes on after a recovery that found a head at this position and replayed so many events.
    pub(super) fn new(head_position: u64, events: u64) -> Self {
        Self { head_position, events, round: None }
    }

    /// So many events were applied.
    pub(super) fn note(&mut self, events: u64) {
        self.events += events;
    }

    /// Whether there is anything that the last head does not hold.
    pub(super) fn is_behind(&self, memory: &Memory) -> bool {
        memory.position > self.head_position
    }

    /// Whether a round is under way.
    pub(super) fn in_round(&self) -> bool {
        self.round.is_some()
    }

    /// Begins a round if enough has come together.
    pub(super) fn begin_if_due(&mut self, memory: &mut Memory) {
        let rows = memory.position - self.head_position;
        if self.round.is_none() && (self.events >= ROUND_EVENTS || rows >= ROUND_ROWS) {
            self.begin(memory);
        }
    }

    /// Begins a round: everything up to the memory's position will be in it.
    pub(super) fn begin(&mut self, memory: &mut Memory) {
        self.events = 0;
        self.round = Some(Round {
            head: memory.state.encode_head().into(),
            position: memory.position,
            next_slice: 0,
        });
        memory.dedupe.want_sealed(memory.position);
    }

    /// The next piece of the round. It must be committed with or after the memory's position.
    pub(super) fn step(&mut self, memory: &Memory) -> Vec<Statement> {
        let Some(round) = &mut self.round else { return Vec::new() };
        if round.next_slice < memory.state.slice_count() {
            let slice = round.next_slice;
            round.next_slice += 1;
            let payload = memory.state.encode_slice(slice).into();
            return checkpoint::put(vec![row(memory, slice as u32 + 1, memory.position, payload)]);
        }
        if !memory.dedupe.is_sealed_through(round.position) {
            return Vec::new();
        }
        let head = row(memory, HEAD, round.position, round.head.clone());
        self.head_position = round.position;
        self.round = None;
        checkpoint::put(vec![head])
    }
}

fn row(memory: &Memory, slice: u32, position: u64, payload: Bytes) -> CheckpointRow {
    CheckpointRow {
        partition: memory.partition,
        slice,
        position: position as i64,
        core_version: CORE_VERSION as u32,
        payload,
    }
}
