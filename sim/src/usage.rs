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
    log::{Counts, Reading, amount},
    model::{Amount, sheet},
    period::Period,
};

/// Days that one request asks for at the most: the engine has a bound on hours.
const DAYS_MOST: i64 = 400;
const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// Usage by customer and day.
type ByDay = BTreeMap<(String, i64), Amount>;

/// Compares what each meter measured for each customer on each day, and says how many rows that is.
pub async fn compare(engine: &Engine, context: &Context, books: &Books) -> (u64, Findings) {
    let (mut rows, mut findings) = (0, Findings::new());
    for (meter, counts) in books.meters() {
        let mut expected = expected(&books.used(meter), counts);
        let Some(last) = expected.keys().map(|it| it.1).max() else { continue };
        expected.retain(|it, _| it.1 > last - DAYS_MOST * DAY_MS);
        let first = expected.keys().map(|it| it.1).min().unwrap_or(last);
        let found = match read(engine, context, &meter.to_string(), (first, last + DAY_MS)).await {
            Ok(found) => found,
            Err(finding) => {
                findings.push(format!("usage of {meter} cannot be read: {finding}"));
                continue;
            }
        };
        rows += expected.len() as u64;
        for (key, value) in &expected {
            if found.get(key) != Some(value) {
                let found = found.get(key);
                findings.push(format!("{meter} of {key:?} is {found:?}, must be {value}"));
            }
        }
        for (key, value) in found.iter().filter(|it| !expected.contains_key(it.0)) {
            findings.push(format!("{meter} of {key:?} is {value}, and must not be there"));
        }
    }
    (rows, findings)
}

fn expected(used: &[(String, i64, Vec<Reading>)], counts: Counts) -> ByDay {
    let mut by_day: BTreeMap<(String, i64), Vec<Reading>> = BTreeMap::new();
    for (customer, hour_ms, readings) in used {
        let day = Period::Day.window_at(*hour_ms).0;
        by_day.entry((customer.clone(), day)).or_default().extend(readings.iter().cloned());
    }
    by_day.into_iter().map(|(key, it)| (key, sheet::value_of(&it, counts))).collect()
}

async fn read(
    engine: &Engine,
    context: &Context,
    meter: &str,
    (from_ms, to_ms): (i64, i64),
) -> Result<ByDay, String> {
    let text = |ms| plimsoll_core::time::Timestamp::from_ms(ms).to_string();
    let request = json!({"meter": meter, "group_by": "customer", "window": "day", "limit": 1000,
        "from": text(from_ms), "to": text(to_ms)});
    let mut request: UsageRequest =
        parse_request(request.to_string().as_bytes()).map_err(|it| it.to_string())?;
    let mut by_day = ByDay::new();
    loop {
        let page = engine.ops.usage(context, request.clone()).await;
        let page: Usage = page.map_err(|it| it.to_string())?;
        for item in page.items {
            let customer = item.customer.ok_or("a row is nobody's")?.to_string();
            let value = item.value.and_then(|it| amount(&it.to_string()));
            let value = value.ok_or_else(|| format!("{customer} has a row without a value"))?;
            if by_day.insert((customer.clone(), item.from.as_ms()), value).is_some() {
                return Err(format!("{customer} has two rows from {}", item.from));
            }
        }
        request.cursor = page.next_cursor;
        if request.cursor.is_none() {
            return Ok(by_day);
        }
    }
}
