//! Measures `State::apply_usage`: nanoseconds an event, with many customers, no IO, one thread.
//!
//! `cargo run --release -p plimsoll-core --example apply`
//!
//! Not here: the path from a request to the disk (`bench/`).

#![expect(clippy::print_stdout, reason = "this is a command line tool")]
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "it measures time, which the core itself must never see"
)]

use std::{sync::Arc, time::Instant};

use plimsoll_core::{
    archive::{MemoryArchive, Settled},
    catalog::{
        feature::{Feature, FeatureKind},
        meter::{Aggregation, Meter, MeterReading},
    },
    command::{Command, ControlCommand, CustomerCommand},
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
    state::{RowStamp, State, UsageEvent},
    time::Timestamp,
};

const EVENTS: u64 = 5_000_000;
const ROW_EVENTS: u64 = 1_000;
/// Customers that are read ahead at a time.
const READ_AHEAD: usize = 100;
const ENVIRONMENT: EnvironmentId = EnvironmentId::from_parts(0, 1);
const METER: MeterId = MeterId::from_parts(0, 1);
const FEATURE: FeatureId = FeatureId::from_parts(0, 1);
const NOW: Timestamp = Timestamp::from_ms(1_772_000_000_000);

fn main() {
    // Five lines cut a limit of a million into parts that hundreds of events take to cross.
    for (customers, rules) in [(1_000, 1), (100_000, 1), (1_000_000, 1), (100_000, 200)] {
        let mut state = prepared(customers, rules);
        let (mut position, mut crossings) = (1_000_000, 0);
        let started = Instant::now();
        for row in 0..EVENTS / ROW_EVENTS {
            position += 1;
            let stamp = RowStamp { position, environment: ENVIRONMENT, stamped_at: NOW };
            crossings += usage_row(&mut state, stamp, row * ROW_EVENTS, customers);
        }
        let ns = started.elapsed().as_nanos() / u128::from(EVENTS);
        print!("{customers:>9} customers, {rules:>3} rules of 5 lines: ");
        println!("{ns:>4} ns an event, {crossings} crossings");
    }
}

/// Applies one row; gives how many crossings it brought about.
fn usage_row(state: &mut State, row: RowStamp, first: u64, customers: u64) -> usize {
    let (mut effects, mut archive) = (Vec::new(), MemoryArchive::default());
    // A multiplicative walk touches customers in no order that a cache could foresee.
    let whose = (first..first + ROW_EVENTS).map(|it| customer(scattered(it) % customers));
    let whose: Vec<CustomerId> = whose.collect();
    let amount = Ok(Amount::Quantity(Quantity::from_integer(1_000)));
    let readings = [MeterReading { meter: Arc::new(meter()), amount, groups: Vec::new() }];
    state.begin_usage(row);
    let mut index = 0;
    for chunk in whose.chunks(READ_AHEAD) {
        state.read_ahead(chunk.iter().copied());
        for customer in chunk.iter().copied() {
            let event = UsageEvent { customer, time: NOW, index, readings: &readings };
            state.apply_usage(row, event, &mut archive, &mut effects);
            index += 1;
        }
    }
    effects.len()
}

fn scattered(number: u64) -> u64 {
    let mixed = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb) >> 16
}

fn customer(number: u64) -> CustomerId {
    CustomerId::from_parts(0, u128::from(number.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
}

fn meter() -> Meter {
    Meter {
        id: METER,
        environment: ENVIRONMENT,
        event_type: "llm.request".into(),
        aggregation: Aggregation::Count,
        group_by: Vec::new(),
        filters: Vec::new(),
    }
}

fn prepared(customers: u64, rules: u128) -> State {
    let mut state = State::new();
    let mut position = 0;
    let mut apply = |command: Command| {
        position += 1;
        state.apply(position, &command, &mut Settled, &mut Vec::new());
    };
    let document: Arc<[u8]> = Arc::from(&b"{}"[..]);
    let kind = FeatureKind::Metered { meter: METER };
    let feature = Feature { id: FEATURE, environment: ENVIRONMENT, kind, document };
    apply(Command::Control { seq: 1, command: ControlCommand::PutMeter(meter()) });
    apply(Command::Control { seq: 2, command: ControlCommand::PutFeature(feature) });
    for number in 0..rules {
        let seq = 3 + number as u64;
        apply(Command::Control { seq, command: ControlCommand::PutRule(rule(number)) });
    }
    let (environment, stamped_at) = (ENVIRONMENT, NOW);
    for number in 0..customers {
        let customer = customer(number);
        let period = UsagePeriod { interval: Interval::Month, anchor: None };
        let limits = Limits::hard(Some(Quantity::from_integer(1_000_000)));
        let id = EntitlementId::from_parts(0, u128::from(number));
        let kind = EntitlementKind::Metered(Box::new(Terms::new(limits, period)));
        let entitlement = Entitlement { id, feature: FEATURE, kind };
        for command in [
            CustomerCommand::Create { customer },
            CustomerCommand::PutEntitlement { customer, entitlement },
        ] {
            apply(Command::Customer { environment, stamped_at, command });
        }
    }
    state
}

fn rule(number: u128) -> Rule {
    let lines = [20, 40, 60, 80, 100].map(|percent| Line {
        id: LineId::from_parts(0, number * 1_000 + percent as u128),
        kind: LineKind::UsagePercentage,
        value: Quantity::from_integer(percent),
        group: None,
    });
    Rule {
        id: RuleId::from_parts(0, number),
        environment: ENVIRONMENT,
        kind: RuleKind::BalanceThreshold,
        features: Vec::new(),
        customers: Vec::new(),
        lines: lines.to_vec(),
        channels: Vec::new(),
        when_several: WhenSeveral::Each,
        sends_resolved: false,
        hysteresis: Quantity::ZERO,
        evaluate_on_create: true,
        disabled: false,
        document: Arc::from(&b"{}"[..]),
    }
}
