//! Periods and their windows, once more: stepped from one begin to the next.
//!
//! Not here: which periods there are in the product (`plimsoll-core`); the model knows those that
//! the world makes.

const HOUR_MS: i64 = 3_600_000;

/// How long usage adds up, by the calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Period {
    /// From hour to hour.
    Hour,
    /// From midnight to midnight.
    Day,
    /// From the first of a month to the next.
    Month,
}

impl Period {
    /// The window around a time, in milliseconds: its begin, and the begin of the next.
    pub fn window_at(self, at_ms: i64) -> (i64, i64) {
        let fixed = |length: i64| {
            let from = at_ms.div_euclid(length) * length;
            (from, from + length)
        };
        match self {
            Self::Hour => fixed(HOUR_MS),
            Self::Day => fixed(24 * HOUR_MS),
            Self::Month => {
                let day = jiff::Timestamp::from_millisecond(at_ms)
                    .expect("simulated times are in this century")
                    .to_zoned(jiff::tz::TimeZone::UTC)
                    .date();
                let begin = |date: jiff::civil::Date| {
                    let zoned = date.to_zoned(jiff::tz::TimeZone::UTC);
                    zoned.expect("UTC has no gaps").timestamp().as_millisecond()
                };
                let next = day.last_of_month().tomorrow().expect("the next month exists");
                (begin(day.first_of_month()), begin(next))
            }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(text: &str) -> i64 {
        text.parse::<jiff::Timestamp>().unwrap().as_millisecond()
    }

    #[test]
    fn windows_follow_the_calendar() {
        let cases = [
            (Period::Hour, "2026-03-10T12:34:56Z", "2026-03-10T12:00:00Z", "2026-03-10T13:00:00Z"),
            (Period::Day, "2026-03-10T12:34:56Z", "2026-03-10T00:00:00Z", "2026-03-11T00:00:00Z"),
            (Period::Month, "2026-02-28T23:00:00Z", "2026-02-01T00:00:00Z", "2026-03-01T00:00:00Z"),
        ];
        for (period, at, from, to) in cases {
            assert_eq!(period.window_at(ms(at)), (ms(from), ms(to)), "{period:?} {at}");
        }
    }

    #[test]
    fn whole_windows_are_counted() {
        let cases = [
            (Period::Hour, "2026-03-10T12:00:00Z", "2026-03-10T12:00:00Z", 0),
            (Period::Hour, "2026-03-10T12:00:00Z", "2026-03-10T15:00:00Z", 3),
            (Period::Month, "2026-02-01T00:00:00Z", "2026-04-01T00:00:00Z", 2),
        ];
        for (period, from, to, count) in cases {
            assert_eq!(period.windows_between(ms(from), ms(to)), count, "{period:?} {from} {to}");
        }
    }
}
