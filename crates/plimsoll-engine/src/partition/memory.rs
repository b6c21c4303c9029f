//! What a partition knows, and the synchronous steps that change it.
//!
//! Each step applies something to memory and adds to a [`Work`] the log rows and statements that
//! make it durable. Nothing here waits; `owner` commits the work before anybody hears of it.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use plimsoll_core::{
    archive::Settled,
    codec::{CORE_VERSION, Corrupt},
    command::{Command, ControlCommand, CustomerCommand, RowKind},
    effect::{Effect, Reset},
    ids::{EntitlementId, EnvironmentId},
    limits,
    line::crossing::Crossing,
    state::{RowStamp, State, UsageEvent},
    time::Timestamp,
};
use plimsoll_store::{Statement, log::LogRow};

use super::{
    UsageOutcome, UsageRequest,
    archive::TurnArchive,
    dedupe::Dedupe,
    readings::Readings,
    uncounted_row,
    usage_row::{self, CODEC_LZ4, CODEC_PLAIN, IncomingEvent, RowWriter, UsageRow},
};
use crate::{
    ingest::Identify,
    ops::{
        customer::{Customer, provisional_rows},
        port::CustomerChange,
    },
};

/// A partition's memory. It may be ahead of the disk by the one batch that is being committed.
#[derive(Debug)]
pub(super) struct Memory {
    pub(super) partition: u32,
    pub(super) state: State,
    pub(super) dedupe: Dedupe,
    /// The position of the last row that was applied.
    pub(super) position: u64,
    readings: Readings,
}

/// What a batch of steps wants to have committed, and what it brought about.
#[derive(Debug, Default)]
pub(super) struct Work {
    pub(super) rows: Vec<LogRow>,
    pub(super) statements: Vec<Statement>,
    pub(super) crossings: Vec<FoundCrossing>,
    pub(super) resets: Vec<FoundReset>,
    pub(super) archive: TurnArchive,
    /// Resources as they will be once this is committed, by id.
    pub(super) documents: Vec<(String, Bytes)>,
    pub(super) events: u64,
}

/// A crossing, and the event that crossed as it was written.
#[derive(Debug)]
pub(super) struct FoundCrossing {
    pub(super) crossing: Box<Crossing>,
    pub(super) position: u64,
    pub(super) crossed_by: Option<String>,
}

/// A new window, and the row that noticed it.
#[derive(Debug)]
pub(super) struct FoundReset {
    pub(super) reset: Box<Reset>,
    pub(super) position: u64,
}

impl Memory {
    pub(super) fn new(partition: u32, state: State, dedupe: Dedupe, position: u64) -> Self {
        Self { partition, state, dedupe, position, readings: Readings::default() }
    }

    /// Appends a change of the catalogue.
    pub(super) fn control(
        &mut self,
        work: &mut Work,
        now: Timestamp,
        seq: u64,
        command: ControlCommand,
    ) {
        self.readings.forget();
        self.apply(work, now, &Command::Control { seq, command });
    }

    /// Brings customers up to date with the time, if any are behind.
    pub(super) fn pulse(&mut self, work: &mut Work, now: Timestamp) {
        if let Some(pulse) = self.state.due_pulse(now) {
            self.apply_pulse(work, &pulse);
        }
    }

    /// Brings everybody in environments whose clock was set up to date with it, before anything
    /// else happens there: what is due on the way happens in order.
    ///
    /// One call touches about [`limits::SLICE`] customers. Gives the environments in which
    /// something is still due: nothing else may happen there until they are worked off.
    pub(super) fn settle_set_clocks(
        &mut self,
        work: &mut Work,
        now: Timestamp,
    ) -> BTreeSet<EnvironmentId> {
        let mut touched = 0;
        let mut unsettled = BTreeSet::new();
        for environment in self.state.environments_with_set_clock() {
            while let Some(pulse) = self.state.due_pulse_of(environment, now) {
                if touched >= limits::SLICE {
                    unsettled.insert(environment);
                    break;
                }
                if let Command::Pulse { slots, .. } = &pulse {
                    touched += slots.len();
                }
                self.apply_pulse(work, &pulse);
            }
        }
        unsettled
    }

    fn apply_pulse(&mut self, work: &mut Work, pulse: &Command) {
        if let Command::Pulse { stamped_at, .. } = pulse {
            self.apply(work, *stamped_at, pulse);
        }
    }

    /// The closed windows that events of these requests are late for, by a moment in each.
    pub(super) fn late_windows(
        &self,
        requests: &[UsageRequest],
    ) -> BTreeSet<(EntitlementId, Timestamp)> {
        let mut windows = BTreeSet::new();
        for event in requests.iter().flat_map(|it| &it.events) {
            let Some(time) = event.time else { continue };
            let late = self.state.late_windows(event.customer, time);
            windows.extend(late.into_iter().map(|it| (it, time)));
        }
        windows
    }

    /// Appends a change of one customer.
    pub(super) fn change(&mut self, work: &mut Work, now: Timestamp, change: &CustomerChange) {
        let stamped_at = self.state.stamp(change.environment, now);
        for command in &change.commands {
            let command = Command::Customer {
                environment: change.environment,
                stamped_at,
                command: command.clone(),
            };
            self.apply(work, stamped_at, &command);
        }
        work.statements.extend(change.statements.iter().cloned());
        work.documents.extend(change.documents.iter().cloned());
    }

    /// Brings the next customers up to date with the catalogue, if any are behind.
    ///
    /// Not in environments that are `unsettled`: a slice would pass their time in one step.
    pub(super) fn slice(
        &mut self,
        work: &mut Work,
        now: Timestamp,
        unsettled: &BTreeSet<EnvironmentId>,
    ) {
        let due = self.state.due_slice().filter(|it| !unsettled.contains(&it.environment));
        if let Some(due) = due {
            let stamped_at = self.state.stamp(due.environment, now);
            let (environment, from, to) = (due.environment, due.from, due.to);
            self.apply(work, stamped_at, &Command::Slice { environment, stamped_at, from, to });
        }
    }

    fn apply(&mut self, work: &mut Work, stamped_at: Timestamp, command: &Command) {
        let position = self.position + 1;
        let mut effects = Vec::new();
        self.state.apply(position, command, &mut work.archive, &mut effects);
        self.position = position;
        let payload = command.encode().into();
        work.rows.push(self.row(stamped_at, command.row_kind(), CODEC_PLAIN, payload));
        collect(effects, position, &[], work);
    }

    fn row(&self, stamped_at: Timestamp, kind: RowKind, codec: u32, payload: Bytes) -> LogRow {
        LogRow {
            partition: self.partition,
            position: self.position as i64,
            stamped_at,
            core_version: CORE_VERSION as u32,
            kind: kind.code() as u32,
            codec,
            payload,
        }
    }

    /// Appends the usage of several requests: one row for each environment that has any.
    ///
    /// The outcomes are in the order of the requests.
    pub(super) fn usage(
        &mut self,
        work: &mut Work,
        now: Timestamp,
        requests: &[UsageRequest],
    ) -> Vec<UsageOutcome> {
        self.provisional_customers(work, now, requests);
        let mut outcomes = vec![UsageOutcome::default(); requests.len()];
        let mut environments: BTreeMap<EnvironmentId, Vec<usize>> = BTreeMap::new();
        for (index, request) in requests.iter().enumerate() {
            environments.entry(request.environment).or_default().push(index);
        }
        for (environment, indexes) in environments {
            let bytes = indexes.iter().filter_map(|it| requests.get(*it)).map(|it| it.body.len());
            let stamped_at = self.state.stamp(environment, now);
            let writer = RowWriter::new(environment, stamped_at, bytes.sum::<usize>() + 1024);
            let mut row = OpenRow { writer, effects: Vec::new(), places: Vec::new() };
            let position = self.position + 1;
            let stamp = RowStamp { position, environment, stamped_at };
            for index in indexes {
                if let (Some(request), Some(outcome)) =
                    (requests.get(index), outcomes.get_mut(index))
                {
                    self.request(stamp, request, index, &mut row, (&mut work.archive, outcome));
                }
            }
            self.finish_usage_row(work, stamp, requests, row);
        }
        outcomes
    }

    /// Makes the customers that requests bring along, those that are not here yet. One that was
    /// made without its sender hearing of it may be deleted by now: it is not made again.
    fn provisional_customers(
        &mut self,
        work: &mut Work,
        now: Timestamp,
        requests: &[UsageRequest],
    ) {
        let mut made: BTreeMap<EnvironmentId, Vec<Customer>> = BTreeMap::new();
        for request in requests {
            for customer in &request.provisional {
                if self.state.has_had_customer(customer.id) {
                    continue;
                }
                let environment = request.environment;
                let stamped_at = self.state.stamp(environment, now);
                let command = CustomerCommand::Create { customer: customer.id };
                self.apply(
                    work,
                    stamped_at,
                    &Command::Customer { environment, stamped_at, command },
                );
                work.documents.push((customer.id.to_string(), customer.to_json().into()));
                made.entry(environment).or_default().push(customer.clone());
            }
        }
        for (environment, customers) in made {
            work.statements.extend(provisional_rows(environment, &customers));
        }
    }

    fn request(
        &mut self,
        stamp: RowStamp,
        request: &UsageRequest,
        request_index: usize,
        row: &mut OpenRow,
        (archive, outcome): (&mut TurnArchive, &mut UsageOutcome),
    ) {
        let body = request.body.as_str();
        for (place, incoming) in request.events.iter().enumerate() {
            if place % State::READ_AHEAD == 0 {
                let ahead = || request.events.iter().skip(place).take(State::READ_AHEAD);
                self.state.read_ahead(ahead().map(|it| it.customer));
                self.dedupe.read_ahead(ahead().map(|it| it.identity));
            }
            if !self.state.has_customer(incoming.customer) {
                outcome.gone.push(incoming.index);
                continue;
            }
            if !self.dedupe.insert(incoming.identity) {
                outcome.duplicates += 1;
                continue;
            }
            outcome.accepted += 1;
            let time = incoming.time.map_or(stamp.stamped_at, |it| it.min(stamp.stamped_at));
            let index = row.writer.count();
            row.writer.push(incoming.customer, time, incoming.raw(body));
            if index == 0 {
                self.state.begin_usage(stamp);
            }
            let readings = self.readings.of(
                &self.state,
                stamp.environment,
                time,
                incoming.quoted_type(body),
                incoming.data(body),
            );
            let usage = UsageEvent { customer: incoming.customer, time, index, readings };
            let before = row.effects.len();
            self.state.apply_usage(stamp, usage, archive, &mut row.effects);
            if row.effects.len() > before {
                row.places.push((index, request_index, incoming.clone()));
            }
        }
    }

    fn finish_usage_row(
        &mut self,
        work: &mut Work,
        stamp: RowStamp,
        requests: &[UsageRequest],
        row: OpenRow,
    ) {
        if row.writer.count() == 0 {
            return;
        }
        work.events += u64::from(row.writer.count());
        self.position = stamp.position;
        let payload = row.writer.finish();
        work.rows.push(self.row(stamp.stamped_at, RowKind::Usage, CODEC_LZ4, payload));
        let raws: Vec<(u32, &str)> = row
            .places
            .iter()
            .filter_map(|(index, request, incoming)| {
                requests.get(*request).map(|it| (*index, incoming.raw(it.body.as_str())))
            })
            .collect();
        work.statements.extend(uncounted_row::statements(&row.effects, self.partition, stamp));
        collect(row.effects, stamp.position, &raws, work);
    }

    /// Applies a row that is on the log already, while recovering.
    pub(super) fn replay(
        &mut self,
        row: &LogRow,
        identify: &Identify,
        sealed_position: u64,
    ) -> Result<u64, Corrupt> {
        let position = row.position as u64;
        if position != self.position + 1 {
            return Err(Corrupt { expected: "the next position of the log" });
        }
        let mut effects = Vec::new();
        let events = match RowKind::from_code(i64::from(row.kind))? {
            RowKind::Usage => {
                let usage = usage_row::decode(&row.payload)?;
                self.replay_usage(position, &usage, identify, sealed_position)?;
                usage.events.len() as u64
            }
            kind @ (RowKind::Control | RowKind::Customer | RowKind::Slice | RowKind::Pulse) => {
                self.readings.forget();
                let command = Command::decode(kind, &row.payload)?;
                self.state.apply(position, &command, &mut Settled, &mut effects);
                0
            }
        };
        self.position = position;
        Ok(events)
    }

    fn replay_usage(
        &mut self,
        position: u64,
        usage: &UsageRow,
        identify: &Identify,
        sealed_position: u64,
    ) -> Result<(), Corrupt> {
        let (environment, stamped_at) = (usage.environment, usage.stamped_at);
        let stamp = RowStamp { position, environment, stamped_at };
        self.state.begin_usage(stamp);
        let mut effects = Vec::new();
        for (index, stored) in usage.events.iter().enumerate() {
            if index % State::READ_AHEAD == 0 {
                let ahead = usage.events.iter().skip(index).take(State::READ_AHEAD);
                self.state.read_ahead(ahead.map(|it| it.customer));
            }
            let event = stored.event()?;
            // The planted defect forgets the identities of the tail.
            if position > sealed_position && !cfg!(feature = "planted-bug") {
                let identity = identify.event(stored.customer, &event.source, &event.id);
                self.dedupe.insert(identity);
            }
            let (customer, time) = (stored.customer, stored.time);
            let (event_type, data) = (event.event_type_raw, event.data);
            let readings = self.readings.of(&self.state, environment, time, event_type, data);
            let usage = UsageEvent { customer, time, index: index as u32, readings };
            self.state.apply_usage(stamp, usage, &mut Settled, &mut effects);
        }
        Ok(())
    }
}

/// A row of usage that is still being filled.
#[derive(Debug)]
struct OpenRow {
    writer: RowWriter,
    effects: Vec<Effect>,
    /// Events that had effects: index in the row, request, and the event.
    places: Vec<(u32, usize, IncomingEvent)>,
}

/// Turns effects into what must be written about them.
fn collect(effects: Vec<Effect>, position: u64, raws: &[(u32, &str)], work: &mut Work) {
    for effect in effects {
        match effect {
            Effect::Crossing(crossing) => {
                let raw = crossing.event.and_then(|event| {
                    let place = raws.binary_search_by_key(&event, |(index, _)| *index).ok()?;
                    raws.get(place).map(|(_, raw)| (*raw).to_owned())
                });
                work.crossings.push(FoundCrossing { crossing, position, crossed_by: raw });
            }
            Effect::Reset(reset) => work.resets.push(FoundReset { reset, position }),
            Effect::Uncounted { reason, .. } => {
                metrics::counter!(super::UNCOUNTED_EVENTS, "reason" => reason.code()).increment(1);
            }
        }
    }
}

#[cfg(test)]
mod tests;
