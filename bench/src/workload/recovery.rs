//! Recovery: the product is killed with a long tail of the log behind its last checkpoint.
//!
//! A partition begins a checkpoint after a million events, so a tail of ten million takes sixteen
//! partitions, which is set here unless the command line says otherwise.
//!
//! Not here: whether what is recovered is right; the whole-process tests kill it a thousand times.

use std::sync::{Arc, atomic::AtomicU32};

use tokio::sync::mpsc;

use super::{drive, ingest};
use crate::{
    Failure, machine, options::Bench, product::Product, receiver::Receiver, report::Figure,
};

const PARTITIONS: &str = "PLIMSOLL_PARTITIONS=16";
/// Seconds after which it is killed, however long the tail is.
const SECONDS_MAX: u64 = 60;
/// Seconds of sending between two looks at how long the tail is.
const SECONDS_AT_ONCE: u64 = 1;

/// Measures the time from the start to the first 200 of `/readyz`, with a tail.
pub(crate) async fn run(options: &Bench) -> Result<Vec<Figure>, Failure> {
    let mut options = options.clone();
    options.set.insert(0, PARTITIONS.to_owned());
    let options = &options;
    let (arrivals, _kept_open) = mpsc::unbounded_channel();
    let receiver = Receiver::start(arrivals).await?;
    let product = Product::start(options).await?;
    ingest::prepare(options, &product, &receiver, None).await?;
    let sequence = Arc::new(AtomicU32::new(0));
    let mut events = 0;
    for _ in 0..SECONDS_MAX {
        let requests = ingest::requests(options, "r");
        events += drive(product.address, requests, &sequence, SECONDS_AT_ONCE).await?.events;
        if events >= options.tail {
            break;
        }
    }
    machine::say(&format!("{events} events are stored; killing it"));
    let product = product.crash(options).await?;
    let ready_s = product.start.as_secs_f64();
    product.stop().await?;
    let figure = Figure::new("ready again after a kill", ready_s, "s")
        .with("events of the tail", events as f64)
        .with("events replayed a second", events as f64 / ready_s);
    Ok(vec![figure])
}
