//! What a full history should bring about, one entitlement at a time, told from the start.
//!
//! Everything that was accepted for an entitlement is a list of deeds. Each time something is to be
//! known, the whole list is told again (`full_tale`). What lines do is read off the curves that
//! come out (`full_lines`). Quantities are halves.
//!
//! Not here: effects of the core, and how they are compared with these (`full_laws`).

use std::collections::BTreeMap;

use super::{
    full_history::{Event, FEATURES, Row},
    full_lines::Told,
    full_tale::Tale,
};
use crate::{
    catalog::meter::Aggregation,
    command::{Command, ControlCommand, CustomerCommand, ManualReset},
    effect::ResetCause,
    entitlement::{EntitlementKind, Terms, grant::Grant, source::Limits},
    ids::{CustomerId, EntitlementId, EnvironmentId, FeatureId, GrantId},
    quantity::Quantity,
    rule::Rule,
    time::Timestamp,
};

/// Everything that rows say, sorted by whom it concerns.
#[derive(Debug, Default)]
pub(super) struct Model {
    kinds: BTreeMap<u128, Aggregation>,
    homes: BTreeMap<FeatureId, EnvironmentId>,
    rules: Vec<Rule>,
    customers: Vec<CustomerId>,
    pub(super) entitlements: BTreeMap<EntitlementId, Holder>,
    deeds: Vec<Deed>,
}

/// Whose entitlement it is, and to what.
#[derive(Debug, Clone, Copy)]
pub(super) struct Holder {
    pub(super) customer: CustomerId,
    pub(super) feature: FeatureId,
}

#[derive(Debug)]
struct Deed {
    row: usize,
    customer: CustomerId,
    at: Timestamp,
    act: Act,
}

#[derive(Debug, Clone)]
enum Act {
    /// Somebody looks: what is due happens.
    Look,
    Use(u32, Event),
    Of(EntitlementId, Change),
}

#[derive(Debug, Clone)]
pub(super) enum Change {
    Entitle(Terms),
    Grant(Grant),
    Void(GrantId),
    Reset(ManualReset),
    Limits(Limits, Vec<Quantity>),
    Later(Timestamp, Box<Change>),
}

/// All that came of the deeds.
#[derive(Debug)]
pub(super) struct Story {
    pub(super) crossings: Vec<Told>,
    pub(super) resets: Vec<Turn>,
    /// When each window but the first began, told or not, and with what usage.
    pub(super) opened: BTreeMap<Timestamp, i64>,
    pub(super) segments: Vec<Stretch>,
    /// Closed windows, those that were made up for late events too.
    pub(super) kept: Vec<Kept>,
    pub(super) standing: Standing,
}

/// A closed window: from, to, usage, the limits that it closed with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) from: Timestamp,
    pub(super) to: Timestamp,
    pub(super) usage: i64,
    pub(super) hard: Option<i64>,
    pub(super) soft: Option<i64>,
}

/// A reset: usage and window before and after, periods that were skipped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Turn {
    pub(super) row: usize,
    pub(super) at: Timestamp,
    pub(super) closed: (Timestamp, i64),
    pub(super) opened: (Timestamp, i64),
    pub(super) skipped: u64,
    pub(super) cause: ResetCause,
}

/// A stretch of burning: from, to, usage, overage at the end, what each grant gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stretch {
    pub(super) from: Timestamp,
    pub(super) to: Timestamp,
    pub(super) usage: i64,
    pub(super) overage: i64,
    pub(super) burned: BTreeMap<Option<GrantId>, i64>,
}

/// Usage, effective hard and soft limit, window, balances of grants in the order of burning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) usage: i64,
    pub(super) hard: Option<i64>,
    pub(super) soft: Option<i64>,
    pub(super) window: (Timestamp, Timestamp),
    pub(super) grants: Vec<(GrantId, i64, bool)>,
}

/// What usage is measured against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Measure {
    pub(super) hard: Option<i64>,
    pub(super) soft: Option<i64>,
    pub(super) tiers: Vec<i64>,
}

impl Model {
    pub(super) fn of(rows: &[Row]) -> Self {
        let mut model = Self::default();
        for (row, it) in rows.iter().enumerate() {
            model.read(row, it);
        }
        model
    }

    fn read(&mut self, row: usize, it: &Row) {
        match it {
            Row::Usage { stamped_at, events, .. } => {
                for (index, event) in (0..).zip(events) {
                    let act = Act::Use(index, event.clone());
                    self.deeds.push(Deed { row, customer: event.customer, at: *stamped_at, act });
                }
            }
            Row::Command(Command::Control { command, .. }) => match command {
                ControlCommand::PutMeter(meter) => {
                    self.kinds.insert(meter.id.bits(), meter.aggregation.clone());
                }
                ControlCommand::PutFeature(it) => drop(self.homes.insert(it.id, it.environment)),
                ControlCommand::PutRule(rule) => self.rules.push(rule.clone()),
                _ => {}
            },
            Row::Command(Command::Customer { stamped_at, command, .. }) => {
                let (customer, at) = (command.customer(), *stamped_at);
                if let Some(act) = self.act(at, command) {
                    self.deeds.push(Deed { row, customer, at, act });
                }
            }
            Row::Command(Command::Pulse { stamped_at, slots, .. }) => {
                for slot in slots {
                    let customer = self.customers[*slot as usize];
                    self.deeds.push(Deed { row, customer, at: *stamped_at, act: Act::Look });
                }
            }
            Row::Command(Command::Slice { .. }) => panic!("these histories have no slices"),
        }
    }

    fn act(&mut self, now: Timestamp, command: &CustomerCommand) -> Option<Act> {
        let when = |at: Timestamp, change| {
            if at > now { Change::Later(at, Box::new(change)) } else { change }
        };
        Some(match command {
            CustomerCommand::Create { customer } => {
                self.customers.push(*customer);
                return None;
            }
            CustomerCommand::PutEntitlement { customer, entitlement } => {
                let EntitlementKind::Metered(terms) = &entitlement.kind else { return None };
                let holder = Holder { customer: *customer, feature: entitlement.feature };
                self.entitlements.insert(entitlement.id, holder);
                Act::Of(entitlement.id, Change::Entitle((**terms).clone()))
            }
            CustomerCommand::PutGrant { entitlement, grant, .. } => {
                Act::Of(*entitlement, Change::Grant(grant.clone()))
            }
            CustomerCommand::VoidGrant { entitlement, grant, at, .. } => {
                Act::Of(*entitlement, when(*at, Change::Void(*grant)))
            }
            CustomerCommand::ResetEntitlement { entitlement, reset, .. } => {
                Act::Of(*entitlement, when(reset.at, Change::Reset(*reset)))
            }
            CustomerCommand::ChangeLimits { entitlement, limits, tiers, at, .. } => {
                Act::Of(*entitlement, when(*at, Change::Limits(*limits, tiers.clone())))
            }
            other => panic!("these histories have no {other:?}"),
        })
    }

    /// What came of the rows before this one for an entitlement, as it looks at `now`.
    pub(super) fn story(&self, id: EntitlementId, rows: usize, now: Timestamp) -> Option<Story> {
        let Holder { customer, feature } = self.entitlements[&id];
        let own = self.deeds.iter().filter(|it| it.row < rows && it.customer == customer);
        let mut tale: Option<Tale<'_>> = None;
        for Deed { row, at, act, .. } in own {
            if let Some(tale) = &mut tale {
                (tale.row, tale.at) = (*row, *at);
                tale.pass_time(*at);
            }
            match (&mut tale, act) {
                (Some(tale), Act::Use(index, event)) if measures(feature, event) => {
                    tale.count(*index, event);
                }
                (Some(tale), Act::Of(of, change)) if *of == id => tale.change(*at, change),
                (None, Act::Of(of, Change::Entitle(terms))) if *of == id => {
                    let kind = self.kinds[&feature.bits()].clone();
                    let home = self.homes[&feature];
                    let rules = self.rules.iter().filter(|it| it.environment == home).collect();
                    tale = Some(Tale::new(rules, kind, terms, (*row, *at)));
                }
                _ => {}
            }
        }
        let mut tale = tale?;
        let told_until = tale.resets.len();
        let segments: Vec<_> = tale.segments.iter().map(Stretch::without_zeros).collect();
        let (crossings, kept) = (tale.told(id), tale.kept());
        // What would happen by itself until then is seen, but nobody is told.
        tale.row = rows;
        tale.pass_time(now);
        let opened = tale.resets.iter().map(|it| it.opened).collect();
        let resets = merged(&tale.resets[..told_until]);
        let standing = tale.standing();
        Some(Story { crossings, resets, opened, segments, kept, standing })
    }

    /// The environment of an entitlement.
    pub(super) fn home(&self, id: EntitlementId) -> EnvironmentId {
        self.homes[&self.entitlements[&id].feature]
    }
}

/// The meter of a feature measures the events of its number.
fn measures(feature: FeatureId, event: &Event) -> bool {
    let number = (feature.bits() - 1) % FEATURES as u128;
    event.event_type == format!("event {number}")
}

/// Periods that end while nobody looks are told as one.
fn merged(turns: &[Turn]) -> Vec<Turn> {
    let mut told: Vec<Turn> = Vec::new();
    for turn in turns {
        match told.last_mut() {
            Some(last)
                if last.row == turn.row
                    && (last.cause, turn.cause) == (ResetCause::Period, ResetCause::Period) =>
            {
                last.opened = turn.opened;
                last.skipped += 1;
            }
            _ => told.push(turn.clone()),
        }
    }
    told
}

impl Stretch {
    pub(super) fn new(from: Timestamp) -> Self {
        Self { from, to: from, usage: 0, overage: 0, burned: BTreeMap::new() }
    }

    fn without_zeros(&self) -> Self {
        let mut own = self.clone();
        own.burned.retain(|_, it| *it != 0);
        own
    }
}

/// The number that this quantity reads as, in halves.
pub(super) fn halves(quantity: Quantity) -> i64 {
    let text = quantity.to_string();
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let tenths: i64 = format!("{whole}{fraction:0<1.1}").parse().unwrap();
    assert_eq!(tenths % 5, 0, "whole halves: {text}");
    tenths / 5
}
