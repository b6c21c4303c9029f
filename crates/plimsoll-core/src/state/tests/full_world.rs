//! The small world in which the steps of a full history happen, and the rows they become.
//!
//! Not here: which steps there are (`full_history`).

use std::{collections::BTreeMap, sync::Arc};

use super::full_history::{
    Applied, CUSTOMERS, Event, FEATURES, GrantDraft, HOUR_MS, History, LIMITS, LINES, PERIODS,
    Place, RECURRENCES, Row, RuleDraft, Step, TIERS, TermsDraft, aggregation,
};
use crate::{
    catalog::{
        feature::{Feature, FeatureKind},
        meter::{GroupKey, Meter},
    },
    command::{Command, ControlCommand, CustomerCommand, ManualReset},
    entitlement::{
        Entitlement, EntitlementKind, Terms, grant::Grant, period::UsagePeriod, source::Limits,
    },
    ids::{CustomerId, EntitlementId, EnvironmentId, FeatureId, GrantId, LineId, MeterId, RuleId},
    line::{Line, LineGroup},
    quantity::Quantity,
    rule::{Rule, RuleKind, WhenSeveral},
    time::Timestamp,
};

pub(super) const LIVE: EnvironmentId = EnvironmentId::from_parts(0, 1);
pub(super) const SANDBOX: EnvironmentId = EnvironmentId::from_parts(0, 2);

pub(super) struct World {
    pub(super) rows: Vec<Row>,
    events: usize,
    /// Whether steps of pulses bring anything about.
    pulses: bool,
    /// What the machine's clock shows, and the sandbox's.
    clock: Timestamp,
    sandbox: Timestamp,
    seq: u64,
    minted: u128,
    grants: BTreeMap<Place, Vec<GrantId>>,
    /// The state that says what is due, with the rows up to its position.
    applied: Applied,
}

impl World {
    pub(super) fn new(history: &History, events: usize, pulses: bool) -> Self {
        let mut world = Self {
            rows: Vec::new(),
            events,
            pulses,
            clock: Timestamp::from_ms(1_772_000_000_000),
            sandbox: Timestamp::from_ms(1_700_000_000_000),
            seq: 0,
            minted: 1_000,
            grants: BTreeMap::new(),
            applied: Applied::new(),
        };
        let (first, second, query) = history.kinds;
        for (own, environment) in [LIVE, SANDBOX].into_iter().enumerate() {
            world.put_feature(own, environment, 0, &[first, query]);
            world.put_feature(own, environment, 1, &[second]);
            for (index, draft) in history.rules.iter().enumerate() {
                world.put_rule(own * history.rules.len() + index, environment, draft);
            }
        }
        let now = world.sandbox;
        world.control(ControlCommand::SetClock { environment: SANDBOX, now });
        for index in 0..CUSTOMERS {
            world.change(index, CustomerCommand::Create { customer: customer_id(index) });
        }
        for (index, terms) in history.terms.iter().enumerate() {
            world.entitle((index / FEATURES, index % FEATURES), terms);
        }
        world
    }

    fn mint(&mut self) -> u128 {
        self.minted += 1;
        self.minted
    }

    fn control(&mut self, command: ControlCommand) {
        self.seq += 1;
        self.rows.push(Row::Command(Command::Control { seq: self.seq, command }));
    }

    fn now(&self, customer: usize) -> Timestamp {
        if environment_of(customer) == LIVE { self.clock } else { self.sandbox }
    }

    fn change(&mut self, customer: usize, command: CustomerCommand) {
        let (environment, stamped_at) = (environment_of(customer), self.now(customer));
        self.rows.push(Row::Command(Command::Customer { environment, stamped_at, command }));
    }

    /// A feature and its meter; other meters see the same events.
    fn put_feature(
        &mut self,
        own: usize,
        environment: EnvironmentId,
        index: usize,
        kinds: &[usize],
    ) {
        let id = feature_id(own * FEATURES + index);
        for (place, kind) in kinds.iter().enumerate() {
            let key = |name: &str| GroupKey {
                name: name.into(),
                path: format!("$.{name}").parse().unwrap(),
            };
            // The meter of a feature has the feature's number.
            self.control(ControlCommand::PutMeter(Meter {
                id: MeterId::from_parts(0, id.bits() + 100 * place as u128),
                environment,
                event_type: event_type(index).into(),
                aggregation: aggregation(*kind),
                group_by: vec![key("model"), key("region")],
                filters: Vec::new(),
            }));
        }
        self.control(ControlCommand::PutFeature(Feature {
            id,
            environment,
            kind: FeatureKind::Metered { meter: MeterId::from_parts(0, id.bits()) },
            document: Arc::from(&b"feature"[..]),
        }));
    }

    fn put_rule(&mut self, index: usize, environment: EnvironmentId, draft: &RuleDraft) {
        let chosen = draft.lines.iter().map(|it| &LINES[*it]);
        let lines = chosen.map(|(kind, value, group)| Line {
            id: LineId::from_parts(0, self.mint()),
            kind: *kind,
            value: Quantity::from_integer(*value),
            group: group
                .map(|(key, value)| LineGroup { key: key.into(), value: value.map(Box::from) }),
        });
        let lines = lines.collect();
        self.control(ControlCommand::PutRule(Rule {
            id: RuleId::from_parts(0, index as u128 + 1),
            environment,
            kind: RuleKind::BalanceThreshold,
            features: Vec::new(),
            customers: Vec::new(),
            lines,
            channels: Vec::new(),
            when_several: if draft.highest { WhenSeveral::Highest } else { WhenSeveral::Each },
            sends_resolved: draft.resolved,
            hysteresis: Quantity::from_integer(draft.hysteresis),
            evaluate_on_create: !draft.quiet,
            disabled: false,
            document: Arc::from(&b"rule"[..]),
        }));
    }

    pub(super) fn step(&mut self, step: &Step) {
        match *step {
            Step::Use { place, halves, ago_ms, model, region } => {
                let groups = [
                    [None, Some("a"), Some("b"), Some("c")][model],
                    [None, Some("x"), Some("y")][region],
                ];
                self.usage(place, halves, ago_ms, groups);
            }
            Step::Entitle { place, ref terms } => self.entitle(place, terms),
            Step::Grant { place, ref grant } => self.grant(place, grant),
            Step::Void { place, which, later_ms } => {
                let grants = self.grants.get(&place).map_or(&[][..], Vec::as_slice);
                if let Some(grant) = grants.get(which).copied() {
                    let (customer, entitlement, at) = self.moment(place, later_ms);
                    let command = CustomerCommand::VoidGrant { customer, entitlement, grant, at };
                    self.change(place.0, command);
                }
            }
            Step::Reset { place, later_ms, anew, preserves } => {
                let (customer, entitlement, at) = self.moment(place, later_ms);
                let reset = ManualReset { at, retains_anchor: !anew, preserves_overage: preserves };
                let command = CustomerCommand::ResetEntitlement { customer, entitlement, reset };
                self.change(place.0, command);
            }
            Step::Limits { place, limits, tiers, later_ms } => {
                let (customer, entitlement, at) = self.moment(place, later_ms);
                let (limits, tiers) = (limits_of(limits), tiers_of(tiers));
                self.change(
                    place.0,
                    CustomerCommand::ChangeLimits { customer, entitlement, limits, tiers, at },
                );
            }
            Step::Wait { ms: 0 } => self.clock = next_hour(self.clock, 1),
            Step::Wait { ms } => self.clock = self.clock.plus_ms(ms),
            Step::Advance { ms } => {
                let to = self.sandbox.plus_ms(ms);
                self.sandbox = if ms % 2 == 0 { next_hour(to, 1) } else { to };
                let now = self.sandbox;
                self.control(ControlCommand::SetClock { environment: SANDBOX, now });
            }
            Step::Pulse => self.pulse(),
        }
    }

    /// An entitlement, and now or a later time: negative is the start of an hour to come.
    fn moment(&self, place: Place, later_ms: i64) -> (CustomerId, EntitlementId, Timestamp) {
        (customer_id(place.0), entitlement_id(place), later(self.now(place.0), later_ms))
    }

    fn usage(&mut self, place: Place, halves: i64, ago_ms: i64, groups: [Option<&'static str>; 2]) {
        let (own, now) = (environment_of(place.0), self.now(place.0));
        let event = Event {
            customer: customer_id(place.0),
            time: now.plus_ms(-ago_ms),
            event_type: event_type(place.1),
            halves,
            groups,
        };
        let sealed = self.applied.position as usize == self.rows.len();
        match self.rows.last_mut() {
            Some(Row::Usage { environment, stamped_at, events })
                if !sealed
                    && *environment == own
                    && *stamped_at == now
                    && events.len() < self.events =>
            {
                events.push(event);
            }
            _ => self.rows.push(Row::Usage {
                environment: own,
                stamped_at: now,
                events: vec![event],
            }),
        }
    }

    fn entitle(&mut self, place: Place, draft: &TermsDraft) {
        let (interval, anchor_ms) = PERIODS[draft.period];
        let period = UsagePeriod { interval, anchor: anchor_ms.map(Timestamp::from_ms) };
        let terms = Terms {
            tiers: tiers_of(draft.tiers),
            limit_priority: draft.priority,
            preserves_overage: draft.preserves,
            ..Terms::new(limits_of(draft.limits), period)
        };
        let feature = feature_of(place);
        let kind = EntitlementKind::Metered(Box::new(terms));
        let entitlement = Entitlement { id: entitlement_id(place), feature, kind };
        let customer = customer_id(place.0);
        self.change(place.0, CustomerCommand::PutEntitlement { customer, entitlement });
    }

    fn grant(&mut self, place: Place, draft: &GrantDraft) {
        let (customer, entitlement, effective_at) = self.moment(place, draft.later_ms);
        let id = GrantId::from_parts(self.now(place.0).as_ms() as u64, self.mint());
        let expires_at = draft.lasts_ms.map(|it| {
            let end = effective_at.plus_ms(it);
            if it % 2 == 0 { next_hour(end, 1) } else { end }
        });
        let recurrence = RECURRENCES[draft.recurrence];
        let grant = Grant {
            id,
            amount: Quantity::from_integer(draft.amount),
            priority: draft.priority,
            effective_at,
            expires_at,
            recurrence: recurrence.map(|interval| UsagePeriod { interval, anchor: None }),
            min_rollover: Quantity::from_integer(draft.rollover.0),
            max_rollover: Quantity::from_integer(draft.rollover.1),
        };
        self.grants.entry(place).or_default().push(id);
        self.change(place.0, CustomerCommand::PutGrant { customer, entitlement, grant });
    }

    /// Works off what is due: the state that the rows lead to says what that is.
    fn pulse(&mut self) {
        if !self.pulses {
            return;
        }
        loop {
            for row in self.rows.iter().skip(self.applied.position as usize) {
                self.applied.apply(row);
            }
            let Some(pulse) = self.applied.state.due_pulse(self.clock) else { return };
            self.rows.push(Row::Command(pulse));
        }
    }
}

fn later(now: Timestamp, later_ms: i64) -> Timestamp {
    if later_ms < 0 { next_hour(now, -later_ms) } else { now.plus_ms(later_ms) }
}

/// The start of an hour, so many hours from now.
fn next_hour(now: Timestamp, hours: i64) -> Timestamp {
    now.plus_ms(hours * HOUR_MS - now.as_ms().rem_euclid(HOUR_MS))
}

fn limits_of(index: usize) -> Limits {
    let (hard, soft) = LIMITS[index];
    let limit = |it: Option<i64>| it.map(Quantity::from_integer);
    Limits { hard: limit(hard), soft: limit(soft) }
}

fn tiers_of(index: usize) -> Vec<Quantity> {
    TIERS[index].iter().copied().map(Quantity::from_integer).collect()
}

fn event_type(feature: usize) -> String {
    format!("event {feature}")
}

fn environment_of(customer: usize) -> EnvironmentId {
    if customer + 1 < CUSTOMERS { LIVE } else { SANDBOX }
}

fn customer_id(index: usize) -> CustomerId {
    CustomerId::from_parts(0, index as u128 + 1)
}

fn feature_id(index: usize) -> FeatureId {
    FeatureId::from_parts(0, index as u128 + 1)
}

fn feature_of((customer, feature): Place) -> FeatureId {
    let own = usize::from(environment_of(customer) != LIVE);
    feature_id(own * FEATURES + feature)
}

fn entitlement_id((customer, feature): Place) -> EntitlementId {
    EntitlementId::from_parts(0, (customer * FEATURES + feature) as u128 + 1)
}
