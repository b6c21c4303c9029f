//! Durable ingest in batches: how many events a second are answered 200.
//!
//! Every customer has one entitlement under a rule of five percentage lines, crossed during
//! the run when there are few customers; the webhooks go to a receiver in this process.
//!
//! Not here: the answer's correctness; the whole-process tests count what was accepted.

use std::sync::{Arc, atomic::AtomicU32};

use tokio::sync::mpsc;

use super::{Driven, drive};
use crate::{
    Failure,
    baseline::EmptyHandler,
    events::{Request, Sequence, Template},
    machine,
    options::Bench,
    product::{KEY, Product},
    receiver::Receiver,
    redis::Redis,
    report::Figure,
    setup::{self, Api},
};

/// The event type that is metered.
pub(crate) const EVENT_TYPE: &str = "llm.request";
/// The feature under five lines.
pub(crate) const FEATURE: &str = "tokens";
/// The lines of the rule, in percent of the limit.
pub(crate) const PERCENTAGES: [u32; 5] = [50, 75, 80, 90, 100];
/// An event has half as many tokens on average.
const TOKENS_MAX: u32 = 512;
/// Different requests that each connection has ready.
const REQUESTS_PER_CONNECTION: u32 = 8;

/// Measures Redis if there is one, the empty handler, then the product.
pub(crate) async fn run(options: &Bench) -> Result<Vec<Figure>, Failure> {
    let options = &options.with_many_customers();
    let mut figures = Vec::new();
    if let Some(redis) = Redis::start(options).await? {
        figures.push(redis.increments(options.seconds).await?);
    }
    let empty = EmptyHandler::start().await?;
    let sequence = Arc::new(AtomicU32::new(0));
    let ceiling = drive(empty.address, requests(options, "e"), &sequence, options.seconds).await?;
    drop(empty);
    let measured = measure(options).await?.against(ceiling.events_per_second());
    let figure = match figures.first() {
        Some(increments) => {
            let ratio = measured.value / increments.value;
            measured.with("x Redis", ratio)
        }
        None => measured,
    };
    figures.push(figure);
    Ok(figures)
}

/// Measures the product alone.
pub(crate) async fn measure(options: &Bench) -> Result<Figure, Failure> {
    let sequence = Arc::new(AtomicU32::new(0));
    let (arrivals, _kept_open) = mpsc::unbounded_channel();
    let receiver = Receiver::start(arrivals).await?;
    let product = Product::start(options).await?;
    prepare(options, &product, &receiver, Some(options.limit)).await?;
    machine::say(&format!("{} customers are made; measuring", options.customers()));
    let disk_before = product.disk_bytes();
    let cpu_before_ms = machine::cpu_ms(product.process()).unwrap_or_default();
    let requests = requests(options, "b");
    let event_bytes =
        requests.first().and_then(|it| it.first()).map_or(0, Request::bytes_per_event);
    let driven = drive(product.address, requests, &sequence, options.seconds).await?;
    let cpu_ms = machine::cpu_ms(product.process()).unwrap_or_default() - cpu_before_ms;
    let figure = figure(&driven)
        .of_customers(options.customers())
        .with("bytes an event", event_bytes as f64)
        .with("product CPU s per 1M", cpu_ms as f64 * 1e3 / driven.events as f64)
        .with("webhooks", receiver.received() as f64);
    let figure = if options.database_url.is_some() {
        // The data folder holds nothing but the address.
        figure
    } else {
        let grown = product.disk_bytes().saturating_sub(disk_before);
        figure.with("disk bytes an event", grown as f64 / driven.events as f64)
    };
    product.stop().await?;
    Ok(figure)
}

fn figure(driven: &Driven) -> Figure {
    Figure::new("durable ingest, batches", driven.events_per_second(), "events/s")
        .with("p50 ms", driven.latency.at_ms(0.5))
        .with("p99 ms", driven.latency.at_ms(0.99))
        .with("pushed back", driven.pushed_back as f64)
}

/// Makes the catalogue, the rule, its channel and the customers `c-000000` ….
pub(crate) async fn prepare(
    options: &Bench,
    product: &Product,
    receiver: &Receiver,
    limit: Option<u64>,
) -> Result<(), Failure> {
    let mut api = Api::open(product.address).await?;
    api.meter_and_feature(FEATURE, EVENT_TYPE).await?;
    let channel = api.channel("bench", &receiver.url()).await?;
    api.rule(FEATURE, "usage_percentage", &PERCENTAGES, &channel, None).await?;
    setup::customers(product.address, "c", options.customers(), FEATURE, limit).await?;
    for rule in 1..options.rules {
        let watched = setup::subject("c", rule % options.customers());
        api.rule(FEATURE, "usage_percentage", &PERCENTAGES, &channel, Some(&watched)).await?;
    }
    Ok(())
}

/// Ready-made batches for each connection, over all customers.
pub(crate) fn requests(options: &Bench, run: &str) -> Vec<Vec<Request>> {
    let mut random = Sequence(7);
    let time = plimsoll_core::time::Timestamp::from_ms(machine::epoch_ms());
    let batch = |connection: u32, number: u32, random: &mut Sequence| {
        let usage: Vec<(String, u32)> = (0..options.batch)
            .map(|_| {
                let customer = setup::subject("c", random.below(options.customers()));
                (customer, 1 + random.below(TOKENS_MAX - 1))
            })
            .collect();
        let run = format!("{run}{connection}.{number}");
        Request::new(Template { key: KEY, run: &run, event_type: EVENT_TYPE, time }, &usage)
    };
    (0..options.connections)
        .map(|connection| {
            (0..REQUESTS_PER_CONNECTION)
                .map(|number| batch(connection, number, &mut random))
                .collect()
        })
        .collect()
}
