//! `plimsoll restore`: fills a new store from a backup, on either backend.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;
use plimsoll_store::backup;

use crate::{
    assemble,
    cli::{Failure, StoreFlags, runtime},
    logging,
};

/// What to restore, and where to.
#[derive(Debug, Args)]
pub(super) struct Restore {
    /// The file that `plimsoll backup` wrote
    file: PathBuf,
    #[command(flatten)]
    store: StoreFlags,
}

impl Restore {
    /// Restores the file.
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        let settings = self.store.settle()?;
        logging::start(&settings);
        runtime()?.block_on(async {
            let store = assemble::open_store(&settings).await?;
            let restored = backup::restore(store.as_ref(), &self.file).await;
            store.close().await;
            let rows = restored?.rows;
            tracing::info!(rows, "restored; the master key is not part of a backup");
            Ok(ExitCode::SUCCESS)
        })
    }
}
