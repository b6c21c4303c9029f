//! The archive of a replay: in memory, complete from where the replay began.
//!
//! A replay that begins at a base knows nothing of what had closed before it. Late events for those
//! windows are passed over, and what they would have changed is marked as not to be compared.
//!
//! Not here: the archive in the store (`partition::archive`).

use std::collections::{BTreeMap, BTreeSet};

use plimsoll_core::{
    archive::{Archive, Archived, MemoryArchive, Segment},
    ids::{CustomerId, EntitlementId},
    limits,
    metering::cell::{Cell, CellKey},
    state::{ClosedWindow, State},
    time::Timestamp,
};

/// Windows that are kept before those too old for late events are dropped.
const WINDOWS_BETWEEN_SWEEPS: usize = 100_000;

/// What closed while a log was replayed.
#[derive(Debug, Default)]
pub(crate) struct ReplayArchive {
    pub(super) kept: MemoryArchive,
    /// Of entitlements that the base had: the start of the window that was open then.
    known_from: BTreeMap<EntitlementId, Timestamp>,
    /// Cells of which only the late part is known.
    pub(super) partial: BTreeSet<CellKey>,
    /// Whether something had closed before the replay began.
    is_cut: bool,
    /// Only what late events need is kept.
    windows_only: bool,
    sweep_at: usize,
}

impl ReplayArchive {
    /// Keeps everything that closes after this state, for comparison. `is_cut` says whether the
    /// state is that of a base.
    pub(crate) fn after(state: &State, is_cut: bool) -> Self {
        Self { known_from: open_windows(state), is_cut, ..Self::default() }
    }

    /// Keeps only the windows that late events may still ask for.
    pub(crate) fn for_late_events(state: &State) -> Self {
        Self { windows_only: true, sweep_at: WINDOWS_BETWEEN_SWEEPS, ..Self::after(state, true) }
    }

    /// Drops windows that ended longer before `now` than an event may be late.
    fn sweep(&mut self, now: Timestamp) {
        let oldest = now.plus_ms(-limits::DEDUPE_WINDOW_MS);
        self.kept.windows.retain(|_, it| it.window().to > oldest);
        self.sweep_at = self.kept.windows.len() + WINDOWS_BETWEEN_SWEEPS;
    }
}

fn open_windows(state: &State) -> BTreeMap<EntitlementId, Timestamp> {
    let open = state.metered_entitlements().filter_map(|(customer, entitlement)| {
        // As of the last row: nothing that has not been worked off yet.
        let value = state.value(customer, entitlement, Timestamp::MIN)?;
        Some((entitlement, value.window.from))
    });
    open.collect()
}

impl Archive for ReplayArchive {
    fn window(&mut self, entitlement: EntitlementId, time: Timestamp) -> Archived {
        if self.known_from.get(&entitlement).is_some_and(|it| time < *it) {
            return Archived::Settled;
        }
        self.kept.window(entitlement, time)
    }

    fn put_window(&mut self, customer: CustomerId, entitlement: EntitlementId, it: ClosedWindow) {
        let end = it.window().to;
        self.kept.put_window(customer, entitlement, it);
        if self.windows_only && self.kept.windows.len() >= self.sweep_at {
            self.sweep(end);
        }
    }

    fn put_cell(&mut self, key: CellKey, cell: Cell) {
        if !self.windows_only {
            self.kept.put_cell(key, cell);
        }
    }

    fn add_to_cell(&mut self, key: CellKey, late: Cell) {
        if self.windows_only {
            return;
        }
        if self.is_cut && !self.kept.cells.contains_key(&key) {
            self.partial.insert(key);
        }
        self.kept.add_to_cell(key, late);
    }

    fn put_segment(&mut self, entitlement: EntitlementId, segment: Segment) {
        if !self.windows_only {
            self.kept.put_segment(entitlement, segment);
        }
    }
}
