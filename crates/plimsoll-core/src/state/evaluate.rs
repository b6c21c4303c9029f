//! Decides which lines fire: the table of design 5.3.
//!
//! A line fires when it is armed and its trigger is reached, whatever moved the value: usage, a
//! changed limit, a grant, or the line itself beginning to apply. It is armed again when the value
//! falls below the line by more than the hysteresis. So a crossing is an edge by construction:
//! staying above a line, or repeating the evaluation, does nothing.
//!
//! Not here: what changes and when (`state::change`, `state::metered`), what is sent where (the
//! engine reads the rule of each crossing).

use std::collections::BTreeSet;

use super::{
    gauge::{Calm, Gauge, Group, GroupGauges, LineState, Mark},
    metered::{Frame, Metered},
};
use crate::{
    catalog::{Catalog, LineOrigin, StandingLine},
    effect::Effect,
    entitlement::Measure,
    ids::{CustomerId, EnvironmentId},
    line::{
        Direction, LineKind, Trigger,
        crossing::{Cause, Crossing, Edge, Identity, Suppression},
    },
    quantity::Quantity,
    rule::{Rule, WhenSeveral},
    time::Timestamp,
};

/// What is the same for everything that one command does to one customer.
#[derive(Clone, Copy)]
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
    /// How the line stands once it has fired.
    state: LineState,
    cause: Cause,
    /// Multiples that it stands for.
    count: u64,
    /// Whether it only counts as passed.
    silent: bool,
}

/// One gauge against what it is measured by.
struct Place<'a, 'g> {
    frame: &'a Frame<'a>,
    gauge: &'a mut Gauge,
    group: Option<Group<'g>>,
}

/// What happened to a line.
struct Occurrence<'a> {
    standing: &'a StandingLine,
    level: Quantity,
    step: Option<Quantity>,
    count: u64,
    edge: Edge,
    generation: u32,
    cause: Cause,
    suppression: Option<Suppression>,
}

impl Place<'_, '_> {
    fn usage(&self) -> Quantity {
        let own = self.gauge.accumulated.usage();
        // What was carried over belongs to no group.
        if self.group.is_some() { own } else { self.frame.carried.bounded_add(own) }
    }
}

impl<'a> Evaluation<'a> {
    /// Evaluates everything that stands on an entitlement, where usage has not moved.
    pub(super) fn settle_all(&self, metered: &mut Metered, effects: &mut Vec<Effect>) {
        let usage = metered.usage();
        let (frame, gauge, groups) = metered.parts();
        self.settle(&frame, gauge, None, usage, effects);
        self.settle_groups(&frame, groups, effects);
    }

    pub(super) fn settle_groups(
        &self,
        frame: &Frame<'_>,
        groups: Option<&mut GroupGauges>,
        effects: &mut Vec<Effect>,
    ) {
        for (key, values) in groups.into_iter().flatten() {
            for (value, gauge) in values {
                let usage = gauge.accumulated.usage();
                self.settle(frame, gauge, Some(Group { key, value }), usage, effects);
            }
        }
    }

    /// Fires every line that is reached and armed, arms those that are left, finds the new calm.
    pub(super) fn settle(
        &self,
        frame: &Frame<'_>,
        gauge: &mut Gauge,
        group: Option<Group<'_>>,
        before: Quantity,
        effects: &mut Vec<Effect>,
    ) {
        let place = &mut Place { frame, gauge, group };
        let usage = place.usage();
        let mut candidates = Vec::new();
        for standing in self.lines_on(frame, group) {
            if standing.line.kind == LineKind::Every {
                candidates.extend(self.multiples(place, standing, before, effects));
                continue;
            }
            for trigger in standing.line.triggers(&frame.measure, standing.rule.hysteresis) {
                if trigger.is_rearmed(usage) {
                    self.arm_again(place, standing, &trigger, before, effects);
                } else if trigger.is_reached(usage) {
                    let state = place.gauge.line(standing.line.id, trigger.step);
                    candidates.extend(self.candidate(standing, trigger, state));
                }
            }
        }
        candidates.sort_by_key(|it| (it.trigger.at, it.standing.line.kind.is_percentage()));
        silence_all_but_the_furthest(&mut candidates);
        for candidate in &candidates {
            effects.extend(self.fire(place, candidate, before));
        }
        let calm = self.calm(place);
        place.gauge.calm = Some(calm);
    }

    /// The lines that stand on this part of this entitlement's usage.
    fn lines_on(
        &self,
        frame: &Frame<'_>,
        group: Option<Group<'_>>,
    ) -> impl Iterator<Item = &'a StandingLine> {
        let (customer, closed_with) = (self.customer, frame.closed_with);
        let lines = self.catalog.lines_of(frame.feature).map_or(&[][..], |it| it);
        lines.iter().filter(move |it| {
            it.stands_on(group.map(|it| (it.key, it.value)))
                && it.rule.covers_customer(customer)
                && closed_with.is_none_or(|seq| it.since <= seq)
        })
    }

    /// A window has begun, or the first event of a group has come (row 5): a falling line at or
    /// above the opening balance counts as passed.
    pub(super) fn open(&self, frame: &Frame<'_>, gauge: &mut Gauge, group: Option<Group<'_>>) {
        // What was carried over belongs to no group.
        let usage = if group.is_some() { Quantity::ZERO } else { frame.carried };
        for standing in self.lines_on(frame, group) {
            let falling = standing.line.kind.direction() == Direction::Falling;
            // A line that the customer has not seen yet is about to begin to apply (row 9).
            if !falling || standing.entered > self.behind_since {
                continue;
            }
            for trigger in standing.line.triggers(&frame.measure, standing.rule.hysteresis) {
                if trigger.is_reached(usage) {
                    let state = gauge.line(standing.line.id, trigger.step);
                    gauge.set_line(LineState { mark: Mark::Passed, ..state });
                }
            }
        }
    }

    /// Forgets lines that are gone, and arms those that no longer apply for the day they do again.
    pub(super) fn leave_lines(&self, metered: &mut Metered) {
        let (frame, gauge, groups) = metered.parts();
        self.leave_lines_of(&frame, gauge, None);
        for (key, values) in groups.into_iter().flatten() {
            for (value, gauge) in values {
                self.leave_lines_of(&frame, gauge, Some(Group { key, value }));
            }
        }
    }

    fn leave_lines_of(&self, frame: &Frame<'_>, gauge: &mut Gauge, group: Option<Group<'_>>) {
        gauge.retain_lines(|it| self.catalog.has_line(it));
        for state in gauge.lines.iter_mut().filter(|it| it.mark != Mark::Armed) {
            if !self.lines_on(frame, group).any(|it| it.line.id == state.line) {
                (state.mark, state.multiples) = (Mark::Armed, 0);
                state.generation += 1;
            }
        }
    }

    /// Arms what has lost its place, because there is no limit or no such tier any more: the value
    /// cannot be past it.
    pub(super) fn leave_places(
        &self,
        metered: &mut Metered,
        before: &Measure<'_>,
        effects: &mut Vec<Effect>,
    ) {
        let usage = metered.usage();
        let (frame, gauge, groups) = metered.parts();
        self.leave_places_of(
            &mut Place { frame: &frame, gauge, group: None },
            before,
            usage,
            effects,
        );
        for (key, values) in groups.into_iter().flatten() {
            for (value, gauge) in values {
                let usage = gauge.accumulated.usage();
                let place = &mut Place { frame: &frame, gauge, group: Some(Group { key, value }) };
                self.leave_places_of(place, before, usage, effects);
            }
        }
    }

    fn leave_places_of(
        &self,
        place: &mut Place<'_, '_>,
        before: &Measure<'_>,
        usage: Quantity,
        effects: &mut Vec<Effect>,
    ) {
        for standing in self.lines_on(place.frame, place.group) {
            let now = standing.line.triggers(&place.frame.measure, standing.rule.hysteresis);
            for trigger in standing.line.triggers(before, standing.rule.hysteresis) {
                if !now.iter().any(|it| it.step == trigger.step) {
                    self.arm_again(place, standing, &trigger, usage, effects);
                }
            }
        }
    }

    /// Arms a line that the value has left (row 10).
    fn arm_again(
        &self,
        place: &mut Place<'_, '_>,
        standing: &StandingLine,
        trigger: &Trigger,
        before: Quantity,
        effects: &mut Vec<Effect>,
    ) {
        let state = place.gauge.line(standing.line.id, trigger.step);
        if state.mark == Mark::Armed {
            return;
        }
        let generation = state.generation + 1;
        place.gauge.set_line(LineState { generation, mark: Mark::Armed, ..state });
        if state.mark != Mark::Passed {
            let (level, step) = (trigger.level, trigger.step);
            let what = self.resolution(standing, level, step, 1, state.generation);
            effects.push(self.crossing(place, &what, before));
        }
    }

    /// A line on every multiple (row 3): fires once for all multiples that were newly come to, and
    /// is armed again for those that the value has left.
    fn multiples(
        &self,
        place: &mut Place<'_, '_>,
        standing: &'a StandingLine,
        before: Quantity,
        effects: &mut Vec<Effect>,
    ) -> Option<Candidate<'a>> {
        let (line, usage) = (&standing.line, place.usage());
        let state = place.gauge.line(line.id, None);
        let kept = line.multiples(usage.bounded_add(standing.rule.hysteresis)).min(state.multiples);
        if kept < state.multiples {
            let left = state.multiples - kept;
            let generation = state.generation + 1;
            let mark = if kept == 0 { Mark::Armed } else { state.mark };
            place.gauge.set_line(LineState { generation, mark, multiples: kept, ..state });
            if state.mark != Mark::Passed {
                let step = line.value.times(kept + 1).ok()?;
                let what = self.resolution(standing, step, Some(step), left, state.generation);
                effects.push(self.crossing(place, &what, before));
            }
        }
        let state = place.gauge.line(line.id, None);
        let reached = line.multiples(usage);
        let count = reached.checked_sub(state.multiples).filter(|it| *it > 0)?;
        let at = line.value.times(reached).ok()?;
        let trigger = Trigger { at, strict: false, rearm_below: at, level: at, step: Some(at) };
        let armed = LineState { mark: Mark::Armed, ..state };
        let candidate = self.candidate(standing, trigger, armed)?;
        let state = LineState { multiples: reached, ..state };
        Some(Candidate { state, count, ..candidate })
    }

    /// Whether a reached line fires, given what has happened to it before.
    fn candidate(
        &self,
        standing: &'a StandingLine,
        trigger: Trigger,
        state: LineState,
    ) -> Option<Candidate<'a>> {
        let is_new = standing.since > self.behind_since;
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
        let state = LineState { generation, ..state };
        Some(Candidate { standing, trigger, state, cause, count: 1, silent })
    }

    fn fire(
        &self,
        place: &mut Place<'_, '_>,
        candidate: &Candidate<'_>,
        before: Quantity,
    ) -> Option<Effect> {
        let Candidate { standing, trigger, state, cause, count, silent } = *candidate;
        let mark = match (silent, standing.rule.disabled) {
            (true, _) => Mark::Passed,
            (false, true) => Mark::Recorded,
            (false, false) => Mark::Notified,
        };
        place.gauge.set_line(LineState { mark, ..state });
        let what = Occurrence {
            standing,
            level: trigger.level,
            step: trigger.step,
            count,
            edge: Edge::Crossed,
            generation: state.generation,
            cause,
            suppression: standing.rule.disabled.then_some(Suppression::RuleDisabled),
        };
        (!silent).then(|| self.crossing(place, &what, before))
    }

    fn resolution<'s>(
        &self,
        standing: &'s StandingLine,
        level: Quantity,
        step: Option<Quantity>,
        count: u64,
        generation: u32,
    ) -> Occurrence<'s> {
        let suppression = if standing.rule.disabled {
            Some(Suppression::RuleDisabled)
        } else {
            (!standing.rule.sends_resolved).then_some(Suppression::ResolvedNotWanted)
        };
        let (edge, cause) = (Edge::Resolved, self.cause);
        Occurrence { standing, level, step, count, edge, generation, cause, suppression }
    }

    fn crossing(&self, place: &Place<'_, '_>, what: &Occurrence<'_>, before: Quantity) -> Effect {
        let Place { frame, group, .. } = place;
        let rule: &Rule = &what.standing.rule;
        Effect::Crossing(Box::new(Crossing {
            identity: Identity {
                rule: rule.id,
                line: what.standing.line.id,
                entitlement: frame.entitlement,
                group: group.map(|it| it.value.into()),
                window_from: frame.window.from,
                step: what.step,
                generation: what.generation,
                edge: what.edge,
            },
            environment: self.environment,
            customer: self.customer,
            feature: frame.feature,
            rule: what.standing.rule.clone(),
            line: what.standing.line.clone(),
            level: what.level,
            count: what.count,
            late: frame.closed_with.is_some(),
            previous_usage: before,
            value: frame.measure.value(place.usage(), frame.window),
            cause: what.cause,
            at: self.at,
            event: self.event,
            suppression: what.suppression,
        }))
    }

    /// The usages around the present one at which nothing happens.
    fn calm(&self, place: &Place<'_, '_>) -> Calm {
        let mut calm = Calm::default();
        for standing in self.lines_on(place.frame, place.group) {
            let (line, hysteresis) = (&standing.line, standing.rule.hysteresis);
            if line.kind == LineKind::Every {
                let passed = place.gauge.line(line.id, None).multiples;
                if let Ok(next) = line.value.times(passed + 1) {
                    calm.ends_at(next);
                }
                if passed > 0
                    && let Ok(last) = line.value.times(passed)
                {
                    calm.ends_below(last.bounded_sub(hysteresis));
                }
                continue;
            }
            for trigger in line.triggers(&place.frame.measure, hysteresis) {
                if place.gauge.line(line.id, trigger.step).mark == Mark::Armed {
                    // A strict trigger fires just above its level: not calm from the level on.
                    calm.ends_at(trigger.at);
                } else if trigger.strict {
                    // It is armed again at zero: below one, look.
                    calm.ends_below(Quantity::ONE);
                } else {
                    calm.ends_below(trigger.rearm_below);
                }
            }
        }
        calm
    }
}

/// Row 2, `when_several: highest`: of one rule and direction only the furthest line fires, which is
/// the last one of the sorted candidates; on a tie the percentage. Multiples are not part of it.
fn silence_all_but_the_furthest(candidates: &mut [Candidate<'_>]) {
    let mut fired = BTreeSet::new();
    let silenced = |it: &&mut Candidate<'_>| !it.silent && it.standing.line.kind != LineKind::Every;
    for candidate in candidates.iter_mut().rev().filter(silenced) {
        let rule = &candidate.standing.rule;
        let falls = candidate.standing.line.kind.direction() == Direction::Falling;
        if rule.when_several == WhenSeveral::Highest {
            candidate.silent = !fired.insert((rule.id, falls));
        }
    }
}
