//! Cells: what one meter measured in one hour or day, for one customer or for a slice of them.
//!
//! The newest hour and day of each are open, in memory; what has closed goes to the archive, whole,
//! and is never open again. An event for a closed cell is late: the archive adds it to what it
//! keeps. So usage by time is a sum of few cells, and nothing is written for an event.
//!
//! Not here: usage that entitlements count (`state`), where closed cells are kept (the engine).

use std::collections::BTreeMap;

use crate::{
    catalog::meter::UncountedReason,
    codec::{Corrupt, Reader, Writer},
    ids::{CustomerId, MeterId},
    limits,
    metering::accumulator::{Accumulator, Amount},
    time::{DAY_MS, Timestamp},
};

const HOUR_MS: i64 = 60 * 60 * 1000;

/// The values that an event has for the meter's group-by keys, in the order of the keys.
pub type GroupValues = Box<[Option<Box<str>>]>;

/// How long a cell is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resolution {
    /// An hour of the clock, in UTC.
    Hour,
    /// A day of the calendar, in UTC.
    Day,
}

/// Whose usage a cell holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CellScope {
    /// One customer's.
    Customer(CustomerId),
    /// That of all customers in one slice of the partition: so the usage of everybody is a sum of
    /// few cells. Only of meters whose accumulators are small.
    Slice(u32),
}

/// Which cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct CellKey {
    /// The meter that measured it.
    pub meter: MeterId,
    /// Whose usage.
    pub scope: CellScope,
    /// How long it is.
    pub resolution: Resolution,
    /// Its first moment.
    pub from: Timestamp,
}

/// What one meter measured in one hour or day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    /// The first moment of the hour or day.
    pub from: Timestamp,
    /// Everything in it.
    pub total: Accumulator,
    /// The same by the meter's group-by keys.
    pub groups: Groups,
}

/// Usage by group-by values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Groups {
    /// The meter has no group-by keys.
    Ungrouped,
    /// By each combination of values that came.
    Each(BTreeMap<GroupValues, Accumulator>),
    /// More combinations than [`limits::GROUP_VALUES`], or a sum beyond 28 digits, in a slice of
    /// customers: look at each.
    TooMany,
}

/// The cells of one meter and scope that are still open.
#[derive(Debug, Default)]
pub(crate) struct OpenCells {
    hour: Option<Cell>,
    day: Option<Cell>,
}

/// What leaves the open cells.
pub(crate) enum Leaving {
    /// A cell has closed.
    Closed(Resolution, Cell),
    /// This much is to be added to a cell that closed before.
    Late(Resolution, Cell),
}

/// One event as cells see it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Measured<'a> {
    pub(crate) time: Timestamp,
    pub(crate) amount: Amount,
    pub(crate) groups: &'a [Option<Box<str>>],
}

impl Resolution {
    /// The first moment of the hour or day that `time` falls into.
    pub fn start_of(self, time: Timestamp) -> Timestamp {
        time.plus_ms(-time.as_ms().rem_euclid(self.length_ms()))
    }

    /// Its length in milliseconds.
    pub fn length_ms(self) -> i64 {
        match self {
            Self::Hour => HOUR_MS,
            Self::Day => DAY_MS,
        }
    }

    /// The stored number.
    pub fn code(self) -> i64 {
        match self {
            Self::Hour => 0,
            Self::Day => 1,
        }
    }
}

impl Cell {
    fn empty(from: Timestamp, total: Accumulator, is_grouped: bool) -> Self {
        let groups = if is_grouped { Groups::Each(BTreeMap::new()) } else { Groups::Ungrouped };
        Self { from, total, groups }
    }

    /// Adds an event, or refuses it and changes nothing.
    fn add(&mut self, event: Measured<'_>) -> Result<(), UncountedReason> {
        let Groups::Each(groups) = &mut self.groups else {
            return self.total.add(event.time, event.amount);
        };
        let Some(known) = groups.get_mut(event.groups) else {
            // There is always room for events without any value.
            if groups.len() >= limits::GROUP_VALUES && event.groups.iter().any(Option::is_some) {
                return Err(UncountedReason::GroupLimit);
            }
            let mut first = self.total.emptied();
            first.add(event.time, event.amount)?;
            self.total.add(event.time, event.amount)?;
            groups.insert(event.groups.into(), first);
            return Ok(());
        };
        let mut after = known.clone();
        after.add(event.time, event.amount)?;
        self.total.add(event.time, event.amount)?;
        *known = after;
        Ok(())
    }

    /// Adds an event of one customer to the cell of a slice: what does not fit here is with the
    /// customers, and the cell says so.
    fn add_or_forget(&mut self, event: Measured<'_>) {
        if self.add(event).is_ok() {
            return;
        }
        // Beyond 28 digits even the total is left out; each customer's own is exact.
        if std::mem::replace(&mut self.groups, Groups::TooMany) != Groups::TooMany {
            self.add_or_forget(event);
        }
    }

    /// Adds everything that another cell of the same time holds, as coming after it.
    pub fn merge(&mut self, later: &Self) -> Result<(), UncountedReason> {
        self.total.merge(&later.total)?;
        match (&mut self.groups, &later.groups) {
            (Groups::Each(own), Groups::Each(others)) => {
                for (values, other) in others {
                    match own.get_mut(values) {
                        Some(known) => known.merge(other)?,
                        None => drop(own.insert(values.clone(), other.clone())),
                    }
                }
            }
            (groups, Groups::TooMany) => *groups = Groups::TooMany,
            (Groups::Ungrouped | Groups::TooMany | Groups::Each(_), _) => {}
        }
        Ok(())
    }

    /// Writes the cell as checkpoints and the archive keep it.
    pub fn encode(&self, writer: &mut Writer) {
        writer.time(self.from);
        self.total.encode(writer);
        match &self.groups {
            Groups::Ungrouped => writer.byte(0),
            Groups::Each(groups) => {
                writer.byte(1);
                writer.list(groups.iter(), |writer, (values, accumulator)| {
                    writer.list(values.iter(), |writer, it| {
                        writer.option(it.as_deref(), Writer::text);
                    });
                    accumulator.encode(writer);
                });
            }
            Groups::TooMany => writer.byte(2),
        }
    }

    /// Reads what [`Cell::encode`] wrote.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, Corrupt> {
        let (from, total) = (reader.time()?, Accumulator::decode(reader)?);
        let groups = match reader.byte()? {
            0 => Groups::Ungrouped,
            1 => {
                let groups = reader.list(|reader| {
                    let values = reader.list(|it| it.option(|it| it.text().map(Box::from)))?;
                    Ok((values.into_boxed_slice(), Accumulator::decode(reader)?))
                })?;
                Groups::Each(groups.into_iter().collect())
            }
            2 => Groups::TooMany,
            _ => return Err(Corrupt { expected: "the groups of a cell" }),
        };
        Ok(Self { from, total, groups })
    }
}

impl OpenCells {
    /// Adds an event of one customer; refused, it changes nothing.
    pub(crate) fn add(
        &mut self,
        kind: impl FnOnce() -> Accumulator,
        event: Measured<'_>,
        leave: &mut dyn FnMut(Leaving),
    ) -> Result<(), UncountedReason> {
        let from = Resolution::Hour.start_of(event.time);
        if let Some(hour) = self.hour.as_mut().filter(|it| it.from == from) {
            return hour.add(event);
        }
        let mut cell = Cell::empty(from, kind(), !event.groups.is_empty());
        cell.add(event)?;
        self.take(cell, leave)
    }

    /// Adds an event to the cells of a slice.
    pub(crate) fn add_to_slice(
        &mut self,
        kind: impl FnOnce() -> Accumulator,
        event: Measured<'_>,
        leave: &mut dyn FnMut(Leaving),
    ) {
        let from = Resolution::Hour.start_of(event.time);
        if let Some(hour) = self.hour.as_mut().filter(|it| it.from == from) {
            hour.add_or_forget(event);
            return;
        }
        let mut cell = Cell::empty(from, kind(), !event.groups.is_empty());
        cell.add_or_forget(event);
        if self.take(cell, leave).is_err()
            && let Some(day) = &mut self.day
        {
            day.groups = Groups::TooMany;
        }
    }

    /// Takes the first event of an hour that is not the open one: a newer, or an older.
    fn take(&mut self, cell: Cell, leave: &mut dyn FnMut(Leaving)) -> Result<(), UncountedReason> {
        let is_late = self.hour.as_ref().is_some_and(|it| cell.from < it.from);
        if is_late {
            self.add_to_day(&cell, leave)?;
            leave(Leaving::Late(Resolution::Hour, cell));
            return Ok(());
        }
        if let Some(closed) = &self.hour {
            let closed = closed.clone();
            self.add_to_day(&closed, leave)?;
            leave(Leaving::Closed(Resolution::Hour, closed));
        }
        self.hour = Some(cell);
        Ok(())
    }

    /// Adds an hour to the day that it belongs to.
    fn add_to_day(
        &mut self,
        hour: &Cell,
        leave: &mut dyn FnMut(Leaving),
    ) -> Result<(), UncountedReason> {
        let from = Resolution::Day.start_of(hour.from);
        let whole = || Cell { from, total: hour.total.clone(), groups: hour.groups.clone() };
        match &mut self.day {
            Some(day) if day.from == from => {
                let mut sum = day.clone();
                sum.merge(hour)?;
                *day = sum;
            }
            Some(day) if from < day.from => leave(Leaving::Late(Resolution::Day, whole())),
            // An hour that is late comes before the open one, and so does its day.
            None if self
                .hour
                .as_ref()
                .is_some_and(|it| from < Resolution::Day.start_of(it.from)) =>
            {
                leave(Leaving::Late(Resolution::Day, whole()));
            }
            day => {
                if let Some(closed) = day.replace(whole()) {
                    leave(Leaving::Closed(Resolution::Day, closed));
                }
            }
        }
        Ok(())
    }

    /// Closes what is open: nothing is added any more.
    pub(crate) fn close(mut self, leave: &mut dyn FnMut(Leaving)) {
        if let Some(hour) = self.hour.take() {
            match self.add_to_day(&hour, leave) {
                // A day whose sum goes beyond 28 digits lacks its last hour: nobody can be told.
                Ok(()) | Err(_) => {}
            }
            leave(Leaving::Closed(Resolution::Hour, hour));
        }
        if let Some(day) = self.day.take() {
            leave(Leaving::Closed(Resolution::Day, day));
        }
    }

    /// The open cells: the newest hour, and the newest day without that hour.
    pub(crate) fn open(&self) -> (Option<&Cell>, Option<&Cell>) {
        (self.hour.as_ref(), self.day.as_ref())
    }

    pub(crate) fn encode(&self, writer: &mut Writer) {
        for cell in [&self.hour, &self.day] {
            writer.option(cell.as_ref(), |writer, it| it.encode(writer));
        }
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, Corrupt> {
        Ok(Self { hour: reader.option(Cell::decode)?, day: reader.option(Cell::decode)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quantity::Quantity;

    fn at(text: &str) -> Timestamp {
        format!("2026-03-{text}:00Z").replace(' ', "T").parse().unwrap()
    }

    fn add(cells: &mut OpenCells, time: &str, value: i64, groups: &[Option<Box<str>>]) -> String {
        let mut left = Vec::new();
        let event = Measured {
            time: at(time),
            amount: Amount::Quantity(Quantity::from_integer(value)),
            groups,
        };
        let kind = Accumulator::Sum(Quantity::ZERO);
        let added = cells.add(|| kind, event, &mut |it| {
            left.push(match it {
                Leaving::Closed(resolution, cell) => {
                    format!("{resolution:?} {} {}", cell.from, cell.total.usage())
                }
                Leaving::Late(resolution, cell) => {
                    format!("late {resolution:?} {} {}", cell.from, cell.total.usage())
                }
            });
        });
        added.map_or_else(|reason| reason.code().to_owned(), |()| left.join(", "))
    }

    fn open(cells: &OpenCells) -> String {
        let show = |it: Option<&Cell>| {
            it.map_or_else(|| "none".to_owned(), |it| format!("{} {}", it.from, it.total.usage()))
        };
        let (hour, day) = cells.open();
        format!("hour {}, day {}", show(hour), show(day))
    }

    #[test]
    fn cells_close_in_order_and_late_events_leave() {
        let mut cells = OpenCells::default();
        assert_eq!(add(&mut cells, "01 10:15", 1, &[]), "");
        assert_eq!(add(&mut cells, "01 10:59", 2, &[]), "");
        assert_eq!(add(&mut cells, "01 09:00", 4, &[]), "late Hour 2026-03-01T09:00:00Z 4");
        assert_eq!(add(&mut cells, "01 11:00", 8, &[]), "Hour 2026-03-01T10:00:00Z 3");
        assert_eq!(open(&cells), "hour 2026-03-01T11:00:00Z 8, day 2026-03-01T00:00:00Z 7");
        assert_eq!(
            add(&mut cells, "02 00:00", 16, &[]),
            "Hour 2026-03-01T11:00:00Z 8",
            "the day stays open until an hour of the next one closes"
        );
        assert_eq!(add(&mut cells, "01 12:00", 32, &[]), "late Hour 2026-03-01T12:00:00Z 32");
        assert_eq!(open(&cells), "hour 2026-03-02T00:00:00Z 16, day 2026-03-01T00:00:00Z 47");
        assert_eq!(
            add(&mut cells, "02 01:00", 64, &[]),
            "Day 2026-03-01T00:00:00Z 47, Hour 2026-03-02T00:00:00Z 16"
        );
        assert_eq!(
            add(&mut cells, "01 12:00", 128, &[]),
            "late Day 2026-03-01T00:00:00Z 128, late Hour 2026-03-01T12:00:00Z 128"
        );
        assert_eq!(open(&cells), "hour 2026-03-02T01:00:00Z 64, day 2026-03-02T00:00:00Z 16");
    }

    #[test]
    fn an_hour_before_the_first_may_be_of_an_earlier_day() {
        let mut cells = OpenCells::default();
        assert_eq!(add(&mut cells, "02 00:10", 1, &[]), "");
        assert_eq!(
            add(&mut cells, "01 23:50", 2, &[]),
            "late Day 2026-03-01T00:00:00Z 2, late Hour 2026-03-01T23:00:00Z 2"
        );
        assert_eq!(open(&cells), "hour 2026-03-02T00:00:00Z 1, day none");
    }

    #[test]
    fn one_group_too_many_is_uncounted_for_a_customer_and_forgotten_for_a_slice() {
        let (mut cells, mut slice) = (OpenCells::default(), OpenCells::default());
        let group = |number: usize| [Some(number.to_string().into_boxed_str()), None];
        let kind = Accumulator::Sum(Quantity::ZERO);
        for number in 0..=limits::GROUP_VALUES {
            let groups = group(number);
            let expected = if number < limits::GROUP_VALUES { "" } else { "group_limit" };
            assert_eq!(add(&mut cells, "01 10:00", 1, &groups), expected);
            let amount = Amount::Quantity(Quantity::ONE);
            let event = Measured { time: at("01 10:00"), amount, groups: &groups };
            slice.add_to_slice(|| kind.clone(), event, &mut |_| {});
        }
        assert_eq!(add(&mut cells, "01 10:00", 5, &group(3)), "", "a known one counts");
        let hour = cells.open().0.unwrap();
        let Groups::Each(groups) = &hour.groups else { panic!("groups are kept") };
        assert_eq!(groups[&group(3)[..]].usage(), Quantity::from_integer(6));
        let all = limits::GROUP_VALUES as i64;
        assert_eq!(hour.total.usage(), Quantity::from_integer(all + 5));
        let hour = slice.open().0.unwrap();
        assert_eq!(hour.groups, Groups::TooMany);
        assert_eq!(hour.total.usage(), Quantity::from_integer(all + 1));
        let mut writer = Writer::new();
        cells.encode(&mut writer);
        let bytes = writer.into_bytes();
        let restored = OpenCells::decode(&mut Reader::new(&bytes)).unwrap();
        assert_eq!(restored.open(), cells.open());
    }
}
