//! What a history should bring about, said as plainly as possible.
//!
//! Usage is the sum of everything that was ever accepted and falls into the window, added up anew
//! each time. A line is looked at in its own terms. Nothing is remembered but what each line of
//! each window has done. Only ids, rules and commands are the core's own.
//!
//! Not here: effects of the core, and how they are compared with these (`laws`).

use std::collections::{BTreeMap, BTreeSet};

use super::history::{Event, Row};
use crate::{
    catalog::feature::{Feature, FeatureKind},
    command::{Command, ControlCommand, CustomerCommand},
    entitlement::{
        Entitlement, EntitlementKind,
        period::{Interval, UsagePeriod},
    },
    ids::{CustomerId, EntitlementId, EnvironmentId, FeatureId, LineId, MeterId, RuleId},
    line::{
        Line, LineKind,
        crossing::{Edge, Identity, Suppression},
    },
    quantity::Quantity,
    rule::{Rule, WhenSeveral},
    time::Timestamp,
};

/// A crossing, as far as model and core must agree on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fired {
    pub(super) identity: Identity,
    pub(super) why: Why,
    pub(super) suppression: Option<Suppression>,
    /// Usage before and after, in hundredths.
    pub(super) moved: (i128, i128),
    pub(super) at: Timestamp,
    pub(super) event: Option<u32>,
    pub(super) late: bool,
}

/// Why it fired. Edits that nobody saw in between are one, so what exactly began is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    Usage,
    Limit,
    Entitled,
    Begins,
    Edited,
}

/// Where an entitlement stands: usage and limit in hundredths.
pub(super) type Standing = (CustomerId, EntitlementId, i128, Option<i128>);

#[derive(Debug, Default)]
pub(super) struct Model {
    features: BTreeMap<FeatureId, Feature>,
    rules: BTreeMap<RuleId, Rule>,
    /// Changes of rules so far.
    changes: usize,
    /// The change since which a line applies as it does.
    since: BTreeMap<LineId, usize>,
    customers: BTreeMap<CustomerId, Person>,
    /// The customers in the order in which they were made.
    order: Vec<CustomerId>,
    /// Each stamp of each environment, and how many changes of rules there had been by then.
    stamps: BTreeMap<EnvironmentId, Vec<(Timestamp, usize)>>,
}

#[derive(Debug)]
struct Person {
    environment: EnvironmentId,
    /// The rules as they were when this customer was last looked at, and which change that was.
    seen: BTreeMap<RuleId, Rule>,
    seen_changes: usize,
    held: Vec<Held>,
}

#[derive(Debug)]
struct Held {
    id: EntitlementId,
    feature: FeatureId,
    meter: MeterId,
    limit: Option<i128>,
    /// Every limit that there was, and since when.
    limits: Vec<(Timestamp, Option<i128>)>,
    period: UsagePeriod,
    accepted: Vec<(Timestamp, i128)>,
    /// Windows, by their start, in which somebody has looked at this.
    opened: BTreeSet<Timestamp>,
    /// Which change of rules was known when used windows closed.
    closed: BTreeMap<Timestamp, usize>,
    marks: BTreeMap<(Timestamp, LineId), (u32, Mark)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    Armed,
    Notified,
    Recorded,
    Passed,
}

/// One look at one entitlement.
struct Look<'a> {
    customer: CustomerId,
    at: Timestamp,
    why: Why,
    event: Option<u32>,
    rules: &'a BTreeMap<RuleId, Rule>,
    /// The rules as the customer last knew them, and which change that was.
    seen: &'a BTreeMap<RuleId, Rule>,
    seen_changes: usize,
    features: &'a BTreeMap<FeatureId, Feature>,
    since: &'a BTreeMap<LineId, usize>,
    /// The stamps of the customer's environment, with the changes of rules by then.
    stamps: &'a [(Timestamp, usize)],
    /// The closed window that this is about, if it is about one.
    late: Option<Late>,
}

/// A closed window: its start, the limit it closed with, and the last change of rules known there.
#[derive(Clone, Copy)]
struct Late {
    window: Timestamp,
    limit: Option<i128>,
    knows: usize,
}

impl Model {
    pub(super) fn apply(&mut self, row: &Row) -> Vec<Fired> {
        let mut fired = Vec::new();
        self.stamp(row);
        match row {
            Row::Usage { stamped_at, events, .. } => {
                for (index, event) in events.iter().enumerate() {
                    self.usage(*stamped_at, index as u32, event, &mut fired);
                }
            }
            Row::Command(Command::Control { command, .. }) => self.control(command),
            Row::Command(Command::Customer { environment, stamped_at, command }) => {
                self.change(*environment, *stamped_at, command, &mut fired);
            }
            Row::Command(Command::Pulse { .. }) => panic!("these histories have no pulses"),
            Row::Command(Command::Slice { environment, stamped_at, from, to }) => {
                let slots = *from as usize..(*to as usize).min(self.order.len());
                for customer in self.order.get(slots).unwrap_or_default().to_vec() {
                    let is_behind = |it: &Person| {
                        it.environment == *environment && it.seen_changes != self.changes
                    };
                    if self.customers.get(&customer).is_some_and(is_behind) {
                        self.catch_up(customer, *stamped_at, &mut fired);
                    }
                }
            }
        }
        fired
    }

    fn stamp(&mut self, row: &Row) {
        if let Row::Usage { environment, stamped_at, .. }
        | Row::Command(
            Command::Customer { environment, stamped_at, .. }
            | Command::Slice { environment, stamped_at, .. },
        ) = row
        {
            let stamps = self.stamps.entry(*environment).or_default();
            stamps.push((*stamped_at, self.changes));
        }
    }

    /// Every entitlement's usage at `now`.
    pub(super) fn standings(&self, now: Timestamp) -> Vec<Standing> {
        let mut standings = Vec::new();
        for (customer, person) in &self.customers {
            for held in &person.held {
                standings.push((*customer, held.id, held.usage(now), held.limit));
            }
        }
        standings
    }

    fn control(&mut self, command: &ControlCommand) {
        match command {
            ControlCommand::PutFeature(feature) => {
                self.features.insert(feature.id, feature.clone());
            }
            ControlCommand::PutRule(rule) => {
                self.changes += 1;
                let before = self.rules.insert(rule.id, rule.clone());
                let other_scope = before.as_ref().is_none_or(|it| {
                    (&it.features, &it.customers) != (&rule.features, &rule.customers)
                        || it.disabled && !rule.disabled
                });
                for line in &rule.lines {
                    let known = before.iter().any(|it| it.lines.iter().any(|it| it.id == line.id));
                    if other_scope || !known {
                        self.since.insert(line.id, self.changes);
                    }
                }
            }
            ControlCommand::DeleteRule { rule, .. } => {
                self.rules.remove(rule);
                self.changes += 1;
            }
            ControlCommand::PutMeter(_)
            | ControlCommand::DeleteMeter(_)
            | ControlCommand::DeleteFeature(_)
            | ControlCommand::SetClock { .. } => {}
        }
    }

    /// The windows that have begun, and what has begun or ceased to apply, since the last look.
    fn catch_up(&mut self, customer: CustomerId, at: Timestamp, fired: &mut Vec<Fired>) {
        let Some(person) = self.customers.get_mut(&customer) else { return };
        let look = Look {
            customer,
            at,
            why: Why::Edited,
            event: None,
            rules: &self.rules,
            seen: &person.seen,
            seen_changes: person.seen_changes,
            features: &self.features,
            since: &self.since,
            stamps: &self.stamps[&person.environment],
            late: None,
        };
        for held in &mut person.held {
            look.open(held);
        }
        if person.seen_changes == self.changes {
            return;
        }
        for held in &mut person.held {
            look.leave(held);
            let usage = held.usage(at);
            look.evaluate(held, usage, fired);
        }
        person.seen.clone_from(&self.rules);
        person.seen_changes = self.changes;
    }

    fn usage(&mut self, at: Timestamp, index: u32, event: &Event, fired: &mut Vec<Fired>) {
        self.catch_up(event.customer, at, fired);
        let Some(person) = self.customers.get_mut(&event.customer) else { return };
        let look = Look {
            customer: event.customer,
            at,
            why: Why::Usage,
            event: Some(index),
            rules: &self.rules,
            seen: &self.rules,
            seen_changes: self.changes,
            features: &self.features,
            since: &self.since,
            stamps: &self.stamps[&person.environment],
            late: None,
        };
        for held in person.held.iter_mut().filter(|it| it.meter == event.meter) {
            look.open(held);
            let amount = hundredths(event.amount);
            let window = window_from(held.period, event.time);
            if window == window_from(held.period, at) {
                let before = held.usage(at);
                held.accepted.push((event.time, amount));
                look.evaluate(held, before, fired);
            } else if window >= *held.opened.first().unwrap() {
                look.late(held, window, (event.time, amount), fired);
            }
        }
    }

    fn change(
        &mut self,
        environment: EnvironmentId,
        at: Timestamp,
        command: &CustomerCommand,
        fired: &mut Vec<Fired>,
    ) {
        let customer = command.customer();
        self.catch_up(customer, at, fired);
        match command {
            CustomerCommand::Create { .. } => {
                let (seen, seen_changes) = (self.rules.clone(), self.changes);
                let person = Person { environment, seen, seen_changes, held: Vec::new() };
                self.customers.insert(customer, person);
                self.order.push(customer);
            }
            CustomerCommand::Delete { .. } => {
                self.customers.remove(&customer);
            }
            CustomerCommand::PutEntitlement { entitlement, .. } => {
                self.entitle(customer, at, entitlement, fired);
            }
            CustomerCommand::DeleteEntitlement { entitlement, .. } => {
                let person = self.customers.get_mut(&customer).unwrap();
                person.held.retain(|it| it.id != *entitlement);
            }
            other => panic!("these histories have no {other:?}"),
        }
    }

    fn entitle(
        &mut self,
        customer: CustomerId,
        at: Timestamp,
        entitlement: &Entitlement,
        fired: &mut Vec<Fired>,
    ) {
        let EntitlementKind::Metered(terms) = &entitlement.kind else { return };
        let (limit, period) = (terms.limits.hard.map(hundredths), terms.period);
        let FeatureKind::Metered { meter } = self.features[&entitlement.feature].kind else {
            return;
        };
        let person = self.customers.get_mut(&customer).unwrap();
        let mut look = Look {
            customer,
            at,
            why: Why::Limit,
            event: None,
            rules: &self.rules,
            seen: &self.rules,
            seen_changes: self.changes,
            features: &self.features,
            since: &self.since,
            stamps: &self.stamps[&person.environment],
            late: None,
        };
        if let Some(held) = person.held.iter_mut().find(|it| it.id == entitlement.id) {
            look.open(held);
            held.limit = limit;
            held.limits.push((at, limit));
            let usage = held.usage(at);
            look.evaluate(held, usage, fired);
        } else {
            let (id, feature) = (entitlement.id, entitlement.feature);
            let (accepted, marks) = (Vec::new(), BTreeMap::new());
            let opened = BTreeSet::from([window_from(period, at)]);
            let (limits, closed) = (vec![(at, limit)], BTreeMap::new());
            let mut held =
                Held { id, feature, meter, limit, limits, period, accepted, opened, closed, marks };
            look.why = Why::Entitled;
            look.evaluate(&mut held, 0, fired);
            person.held.push(held);
        }
    }
}

impl Held {
    fn usage(&self, now: Timestamp) -> i128 {
        self.sum(window_from(self.period, now)).max(0)
    }

    fn sum(&self, window: Timestamp) -> i128 {
        let own =
            self.accepted.iter().filter(|(time, _)| window_from(self.period, *time) == window);
        own.map(|(_, amount)| amount).sum::<i128>()
    }
}

impl Look<'_> {
    fn covers(&self, rule: &Rule, held: &Held) -> bool {
        rule.environment == self.features[&held.feature].environment
            && (rule.features.is_empty() || rule.features.contains(&held.feature))
            && (rule.customers.is_empty() || rule.customers.contains(&self.customer))
    }

    fn lines(&self, held: &Held) -> Vec<(&Rule, Line)> {
        let rules = self.rules.values().filter(|it| self.covers(it, held));
        let lines = rules.flat_map(|rule| rule.lines.iter().map(move |it| (rule, it.clone())));
        // A closed window keeps the lines that it closed with.
        let stands = |line: &Line| self.late.is_none_or(|it| self.since[&line.id] <= it.knows);
        lines.filter(|(_, it)| stands(it)).collect()
    }

    fn window(&self, held: &Held) -> Timestamp {
        self.late.map_or_else(|| window_from(held.period, self.at), |it| it.window)
    }

    fn limit(&self, held: &Held) -> Option<i128> {
        self.late.map_or(held.limit, |it| it.limit)
    }

    /// An event of a window that has closed.
    fn late(
        &self,
        held: &mut Held,
        window: Timestamp,
        event: (Timestamp, i128),
        fired: &mut Vec<Fired>,
    ) {
        let unused = !held.closed.contains_key(&window);
        let end = window.plus_ms(hours(held.period) * 3_600_000);
        // The last limit, and the last change of rules, from before its end.
        let limit = held.limits.iter().rev().find(|(at, _)| *at < end).unwrap().1;
        let known = self.stamps.iter().rev().find(|(at, _)| *at < end).map_or(0, |it| it.1);
        let knows = *held.closed.entry(window).or_insert(known);
        let look = Look { late: Some(Late { window, limit, knows }), ..*self };
        if unused {
            look.pass_falling(held);
        }
        let before = held.sum(window).max(0);
        held.accepted.push(event);
        look.evaluate(held, before, fired);
    }

    fn open(&self, held: &mut Held) {
        let window = window_from(held.period, self.at);
        if held.opened.contains(&window) {
            return;
        }
        let last = *held.opened.last().unwrap();
        let is_marked = held.marks.keys().any(|(it, _)| *it == last);
        if held.sum(last) != 0 || is_marked {
            held.closed.insert(last, self.seen_changes);
        }
        held.opened.insert(window);
        self.pass_falling(held);
    }

    /// A falling line that the customer knew and that an unused limit is past has been passed.
    fn pass_falling(&self, held: &mut Held) {
        let (window, limit) = (self.window(held), self.limit(held));
        for (_, line) in self.lines(held) {
            let known = self.seen.values().any(|it| it.lines.iter().any(|own| own.id == line.id));
            let past = reached(&line, 0, limit) == Some(true);
            if line.kind == LineKind::BalanceValue && known && past {
                held.marks.insert((window, line.id), (0, Mark::Passed));
            }
        }
    }

    /// A line that does not apply any more has a new chance on the day it does again; one that
    /// is in no rule any more never comes again, and is forgotten.
    fn leave(&self, held: &mut Held) {
        let standing = self.rules.values().flat_map(|it| it.lines.iter().map(|it| it.id));
        let (standing, window): (BTreeSet<LineId>, _) = (standing.collect(), self.window(held));
        held.marks.retain(|(own, line), _| *own != window || standing.contains(line));
        let applying: BTreeSet<LineId> = self.lines(held).iter().map(|(_, it)| it.id).collect();
        for ((_, line), (generation, mark)) in &mut held.marks {
            if *mark != Mark::Armed && !applying.contains(line) {
                *mark = Mark::Armed;
                *generation += 1;
            }
        }
    }

    fn evaluate(&self, held: &mut Held, before: i128, fired: &mut Vec<Fired>) {
        let (window, limit) = (self.window(held), self.limit(held));
        let usage = held.sum(window).max(0);
        let mut found: Vec<(&Rule, Line, u32, Why, bool)> = Vec::new();
        for (rule, line) in self.lines(held) {
            let key = (window, line.id);
            let (generation, mark) = held.marks.get(&key).copied().unwrap_or((0, Mark::Armed));
            let reached = reached(&line, usage, limit);
            if reached == Some(true) {
                let (generation, why) = match mark {
                    Mark::Armed if self.why == Why::Edited => (generation, Why::Begins),
                    Mark::Armed => (generation, self.why),
                    Mark::Recorded if !rule.disabled => (generation + 1, Why::Begins),
                    Mark::Recorded | Mark::Notified | Mark::Passed => continue,
                };
                let begins = matches!(why, Why::Begins | Why::Entitled);
                found.push((rule, line, generation, why, begins && !rule.evaluate_on_create));
            } else if mark != Mark::Armed
                && (reached.is_none() || left(&line, rule.hysteresis, usage, limit))
            {
                held.marks.insert(key, (generation + 1, Mark::Armed));
                if mark != Mark::Passed {
                    let unwanted = (!rule.sends_resolved).then_some(Suppression::ResolvedNotWanted);
                    let disabled = rule.disabled.then_some(Suppression::RuleDisabled);
                    let edge = (Edge::Resolved, generation, self.why, disabled.or(unwanted));
                    fired.push(self.fired(held, rule, &line, edge, (before, usage)));
                }
            }
        }
        found.sort_by_key(|(_, line, ..)| (level(line, limit), is_percentage(line.kind)));
        for index in 0..found.len() {
            let (rule, ref line, generation, why, silent) = found[index];
            let beaten = found[index + 1..].iter().any(|(other, further, _, _, silent)| {
                other.id == rule.id && falls(further.kind) == falls(line.kind) && !silent
            });
            let silent = silent || (rule.when_several == WhenSeveral::Highest && beaten);
            let mark = match (silent, rule.disabled) {
                (true, _) => Mark::Passed,
                (false, true) => Mark::Recorded,
                (false, false) => Mark::Notified,
            };
            held.marks.insert((window, line.id), (generation, mark));
            if !silent {
                let disabled = rule.disabled.then_some(Suppression::RuleDisabled);
                let edge = (Edge::Crossed, generation, why, disabled);
                fired.push(self.fired(held, rule, line, edge, (before, usage)));
            }
        }
    }

    fn fired(
        &self,
        held: &Held,
        rule: &Rule,
        line: &Line,
        (edge, generation, why, suppression): (Edge, u32, Why, Option<Suppression>),
        moved: (i128, i128),
    ) -> Fired {
        let identity = Identity {
            rule: rule.id,
            line: line.id,
            entitlement: held.id,
            group: None,
            window_from: self.window(held),
            step: None,
            generation,
            edge,
        };
        let event = self.event.filter(|_| why == Why::Usage);
        let late = self.late.is_some();
        Fired { identity, why, suppression, moved, at: self.at, event, late }
    }
}

fn falls(kind: LineKind) -> bool {
    kind == LineKind::BalanceValue
}

fn is_percentage(kind: LineKind) -> bool {
    matches!(kind, LineKind::UsagePercentage | LineKind::Limit)
}

/// Whether the value is at or past the line; nothing where the line has no meaning.
fn reached(line: &Line, usage: i128, limit: Option<i128>) -> Option<bool> {
    let value = hundredths(line.value);
    match line.kind {
        LineKind::UsageValue => Some(usage >= value),
        LineKind::BalanceValue => limit.map(|limit| limit - usage <= value),
        LineKind::UsagePercentage | LineKind::Limit => {
            limit.map(|limit| if limit == 0 { usage > 0 } else { usage * 10_000 >= value * limit })
        }
        other => panic!("histories have no {other:?}"),
    }
}

/// Whether the value is on the near side of the line by more than the hysteresis.
fn left(line: &Line, hysteresis: Quantity, usage: i128, limit: Option<i128>) -> bool {
    let (value, hysteresis) = (hundredths(line.value), hundredths(hysteresis));
    match line.kind {
        LineKind::UsageValue => usage < value - hysteresis,
        LineKind::BalanceValue => limit.is_some_and(|it| it - usage > value + hysteresis),
        LineKind::UsagePercentage | LineKind::Limit => limit.is_some_and(|limit| {
            if limit == 0 { usage <= 0 } else { usage * 10_000 < (value - hysteresis) * limit }
        }),
        other => panic!("histories have no {other:?}"),
    }
}

/// The usage at which the line is reached, times a million.
fn level(line: &Line, limit: Option<i128>) -> i128 {
    let (value, limit) = (hundredths(line.value), limit.unwrap_or(0));
    match line.kind {
        LineKind::UsageValue => value * 10_000,
        LineKind::BalanceValue => (limit - value) * 10_000,
        LineKind::UsagePercentage | LineKind::Limit => value * limit,
        other => panic!("histories have no {other:?}"),
    }
}

fn hours(period: UsagePeriod) -> i64 {
    match period.interval {
        Interval::Hour => 1,
        Interval::Day => 24,
        other => panic!("histories have no {other:?}"),
    }
}

fn window_from(period: UsagePeriod, time: Timestamp) -> Timestamp {
    let anchor_ms = period.anchor.map_or(0, Timestamp::as_ms);
    let into = (time.as_ms() - anchor_ms).rem_euclid(hours(period) * 3_600_000);
    time.plus_ms(-into)
}

/// The number that this quantity reads as, in hundredths.
pub(super) fn hundredths(quantity: Quantity) -> i128 {
    let text = quantity.to_string();
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    format!("{whole}{fraction:0<2}").parse().unwrap()
}
