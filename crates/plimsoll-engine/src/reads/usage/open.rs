//! Cells that are still open, and how they go together with those that have closed.
//!
//! A scope (a customer, or a slice of customers) has one open hour and one open day in the memory
//! of its partition; the open day does not hold the open hour yet. When a later hour begins, the
//! open hour becomes a row of the store and is added to the open day; when an hour of a later day
//! closes, the open day becomes a row. Both happen in the transaction of the usage that closes
//! them, and a partition answers what is committed. So whoever takes the open cells first and
//! reads rows afterwards has everything that was committed when the open cells were taken, in one
//! of them or in both. In both it is only if the cell has closed in between, and then the row
//! holds all that the open one held: the row of an hour replaces the open hour; the row of a day
//! replaces the open day of that date, and the open hour too, if it is of that date, since a day
//! closes after all its hours. An hour that closed while its day stays open has changed nothing
//! in what a day adds up to, open day and open hour, because the row of an hour is not looked at
//! where a day is.
//!
//! Not here: the partitions' side (`partition::cells`), reading rows (`closed`).

use std::fmt::Debug;

use async_trait::async_trait;
use plimsoll_core::{
    ids::{CustomerId, EnvironmentId, MeterId},
    metering::cell::{Cell, CellScope, Resolution},
    time::Timestamp,
};

use super::plan::Plan;

/// The owners of the partitions, as far as open cells are concerned.
#[async_trait]
pub trait OpenCells: Send + Sync + Debug {
    /// How many partitions there are.
    fn partitions(&self) -> usize;

    /// The partition that owns a customer.
    fn partition_of(&self, customer: CustomerId) -> usize;

    /// What the clock of an environment shows now in a partition.
    async fn clock(
        &self,
        partition: usize,
        environment: EnvironmentId,
    ) -> Result<Timestamp, NotNow>;

    /// The open cells of one partition, as they are committed.
    async fn open(&self, partition: usize, wanted: CellsWanted) -> Result<Vec<OpenScope>, NotNow>;
}

/// Which open cells of a meter. Scopes that have none are left out of the answer.
#[derive(Debug, Clone)]
pub enum CellsWanted {
    /// Those of these customers.
    Of {
        /// The meter.
        meter: MeterId,
        /// Whose cells.
        customers: Vec<CustomerId>,
    },
    /// Those of the first customers that have any, in the order of their ids.
    From {
        /// The meter.
        meter: MeterId,
        /// The first that may be among them.
        first: CustomerId,
        /// Customers at the most.
        limit: usize,
    },
    /// Those of all slices of customers.
    Totals {
        /// The meter.
        meter: MeterId,
    },
}

/// The open cells of one scope.
#[derive(Debug, Clone)]
pub struct OpenScope {
    /// Whose cells.
    pub scope: CellScope,
    /// The newest hour.
    pub hour: Option<Cell>,
    /// The newest day, without that hour.
    pub day: Option<Cell>,
}

/// Why a partition gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum NotNow {
    /// As much waits as may wait.
    #[error("too many requests are waiting")]
    Busy,
    /// The partition cannot answer now.
    #[error("the partition cannot answer now: {detail}")]
    Unavailable {
        /// What is missing.
        detail: String,
    },
}

impl OpenScope {
    /// Leaves out what a row holds as well, now that it was read.
    pub(super) fn replace_by(&mut self, resolution: Resolution, from: Timestamp) {
        let hour_from = self.hour.as_ref().map(|it| it.from);
        let hour_starts = hour_from.map(|it| resolution.start_of(it));
        if hour_starts == Some(from) {
            self.hour = None;
        }
        if resolution == Resolution::Day && self.day.as_ref().is_some_and(|it| it.from == from) {
            self.day = None;
        }
    }

    /// What is left, as far as the plan wants it.
    pub(super) fn left(&self, plan: &Plan) -> impl Iterator<Item = &Cell> {
        let day = self.day.as_ref().filter(|it| plan.wants_day(it.from));
        let hour = self.hour.as_ref().filter(|it| plan.wants_hour(it.from));
        day.into_iter().chain(hour)
    }
}

#[cfg(test)]
mod tests {
    use plimsoll_core::{
        entitlement::period::Window, metering::accumulator::Accumulator, metering::cell::Groups,
        quantity::Quantity,
    };

    use super::*;
    use crate::reads::usage::Step;

    fn at(text: &str) -> Timestamp {
        format!("2026-03-{text}:00:00Z").parse().unwrap()
    }

    fn cell(from: &str, value: i64) -> Cell {
        let total = Accumulator::Sum(Quantity::from_integer(value));
        Cell { from: at(from), total, groups: Groups::Ungrouped }
    }

    /// When the open hour is, the rows that were read, and what is left.
    type Case = (&'static str, Step, &'static [(Resolution, &'static str)], &'static [i64]);

    /// An open day of 10 and an open hour of 1 of the next, and what rows leave of them.
    #[test]
    fn a_row_replaces_what_was_open_when_it_was_asked_for() {
        use Resolution::{Day, Hour};
        let range = Window { from: at("01T00"), to: at("04T00") };
        let plan = |step| Plan::of(step, range, at("03T00"));
        let cases: [Case; 9] = [
            ("02T07", Step::Day, &[], &[10, 1]),
            ("02T07", Step::Hour, &[], &[1]),
            ("02T07", Step::Hour, &[(Hour, "02T07")], &[]),
            ("02T07", Step::Hour, &[(Hour, "02T06")], &[1]),
            ("02T07", Step::Day, &[(Day, "01T00")], &[10, 1]),
            ("02T07", Step::Day, &[(Day, "02T00")], &[]),
            ("03T07", Step::Day, &[], &[10, 1]),
            ("03T07", Step::Day, &[(Day, "02T00")], &[1]),
            ("03T07", Step::Day, &[(Day, "02T00"), (Day, "03T00")], &[]),
        ];
        for (hour, step, rows, expected) in cases {
            let mut open = OpenScope {
                scope: CellScope::Slice(0),
                hour: Some(cell(hour, 1)),
                day: Some(cell("02T00", 10)),
            };
            for (resolution, from) in rows {
                open.replace_by(*resolution, at(from));
            }
            let plan = plan(step);
            let left: Vec<_> = open.left(&plan).map(|it| it.total.usage()).collect();
            let expected: Vec<_> = expected.iter().map(|it| Quantity::from_integer(*it)).collect();
            assert_eq!(left, expected, "{hour} {step:?} {rows:?}");
        }
    }
}
