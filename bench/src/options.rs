//! The command line of the benchmark.
//!
//! Not here: what the workloads do with it (`workload`).

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Measures plimsoll, beside an empty handler, on this machine.
#[derive(Debug, Parser)]
#[command(name = "bench")]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(crate) workload: Workload,
    #[command(flatten)]
    pub(crate) bench: Bench,
}

/// What to measure.
#[derive(Debug, Clone, Copy, Subcommand)]
pub(crate) enum Workload {
    /// Durable ingest in batches.
    Ingest,
    /// Durable ingest of one event a request.
    Single,
    /// From an event's first request byte to its webhook's last byte.
    Latency,
    /// Resident memory, idle and after ingest.
    Rss,
    /// Throughput with many customers and with many rules, as a share of that with few.
    Growth,
    /// Resident memory of customers with three entitlements each.
    Memory,
    /// Killed with a long tail of the log: how long until it is ready again.
    Recovery,
    /// Ingest, one event a request, latency and resident memory, one after the other.
    All,
    /// The baseline, started by the other workloads: reads a body, answers 200.
    EmptyHandler,
}

/// How to measure it.
#[derive(Debug, Clone, Args)]
pub(crate) struct Bench {
    /// The product [default: `plimsoll` beside this program]
    #[arg(long, global = true)]
    pub(crate) binary: Option<PathBuf>,
    /// Where the data of the run lies, below a folder of its own [default: the temporary folder]
    #[arg(long, global = true)]
    pub(crate) data_dir: Option<PathBuf>,
    /// Runs on PostgreSQL instead of SQLite; the database should be empty
    #[arg(long, global = true)]
    pub(crate) database_url: Option<String>,
    /// Seconds that each measurement lasts
    #[arg(long, global = true, default_value_t = 10)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=600))]
    pub(crate) seconds: u64,
    /// Customers, each with one entitlement under five lines [default: 100,000 for ingest, memory
    /// and growth, else 1,000]
    #[arg(long, global = true)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) customers: Option<u32>,
    /// Rules on the metered feature, each of five lines; all but the first watch one customer each
    #[arg(long, global = true, default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) rules: u32,
    /// Limit of each customer in the ingest workloads, in tokens; an event has 256 on average. A
    /// line is crossed when half of it is used, so it says how many webhooks a long run causes
    #[arg(long, global = true, default_value_t = 100_000)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) limit: u64,
    /// Connections that send batches
    #[arg(long, global = true, default_value_t = 16)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=256))]
    pub(crate) connections: u32,
    /// Events in one batch
    #[arg(long, global = true, default_value_t = 1_000)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) batch: u32,
    /// Crossings a second of the latency workload; repeat it for several runs
    #[arg(long, global = true, default_values_t = [100, 1_000])]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=20_000))]
    pub(crate) crossings: Vec<u32>,
    /// Other events a second beside the crossings
    #[arg(long, global = true, default_value_t = 100_000)]
    #[arg(value_parser = clap::value_parser!(u32).range(0..=2_000_000))]
    pub(crate) background: u32,
    /// Events after the last checkpoint of the recovery workload, about
    #[arg(long, global = true, default_value_t = 10_000_000)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=14_000_000))]
    pub(crate) tail: u64,
    /// Environment of the product, as NAME=VALUE; may be repeated
    #[arg(long, global = true)]
    pub(crate) set: Vec<String>,
}

/// Customers of a workload that is not about how many there are.
const FEW_CUSTOMERS: u32 = 1_000;
/// Customers of a workload that is.
const MANY_CUSTOMERS: u32 = 100_000;

impl Bench {
    /// How many customers there are, if nothing else was said.
    pub(crate) fn customers(&self) -> u32 {
        self.customers.unwrap_or(FEW_CUSTOMERS)
    }

    /// The same options with many customers, unless it was said how many.
    pub(crate) fn with_many_customers(&self) -> Self {
        self.with_customers(self.customers.unwrap_or(MANY_CUSTOMERS))
    }

    /// The same options with so many customers.
    pub(crate) fn with_customers(&self, customers: u32) -> Self {
        Self { customers: Some(customers), ..self.clone() }
    }
}
