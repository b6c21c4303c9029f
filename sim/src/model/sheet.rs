//! A sheet: everything that came in one window of one entitlement, and what its lines did.
//!
//! Not here: when windows begin (`course`), which lines fire (`lines`).

use std::collections::{BTreeMap, BTreeSet};

use plimsoll_core::ids::LineId;

use super::{Amount, UNIT, lines::LineState};
use crate::log::{Counts, Reading};

/// One window.
#[derive(Debug, Clone)]
pub struct Sheet {
    /// Its first moment, and the first after it, in milliseconds.
    pub window: (i64, i64),
    /// The limit with all grants, if there is one.
    pub limit: Option<Amount>,
    /// What was carried over from the window before.
    pub carried: Amount,
    /// What came, in order.
    pub readings: Vec<Reading>,
    counts: Counts,
    /// What has happened to lines.
    pub lines: BTreeMap<LineId, LineState>,
    /// Of a window that has closed: lines that apply since a later change do not stand here.
    pub knows: Option<u64>,
}

impl Sheet {
    /// An empty one.
    pub fn new(window: (i64, i64), counts: Counts, carried: Amount) -> Self {
        Self {
            window,
            limit: None,
            carried,
            readings: Vec::new(),
            counts,
            lines: BTreeMap::new(),
            knows: None,
        }
    }

    /// An empty one that counts alike.
    #[must_use]
    pub fn like(&self, window: (i64, i64), carried: Amount) -> Self {
        Self::new(window, self.counts, carried)
    }

    /// Whether a time falls into it.
    pub fn holds(&self, time_ms: i64) -> bool {
        (self.window.0..self.window.1).contains(&time_ms)
    }

    /// Usage, as it is shown and compared.
    pub fn usage(&self) -> Amount {
        self.carried + value_of(&self.readings, self.counts).max(0)
    }

    /// What was used beyond the limit.
    pub fn beyond(&self) -> Amount {
        self.limit.map_or(0, |it| (self.usage() - it).max(0))
    }

    /// Whether anything has happened in it, as far as late events can tell.
    pub fn is_touched(&self) -> bool {
        let is_empty = match self.counts {
            Counts::Events | Counts::Sum => value_of(&self.readings, self.counts) == 0,
            Counts::Greatest | Counts::Different => self.readings.is_empty(),
        };
        !is_empty || !self.lines.is_empty() || self.carried != 0
    }
}

/// What readings come to, added up anew.
pub fn value_of(readings: &[Reading], counts: Counts) -> Amount {
    let numbers = readings.iter().map(|it| match it {
        Reading::Number(number) => *number,
        Reading::Text(_) => 0,
    });
    match counts {
        Counts::Events | Counts::Sum => numbers.sum(),
        Counts::Greatest => numbers.max().unwrap_or(0),
        Counts::Different => readings.iter().collect::<BTreeSet<_>>().len() as Amount * UNIT,
    }
}
