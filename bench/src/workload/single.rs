//! Durable ingest of one event a request over 64 connections: what group commit gives.
//!
//! Two bounds are named beside it: the empty handler's requests a second, and how long one fsync of
//! this disk takes, because a commit cannot be shorter.
//!
//! Not here: batches (`ingest`).

use std::{
    fs::File,
    io::Write as _,
    path::Path,
    sync::{Arc, atomic::AtomicU32},
};

use tokio::sync::mpsc;

use super::{drive, ingest};
use crate::{
    Failure,
    baseline::EmptyHandler,
    machine,
    options::Bench,
    product::Product,
    receiver::Receiver,
    report::{Figure, Percentiles},
};

const CONNECTIONS: u32 = 64;
const FSYNC_SAMPLES: u32 = 200;
/// What a commit of one small batch writes, about.
const FSYNC_BYTES: usize = 4096;

/// Measures the disk, the empty handler, then the product.
pub(crate) async fn run(options: &Bench) -> Result<Vec<Figure>, Failure> {
    let shape = Bench { batch: 1, connections: CONNECTIONS, ..options.clone() };
    let folder = options.data_dir.clone().unwrap_or_else(std::env::temp_dir);
    let fsync = fsync_times(&folder)?;

    let empty = EmptyHandler::start().await?;
    let sequence = Arc::new(AtomicU32::new(0));
    let requests = ingest::requests(&shape, "e");
    let ceiling = drive(empty.address, requests, &sequence, options.seconds).await?;
    drop(empty);

    let (arrivals, _kept_open) = mpsc::unbounded_channel();
    let receiver = Receiver::start(arrivals).await?;
    let product = Product::start(options).await?;
    ingest::prepare(options, &product, &receiver, None).await?;
    let requests = ingest::requests(&shape, "s");
    let cpu_before_ms = machine::cpu_ms(product.process()).unwrap_or_default();
    let driven = drive(product.address, requests, &sequence, options.seconds).await?;
    let cpu_ms = machine::cpu_ms(product.process()).unwrap_or_default() - cpu_before_ms;
    product.stop().await?;

    let figure =
        Figure::new("durable ingest, one event a request", driven.requests_per_second(), "req/s")
            .against(ceiling.requests_per_second())
            .with("p50 ms", driven.latency.at_ms(0.5))
            .with("p99 ms", driven.latency.at_ms(0.99))
            .with("empty p99 ms", ceiling.latency.at_ms(0.99))
            .with("fsync p50 ms", fsync.at_ms(0.5))
            .with("64/fsync req/s", f64::from(CONNECTIONS) * 1e3 / fsync.at_ms(0.5))
            .with("product CPU s per 1M", cpu_ms as f64 * 1e3 / driven.requests as f64)
            .with("pushed back", driven.pushed_back as f64);
    Ok(vec![figure])
}

/// How long it takes to append a page to a file and have it on the disk.
fn fsync_times(folder: &Path) -> Result<Percentiles, Failure> {
    let mut file: File = tempfile::tempfile_in(folder)?;
    let page = [7; FSYNC_BYTES];
    let mut samples_ns = Vec::new();
    for _ in 0..FSYNC_SAMPLES {
        let begun = machine::now();
        file.write_all(&page)?;
        file.sync_data()?;
        samples_ns.push(begun.elapsed().as_nanos() as u64);
    }
    Ok(Percentiles::new(samples_ns))
}
