//! Arbitrary commands: few ids, so that they meet, and every number that fits.
//!
//! Not here: histories that make sense (`src/state/tests/history.rs`).

use std::sync::Arc;

use plimsoll_core::{
    catalog::{
        feature::{Feature, FeatureKind},
        meter::{Aggregation, Filter, GroupKey, Meter, ValuePath},
    },
    command::{Command, ControlCommand, CustomerCommand, ManualReset},
    entitlement::{
        Entitlement, EntitlementKind, Terms,
        grant::Grant,
        period::{Interval, UsagePeriod},
        source::Limits,
    },
    ids::{
        ChannelId, CustomerId, EntitlementId, EnvironmentId, FeatureId, GrantId, LineId, MeterId,
        RuleId,
    },
    line::{Line, LineGroup, LineKind},
    metering::bucket::Bucket,
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

fn paths() -> impl Strategy<Value = ValuePath> {
    let path = prop::sample::select(vec!["$.tokens", "$.a.b['c d']", "$['ünï']"]);
    path.prop_map(|it| it.parse().expect("these are paths"))
}

fn aggregations() -> impl Strategy<Value = Aggregation> {
    let bucket = prop::sample::select(Bucket::ALL.to_vec());
    (0..11_u8, paths(), quantities(), bucket).prop_map(|(kind, value, multiplier, bucket)| {
        match kind {
            0 => Aggregation::Sum { value },
            1 => Aggregation::SumWithMultiplier { value, multiplier },
            2 => Aggregation::BucketedSum { value, bucket },
            3 => Aggregation::Average { value },
            4 => Aggregation::Min { value },
            5 => Aggregation::Max { value },
            6 => Aggregation::BucketedMax { value, bucket },
            7 => Aggregation::Latest { value },
            8 => Aggregation::UniqueCount { value },
            9 => Aggregation::WeightedSum { value },
            _ => Aggregation::Count,
        }
    })
}

fn texts() -> impl Strategy<Value = Box<str>> {
    ".{0,6}".prop_map(String::into_boxed_str)
}

fn meters() -> impl Strategy<Value = Meter> {
    let group_by = (texts(), paths()).prop_map(|(name, path)| GroupKey { name, path });
    let filter = (paths(), prop::collection::vec(texts(), 0..3))
        .prop_map(|(path, values)| Filter { path, values });
    (
        (few!(MeterId), few!(EnvironmentId), ".{0,12}", aggregations()),
        prop::collection::vec(group_by, 0..3),
        prop::collection::vec(filter, 0..2),
    )
        .prop_map(|((id, environment, event_type, aggregation), group_by, filters)| {
            let event_type = event_type.into();
            Meter { id, environment, event_type, aggregation, group_by, filters }
        })
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
    let kind = prop::sample::select(LineKind::ALL.to_vec());
    let group = prop::option::of((texts(), prop::option::of(texts())))
        .prop_map(|it| it.map(|(key, value)| LineGroup { key, value }));
    (few!(LineId), kind, quantities(), group).prop_map(|(id, kind, value, group)| Line {
        id,
        kind,
        value,
        group,
    })
}

fn rules() -> impl Strategy<Value = Rule> {
    let kind = prop::sample::select(RuleKind::ALL.to_vec());
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

fn periods() -> impl Strategy<Value = UsagePeriod> {
    let interval = prop::sample::select(vec![
        Interval::Hour,
        Interval::Day,
        Interval::Week,
        Interval::Month,
        Interval::Quarter,
        Interval::HalfYear,
        Interval::Year,
        Interval::Never,
        Interval::BillingCycle,
    ]);
    (interval, prop::option::of(times()))
        .prop_map(|(interval, anchor)| UsagePeriod { interval, anchor })
}

fn limits() -> impl Strategy<Value = Limits> {
    (prop::option::of(quantities()), prop::option::of(quantities()))
        .prop_map(|(hard, soft)| Limits { hard, soft })
}

fn tiers() -> impl Strategy<Value = Vec<Quantity>> {
    prop::collection::vec(quantities(), 0..3)
}

fn terms() -> impl Strategy<Value = Terms> {
    (limits(), tiers(), periods(), any::<u8>(), any::<bool>()).prop_map(
        |(limits, tiers, period, limit_priority, preserves_overage)| Terms {
            tiers,
            limit_priority,
            preserves_overage,
            ..Terms::new(limits, period)
        },
    )
}

fn entitlements() -> impl Strategy<Value = Entitlement> {
    let kind = prop_oneof![
        6 => terms().prop_map(|it| EntitlementKind::Metered(Box::new(it))),
        1 => Just(EntitlementKind::Boolean),
        1 => Just(EntitlementKind::Static),
    ];
    (few!(EntitlementId), few!(FeatureId), kind).prop_map(|(id, feature, kind)| Entitlement {
        id,
        feature,
        kind,
    })
}

fn grants() -> impl Strategy<Value = Grant> {
    let amounts = (quantities(), quantities(), quantities());
    let times = (times(), prop::option::of(times()), prop::option::of(periods()));
    (few!(GrantId), any::<u8>(), amounts, times).prop_map(|(id, priority, amounts, times)| Grant {
        id,
        amount: amounts.0,
        priority,
        effective_at: times.0,
        expires_at: times.1,
        recurrence: times.2,
        min_rollover: amounts.1,
        max_rollover: amounts.2,
    })
}

fn resets() -> impl Strategy<Value = ManualReset> {
    (times(), any::<bool>(), prop::option::of(any::<bool>())).prop_map(
        |(at, retains_anchor, preserves_overage)| ManualReset {
            at,
            retains_anchor,
            preserves_overage,
        },
    )
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
        1 => (few!(EnvironmentId), times())
            .prop_map(|(environment, now)| ControlCommand::SetClock { environment, now }),
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
        4 => (customer(), few!(EntitlementId), grants()).prop_map(
            |(customer, entitlement, grant)| {
                CustomerCommand::PutGrant { customer, entitlement, grant }
            }
        ),
        1 => (customer(), few!(EntitlementId), few!(GrantId), times()).prop_map(
            |(customer, entitlement, grant, at)| {
                CustomerCommand::VoidGrant { customer, entitlement, grant, at }
            }
        ),
        1 => (customer(), few!(EntitlementId), resets()).prop_map(
            |(customer, entitlement, reset)| {
                CustomerCommand::ResetEntitlement { customer, entitlement, reset }
            }
        ),
        1 => (customer(), few!(EntitlementId), limits(), tiers(), times()).prop_map(
            |(customer, entitlement, limits, tiers, at)| {
                CustomerCommand::ChangeLimits { customer, entitlement, limits, tiers, at }
            }
        ),
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
        (environment(), times(), prop::collection::vec(0_u32..4, 0..4)).prop_map(
            |(environment, stamped_at, slots)| Command::Pulse { environment, stamped_at, slots }
        ),
    ]
}
