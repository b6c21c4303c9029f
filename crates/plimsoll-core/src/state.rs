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
    entitlement::EntitlementValue,
    ids::{CustomerId, EntitlementId, EnvironmentId, MeterId},
    limits,
    line::crossing::Cause,
    time::Timestamp,
};

mod customers;
mod evaluate;
mod metered;

use customers::Customers;
use evaluate::Evaluation;

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

    /// The state before the first row, with checkpoints in slices of so many slots.
    #[cfg(test)]
    pub(crate) fn with_slice_slots(slots: u32) -> Self {
        Self { customers: Customers::empty(slots, 0), ..Self::default() }
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
        self.customers.slot(customer).is_some_and(|it| self.customers.get(it).is_some())
    }

    /// The stamp for a row of `environment` now: its clock, which never goes back.
    pub fn stamp(&self, environment: EnvironmentId, now: Timestamp) -> Timestamp {
        self.clocks.get(&environment).map_or(now, |it| (*it).max(now))
    }

    /// Begins a row of usage: moves the environment's clock.
    pub fn begin_usage(&mut self, row: RowStamp) {
        self.advance(row.environment, row.stamped_at);
    }

    /// Reads ahead what applying events of these customers will read; changes nothing.
    ///
    /// Many customers do not fit a processor's cache, and an event waits for memory three times in
    /// a row. The waits of different customers overlap here: a hundred at a time are a good number.
    pub fn read_ahead(&self, customers: impl Iterator<Item = CustomerId>) {
        let found = customers.filter_map(|it| self.customers.get(self.customers.slot(it)?));
        let metered = found.filter_map(|it| it.entitlements.first()?.metered());
        // Without a use of what was read, nothing would be read.
        metered.for_each(|it| {
            std::hint::black_box((it.window.to, it.accumulated, it.calm.is_some()));
        });
    }

    /// Applies one event of a row of usage.
    pub fn apply_usage(&mut self, row: RowStamp, event: UsageEvent<'_>, effects: &mut Vec<Effect>) {
        let Some(slot) = self.customers.slot(event.customer) else { return };
        if self.holds(slot, row.position) {
            return;
        }
        let Some(customer) = self.customers.get_mut(slot) else { return };
        customer.last_usage_at = Some(row.stamped_at);
        if event.readings.is_empty() {
            return;
        }
        let at = row.stamped_at;
        let evaluation =
            Evaluation::of_customer(&self.catalog, customer, at, Cause::Usage, effects)
                .by_event(event.index);
        for (meter, reading) in event.readings {
            let outcome = match *reading {
                Reading::Uncounted(reason) => Err(reason),
                Reading::Counted(quantity) => customer
                    .metered_mut()
                    .filter(|it| it.meter == *meter)
                    .map(|it| evaluation.count(it, event.time, quantity, effects))
                    // Each of them counts, whatever becomes of the others.
                    .fold(Ok(()), Result::and),
            };
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
                let stamped_at = self.advance(*environment, *stamped_at);
                let row = RowStamp { position, environment: *environment, stamped_at };
                self.apply_customer(row, command, effects);
            }
            Command::Slice { environment, stamped_at, from, to } => {
                let stamped_at = self.advance(*environment, *stamped_at);
                let row = RowStamp { position, environment: *environment, stamped_at };
                self.apply_slice(row, *from..*to, effects);
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
        let Some(customer) = self.customers.get_mut(slot) else { return };
        let (at, cause) = (row.stamped_at, Cause::LimitChanged);
        let evaluation = Evaluation::of_customer(&self.catalog, customer, at, cause, effects);
        match command {
            CustomerCommand::Create { .. } => {}
            CustomerCommand::Delete { .. } => self.customers.delete(slot),
            CustomerCommand::PutEntitlement { entitlement, .. } => {
                evaluation.put_entitlement(customer, entitlement, effects);
            }
            CustomerCommand::DeleteEntitlement { entitlement, .. } => {
                customer.entitlements.retain(|it| it.id() != *entitlement);
            }
        }
    }

    fn apply_slice(
        &mut self,
        row: RowStamp,
        slots: std::ops::Range<u32>,
        effects: &mut Vec<Effect>,
    ) {
        let end = slots.end.min(self.customers.next_slot());
        for slot in slots.start..end {
            if self.holds(slot, row.position) {
                continue;
            }
            let Some(customer) = self.customers.get_mut(slot) else { continue };
            if customer.environment == row.environment && !customer.is_up_to_date(&self.catalog) {
                let (at, cause) = (row.stamped_at, Cause::RuleChanged);
                Evaluation::of_customer(&self.catalog, customer, at, cause, effects);
            }
        }
        self.end_slice(row.environment, slots.start, end);
    }

    /// Moves the sweep of an environment on, unless it has begun anew since the slice was cut.
    fn end_slice(&mut self, environment: EnvironmentId, from: u32, end: u32) {
        let Some(next) = self.sweeps.get_mut(&environment).filter(|it| from <= **it) else {
            return;
        };
        *next = end.max(*next);
        if *next >= self.customers.next_slot() {
            self.sweeps.remove(&environment);
        }
    }

    /// The next customers to be brought up to date, if any are behind.
    pub fn due_slice(&self) -> Option<DueSlice> {
        let (environment, from) = self.sweeps.iter().next()?;
        let to = from.saturating_add(limits::SLICE as u32).min(self.customers.next_slot());
        Some(DueSlice { environment: *environment, from: *from, to: to.max(*from) })
    }

    /// The stamp of the last usage that was accepted for a customer, also after it was deleted.
    pub fn last_usage_at(&self, customer: CustomerId) -> Option<Timestamp> {
        self.customers.last_usage_at(customer)
    }

    /// The value of a metered entitlement at `now`, whatever has not been worked off yet.
    pub fn value(
        &self,
        customer: CustomerId,
        entitlement: EntitlementId,
        now: Timestamp,
    ) -> Option<EntitlementValue> {
        let customer = self.customers.get(self.customers.slot(customer)?)?;
        let tracked = customer.entitlements.iter().find(|it| it.id() == entitlement)?;
        let now = self.stamp(customer.environment, now);
        tracked.metered().map(|it| it.value_at(now))
    }

    fn advance(&mut self, environment: EnvironmentId, stamped_at: Timestamp) -> Timestamp {
        let clock = self.clocks.entry(environment).or_insert(stamped_at);
        *clock = (*clock).max(stamped_at);
        *clock
    }

    /// Whether the slice of this slot was loaded from a checkpoint that already holds this row.
    fn holds(&self, slot: u32, position: u64) -> bool {
        // After the replay nothing is held: the hot path ends here, without the division.
        if self.held.is_empty() {
            return false;
        }
        let slice = slot / self.customers.slice_slots();
        self.held.get(slice as usize).is_some_and(|it| *it >= position)
    }
}

/// Checkpoints: the head, and the customers in slices of [`limits::CHECKPOINT_SLICE`] slots.
impl State {
    /// How many slices hold the customers.
    pub fn slice_count(&self) -> usize {
        self.customers.slice_count()
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
        writer.number(u64::from(self.customers.slice_slots()));
        writer.number(u64::from(self.customers.next_slot()));
        self.catalog.encode(&mut writer);
        writer.into_bytes()
    }

    /// The state of a checkpoint, to be replayed from the head's position on.
    ///
    /// `slices` are `(slice, position it is good for, bytes)`: all that there were at the head's
    /// position, none good for an earlier one.
    pub fn restore(head: &[u8], slices: &[(usize, u64, &[u8])]) -> Result<Self, Corrupt> {
        let mut reader = Reader::new(head);
        let clocks = reader.list(|it| Ok((EnvironmentId::from_bits(it.bits()?), it.time()?)))?;
        let sweeps = reader.list(|it| {
            let environment = EnvironmentId::from_bits(it.bits()?);
            Ok((environment, it.number_u32()?))
        })?;
        let slice_slots = reader.number_u32()?;
        if slice_slots == 0 {
            return Err(Corrupt { expected: "slices that hold something" });
        }
        let next_slot = reader.number_u32()?;
        let catalog = Catalog::decode(&mut reader)?;
        reader.finish()?;
        let mut state = Self {
            catalog,
            clocks: clocks.into_iter().collect(),
            sweeps: sweeps.into_iter().collect(),
            customers: Customers::empty(slice_slots, next_slot),
            held: Vec::new(),
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

#[cfg(test)]
mod tests;
