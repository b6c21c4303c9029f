//! The clock of an environment, as its log tells it.
//!
//! It never goes back, but in a sandbox without events. A clock that was set stands still until it
//! is set again; what becomes due up to there is stamped with its own time, in order.
//!
//! Not here: the machine's clock (the engine).

use super::State;
use crate::{
    codec::{Corrupt, Reader, Writer},
    command::Command,
    ids::EnvironmentId,
    time::Timestamp,
};

/// What is known of an environment's time.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct EnvironmentClock {
    /// The last stamp; nothing before the first row.
    last: Option<Timestamp>,
    /// Where it was set to; nothing if it follows the machine.
    set_to: Option<Timestamp>,
    /// Whether any usage was ever accepted.
    pub(super) has_events: bool,
}

impl EnvironmentClock {
    /// The stamp for a row now.
    fn stamp(&self, now: Timestamp) -> Timestamp {
        let now = self.set_to.unwrap_or(now);
        self.last.map_or(now, |it| it.max(now))
    }

    /// A row was stamped; gives the stamp, which is never before the last.
    pub(super) fn advance(&mut self, stamped_at: Timestamp) -> Timestamp {
        let stamp = self.last.map_or(stamped_at, |it| it.max(stamped_at));
        self.last = Some(stamp);
        stamp
    }

    /// Sets the clock; whether it went back.
    pub(super) fn set(&mut self, to: Timestamp) -> bool {
        let shown = self.last.max(self.set_to);
        let goes_back = shown.is_some_and(|it| to < it) && !self.has_events;
        if goes_back {
            self.last = Some(to);
        }
        self.set_to = Some(self.last.map_or(to, |it| it.max(to)));
        goes_back
    }

    /// The time of what is due at `due`: its own where the clock was set and has come past it,
    /// else now; nothing while it is still to come.
    fn stamp_due(&self, due: Timestamp, now: Timestamp) -> Option<Timestamp> {
        let stamp = self.stamp(now);
        if due > stamp {
            return None;
        }
        match self.set_to {
            Some(_) => Some(self.last.map_or(due, |it| it.max(due))),
            None => Some(stamp),
        }
    }

    pub(super) fn encode(&self, writer: &mut Writer) {
        writer.option(self.last, Writer::time);
        writer.option(self.set_to, Writer::time);
        writer.byte(u8::from(self.has_events));
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, Corrupt> {
        if reader.version() < 2 {
            // Nobody could set a clock; nobody knew whether there were events.
            return Ok(Self { last: Some(reader.time()?), set_to: None, has_events: true });
        }
        Ok(Self {
            last: reader.option(Reader::time)?,
            set_to: reader.option(Reader::time)?,
            has_events: reader.flag()?,
        })
    }
}

impl State {
    /// The stamp for a row of `environment`, where the machine's clock shows `now`.
    pub fn stamp(&self, environment: EnvironmentId, now: Timestamp) -> Timestamp {
        self.clocks.get(&environment).map_or(now, |it| it.stamp(now))
    }

    /// Whether any usage was ever accepted in an environment.
    pub fn has_events(&self, environment: EnvironmentId) -> bool {
        self.clocks.get(&environment).is_some_and(|it| it.has_events)
    }

    /// When something happens by itself next in an environment that follows the machine's clock.
    pub fn next_due(&mut self) -> Option<Timestamp> {
        let environments = self.customers.due_environments();
        let follow = environments
            .into_iter()
            .filter(|it| self.clocks.get(it).is_none_or(|it| it.set_to.is_none()));
        let follow: Vec<_> = follow.collect();
        follow.into_iter().filter_map(|it| self.customers.next_due(it)).min()
    }

    /// The next command that brings customers up to date with the time, if any are behind. The
    /// machine's clock shows `now`.
    pub fn due_pulse(&mut self, now: Timestamp) -> Option<Command> {
        let environments = self.customers.due_environments();
        environments.into_iter().find_map(|it| self.due_pulse_of(it, now))
    }

    /// As [`State::due_pulse`], for one environment.
    pub fn due_pulse_of(&mut self, environment: EnvironmentId, now: Timestamp) -> Option<Command> {
        let due = self.customers.next_due(environment)?;
        let clock = self.clocks.get(&environment).copied().unwrap_or_default();
        let stamped_at = clock.stamp_due(due, now)?;
        let slots = self.customers.due_slots(environment, stamped_at);
        Some(Command::Pulse { environment, stamped_at, slots })
    }

    /// The environments whose clocks were set, and so stand still.
    pub fn environments_with_set_clock(&self) -> Vec<EnvironmentId> {
        let set = self.clocks.iter().filter(|(_, it)| it.set_to.is_some());
        set.map(|(environment, _)| *environment).collect()
    }
}
