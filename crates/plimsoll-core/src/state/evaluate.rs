//! Decides which lines fire: the table of design 5.3.
//!
//! A line fires when it is armed and its trigger is reached, whatever moved the value: usage, a
//! changed limit, or the line itself beginning to apply. It is armed again when the value falls
//! below the line by more than the hysteresis. So a crossing is an edge by construction: staying
//! above a line, or repeating the evaluation, does nothing.
//!
//! Not here: what is sent where (the engine reads the rule of each crossing).

use super::{
    customers::Customer,
    metered::{Calm, LineState, Mark, Metered},
};
use crate::{
    catalog::{
        Catalog, LineOrigin, StandingLine,
        meter::{Reading, UncountedReason},
    },
    effect::Effect,
    entitlement::EntitlementValue,
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
    pub(super) catalog: &'a Catalog,
    pub(super) customer: CustomerId,
    pub(super) environment: EnvironmentId,
    pub(super) at: Timestamp,
    pub(super) cause: Cause,
    pub(super) event: Option<u32>,
    /// Lines that apply since a later sequence than this are new to the customer.
    pub(super) behind_since: u64,
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

impl Evaluation<'_> {
    /// Rolls windows over and evaluates lines that are new to the customer, in this order.
    pub(super) fn bring_up_to_date(&self, customer: &mut Customer, effects: &mut Vec<Effect>) {
        let behind = !customer.is_up_to_date(self.catalog);
        for tracked in &mut customer.entitlements {
            let Some((limit, metered)) = tracked.measured() else { continue };
            self.roll_over(metered, limit);
            if behind {
                metered.lines.retain(|it| self.catalog.has_line(it.line));
                let usage = metered.usage();
                self.settle(metered, limit, usage, effects);
            }
        }
        customer.lines_seq = self.catalog.lines_seq();
    }

    /// Counts one reading of an event whose effective time is `time`.
    pub(super) fn count(
        &self,
        metered: &mut Metered,
        limit: Option<Quantity>,
        time: Timestamp,
        reading: Reading,
        effects: &mut Vec<Effect>,
    ) -> Result<(), UncountedReason> {
        let quantity = match reading {
            Reading::Counted(quantity) => quantity,
            Reading::Uncounted(reason) => return Err(reason),
        };
        self.roll_over(metered, limit);
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
            self.settle(metered, limit, before, effects);
        }
        Ok(())
    }

    /// Starts the window of `self.at` if the current one has ended (row 5).
    fn roll_over(&self, metered: &mut Metered, limit: Option<Quantity>) {
        if self.at < metered.window.to {
            return;
        }
        metered.window = metered.period.window_at(self.at);
        metered.accumulated = Quantity::ZERO;
        metered.lines.clear();
        metered.calm = None;
        for (standing, trigger) in self.lines_on(metered, limit) {
            let falling = standing.line.kind.direction() == Direction::Falling;
            if falling && trigger.is_reached(Quantity::ZERO) {
                metered.set_line(LineState {
                    line: standing.line.id,
                    generation: 0,
                    mark: Mark::Passed,
                });
            }
        }
    }

    /// Fires every line that is reached and armed, arms those that are left, finds the new calm.
    pub(super) fn settle(
        &self,
        metered: &mut Metered,
        limit: Option<Quantity>,
        before: Quantity,
        effects: &mut Vec<Effect>,
    ) {
        let usage = metered.usage();
        let value = EntitlementValue::of(metered.accumulated, limit, metered.window);
        self.leave_scopes(metered);
        let mut candidates = Vec::new();
        for (standing, trigger) in self.lines_on(metered, limit) {
            let state = metered.line(standing.line.id);
            if state.mark != Mark::Armed && trigger.is_rearmed(usage) {
                let armed =
                    LineState { generation: state.generation + 1, mark: Mark::Armed, ..state };
                metered.set_line(armed);
                if state.mark != Mark::Passed {
                    let resolved = self.resolved(metered, standing, &trigger, state, before, value);
                    effects.push(resolved);
                }
            } else if trigger.is_reached(usage) {
                candidates.extend(self.candidate(standing, trigger, state));
            }
        }
        candidates.sort_by_key(|it| (it.trigger.at, it.standing.line.kind.is_percentage()));
        silence_all_but_the_furthest(&mut candidates);
        for candidate in &candidates {
            effects.extend(self.fire(metered, candidate, before, value));
        }
        metered.calm = Some(self.calm(metered, limit));
    }

    /// The lines that apply to this entitlement, with their triggers.
    fn lines_on(
        &self,
        metered: &Metered,
        limit: Option<Quantity>,
    ) -> impl Iterator<Item = (&StandingLine, Trigger)> + use<'_> {
        let customer = self.customer;
        let lines = self.catalog.lines_of(metered.feature).map_or(&[][..], |it| it);
        lines.iter().filter(move |it| it.rule.covers_customer(customer)).filter_map(move |it| {
            it.line.trigger(limit, it.rule.hysteresis).map(|trigger| (it, trigger))
        })
    }

    /// A line whose rule no longer covers the customer is armed for the day it does again.
    fn leave_scopes(&self, metered: &mut Metered) {
        let Some(lines) = self.catalog.lines_of(metered.feature) else { return };
        for standing in lines.iter().filter(|it| !it.rule.covers_customer(self.customer)) {
            let state = metered.line(standing.line.id);
            if state.mark != Mark::Armed {
                let generation = state.generation + 1;
                metered.set_line(LineState { generation, mark: Mark::Armed, ..state });
            }
        }
    }

    /// Whether a reached line fires, given what has happened to it before.
    fn candidate<'a>(
        &self,
        standing: &'a StandingLine,
        trigger: Trigger,
        state: LineState,
    ) -> Option<Candidate<'a>> {
        let is_new = standing.since > self.behind_since;
        let generation = match state.mark {
            Mark::Armed => state.generation,
            // Reached while the rule was disabled, and enabled now: a new chance, said once.
            Mark::Recorded if is_new && standing.because == LineOrigin::RuleEnabled => {
                state.generation + 1
            }
            Mark::Notified | Mark::Recorded | Mark::Passed => return None,
        };
        let cause = if is_new { Cause::Line(standing.because) } else { self.cause };
        let begins_to_apply = matches!(cause, Cause::Line(_) | Cause::EntitlementCreated);
        let silent = begins_to_apply && !standing.rule.evaluate_on_create;
        Some(Candidate { standing, trigger, generation, cause, silent })
    }

    fn fire(
        &self,
        metered: &mut Metered,
        candidate: &Candidate<'_>,
        before: Quantity,
        value: EntitlementValue,
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
        (!silent).then(|| self.crossing(metered, standing, trigger, what, before, value))
    }

    fn resolved(
        &self,
        metered: &Metered,
        standing: &StandingLine,
        trigger: &Trigger,
        state: LineState,
        before: Quantity,
        value: EntitlementValue,
    ) -> Effect {
        let suppression = if standing.rule.disabled {
            Some(Suppression::RuleDisabled)
        } else {
            (!standing.rule.sends_resolved).then_some(Suppression::ResolvedNotWanted)
        };
        let generation = state.generation;
        let what = Occurrence { edge: Edge::Resolved, generation, cause: self.cause, suppression };
        self.crossing(metered, standing, trigger, what, before, value)
    }

    fn crossing(
        &self,
        metered: &Metered,
        standing: &StandingLine,
        trigger: &Trigger,
        what: Occurrence,
        before: Quantity,
        value: EntitlementValue,
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
            value,
            cause: what.cause,
            at: self.at,
            // Only usage is caused by an event; what the event merely found due is not.
            event: self.event.filter(|_| what.cause == Cause::Usage),
            suppression: what.suppression,
        }))
    }

    /// The usages around the present one at which nothing happens.
    fn calm(&self, metered: &Metered, limit: Option<Quantity>) -> Calm {
        let mut calm = Calm { from: None, below: None };
        for (standing, trigger) in self.lines_on(metered, limit) {
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

/// What happened to a line.
#[derive(Clone, Copy)]
struct Occurrence {
    edge: Edge,
    generation: u32,
    cause: Cause,
    suppression: Option<Suppression>,
}

/// Row 2, `when_several: highest`: of one rule and direction only the furthest line fires, which is
/// the last one of the sorted candidates; on a tie the percentage.
fn silence_all_but_the_furthest(candidates: &mut [Candidate<'_>]) {
    for index in 0..candidates.len() {
        let (before, after) = candidates.split_at_mut(index + 1);
        let Some(candidate) = before.last_mut() else { continue };
        let rule = &candidate.standing.rule;
        let direction = candidate.standing.line.kind.direction();
        let is_beaten = after.iter().any(|it| {
            it.standing.rule.id == rule.id
                && it.standing.line.kind.direction() == direction
                && !it.silent
        });
        if rule.when_several == WhenSeveral::Highest && is_beaten {
            candidate.silent = true;
        }
    }
}
