//! Which cells answer a query: days where they fit whole, hours at the edges.
//!
//! Not here: reading them.

use plimsoll_core::{
    entitlement::period::{Interval, UsagePeriod, Window},
    metering::cell::Resolution,
    time::{DAY_MS, Timestamp},
};

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;

/// How long the time of one row of usage is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A minute.
    Minute,
    /// An hour.
    Hour,
    /// A day of the calendar, in UTC.
    Day,
    /// A month of the calendar, in UTC.
    Month,
    /// All of the range.
    Whole,
}

/// Cells of one length that follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) resolution: Resolution,
    /// The first moment of the first cell.
    pub(super) from: Timestamp,
    /// The first moment after the last cell.
    pub(super) to: Timestamp,
}

/// The cells of a scope that a query adds up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    /// In the order of time; they do not overlap.
    pub(super) spans: Vec<Span>,
}

impl Step {
    /// What the ends of a range are multiples of, in milliseconds.
    pub fn grain_ms(self) -> i64 {
        match self {
            Self::Minute => MINUTE_MS,
            Self::Hour | Self::Day | Self::Month | Self::Whole => HOUR_MS,
        }
    }

    /// The window that a moment of the range falls into, cut to the range.
    pub(super) fn window_at(self, time: Timestamp, range: Window) -> Window {
        let fixed = |length_ms: i64| {
            let from = time.plus_ms(-time.as_ms().rem_euclid(length_ms));
            Window { from, to: from.plus_ms(length_ms) }
        };
        let whole = match self {
            Self::Minute => fixed(MINUTE_MS),
            Self::Hour => fixed(HOUR_MS),
            Self::Day => fixed(DAY_MS),
            Self::Month => UsagePeriod { interval: Interval::Month, anchor: None }.window_at(time),
            Self::Whole => range,
        };
        Window { from: whole.from.max(range.from), to: whole.to.min(range.to) }
    }

    /// The windows of the range, in order.
    pub(super) fn windows(self, range: Window) -> impl Iterator<Item = Window> {
        let mut from = range.from;
        std::iter::from_fn(move || {
            let window = (from < range.to).then(|| self.window_at(from, range))?;
            from = window.to;
            Some(window)
        })
    }

    /// How many windows the range has at the most.
    pub(super) fn windows_in(self, range: Window) -> usize {
        let length_ms = match self {
            Self::Minute => MINUTE_MS,
            Self::Hour => HOUR_MS,
            // A month is a sum of days: those are what there must not be too many of.
            Self::Day | Self::Month | Self::Whole => DAY_MS,
        };
        usize::try_from(range.to.ms_since(range.from) / length_ms).unwrap_or(usize::MAX)
    }
}

impl Plan {
    /// The cells for rows of this length in a range of whole hours. `now` is the environment's
    /// clock.
    pub(super) fn of(step: Step, range: Window, now: Timestamp) -> Self {
        let Window { from, to } = range;
        let floor = |it| Resolution::Day.start_of(it);
        let ceil = |it: Timestamp| floor(it.plus_ms(DAY_MS - 1));
        // After the present hour there is nothing yet, so a range that holds it holds its whole
        // day. What begins meanwhile cannot be in a row of the day before its own hour is over.
        let days_to = if to > now { ceil(to) } else { floor(to) };
        let days_from = ceil(from);
        let hours = |from, to| Span { resolution: Resolution::Hour, from, to };
        let spans = if step == Step::Hour || days_from >= days_to {
            vec![hours(from, to)]
        } else {
            let days = Span { resolution: Resolution::Day, from: days_from, to: days_to };
            vec![hours(from, days_from), days, hours(days_to, to)]
        };
        Self { spans: spans.into_iter().filter(|it| it.from < it.to).collect() }
    }

    /// Whether the day that begins then is added up as a whole.
    pub(super) fn wants_day(&self, from: Timestamp) -> bool {
        self.spans.iter().any(|it| it.resolution == Resolution::Day && it.holds(from))
    }

    /// Whether the hour that begins then is part of what is added up.
    pub(super) fn wants_hour(&self, from: Timestamp) -> bool {
        self.spans.iter().any(|it| it.holds(from))
    }

    /// Cells that one scope can have in it.
    pub(super) fn cells(&self) -> usize {
        let cells = |it: &Span| it.to.ms_since(it.from) / it.resolution.length_ms();
        self.spans.iter().map(|it| usize::try_from(cells(it)).unwrap_or(0)).sum()
    }
}

impl Span {
    fn holds(&self, time: Timestamp) -> bool {
        self.from <= time && time < self.to
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        format!("2026-{text}:00Z").parse().unwrap()
    }

    fn range(from: &str, to: &str) -> Window {
        Window { from: at(from), to: at(to) }
    }

    #[test]
    fn days_where_they_fit_and_hours_at_the_edges() {
        let now = at("03-20T10:30");
        let cases = [
            (Step::Day, range("03-01T00:00", "03-03T00:00"), "d 01T00-03T00"),
            (
                Step::Whole,
                range("03-01T22:00", "03-04T02:00"),
                "h 01T22-02T00, d 02T00-04T00, h 04T00-04T02",
            ),
            (Step::Day, range("03-01T01:00", "03-01T23:00"), "h 01T01-01T23"),
            (Step::Day, range("03-01T01:00", "03-02T23:00"), "h 01T01-02T23"),
            (Step::Hour, range("03-01T00:00", "03-03T00:00"), "h 01T00-03T00"),
            (Step::Month, range("03-01T00:00", "03-20T11:00"), "d 01T00-21T00"),
            (Step::Month, range("03-01T00:00", "03-20T10:00"), "d 01T00-20T00, h 20T00-20T10"),
            (Step::Whole, range("03-20T10:00", "03-20T11:00"), "h 20T10-20T11"),
        ];
        for (step, range, expected) in cases {
            let show = |it: &Span| {
                let (from, to) = (it.from.to_string(), it.to.to_string());
                let kind = if it.resolution == Resolution::Day { "d" } else { "h" };
                format!("{kind} {}-{}", &from[8..13], &to[8..13])
            };
            let plan = Plan::of(step, range, now);
            let shown: Vec<_> = plan.spans.iter().map(show).collect();
            assert_eq!(shown.join(", "), expected, "{step:?} {range:?}");
        }
    }

    #[test]
    fn windows_are_cut_to_the_range() {
        let range = range("01-30T22:00", "03-01T03:00");
        let show = |step: Step| -> Vec<String> {
            step.windows(range).map(|it| format!("{} {}", it.from, it.to)).collect()
        };
        let months = [
            "2026-01-30T22:00:00Z 2026-02-01T00:00:00Z",
            "2026-02-01T00:00:00Z 2026-03-01T00:00:00Z",
            "2026-03-01T00:00:00Z 2026-03-01T03:00:00Z",
        ];
        assert_eq!(show(Step::Month), months);
        assert_eq!(show(Step::Whole).len(), 1);
        assert_eq!(show(Step::Day).len(), 31);
        assert_eq!(show(Step::Hour).len(), 2 + 24 + 28 * 24 + 3);
    }
}
