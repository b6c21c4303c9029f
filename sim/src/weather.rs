//! Which faults the disk has for a while: how often commits fail, how, and when there is a crash.
//!
//! Not here: what a fault does (`store`).

use std::time::Duration;

use plimsoll_store::{Batch, Lane};

use crate::random::Dice;

/// What becomes of one batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is applied.
    Made,
    /// It fails for certain.
    Unavailable,
    /// It is lost, and its outcome is unknown.
    UnknownLost,
    /// It is applied, and its outcome is unknown.
    UnknownMade,
    /// Its outcome is unknown, and it is applied a while later.
    UnknownLate,
    /// The process crashes before it is applied.
    CrashBefore,
    /// The process crashes when it is applied and nobody was told.
    CrashAfter,
}

/// How the disk is for a while. Chances are in percent of the batches or reads.
#[derive(Debug, Clone)]
pub struct Weather {
    unavailable: u64,
    unknown: u64,
    /// Commits that take up to seconds.
    slow: u64,
    unreadable: u64,
    /// Nothing can be written until then: the disk is full.
    full_until: Duration,
    /// Nothing can be written or read until then: the database is away.
    away_until: Duration,
    /// The process crashes at this many commits from now.
    crash_in: Option<u64>,
}

impl Weather {
    /// Nothing fails.
    pub const CALM: Self = Self {
        unavailable: 0,
        unknown: 0,
        slow: 0,
        unreadable: 0,
        full_until: Duration::ZERO,
        away_until: Duration::ZERO,
        crash_in: None,
    };

    /// Draws the weather that begins `now`.
    pub fn draw(dice: &mut Dice, now: Duration) -> Self {
        let mut weather = Self::CALM;
        if dice.percent(35) {
            weather.unavailable = dice.between(2, 40);
        }
        if dice.percent(35) {
            weather.unknown = dice.between(2, 40);
        }
        if dice.percent(30) {
            weather.slow = dice.between(5, 60);
        }
        if dice.percent(15) {
            weather.unreadable = dice.between(2, 30);
        }
        if dice.percent(8) {
            weather.full_until = now + Duration::from_millis(dice.between(1, 3_000));
        }
        if dice.percent(8) {
            weather.away_until = now + Duration::from_millis(dice.between(1, 3_000));
        }
        if dice.percent(35) {
            weather.crash_in = Some(dice.between(1, 12));
        }
        weather
    }

    /// What becomes of a batch that is handed over `now`.
    pub fn fate_of(&mut self, batch: &Batch, dice: &mut Dice, now: Duration) -> Fate {
        if let Some(left) = &mut self.crash_in {
            *left = left.saturating_sub(1);
            if *left == 0 {
                return if dice.percent(50) { Fate::CrashBefore } else { Fate::CrashAfter };
            }
        }
        if now < self.full_until || now < self.away_until || dice.percent(self.unavailable) {
            return Fate::Unavailable;
        }
        if !dice.percent(self.unknown) {
            return Fate::Made;
        }
        match dice.below(5) {
            0 | 1 => Fate::UnknownLost,
            // The position on the log fences what comes late; other batches have no such fence.
            2 if batch.lane == Lane::Log => Fate::UnknownLate,
            _ => Fate::UnknownMade,
        }
    }

    /// How long until a batch is applied.
    pub fn wait(&self, dice: &mut Dice) -> Duration {
        let us = if dice.percent(self.slow) {
            dice.between(5_000, 3_000_000)
        } else {
            dice.between(50, 4_000)
        };
        Duration::from_micros(us)
    }

    /// Whether a read that begins `now` fails.
    pub fn fails_read(&self, dice: &mut Dice, now: Duration) -> bool {
        now < self.away_until || dice.percent(self.unreadable)
    }
}
