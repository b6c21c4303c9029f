//! How long usage takes to be read: a month of 100,000 customers.
//!
//! Makes a store with the cells of 30 days: those of today by ingest, those before directly. Then
//! asks for the month's total by day, for one page of 1,000 customers by month, and for the month
//! of 1,000 customers by name.
//!
//!     cargo run --release -p plimsoll-engine --example usage_read [customers]
//!
//! Not here: HTTP.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a program of its own that fails by panicking, measures time and prints"
)]

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use plimsoll_core::{
    codec::{CORE_VERSION, Writer},
    ids::{CustomerId, EnvironmentId, MeterId},
    metering::{
        accumulator::Accumulator,
        cell::{Cell, CellKey, CellScope, Groups, Resolution},
    },
    quantity::Quantity,
    time::{DAY_MS, Timestamp},
};
use plimsoll_engine::{
    catalogue::subjects::Resolution as Subject,
    deps::{Deps, SystemClock, SystemRandom, TaskGroup},
    engine::{Engine, Options},
    ingest::Mode,
    ops::{
        Context, FirstKeys,
        request::parse_request,
        scalar::Time,
        usage::{Usage, UsageRequest},
    },
    vault::Vault,
};
use plimsoll_store::{
    Batch, Lane, SqliteStore, Store,
    archive::{self, CellRow},
};
use serde_json::json;

const DAYS: i64 = 30;
const ROUNDS: usize = 20;
/// Customers in one total, as in a partition.
const SLICE: usize = 4_096;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(run());
}

async fn run() {
    let customers = std::env::args().nth(1).map_or(100_000, |it| it.parse::<usize>().unwrap());
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(directory.path()).await.unwrap();
    let deps = Deps {
        store: Arc::clone(&store),
        clock: Arc::new(SystemClock::new()),
        random: Arc::new(SystemRandom),
        tasks: TaskGroup::new(),
    };
    let options = Options {
        partitions: 1,
        vault: Arc::new(Vault::new(&[7; 32], Arc::new(SystemRandom))),
        allow: "127.0.0.0/8".parse().unwrap(),
        keep_log_ms: None,
    };
    let engine = Engine::start(deps.clone(), options).await.unwrap();
    let FirstKeys { live, .. } = engine.ops.bootstrap(None).await.unwrap().unwrap();
    let caller = engine.ops.authenticate(&live.token).unwrap();
    let context = Context { caller, idempotency: None, now: deps.clock.now() };
    let meter = json!({"key": "tokens", "name": "Tokens", "event_type": "llm.request",
        "aggregation": "sum", "value_property": "$.tokens"});
    let meter = parse_request(&serde_json::to_vec(&meter).unwrap()).unwrap();
    let meter = engine.ops.create_meter(&context, meter).await.unwrap().id;

    let begun = Instant::now();
    let ids = use_today(&engine, context.environment(), customers).await;
    fill(&*store, meter, &ids, context.now).await;
    println!(
        "{customers} customers, {DAYS} days: filled in {:.1} s",
        begun.elapsed().as_secs_f64()
    );

    let today = Resolution::Day.start_of(context.now);
    let from = today.plus_ms(-(DAYS - 1) * DAY_MS);
    let request = |window: Option<&str>| UsageRequest {
        meter: "tokens".to_owned(),
        window: window.map(str::to_owned),
        from: Some(Time(from)),
        limit: Some(1_000),
        ..UsageRequest::default()
    };
    let by_customer =
        || UsageRequest { group_by: Some("customer".to_owned()), ..request(Some("month")) };
    measure("total by day", &engine, &context, &request(Some("day"))).await;
    measure("total", &engine, &context, &request(None)).await;
    let page = measure("1,000 customers by month", &engine, &context, &by_customer()).await;
    let cursor = page.next_cursor;
    let next = UsageRequest { cursor, ..by_customer() };
    measure("the next 1,000 customers by month", &engine, &context, &next).await;
    let named: Vec<_> = ids.iter().step_by((ids.len() / 1_000).max(1)).take(1_000).collect();
    let named: Vec<_> = named.iter().map(ToString::to_string).collect();
    let named = UsageRequest { customers: Some(named.join(",")), ..by_customer() };
    measure("1,000 named customers by month", &engine, &context, &named).await;
    engine.stop().await;
}

/// One event of each customer, today.
async fn use_today(
    engine: &Engine,
    environment: EnvironmentId,
    customers: usize,
) -> Vec<CustomerId> {
    let numbers: Vec<usize> = (0..customers).collect();
    for chunk in numbers.chunks(1_000) {
        let events = chunk.iter().map(|it| {
            json!({"specversion": "1.0", "id": it.to_string(), "source": "bench",
                "type": "llm.request", "subject": format!("customer-{it}"), "data": {"tokens": 1}})
        });
        let body = serde_json::to_vec(&events.collect::<Vec<_>>()).unwrap();
        let answer = engine.ingest.accept(environment, Bytes::from(body), Mode::Either).await;
        assert_eq!(answer.unwrap().accepted, chunk.len() as u64);
    }
    let subjects = engine.ops.catalogue().subjects();
    let resolved =
        numbers.iter().map(|it| match subjects.resolve(environment, &format!("customer-{it}")) {
            Some(Subject::Known { customer }) => customer,
            other => unreachable!("customer {it} is {other:?}"),
        });
    resolved.collect()
}

/// The days before today: 1 for each customer, and the totals.
async fn fill(store: &dyn Store, meter: MeterId, ids: &[CustomerId], now: Timestamp) {
    let today = Resolution::Day.start_of(now);
    let row = |scope, day: i64, value: usize| {
        let from = today.plus_ms(-day * DAY_MS);
        let total = Accumulator::Sum(Quantity::from_integer(value as i64));
        let mut writer = Writer::new();
        Cell { from, total, groups: Groups::Ungrouped }.encode(&mut writer);
        let key = CellKey { meter, scope, resolution: Resolution::Day, from };
        CellRow { key, core_version: CORE_VERSION, payload: writer.into_bytes().into() }
    };
    for day in 1..DAYS {
        let slices = (0_u32..).zip(ids.chunks(SLICE));
        let totals = slices.map(|(slice, ids)| row(CellScope::Slice(slice), day, ids.len()));
        put(store, totals.collect()).await;
        for ids in ids.chunks(10_000) {
            let cells = ids.iter().map(|it| row(CellScope::Customer(*it), day, 1));
            put(store, cells.collect()).await;
        }
    }
}

async fn put(store: &dyn Store, rows: Vec<CellRow>) {
    store.commit(Batch::new(Lane::Log, archive::put_cells(0, rows))).await.unwrap();
}

/// Asks again and again, and checks that nothing is missing.
async fn measure(name: &str, engine: &Engine, context: &Context, request: &UsageRequest) -> Usage {
    let mut times_ms = Vec::new();
    let mut last = None;
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        let usage = engine.ops.usage(context, request.clone()).await.unwrap();
        times_ms.push(begun.elapsed().as_secs_f64() * 1_000.0);
        last = Some(usage);
    }
    let usage = last.unwrap();
    let sum = usage.items.iter().filter_map(|it| it.value);
    let sum = sum.fold(Quantity::ZERO, |sum, it| sum.checked_add(it).unwrap());
    times_ms.sort_by(f64::total_cmp);
    let (first, middle, most) = (times_ms[0], times_ms[ROUNDS / 2], times_ms[ROUNDS - 1]);
    let rows = usage.items.len();
    println!("{name}: {rows} rows, sum {sum}, {middle:.1} ms ({first:.1} to {most:.1} ms)");
    usage
}
