//! How fast one channel may be driven: its rate limit, its throttle and its breaker.
//!
//! Time is the machine's monotonic clock in microseconds, handed in by the caller, so that a step
//! of the time of day neither floods a receiver nor stalls it.
//!
//! Not here: which delivery goes next, and the bound on requests in flight to all channels.

use std::num::NonZeroU32;

use crate::{delivery::outcome::ChannelSignal, limits};

/// Unreachable answers in a row after which the channel is paused.
const UNREACHABLE_BEFORE_PAUSE: u32 = 5;
/// The first pause; each further one is twice as long.
const PAUSE_US: u64 = 1_000_000;
/// The longest pause of an unreachable channel: it recovers this soon at the latest.
const PAUSE_UNREACHABLE_US: u64 = 5_000_000;
/// The longest pause of a channel that throttles without saying how long.
const PAUSE_THROTTLED_US: u64 = 60_000_000;

/// Whether a request may start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// At once.
    Now,
    /// Not before this time, in microseconds.
    At(u64),
    /// Not before one of those in flight has ended.
    WhenOneEnds,
}

/// The state of one channel's rate limit, throttle and breaker.
#[derive(Debug, Clone)]
pub struct Pace {
    /// Least distance between two starts; 0 without a rate limit.
    interval_us: u64,
    /// The earliest start that the rate limit allows.
    next_start_us: u64,
    /// No request starts before this.
    paused_until_us: u64,
    /// When the pause began; what started earlier says nothing new about the channel.
    paused_at_us: u64,
    /// Pauses without a good answer between them. Above 0, one request at a time probes.
    pauses: u32,
    /// Requests in a row that found nobody.
    unreachable: u32,
}

impl Pace {
    /// A channel in good health with at most `rate_limit` starts a second.
    pub fn new(rate_limit: Option<NonZeroU32>) -> Self {
        let mut pace = Self {
            interval_us: 0,
            next_start_us: 0,
            paused_until_us: 0,
            paused_at_us: 0,
            pauses: 0,
            unreachable: 0,
        };
        pace.set_rate_limit(rate_limit);
        pace
    }

    /// Changes the rate limit; `None` lifts it.
    pub fn set_rate_limit(&mut self, rate_limit: Option<NonZeroU32>) {
        self.interval_us = rate_limit.map_or(0, |it| 1_000_000_u64.div_ceil(it.get().into()));
    }

    /// Whether one more request may start beside `in_flight` others.
    pub fn start(&self, now_us: u64, in_flight: usize) -> Start {
        let at_us = self.paused_until_us.max(self.next_start_us);
        if at_us > now_us {
            return Start::At(at_us);
        }
        if in_flight >= self.concurrency() {
            return Start::WhenOneEnds;
        }
        Start::Now
    }

    /// Requests that may be in flight: one while the channel is in trouble.
    pub fn concurrency(&self) -> usize {
        if self.is_in_trouble() { 1 } else { limits::LANE_CONCURRENCY }
    }

    /// Whether the last thing known of the receiver is that it wants or can take no requests.
    pub fn is_in_trouble(&self) -> bool {
        self.pauses > 0
    }

    /// Whether no request may start at `now_us` whatever is in flight, the rate limit aside.
    pub fn is_paused(&self, now_us: u64) -> bool {
        self.paused_until_us > now_us
    }

    /// The end of the pause, if the channel is paused; else some time in the past.
    pub fn paused_until_us(&self) -> u64 {
        self.paused_until_us
    }

    /// Counts a start.
    pub fn started(&mut self, now_us: u64) {
        self.next_start_us = now_us.max(self.next_start_us).saturating_add(self.interval_us);
    }

    /// Learns from a request that ended.
    pub fn ended(&mut self, started_us: u64, now_us: u64, signal: ChannelSignal) {
        let is_news = self.pauses == 0 || started_us >= self.paused_at_us;
        match signal {
            ChannelSignal::Reachable => {
                self.unreachable = 0;
                if is_news {
                    self.pauses = 0;
                }
            }
            ChannelSignal::Unreachable => {
                self.unreachable = self.unreachable.saturating_add(1);
                let probed = self.pauses > 0;
                if is_news && (probed || self.unreachable >= UNREACHABLE_BEFORE_PAUSE) {
                    self.pause(now_us, 0, PAUSE_UNREACHABLE_US);
                }
            }
            ChannelSignal::Throttle { retry_after_ms } => {
                let asked_us = u64::try_from(retry_after_ms).unwrap_or(0) * 1_000;
                if is_news {
                    self.pause(now_us, asked_us, PAUSE_THROTTLED_US);
                } else {
                    self.paused_until_us = self.paused_until_us.max(now_us + asked_us);
                }
            }
            // The caller disables the channel; until that is done, hold still.
            ChannelSignal::Gone => self.pause(now_us, PAUSE_UNREACHABLE_US, PAUSE_UNREACHABLE_US),
        }
    }

    fn pause(&mut self, now_us: u64, asked_us: u64, longest_us: u64) {
        let own_us = (PAUSE_US << self.pauses.min(16)).min(longest_us);
        self.pauses = self.pauses.saturating_add(1);
        self.paused_at_us = now_us;
        self.paused_until_us = self.paused_until_us.max(now_us + own_us.max(asked_us));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_US: u64 = 1_000_000;
    const THROTTLE: ChannelSignal = ChannelSignal::Throttle { retry_after_ms: 0 };

    #[test]
    fn a_healthy_channel_is_bounded_by_its_concurrency() {
        let pace = Pace::new(None);
        assert_eq!(pace.start(0, 0), Start::Now);
        assert_eq!(pace.start(0, limits::LANE_CONCURRENCY - 1), Start::Now);
        assert_eq!(pace.start(0, limits::LANE_CONCURRENCY), Start::WhenOneEnds);
    }

    #[test]
    fn a_rate_limit_holds_in_every_second() {
        let mut pace = Pace::new(NonZeroU32::new(3));
        let mut now_us = 500;
        let mut starts = Vec::new();
        while starts.len() < 20 {
            match pace.start(now_us, 0) {
                Start::Now => {
                    pace.started(now_us);
                    starts.push(now_us);
                }
                Start::At(at_us) => now_us = at_us,
                Start::WhenOneEnds => unreachable!("nothing is in flight"),
            }
        }
        for window in starts.windows(4) {
            assert!(window[3] - window[0] >= SECOND_US, "{window:?}");
        }
        pace.set_rate_limit(None);
        assert!(pace.start(now_us + SECOND_US, 0) == Start::Now);
    }

    #[test]
    fn a_throttled_channel_waits_longer_each_time_and_probes_alone() {
        let mut pace = Pace::new(None);
        let mut now_us = 0;
        for expected_s in [1, 2, 4, 8, 16, 32, 60, 60] {
            pace.ended(now_us, now_us, THROTTLE);
            assert_eq!(pace.start(now_us, 0), Start::At(now_us + expected_s * SECOND_US));
            now_us += expected_s * SECOND_US;
            assert_eq!(pace.start(now_us, 0), Start::Now);
            assert_eq!(pace.start(now_us, 1), Start::WhenOneEnds);
        }
        pace.ended(now_us, now_us, ChannelSignal::Reachable);
        assert_eq!(pace.start(now_us, 1), Start::Now);
    }

    #[test]
    fn a_volley_of_refusals_is_one_refusal() {
        let mut pace = Pace::new(None);
        for _ in 0..16 {
            pace.ended(0, 10, THROTTLE);
        }
        assert_eq!(pace.start(10, 0), Start::At(10 + SECOND_US));
        // A success that was under way does not lift it, a longer wish lengthens it.
        pace.ended(0, 11, ChannelSignal::Reachable);
        assert_eq!(pace.start(11, 0), Start::At(10 + SECOND_US));
        pace.ended(0, 12, ChannelSignal::Throttle { retry_after_ms: 9_000 });
        assert_eq!(pace.start(12, 0), Start::At(12 + 9 * SECOND_US));
    }

    #[test]
    fn an_unreachable_channel_is_probed_every_five_seconds() {
        let mut pace = Pace::new(None);
        for _ in 0..4 {
            pace.ended(0, 1, ChannelSignal::Unreachable);
            assert_eq!(pace.start(1, 0), Start::Now);
        }
        let mut now_us = 1;
        for expected_s in [1, 2, 4, 5, 5] {
            pace.ended(now_us, now_us, ChannelSignal::Unreachable);
            assert_eq!(pace.start(now_us, 0), Start::At(now_us + expected_s * SECOND_US));
            now_us += expected_s * SECOND_US;
        }
        pace.ended(now_us, now_us, ChannelSignal::Reachable);
        assert!(!pace.is_in_trouble());
        // Answers between failures mean that it lives.
        for _ in 0..20 {
            pace.ended(now_us, now_us, ChannelSignal::Unreachable);
            pace.ended(now_us, now_us, ChannelSignal::Reachable);
        }
        assert_eq!(pace.start(now_us, 0), Start::Now);
    }
}
