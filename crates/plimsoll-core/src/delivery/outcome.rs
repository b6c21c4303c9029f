//! What the result of one attempt means for the delivery and for its channel.
//!
//! Not here: how the result came about, and parsing `Retry-After` (the engine's client).

use crate::{
    delivery::{
        Event,
        schedule::{self, Jitter},
    },
    time::Timestamp,
};

/// Why an attempt has no HTTP status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ErrorClass {
    /// The name did not resolve.
    Dns,
    /// Nothing listens at the address.
    Refused,
    /// The connection could not be made, or broke.
    Connect,
    /// The TLS handshake failed.
    Tls,
    /// The time for an attempt was over.
    Timeout,
    /// The answer was not HTTP, or passed a bound.
    Protocol,
    /// The address is one that webhooks may not reach.
    BlockedDestination,
}

impl ErrorClass {
    /// Every class.
    pub const ALL: [Self; 7] = [
        Self::Dns,
        Self::Refused,
        Self::Connect,
        Self::Tls,
        Self::Timeout,
        Self::Protocol,
        Self::BlockedDestination,
    ];

    /// The stable name, as attempts show it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Refused => "refused",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Timeout => "timeout",
            Self::Protocol => "protocol",
            Self::BlockedDestination => "blocked_destination",
        }
    }
}

/// The result of one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttemptResult {
    /// The receiver answered.
    Answered {
        /// The HTTP status.
        status: u16,
        /// The wait that the receiver asked for, if it did so readably.
        retry_after_ms: Option<i64>,
    },
    /// There was no answer.
    Failed(ErrorClass),
}

/// What the result says about the channel as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChannelSignal {
    /// The receiver answers.
    Reachable,
    /// The receiver does not answer, or not in time.
    Unreachable,
    /// The receiver asks for fewer requests (429, 502, 503, 504).
    Throttle {
        /// The wait it asked for, already capped; 0 if none.
        retry_after_ms: i64,
    },
    /// The receiver is gone for good (410): the channel is to be disabled.
    Gone,
}

/// What follows from an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// What happens to the delivery.
    pub event: Event,
    /// When it is tried again; set exactly if the event is [`Event::AttemptFailed`].
    pub next_attempt_at: Option<Timestamp>,
    /// What happens to the channel.
    pub signal: ChannelSignal,
}

/// Decides what follows from an attempt.
///
/// `attempts` counts this one; it ended at `ended_at`, on the machine's clock.
pub fn decide(
    result: AttemptResult,
    attempts: u32,
    ended_at: Timestamp,
    jitter: Jitter,
) -> Outcome {
    let signal = signal(result);
    let retry_after_ms = match signal {
        ChannelSignal::Throttle { retry_after_ms } => Some(retry_after_ms),
        ChannelSignal::Reachable | ChannelSignal::Unreachable | ChannelSignal::Gone => None,
    };
    let next_attempt_at = match result {
        // Success is final; so is 410: the receiver said that nobody will ever take this.
        AttemptResult::Answered { status: 200..=299 | 410, .. } => None,
        AttemptResult::Answered { .. } | AttemptResult::Failed(_) => {
            schedule::next_attempt_at(attempts, ended_at, jitter, retry_after_ms)
        }
    };
    let event = match (result, next_attempt_at) {
        (AttemptResult::Answered { status: 200..=299, .. }, _) => Event::Delivered,
        (_, Some(_)) => Event::AttemptFailed,
        (_, None) => Event::LastAttemptFailed,
    };
    Outcome { event, next_attempt_at, signal }
}

fn signal(result: AttemptResult) -> ChannelSignal {
    match result {
        AttemptResult::Answered { status: 410, .. } => ChannelSignal::Gone,
        AttemptResult::Answered { status: 429 | 502..=504, retry_after_ms } => {
            ChannelSignal::Throttle { retry_after_ms: schedule::capped(retry_after_ms) }
        }
        AttemptResult::Answered { .. } | AttemptResult::Failed(ErrorClass::Protocol) => {
            ChannelSignal::Reachable
        }
        AttemptResult::Failed(
            ErrorClass::Dns
            | ErrorClass::Refused
            | ErrorClass::Connect
            | ErrorClass::Tls
            | ErrorClass::Timeout
            | ErrorClass::BlockedDestination,
        ) => ChannelSignal::Unreachable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENDED_AT: Timestamp = Timestamp::from_ms(1_000_000);

    fn answered(status: u16, retry_after_ms: Option<i64>) -> AttemptResult {
        AttemptResult::Answered { status, retry_after_ms }
    }

    fn check(result: AttemptResult, attempts: u32, event: Event, wait_ms: Option<i64>) -> Outcome {
        let got = decide(result, attempts, ENDED_AT, Jitter::NONE);
        let got_wait_ms = got.next_attempt_at.map(|it| it.ms_since(ENDED_AT));
        assert_eq!((got.event, got_wait_ms), (event, wait_ms), "{result:?} after {attempts}");
        got
    }

    #[test]
    fn every_status_is_decided() {
        for status in 100..=599 {
            let expected = match status {
                200..=299 => (Event::Delivered, None, ChannelSignal::Reachable),
                410 => (Event::LastAttemptFailed, None, ChannelSignal::Gone),
                429 | 502 | 503 | 504 => (
                    Event::AttemptFailed,
                    Some(5_000),
                    ChannelSignal::Throttle { retry_after_ms: 0 },
                ),
                _ => (Event::AttemptFailed, Some(5_000), ChannelSignal::Reachable),
            };
            let got = check(answered(status, None), 1, expected.0, expected.1);
            assert_eq!(got.signal, expected.2, "{status}");
        }
    }

    #[test]
    fn every_error_is_retried() {
        for class in ErrorClass::ALL {
            let result = AttemptResult::Failed(class);
            let got = check(result, 1, Event::AttemptFailed, Some(5_000));
            let expected = match class {
                ErrorClass::Protocol => ChannelSignal::Reachable,
                _ => ChannelSignal::Unreachable,
            };
            assert_eq!(got.signal, expected, "{class:?}");
        }
    }

    #[test]
    fn the_last_attempt_is_final() {
        check(answered(500, None), 9, Event::AttemptFailed, Some(24 * 60 * 60 * 1000));
        check(answered(500, None), 10, Event::LastAttemptFailed, None);
        check(answered(503, Some(1_000)), 10, Event::LastAttemptFailed, None);
        check(AttemptResult::Failed(ErrorClass::Timeout), 11, Event::LastAttemptFailed, None);
        check(answered(200, None), 10, Event::Delivered, None);
    }

    #[test]
    fn retry_after_counts_only_where_the_receiver_throttles() {
        check(answered(429, Some(60_000)), 1, Event::AttemptFailed, Some(60_000));
        check(answered(503, Some(i64::MAX)), 1, Event::AttemptFailed, Some(24 * 60 * 60 * 1000));
        check(answered(500, Some(60_000)), 1, Event::AttemptFailed, Some(5_000));
        check(answered(200, Some(60_000)), 1, Event::Delivered, None);
    }
}
