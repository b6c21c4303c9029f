//! Points in time, in milliseconds, as data.
//!
//! Not here: a clock. The core is told what time it is by the commands on its log.

use std::{fmt, str::FromStr};

use jiff::{ToSpan, tz::TimeZone};

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
        let later = zoned.checked_add(i64::from(months).months());
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
        if !(Self::MIN.0..=Self::MAX.0).contains(&ms) {
            return Err(InvalidTimestamp);
        }
        Ok(Self(ms))
    }
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
