//! Memory and start: resident size when idle, after ingest, and after as much ingest again.
//!
//! Not here: what the memory is used for; a heap profile says that.

use std::{
    sync::{Arc, atomic::AtomicU32},
    time::Duration,
};

use tokio::sync::mpsc;

use super::{drive, ingest};
use crate::{
    Failure, machine, options::Bench, product::Product, receiver::Receiver, report::Figure,
};

/// Long enough for everything that the start left behind to be done.
const SETTLE: Duration = Duration::from_secs(2);

/// Measures the start, the idle size, and the size after one and two rounds of ingest.
pub(crate) async fn run(options: &Bench) -> Result<Vec<Figure>, Failure> {
    let (arrivals, _kept_open) = mpsc::unbounded_channel();
    let receiver = Receiver::start(arrivals).await?;
    let product = Product::start(options).await?;
    machine::sleep(SETTLE).await;
    let mut figures = vec![
        Figure::new("start on an empty folder", product.start.as_secs_f64() * 1e3, "ms"),
        memory("memory, idle", &product)?,
    ];
    ingest::prepare(options, &product, &receiver, None).await?;
    figures.push(memory("memory, with customers", &product)?);
    let sequence = Arc::new(AtomicU32::new(0));
    for name in ["memory, after ingest", "memory, after as much again"] {
        let requests = ingest::requests(options, "m");
        let driven = drive(product.address, requests, &sequence, options.seconds).await?;
        machine::sleep(SETTLE).await;
        figures.push(memory(name, &product)?.with("events", driven.events as f64));
    }
    product.stop().await?;
    Ok(figures)
}

fn memory(name: &str, product: &Product) -> Result<Figure, Failure> {
    let (now, most) =
        machine::resident_kib(product.process()).ok_or("/proc has no such process")?;
    Ok(Figure::new(name, now as f64 / 1024.0, "MiB").with("most MiB", most as f64 / 1024.0))
}
