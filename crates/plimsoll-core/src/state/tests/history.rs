//! Histories of a small world, drawn by proptest and written down as rows of a log.
//!
//! A step is made of small numbers, so that it shrinks well; a `World` gives them ids and leaves
//! out what makes no sense, such as deleting what does not exist.
//!
//! Not here: what a history should bring about (`model`, `laws`).

use std::{collections::BTreeMap, sync::Arc};

use proptest::prelude::*;

use crate::{
    archive::{Archive, MemoryArchive},
    catalog::{
        feature::{Feature, FeatureKind},
        meter::{Aggregation, Meter, MeterReading},
    },
    command::{Command, ControlCommand, CustomerCommand},
    effect::Effect,
    entitlement::{
        Entitlement, EntitlementKind, Terms,
        period::{Interval, UsagePeriod},
        source::Limits,
    },
    ids::{CustomerId, EntitlementId, EnvironmentId, FeatureId, LineId, MeterId, RuleId},
    line::{Line, LineKind},
    metering::accumulator::Amount,
    quantity::Quantity,
    rule::{Rule, RuleKind, WhenSeveral},
    state::{ClosedWindow, RowStamp, State, UsageEvent},
    time::Timestamp,
};

/// The first so many customers, features and rules are of one environment, the last of another.
const CUSTOMERS: usize = 4;
const FEATURES: usize = 4;
const RULES: usize = 3;
/// The lines that each rule chooses from: edits keep most of them.
const LINES: [[(LineKind, i64); 5]; RULES] = [
    [
        (LineKind::UsagePercentage, 50),
        (LineKind::UsagePercentage, 80),
        (LineKind::UsageValue, 80),
        (LineKind::BalanceValue, 50),
        (LineKind::BalanceValue, 100),
    ],
    [
        (LineKind::UsagePercentage, 10),
        (LineKind::Limit, 100),
        (LineKind::UsageValue, 40),
        (LineKind::UsagePercentage, 100),
        (LineKind::BalanceValue, 10),
    ],
    [
        (LineKind::UsagePercentage, 80),
        (LineKind::UsagePercentage, 150),
        (LineKind::UsageValue, 5),
        (LineKind::BalanceValue, 0),
        (LineKind::BalanceValue, 20),
    ],
];
const HOUR_MS: i64 = 3_600_000;
/// Slots in a slice of these checkpoints, so that a handful of customers fill several.
pub(super) const SLICE_SLOTS: u32 = 2;

/// One thing that happens.
#[derive(Debug, Clone)]
pub(super) enum Step {
    Use { customer: usize, meter: usize, hundredths: i64, ago_ms: i64 },
    Entitle { customer: usize, feature: usize, limit: Option<i64>, period: usize },
    Revoke { customer: usize, feature: usize },
    Delete { customer: usize },
    Rule { rule: usize, draft: Draft },
    Unrule { rule: usize },
    Sweep { customers: u32 },
    Wait { ms: i64 },
}

/// What a rule says, by numbers.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "a rule has as many choices")]
pub(super) struct Draft {
    lines: Vec<usize>,
    features: Vec<usize>,
    customers: Vec<usize>,
    hysteresis: i64,
    highest: bool,
    resolved: bool,
    quiet: bool,
    disabled: bool,
}

/// A row of the log.
#[derive(Debug, Clone)]
pub(super) enum Row {
    Command(Command),
    Usage { environment: EnvironmentId, stamped_at: Timestamp, events: Vec<Event> },
}

/// An event of a row of usage.
#[derive(Debug, Clone)]
pub(super) struct Event {
    pub(super) customer: CustomerId,
    pub(super) time: Timestamp,
    pub(super) meter: MeterId,
    pub(super) amount: Quantity,
}

/// Histories of at most `most` steps.
pub(super) fn histories(most: usize) -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(step(), 1..=most)
}

fn step() -> impl Strategy<Value = Step> {
    let (customer, feature) = (0..CUSTOMERS, 0..FEATURES);
    let hundredths = prop_oneof![4 => 0_i64..6_000, 2 => -6_000_i64..0, 1 => Just(1_000)];
    let ago_ms = prop_oneof![3 => Just(0), 1 => 0..30 * HOUR_MS];
    let limit = prop::sample::select(vec![None, Some(0), Some(10), Some(50), Some(100)]);
    let wait = prop_oneof![3 => 1..HOUR_MS, 1 => 1..60 * HOUR_MS];
    prop_oneof![
        8 => (customer.clone(), 0_usize..2, hundredths, ago_ms).prop_map(
            |(customer, meter, hundredths, ago_ms)| {
                Step::Use { customer, meter, hundredths, ago_ms }
            },
        ),
        5 => (customer.clone(), feature.clone(), limit, 0_usize..4).prop_map(
            |(customer, feature, limit, period)| Step::Entitle { customer, feature, limit, period },
        ),
        1 => (customer.clone(), feature).prop_map(|(customer, feature)| Step::Revoke {
            customer,
            feature,
        }),
        1 => customer.prop_map(|customer| Step::Delete { customer }),
        4 => (0..RULES, draft()).prop_map(|(rule, draft)| Step::Rule { rule, draft }),
        1 => (0..RULES).prop_map(|rule| Step::Unrule { rule }),
        3 => (1_u32..9).prop_map(|customers| Step::Sweep { customers }),
        2 => wait.prop_map(|ms| Step::Wait { ms }),
    ]
}

fn draft() -> impl Strategy<Value = Draft> {
    let some =
        |most: usize| prop_oneof![2 => Just(Vec::new()), 1 => prop::collection::vec(0..most, 1..3)];
    let mostly_not = || prop::bool::weighted(0.25);
    (
        prop::collection::vec(prop::bool::weighted(0.75), LINES[0].len()),
        some(FEATURES),
        some(CUSTOMERS),
        prop::sample::select(vec![0, 0, 5, 30]),
        (mostly_not(), prop::bool::ANY, mostly_not(), mostly_not()),
    )
        .prop_map(|(lines, features, customers, hysteresis, flags)| {
            let (highest, resolved, quiet, disabled) = flags;
            let chosen = lines.iter().enumerate().filter(|(_, it)| **it);
            let lines = chosen.map(|(index, _)| index).collect();
            Draft { lines, features, customers, hysteresis, highest, resolved, quiet, disabled }
        })
}

/// Writes steps down as rows; `events` is how many events a row of usage holds at the most.
pub(super) fn rows_of(steps: &[Step], events: usize) -> Vec<Row> {
    let mut world = World::new(events);
    for step in steps {
        world.step(step);
    }
    world.rows
}

struct World {
    rows: Vec<Row>,
    events: usize,
    clock: Timestamp,
    seq: u64,
    minted: u128,
    /// How many customers were ever made: a sweep goes over their slots.
    slots: u32,
    swept: u32,
    customers: BTreeMap<usize, CustomerId>,
    entitlements: BTreeMap<(usize, usize), EntitlementId>,
    rules: BTreeMap<usize, Rule>,
}

impl World {
    fn new(events: usize) -> Self {
        let mut world = Self {
            rows: Vec::new(),
            events,
            clock: Timestamp::from_ms(1_772_000_000_000),
            seq: 0,
            minted: 0,
            slots: 0,
            swept: 0,
            customers: BTreeMap::new(),
            entitlements: BTreeMap::new(),
            rules: BTreeMap::new(),
        };
        for feature in 0..FEATURES {
            world.control(ControlCommand::PutMeter(meter(meter_of(feature))));
            world.control(ControlCommand::PutFeature(Feature {
                id: feature_id(feature),
                environment: environment_of(feature, FEATURES),
                kind: FeatureKind::Metered { meter: meter_of(feature) },
                document: Arc::from(&b"feature"[..]),
            }));
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

    fn change(&mut self, customer: usize, command: CustomerCommand) {
        let (environment, stamped_at) = (environment_of(customer, CUSTOMERS), self.clock);
        self.rows.push(Row::Command(Command::Customer { environment, stamped_at, command }));
    }

    fn customer(&mut self, index: usize) -> CustomerId {
        if let Some(id) = self.customers.get(&index) {
            return *id;
        }
        let customer = CustomerId::from_parts(0, self.mint());
        self.customers.insert(index, customer);
        self.slots += 1;
        self.change(index, CustomerCommand::Create { customer });
        customer
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Use { customer, meter, hundredths, ago_ms } => {
                self.usage(customer, meter, hundredths, ago_ms);
            }
            Step::Entitle { customer, feature, limit, period } => {
                self.entitle(customer, feature, limit, period);
            }
            Step::Revoke { customer, feature } => {
                if let Some(entitlement) = self.entitlements.remove(&(customer, feature)) {
                    let id = self.customer(customer);
                    let command = CustomerCommand::DeleteEntitlement { customer: id, entitlement };
                    self.change(customer, command);
                }
            }
            Step::Delete { customer } => {
                self.entitlements.retain(|(owner, _), _| *owner != customer);
                if let Some(id) = self.customers.remove(&customer) {
                    self.change(customer, CustomerCommand::Delete { customer: id });
                }
            }
            Step::Rule { rule, ref draft } => self.put_rule(rule, draft),
            Step::Unrule { rule } => {
                if let Some(gone) = self.rules.remove(&rule) {
                    let (environment, rule) = (gone.environment, gone.id);
                    self.control(ControlCommand::DeleteRule { environment, rule });
                }
            }
            Step::Sweep { customers } => self.sweep(customers),
            Step::Wait { ms } => self.clock = self.clock.plus_ms(ms),
        }
    }

    fn usage(&mut self, customer: usize, meter: usize, hundredths: i64, ago_ms: i64) {
        let event = Event {
            customer: self.customer(customer),
            time: self.clock.plus_ms(-ago_ms),
            meter: meter_of(if customer + 1 < CUSTOMERS { meter * 2 } else { 3 }),
            amount: Quantity::from_parts(i128::from(hundredths), 2).unwrap(),
        };
        let own = environment_of(customer, CUSTOMERS);
        match self.rows.last_mut() {
            Some(Row::Usage { environment, stamped_at, events })
                if *environment == own
                    && *stamped_at == self.clock
                    && events.len() < self.events =>
            {
                events.push(event);
            }
            _ => {
                let (environment, stamped_at) = (own, self.clock);
                self.rows.push(Row::Usage { environment, stamped_at, events: vec![event] });
            }
        }
    }

    fn entitle(&mut self, customer: usize, feature: usize, limit: Option<i64>, period: usize) {
        if environment_of(customer, CUSTOMERS) != environment_of(feature, FEATURES) {
            return;
        }
        let owner = self.customer(customer);
        let fresh = EntitlementId::from_parts(0, self.mint());
        let id = *self.entitlements.entry((customer, feature)).or_insert(fresh);
        let (interval, anchor_ms) = [
            (Interval::Day, None),
            (Interval::Hour, None),
            (Interval::Day, Some(13 * HOUR_MS)),
            (Interval::Hour, Some(20 * 60_000)),
        ][period];
        let period = UsagePeriod { interval, anchor: anchor_ms.map(Timestamp::from_ms) };
        let limits = Limits::hard(limit.map(Quantity::from_integer));
        let kind = EntitlementKind::Metered(Box::new(Terms::new(limits, period)));
        let entitlement = Entitlement { id, feature: feature_id(feature), kind };
        self.change(customer, CustomerCommand::PutEntitlement { customer: owner, entitlement });
    }

    fn put_rule(&mut self, index: usize, draft: &Draft) {
        let known = self.rules.get(&index).cloned();
        let fresh = RuleId::from_parts(0, self.mint());
        let mut lines = Vec::new();
        for (kind, value) in draft.lines.iter().map(|it| LINES[index][*it]) {
            let value = Quantity::from_integer(value);
            let standing = known.iter().flat_map(|it| &it.lines);
            let kept = standing.into_iter().find(|it| (it.kind, it.value) == (kind, value));
            let id = kept.map_or_else(|| LineId::from_parts(0, self.mint()), |it| it.id);
            lines.push(Line { id, kind, value, group: None });
        }
        let customers = draft.customers.iter().filter_map(|it| self.customers.get(it).copied());
        let rule = Rule {
            id: known.map_or(fresh, |it| it.id),
            environment: environment_of(index, RULES),
            kind: RuleKind::BalanceThreshold,
            features: draft.features.iter().map(|it| feature_id(*it)).collect(),
            customers: customers.collect(),
            lines,
            channels: Vec::new(),
            when_several: if draft.highest { WhenSeveral::Highest } else { WhenSeveral::Each },
            sends_resolved: draft.resolved,
            hysteresis: Quantity::from_integer(draft.hysteresis),
            evaluate_on_create: !draft.quiet,
            disabled: draft.disabled,
            document: Arc::from(&b"rule"[..]),
        };
        self.rules.insert(index, rule.clone());
        self.control(ControlCommand::PutRule(rule));
    }

    fn sweep(&mut self, customers: u32) {
        let from = if self.swept >= self.slots { 0 } else { self.swept };
        let to = from + customers;
        self.swept = to;
        for environment in [environment_of(0, RULES), environment_of(RULES - 1, RULES)] {
            let stamped_at = self.clock;
            self.rows.push(Row::Command(Command::Slice { environment, stamped_at, from, to }));
        }
    }
}

/// The environment of the thing with this index among `count`.
fn environment_of(index: usize, count: usize) -> EnvironmentId {
    EnvironmentId::from_parts(0, if index + 1 < count { 1 } else { 2 })
}

fn feature_id(feature: usize) -> FeatureId {
    FeatureId::from_parts(0, feature as u128 + 1)
}

/// The meter with this id: a sum.
fn meter(id: MeterId) -> Meter {
    Meter {
        id,
        environment: environment_of(id.bits() as usize - 1, 3),
        event_type: "usage".into(),
        aggregation: Aggregation::Sum { value: "$.value".parse().unwrap() },
        group_by: Vec::new(),
        filters: Vec::new(),
    }
}

/// Features 0 and 1 share a meter.
fn meter_of(feature: usize) -> MeterId {
    MeterId::from_parts(0, [1, 1, 2, 3][feature])
}

/// A state that rows are applied to, one position after the other.
#[derive(Debug)]
pub(super) struct Applied {
    pub(super) state: State,
    pub(super) archive: MemoryArchive,
    pub(super) position: u64,
}

impl Applied {
    pub(super) fn new() -> Self {
        let state = State::with_slice_slots(SLICE_SLOTS);
        Self { state, archive: MemoryArchive::default(), position: 0 }
    }

    pub(super) fn apply(&mut self, row: &Row) -> Vec<Effect> {
        let mut archive = std::mem::take(&mut self.archive);
        let effects = self.apply_with(row, &mut archive);
        self.archive = archive;
        effects
    }

    /// As [`Applied::apply`], with another archive.
    pub(super) fn apply_with(&mut self, row: &Row, archive: &mut dyn Archive) -> Vec<Effect> {
        self.position += 1;
        let position = self.position;
        let mut effects = Vec::new();
        match row {
            Row::Command(command) => {
                self.state.apply(position, command, archive, &mut effects);
            }
            Row::Usage { environment, stamped_at, events } => {
                let (environment, stamped_at) = (*environment, *stamped_at);
                let stamp = RowStamp { position, environment, stamped_at };
                self.state.begin_usage(stamp);
                for (index, event) in events.iter().enumerate() {
                    let meter = Arc::new(meter(event.meter));
                    let amount = Ok(Amount::Quantity(event.amount));
                    let readings = [MeterReading { meter, amount, groups: Vec::new() }];
                    let (customer, time) = (event.customer, event.time);
                    let index = index as u32;
                    let event = UsageEvent { customer, time, index, readings: &readings };
                    self.state.apply_usage(stamp, event, archive, &mut effects);
                }
            }
        }
        effects
    }

    /// Every byte of the closed windows, and the cells.
    pub(super) fn archived(&self) -> (Vec<Vec<u8>>, Vec<String>) {
        let windows = self.archive.windows.values().map(ClosedWindow::encode);
        let cells = self.archive.cells.iter().map(|it| format!("{it:?}"));
        (windows.collect(), cells.collect())
    }

    /// Every byte that a checkpoint now would hold.
    pub(super) fn bytes(&self) -> Vec<Vec<u8>> {
        let slices = (0..self.state.slice_count()).map(|it| self.state.encode_slice(it));
        std::iter::once(self.state.encode_head()).chain(slices).collect()
    }
}
