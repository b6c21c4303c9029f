//! Arbitrary commands: few ids, so that they meet, and every number that fits.
//!
//! Not here: histories that make sense (`src/state/tests/history.rs`).

use std::sync::Arc;

use plimsoll_core::{
    catalog::{
        feature::{Feature, FeatureKind},
        meter::{Aggregation, Meter},
    },
    command::{Command, ControlCommand, CustomerCommand},
    entitlement::{
        Entitlement, EntitlementKind,
        period::{Interval, UsagePeriod},
    },
    ids::{
        ChannelId, CustomerId, EntitlementId, EnvironmentId, FeatureId, LineId, MeterId, RuleId,
    },
    line::{Line, LineKind},
    quantity::Quantity,
    rule::{Rule, RuleKind, WhenSeveral},
    time::Timestamp,
};
use proptest::prelude::*;

/// One of a few ids of a kind.
macro_rules! few {
    ($id:ident) => {
        (0_u128..4).prop_map($id::from_bits)
    };
}

pub(crate) fn quantities() -> impl Strategy<Value = Quantity> {
    let digits =
        prop_oneof!["-?[0-9]{1,3}(\\.[0-9]{1,2})?", "-?[0-9]{1,14}\\.[0-9]{1,14}", "[0-9]{28}"];
    digits.prop_map(|it| it.parse().expect("at most 28 digits are a quantity"))
}

pub(crate) fn times() -> impl Strategy<Value = Timestamp> {
    let any = any::<i64>();
    prop_oneof![3 => 1_700_000_000_000_i64..1_710_000_000_000, 1 => any]
        .prop_map(Timestamp::from_ms)
}

fn documents() -> impl Strategy<Value = Arc<[u8]>> {
    prop::collection::vec(any::<u8>(), 0..20).prop_map(Arc::from)
}

fn meters() -> impl Strategy<Value = Meter> {
    let path = prop::sample::select(vec!["$.tokens", "$.a.b['c d']", "$['ünï']"]);
    let aggregation = prop_oneof![
        Just(Aggregation::Count),
        path.prop_map(|it| Aggregation::Sum { value: it.parse().expect("these are paths") }),
    ];
    (few!(MeterId), few!(EnvironmentId), ".{0,12}", aggregation).prop_map(
        |(id, environment, event_type, aggregation)| {
            let event_type = event_type.into();
            Meter { id, environment, event_type, aggregation }
        },
    )
}

fn features() -> impl Strategy<Value = Feature> {
    let kind = prop_oneof![
        4 => few!(MeterId).prop_map(|meter| FeatureKind::Metered { meter }),
        1 => Just(FeatureKind::Boolean),
        1 => Just(FeatureKind::Static),
    ];
    (few!(FeatureId), few!(EnvironmentId), kind, documents())
        .prop_map(|(id, environment, kind, document)| Feature { id, environment, kind, document })
}

fn lines() -> impl Strategy<Value = Line> {
    let kind = prop::sample::select(vec![
        LineKind::UsagePercentage,
        LineKind::UsageValue,
        LineKind::BalanceValue,
        LineKind::Limit,
    ]);
    (few!(LineId), kind, quantities()).prop_map(|(id, kind, value)| Line { id, kind, value })
}

fn rules() -> impl Strategy<Value = Rule> {
    let kind = prop::sample::select(vec![
        RuleKind::BalanceThreshold,
        RuleKind::LimitWarning,
        RuleKind::LimitReached,
    ]);
    let scope = (
        prop::collection::vec(few!(FeatureId), 0..3),
        prop::collection::vec(few!(CustomerId), 0..3),
        prop::collection::vec(few!(ChannelId), 0..3),
    );
    let flags = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    let lines = prop::collection::vec(lines(), 0..5);
    (few!(RuleId), few!(EnvironmentId), kind, scope, lines, quantities(), flags, documents())
        .prop_map(|(id, environment, kind, scope, lines, hysteresis, flags, document)| {
            let (features, customers, channels) = scope;
            let (highest, sends_resolved, evaluate_on_create, disabled) = flags;
            let when_several = if highest { WhenSeveral::Highest } else { WhenSeveral::Each };
            Rule {
                id,
                environment,
                kind,
                features,
                customers,
                lines,
                channels,
                when_several,
                sends_resolved,
                hysteresis,
                evaluate_on_create,
                disabled,
                document,
            }
        })
}

fn entitlements() -> impl Strategy<Value = Entitlement> {
    let interval = prop::sample::select(vec![
        Interval::Hour,
        Interval::Day,
        Interval::Week,
        Interval::Month,
        Interval::Year,
    ]);
    let period = (interval, prop::option::of(times()))
        .prop_map(|(interval, anchor)| UsagePeriod { interval, anchor });
    let kind = prop_oneof![
        6 => (prop::option::of(quantities()), period)
            .prop_map(|(limit, period)| EntitlementKind::Metered { limit, period }),
        1 => Just(EntitlementKind::Boolean),
        1 => Just(EntitlementKind::Static),
    ];
    (few!(EntitlementId), few!(FeatureId), kind).prop_map(|(id, feature, kind)| Entitlement {
        id,
        feature,
        kind,
    })
}

fn controls() -> impl Strategy<Value = ControlCommand> {
    prop_oneof![
        4 => meters().prop_map(ControlCommand::PutMeter),
        1 => few!(MeterId).prop_map(ControlCommand::DeleteMeter),
        4 => features().prop_map(ControlCommand::PutFeature),
        1 => few!(FeatureId).prop_map(ControlCommand::DeleteFeature),
        6 => rules().prop_map(ControlCommand::PutRule),
        1 => (few!(EnvironmentId), few!(RuleId))
            .prop_map(|(environment, rule)| ControlCommand::DeleteRule { environment, rule }),
    ]
}

fn changes() -> impl Strategy<Value = CustomerCommand> {
    let customer = || few!(CustomerId);
    prop_oneof![
        4 => customer().prop_map(|customer| CustomerCommand::Create { customer }),
        1 => customer().prop_map(|customer| CustomerCommand::Delete { customer }),
        8 => (customer(), entitlements()).prop_map(|(customer, entitlement)| {
            CustomerCommand::PutEntitlement { customer, entitlement }
        }),
        1 => (customer(), few!(EntitlementId)).prop_map(|(customer, entitlement)| {
            CustomerCommand::DeleteEntitlement { customer, entitlement }
        }),
    ]
}

pub(crate) fn commands() -> impl Strategy<Value = Command> {
    let environment = || few!(EnvironmentId);
    prop_oneof![
        (any::<u64>(), controls()).prop_map(|(seq, command)| Command::Control { seq, command }),
        (environment(), times(), changes()).prop_map(|(environment, stamped_at, command)| {
            Command::Customer { environment, stamped_at, command }
        }),
        (environment(), times(), any::<u32>(), any::<u32>()).prop_map(
            |(environment, stamped_at, from, to)| {
                Command::Slice { environment, stamped_at, from, to }
            }
        ),
    ]
}
