//! From an event's first request byte to the last byte of its webhook, beside other usage.
//!
//! Each event that is sent crosses exactly one line: a customer has twenty lines at usage
//! 1 to 20, and its j-th event adds 1 token. Customers take turns, so that nobody is hit twice in a
//! row. The load is open: events are sent on a schedule, whatever became of those before.
//!
//! Not here: throughput (`ingest`).

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::mpsc;

use super::ingest;
use crate::{
    Failure,
    client::Connection,
    events::{Request, Template},
    machine,
    options::Bench,
    product::{KEY, Product},
    receiver::{Arrival, Receiver},
    report::{Figure, Percentiles},
    setup::{self, Api},
};

const EVENT_TYPE: &str = "bench.crossing";
const FEATURE: &str = "crossings";
/// Lines of the rule: as many as a rule may have.
const LINES: u32 = 20;
/// Connections that send crossings; more than are ever busy at once.
const SENDERS: u32 = 32;
/// How long the last webhooks may take before they count as lost.
const GRACE: Duration = Duration::from_secs(10);
/// Nobody is sent to before the connections are open and warm.
const LEAD: Duration = Duration::from_millis(500);

/// Measures once for each rate that was asked for, on a fresh store.
pub(crate) async fn run(options: &Bench) -> Result<Vec<Figure>, Failure> {
    let mut figures = Vec::new();
    for crossings_per_second in &options.crossings {
        figures.push(run_at(options, *crossings_per_second).await?);
    }
    Ok(figures)
}

async fn run_at(options: &Bench, crossings_per_second: u32) -> Result<Figure, Failure> {
    let (arrivals_in, arrivals) = mpsc::unbounded_channel();
    let receiver = Receiver::start(arrivals_in).await?;
    let product = Product::start(options).await?;
    // Without a limit no percentage line of the others is ever crossed.
    ingest::prepare(options, &product, &receiver, None).await?;
    let crossings = crossings_per_second * options.seconds as u32;
    let customers = crossings.div_ceil(LINES);
    let mut api = Api::open(product.address).await?;
    api.meter_and_feature(FEATURE, EVENT_TYPE).await?;
    let channel = api.channel("crossings", &receiver.url()).await?;
    let levels: Vec<u32> = (1..=LINES).collect();
    api.rule(FEATURE, "usage_value", &levels, &channel, None).await?;
    setup::customers(product.address, "x", customers, FEATURE, None).await?;

    let schedule = Arc::new(Schedule {
        address: product.address,
        start: machine::now() + LEAD,
        crossings_per_second,
        crossings,
        customers,
        next: AtomicU32::new(0),
        written: Mutex::new(HashMap::new()),
    });
    let background = machine::spawn(send_background(
        product.address,
        ingest::requests(options, "o").swap_remove(0),
        options.background,
        schedule.start,
        Duration::from_secs(options.seconds),
    ));
    let senders: Vec<_> =
        (0..SENDERS).map(|_| machine::spawn(Arc::clone(&schedule).send())).collect();
    for sender in senders {
        sender.await??;
    }
    let others = background.await??;
    let samples_ns = collect(arrivals, &schedule).await?;
    let failed = api.failed_attempts().await?;
    if let Some(first) = failed.first() {
        eprintln!(
            "{} webhooks were sent more than once; the first attempt of one: {first}",
            failed.len()
        );
    }
    product.stop().await?;
    let figure = figure(options, crossings_per_second, samples_ns, others);
    Ok(figure.with("sent again", failed.len() as f64))
}

fn figure(options: &Bench, per_second: u32, samples_ns: Vec<u64>, others: u64) -> Figure {
    let webhooks = samples_ns.len();
    let percentiles = Percentiles::new(samples_ns);
    Figure::new(format!("event to webhook, p99 at {per_second}/s"), percentiles.at_ms(0.99), "ms")
        .with("p50 ms", percentiles.at_ms(0.5))
        .with("p90 ms", percentiles.at_ms(0.9))
        .with("p99.9 ms", percentiles.at_ms(0.999))
        .with("max ms", percentiles.at_ms(1.0))
        .with("webhooks", webhooks as f64)
        .with("other events/s", others as f64 / options.seconds as f64)
}

/// Who sends which crossing when, and when it was really sent.
#[derive(Debug)]
struct Schedule {
    address: SocketAddr,
    start: Instant,
    crossings_per_second: u32,
    crossings: u32,
    customers: u32,
    next: AtomicU32,
    written: Mutex<HashMap<String, Instant>>,
}

impl Schedule {
    /// Takes the next crossing, waits for its moment, sends it; until none is left.
    async fn send(self: Arc<Self>) -> Result<(), Failure> {
        let mut connection = Connection::open(self.address).await?;
        let time = plimsoll_core::time::Timestamp::from_ms(machine::epoch_ms());
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if number >= self.crossings {
                return Ok(());
            }
            let (turn, customer) = (number / self.customers, number % self.customers);
            let run = format!("x{customer}");
            let template = Template { key: KEY, run: &run, event_type: EVENT_TYPE, time };
            let mut request = Request::new(template, &[(setup::subject("x", customer), 1)]);
            let bytes = request.renumber(turn);
            let offset = Duration::from_secs(number.into()) / self.crossings_per_second;
            machine::sleep_until(self.start + offset).await;
            let written = machine::now();
            self.note(format!("{run}-{turn:08}-0000"), written);
            let answer = connection.exchange(bytes).await?;
            if answer.status != 200 {
                let body = String::from_utf8_lossy(answer.body);
                return Err(format!("a crossing was answered {}: {body}", answer.status).into());
            }
        }
    }

    fn note(&self, event: String, written: Instant) {
        self.written.lock().expect("no holder of this lock panics").insert(event, written);
    }
}

/// Sends batches of other usage at `per_second` events; returns how many were accepted.
async fn send_background(
    address: SocketAddr,
    mut requests: Vec<Request>,
    per_second: u32,
    start: Instant,
    duration: Duration,
) -> Result<u64, Failure> {
    let mut connection = Connection::open(address).await?;
    let mut events = 0;
    let count = requests.len();
    if per_second == 0 {
        return Ok(0);
    }
    for turn in 0_u32.. {
        let request = &mut requests[turn as usize % count];
        let batch = request.len() as u32;
        let offset = Duration::from_secs(u64::from(turn) * u64::from(batch)) / per_second;
        if offset >= duration {
            break;
        }
        machine::sleep_until(start + offset).await;
        let answer = connection.exchange(request.renumber(turn)).await?;
        if answer.status == 200 {
            events += u64::from(batch);
        }
    }
    Ok(events)
}

/// Waits for a webhook of every crossing; the first arrival of each counts.
async fn collect(
    mut arrivals: mpsc::UnboundedReceiver<Arrival>,
    schedule: &Schedule,
) -> Result<Vec<u64>, Failure> {
    let mut first: HashMap<String, Instant> = HashMap::new();
    while (first.len() as u32) < schedule.crossings {
        let Ok(Some(arrival)) = tokio::time::timeout(GRACE, arrivals.recv()).await else {
            let lost = schedule.crossings as usize - first.len();
            return Err(format!("{lost} of {} webhooks did not arrive", schedule.crossings).into());
        };
        first.entry(arrival.event).or_insert(arrival.at);
    }
    let written = schedule.written.lock().expect("no holder of this lock panics");
    let samples = first.iter().filter_map(|(event, at)| {
        Some(at.saturating_duration_since(*written.get(event)?).as_nanos() as u64)
    });
    Ok(samples.collect())
}
