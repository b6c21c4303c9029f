//! Compares what has closed, as a log gives it, with what is stored: windows, cells, segments.
//!
//! Not here: notifications (`expected`), what is open (`verify`).

use std::collections::BTreeSet;

use plimsoll_core::{
    archive::Segment,
    codec::{CORE_VERSION, Corrupt, Reader, Writer},
    entitlement::EntitlementValue,
    ids::EntitlementId,
    metering::cell::{Cell, CellKey, CellScope, Resolution},
    state::ClosedWindow,
    time::Timestamp,
};
use plimsoll_store::{
    ReadError, Store,
    archive::{CellRow, SegmentRow, WindowRow},
    whole,
};

use super::{archive::ReplayArchive, expected::Scope, verify::Tally};

/// What is stored of a partition's archive, being held against what a replay gave.
pub(super) struct Comparison<'a> {
    pub(super) store: &'a dyn Store,
    pub(super) scope: Scope,
    /// What ended up to here had closed before the replay began.
    pub(super) known_after: Option<Timestamp>,
    pub(super) archive: &'a mut ReplayArchive,
    /// Every entitlement that some replay has seen: segments name no customer.
    pub(super) entitlements: &'a BTreeSet<EntitlementId>,
}

impl Comparison<'_> {
    fn is_known(&self, end: Timestamp) -> bool {
        self.known_after.is_none_or(|it| end > it)
    }

    pub(super) async fn windows(&mut self, tally: &mut Tally) -> Result<(), ReadError> {
        let mut after = None;
        loop {
            let page = whole::windows(self.store, after).await?;
            let Some(last) = page.last() else { break };
            after = Some((last.entitlement, last.from));
            for row in page {
                if !self.scope.owns(row.customer) {
                    continue;
                }
                match self.archive.kept.windows.remove(&(row.entitlement, row.from)) {
                    Some(window) => compare_window(&row, &window, tally),
                    None if self.is_known(row.to) => {
                        tally.note(window_name(row.entitlement, row.from), "kept", "never closed");
                    }
                    None => {}
                }
            }
        }
        for (entitlement, from) in std::mem::take(&mut self.archive.kept.windows).into_keys() {
            tally.note(window_name(entitlement, from), "missing", "closed");
        }
        Ok(())
    }

    pub(super) async fn cells(&mut self, tally: &mut Tally) -> Result<(), ReadError> {
        let mut after = None;
        loop {
            let page = whole::cells(self.store, after).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.key);
            for row in page {
                if matches!(row.key.scope, CellScope::Customer(it) if self.scope.owns(it)) {
                    self.cell(&row, tally);
                }
            }
        }
        let mut after = None;
        loop {
            let page = whole::totals(self.store, self.scope.partition, after).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.key);
            for row in page {
                self.cell(&row, tally);
            }
        }
        for key in std::mem::take(&mut self.archive.kept.cells).into_keys() {
            if !self.archive.partial.contains(&key) {
                tally.note(cell_name(&key), "missing", "closed");
            }
        }
        Ok(())
    }

    fn cell(&mut self, row: &CellRow, tally: &mut Tally) {
        let found = self.archive.kept.cells.remove(&row.key);
        if self.archive.partial.contains(&row.key) {
            return;
        }
        match found {
            Some(cell) => compare_cell(row, &cell, tally),
            None if self.is_known(row.key.from) => {
                tally.note(cell_name(&row.key), "kept", "never closed");
            }
            None => {}
        }
    }

    pub(super) async fn segments(&mut self, tally: &mut Tally) -> Result<(), ReadError> {
        let mut after = None;
        loop {
            let page = whole::segments(self.store, after).await?;
            let Some(last) = page.last() else { break };
            after = Some((last.entitlement, last.from));
            for row in page {
                let name = segment_name(row.entitlement, row.from);
                match self.archive.kept.segments.remove(&(row.entitlement, row.from)) {
                    Some(segment) => compare_segment(name, &row, &segment, tally),
                    None if self.entitlements.contains(&row.entitlement)
                        && self.is_known(row.to) =>
                    {
                        tally.note(name, "kept", "never burned");
                    }
                    None => {}
                }
            }
        }
        for (entitlement, from) in std::mem::take(&mut self.archive.kept.segments).into_keys() {
            tally.note(segment_name(entitlement, from), "missing", "burned");
        }
        Ok(())
    }
}

fn window_name(entitlement: EntitlementId, from: Timestamp) -> String {
    format!("closed window of {entitlement} from {from}")
}

fn segment_name(entitlement: EntitlementId, from: Timestamp) -> String {
    format!("segment of {entitlement} from {from}")
}

fn cell_name(key: &CellKey) -> String {
    let whose = match key.scope {
        CellScope::Customer(customer) => customer.to_string(),
        CellScope::Slice(slice) => format!("slice {slice}"),
    };
    let length = match key.resolution {
        Resolution::Hour => "hour",
        Resolution::Day => "day",
    };
    format!("{length} {} of {whose} on {}", key.from, key.meter)
}

fn compare_window(row: &WindowRow, replayed: &ClosedWindow, tally: &mut Tally) {
    if row.core_version == CORE_VERSION && row.payload == replayed.encode() {
        return;
    }
    let name = window_name(row.entitlement, row.from);
    let stored = match ClosedWindow::decode(&row.payload, row.core_version) {
        Ok(stored) => stored,
        Err(corrupt) => return tally.note(name, corrupt, "a window"),
    };
    let (stored, replayed) = (stored.value(), replayed.value());
    if stored != replayed {
        tally.note(name, value_text(&stored), value_text(&replayed));
    } else if row.core_version == CORE_VERSION {
        tally.note(name, "another state of its lines or groups", "the same usage");
    }
}

/// A value in short, for people.
pub(super) fn value_text(value: &EntitlementValue) -> String {
    let limit = value.limit.or(value.soft_limit);
    let limit = limit.map_or_else(|| "no limit".to_owned(), |it| it.to_string());
    format!("usage {} of {limit}, from {}", value.usage, value.window.from)
}

fn compare_cell(row: &CellRow, replayed: &Cell, tally: &mut Tally) {
    let mut writer = Writer::new();
    replayed.encode(&mut writer);
    if row.core_version == CORE_VERSION && row.payload == writer.into_bytes() {
        return;
    }
    let decode = || -> Result<Cell, Corrupt> {
        Cell::decode(&mut Reader::of_version(&row.payload, row.core_version))
    };
    match decode() {
        Ok(stored) if stored == *replayed => {}
        Ok(stored) => {
            let show = |it: &Cell| format!("total {}", it.total.usage());
            tally.note(cell_name(&row.key), show(&stored), show(replayed));
        }
        Err(corrupt) => tally.note(cell_name(&row.key), corrupt, "a cell"),
    }
}

fn compare_segment(name: String, row: &SegmentRow, replayed: &Segment, tally: &mut Tally) {
    match Segment::decode(&row.payload, row.core_version) {
        Ok(stored) if stored == *replayed => {}
        Ok(stored) => {
            let show =
                |it: &Segment| format!("usage {}, overage {}, to {}", it.usage, it.overage, it.to);
            tally.note(name, show(&stored), show(replayed));
        }
        Err(corrupt) => tally.note(name, corrupt, "a segment"),
    }
}
