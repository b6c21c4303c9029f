//! The state of one partition, and the one way to change it: applying the rows of its log.
//!
//! A row is applied at its position, in order. The same rows give the same state and the same
//! effects, to the byte: recovery, verification and simulation rest on that. Nothing here asks for
//! the time; a row carries its stamp, and an environment's clock never goes back.
//!
//! Not here: where rows come from, dedupe, what is done about effects (the engine), checkpoints
//! (`state::checkpoint`), what can be asked without changing anything (`state::read`).

use std::{collections::BTreeMap, ops::Range};

use crate::{
    archive::Archive,
    catalog::{Catalog, meter::MeterReading},
    command::{Command, ControlCommand, CustomerCommand},
    effect::Effect,
    ids::{CustomerId, EnvironmentId, MeterId},
    limits,
    line::crossing::Cause,
    metering::{
        accumulator::Accumulator,
        cell::{Cell, CellKey, CellScope, Leaving, Measured, Resolution},
    },
    time::Timestamp,
};

mod book;
mod change;
mod checkpoint;
mod clock;
mod closed;
mod customers;
mod evaluate;
mod gauge;
mod metered;
mod past;
mod read;
mod shared;

pub use book::GrantBalance;
pub use checkpoint::SliceOf;
pub use closed::ClosedWindow;

use change::Surroundings;
use clock::EnvironmentClock;
use customers::Customers;
use evaluate::Evaluation;
use metered::Change;

/// Everything one partition knows.
#[derive(Debug, Default)]
pub struct State {
    catalog: Catalog,
    clocks: BTreeMap<EnvironmentId, EnvironmentClock>,
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
    pub readings: &'a [MeterReading],
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

    /// Begins a row of usage: moves the environment's clock.
    pub fn begin_usage(&mut self, row: RowStamp) {
        let clock = self.clocks.entry(row.environment).or_default();
        let stamped_at = clock.advance(row.stamped_at);
        clock.has_events = true;
        self.catalog.stamp(row.environment, stamped_at);
    }

    /// Applies one event of a row of usage.
    pub fn apply_usage(
        &mut self,
        row: RowStamp,
        event: UsageEvent<'_>,
        archive: &mut dyn Archive,
        effects: &mut Vec<Effect>,
    ) {
        let Some(slot) = self.customers.slot(event.customer) else { return };
        if self.holds(slot, row.position) {
            return;
        }
        let Some((customer, totals, slice)) = self.customers.with_totals(slot) else { return };
        customer.last_usage_at = Some(row.stamped_at);
        if event.readings.is_empty() {
            return;
        }
        let mut around = Surroundings { catalog: &self.catalog, archive, effects };
        let evaluation =
            Evaluation::of_customer(customer, row.stamped_at, Cause::Usage, &mut around)
                .by_event(event.index);
        for reading in event.readings {
            let meter = reading.meter.id;
            let counted = reading.amount.and_then(|amount| {
                let measured = Measured { time: event.time, amount, groups: &reading.groups };
                let kind = || Accumulator::empty(&reading.meter.aggregation);
                let own = CellScope::Customer(event.customer);
                let cells = customer.cells_of(meter);
                let mut leave = |it| hand_over(around.archive, meter, own, it);
                cells.add(kind, measured, &mut leave)?;
                if reading.meter.aggregation.is_small() {
                    let all = CellScope::Slice(slice);
                    let mut leave = |it| hand_over(around.archive, meter, all, it);
                    totals.entry(meter).or_default().add_to_slice(kind, measured, &mut leave);
                }
                // Each of them counts, whatever becomes of the others.
                let entitled = customer.metered_mut().filter(|it| it.meter() == meter);
                entitled
                    .map(|it| evaluation.count(it, &reading.meter, measured, &mut around))
                    .fold(Ok(()), Result::and)
            });
            if let Err(reason) = counted {
                let (event, customer) = (event.index, event.customer);
                around.effects.push(Effect::Uncounted { event, customer, meter, reason });
            }
        }
        self.customers.note_due(slot);
    }

    /// Applies any row but usage.
    pub fn apply(
        &mut self,
        position: u64,
        command: &Command,
        archive: &mut dyn Archive,
        effects: &mut Vec<Effect>,
    ) {
        match command {
            Command::Control { seq, command } => self.apply_control(position, *seq, command),
            Command::Customer { environment, stamped_at, command } => {
                let row = self.row(position, *environment, *stamped_at);
                self.apply_customer(row, command, archive, effects);
            }
            Command::Slice { environment, stamped_at, from, to } => {
                let row = self.row(position, *environment, *stamped_at);
                self.apply_slice(row, *from..*to, archive, effects);
            }
            Command::Pulse { environment, stamped_at, slots } => {
                let row = self.row(position, *environment, *stamped_at);
                for slot in slots {
                    self.touch(row, *slot, archive, effects);
                }
            }
        }
    }

    /// Moves the environment's clock for a row.
    fn row(
        &mut self,
        position: u64,
        environment: EnvironmentId,
        stamped_at: Timestamp,
    ) -> RowStamp {
        let stamped_at = self.clocks.entry(environment).or_default().advance(stamped_at);
        self.catalog.stamp(environment, stamped_at);
        RowStamp { position, environment, stamped_at }
    }

    fn apply_control(&mut self, position: u64, seq: u64, command: &ControlCommand) {
        self.catalog.apply(seq, command);
        if let Some(environment) = command.rule_environment() {
            self.sweeps.insert(environment, 0);
        }
        if let ControlCommand::SetClock { environment, now } = command
            && self.clocks.entry(*environment).or_default().set(*now)
        {
            // It went back: there was no usage yet, so every window can simply begin again.
            self.catalog.forget_moments(*environment);
            for slot in 0..self.customers.next_slot() {
                if !self.holds(slot, position) {
                    self.customers.rewind(slot, *environment, *now);
                }
            }
        }
    }

    fn apply_customer(
        &mut self,
        row: RowStamp,
        command: &CustomerCommand,
        archive: &mut dyn Archive,
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
        let mut around = Surroundings { catalog: &self.catalog, archive, effects };
        let (at, cause) = (row.stamped_at, Cause::LimitChanged);
        let evaluation = Evaluation::of_customer(customer, at, cause, &mut around);
        let mut change = |id, at, change| {
            if let Some(metered) = customer.metered_with(id) {
                evaluation.change(metered, at, change, &mut around);
            }
        };
        match command {
            CustomerCommand::Create { .. } => {}
            CustomerCommand::Delete { .. } => {
                // What it used stays.
                let own = CellScope::Customer(customer.id);
                for (meter, cells) in std::mem::take(&mut customer.cells) {
                    cells.close(&mut |it| hand_over(around.archive, meter, own, it));
                }
                return self.customers.delete(slot);
            }
            CustomerCommand::PutEntitlement { entitlement, .. } => {
                evaluation.put_entitlement(customer, entitlement, &mut around);
            }
            CustomerCommand::DeleteEntitlement { entitlement, .. } => {
                customer.entitlements.retain(|it| it.id() != *entitlement);
            }
            CustomerCommand::PutGrant { entitlement, grant, .. } => {
                if let Some(metered) = customer.metered_with(*entitlement) {
                    evaluation.put_grant(metered, grant, &mut around);
                }
            }
            CustomerCommand::VoidGrant { entitlement, grant, at, .. } => {
                change(*entitlement, *at, Change::Void(*grant));
            }
            CustomerCommand::ResetEntitlement { entitlement, reset, .. } => {
                change(*entitlement, reset.at, Change::Reset(*reset));
            }
            CustomerCommand::ChangeLimits { entitlement, limits, tiers, at, .. } => {
                change(*entitlement, *at, Change::Limits(*limits, tiers.clone()));
            }
        }
        customer.find_due();
        self.customers.share(slot);
        self.customers.note_due(slot);
        self.customers.note_windows(slot);
    }

    fn apply_slice(
        &mut self,
        row: RowStamp,
        slots: Range<u32>,
        archive: &mut dyn Archive,
        effects: &mut Vec<Effect>,
    ) {
        let end = slots.end.min(self.customers.next_slot());
        for slot in slots.start..end {
            let behind = self.customers.get(slot).is_some_and(|it| {
                it.environment == row.environment && !it.is_up_to_date(&self.catalog)
            });
            if behind {
                self.touch(row, slot, archive, effects);
            }
        }
        self.end_slice(row.environment, slots.start, end);
    }

    /// Brings one customer up to date.
    fn touch(
        &mut self,
        row: RowStamp,
        slot: u32,
        archive: &mut dyn Archive,
        effects: &mut Vec<Effect>,
    ) {
        if self.holds(slot, row.position) {
            return;
        }
        let Some(customer) = self.customers.get_mut(slot) else { return };
        if customer.environment == row.environment {
            let mut around = Surroundings { catalog: &self.catalog, archive, effects };
            Evaluation::of_customer(customer, row.stamped_at, Cause::RuleChanged, &mut around);
            self.customers.note_due(slot);
        }
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

/// Hands what leaves the open cells of a scope to the archive.
fn hand_over(archive: &mut dyn Archive, meter: MeterId, scope: CellScope, leaving: Leaving) {
    let key =
        |resolution: Resolution, cell: &Cell| CellKey { meter, scope, resolution, from: cell.from };
    match leaving {
        Leaving::Closed(resolution, cell) => archive.put_cell(key(resolution, &cell), cell),
        Leaving::Late(resolution, cell) => archive.add_to_cell(key(resolution, &cell), cell),
    }
}

#[cfg(test)]
mod tests;
