//! The state of one partition, and the one way to change it: applying the rows of its log.
//!
//! A row is applied at its position, in order. The same rows give the same state and the same
//! effects, to the byte: recovery, verification and simulation rest on that. Nothing here asks for
//! the time; a row carries its stamp, and an environment's clock never goes back.
//!
//! Not here: where rows come from, dedupe, what is done about effects (the engine).

use std::collections::BTreeMap;

use crate::{
    catalog::{Catalog, meter::Reading},
    codec::{Corrupt, Reader, Writer},
    command::{Command, CustomerCommand},
    effect::Effect,
    entitlement::{Entitlement, EntitlementKind, EntitlementValue},
    ids::{CustomerId, EntitlementId, EnvironmentId, MeterId},
    limits,
    line::crossing::Cause,
    time::Timestamp,
};

mod customers;
mod evaluate;
mod metered;

use customers::{Customer, Customers, Tracked};
use evaluate::Evaluation;
use metered::Metered;

/// Everything one partition knows.
#[derive(Debug, Default)]
pub struct State {
    catalog: Catalog,
    /// The last stamp of each environment.
    clocks: BTreeMap<EnvironmentId, Timestamp>,
    customers: Customers,
    /// Environments whose customers are being brought up to date, and the next slot of each.
    sweeps: BTreeMap<EnvironmentId, u32>,
    /// While replaying: the position that each slice of customers already holds.
    held: Vec<u64>,
}

/// One accepted event, as far as the core needs it.
#[derive(Debug, Clone, Copy)]
pub struct UsageEvent<'a> {
    /// Whose event.
    pub customer: CustomerId,
    /// Its effective time: the event's own, but never later than the row's stamp.
    pub time: Timestamp,
    /// Which event of the row.
    pub index: u32,
    /// What it means to each meter of its type.
    pub readings: &'a [(MeterId, Reading)],
}

/// Where and when a row stands.
#[derive(Debug, Clone, Copy)]
pub struct RowStamp {
    /// The row's position on the partition's log.
    pub position: u64,
    /// The environment that the row belongs to.
    pub environment: EnvironmentId,
    /// The environment's clock.
    pub stamped_at: Timestamp,
}

/// The customers from one slot up to another of an environment that is behind its catalogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DueSlice {
    /// Whose customers.
    pub environment: EnvironmentId,
    /// The first slot.
    pub from: u32,
    /// The slot after the last.
    pub to: u32,
}

impl State {
    /// The state before the first row.
    pub fn new() -> Self {
        Self::default()
    }

    /// The catalogue as of the last row.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// Customers that exist.
    pub fn customer_count(&self) -> usize {
        self.customers.count()
    }

    /// Whether this customer exists here.
    pub fn has_customer(&self, customer: CustomerId) -> bool {
        self.customers.slot(customer).is_some()
    }

    /// The stamp for a row of `environment` now: its clock, which never goes back.
    pub fn stamp(&self, environment: EnvironmentId, now: Timestamp) -> Timestamp {
        self.clocks.get(&environment).map_or(now, |it| (*it).max(now))
    }

    /// Begins a row of usage: moves the environment's clock.
    pub fn begin_usage(&mut self, row: RowStamp) {
        self.advance(row.environment, row.stamped_at);
    }

    /// Applies one event of a row of usage.
    pub fn apply_usage(&mut self, row: RowStamp, event: UsageEvent<'_>, effects: &mut Vec<Effect>) {
        let Some(slot) = self.customers.slot(event.customer) else { return };
        if self.holds(slot, row.position) {
            return;
        }
        let customer = self.customers.at_mut(slot);
        customer.last_usage_at = Some(row.stamped_at);
        if event.readings.is_empty() {
            return;
        }
        let mut evaluation = Evaluation {
            catalog: &self.catalog,
            customer: customer.id,
            environment: customer.environment,
            at: row.stamped_at,
            cause: Cause::Usage,
            event: Some(event.index),
            behind_since: customer.lines_seq,
        };
        if customer.lines_seq < self.catalog.lines_seq() {
            evaluation.bring_up_to_date(customer, effects);
        }
        evaluation.behind_since = self.catalog.lines_seq();
        for (meter, reading) in event.readings {
            for tracked in &mut customer.entitlements {
                let Some((limit, metered)) = tracked.measured_by(*meter) else { continue };
                let outcome = evaluation.count(metered, limit, event.time, *reading, effects);
                if let Err(reason) = outcome {
                    effects.push(Effect::Uncounted {
                        event: event.index,
                        customer: event.customer,
                        meter: *meter,
                        reason,
                    });
                }
            }
        }
    }

    /// Applies any row but usage.
    pub fn apply(&mut self, position: u64, command: &Command, effects: &mut Vec<Effect>) {
        match command {
            Command::Control { seq, command } => {
                self.catalog.apply(*seq, command);
                if let Some(environment) = command.rule_environment() {
                    self.sweeps.insert(environment, 0);
                }
            }
            Command::Customer { environment, stamped_at, command } => {
                self.advance(*environment, *stamped_at);
                let row = RowStamp {
                    position,
                    environment: *environment,
                    stamped_at: self.stamp(*environment, *stamped_at),
                };
                self.apply_customer(row, command, effects);
            }
            Command::Slice { environment, stamped_at, from, to } => {
                self.advance(*environment, *stamped_at);
                self.apply_slice(position, *environment, *stamped_at, *from..*to, effects);
            }
        }
    }

    fn apply_customer(
        &mut self,
        row: RowStamp,
        command: &CustomerCommand,
        effects: &mut Vec<Effect>,
    ) {
        if let CustomerCommand::Create { customer } = command {
            self.customers.create(*customer, row.environment, self.catalog.lines_seq());
            return;
        }
        let Some(slot) = self.customers.slot(command.customer()) else { return };
        if self.holds(slot, row.position) {
            return;
        }
        match command {
            CustomerCommand::Create { .. } => {}
            CustomerCommand::Delete { customer } => self.customers.delete(*customer),
            CustomerCommand::PutEntitlement { entitlement, .. } => {
                self.put_entitlement(slot, row.stamped_at, entitlement, effects);
            }
            CustomerCommand::DeleteEntitlement { entitlement, .. } => {
                let customer = self.customers.at_mut(slot);
                customer.entitlements.retain(|it| it.entitlement.id != *entitlement);
            }
        }
    }

    fn put_entitlement(
        &mut self,
        slot: u32,
        at: Timestamp,
        entitlement: &Entitlement,
        effects: &mut Vec<Effect>,
    ) {
        let customer = self.customers.at_mut(slot);
        let mut evaluation = Evaluation {
            catalog: &self.catalog,
            customer: customer.id,
            environment: customer.environment,
            at,
            cause: Cause::LimitChanged,
            event: None,
            behind_since: customer.lines_seq,
        };
        evaluation.bring_up_to_date(customer, effects);
        evaluation.behind_since = self.catalog.lines_seq();
        let known = customer.entitlements.iter_mut().find(|it| it.entitlement.id == entitlement.id);
        let tracked = if let Some(tracked) = known {
            tracked.entitlement = entitlement.clone();
            tracked
        } else {
            evaluation.cause = Cause::EntitlementCreated;
            let measured = match entitlement.kind {
                EntitlementKind::Metered { period, .. } => self
                    .catalog
                    .meter_of(entitlement.feature)
                    .map(|meter| Metered::new(entitlement, meter.id, period, at)),
                EntitlementKind::Boolean | EntitlementKind::Static => None,
            };
            customer.entitlements.push(Tracked { entitlement: entitlement.clone(), measured });
            customer.entitlements.last_mut().expect("one was pushed just now")
        };
        if let Some((limit, metered)) = tracked.measured() {
            let usage = metered.usage();
            evaluation.settle(metered, limit, usage, effects);
        }
    }

    fn apply_slice(
        &mut self,
        position: u64,
        environment: EnvironmentId,
        at: Timestamp,
        slots: std::ops::Range<u32>,
        effects: &mut Vec<Effect>,
    ) {
        for slot in slots.clone() {
            if self.holds(slot, position) {
                continue;
            }
            let Some(customer) = self.customers.get_mut(slot) else { continue };
            if customer.environment != environment || customer.lines_seq >= self.catalog.lines_seq()
            {
                continue;
            }
            let evaluation = Evaluation {
                catalog: &self.catalog,
                customer: customer.id,
                environment,
                at,
                cause: Cause::Usage,
                event: None,
                behind_since: customer.lines_seq,
            };
            evaluation.bring_up_to_date(customer, effects);
        }
        if slots.end >= self.customers.slots() {
            self.sweeps.remove(&environment);
        } else {
            self.sweeps.insert(environment, slots.end);
        }
    }

    /// The next customers to be brought up to date, if any are behind.
    pub fn due_slice(&self) -> Option<DueSlice> {
        let (environment, from) = self.sweeps.iter().next()?;
        let to = from.saturating_add(limits::SLICE as u32).min(self.customers.slots());
        Some(DueSlice { environment: *environment, from: *from, to: to.max(*from) })
    }

    /// The stamp of the last usage that was accepted for a customer.
    pub fn last_usage_at(&self, customer: CustomerId) -> Option<Timestamp> {
        self.customers.get(self.customers.slot(customer)?)?.last_usage_at
    }

    /// The value of a metered entitlement at `now`, whatever has not been worked off yet.
    pub fn value(
        &self,
        customer: CustomerId,
        entitlement: EntitlementId,
        now: Timestamp,
    ) -> Option<EntitlementValue> {
        let customer = self.customers.get(self.customers.slot(customer)?)?;
        let tracked = customer.entitlements.iter().find(|it| it.entitlement.id == entitlement)?;
        let EntitlementKind::Metered { limit, .. } = tracked.entitlement.kind else { return None };
        let metered = tracked.measured.as_ref()?;
        let now = self.stamp(customer.environment, now);
        Some(metered.value_at(now, limit))
    }

    fn advance(&mut self, environment: EnvironmentId, stamped_at: Timestamp) {
        let clock = self.clocks.entry(environment).or_insert(stamped_at);
        *clock = (*clock).max(stamped_at);
    }

    /// Whether the slice of this slot was loaded from a checkpoint that already holds this row.
    fn holds(&self, slot: u32, position: u64) -> bool {
        let slice = slot as usize / limits::CHECKPOINT_SLICE;
        self.held.get(slice).is_some_and(|it| *it >= position)
    }
}

/// Checkpoints: the head, and the customers in slices of [`limits::CHECKPOINT_SLICE`] slots.
impl State {
    /// How many slices hold the customers.
    pub fn slice_count(&self) -> usize {
        (self.customers.slots() as usize).div_ceil(limits::CHECKPOINT_SLICE)
    }

    /// The bytes of one slice, as of the last row.
    pub fn encode_slice(&self, slice: usize) -> Vec<u8> {
        let mut writer = Writer::new();
        self.customers.encode_slice(slice, &mut writer);
        writer.into_bytes()
    }

    /// The bytes of everything but the customers, as of the last row.
    pub fn encode_head(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.list(self.clocks.iter(), |writer, (environment, time)| {
            writer.bits(environment.bits());
            writer.time(*time);
        });
        writer.list(self.sweeps.iter(), |writer, (environment, next)| {
            writer.bits(environment.bits());
            writer.number(u64::from(*next));
        });
        self.catalog.encode(&mut writer);
        writer.into_bytes()
    }

    /// The state of a checkpoint, to be replayed from the head's position on.
    ///
    /// `slices` are `(slice, position it is good for, bytes)`, and no position is before the head's.
    pub fn restore(head: &[u8], slices: &[(usize, u64, &[u8])]) -> Result<Self, Corrupt> {
        let mut reader = Reader::new(head);
        let clocks = reader.list(|it| Ok((EnvironmentId::from_bits(it.bits()?), it.time()?)))?;
        let sweeps = reader.list(|it| {
            let environment = EnvironmentId::from_bits(it.bits()?);
            let next = u32::try_from(it.number()?).map_err(|_| Corrupt { expected: "a slot" })?;
            Ok((environment, next))
        })?;
        let catalog = Catalog::decode(&mut reader)?;
        reader.finish()?;
        let mut state = Self {
            catalog,
            clocks: clocks.into_iter().collect(),
            sweeps: sweeps.into_iter().collect(),
            ..Self::default()
        };
        for (slice, position, bytes) in slices {
            let mut reader = Reader::new(bytes);
            state.customers.decode_slice(*slice, &mut reader)?;
            reader.finish()?;
            if state.held.len() <= *slice {
                state.held.resize(*slice + 1, 0);
            }
            state.held[*slice] = *position;
        }
        Ok(state)
    }

    /// Ends the replay: from now on every row is new to every slice.
    pub fn finish_replay(&mut self) {
        self.held.clear();
    }
}

impl Customer {
    /// Whether nothing is left to do for this customer with the catalogue as it is.
    fn is_up_to_date(&self, catalog: &Catalog) -> bool {
        self.lines_seq >= catalog.lines_seq()
    }
}
