//! The workloads, and the driver that they share.
//!
//! Not here: the product's start and stop (`product`), what it must know beforehand (`setup`).

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use crate::{Failure, client::Connection, events::Request, machine, report::Percentiles};

pub(crate) mod growth;
pub(crate) mod ingest;
pub(crate) mod latency;
pub(crate) mod memory;
pub(crate) mod recovery;
pub(crate) mod rss;
pub(crate) mod single;

/// How long a sender waits when it is told 429 or 503.
const BACK_OFF: Duration = Duration::from_millis(5);

/// What closed-loop senders saw.
#[derive(Debug)]
pub(crate) struct Driven {
    /// Requests answered 200.
    pub(crate) requests: u64,
    /// Events in them.
    pub(crate) events: u64,
    /// Requests answered 429 or 503, and sent again.
    pub(crate) pushed_back: u64,
    /// From the first request to the last answer.
    pub(crate) elapsed: Duration,
    /// From the first byte written to the answer read, of each request answered 200.
    pub(crate) latency: Percentiles,
}

impl Driven {
    /// Events answered 200 in a second.
    pub(crate) fn events_per_second(&self) -> f64 {
        self.events as f64 / self.elapsed.as_secs_f64()
    }

    /// Requests answered 200 in a second.
    pub(crate) fn requests_per_second(&self) -> f64 {
        self.requests as f64 / self.elapsed.as_secs_f64()
    }
}

/// Sends for `seconds`: each connection has its own requests, and one of them in flight.
///
/// `sequence` numbers every sending, across connections and across calls.
pub(crate) async fn drive(
    address: SocketAddr,
    connections: Vec<Vec<Request>>,
    sequence: &Arc<AtomicU32>,
    seconds: u64,
) -> Result<Driven, Failure> {
    let begun = machine::now();
    let deadline = begun + Duration::from_secs(seconds);
    let mut senders = Vec::new();
    for requests in connections {
        let sequence = Arc::clone(sequence);
        senders.push(machine::spawn(send(address, requests, sequence, deadline)));
    }
    let mut driven = Driven {
        requests: 0,
        events: 0,
        pushed_back: 0,
        elapsed: Duration::ZERO,
        latency: Percentiles::new(Vec::new()),
    };
    let mut samples_ns = Vec::new();
    for sender in senders {
        let sent = sender.await??;
        driven.requests += sent.samples_ns.len() as u64;
        driven.events += sent.events;
        driven.pushed_back += sent.pushed_back;
        samples_ns.extend(sent.samples_ns);
    }
    driven.elapsed = begun.elapsed();
    driven.latency = Percentiles::new(samples_ns);
    Ok(driven)
}

#[derive(Debug, Default)]
struct Sent {
    events: u64,
    pushed_back: u64,
    samples_ns: Vec<u64>,
}

async fn send(
    address: SocketAddr,
    mut requests: Vec<Request>,
    sequence: Arc<AtomicU32>,
    deadline: Instant,
) -> Result<Sent, Failure> {
    let mut connection = Connection::open(address).await?;
    let mut sent = Sent::default();
    let count = requests.len();
    for turn in 0_usize.. {
        if machine::now() >= deadline {
            break;
        }
        let request = &mut requests[turn % count];
        let events = request.len() as u64;
        let bytes = request.renumber(sequence.fetch_add(1, Ordering::Relaxed));
        let written = machine::now();
        let answer = connection.exchange(bytes).await?;
        match answer.status {
            200 => {
                sent.samples_ns.push(written.elapsed().as_nanos() as u64);
                sent.events += events;
            }
            429 | 503 => {
                sent.pushed_back += 1;
                machine::sleep(BACK_OFF).await;
            }
            status => {
                let body = String::from_utf8_lossy(answer.body);
                return Err(format!("an event request was answered {status}: {body}").into());
            }
        }
    }
    Ok(sent)
}
