//! The words of a script: what each of them stands for.

use std::collections::BTreeMap;

use crate::{
    catalog::meter::{Aggregation, EventData, FoundValue, ValuePath},
    entitlement::{period::Interval, source::Limits},
    line::{LineGroup, LineKind},
    metering::bucket::Bucket,
    quantity::Quantity,
    time::Timestamp,
};

/// `80%` of the limit, `800` used, `left:200` and `left:20%` of the limit, `every:100`,
/// `limit:80`, `soft:80` and `tier:75` percent of a typed rule; `@model:gpt` of one group,
/// `@model` of each.
pub(super) fn line_of(word: &str) -> (LineKind, Quantity, Option<LineGroup>) {
    let (word, group) = word.split_once('@').map_or((word, None), |(a, b)| (a, Some(b)));
    let group = group.map(|it| {
        let (key, value) = it.split_once(':').map_or((it, None), |(a, b)| (a, Some(b)));
        LineGroup { key: key.into(), value: value.map(Box::from) }
    });
    let (kind, value) = match word.split_once(':') {
        Some(("left", left)) => match left.strip_suffix('%') {
            Some(percent) => (LineKind::BalancePercentage, percent),
            None => (LineKind::BalanceValue, left),
        },
        Some(("limit", percent)) => (LineKind::Limit, percent),
        Some(("soft", percent)) => (LineKind::SoftLimit, percent),
        Some(("tier", percent)) => (LineKind::TierLimit, percent),
        Some(("every", step)) => (LineKind::Every, step),
        Some(_) => panic!("no such line: {word}"),
        None => match word.strip_suffix('%') {
            Some(percent) => (LineKind::UsagePercentage, percent),
            None => (LineKind::UsageValue, word),
        },
    };
    let value = quantity(value);
    (kind, value, group)
}

/// What an event holds, by name.
pub(in super::super) struct Data<'a>(pub(in super::super) BTreeMap<&'a str, &'a str>);

impl EventData for Data<'_> {
    fn find(&mut self, path: &ValuePath) -> FoundValue<'_> {
        let name = path.members().join(".");
        self.0.get(name.as_str()).map_or(FoundValue::Missing, |it| FoundValue::Text(it))
    }
}

pub(super) fn aggregation_of(text: &str) -> Aggregation {
    let value = "$.value".parse().unwrap();
    let bucket = |name: &str| Bucket::ALL.into_iter().find(|it| it.name() == name).unwrap();
    match text.split_once(['/', '*']) {
        Some(("sum", factor)) if text.contains('*') => {
            Aggregation::SumWithMultiplier { value, multiplier: quantity(factor) }
        }
        Some(("sum", length)) => Aggregation::BucketedSum { value, bucket: bucket(length) },
        Some(("max", length)) => Aggregation::BucketedMax { value, bucket: bucket(length) },
        Some(_) => panic!("no such aggregation: {text}"),
        None => match text {
            "count" => Aggregation::Count,
            "sum" => Aggregation::Sum { value },
            "max" => Aggregation::Max { value },
            "latest" => Aggregation::Latest { value },
            "unique" => Aggregation::UniqueCount { value },
            _ => panic!("no such aggregation: {text}"),
        },
    }
}

pub(super) fn interval_of(text: &str) -> Interval {
    match text {
        "hour" => Interval::Hour,
        "day" => Interval::Day,
        "week" => Interval::Week,
        "month" => Interval::Month,
        "quarter" => Interval::Quarter,
        "half-year" => Interval::HalfYear,
        "year" => Interval::Year,
        "never" => Interval::Never,
        "billing" => Interval::BillingCycle,
        other => panic!("no such interval: {other}"),
    }
}

pub(super) fn limits_of(text: &str) -> (Limits, Vec<Quantity>) {
    let (text, tiers) = text.split_once("tiers:").map_or((text, ""), |it| it);
    let tiers = tiers.split(',').filter(|it| !it.is_empty()).map(quantity).collect();
    let limit = |it: &str| (!matches!(it, "-" | "unlimited" | "")).then(|| quantity(it));
    let (hard, soft) = text.split_once('/').unwrap_or((text, "-"));
    (Limits { hard: limit(hard), soft: limit(soft) }, tiers)
}

pub(super) fn quantity(text: &str) -> Quantity {
    text.parse().unwrap()
}

/// `2026-03-01`, `2026-03-01 10:00` or `2026-03-01 10:00:30`.
pub(super) fn time(text: &str) -> Timestamp {
    let text = match text.len() {
        10 => format!("{text}T00:00:00Z"),
        16 => format!("{}:00Z", text.replace(' ', "T")),
        _ => format!("{}Z", text.replace(' ', "T")),
    };
    text.parse().unwrap()
}
