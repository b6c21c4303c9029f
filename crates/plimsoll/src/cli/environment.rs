//! `plimsoll environment`: what belongs to the whole installation and to no API key.
//!
//! The server has to be stopped for it: one that runs would not learn of the change.

use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use plimsoll_engine::ops::environment::EnvironmentKind;

use crate::{
    assemble::{self, FirstKey, Started},
    cli::{Failure, StoreFlags, announce_keys, runtime},
    logging,
};

/// What to do with environments.
#[derive(Debug, Subcommand)]
pub(super) enum Environment {
    /// Make an environment and print its first admin key; the server must be stopped
    Create(Create),
}

/// Which environment to make.
#[derive(Debug, Args)]
pub(super) struct Create {
    /// Its name
    name: String,
    /// What it is for: live usage, or tests with a clock of their own
    #[arg(long, value_enum)]
    kind: Kind,
    #[command(flatten)]
    store: StoreFlags,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    Live,
    Sandbox,
}

impl Environment {
    /// Does it.
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        let Self::Create(Create { name, kind, store }) = self;
        let settings = store.settle()?;
        logging::start(&settings);
        let kind = match kind {
            Kind::Live => EnvironmentKind::Live,
            Kind::Sandbox => EnvironmentKind::Sandbox,
        };
        runtime()?.block_on(async {
            let Started { engine, first_keys, .. } = assemble::start_engine(&settings).await?;
            let created = engine.ops.create_environment(&name, kind).await;
            engine.stop().await;
            announce_keys(&first_keys)?;
            announce_keys(&[FirstKey { environment: name, token: created?.token }])?;
            Ok(ExitCode::SUCCESS)
        })
    }
}
