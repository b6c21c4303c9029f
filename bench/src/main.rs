//! Measures the release binary from outside, over loopback HTTP, beside a baseline of the same run.
//!
//! The product runs as a child process: its memory and CPU are its own. Every workload is bounded
//! in count and in time and stops by itself. `README.md` says what each one does and why.
//!
//! Not here: tests of behaviour, and benchmarks of functions.

#![expect(clippy::cast_precision_loss, reason = "figures are rounded for people anyway")]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "this is a command line tool")]

use std::process::ExitCode;

use clap::Parser;

mod baseline;
mod client;
mod events;
mod machine;
mod options;
mod product;
mod receiver;
mod redis;
mod report;
mod setup;
mod workload;

/// The product uses it too; a generator with a slower allocator would measure itself.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What went wrong, as a sentence: a benchmark has no caller that could tell errors apart.
type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> ExitCode {
    match run(options::Options::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("bench: {failure}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: options::Options) -> Result<(), Failure> {
    use options::Workload;
    let bench = &options.bench;
    let figures = match options.workload {
        Workload::EmptyHandler => return baseline::serve().await,
        Workload::Ingest => workload::ingest::run(bench).await?,
        Workload::Single => workload::single::run(bench).await?,
        Workload::Latency => workload::latency::run(bench).await?,
        Workload::Rss => workload::rss::run(bench).await?,
        Workload::Growth => workload::growth::run(bench).await?,
        Workload::Memory => workload::memory::run(bench).await?,
        Workload::Recovery => workload::recovery::run(bench).await?,
        Workload::All => {
            let mut figures = workload::rss::run(bench).await?;
            figures.extend(workload::ingest::run(bench).await?);
            figures.extend(workload::single::run(bench).await?);
            figures.extend(workload::latency::run(bench).await?);
            figures
        }
    };
    println!("{}", report::table(&figures));
    for line in report::json_lines(&figures, &options.bench) {
        println!("{line}");
    }
    Ok(())
}
