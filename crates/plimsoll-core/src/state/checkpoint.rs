//! Checkpoints: the head, and the customers in slices of [`limits::CHECKPOINT_SLICE`] slots.
//!
//! Not here: when they are taken and where they are kept (the engine).
//!
//! [`limits::CHECKPOINT_SLICE`]: crate::limits::CHECKPOINT_SLICE

use super::{State, clock::EnvironmentClock, customers::Customers};
use crate::{
    catalog::Catalog,
    codec::{CORE_VERSION, Corrupt, Reader, Writer},
    ids::EnvironmentId,
};

/// One slice of a checkpoint.
#[derive(Debug, Clone, Copy)]
pub struct SliceOf<'a> {
    /// Which slice.
    pub slice: usize,
    /// The position that it is good for.
    pub position: u64,
    /// The version of the core that wrote it.
    pub version: i64,
    /// What it wrote.
    pub bytes: &'a [u8],
}

impl State {
    /// How many slices hold the customers.
    pub fn slice_count(&self) -> usize {
        self.customers.slice_count()
    }

    /// The bytes of one slice, as of the last row.
    pub fn encode_slice(&self, slice: usize) -> Vec<u8> {
        let mut writer = Writer::new();
        self.customers.encode_slice(slice, &mut writer);
        writer.into_bytes()
    }

    /// The bytes of everything but the customers, as of the last row.
    pub fn encode_head(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.list(self.clocks.iter(), |writer, (environment, clock)| {
            writer.bits(environment.bits());
            clock.encode(writer);
        });
        writer.list(self.sweeps.iter(), |writer, (environment, next)| {
            writer.bits(environment.bits());
            writer.number(u64::from(*next));
        });
        writer.number(u64::from(self.customers.slice_slots()));
        writer.number(u64::from(self.customers.next_slot()));
        self.catalog.encode(&mut writer);
        writer.into_bytes()
    }

    /// The state of a checkpoint, to be replayed from the head's position on.
    ///
    /// `head` is what a core of `version` wrote. `slices` are all that there were at the head's
    /// position, none good for an earlier one.
    pub fn restore(head: &[u8], version: i64, slices: &[SliceOf<'_>]) -> Result<Self, Corrupt> {
        let mut reader = Reader::of_version(head, version);
        let clocks = reader
            .list(|it| Ok((EnvironmentId::from_bits(it.bits()?), EnvironmentClock::decode(it)?)))?;
        let sweeps = reader.list(|it| {
            let environment = EnvironmentId::from_bits(it.bits()?);
            Ok((environment, it.number_u32()?))
        })?;
        let slice_slots = reader.number_u32()?;
        if slice_slots == 0 {
            return Err(Corrupt { expected: "slices that hold something" });
        }
        let next_slot = reader.number_u32()?;
        let catalog = Catalog::decode(&mut reader)?;
        reader.finish()?;
        let mut state = Self {
            catalog,
            clocks: clocks.into_iter().collect(),
            sweeps: sweeps.into_iter().collect(),
            customers: Customers::empty(slice_slots, next_slot),
            held: Vec::new(),
        };
        for SliceOf { slice, position, version, bytes } in slices {
            let mut reader = Reader::of_version(bytes, *version);
            state.customers.decode_slice(*slice, &mut reader)?;
            reader.finish()?;
            if state.held.len() <= *slice {
                state.held.resize(*slice + 1, 0);
            }
            state.held[*slice] = *position;
        }
        Ok(state)
    }

    /// As [`State::restore`], of what a core of this version wrote.
    pub fn restore_current(head: &[u8], slices: &[(usize, u64, &[u8])]) -> Result<Self, Corrupt> {
        let slices: Vec<_> = slices
            .iter()
            .map(|(slice, position, bytes)| SliceOf {
                slice: *slice,
                position: *position,
                version: CORE_VERSION,
                bytes,
            })
            .collect();
        Self::restore(head, CORE_VERSION, &slices)
    }

    /// Ends the replay: from now on every row is new to every slice.
    pub fn finish_replay(&mut self) {
        self.held.clear();
    }
}
