//! `plimsoll rules`: asks a running server about rules.
//!
//! The server is found by the address file in its data directory. The API key is in
//! `PLIMSOLL_API_KEY`: other processes of the machine can read command lines.

use std::{
    fs,
    io::{self, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::cli::{
    Failure, StoreFlags,
    demo::api::{Api, ApiError},
    runtime,
};

/// What to ask about rules.
#[derive(Debug, Subcommand)]
pub(super) enum Rules {
    /// Print what a rule would have sent between two dates
    Backtest(Backtest),
}

/// Which rule, and between which dates.
#[derive(Debug, Args)]
#[command(after_help = "The API key of the environment is taken from PLIMSOLL_API_KEY.")]
pub(super) struct Backtest {
    /// A file with the rule as JSON, as POST /v1/rules takes it
    #[arg(long, value_name = "FILE")]
    rule: PathBuf,
    /// The first moment that counts, RFC 3339
    #[arg(long, value_name = "TIME")]
    from: String,
    /// The first moment that does not count any more, RFC 3339
    #[arg(long, value_name = "TIME")]
    to: String,
    /// The API key; better given as the variable
    #[arg(long, value_name = "KEY", env = "PLIMSOLL_API_KEY", hide_env_values = true, hide = true)]
    api_key: String,
    #[command(flatten)]
    store: StoreFlags,
}

/// Why a server could not be asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskError {
    #[error("{} cannot be read: {problem}", path.display())]
    File { path: PathBuf, problem: io::Error },
    #[error("{} is not JSON: {problem}", path.display())]
    Json { path: PathBuf, problem: serde_json::Error },
    #[error("no server runs on {}", path.display())]
    NoServer { path: PathBuf },
    #[error(transparent)]
    Api(#[from] ApiError),
}

impl Rules {
    /// Asks, and prints the answer.
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        let Self::Backtest(Backtest { rule, from, to, api_key, store }) = self;
        let settings = store.settle()?;
        let rule = read_rule(&rule)?;
        let address = address(&settings.data_dir)?;
        let body = json!({"rule": rule, "from": from, "to": to});
        let answer = runtime()?
            .block_on(Api::new(address, &api_key).post("/v1/rules/backtest", &body))
            .map_err(AskError::from)?;
        print(&answer)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn read_rule(path: &Path) -> Result<Value, AskError> {
    let text = fs::read_to_string(path)
        .map_err(|problem| AskError::File { path: path.to_owned(), problem })?;
    serde_json::from_str(&text).map_err(|problem| AskError::Json { path: path.to_owned(), problem })
}

fn address(data_dir: &Path) -> Result<SocketAddr, AskError> {
    let text = fs::read_to_string(data_dir.join("address")).unwrap_or_default();
    text.trim().parse().map_err(|_| AskError::NoServer { path: data_dir.to_owned() })
}

/// One line for each notification, then how many there are.
fn print(answer: &Value) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let items = answer["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    for item in items {
        let text =
            |pointer: &str| item.pointer(pointer).and_then(Value::as_str).unwrap_or("-").to_owned();
        writeln!(
            out,
            "{} {} {} {} {} {} usage {} ({}{})",
            text("/at"),
            text("/customer"),
            text("/feature"),
            text("/line/kind"),
            text("/line/value"),
            text("/edge"),
            text("/value/usage"),
            text("/cause"),
            if item["late"] == true { ", late" } else { "" },
        )?;
    }
    let count = answer["count"].as_u64().unwrap_or_default();
    if count > items.len() as u64 {
        writeln!(out, "and {} more", count - items.len() as u64)?;
    }
    if answer["complete"] == false {
        let from = answer["complete_from"].as_str().unwrap_or_default();
        writeln!(out, "the log is complete from {from} on; what is older was pruned")?;
    }
    writeln!(out, "{count} notifications")?;
    out.flush()
}
