//! A sheet: everything that came in one window of one entitlement, and what its lines did.
//!
//! Not here: when windows begin (`course`), which lines fire (`lines`).

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Amount, UNIT,
    lines::{Level, LineState},
};
use crate::log::{Allowed, Counts, Group, Reading};

/// One window.
#[derive(Debug, Clone)]
pub struct Sheet {
    /// Its first moment, and the first after it, in milliseconds.
    pub window: (i64, i64),
    /// The limits with all grants, and the tiers.
    pub allowed: Allowed,
    /// What was carried over from the window before.
    pub carried: Amount,
    /// What came, in order.
    pub readings: Vec<Came>,
    counts: Counts,
    /// What has happened to lines.
    pub lines: BTreeMap<Level, LineState>,
    /// Of a window that has closed: lines that apply since a later change do not stand here.
    pub knows: Option<u64>,
}

/// What came with one event.
#[derive(Debug, Clone)]
pub struct Came {
    /// What it brought.
    pub reading: Reading,
    /// The groups in which it counts, so far.
    pub groups: Vec<Group>,
}

impl Sheet {
    /// An empty one.
    pub fn new(window: (i64, i64), counts: Counts, allowed: Allowed) -> Self {
        Self {
            window,
            allowed,
            carried: 0,
            readings: Vec::new(),
            counts,
            lines: BTreeMap::new(),
            knows: None,
        }
    }

    /// An empty one that counts alike, with the same tiers.
    #[must_use]
    pub fn like(&self, window: (i64, i64), carried: Amount) -> Self {
        Self { carried, ..Self::new(window, self.counts, self.allowed.clone()) }
    }

    /// Whether a time falls into it.
    pub fn holds(&self, time_ms: i64) -> bool {
        (self.window.0..self.window.1).contains(&time_ms)
    }

    /// Usage, as it is shown and compared.
    pub fn usage(&self) -> Amount {
        self.usage_of(None)
    }

    /// The same of one group, or of all. What was carried over is nobody's.
    pub fn usage_of(&self, group: Option<&Group>) -> Amount {
        let own = self.readings.iter().filter(|it| group.is_none_or(|own| it.groups.contains(own)));
        let own = value_of(own.map(|it| &it.reading), self.counts).max(0);
        if group.is_some() { own } else { self.carried + own }
    }

    /// Every group that anything has come for, in order.
    pub fn groups(&self) -> BTreeSet<Group> {
        self.readings.iter().flat_map(|it| &it.groups).cloned().collect()
    }

    /// What was used beyond the limit.
    pub fn beyond(&self) -> Amount {
        self.allowed.limits.whole().map_or(0, |it| (self.usage() - it).max(0))
    }

    /// Whether anything has happened in it, as far as late events can tell.
    pub fn is_touched(&self) -> bool {
        let is_empty = match self.counts {
            Counts::Events | Counts::Sum => {
                value_of(self.readings.iter().map(|it| &it.reading), self.counts) == 0
            }
            Counts::Greatest | Counts::Different => self.readings.is_empty(),
        };
        // Corrections may leave nothing of the whole, and something of its groups.
        let has_groups = self.readings.iter().any(|it| !it.groups.is_empty());
        !is_empty || has_groups || !self.lines.is_empty() || self.carried != 0
    }
}

/// What readings come to, added up anew.
pub fn value_of<'a>(readings: impl Iterator<Item = &'a Reading>, counts: Counts) -> Amount {
    if counts == Counts::Different {
        return readings.collect::<BTreeSet<_>>().len() as Amount * UNIT;
    }
    let numbers = readings.map(|it| match it {
        Reading::Number(number) => *number,
        Reading::Text(_) => 0,
    });
    match counts {
        Counts::Greatest => numbers.max().unwrap_or(0),
        _ => numbers.sum(),
    }
}
