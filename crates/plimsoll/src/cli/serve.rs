//! `plimsoll serve`: runs the server until it is told to stop.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use tokio::signal::unix::{SignalKind, signal};

use crate::{
    assemble::{self, Running},
    cli::{Failure, SettingFlags, announce_keys, runtime},
    logging,
};

/// Starts, says where, waits for SIGTERM or SIGINT, and stops in order.
pub(super) fn run(flags: SettingFlags) -> Result<ExitCode, Failure> {
    let settings = flags.settle()?;
    logging::start(&settings);
    runtime()?.block_on(async {
        let stop = StopSignal::listen()?;
        let running = assemble::start(settings).await?;
        announce(&running).unwrap_or_else(|error| {
            tracing::warn!(%error, "nobody reads what the server prints");
        });
        stop.received().await;
        running.stop().await;
        Ok(ExitCode::SUCCESS)
    })
}

/// Prints the keys of a new store, and then the address: who waits for it has the keys already.
fn announce(running: &Running) -> io::Result<()> {
    announce_keys(&running.first_keys)?;
    let mut out = io::stdout().lock();
    writeln!(out, "listening on http://{}", running.address)?;
    out.flush()
}

/// SIGTERM and SIGINT, listened for from before the start, so that none is missed.
struct StopSignal {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl StopSignal {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn received(mut self) {
        let name = tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        };
        tracing::info!(signal = name, "stopping");
    }
}
