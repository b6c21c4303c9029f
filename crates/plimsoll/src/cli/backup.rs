//! `plimsoll backup`: one file that holds everything that is stored, taken while a server runs.
//!
//! The master key is not in it: who has both can read the channels' secrets.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;

use crate::{
    assemble,
    cli::{Failure, StoreFlags, runtime},
    logging,
};

/// What to back up, and where to.
#[derive(Debug, Args)]
pub(super) struct Backup {
    /// The file to write; it must not exist
    file: PathBuf,
    #[command(flatten)]
    store: StoreFlags,
}

impl Backup {
    /// Writes the file.
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        let settings = self.store.settle()?;
        logging::start(&settings);
        runtime()?.block_on(async {
            assemble::back_up(&settings, &self.file).await?;
            Ok(ExitCode::SUCCESS)
        })
    }
}
