//! The archive: what has closed and left the memory, as the core sees it.
//!
//! Windows that have ended, cells of hours and days that are over, stretches of burning: the core
//! hands them out once and forgets them. Only a late event brings a closed window back.
//!
//! Not here: where they are kept. The engine keeps them in the store, in the transaction of the row
//! that closed them; tests, verification and back-tests keep them in a [`MemoryArchive`].

use std::collections::BTreeMap;

use crate::{
    codec::{Corrupt, Reader, Writer},
    ids::{CustomerId, EntitlementId, GrantId},
    metering::cell::{Cell, CellKey},
    quantity::Quantity,
    state::ClosedWindow,
    time::Timestamp,
};

/// Takes what closes, and gives closed windows back for late events.
pub trait Archive {
    /// The closed window of an entitlement that holds this time.
    ///
    /// The caller of `apply` must have made sure that it is at hand: see
    /// [`State::late_windows`](crate::state::State::late_windows).
    fn window(&mut self, entitlement: EntitlementId, time: Timestamp) -> Archived;

    /// Keeps a window that has closed, or that a late event has changed.
    fn put_window(&mut self, customer: CustomerId, entitlement: EntitlementId, it: ClosedWindow);

    /// Keeps a cell that has closed. There was none before.
    fn put_cell(&mut self, key: CellKey, cell: Cell);

    /// Adds late usage to a cell that has closed, or makes it.
    fn add_to_cell(&mut self, key: CellKey, late: Cell);

    /// Keeps a stretch of burning.
    fn put_segment(&mut self, entitlement: EntitlementId, segment: Segment);
}

/// What the archive has of a window.
#[derive(Debug)]
pub enum Archived {
    /// This.
    Window(Box<ClosedWindow>),
    /// Nothing: nothing was used in it while it was open.
    Nothing,
    /// What late events do to it is kept already: the log is being replayed.
    Settled,
}

/// A stretch of time in which the same grants burned (design 5.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Its first moment.
    pub from: Timestamp,
    /// The first moment after it.
    pub to: Timestamp,
    /// Usage in it.
    pub usage: Quantity,
    /// What was used beyond all grants, at its end.
    pub overage: Quantity,
    /// What each grant gave; the one without an id is the limit of the period.
    pub burned: Vec<Burned>,
}

/// What one grant gave in a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Burned {
    /// The grant; nothing is the limit of the period.
    pub grant: Option<GrantId>,
    /// What it had at the start.
    pub balance_at_start: Quantity,
    /// What was burned of it; below zero where corrections gave back more.
    pub burned: Quantity,
}

impl Segment {
    /// Writes it as the archive keeps it.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.time(self.from);
        writer.time(self.to);
        writer.quantity(self.usage);
        writer.quantity(self.overage);
        writer.list(self.burned.iter(), |writer, it| {
            writer.option(it.grant, |writer, it| writer.bits(it.bits()));
            writer.quantity(it.balance_at_start);
            writer.quantity(it.burned);
        });
        writer.into_bytes()
    }

    /// Reads what [`Segment::encode`] of this version wrote.
    pub fn decode(bytes: &[u8], version: i64) -> Result<Self, Corrupt> {
        let mut reader = Reader::of_version(bytes, version);
        let segment = Self {
            from: reader.time()?,
            to: reader.time()?,
            usage: reader.quantity()?,
            overage: reader.quantity()?,
            burned: reader.list(|reader| {
                Ok(Burned {
                    grant: reader.option(|it| it.bits().map(GrantId::from_bits))?,
                    balance_at_start: reader.quantity()?,
                    burned: reader.quantity()?,
                })
            })?,
        };
        reader.finish()?;
        Ok(segment)
    }
}

/// An archive in memory, complete from the first row on.
#[derive(Debug, Clone, Default)]
pub struct MemoryArchive {
    /// Windows by their start.
    pub windows: BTreeMap<(EntitlementId, Timestamp), ClosedWindow>,
    /// Cells.
    pub cells: BTreeMap<CellKey, Cell>,
    /// Segments by their start.
    pub segments: BTreeMap<(EntitlementId, Timestamp), Segment>,
}

impl Archive for MemoryArchive {
    fn window(&mut self, entitlement: EntitlementId, time: Timestamp) -> Archived {
        let until = (entitlement, Timestamp::MIN)..=(entitlement, time);
        match self.windows.range(until).next_back() {
            Some((_, it)) if it.window().contains(time) => Archived::Window(Box::new(it.clone())),
            _ => Archived::Nothing,
        }
    }

    fn put_window(&mut self, _: CustomerId, entitlement: EntitlementId, it: ClosedWindow) {
        self.windows.insert((entitlement, it.window().from), it);
    }

    fn put_cell(&mut self, key: CellKey, cell: Cell) {
        self.cells.insert(key, cell);
    }

    fn add_to_cell(&mut self, key: CellKey, late: Cell) {
        match self.cells.get_mut(&key) {
            // A total beyond 28 digits stays as it was: nobody can be told any more.
            Some(cell) => drop(cell.merge(&late)),
            None => drop(self.cells.insert(key, late)),
        }
    }

    fn put_segment(&mut self, entitlement: EntitlementId, segment: Segment) {
        self.segments.insert((entitlement, segment.from), segment);
    }
}

/// The archive of a replay: everything that closes is kept already, and so is what late events did.
#[derive(Debug, Default, Clone, Copy)]
pub struct Settled;

impl Archive for Settled {
    fn window(&mut self, _: EntitlementId, _: Timestamp) -> Archived {
        Archived::Settled
    }

    fn put_window(&mut self, _: CustomerId, _: EntitlementId, _: ClosedWindow) {}

    fn put_cell(&mut self, _: CellKey, _: Cell) {}

    fn add_to_cell(&mut self, _: CellKey, _: Cell) {}

    fn put_segment(&mut self, _: EntitlementId, _: Segment) {}
}
