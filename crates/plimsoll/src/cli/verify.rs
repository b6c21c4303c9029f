//! `plimsoll verify`: replays the log and compares everything that follows from it with the store.
//!
//! It writes nothing. On SQLite no server may have the data directory open; on PostgreSQL the
//! servers should be stopped, or what they write meanwhile is shown as a difference.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::Args;
use plimsoll_engine::replay::verify::{self, Verified};

use crate::{
    assemble,
    cli::{Failure, StoreFlags, runtime},
    logging,
};

/// What to verify.
#[derive(Debug, Args)]
pub(super) struct Verify {
    /// Verify this partition only
    #[arg(long, value_name = "NUMBER")]
    partition: Option<u32>,
    #[command(flatten)]
    store: StoreFlags,
}

impl Verify {
    /// Verifies, prints what differs, and says with the exit code whether anything does.
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        let settings = self.store.settle()?;
        logging::start(&settings);
        let verified = runtime()?.block_on(async {
            let store = assemble::open_existing_store(&settings).await?;
            let verified = verify::verify(&*store, self.partition).await;
            store.close().await;
            verified.map_err(Failure::from)
        })?;
        print(&verified)?;
        Ok(if verified.total == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn print(verified: &Verified) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for difference in &verified.differences {
        writeln!(out, "{difference}")?;
    }
    let shown = verified.differences.len() as u64;
    if verified.total > shown {
        writeln!(out, "and {} more", verified.total - shown)?;
    }
    let complete = verified.complete_from.map_or_else(
        || "from the first row on".to_owned(),
        |it| format!("from {it} on, what is older was pruned"),
    );
    writeln!(
        out,
        "{} rows of the log with {} events replayed, {complete}",
        verified.rows, verified.events
    )?;
    writeln!(
        out,
        "{} entitlements and {} notifications compared: {} differences",
        verified.entitlements, verified.notifications, verified.total
    )?;
    out.flush()
}
