//! Compares usage by time, as the engine reads it from closed and open cells, with the naive sums
//! over every accepted event.
//!
//! Not here: values of entitlements (`check`).

use std::collections::BTreeMap;

use plimsoll_engine::{
    engine::Engine,
    ops::{
        Context,
        request::parse_request,
        usage::{Usage, UsageRequest},
    },
};
use serde_json::json;

use crate::{
    check::{Books, Findings},
    log::{Counts, amount},
    model::{
        Amount,
        sheet::{self, Came},
    },
    period::Length,
};

/// Days that one request asks for at the most: the engine has a bound on hours.
const DAYS_MOST: i64 = 400;
const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// Usage by customer, day and value of a group-by key, if it is told apart by one.
type Rows = BTreeMap<(String, i64, Option<String>), Amount>;

/// Compares what each meter measured for each customer on each day, all of it and by each key that
/// it is told apart by, and says how many rows that is.
pub async fn compare(engine: &Engine, context: &Context, books: &Books) -> (u64, Findings) {
    let (mut rows, mut findings) = (0, Findings::new());
    for (meter, (counts, keys)) in books.meters() {
        let used = books.used(meter);
        for key in [None].into_iter().chain(keys.iter().map(|it| Some(&**it))) {
            let mut expected = expected(&used, counts, key);
            let Some(last) = expected.keys().map(|it| it.1).max() else { continue };
            expected.retain(|it, _| it.1 > last - DAYS_MOST * DAY_MS);
            let first = expected.keys().map(|it| it.1).min().unwrap_or(last);
            let range = (first, last + DAY_MS);
            let found = match read(engine, context, (&meter.to_string(), key), range).await {
                Ok(found) => found,
                Err(finding) => {
                    findings.push(format!("usage of {meter} by {key:?} cannot be read: {finding}"));
                    continue;
                }
            };
            rows += expected.len() as u64;
            findings.extend(
                differences(&expected, &found).map(|it| format!("{meter} by {key:?} {it}")),
            );
        }
    }
    (rows, findings)
}

fn differences<'a>(expected: &'a Rows, found: &'a Rows) -> impl Iterator<Item = String> + 'a {
    let wrong = expected.iter().filter(|it| found.get(it.0) != Some(it.1));
    let wrong = wrong.map(|(key, value)| {
        let found = found.get(key);
        format!("of {key:?} is {found:?}, must be {value}")
    });
    let more = found.iter().filter(|it| !expected.contains_key(it.0));
    wrong.chain(more.map(|(key, value)| format!("of {key:?} is {value}, and must not be there")))
}

fn expected(used: &[(String, i64, Vec<Came>)], counts: Counts, key: Option<&str>) -> Rows {
    let mut by_day: BTreeMap<_, Vec<&Came>> = BTreeMap::new();
    for (customer, hour_ms, came) in used {
        let day = Length::Day.by_calendar().window_at(*hour_ms).0;
        for it in came {
            let value = it.groups.iter().find(|it| Some(&*it.0) == key).map(|it| it.1.clone());
            by_day.entry((customer.clone(), day, value)).or_default().push(it);
        }
    }
    let value = |it: Vec<&Came>| sheet::value_of(it.into_iter().map(|it| &it.reading), counts);
    by_day.into_iter().map(|(key, it)| (key, value(it))).collect()
}

async fn read(
    engine: &Engine,
    context: &Context,
    (meter, key): (&str, Option<&str>),
    (from_ms, to_ms): (i64, i64),
) -> Result<Rows, String> {
    let text = |ms| plimsoll_core::time::Timestamp::from_ms(ms).to_string();
    let by = key.map_or_else(|| "customer".to_owned(), |it| format!("customer,{it}"));
    let request = json!({"meter": meter, "group_by": by, "window": "day", "limit": 1000,
        "from": text(from_ms), "to": text(to_ms)});
    let mut request: UsageRequest =
        parse_request(request.to_string().as_bytes()).map_err(|it| it.to_string())?;
    let mut rows = Rows::new();
    loop {
        let page = engine.ops.usage(context, request.clone()).await;
        let page: Usage = page.map_err(|it| it.to_string())?;
        for item in page.items {
            let customer = item.customer.ok_or("a row is nobody's")?.to_string();
            let group = item.group.0.first().and_then(|it| it.1.as_ref());
            let key = (customer, item.from.as_ms(), group.map(ToString::to_string));
            let value = item.value.and_then(|it| amount(&it.to_string()));
            let value = value.ok_or_else(|| format!("{key:?} has a row without a value"))?;
            if rows.insert(key.clone(), value).is_some() {
                return Err(format!("{key:?} has two rows"));
            }
        }
        request.cursor = page.next_cursor;
        if request.cursor.is_none() {
            return Ok(rows);
        }
    }
}
