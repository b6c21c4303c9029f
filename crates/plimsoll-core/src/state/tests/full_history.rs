//! Histories of everything that entitlements can do, drawn by proptest and written down as rows.
//!
//! A step is made of small numbers, so that it shrinks well; a `World` gives them ids. Quantities
//! are halves. Two customers live in an environment that follows the machine's clock, one in a
//! sandbox whose clock was set. Pulses are what a state asks for while the rows are written.
//!
//! Not here: rules that are edited (`history`), what should come of it (`full_model`).

use std::{collections::BTreeMap, sync::Arc};

use proptest::prelude::*;

use super::{full_world::World, ledger::Data};
use crate::{
    archive::{Archive, MemoryArchive},
    catalog::meter::{Aggregation, MeterReading},
    command::Command,
    effect::Effect,
    entitlement::period::Interval,
    ids::{CustomerId, EnvironmentId},
    line::LineKind,
    metering::bucket::Bucket,
    quantity::Quantity,
    state::{ClosedWindow, RowStamp, State, UsageEvent},
    time::{DAY_MS, Timestamp},
};

/// The first two live in one environment, the last in another.
pub(super) const CUSTOMERS: usize = 3;
/// Features of each environment.
pub(super) const FEATURES: usize = 2;
pub(super) const HOUR_MS: i64 = 3_600_000;

/// A line: its kind, its value, and the group-by key and value that it watches.
pub(super) type DrawnLine = (LineKind, i64, Option<(&'static str, Option<&'static str>)>);

/// The lines that rules choose from.
pub(super) const LINES: [DrawnLine; 20] = [
    (LineKind::UsagePercentage, 50, None),
    (LineKind::UsagePercentage, 100, None),
    (LineKind::UsageValue, 7, None),
    (LineKind::UsageValue, 20, None),
    (LineKind::BalanceValue, 3, None),
    (LineKind::BalanceValue, 10, None),
    (LineKind::BalancePercentage, 20, None),
    (LineKind::Every, 4, None),
    (LineKind::Every, 10, None),
    (LineKind::Limit, 80, None),
    (LineKind::Limit, 100, None),
    (LineKind::SoftLimit, 80, None),
    (LineKind::SoftLimit, 100, None),
    (LineKind::TierLimit, 75, None),
    (LineKind::TierLimit, 100, None),
    (LineKind::UsageValue, 5, Some(("model", None))),
    (LineKind::UsagePercentage, 50, Some(("model", Some("a")))),
    (LineKind::Every, 3, Some(("model", None))),
    (LineKind::BalanceValue, 10, Some(("model", Some("b")))),
    (LineKind::Limit, 100, Some(("region", None))),
];

/// One history: what stands from the start, and what happens.
#[derive(Debug, Clone)]
pub(super) struct History {
    /// The aggregation of each feature's meter, and of one for queries alone.
    pub(super) kinds: (usize, usize, usize),
    pub(super) rules: Vec<RuleDraft>,
    pub(super) terms: Vec<TermsDraft>,
    pub(super) steps: Vec<Step>,
}

/// What a rule says, by numbers.
#[derive(Debug, Clone)]
pub(super) struct RuleDraft {
    pub(super) lines: Vec<usize>,
    pub(super) hysteresis: i64,
    pub(super) highest: bool,
    pub(super) resolved: bool,
    pub(super) quiet: bool,
}

/// What an entitlement says, by numbers.
#[derive(Debug, Clone)]
pub(super) struct TermsDraft {
    pub(super) limits: usize,
    pub(super) tiers: usize,
    pub(super) period: usize,
    pub(super) priority: u8,
    pub(super) preserves: bool,
}

/// What a grant says, by numbers.
#[derive(Debug, Clone)]
pub(super) struct GrantDraft {
    pub(super) amount: i64,
    pub(super) priority: u8,
    pub(super) later_ms: i64,
    pub(super) lasts_ms: Option<i64>,
    pub(super) recurrence: usize,
    pub(super) rollover: (i64, i64),
}

/// An entitlement: its customer and its feature.
pub(super) type Place = (usize, usize);

/// One thing that happens.
#[derive(Debug, Clone)]
pub(super) enum Step {
    Use { place: Place, halves: i64, ago_ms: i64, model: usize, region: usize },
    Entitle { place: Place, terms: TermsDraft },
    Grant { place: Place, grant: GrantDraft },
    Void { place: Place, which: usize, later_ms: i64 },
    Reset { place: Place, later_ms: i64, anew: bool, preserves: Option<bool> },
    Limits { place: Place, limits: usize, tiers: usize, later_ms: i64 },
    Wait { ms: i64 },
    Advance { ms: i64 },
    Pulse,
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
    pub(super) event_type: String,
    pub(super) halves: i64,
    /// Values of `model` and `region`.
    pub(super) groups: [Option<&'static str>; 2],
}

/// The hard and the soft limit, in units.
pub(super) const LIMITS: [(Option<i64>, Option<i64>); 6] = [
    (Some(10), None),
    (Some(40), None),
    (Some(20), Some(10)),
    (None, Some(8)),
    (Some(0), None),
    (None, None),
];
/// Upper bounds of tiers, in units.
pub(super) const TIERS: [&[i64]; 4] = [&[], &[5, 15], &[10], &[5, 12]];
/// Periods: the length, and the anchor in milliseconds since the epoch.
pub(super) const PERIODS: [(Interval, Option<i64>); 12] = [
    (Interval::Day, None),
    (Interval::Hour, None),
    (Interval::Day, Some(13 * HOUR_MS)),
    (Interval::Hour, Some(20 * 60_000)),
    (Interval::Week, None),
    (Interval::Month, None),
    // On the 31st of January 1970.
    (Interval::Month, Some(30 * DAY_MS + 7 * HOUR_MS)),
    (Interval::Quarter, None),
    (Interval::Never, None),
    // These may move to each other.
    (Interval::BillingCycle, None),
    (Interval::BillingCycle, Some(9 * DAY_MS + 5 * HOUR_MS)),
    (Interval::BillingCycle, Some(30 * DAY_MS)),
];
/// How often a grant recurs.
pub(super) const RECURRENCES: [Option<Interval>; 6] =
    [None, None, None, Some(Interval::Day), Some(Interval::Hour), Some(Interval::Week)];

/// Aggregations that entitlements can be limited by; then those for queries alone.
pub(super) fn aggregation(kind: usize) -> Aggregation {
    let value = "$.value".parse().unwrap();
    match kind {
        0 => Aggregation::Sum { value },
        1 => Aggregation::Count,
        2 => Aggregation::Max { value },
        3 => Aggregation::Latest { value },
        4 => Aggregation::UniqueCount { value },
        5 => Aggregation::BucketedMax { value, bucket: Bucket::Hour },
        6 => Aggregation::SumWithMultiplier { value, multiplier: "-2".parse().unwrap() },
        7 => Aggregation::BucketedSum { value, bucket: Bucket::Day },
        8 => Aggregation::Average { value },
        9 => Aggregation::Min { value },
        _ => Aggregation::WeightedSum { value },
    }
}

/// Histories of at most `most` steps.
pub(super) fn histories(most: usize) -> impl Strategy<Value = History> {
    let kind = || prop_oneof![3 => Just(0_usize), 5 => 1_usize..8];
    (
        (kind(), kind(), 8_usize..11),
        prop::collection::vec(rule(), 2),
        prop::collection::vec(terms(), CUSTOMERS * FEATURES),
        prop::collection::vec(step(), 1..=most),
    )
        .prop_map(|(kinds, rules, terms, steps)| History { kinds, rules, terms, steps })
}

fn rule() -> impl Strategy<Value = RuleDraft> {
    (
        prop::sample::subsequence((0..LINES.len()).collect::<Vec<_>>(), 0..12),
        prop::sample::select(vec![0, 0, 2, 25]),
        prop::bool::weighted(0.3),
        prop::bool::ANY,
        prop::bool::weighted(0.2),
    )
        .prop_map(|(lines, hysteresis, highest, resolved, quiet)| RuleDraft {
            lines,
            hysteresis,
            highest,
            resolved,
            quiet,
        })
}

fn terms() -> impl Strategy<Value = TermsDraft> {
    let period = prop_oneof![3 => Just(0_usize), 5 => 1_usize..9, 3 => 9..PERIODS.len()];
    (0..LIMITS.len(), 0..TIERS.len(), period, 0_u8..4, prop::bool::weighted(0.3)).prop_map(
        |(limits, tiers, period, priority, preserves)| TermsDraft {
            limits,
            tiers,
            period,
            priority,
            preserves,
        },
    )
}

fn grant() -> impl Strategy<Value = GrantDraft> {
    let lasts = prop_oneof![1 => Just(None), 1 => (1..60 * HOUR_MS).prop_map(Some)];
    let rollover = prop_oneof![2 => Just((0, 20)), 1 => Just((0, 0)), 1 => (0_i64..6, 0_i64..9)];
    (1_i64..20, 0_u8..4, later_ms(), lasts, 0..RECURRENCES.len(), rollover).prop_map(
        |(amount, priority, later_ms, lasts_ms, recurrence, rollover)| GrantDraft {
            amount,
            priority,
            later_ms,
            lasts_ms,
            recurrence,
            rollover,
        },
    )
}

fn later_ms() -> impl Strategy<Value = i64> {
    // Whole days and hours meet the ends of windows and each other.
    prop_oneof![4 => Just(0), 1 => 1..40 * HOUR_MS, 1 => (1_i64..30).prop_map(|it| -it)]
}

fn step() -> impl Strategy<Value = Step> {
    let place = || (0..CUSTOMERS, prop_oneof![3 => Just(0_usize), 1 => Just(1)]);
    let halves = prop_oneof![4 => 0_i64..50, 2 => -40_i64..0];
    let ago = prop_oneof![4 => Just(0), 2 => 0..50 * HOUR_MS, 1 => 0..30 * DAY_MS];
    let wait = prop_oneof![
        8 => 1..HOUR_MS,
        // To the next whole hour, see `World`.
        3 => Just(0),
        6 => 1..40 * HOUR_MS,
        1 => 1..100 * DAY_MS
    ];
    prop_oneof![
        10 => (place(), halves, ago, 0_usize..4, 0_usize..3).prop_map(
            |(place, halves, ago_ms, model, region)| {
                Step::Use { place, halves, ago_ms, model, region }
            },
        ),
        2 => (place(), terms()).prop_map(|(place, terms)| Step::Entitle { place, terms }),
        3 => (place(), grant()).prop_map(|(place, grant)| Step::Grant { place, grant }),
        1 => (place(), 0_usize..3, later_ms())
            .prop_map(|(place, which, later_ms)| Step::Void { place, which, later_ms }),
        2 => (place(), later_ms(), any::<bool>(), any::<Option<bool>>()).prop_map(
            |(place, later_ms, anew, preserves)| Step::Reset { place, later_ms, anew, preserves },
        ),
        2 => (place(), 0..LIMITS.len(), 0..TIERS.len(), later_ms()).prop_map(
            |(place, limits, tiers, later_ms)| Step::Limits { place, limits, tiers, later_ms },
        ),
        4 => wait.prop_map(|ms| Step::Wait { ms }),
        2 => (1..30 * HOUR_MS).prop_map(|ms| Step::Advance { ms }),
        2 => Just(Step::Pulse),
    ]
}

/// Writes a history down as rows; `events` is how many events a row of usage holds at the most.
pub(super) fn rows_of(history: &History, events: usize, pulses: bool) -> Vec<Row> {
    let mut world = World::new(history, events, pulses);
    for step in &history.steps {
        world.step(step);
    }
    world.rows
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
        let state = State::with_slice_slots(2);
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
        let (position, mut effects) = (self.position, Vec::new());
        match row {
            Row::Command(command) => self.state.apply(position, command, archive, &mut effects),
            Row::Usage { environment, stamped_at, events } => {
                let (environment, stamped_at) = (*environment, *stamped_at);
                let stamp = RowStamp { position, environment, stamped_at };
                self.state.begin_usage(stamp);
                for (index, event) in (0..).zip(events) {
                    let readings = self.readings(environment, event);
                    let (customer, time) = (event.customer, event.time);
                    let event = UsageEvent { customer, time, index, readings: &readings };
                    self.state.apply_usage(stamp, event, archive, &mut effects);
                }
            }
        }
        effects
    }

    /// What the event means to each meter of its type.
    fn readings(&self, environment: EnvironmentId, event: &Event) -> Vec<MeterReading> {
        let value = Quantity::from_parts(i128::from(event.halves) * 5, 1).unwrap().to_string();
        let [model, region] = event.groups;
        let named = [("value", Some(value.as_str())), ("model", model), ("region", region)];
        let data: BTreeMap<_, _> = named.into_iter().filter_map(|(a, b)| Some((a, b?))).collect();
        let meters = self.state.catalog().meters_of(environment, &event.event_type);
        let mut data = Data(data);
        meters.iter().filter_map(|it: &Arc<_>| it.read(event.time, &mut data)).collect()
    }

    /// Every byte of the closed windows, and the cells and segments.
    pub(super) fn archived(&self) -> (Vec<Vec<u8>>, Vec<String>) {
        let windows = self.archive.windows.values().map(ClosedWindow::encode);
        let cells = self.archive.cells.iter().map(|it| format!("{it:?}"));
        let segments = self.archive.segments.iter().map(|it| format!("{it:?}"));
        (windows.collect(), cells.chain(segments).collect())
    }

    /// Every byte that a checkpoint now would hold.
    pub(super) fn bytes(&self) -> Vec<Vec<u8>> {
        let slices = (0..self.state.slice_count()).map(|it| self.state.encode_slice(it));
        std::iter::once(self.state.encode_head()).chain(slices).collect()
    }
}
