//! The command line: its words, and which file does what.
//!
//! Not here: what the settings mean (`config`), what is started (`assemble`).

use std::{
    collections::BTreeMap,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Args, Parser, Subcommand};

use crate::{
    assemble::{self, FirstKey, StartError},
    config::{self, Layer, Name, Origin, Secret, Settings, WrongSettings},
    logging,
};

mod backup;
mod demo;
mod environment;
mod openapi;
mod restore;
mod rules;
mod serve;
mod verify;

#[cfg(test)]
mod tests;

/// The exit code of a process that was told something wrong; clap uses the same.
const TOLD_WRONG: u8 = 2;

/// Meters usage, knows what each customer may use, and tells the right people the moment a line is
/// crossed.
#[derive(Debug, Parser)]
#[command(name = "plimsoll", version, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server
    Serve(SettingFlags),
    /// Write everything that is stored into one file, also while a server runs
    Backup(backup::Backup),
    /// Fill a new store from such a file
    Restore(restore::Restore),
    /// Replay the log and compare everything that follows from it with the store
    Verify(verify::Verify),
    /// Ask a running server about rules
    #[command(subcommand)]
    Rules(rules::Rules),
    /// Work on environments
    #[command(subcommand)]
    Environment(environment::Environment),
    /// Watch usage turn into verified webhooks, with a server and a receiver of its own
    Demo(demo::DemoOptions),
    /// Print the OpenAPI document of the HTTP API
    Openapi,
}

/// What the flags do not show.
const SECRETS: &str = "\
Every flag can be given as a variable too, PLIMSOLL_LISTEN for --listen. Secrets have no flag:
  PLIMSOLL_BOOTSTRAP_KEY  the first admin key of an empty store, plm_live_… or plm_test_…
  PLIMSOLL_MASTER_KEY     what seals secrets at rest, 64 hexadecimal digits
                          [default: in master.key in the data directory]";

/// Where the store is.
#[derive(Debug, Args)]
pub(crate) struct StoreFlags {
    /// A TOML file of settings; flags and variables beat it
    #[arg(long, value_name = "FILE", env = "PLIMSOLL_CONFIG", hide_env = true)]
    config: Option<PathBuf>,
    /// Where the store, the master key and the address file live [default: plimsoll-data]
    #[arg(long, value_name = "FOLDER")]
    data_dir: Option<String>,
    /// Store in PostgreSQL instead of SQLite in the data directory
    #[arg(long, value_name = "URL")]
    database_url: Option<String>,
}

/// The settings as flags. Each can also be set by a variable, PLIMSOLL_ and its name in capitals.
// The two secrets, PLIMSOLL_BOOTSTRAP_KEY and PLIMSOLL_MASTER_KEY, have no flag: other processes of
// the machine can read command lines.
#[derive(Debug, Args)]
#[command(after_help = SECRETS)]
pub(crate) struct SettingFlags {
    #[command(flatten)]
    store: StoreFlags,
    /// Where to listen; port 0 lets the system choose [default: 127.0.0.1:8787]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Private networks that webhooks may reach all the same, with commas between
    #[arg(long, value_name = "NETWORKS")]
    allow_destinations: Option<String>,
    /// Partitions of a store that does not exist yet
    #[arg(long, value_name = "NUMBER")]
    partitions: Option<String>,
    /// For how many days the log is kept, for verification and back-tests; 0 is for ever
    /// [default: 90]
    #[arg(long, value_name = "DAYS")]
    retention_log_days: Option<String>,
    /// How log lines look: text or json [default: text]
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
    /// What is logged: a level, or directives such as info,plimsoll_engine=debug [default: info]
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
}

impl StoreFlags {
    /// The settings from all three places.
    fn settle(self) -> Result<Settings, WrongSettings> {
        self.settle_with([])
    }

    fn settle_with<const N: usize>(
        self,
        more: [(Name, Option<String>); N],
    ) -> Result<Settings, WrongSettings> {
        let file = self.config.as_deref().map(config::file::read).transpose()?;
        let flags = [(Name::DataDir, self.data_dir), (Name::DatabaseUrl, self.database_url)];
        let values: BTreeMap<_, _> = flags
            .into_iter()
            .chain(more)
            .filter_map(|(name, value)| Some((name, value?)))
            .collect();
        let mut layers = vec![Layer { origin: Origin::Flag, values }, config::from_environment()?];
        layers.extend(file);
        config::settle(&layers)
    }
}

impl SettingFlags {
    /// The settings from all three places.
    fn settle(self) -> Result<Settings, WrongSettings> {
        self.store.settle_with([
            (Name::Listen, self.listen),
            (Name::AllowDestinations, self.allow_destinations),
            (Name::Partitions, self.partitions),
            (Name::RetentionLogDays, self.retention_log_days),
            (Name::LogFormat, self.log_format),
            (Name::LogLevel, self.log_level),
        ])
    }
}

/// Why a command did not do what it was asked. Each is a sentence for the person who asked.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Settings(#[from] WrongSettings),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Backup(#[from] plimsoll_store::BackupError),
    #[error(transparent)]
    Restore(#[from] plimsoll_store::backup::RestoreError),
    #[error("the store cannot be verified: {0}")]
    Replay(#[from] plimsoll_engine::replay::ReplayError),
    #[error(transparent)]
    Ask(#[from] rules::AskError),
    #[error(transparent)]
    Operation(#[from] plimsoll_engine::ops::problem::Problem),
    #[error("the machine does not let the program run: {0}")]
    Machine(#[from] io::Error),
}

impl Failure {
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Settings(_) => ExitCode::from(TOLD_WRONG),
            Self::Start(error) if error.is_settings() => ExitCode::from(TOLD_WRONG),
            _ => ExitCode::FAILURE,
        }
    }
}

impl Cli {
    /// Does what was asked, or says on stderr why it could not.
    pub(crate) fn run(self) -> ExitCode {
        let outcome = match self.command {
            Command::Serve(flags) => serve::run(flags),
            Command::Backup(command) => command.run(),
            Command::Restore(command) => command.run(),
            Command::Verify(command) => command.run(),
            Command::Rules(command) => command.run(),
            Command::Environment(command) => command.run(),
            Command::Demo(options) => run_demo(options),
            Command::Openapi => openapi::run(),
        };
        outcome.unwrap_or_else(|failure| {
            // With stderr gone there is nobody left to tell.
            drop(writeln!(io::stderr().lock(), "plimsoll: {failure}"));
            failure.exit_code()
        })
    }
}

/// Prints keys that were made just now. Nobody can see them again.
fn announce_keys(keys: &[FirstKey]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for FirstKey { environment, token } in keys {
        writeln!(out, "api key ({environment}): {token}")?;
    }
    Ok(())
}

/// Holds the demonstration against a server in this process that may send to loopback.
fn run_demo(options: demo::DemoOptions) -> Result<ExitCode, Failure> {
    let start = |order: demo::StartServer| async move {
        let mut settings = Settings::with_data_dir(order.data_dir);
        settings.listen.set_port(0);
        settings.bootstrap_key = Some(Secret::new(order.bootstrap_key));
        settings.allow_destinations = "127.0.0.0/8".parse().expect("a network");
        settings.log_level = "warn".into();
        logging::start(&settings);
        let running = assemble::start(settings).await.map_err(|error| error.to_string())?;
        Ok(demo::RunningServer { address: running.address, stop: Box::pin(running.stop()) })
    };
    Ok(runtime()?.block_on(demo::run(options, start)))
}

/// What asynchronous work runs on: as many threads as the machine has cores.
fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("plimsoll").build()
}
