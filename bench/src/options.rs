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
    /// Everything above, one after the other.
    All,
    /// The baseline, started by the other workloads: reads a body, answers 200.
    EmptyHandler,
}

/// How to measure it.
#[derive(Debug, Args)]
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
    /// Customers, each with one entitlement under five lines
    #[arg(long, global = true, default_value_t = 1_000)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) customers: u32,
    /// Connections that send batches
    #[arg(long, global = true, default_value_t = 8)]
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
    /// Environment of the product, as NAME=VALUE; may be repeated
    #[arg(long, global = true)]
    pub(crate) set: Vec<String>,
}
