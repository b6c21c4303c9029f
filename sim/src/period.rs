//! Periods and their windows, once more: stepped from one begin to the next.
//!
//! Not here: which periods there are in the product (`plimsoll-core`); the model knows those that
//! the world makes.

use jiff::{civil::Date, tz::TimeZone};

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
/// The first Monday after the epoch.
const MONDAY_MS: i64 = 4 * DAY_MS;
/// Before and after everything: the first and the last moment that the product can name.
const ALWAYS_MS: (i64, i64) = (-62_135_596_800_000, 253_402_207_199_999);

/// How long usage adds up, and a moment at which it begins, if that is not the calendar's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period {
    /// From one begin to the next.
    pub length: Length,
    /// A moment at which a window begins.
    pub anchor_ms: Option<i64>,
}

/// From one begin to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// 60 minutes.
    Hour,
    /// 24 hours.
    Day,
    /// Seven days.
    Week,
    /// So many months of the calendar.
    Months(i64),
    /// For ever.
    Never,
}

impl Length {
    /// By the calendar.
    pub fn by_calendar(self) -> Period {
        Period { length: self, anchor_ms: None }
    }
}

impl Period {
    /// The window around a time, in milliseconds: its begin, and the begin of the next.
    pub fn window_at(self, at_ms: i64) -> (i64, i64) {
        let fixed = |length: i64, anchor: i64| {
            let from = anchor + (at_ms - anchor).div_euclid(length) * length;
            (from, from + length)
        };
        let anchor_ms = self.anchor_ms.unwrap_or(0);
        match self.length {
            Length::Hour => fixed(HOUR_MS, anchor_ms),
            Length::Day => fixed(DAY_MS, anchor_ms),
            Length::Week => fixed(7 * DAY_MS, self.anchor_ms.unwrap_or(MONDAY_MS)),
            Length::Months(months) => {
                // A guess that is never late, then on from begin to begin.
                let mut step = (at_ms - anchor_ms).div_euclid(31 * DAY_MS * months) - 1;
                while begin(anchor_ms, (step + 1) * months) <= at_ms {
                    step += 1;
                }
                while begin(anchor_ms, step * months) > at_ms {
                    step -= 1;
                }
                (begin(anchor_ms, step * months), begin(anchor_ms, (step + 1) * months))
            }
            Length::Never => ALWAYS_MS,
        }
    }

    /// How many whole windows begin from `from_ms` on and end up to `to_ms`.
    pub fn windows_between(self, from_ms: i64, to_ms: i64) -> i64 {
        let mut count = 0;
        let mut end_ms = self.window_at(from_ms).1;
        while end_ms <= to_ms {
            count += 1;
            end_ms = self.window_at(end_ms).1;
        }
        count
    }
}

/// A moment so many months after another one; its day is the last of the month where that is
/// shorter.
fn begin(anchor_ms: i64, months: i64) -> i64 {
    let day = jiff::Timestamp::from_millisecond(anchor_ms)
        .expect("simulated times are in this century")
        .to_zoned(TimeZone::UTC)
        .date();
    let month = i64::from(day.year()) * 12 + i64::from(day.month()) - 1 + months;
    let (year, month) = (month.div_euclid(12) as i16, month.rem_euclid(12) as i8 + 1);
    let first = jiff::civil::date(year, month, 1);
    let last = first.days_in_month();
    midnight(first) + i64::from(day.day().min(last) - 1) * DAY_MS + anchor_ms.rem_euclid(DAY_MS)
}

fn midnight(day: Date) -> i64 {
    let zoned = day.to_zoned(TimeZone::UTC);
    zoned.expect("UTC has no gaps").timestamp().as_millisecond()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(text: &str) -> i64 {
        text.parse::<jiff::Timestamp>().unwrap().as_millisecond()
    }

    const MONTH: Length = Length::Months(1);

    #[test]
    fn windows_follow_the_calendar_or_their_anchor() {
        let cases = [
            (Length::Hour, "", "2026-03-10T12:34:56Z", "2026-03-10T12:00:00Z 2026-03-10T13:00:00Z"),
            (Length::Day, "", "2026-03-10T12:34:56Z", "2026-03-10T00:00:00Z 2026-03-11T00:00:00Z"),
            (Length::Week, "", "2026-03-10T12:34:56Z", "2026-03-09T00:00:00Z 2026-03-16T00:00:00Z"),
            (MONTH, "", "2026-02-28T23:00:00Z", "2026-02-01T00:00:00Z 2026-03-01T00:00:00Z"),
            (
                Length::Months(3),
                "",
                "2026-02-28T23:00:00Z",
                "2026-01-01T00:00:00Z 2026-04-01T00:00:00Z",
            ),
            (
                Length::Day,
                "2026-04-01T08:30:00Z",
                "2026-03-10T08:29:00Z",
                "2026-03-09T08:30:00Z 2026-03-10T08:30:00Z",
            ),
            (
                MONTH,
                "2026-01-31T08:00:00Z",
                "2026-03-01T00:00:00Z",
                "2026-02-28T08:00:00Z 2026-03-31T08:00:00Z",
            ),
            (
                MONTH,
                "2026-05-31T08:00:00Z",
                "2026-04-30T07:59:59Z",
                "2026-03-31T08:00:00Z 2026-04-30T08:00:00Z",
            ),
        ];
        for (length, anchor, at, window) in cases {
            let period = Period { length, anchor_ms: (!anchor.is_empty()).then(|| ms(anchor)) };
            let (from, to) = window.split_once(' ').unwrap();
            assert_eq!(period.window_at(ms(at)), (ms(from), ms(to)), "{period:?} {at}");
        }
    }

    #[test]
    fn whole_windows_are_counted() {
        let cases = [
            (Length::Hour, "2026-03-10T12:00:00Z", "2026-03-10T12:00:00Z", 0),
            (Length::Hour, "2026-03-10T12:00:00Z", "2026-03-10T15:00:00Z", 3),
            (MONTH, "2026-02-01T00:00:00Z", "2026-04-01T00:00:00Z", 2),
        ];
        for (length, from, to, count) in cases {
            let period = length.by_calendar();
            assert_eq!(period.windows_between(ms(from), ms(to)), count, "{period:?} {from} {to}");
        }
    }
}
