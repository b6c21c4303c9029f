//! When a failed delivery is tried again.
//!
//! Not here: randomness. The jitter comes in as data, so that a log of it gives the same times.

use crate::{limits, time::Timestamp};

const SECOND_MS: i64 = 1_000;
const MINUTE_MS: i64 = 60 * SECOND_MS;
const HOUR_MS: i64 = 60 * MINUTE_MS;

/// Wait before each attempt, counted from the end of the one before it; the first is at once.
///
/// Together 75 h 35 min 5 s, the schedule that Standard Webhooks recommends.
pub const WAITS_MS: [i64; limits::DELIVERY_ATTEMPTS as usize] = [
    0,
    5 * SECOND_MS,
    5 * MINUTE_MS,
    30 * MINUTE_MS,
    2 * HOUR_MS,
    5 * HOUR_MS,
    10 * HOUR_MS,
    14 * HOUR_MS,
    20 * HOUR_MS,
    24 * HOUR_MS,
];

/// The most that a wait is lengthened or shortened by, in thousandths.
const JITTER_PERMILLE: i64 = 200;

/// How much a wait is lengthened or shortened, so that receivers are not hit in waves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Jitter(i64);

impl Jitter {
    /// Leaves a wait as it is.
    pub const NONE: Self = Self(0);

    /// A jitter between -20 % and +20 %, drawn from unpredictable bits.
    pub const fn from_bits(bits: u64) -> Self {
        let spread = (2 * JITTER_PERMILLE + 1) as u64;
        Self((bits % spread) as i64 - JITTER_PERMILLE)
    }

    const fn apply(self, wait_ms: i64) -> i64 {
        // Waits are at most a day, so the product is far from the edge of i64.
        wait_ms + wait_ms * self.0 / 1_000
    }
}

/// When to try again after `attempts` attempts, the last of which ended at `ended_at`.
///
/// A receiver's `Retry-After` can only delay the attempt, by [`limits::RETRY_AFTER_MS`] at most.
/// `None`: the attempts are used up.
pub fn next_attempt_at(
    attempts: u32,
    ended_at: Timestamp,
    jitter: Jitter,
    retry_after_ms: Option<i64>,
) -> Option<Timestamp> {
    let wait_ms = jitter.apply(*WAITS_MS.get(attempts as usize)?);
    Some(ended_at.plus_ms(wait_ms.max(capped(retry_after_ms))))
}

/// What is honoured of a `Retry-After`: nothing below zero, nothing above a day.
pub fn capped(retry_after_ms: Option<i64>) -> i64 {
    retry_after_ms.unwrap_or(0).clamp(0, limits::RETRY_AFTER_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(attempts: u32, bits: u64, retry_after_ms: Option<i64>, expected_ms: Option<i64>) {
        let ended_at = Timestamp::from_ms(1_000_000);
        let got = next_attempt_at(attempts, ended_at, Jitter::from_bits(bits), retry_after_ms);
        let got = got.map(|it| it.ms_since(ended_at));
        assert_eq!(got, expected_ms, "{attempts} {bits} {retry_after_ms:?}");
    }

    #[test]
    fn waits_follow_the_schedule() {
        for attempts in 1..10 {
            check(attempts, 200, None, Some(WAITS_MS[attempts as usize]));
        }
        check(10, 200, None, None);
        check(u32::MAX, 200, None, None);
        let total: i64 = WAITS_MS.iter().sum();
        assert_eq!(total, 75 * HOUR_MS + 35 * MINUTE_MS + 5 * SECOND_MS);
    }

    #[test]
    fn jitter_stays_within_a_fifth() {
        check(1, 0, None, Some(4_000));
        check(1, 400, None, Some(6_000));
        check(1, 401, None, Some(4_000));
        check(9, 400, None, Some(24 * HOUR_MS * 12 / 10));
        for bits in [0, 1, 200, 400, 401, u64::MAX / 2, u64::MAX] {
            let wait = Jitter::from_bits(bits).apply(5_000);
            assert!((4_000..=6_000).contains(&wait), "{bits}: {wait}");
        }
    }

    #[test]
    fn retry_after_delays_and_never_hastens() {
        check(1, 200, Some(60_000), Some(60_000));
        check(1, 200, Some(1_000), Some(5_000));
        check(1, 200, Some(-1), Some(5_000));
        check(1, 200, Some(i64::MAX), Some(24 * HOUR_MS));
        check(1, 200, Some(i64::MIN), Some(5_000));
        check(10, 200, Some(60_000), None);
    }
}
