//! Points in time, in milliseconds, as data.
//!
//! Not here: a clock. The core is told what time it is by the commands on its log.

use std::{fmt, str::FromStr};

use jiff::{Span, tz::TimeZone};

/// Milliseconds of one day.
pub const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// A point in time: milliseconds since 1970-01-01T00:00:00Z.
///
/// Holds the years 0001 to 9999, the range that RFC 3339 can write.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

/// The text was not an RFC 3339 time with an offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected an RFC 3339 time such as 2026-01-31T09:30:00Z")]
pub struct InvalidTimestamp;

impl Timestamp {
    /// 0001-01-01T00:00:00Z.
    pub const MIN: Self = Self(-62_135_596_800_000);
    /// 9999-12-30T21:59:59.999Z: the last day is left out, so that every offset stays printable.
    pub const MAX: Self = Self(253_402_207_199_999);

    /// The time this many milliseconds after the epoch, clamped to the supported range.
    pub const fn from_ms(ms: i64) -> Self {
        if ms < Self::MIN.0 {
            Self::MIN
        } else if ms > Self::MAX.0 {
            Self::MAX
        } else {
            Self(ms)
        }
    }

    /// Milliseconds since the epoch.
    pub const fn as_ms(self) -> i64 {
        self.0
    }

    /// This time moved by `ms`, clamped to the supported range.
    #[must_use]
    pub const fn plus_ms(self, ms: i64) -> Self {
        Self::from_ms(self.0.saturating_add(ms))
    }

    /// This time some calendar months later, in UTC; the day is clamped to the end of a shorter
    /// month, the result to the supported range.
    #[must_use]
    pub fn plus_months(self, months: u32) -> Self {
        let zoned = self.to_jiff().to_zoned(TimeZone::UTC);
        let later = Span::new().try_months(months).and_then(|it| zoned.checked_add(it));
        later.map_or(Self::MAX, |it| Self::from_jiff(it.timestamp()))
    }

    /// Milliseconds from `earlier` to this time; negative if `earlier` is later.
    pub const fn ms_since(self, earlier: Self) -> i64 {
        self.0 - earlier.0
    }

    pub(crate) fn to_jiff(self) -> jiff::Timestamp {
        jiff::Timestamp::from_millisecond(self.0).expect("MIN..=MAX is inside jiff's range")
    }

    pub(crate) fn from_jiff(timestamp: jiff::Timestamp) -> Self {
        Self::from_ms(timestamp.as_millisecond())
    }
}

impl FromStr for Timestamp {
    type Err = InvalidTimestamp;

    /// Reads an RFC 3339 time; what is finer than a millisecond is cut off.
    fn from_str(text: &str) -> Result<Self, InvalidTimestamp> {
        if let Some(time) = plain_utc(text.as_bytes()) {
            return Ok(time);
        }
        any_form(text)
    }
}

/// Reads any RFC 3339 time.
fn any_form(text: &str) -> Result<Timestamp, InvalidTimestamp> {
    // jiff accepts more than RFC 3339 (a space, a zone in brackets); the seconds and an offset
    // are mandatory there, so insist on the shape before asking it.
    let bytes = text.as_bytes();
    let shaped = bytes.len() >= 20
        && bytes.len() <= 40
        && matches!(bytes.get(10), Some(b'T' | b't'))
        && bytes.get(16) == Some(&b':')
        && !text.contains('[');
    if !shaped {
        return Err(InvalidTimestamp);
    }
    let parsed: jiff::Timestamp = text.parse().map_err(|_| InvalidTimestamp)?;
    let floored = parsed.as_nanosecond().div_euclid(1_000_000);
    let ms = i64::try_from(floored).map_err(|_| InvalidTimestamp)?;
    if !(Timestamp::MIN.0..=Timestamp::MAX.0).contains(&ms) {
        return Err(InvalidTimestamp);
    }
    Ok(Timestamp(ms))
}

/// Reads `YYYY-MM-DDTHH:MM:SS[.f]Z`, the form that nearly every event has.
///
/// Nothing if the text is of another form or names no such time: jiff is the judge of those.
fn plain_utc(text: &[u8]) -> Option<Timestamp> {
    let (date_time, rest) = text.split_first_chunk::<19>()?;
    let marks = [date_time[4], date_time[7], date_time[10], date_time[13], date_time[16]];
    if marks != *b"--T::" {
        return None;
    }
    let number = |from: usize| {
        let (tens, ones) = (date_time[from] ^ b'0', date_time[from + 1] ^ b'0');
        (tens <= 9 && ones <= 9).then(|| i64::from(tens) * 10 + i64::from(ones))
    };
    let year = number(0)? * 100 + number(2)?;
    let (month, day) = (number(5)?, number(8)?);
    let (hour, minute, second) = (number(11)?, number(14)?, number(17)?);
    let (ms, fraction_digits) = match rest {
        b"Z" => (0, 0),
        [b'.', digits @ .., b'Z'] => (milliseconds(digits)?, digits.len()),
        _ => return None,
    };
    let exists = (1..=9998).contains(&year)
        && (1..=12).contains(&month)
        && (1..=days_of_month(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60
        && fraction_digits <= 9;
    let seconds = (days_since_epoch(year, month, day) * 24 + hour) * 3600 + minute * 60 + second;
    exists.then(|| Timestamp(seconds * 1000 + ms))
}

/// The first three of the digits after a decimal point, as milliseconds.
fn milliseconds(digits: &[u8]) -> Option<i64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digit = |place: usize| digits.get(place).map_or(0, |it| i64::from(it - b'0'));
    Some(digit(0) * 100 + digit(1) * 10 + digit(2))
}

const fn days_of_month(year: i64, month: i64) -> i64 {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 => 28 + is_leap as i64,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to a date of the Gregorian calendar; years begin in March, so that the
/// leap day is the last of its year.
const fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    const DAYS_BEFORE_EPOCH: i64 = 719_468;
    let year = if month > 2 { year } else { year - 1 };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year
        - DAYS_BEFORE_EPOCH
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = self.to_jiff();
        if self.0.rem_euclid(1000) == 0 { write!(f, "{time:.0}") } else { write!(f, "{time:.3}") }
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_and_writes_rfc_3339() {
        let cases = [
            ("2026-01-31T09:30:00Z", Some("2026-01-31T09:30:00Z")),
            ("2026-01-31T09:30:00.5Z", Some("2026-01-31T09:30:00.500Z")),
            ("2026-01-31T09:30:00.1239999Z", Some("2026-01-31T09:30:00.123Z")),
            ("2026-01-31T09:30:00+02:00", Some("2026-01-31T07:30:00Z")),
            ("1969-12-31T23:59:59.9999Z", Some("1969-12-31T23:59:59.999Z")),
            ("2026-01-31t09:30:00z", Some("2026-01-31T09:30:00Z")),
            ("2026-01-31", None),
            ("2026-01-31T09:30:00", None),
            ("2026-01-31 09:30:00Z", None),
            ("2026-02-30T09:30:00Z", None),
            ("yesterday", None),
            ("", None),
        ];
        for (text, expected) in cases {
            let got = text.parse::<Timestamp>().ok().map(|it| it.to_string());
            assert_eq!(got.as_deref(), expected, "{text}");
        }
    }

    proptest! {
        /// Texts that look like times, most of which are.
        #[test]
        fn the_plain_form_is_read_as_any_other(
            text in "[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9](:[0-6][0-9]){2}(\\.[0-9]{0,10})?Z",
        ) {
            if let Some(time) = plain_utc(text.as_bytes()) {
                prop_assert_eq!(any_form(&text), Ok(time));
            }
        }

        /// What the plain form leaves to jiff costs only time, but then it should be rare.
        #[test]
        fn what_is_printed_is_of_the_plain_form(
            ms in Timestamp::MIN.0..253_370_764_800_000_i64,
        ) {
            let time = Timestamp(ms);
            prop_assert_eq!(plain_utc(time.to_string().as_bytes()), Some(time));
        }
    }

    #[test]
    fn months_are_those_of_the_calendar() {
        let cases = [
            ("2026-01-31T09:30:00Z", 1, "2026-02-28T09:30:00Z"),
            ("2026-01-31T09:30:00Z", 13, "2027-02-28T09:30:00Z"),
            ("2026-12-01T00:00:00Z", 1, "2027-01-01T00:00:00Z"),
            ("2026-12-01T00:00:00Z", 0, "2026-12-01T00:00:00Z"),
            ("2026-12-01T00:00:00Z", u32::MAX, "9999-12-30T21:59:59.999Z"),
        ];
        for (from, months, expected) in cases {
            let from: Timestamp = from.parse().unwrap();
            assert_eq!(from.plus_months(months).to_string(), expected, "{from} + {months}");
        }
    }

    #[test]
    fn arithmetic_stays_in_range() {
        assert_eq!(Timestamp::MAX.plus_ms(i64::MAX), Timestamp::MAX);
        assert_eq!(Timestamp::MIN.plus_ms(i64::MIN), Timestamp::MIN);
        assert_eq!(Timestamp::MAX.to_string(), "9999-12-30T21:59:59.999Z");
        assert_eq!(Timestamp::MIN.to_string(), "0001-01-01T00:00:00Z");
    }
}
