//! The archive of one partition, as far as the turn that is being applied needs it.
//!
//! The core gives closed windows, cells and segments away and never waits. So what late events will
//! ask for is fetched before they are applied, and what closes is gathered here and written in the
//! transaction of the rows that closed it.
//!
//! Not here: what closes when (`plimsoll-core`), reading it for people (`reads`).

use std::collections::{BTreeMap, BTreeSet};

use plimsoll_core::{
    archive::{Archive, Archived, Segment},
    codec::{CORE_VERSION, Corrupt, Reader, Writer},
    ids::{CustomerId, EntitlementId},
    metering::cell::{Cell, CellKey},
    state::ClosedWindow,
    time::Timestamp,
};
use plimsoll_store::{
    ReadError, Statement, Store,
    archive::{self, CellRow, SegmentRow, WindowRow},
};

/// What is at hand of the archive, and what has changed in it.
#[derive(Debug, Default)]
pub(super) struct TurnArchive {
    windows: BTreeMap<(EntitlementId, Timestamp), ClosedWindow>,
    changed_windows: BTreeMap<(EntitlementId, Timestamp), CustomerId>,
    cells: BTreeMap<CellKey, Cell>,
    late_cells: BTreeMap<CellKey, Cell>,
    segments: Vec<(EntitlementId, Segment)>,
}

/// Why the archive could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ArchiveError {
    /// The store cannot be read now.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// What is stored cannot be understood.
    #[error(transparent)]
    Corrupt(#[from] Corrupt),
}

impl TurnArchive {
    /// Brings the closed windows of these moments to hand.
    pub(super) async fn load_windows(
        &mut self,
        store: &dyn Store,
        moments: BTreeSet<(EntitlementId, Timestamp)>,
    ) -> Result<(), ArchiveError> {
        if moments.is_empty() {
            return Ok(());
        }
        let moments: Vec<_> = moments.into_iter().collect();
        for row in archive::windows_at(store, &moments).await? {
            let window = ClosedWindow::decode(&row.payload, row.core_version)?;
            self.windows.insert((row.entitlement, row.from), window);
        }
        Ok(())
    }

    /// What is to be written, now that everything has been applied.
    pub(super) async fn into_statements(
        mut self,
        store: &dyn Store,
        partition: u32,
    ) -> Result<Vec<Statement>, ArchiveError> {
        self.add_late_cells(store, partition).await?;
        let changed = std::mem::take(&mut self.changed_windows);
        let windows = changed.into_iter().filter_map(|((entitlement, from), customer)| {
            let window = self.windows.get(&(entitlement, from))?;
            let (core_version, payload) = (CORE_VERSION, window.encode().into());
            let to = window.window().to;
            Some(WindowRow { entitlement, from, to, customer, core_version, payload })
        });
        let mut statements = archive::put_windows(windows.collect());
        let cells = self.cells.iter().map(|(key, cell)| {
            let mut writer = Writer::new();
            cell.encode(&mut writer);
            let (core_version, payload) = (CORE_VERSION, writer.into_bytes().into());
            CellRow { key: *key, core_version, payload }
        });
        statements.extend(archive::put_cells(partition, cells.collect()));
        let segments = self.segments.into_iter().map(|(entitlement, segment)| {
            let (core_version, payload) = (CORE_VERSION, segment.encode().into());
            let (from, to) = (segment.from, segment.to);
            SegmentRow { entitlement, from, to, core_version, payload }
        });
        statements.extend(archive::put_segments(segments.collect()));
        Ok(statements)
    }

    /// Adds late usage to the cells that are kept.
    async fn add_late_cells(
        &mut self,
        store: &dyn Store,
        partition: u32,
    ) -> Result<(), ArchiveError> {
        if self.late_cells.is_empty() {
            return Ok(());
        }
        let late = std::mem::take(&mut self.late_cells);
        let keys: Vec<_> = late.keys().copied().collect();
        for row in archive::cells(store, partition, &keys).await? {
            let mut reader = Reader::of_version(&row.payload, row.core_version);
            self.cells.insert(row.key, Cell::decode(&mut reader)?);
        }
        for (key, cell) in late {
            merge(&mut self.cells, key, cell);
        }
        Ok(())
    }
}

/// Adds a cell to one of the same key, if there is one.
fn merge(cells: &mut BTreeMap<CellKey, Cell>, key: CellKey, late: Cell) {
    match cells.get_mut(&key) {
        // A total beyond 28 digits stays as it was: the event was accepted, nobody can be told.
        Some(cell) => drop(cell.merge(&late).map_err(|reason| {
            tracing::warn!(reason = reason.code(), "late usage does not fit its hour");
        })),
        None => drop(cells.insert(key, late)),
    }
}

impl Archive for TurnArchive {
    fn window(&mut self, entitlement: EntitlementId, time: Timestamp) -> Archived {
        let until = (entitlement, Timestamp::MIN)..=(entitlement, time);
        match self.windows.range(until).next_back() {
            Some((_, it)) if it.window().contains(time) => Archived::Window(Box::new(it.clone())),
            _ => Archived::Nothing,
        }
    }

    fn put_window(&mut self, customer: CustomerId, entitlement: EntitlementId, it: ClosedWindow) {
        let key = (entitlement, it.window().from);
        self.windows.insert(key, it);
        self.changed_windows.insert(key, customer);
    }

    fn put_cell(&mut self, key: CellKey, cell: Cell) {
        self.cells.insert(key, cell);
    }

    fn add_to_cell(&mut self, key: CellKey, late: Cell) {
        if self.cells.contains_key(&key) {
            merge(&mut self.cells, key, late);
        } else {
            merge(&mut self.late_cells, key, late);
        }
    }

    fn put_segment(&mut self, entitlement: EntitlementId, segment: Segment) {
        self.segments.push((entitlement, segment));
    }
}
