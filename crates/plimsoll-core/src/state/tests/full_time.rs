//! Windows of periods, by plain arithmetic on days, for the model.
//!
//! Not here: windows as the core computes them (`entitlement::period`).

use crate::{
    entitlement::period::{Interval, UsagePeriod},
    time::{DAY_MS, Timestamp},
};

const HOUR_MS: i64 = 3_600_000;

/// The first moment of the window that `time` falls into, and the first moment after it.
pub(super) fn window_of(period: UsagePeriod, time: Timestamp) -> (Timestamp, Timestamp) {
    let anchor_ms = period.anchor.map(Timestamp::as_ms);
    let even = |length_ms: i64, first_ms: i64| {
        let into = (time.as_ms() - anchor_ms.unwrap_or(first_ms)).rem_euclid(length_ms);
        (time.plus_ms(-into), time.plus_ms(length_ms - into))
    };
    match period.interval {
        Interval::Hour => even(HOUR_MS, 0),
        Interval::Day => even(DAY_MS, 0),
        // 5 January 1970 was a Monday.
        Interval::Week => even(7 * DAY_MS, 4 * DAY_MS),
        Interval::Month | Interval::BillingCycle => months(1, anchor_ms.unwrap_or(0), time),
        Interval::Quarter => months(3, anchor_ms.unwrap_or(0), time),
        Interval::Never => (Timestamp::MIN, Timestamp::MAX),
        other => panic!("histories have no {other:?}"),
    }
}

/// The last start of a period of whole months that is not after `time`, and the next one.
fn months(step: i64, anchor_ms: i64, time: Timestamp) -> (Timestamp, Timestamp) {
    let (anchor_day, in_day_ms) = (anchor_ms.div_euclid(DAY_MS), anchor_ms.rem_euclid(DAY_MS));
    let (first, day) = month_and_day(anchor_day);
    let start = |count: i64| {
        let month = first + count * step;
        let last = first_day(month + 1) - first_day(month);
        Timestamp::from_ms((first_day(month) + day.min(last - 1)) * DAY_MS + in_day_ms)
    };
    let mut count = (time.as_ms() - anchor_ms).div_euclid(31 * DAY_MS * step) - 1;
    while start(count + 1) <= time {
        count += 1;
    }
    (start(count), start(count + 1))
}

/// The month since January 1970, and the day in it from zero, of a day since the epoch.
fn month_and_day(day: i64) -> (i64, i64) {
    let mut month = day.div_euclid(31);
    while first_day(month + 1) <= day {
        month += 1;
    }
    (month, day - first_day(month))
}

/// The day since the epoch on which a month since January 1970 begins.
fn first_day(month: i64) -> i64 {
    let (year, month) = (1970 + month.div_euclid(12), month.rem_euclid(12));
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let before =
        |year: i64| (year - 1) * 365 + (year - 1) / 4 - (year - 1) / 100 + (year - 1) / 400;
    let lengths = [31, if is_leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    before(year) - before(1970) + lengths.iter().take(month as usize).sum::<i64>()
}
