//! What changes a customer: time, usage, and commands; and what follows from it for its lines.
//!
//! A customer that anything touches is first brought up to date: with everything that has become
//! due, in order, then with the catalogue. Usage and commands come after that.
//!
//! Not here: which lines fire (`state::evaluate`), how an entitlement moves (`state::metered`).

use std::collections::BTreeMap;

use super::{
    closed::ClosedWindow,
    customers::{Customer, Tracked},
    evaluate::Evaluation,
    gauge::{Gauge, Group, GroupGauges, add_to_group, check_room},
    metered::{Change, Frame, Metered, Rolled, Step},
};
use crate::{
    archive::{Archive, Archived, Segment},
    catalog::{
        Catalog,
        meter::{Meter, UncountedReason},
    },
    effect::{Effect, Reset, ResetCause},
    entitlement::{Entitlement, EntitlementKind, EntitlementValue, Measure, Terms, grant::Grant},
    ids::EntitlementId,
    limits,
    line::crossing::Cause,
    metering::{
        accumulator::Accumulator,
        cell::{Cell, Groups, Measured},
    },
    time::Timestamp,
};

/// The world around a customer while one command is applied to it.
pub(super) struct Surroundings<'a> {
    pub(super) catalog: &'a Catalog,
    pub(super) archive: &'a mut dyn Archive,
    pub(super) effects: &'a mut Vec<Effect>,
}

/// What began while nobody looked, by the place of the entitlement: periods in a row as one reset,
/// and what someone asked for by itself.
type Resets = BTreeMap<usize, Vec<Reset>>;

impl<'a> Evaluation<'a> {
    /// Brings a customer up to date with time and catalogue. What comes after that is evaluated
    /// because of `cause`.
    pub(super) fn of_customer(
        customer: &mut Customer,
        at: Timestamp,
        cause: Cause,
        around: &mut Surroundings<'a>,
    ) -> Self {
        let due = Self {
            catalog: around.catalog,
            customer: customer.id,
            environment: customer.environment,
            at,
            cause: Cause::RuleChanged,
            event: None,
            behind_since: customer.lines_seq,
        };
        if customer.due_at <= at {
            due.pass_time(customer, around);
        }
        if !customer.is_up_to_date(around.catalog) {
            for metered in customer.metered_mut() {
                due.leave_lines(metered);
                due.settle_all(metered, around.effects);
            }
            customer.lines_seq = around.catalog.lines_seq();
        }
        Self { cause, behind_since: around.catalog.lines_seq(), ..due }
    }

    /// Does everything that has become due, in order.
    fn pass_time(&self, customer: &mut Customer, around: &mut Surroundings<'_>) {
        let mut resets = Resets::new();
        loop {
            let due = customer
                .entitlements
                .iter()
                .enumerate()
                .filter_map(|(index, it)| it.metered().map(|it| (it.next_due(), index)));
            let (due, index) = due.min().unwrap_or((Timestamp::MAX, 0));
            customer.due_at = due;
            if due > self.at || due == Timestamp::MAX {
                break;
            }
            let Some(Tracked::Metered(metered)) = customer.entitlements.get_mut(index) else {
                break;
            };
            let mut segments = Vec::new();
            let step = metered.step(due, self.at, &mut segments);
            self.after(metered, step, segments, Some((&mut resets, index)), around);
        }
        let resets = resets.into_values().flatten();
        around.effects.extend(resets.map(|it| Effect::Reset(Box::new(it))));
    }

    /// What follows from a step for lines, resets and the archive.
    fn after(
        &self,
        metered: &mut Metered,
        step: Step,
        segments: Vec<Segment>,
        resets: Option<(&mut Resets, usize)>,
        around: &mut Surroundings<'_>,
    ) {
        for segment in segments {
            around.archive.put_segment(metered.entitlement, segment);
        }
        match step {
            Step::Measure(None) => {}
            Step::Measure(Some(cause)) => {
                Self { cause, ..*self }.settle_all(metered, around.effects);
            }
            Step::Limits { before, tiers_before } => {
                let because = Self { cause: Cause::LimitChanged, ..*self };
                let tiers = &tiers_before;
                let measure = Measure { hard: before.hard, soft: before.soft, tiers };
                because.leave_places(metered, &measure, around.effects);
                because.settle_all(metered, around.effects);
            }
            Step::Rolled(rolled) => {
                let reset = self.roll(metered, *rolled, around);
                match resets {
                    None => around.effects.push(Effect::Reset(Box::new(reset))),
                    Some((resets, index)) => add_reset(resets.entry(index).or_default(), reset),
                }
            }
        }
    }

    /// A window has closed and another one begun (row 5).
    fn roll(&self, metered: &mut Metered, rolled: Rolled, around: &mut Surroundings<'_>) -> Reset {
        let Rolled { mut closed, skipped, cause } = rolled;
        closed.lines_seq = self.behind_since;
        let value = closed.value();
        // What nobody used is made up again when a late event asks for it, but only where the
        // period tells from when to when it was.
        let is_told = metered.period_window(closed.window.from) == closed.window;
        if closed.is_touched() || !is_told || cause == ResetCause::Manual {
            around.archive.put_window(self.customer, metered.entitlement, closed);
        }
        let (frame, gauge, _) = metered.parts();
        self.open(&frame, gauge, None);
        if !metered.usage().is_zero() {
            Self { cause: Cause::Reset, ..*self }.settle_all(metered, around.effects);
        }
        Reset {
            environment: self.environment,
            customer: self.customer,
            entitlement: metered.entitlement,
            feature: metered.feature(),
            closed: value,
            opened: metered.value(),
            skipped,
            cause,
            at: self.at,
        }
    }
}

/// Several periods that nobody saw begin are one reset.
fn add_reset(known: &mut Vec<Reset>, reset: Reset) {
    match known.last_mut() {
        Some(last) if last.cause == ResetCause::Period && reset.cause == ResetCause::Period => {
            last.skipped += 1 + reset.skipped;
            last.opened = reset.opened;
        }
        _ => known.push(reset),
    }
}

/// Usage.
impl Evaluation<'_> {
    /// The same for an event of the row.
    pub(super) fn by_event(self, event: u32) -> Self {
        Self { event: Some(event), ..self }
    }

    /// Counts an event; refused, it changes nothing.
    pub(super) fn count(
        &self,
        metered: &mut Metered,
        meter: &Meter,
        event: Measured<'_>,
        around: &mut Surroundings<'_>,
    ) -> Result<(), UncountedReason> {
        if event.time < metered.window.from {
            return self.count_late(metered, meter, event, around);
        }
        if event.groups.is_empty() {
            return self.count_total(metered, event, around.effects);
        }
        check_room(metered.groups_mut(), groups_of(meter, event))?;
        self.count_total(metered, event, around.effects)?;
        let kind = metered.gauge.accumulated.emptied();
        metered.groups_mut();
        let (frame, _, groups) = metered.parts();
        if let Some(groups) = groups {
            self.count_groups(&frame, groups, (meter, &kind), event, around.effects);
        }
        Ok(())
    }

    fn count_total(
        &self,
        metered: &mut Metered,
        event: Measured<'_>,
        effects: &mut Vec<Effect>,
    ) -> Result<(), UncountedReason> {
        let before = metered.usage();
        let limits = metered.has_grants().then(|| metered.effective_limits());
        metered.add(event.time, event.amount)?;
        let usage = metered.usage();
        // A correction of what an expired grant covered moves the limit itself.
        let is_moved = limits.is_some_and(|it| it != metered.effective_limits());
        if is_moved || !metered.gauge.is_calm_at(usage) {
            let (frame, gauge, groups) = metered.parts();
            self.settle(&frame, gauge, None, before, effects);
            if is_moved {
                self.settle_groups(&frame, groups, effects);
            }
        }
        Ok(())
    }

    fn count_groups(
        &self,
        frame: &Frame<'_>,
        groups: &mut GroupGauges,
        (meter, kind): (&Meter, &Accumulator),
        event: Measured<'_>,
        effects: &mut Vec<Effect>,
    ) {
        for group in groups_of(meter, event) {
            let added = add_to_group(groups, group, kind, event.time, event.amount);
            let Some((before, is_new, gauge)) = added else { continue };
            let usage = gauge.accumulated.usage();
            if is_new {
                self.open(frame, gauge, Some(group));
            }
            if !gauge.is_calm_at(usage) {
                self.settle(frame, gauge, Some(group), before, effects);
            }
        }
    }

    /// Counts an event of a window that has closed (row 11).
    fn count_late(
        &self,
        metered: &Metered,
        meter: &Meter,
        event: Measured<'_>,
        around: &mut Surroundings<'_>,
    ) -> Result<(), UncountedReason> {
        if event.time < metered.first_from {
            return Ok(());
        }
        let mut closed = match around.archive.window(metered.entitlement, event.time) {
            Archived::Settled => return Ok(()),
            Archived::Window(closed) => *closed,
            Archived::Nothing => self.unused(metered, event.time),
        };
        let before = closed.usage();
        let kind = closed.gauge.accumulated.emptied();
        let (frame, gauge, groups) = closed.parts(metered.entitlement, metered.feature());
        check_room(groups, groups_of(meter, event))?;
        gauge.accumulated.add(event.time, event.amount)?;
        self.settle(&frame, gauge, None, before, around.effects);
        self.count_groups(&frame, groups, (meter, &kind), event, around.effects);
        around.archive.put_window(self.customer, metered.entitlement, closed);
        Ok(())
    }
}

impl Evaluation<'_> {
    /// A window that nobody used while it was open: with the limit and the lines that it closed
    /// with.
    fn unused(&self, metered: &Metered, time: Timestamp) -> ClosedWindow {
        let lines_seq_at = |closed_at| self.catalog.lines_seq_at(self.environment, closed_at);
        let mut closed = ClosedWindow::unused(metered, time, lines_seq_at);
        let (frame, gauge, _) = closed.parts(metered.entitlement, metered.feature());
        self.open(&frame, gauge, None);
        closed
    }
}

/// The groups that an event belongs to.
fn groups_of<'a>(meter: &'a Meter, event: Measured<'a>) -> impl Iterator<Item = Group<'a>> {
    let named = meter.group_by.iter().zip(event.groups);
    named.filter_map(|(key, value)| Some(Group { key: &key.name, value: value.as_deref()? }))
}

/// Commands.
impl Evaluation<'_> {
    /// Adds an entitlement, or changes the terms of a known one.
    pub(super) fn put_entitlement(
        &self,
        customer: &mut Customer,
        entitlement: &Entitlement,
        around: &mut Surroundings<'_>,
    ) {
        let known = customer.entitlements.iter_mut().find(|it| it.id() == entitlement.id);
        let meter = self.catalog.meter_of(entitlement.feature);
        match (known, &entitlement.kind, meter) {
            (Some(Tracked::Metered(metered)), EntitlementKind::Metered(terms), _) => {
                metered.set_terms(terms, self.at);
                let change = Change::Limits(terms.limits, terms.tiers.clone());
                self.change(metered, self.at, change, around);
            }
            (Some(_), _, _) => {}
            (None, EntitlementKind::Metered(terms), Some(meter)) => {
                let metered = self.entitle(entitlement, terms, meter, around);
                customer.add(Tracked::Metered(metered));
            }
            (None, _, _) => customer.add(Tracked::Plain(entitlement.clone())),
        }
    }

    fn entitle(
        &self,
        entitlement: &Entitlement,
        terms: &Terms,
        meter: &Meter,
        around: &mut Surroundings<'_>,
    ) -> Metered {
        let kind = (meter.id, Accumulator::empty(&meter.aggregation));
        let Entitlement { id, feature, .. } = *entitlement;
        let mut metered = Metered::new(id, feature, terms, kind, self.at);
        metered.change(self.at, Change::Limits(terms.limits, terms.tiers.clone()), &mut Vec::new());
        if let Some(opening) = &terms.opening {
            open_with(&mut metered, meter, opening);
        }
        let created = Self { cause: Cause::EntitlementCreated, ..*self };
        created.settle_all(&mut metered, around.effects);
        metered
    }

    /// Makes a change now, or at its later time.
    pub(super) fn change(
        &self,
        metered: &mut Metered,
        at: Timestamp,
        change: Change,
        around: &mut Surroundings<'_>,
    ) {
        if at > self.at {
            metered.schedule(at, change);
            return;
        }
        let mut segments = Vec::new();
        let step = metered.change(self.at, change, &mut segments);
        self.after(metered, step, segments, None, around);
    }

    /// Puts a grant in: from now on, or from its later time.
    pub(super) fn put_grant(
        &self,
        metered: &mut Metered,
        grant: &Grant,
        around: &mut Surroundings<'_>,
    ) {
        if metered.grant_count() >= limits::ENTITLEMENT_GRANTS {
            return;
        }
        let effective_at = grant.effective_at.max(self.at);
        metered.add_grant(Grant { effective_at, ..grant.clone() }, self.at);
        while metered.next_due() <= self.at {
            let mut segments = Vec::new();
            let step = metered.step(self.at, self.at, &mut segments);
            self.after(metered, step, segments, None, around);
        }
    }
}

/// Usage that came before the entitlement was made, in its first window.
fn open_with(metered: &mut Metered, meter: &Meter, opening: &Cell) {
    metered.gauge.accumulated = opening.total.clone();
    let Groups::Each(combinations) = &opening.groups else { return };
    let kind = opening.total.emptied();
    let gauges = metered.groups_mut();
    for (values, part) in combinations {
        for (key, value) in meter.group_by.iter().zip(values) {
            let Some(value) = value else { continue };
            let own = gauges.entry(key.name.clone()).or_default();
            let gauge = own.entry(value.clone()).or_insert_with(|| Gauge::new(kind.clone()));
            // A part of a total that fits does not fit only at the edge of 28 digits: left out.
            let mut sum = gauge.accumulated.clone();
            if sum.merge(part).is_ok() {
                gauge.accumulated = sum;
            }
        }
    }
}

impl Customer {
    /// The entitlement with this id, if usage is counted for it.
    pub(super) fn metered_with(&mut self, id: EntitlementId) -> Option<&mut Metered> {
        self.metered_mut().find(|it| it.entitlement == id)
    }

    /// Finds out anew when something happens next.
    pub(super) fn find_due(&mut self) {
        let due = self.entitlements.iter().filter_map(|it| it.metered()).map(Metered::next_due);
        self.due_at = due.min().unwrap_or(Timestamp::MAX);
    }

    /// The value of an entitlement as it will stand at `now`.
    pub(super) fn value_at(&self, id: EntitlementId, now: Timestamp) -> Option<EntitlementValue> {
        let metered = self.entitlements.iter().find(|it| it.id() == id)?.metered()?;
        if now < metered.next_due() {
            return Some(metered.value());
        }
        Some(metered.at(now).value())
    }
}
