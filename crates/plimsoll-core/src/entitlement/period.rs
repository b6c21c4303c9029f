//! Usage periods: when the usage of an entitlement starts again at zero.
//!
//! Windows are half open, `from <= t < to`, in UTC. Calendar periods start with the hour, the day,
//! the ISO week, the month, the quarter, the half or the whole year; anchored ones at the anchor
//! plus whole intervals, and an anchor on the 29th to 31st falls on the last day of a shorter
//! month without losing its day.

use jiff::{ToSpan, civil, tz::TimeZone};

use crate::{
    codec::{Corrupt, Reader, Writer},
    time::{DAY_MS, Timestamp},
};

const HOUR_MS: i64 = 60 * 60 * 1000;
/// 1970-01-05, the first Monday after the epoch.
const FIRST_MONDAY_MS: i64 = 4 * DAY_MS;

/// How long usage adds up, and from where the periods are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UsagePeriod {
    /// The length of a period.
    pub interval: Interval,
    /// A moment at which some period starts; without one, periods follow the calendar.
    pub anchor: Option<Timestamp>,
}

/// The length of a usage period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interval {
    /// 60 minutes.
    Hour,
    /// 24 hours.
    Day,
    /// Seven days; by the calendar from Monday.
    Week,
    /// A month of the calendar.
    Month,
    /// Three months of the calendar, from January, April, July and October.
    Quarter,
    /// Six months of the calendar, from January and July.
    HalfYear,
    /// A year of the calendar.
    Year,
    /// One period for ever.
    Never,
    /// The billing cycle of the subscription, which sets the anchor; a month where there is none.
    BillingCycle,
}

/// One usage period: from its first moment to the first moment after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Window {
    /// The first moment inside.
    pub from: Timestamp,
    /// The first moment after.
    pub to: Timestamp,
}

impl Window {
    /// Whether `time` falls into this window.
    pub fn contains(&self, time: Timestamp) -> bool {
        self.from <= time && time < self.to
    }
}

impl UsagePeriod {
    /// The window that `time` falls into.
    pub fn window_at(&self, time: Timestamp) -> Window {
        let anchor_ms = self.anchor.map(Timestamp::as_ms);
        match self.interval {
            Interval::Hour => fixed_window(time, HOUR_MS, anchor_ms.unwrap_or(0)),
            Interval::Day => fixed_window(time, DAY_MS, anchor_ms.unwrap_or(0)),
            Interval::Week => fixed_window(time, 7 * DAY_MS, anchor_ms.unwrap_or(FIRST_MONDAY_MS)),
            Interval::Month | Interval::BillingCycle => calendar_window(time, 1, self.anchor),
            Interval::Quarter => calendar_window(time, 3, self.anchor),
            Interval::HalfYear => calendar_window(time, 6, self.anchor),
            Interval::Year => calendar_window(time, 12, self.anchor),
            Interval::Never => Window { from: Timestamp::MIN, to: Timestamp::MAX },
        }
    }

    /// How many whole periods there are from one start of a period to a later one.
    pub(crate) fn count(&self, from: Timestamp, to: Timestamp) -> u64 {
        let fixed = |length_ms: i64| to.ms_since(from) / length_ms;
        let months = |step: i32| {
            let month = |it: Timestamp| months_of(it.to_jiff().to_zoned(TimeZone::UTC).date());
            i64::from((month(to) - month(from)) / step)
        };
        let count = match self.interval {
            Interval::Hour => fixed(HOUR_MS),
            Interval::Day => fixed(DAY_MS),
            Interval::Week => fixed(7 * DAY_MS),
            Interval::Month | Interval::BillingCycle => months(1),
            Interval::Quarter => months(3),
            Interval::HalfYear => months(6),
            Interval::Year => months(12),
            Interval::Never => 0,
        };
        u64::try_from(count).unwrap_or(0)
    }

    pub(crate) fn encode(&self, writer: &mut Writer) {
        writer.byte(match self.interval {
            Interval::Hour => 0,
            Interval::Day => 1,
            Interval::Week => 2,
            Interval::Month => 3,
            Interval::Year => 4,
            Interval::Quarter => 5,
            Interval::HalfYear => 6,
            Interval::Never => 7,
            Interval::BillingCycle => 8,
        });
        writer.option(self.anchor, Writer::time);
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, Corrupt> {
        Ok(Self {
            interval: match reader.byte()? {
                0 => Interval::Hour,
                1 => Interval::Day,
                2 => Interval::Week,
                3 => Interval::Month,
                4 => Interval::Year,
                5 => Interval::Quarter,
                6 => Interval::HalfYear,
                7 => Interval::Never,
                8 => Interval::BillingCycle,
                _ => return Err(Corrupt { expected: "an interval" }),
            },
            anchor: reader.option(Reader::time)?,
        })
    }
}

fn fixed_window(time: Timestamp, length_ms: i64, anchor_ms: i64) -> Window {
    let into = (time.as_ms() - anchor_ms).rem_euclid(length_ms);
    let from = time.plus_ms(-into);
    Window { from, to: from.plus_ms(length_ms) }
}

/// Months counted from the year 0, so that arithmetic on them is plain.
fn months_of(date: civil::Date) -> i32 {
    i32::from(date.year()) * 12 + i32::from(date.month()) - 1
}

fn calendar_window(time: Timestamp, step_months: i32, anchor: Option<Timestamp>) -> Window {
    let first_day = civil::date(1970, 1, 1).at(0, 0, 0, 0);
    let anchor = anchor.map_or(first_day, |it| it.to_jiff().to_zoned(TimeZone::UTC).datetime());
    let month = months_of(time.to_jiff().to_zoned(TimeZone::UTC).date());
    let steps = (month - months_of(anchor.date())).div_euclid(step_months);
    // The anchor's day may come later in the month than `time`: then the window began a step ago.
    // Each start is computed from the anchor, so a day lost to a short month comes back.
    let start = |steps: i32| anchored(anchor, steps * step_months);
    if start(steps) <= time {
        Window { from: start(steps), to: start(steps + 1) }
    } else {
        Window { from: start(steps - 1), to: start(steps) }
    }
}

/// The anchor moved by whole months; its day is clamped to the end of a shorter month.
fn anchored(anchor: civil::DateTime, months: i32) -> Timestamp {
    let edge = if months < 0 { Timestamp::MIN } else { Timestamp::MAX };
    anchor
        .checked_add(months.months())
        .ok()
        .and_then(|it| it.to_zoned(TimeZone::UTC).ok())
        .map_or(edge, |it| Timestamp::from_jiff(it.timestamp()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    use Interval::{BillingCycle, Day, HalfYear, Hour, Month, Never, Quarter, Week, Year};

    type Case = (Interval, Option<&'static str>, &'static str, &'static str, &'static str);

    const WINDOWS: &[Case] = &[
        (Hour, None, "2026-03-01T10:59:59Z", "2026-03-01T10:00:00Z", "2026-03-01T11:00:00Z"),
        (Day, None, "2026-03-01T00:00:00Z", "2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z"),
        (Week, None, "2026-03-01T12:00:00Z", "2026-02-23T00:00:00Z", "2026-03-02T00:00:00Z"),
        (Month, None, "2024-02-29T23:59:59Z", "2024-02-01T00:00:00Z", "2024-03-01T00:00:00Z"),
        (Year, None, "2026-03-01T00:00:00Z", "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z"),
        (Quarter, None, "2026-06-30T23:00:00Z", "2026-04-01T00:00:00Z", "2026-07-01T00:00:00Z"),
        (HalfYear, None, "2026-06-30T23:00:00Z", "2026-01-01T00:00:00Z", "2026-07-01T00:00:00Z"),
        (Never, None, "2026-06-30T23:00:00Z", "0001-01-01T00:00:00Z", "9999-12-30T21:59:59.999Z"),
        (
            BillingCycle,
            None,
            "2026-06-30T23:00:00Z",
            "2026-06-01T00:00:00Z",
            "2026-07-01T00:00:00Z",
        ),
        (
            Quarter,
            Some("2025-11-30T12:00:00Z"),
            "2026-02-28T13:00:00Z",
            "2026-02-28T12:00:00Z",
            "2026-05-30T12:00:00Z",
        ),
        (
            HalfYear,
            Some("2025-08-31T00:00:00Z"),
            "2026-03-01T00:00:00Z",
            "2026-02-28T00:00:00Z",
            "2026-08-31T00:00:00Z",
        ),
        (
            Hour,
            Some("2026-01-01T00:20:00Z"),
            "2026-03-01T10:10:00Z",
            "2026-03-01T09:20:00Z",
            "2026-03-01T10:20:00Z",
        ),
        (
            Month,
            Some("2026-01-31T08:00:00Z"),
            "2026-02-28T08:00:00Z",
            "2026-02-28T08:00:00Z",
            "2026-03-31T08:00:00Z",
        ),
        (
            Month,
            Some("2026-01-31T08:00:00Z"),
            "2026-02-28T07:59:59Z",
            "2026-01-31T08:00:00Z",
            "2026-02-28T08:00:00Z",
        ),
        (
            Month,
            Some("2026-01-31T08:00:00Z"),
            "2025-04-30T09:00:00Z",
            "2025-04-30T08:00:00Z",
            "2025-05-31T08:00:00Z",
        ),
        (
            Year,
            Some("2024-02-29T00:00:00Z"),
            "2026-02-28T12:00:00Z",
            "2026-02-28T00:00:00Z",
            "2027-02-28T00:00:00Z",
        ),
        (
            Year,
            Some("2024-02-29T00:00:00Z"),
            "2028-02-28T12:00:00Z",
            "2027-02-28T00:00:00Z",
            "2028-02-29T00:00:00Z",
        ),
    ];

    #[test]
    fn windows() {
        for (interval, anchor, time, from, to) in WINDOWS.iter().copied() {
            let anchor = anchor.map(|it| it.parse().unwrap());
            let window = UsagePeriod { interval, anchor }.window_at(time.parse().unwrap());
            let (from, to) = (from.to_owned(), to.to_owned());
            let got = (window.from.to_string(), window.to.to_string());
            assert_eq!(got, (from, to), "{interval:?} {anchor:?} at {time}");
        }
    }

    proptest! {
        /// Windows tile time: each contains its moments, and the next begins where one ends.
        #[test]
        fn windows_tile_time(
            interval in prop::sample::select(vec![
                Interval::Hour, Interval::Day, Interval::Week, Interval::Month, Interval::Quarter,
                Interval::HalfYear, Interval::Year, Interval::BillingCycle,
            ]),
            anchor in prop::option::of(-1_000_000_000_000_i64..4_000_000_000_000),
            time in -1_000_000_000_000_i64..4_000_000_000_000,
        ) {
            let period = UsagePeriod { interval, anchor: anchor.map(Timestamp::from_ms) };
            let time = Timestamp::from_ms(time);
            let window = period.window_at(time);
            prop_assert!(window.contains(time));
            prop_assert_eq!(period.window_at(window.from), window);
            prop_assert_eq!(period.window_at(window.to.plus_ms(-1)), window);
            prop_assert_eq!(period.window_at(window.to).from, window.to);
            let (mut end, mut counted) = (window.from, 0);
            while counted < 5 {
                prop_assert_eq!(period.count(window.from, end), counted);
                (end, counted) = (period.window_at(end).to, counted + 1);
            }
        }
    }
}
