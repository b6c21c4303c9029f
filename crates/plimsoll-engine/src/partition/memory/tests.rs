//! Working off a clock that was set, without a store: what happens when, and in which portions.

use plimsoll_core::{
    catalog::{
        feature::{Feature, FeatureKind},
        meter::{Aggregation, Meter},
    },
    entitlement::{
        Entitlement, EntitlementKind, Terms,
        grant::Grant,
        period::{Interval, UsagePeriod},
        source::Limits,
    },
    ids::{CustomerId, FeatureId, GrantId, LineId, MeterId, RuleId},
    line::{Line, LineKind},
    quantity::Quantity,
    rule::{Rule, RuleKind, WhenSeveral},
};

use super::*;

const HERE: EnvironmentId = EnvironmentId::from_bits(1);
const METER: MeterId = MeterId::from_bits(2);
const FEATURE: FeatureId = FeatureId::from_bits(3);

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn catalogue() -> [ControlCommand; 3] {
    let meter = Meter {
        id: METER,
        environment: HERE,
        event_type: "use".into(),
        aggregation: Aggregation::Count,
        group_by: Vec::new(),
        filters: Vec::new(),
    };
    let kind = FeatureKind::Metered { meter: METER };
    let feature =
        Feature { id: FEATURE, environment: HERE, kind, document: b"{}".as_slice().into() };
    let line = Line {
        id: LineId::from_bits(4),
        kind: LineKind::BalanceValue,
        value: Quantity::from_integer(120),
        group: None,
    };
    let rule = Rule {
        id: RuleId::from_bits(5),
        environment: HERE,
        kind: RuleKind::BalanceThreshold,
        features: Vec::new(),
        customers: Vec::new(),
        lines: vec![line],
        channels: Vec::new(),
        when_several: WhenSeveral::Each,
        sends_resolved: false,
        hysteresis: Quantity::ZERO,
        evaluate_on_create: false,
        disabled: false,
        document: b"{}".as_slice().into(),
    };
    [
        ControlCommand::PutMeter(meter),
        ControlCommand::PutFeature(feature),
        ControlCommand::PutRule(rule),
    ]
}

/// So many customers with a daily limit of 100 in a sandbox whose clock was set to `now`.
fn sandbox(customers: u32, now: Timestamp) -> Memory {
    let mut memory = Memory::new(0, State::new(), Dedupe::new(0, 1 << 20, now), 0);
    let mut work = Work::default();
    let commands =
        catalogue().into_iter().chain([ControlCommand::SetClock { environment: HERE, now }]);
    for (seq, command) in (1..).zip(commands) {
        memory.control(&mut work, now, seq, command);
    }
    for number in 1..=u128::from(customers) {
        let customer = CustomerId::from_bits(number);
        let period = UsagePeriod { interval: Interval::Day, anchor: None };
        let terms = Terms::new(Limits::hard(Some(Quantity::from_integer(100))), period);
        let id = EntitlementId::from_bits(number);
        let kind = EntitlementKind::Metered(Box::new(terms));
        let entitlement = Entitlement { id, feature: FEATURE, kind };
        tell(
            &mut memory,
            customer,
            vec![
                CustomerCommand::Create { customer },
                CustomerCommand::PutEntitlement { customer, entitlement },
            ],
        );
    }
    memory
}

fn tell(memory: &mut Memory, customer: CustomerId, commands: Vec<CustomerCommand>) -> Work {
    let mut work = Work::default();
    let (statements, documents) = (Vec::new(), Vec::new());
    let (environment, opening) = (HERE, None);
    let change = CustomerChange { environment, customer, commands, statements, documents, opening };
    memory.change(&mut work, Timestamp::MIN, &change);
    work
}

fn set_clock(memory: &mut Memory, seq: u64, now: Timestamp) {
    let command = ControlCommand::SetClock { environment: HERE, now };
    memory.control(&mut Work::default(), now, seq, command);
}

#[test]
fn a_grant_that_expires_on_the_way_does_so_at_its_time() {
    let mut memory = sandbox(1, time("2026-03-01T06:00:00Z"));
    let (customer, entitlement) = (CustomerId::from_bits(1), EntitlementId::from_bits(1));
    let grant = Grant {
        id: GrantId::from_bits(9),
        amount: Quantity::from_integer(50),
        priority: 1,
        effective_at: time("2026-03-01T06:00:00Z"),
        expires_at: Some(time("2026-03-02T09:00:00Z")),
        recurrence: None,
        min_rollover: Quantity::ZERO,
        max_rollover: Quantity::from_integer(50),
    };
    let work = tell(
        &mut memory,
        customer,
        vec![CustomerCommand::PutGrant { customer, entitlement, grant }],
    );
    assert!(work.crossings.is_empty(), "{:?}", work.crossings);

    set_clock(&mut memory, 5, time("2026-03-03T12:00:00Z"));
    let mut work = Work::default();
    assert!(memory.settle_set_clocks(&mut work, Timestamp::MIN).is_empty());
    let resets: Vec<_> = work.resets.iter().map(|it| it.reset.at.to_string()).collect();
    assert_eq!(resets, ["2026-03-02T00:00:00Z", "2026-03-03T00:00:00Z"]);
    let crossings: Vec<_> = work
        .crossings
        .iter()
        .map(|it| format!("{} {}", it.crossing.at, it.crossing.cause.name()))
        .collect();
    assert_eq!(crossings, ["2026-03-02T09:00:00Z grant_expired"]);
}

#[test]
fn one_call_works_off_a_bounded_part_and_says_that_more_is_due() {
    const CUSTOMERS: u32 = 700;
    const DAYS: usize = 10;
    let mut memory = sandbox(CUSTOMERS, time("2026-03-01T06:00:00Z"));
    set_clock(&mut memory, 5, time("2026-03-11T06:00:00Z"));
    let mut seen = Vec::new();
    loop {
        let mut work = Work::default();
        let unsettled = memory.settle_set_clocks(&mut work, Timestamp::MIN);
        assert!(work.resets.len() < limits::SLICE + CUSTOMERS as usize);
        seen.extend(work.resets.iter().map(|it| it.reset.at));
        if unsettled.is_empty() {
            break;
        }
        // What is still due is not passed over in one step.
        let mut work = Work::default();
        memory.slice(&mut work, Timestamp::MIN, &unsettled);
        assert!(work.rows.is_empty());
    }
    assert_eq!(seen.len(), CUSTOMERS as usize * DAYS);
    assert!(seen.is_sorted());
}
