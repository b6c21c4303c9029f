//! Runs many seeds, or replays one: `cargo run --release -p plimsoll-sim -- --seeds 100000`.
//!
//! Not here: what a seed does (`plimsoll_sim::run`).

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "this is a command line tool")]

use std::{
    process::ExitCode,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use clap::Parser;
use plimsoll_sim::run::{self, Report, Tally};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Seeds between two lines that say how far it is.
const REPORT_EVERY: u64 = 1_000;

/// Simulates Plimsoll with faults that a seed decides, and compares it with a naive model.
#[derive(Debug, Parser)]
#[command(name = "sim", version)]
struct Arguments {
    /// How many seeds to run.
    #[arg(long, default_value_t = 1_000)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// How many to run at a time.
    #[arg(long, default_value_t = 2)]
    jobs: u64,
    /// Run only this seed, twice, and compare.
    #[arg(long, conflicts_with_all = ["seeds", "from"])]
    seed: Option<u64>,
    /// Print every step of it.
    #[arg(long, requires = "seed")]
    trace: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match arguments.seed {
        Some(seed) => replay(seed, arguments.trace),
        None => run_many(&arguments),
    }
}

fn replay(seed: u64, trace: bool) -> ExitCode {
    let report = run::run(seed, trace);
    report.lines.iter().for_each(|it| println!("{it}"));
    println!("seed {seed}: {}, digest {}", report.tally, report.digest);
    if run::run(seed, false).digest != report.digest {
        eprintln!("seed {seed}: the second run is another one");
        return ExitCode::FAILURE;
    }
    verdict(&report)
}

fn say(report: &Report) {
    for finding in &report.findings {
        eprintln!("seed {}: {finding}", report.seed);
    }
}

fn verdict(report: &Report) -> ExitCode {
    say(report);
    if report.findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run_many(arguments: &Arguments) -> ExitCode {
    let next = AtomicU64::new(arguments.from);
    let end = arguments.from + arguments.seeds;
    let total = Mutex::new(Tally::default());
    let failed: Mutex<Vec<u64>> = Mutex::default();
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= end {
                return;
            }
            let report = run::run(seed, false);
            let mut total = total.lock().unwrap_or_else(PoisonError::into_inner);
            total.add(&report.tally);
            if (seed + 1 - arguments.from).is_multiple_of(REPORT_EVERY) {
                println!("up to seed {seed}: {}", *total);
            }
            drop(total);
            if !report.findings.is_empty() {
                say(&report);
                failed.lock().unwrap_or_else(PoisonError::into_inner).push(seed);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..arguments.jobs.max(1) {
            scope.spawn(work);
        }
    });
    let total = total.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    failed.sort_unstable();
    println!("{} seeds: {total}", arguments.seeds);
    let Some(first) = failed.first() else { return ExitCode::SUCCESS };
    eprintln!("{} seeds fail: {failed:?}; the first of them, step by step:", failed.len());
    let report = run::run(*first, true);
    report.lines.iter().for_each(|it| eprintln!("{it}"));
    verdict(&report)
}
