//! Decides which lines fire: the table of design 5.3.
//!
//! A line fires when it is armed and its trigger is reached, whatever moved the value: usage, a
//! changed limit, or the line itself beginning to apply. It is armed again when the value falls
//! below the line by more than the hysteresis. So a crossing is an edge by construction: staying
//! above a line, or repeating the evaluation, does nothing.
//!
//! Not here: what is sent where (the engine reads the rule of each crossing).

use std::collections::BTreeSet;

use super::{
    customers::{Customer, Tracked},
    metered::{Calm, LineState, Mark, Metered},
};
use crate::{
    catalog::{Catalog, LineOrigin, StandingLine, meter::UncountedReason},
    effect::Effect,
    entitlement::{Entitlement, EntitlementKind},
    ids::{CustomerId, EnvironmentId},
    line::{
        Direction, Trigger,
        crossing::{Cause, Crossing, Edge, Identity, Suppression},
    },
    quantity::Quantity,
    rule::WhenSeveral,
    time::Timestamp,
};

/// What is the same for everything that one command does to one customer.
pub(super) struct Evaluation<'a> {
    catalog: &'a Catalog,
    customer: CustomerId,
    environment: EnvironmentId,
    at: Timestamp,
    cause: Cause,
    event: Option<u32>,
    /// Lines that apply since a later sequence than this are new to the customer.
    behind_since: u64,
}

/// A line that is reached and may fire.
struct Candidate<'a> {
    standing: &'a StandingLine,
    trigger: Trigger,
    generation: u32,
    cause: Cause,
    /// Whether it only counts as passed.
    silent: bool,
}

/// What happened to a line.
#[derive(Clone, Copy)]
struct Occurrence {
    edge: Edge,
    generation: u32,
    cause: Cause,
    suppression: Option<Suppression>,
}

impl<'a> Evaluation<'a> {
    /// Evaluates what has changed in the catalogue since the customer was last touched. What comes
    /// after that is evaluated because of `cause`.
    pub(super) fn of_customer(
        catalog: &'a Catalog,
        customer: &mut Customer,
        at: Timestamp,
        cause: Cause,
        effects: &mut Vec<Effect>,
    ) -> Self {
        let due = Self {
            catalog,
            customer: customer.id,
            environment: customer.environment,
            at,
            cause: Cause::RuleChanged,
            event: None,
            behind_since: customer.lines_seq,
        };
        if !customer.is_up_to_date(catalog) {
            for metered in customer.metered_mut() {
                due.roll_over(metered);
                due.leave_lines(metered);
                due.settle(metered, metered.usage(), effects);
            }
            customer.lines_seq = catalog.lines_seq();
        }
        Self { cause, behind_since: catalog.lines_seq(), ..due }
    }

    /// The same for an event of the row.
    pub(super) fn by_event(self, event: u32) -> Self {
        Self { event: Some(event), ..self }
    }

    /// Counts `quantity` of an event whose effective time is `time`.
    pub(super) fn count(
        &self,
        metered: &mut Metered,
        time: Timestamp,
        quantity: Quantity,
        effects: &mut Vec<Effect>,
    ) -> Result<(), UncountedReason> {
        self.roll_over(metered);
        if !metered.window.contains(time) {
            // It belongs to a window that has closed and leaves the present alone.
            return Ok(());
        }
        let before = metered.usage();
        metered.accumulated = metered
            .accumulated
            .checked_add(quantity)
            .map_err(|_| UncountedReason::ValueOutOfRange)?;
        if !metered.is_calm_at(metered.usage()) {
            self.settle(metered, before, effects);
        }
        Ok(())
    }

    /// Starts the window of `self.at` if the current one has ended (row 5).
    fn roll_over(&self, metered: &mut Metered) {
        if self.at < metered.window.to {
            return;
        }
        metered.begin_window(self.at);
        for (standing, trigger) in self.lines_on(metered) {
            let falling = standing.line.kind.direction() == Direction::Falling;
            // A line that the customer has not seen yet is about to begin to apply (row 9).
            let is_seen = standing.entered <= self.behind_since;
            if falling && is_seen && trigger.is_reached(Quantity::ZERO) {
                let line = standing.line.id;
                metered.set_line(LineState { line, generation: 0, mark: Mark::Passed });
            }
        }
    }

    /// Adds an entitlement, or changes the limit of a known one: nothing else of it ever changes.
    pub(super) fn put_entitlement(
        &self,
        customer: &mut Customer,
        entitlement: &Entitlement,
        effects: &mut Vec<Effect>,
    ) {
        let known = customer.entitlements.iter_mut().find(|it| it.id() == entitlement.id);
        let meter = self.catalog.meter_of(entitlement.feature);
        match (known, entitlement.kind, meter) {
            (Some(Tracked::Metered(metered)), EntitlementKind::Metered { limit, .. }, _) => {
                self.change_limit(metered, limit, effects);
            }
            (Some(_), _, _) => {}
            (None, EntitlementKind::Metered { limit, period }, Some(meter)) => {
                let mut metered = Metered::new(entitlement, meter.id, limit, period, self.at);
                let created = Self { cause: Cause::EntitlementCreated, ..*self };
                created.settle(&mut metered, Quantity::ZERO, effects);
                customer.entitlements.push(Tracked::Metered(metered));
            }
            (None, _, _) => customer.entitlements.push(Tracked::Plain(entitlement.clone())),
        }
    }

    /// Sets the limit and evaluates the lines against it (rows 6 to 8).
    fn change_limit(
        &self,
        metered: &mut Metered,
        limit: Option<Quantity>,
        effects: &mut Vec<Effect>,
    ) {
        self.roll_over(metered);
        let before: Vec<_> = self.lines_on(metered).collect();
        metered.limit = limit;
        let usage = metered.usage();
        for (standing, trigger) in before {
            // Without a limit the line has no place any more: the value cannot be past it.
            if standing.line.trigger(limit, standing.rule.hysteresis).is_none() {
                self.arm_again(metered, standing, &trigger, usage, effects);
            }
        }
        self.settle(metered, usage, effects);
    }

    /// Fires every line that is reached and armed, arms those that are left, finds the new calm.
    pub(super) fn settle(
        &self,
        metered: &mut Metered,
        before: Quantity,
        effects: &mut Vec<Effect>,
    ) {
        let usage = metered.usage();
        let mut candidates = Vec::new();
        for (standing, trigger) in self.lines_on(metered) {
            if trigger.is_rearmed(usage) {
                self.arm_again(metered, standing, &trigger, before, effects);
            } else if trigger.is_reached(usage) {
                candidates.extend(self.candidate(standing, trigger, metered));
            }
        }
        candidates.sort_by_key(|it| (it.trigger.at, it.standing.line.kind.is_percentage()));
        silence_all_but_the_furthest(&mut candidates);
        for candidate in &candidates {
            effects.extend(self.fire(metered, candidate, before));
        }
        metered.calm = Some(self.calm(metered));
    }

    /// The lines that apply to this entitlement, with their triggers.
    fn lines_on(
        &self,
        metered: &Metered,
    ) -> impl Iterator<Item = (&'a StandingLine, Trigger)> + use<'a> {
        let (customer, limit) = (self.customer, metered.limit);
        let lines = self.catalog.lines_of(metered.feature).map_or(&[][..], |it| it);
        lines.iter().filter(move |it| it.rule.covers_customer(customer)).filter_map(move |it| {
            it.line.trigger(limit, it.rule.hysteresis).map(|trigger| (it, trigger))
        })
    }

    /// Forgets lines that are gone, and arms those that no longer apply for the day they do again.
    fn leave_lines(&self, metered: &mut Metered) {
        metered.lines.retain(|it| self.catalog.has_line(it.line));
        let standing = self.catalog.lines_of(metered.feature).map_or(&[][..], |it| it);
        for state in metered.lines.iter_mut().filter(|it| it.mark != Mark::Armed) {
            let still_applies = |it: &StandingLine| {
                it.line.id == state.line && it.rule.covers_customer(self.customer)
            };
            if !standing.iter().any(still_applies) {
                state.mark = Mark::Armed;
                state.generation += 1;
            }
        }
    }

    /// Arms a line that the value has left (row 10).
    fn arm_again(
        &self,
        metered: &mut Metered,
        standing: &StandingLine,
        trigger: &Trigger,
        before: Quantity,
        effects: &mut Vec<Effect>,
    ) {
        let state = metered.line(standing.line.id);
        if state.mark == Mark::Armed {
            return;
        }
        let generation = state.generation + 1;
        metered.set_line(LineState { generation, mark: Mark::Armed, ..state });
        if state.mark != Mark::Passed {
            effects.push(self.resolved(metered, standing, trigger, state.generation, before));
        }
    }

    /// Whether a reached line fires, given what has happened to it before.
    fn candidate(
        &self,
        standing: &'a StandingLine,
        trigger: Trigger,
        metered: &Metered,
    ) -> Option<Candidate<'a>> {
        let is_new = standing.since > self.behind_since;
        let state = metered.line(standing.line.id);
        let (generation, cause) = match state.mark {
            Mark::Armed if is_new => (state.generation, Cause::Line(standing.because)),
            Mark::Armed => (state.generation, self.cause),
            // Reached while the rule was disabled, and enabled now: a new chance, said once.
            Mark::Recorded if !standing.rule.disabled => {
                (state.generation + 1, Cause::Line(LineOrigin::RuleEnabled))
            }
            Mark::Notified | Mark::Recorded | Mark::Passed => return None,
        };
        let begins_to_apply = matches!(cause, Cause::Line(_) | Cause::EntitlementCreated);
        let silent = begins_to_apply && !standing.rule.evaluate_on_create;
        Some(Candidate { standing, trigger, generation, cause, silent })
    }

    fn fire(
        &self,
        metered: &mut Metered,
        candidate: &Candidate<'_>,
        before: Quantity,
    ) -> Option<Effect> {
        let Candidate { standing, trigger, generation, cause, silent } = candidate;
        let mark = match (silent, standing.rule.disabled) {
            (true, _) => Mark::Passed,
            (false, true) => Mark::Recorded,
            (false, false) => Mark::Notified,
        };
        let line = standing.line.id;
        metered.set_line(LineState { line, generation: *generation, mark });
        let suppression = standing.rule.disabled.then_some(Suppression::RuleDisabled);
        let what =
            Occurrence { edge: Edge::Crossed, generation: *generation, cause: *cause, suppression };
        (!silent).then(|| self.crossing(metered, standing, trigger, what, before))
    }

    fn resolved(
        &self,
        metered: &Metered,
        standing: &StandingLine,
        trigger: &Trigger,
        generation: u32,
        before: Quantity,
    ) -> Effect {
        let suppression = if standing.rule.disabled {
            Some(Suppression::RuleDisabled)
        } else {
            (!standing.rule.sends_resolved).then_some(Suppression::ResolvedNotWanted)
        };
        let what = Occurrence { edge: Edge::Resolved, generation, cause: self.cause, suppression };
        self.crossing(metered, standing, trigger, what, before)
    }

    fn crossing(
        &self,
        metered: &Metered,
        standing: &StandingLine,
        trigger: &Trigger,
        what: Occurrence,
        before: Quantity,
    ) -> Effect {
        Effect::Crossing(Box::new(Crossing {
            identity: Identity {
                rule: standing.rule.id,
                line: standing.line.id,
                entitlement: metered.entitlement,
                window_from: metered.window.from,
                generation: what.generation,
                edge: what.edge,
            },
            environment: self.environment,
            customer: self.customer,
            feature: metered.feature,
            rule: standing.rule.clone(),
            line: standing.line,
            level: trigger.level,
            previous_usage: before,
            value: metered.value(),
            cause: what.cause,
            at: self.at,
            event: self.event,
            suppression: what.suppression,
        }))
    }

    /// The usages around the present one at which nothing happens.
    fn calm(&self, metered: &Metered) -> Calm {
        let mut calm = Calm { from: None, below: None };
        for (standing, trigger) in self.lines_on(metered) {
            if metered.line(standing.line.id).mark == Mark::Armed {
                // A strict trigger fires just above its level: not calm from the level on.
                let below = calm.below.map_or(trigger.at, |it| it.min(trigger.at));
                calm.below = Some(below);
            } else {
                let from = if trigger.strict { Quantity::ONE } else { trigger.rearm_below };
                calm.from = Some(calm.from.map_or(from, |it| it.max(from)));
            }
        }
        calm
    }
}

/// Row 2, `when_several: highest`: of one rule and direction only the furthest line fires, which is
/// the last one of the sorted candidates; on a tie the percentage.
fn silence_all_but_the_furthest(candidates: &mut [Candidate<'_>]) {
    let mut fired = BTreeSet::new();
    for candidate in candidates.iter_mut().rev().filter(|it| !it.silent) {
        let rule = &candidate.standing.rule;
        let falls = candidate.standing.line.kind.direction() == Direction::Falling;
        if rule.when_several == WhenSeveral::Highest {
            candidate.silent = !fired.insert((rule.id, falls));
        }
    }
}
