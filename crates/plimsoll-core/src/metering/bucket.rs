//! Buckets: the short stretches of time inside a window that some meters look at one by one.

use crate::{
    codec::{Corrupt, Reader, Writer},
    entitlement::period::{Interval, UsagePeriod},
    time::Timestamp,
};

/// The length of a bucket. Buckets follow the calendar, in UTC; weeks begin on Monday.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bucket {
    /// A minute.
    Minute,
    /// A quarter of an hour.
    Minutes15,
    /// Half an hour.
    Minutes30,
    /// An hour.
    Hour,
    /// Three hours, counted from midnight.
    Hours3,
    /// Six hours, counted from midnight.
    Hours6,
    /// Twelve hours, counted from midnight.
    Hours12,
    /// A day.
    Day,
    /// A week.
    Week,
    /// A month.
    Month,
}

const MINUTE_MS: i64 = 60_000;

impl Bucket {
    /// Every length, the shortest first.
    pub const ALL: [Self; 10] = [
        Self::Minute,
        Self::Minutes15,
        Self::Minutes30,
        Self::Hour,
        Self::Hours3,
        Self::Hours6,
        Self::Hours12,
        Self::Day,
        Self::Week,
        Self::Month,
    ];

    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Minute => "minute",
            Self::Minutes15 => "15min",
            Self::Minutes30 => "30min",
            Self::Hour => "hour",
            Self::Hours3 => "3hour",
            Self::Hours6 => "6hour",
            Self::Hours12 => "12hour",
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
        }
    }

    /// The first moment of the bucket that `time` falls into.
    pub fn start_of(self, time: Timestamp) -> Timestamp {
        let fixed = |minutes: i64| {
            let length_ms = minutes * MINUTE_MS;
            time.plus_ms(-time.as_ms().rem_euclid(length_ms))
        };
        let calendar = |interval| UsagePeriod { interval, anchor: None }.window_at(time).from;
        match self {
            Self::Minute => fixed(1),
            Self::Minutes15 => fixed(15),
            Self::Minutes30 => fixed(30),
            Self::Hour => fixed(60),
            Self::Hours3 => fixed(180),
            Self::Hours6 => fixed(360),
            Self::Hours12 => fixed(720),
            Self::Day => fixed(24 * 60),
            Self::Week => calendar(Interval::Week),
            Self::Month => calendar(Interval::Month),
        }
    }

    pub(crate) fn encode(self, writer: &mut Writer) {
        let place = Self::ALL.iter().position(|it| *it == self).unwrap_or_default();
        writer.byte(place as u8);
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, Corrupt> {
        let place = usize::from(reader.byte()?);
        Self::ALL.get(place).copied().ok_or(Corrupt { expected: "the length of a bucket" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_follow_the_calendar() {
        let cases = [
            (Bucket::Minute, "2026-03-12T10:47:00Z"),
            (Bucket::Minutes15, "2026-03-12T10:45:00Z"),
            (Bucket::Minutes30, "2026-03-12T10:30:00Z"),
            (Bucket::Hour, "2026-03-12T10:00:00Z"),
            (Bucket::Hours3, "2026-03-12T09:00:00Z"),
            (Bucket::Hours6, "2026-03-12T06:00:00Z"),
            (Bucket::Hours12, "2026-03-12T00:00:00Z"),
            (Bucket::Day, "2026-03-12T00:00:00Z"),
            (Bucket::Week, "2026-03-09T00:00:00Z"),
            (Bucket::Month, "2026-03-01T00:00:00Z"),
        ];
        let time: Timestamp = "2026-03-12T10:47:31.250Z".parse().unwrap();
        for (bucket, expected) in cases {
            assert_eq!(bucket.start_of(time).to_string(), expected, "{}", bucket.name());
        }
    }
}
