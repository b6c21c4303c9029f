//! A recount: a plain fold over the events that were accepted, written without the core's sums.

use std::collections::{BTreeMap, BTreeSet};

use plimsoll_core::{
    catalog::meter::Aggregation,
    entitlement::period::Window,
    ids::CustomerId,
    quantity::Quantity,
    time::{DAY_MS, Timestamp},
};

use super::super::{RowKey, Step, UsageQuery, UsageRow};

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;

/// An event as the recount remembers it.
#[derive(Debug, Clone)]
pub(super) struct Fact {
    pub(super) customer: CustomerId,
    pub(super) time: Timestamp,
    /// The number that it carries, if any.
    pub(super) value: Option<i64>,
    pub(super) groups: [Option<Box<str>>; 2],
}

/// The rows that a query should give.
pub(super) fn recount(facts: &[Fact], query: &UsageQuery) -> Vec<UsageRow> {
    let mut rows: BTreeMap<RowKey, (Window, Vec<&Fact>)> = BTreeMap::new();
    if !query.by_customer && query.by.is_empty() {
        let mut from = query.range.from;
        while from < query.range.to {
            let window = window_of(query.step, from, query.range);
            rows.insert(RowKey { customer: None, from, group: Vec::new() }, (window, Vec::new()));
            from = window.to;
        }
    }
    let counted = facts.iter().filter(|it| {
        query.range.from <= it.time
            && it.time < query.range.to
            && query.customers.as_ref().is_none_or(|customers| customers.contains(&it.customer))
            && query.filters.iter().all(|(place, wanted)| {
                it.groups[*place].as_ref().is_some_and(|it| wanted.contains(it))
            })
            && (it.value.is_some() || query.meter.aggregation == Aggregation::Count)
    });
    for fact in counted {
        let window = window_of(query.step, fact.time, query.range);
        let key = RowKey {
            customer: query.by_customer.then_some(fact.customer),
            from: window.from,
            group: query.by.iter().map(|it| fact.groups[*it].clone()).collect(),
        };
        rows.entry(key).or_insert((window, Vec::new())).1.push(fact);
    }
    let row = |(key, (window, facts)): (RowKey, (Window, Vec<&Fact>))| UsageRow {
        window,
        customer: key.customer,
        group: key.group,
        value: value_of(&query.meter.aggregation, &facts, window),
    };
    rows.into_iter().map(row).collect()
}

fn window_of(step: Step, time: Timestamp, range: Window) -> Window {
    let fixed = |length: i64| {
        let from = time.as_ms() - time.as_ms().rem_euclid(length);
        (from, from + length)
    };
    let (from, to) = match step {
        Step::Minute => fixed(MINUTE_MS),
        Step::Hour => fixed(HOUR_MS),
        Step::Day => fixed(DAY_MS),
        Step::Month => month_of(time),
        Step::Whole => (range.from.as_ms(), range.to.as_ms()),
    };
    let (from, to) = (from.max(range.from.as_ms()), to.min(range.to.as_ms()));
    Window { from: Timestamp::from_ms(from), to: Timestamp::from_ms(to) }
}

/// By the text of the time: the month begins on its first day and ends where the next one begins.
fn month_of(time: Timestamp) -> (i64, i64) {
    let text = time.to_string();
    let (year, month): (i64, i64) = (text[..4].parse().unwrap(), text[5..7].parse().unwrap());
    let first = |year: i64, month: i64| {
        format!("{year:04}-{month:02}-01T00:00:00Z").parse::<Timestamp>().unwrap().as_ms()
    };
    let next = if month == 12 { first(year + 1, 1) } else { first(year, month + 1) };
    (first(year, month), next)
}

fn value_of(aggregation: &Aggregation, facts: &[&Fact], window: Window) -> Option<Quantity> {
    let values = || facts.iter().filter_map(|it| it.value);
    let whole = Quantity::from_integer;
    let sum: i64 = values().sum();
    match aggregation {
        Aggregation::Count => Some(whole(facts.len() as i64)),
        Aggregation::Sum { .. } | Aggregation::BucketedSum { .. } => Some(whole(sum)),
        Aggregation::SumWithMultiplier { .. } => whole(sum).rounded_div(whole(2)),
        Aggregation::Average { .. } => whole(sum).rounded_div(whole(facts.len() as i64)),
        Aggregation::Min { .. } => values().min().map(whole),
        Aggregation::Max { .. } => values().max().map(whole),
        Aggregation::Latest { .. } => {
            let latest = facts.iter().max_by_key(|it| it.time);
            latest.and_then(|it| it.value).map(whole)
        }
        Aggregation::UniqueCount { .. } => {
            Some(whole(values().collect::<BTreeSet<_>>().len() as i64))
        }
        Aggregation::WeightedSum { .. } => {
            let end = window.to.as_ms();
            let weighted = facts.iter().map(|it| it.value.unwrap_or(0) * (end - it.time.as_ms()));
            whole(weighted.sum()).rounded_div(whole(end - window.from.as_ms()))
        }
        Aggregation::BucketedMax { .. } => {
            let mut maxima: BTreeMap<i64, i64> = BTreeMap::new();
            for fact in facts {
                let value = fact.value.unwrap_or(0);
                let bucket = maxima.entry(fact.time.as_ms() / (15 * MINUTE_MS)).or_insert(value);
                *bucket = value.max(*bucket);
            }
            Some(whole(maxima.values().sum()))
        }
    }
}
