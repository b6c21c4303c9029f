//! `plimsoll demo`: usage in, lines crossed, signed webhooks out, and everything counted again.
//!
//! One process plays all parts: the server on a temporary folder, a small company with customers, a
//! gateway that sends their usage, a receiver that verifies each webhook, and an auditor who counts
//! all of it again in another way. The parts talk over loopback HTTP and know nothing else of each
//! other. It ends with a table, and fails if the auditor finds a difference.
//!
//! Not here: how a server is assembled; the caller hands in a starter.

use std::{
    future::Future,
    io::{self, Write as _},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use clap::Args;
use plimsoll_core::time::Timestamp;
use plimsoll_engine::deps::{BoxFuture, Clock, Random, SystemClock, SystemRandom, TaskGroup};

pub(super) mod api;
mod compare;
mod dice;
mod install;
mod receiver;
mod recount;
mod replay;
mod report;
mod scenario;
mod screen;
mod trace;

use api::Api;
use receiver::{Arrival, Receiver};
use recount::Recount;
use replay::{Replay, Speed};
use report::Report;
use scenario::Scenario;
use screen::{Screen, Shown, View};
use trace::Trace;

/// Replays an hour of language-model usage in seconds and checks what comes of it.
#[derive(Debug, Args)]
pub(crate) struct DemoOptions {
    /// Replay this CSV file with the columns TIMESTAMP,ContextTokens,GeneratedTokens
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// What the customers, and without a trace their usage, are drawn from
    #[arg(long, value_name = "NUMBER", default_value_t = 42)]
    seed: u64,
    /// How much faster time passes than in the trace; max sends as fast as it is answered
    #[arg(long, value_name = "TIMES", default_value = "200")]
    speed: Speed,
    /// Leave the server running at the end, until Ctrl-C
    #[arg(long)]
    keep: bool,
}

/// What the demonstration needs of a server that it did not start itself.
#[derive(Debug)]
pub(crate) struct StartServer {
    /// An empty folder for its data.
    pub(crate) data_dir: PathBuf,
    /// The first admin key, of the environment `live`.
    pub(crate) bootstrap_key: String,
}

/// A running server that can reach loopback destinations.
pub(crate) struct RunningServer {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// Drains and stops it.
    pub(crate) stop: BoxFuture<'static, ()>,
}

/// Why the demonstration could not be held.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("the server did not start: {0}")]
    Start(String),
    #[error("the trace {} cannot be used: {source}", path.display())]
    Trace { path: PathBuf, source: trace::TraceError },
    #[error("there is no temporary folder: {0}")]
    Folder(io::Error),
    #[error("the receiver cannot listen: {0}")]
    Receiver(io::Error),
    #[error(transparent)]
    Api(#[from] api::ApiError),
    #[error("an answer has no {field}")]
    MissingField { field: &'static str },
    #[error("a channel's secret is not one that standardwebhooks knows")]
    Secret,
    #[error("cannot write to standard output: {0}")]
    Output(io::Error),
    #[error("interrupted")]
    Interrupted,
}

/// How long the last webhooks may take; then those that are missing are differences.
const GRACE: Duration = Duration::from_secs(15);
const POLL: Duration = Duration::from_millis(20);
const HOUR_MS: i64 = 60 * 60 * 1000;

/// Holds the demonstration against the server that `start` gives. Exits with 0 if all agrees.
pub(crate) async fn run<S, F>(options: DemoOptions, start: S) -> ExitCode
where
    S: FnOnce(StartServer) -> F,
    F: Future<Output = Result<RunningServer, String>>,
{
    let tasks = TaskGroup::new();
    let outcome = hold(&options, start, &tasks).await;
    tasks.stop().await;
    match outcome {
        Ok(code) => code,
        Err(failure) => {
            drop(writeln!(io::stderr(), "plimsoll demo: {failure}"));
            ExitCode::FAILURE
        }
    }
}

async fn hold<S, F>(options: &DemoOptions, start: S, tasks: &TaskGroup) -> Result<ExitCode, Failure>
where
    S: FnOnce(StartServer) -> F,
    F: Future<Output = Result<RunningServer, String>>,
{
    let scenario = Scenario::new(&trace(options)?, options.seed);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let folder =
        tempfile::Builder::new().prefix("plimsoll-demo-").tempdir().map_err(Failure::Folder)?;
    let bootstrap_key = format!("plm_live_{:032x}", SystemRandom.bits());
    let receiver = Receiver::start(Arc::clone(&clock), tasks).await?;
    let order =
        StartServer { data_dir: folder.path().join("data"), bootstrap_key: bootstrap_key.clone() };
    let server = start(order).await.map_err(Failure::Start)?;
    say(&introduction(options, &scenario, server.address))?;
    let play = Play {
        api: Api::new(server.address, &bootstrap_key),
        clock,
        receiver,
        scenario: &scenario,
        speed: options.speed,
    };
    let played = tokio::select! {
        played = play.run() => played,
        _ = tokio::signal::ctrl_c() => Err(Failure::Interrupted),
    };
    if options.keep && played.is_ok() {
        keep(server.address, &bootstrap_key, folder.path()).await?;
    }
    server.stop.await;
    Ok(if played? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn trace(options: &DemoOptions) -> Result<Trace, Failure> {
    match &options.trace {
        Some(path) => {
            Trace::read(path).map_err(|source| Failure::Trace { path: path.clone(), source })
        }
        None => Ok(Trace::generate(options.seed)),
    }
}

fn introduction(options: &DemoOptions, scenario: &Scenario, address: SocketAddr) -> String {
    let source = options.trace.as_ref().map_or_else(
        || format!("generated from seed {}", options.seed),
        |path| format!("from {}", path.display()),
    );
    format!(
        "plimsoll listens on http://{address}\n\
         {} customers, {} requests to a language model over {} minutes, {source}\n",
        scenario.customers.len(),
        scenario.usage.len(),
        scenario.duration_ms / 60_000,
    )
}

async fn keep(address: SocketAddr, key: &str, folder: &Path) -> Result<(), Failure> {
    say(&format!(
        "The server keeps running on http://{address} until Ctrl-C.\n\n  \
         curl -H 'authorization: Bearer {key}' http://{address}/v1/customers\n\n\
         Its data is in {} and is removed at the end.\n",
        folder.display(),
    ))?;
    tokio::signal::ctrl_c().await.map_err(|_| Failure::Interrupted)
}

fn say(text: &str) -> Result<(), Failure> {
    writeln!(io::stdout(), "{text}").map_err(Failure::Output)
}

/// Everything that takes part.
#[derive(Debug)]
struct Play<'a> {
    api: Api,
    clock: Arc<dyn Clock>,
    receiver: Receiver,
    scenario: &'a Scenario,
    speed: Speed,
}

impl Play<'_> {
    /// Plays it, prints the table, returns whether all agrees.
    async fn run(&self) -> Result<bool, Failure> {
        let begun = self.clock.elapsed();
        // The last request is now; periods are anchored at the hour before the first one.
        let first = self.clock.now().plus_ms(-self.scenario.duration_ms);
        let anchor = Timestamp::from_ms(first.as_ms().div_euclid(HOUR_MS) * HOUR_MS);
        install::install(&self.api, &self.receiver, self.scenario, anchor).await?;
        let mut recount = Recount::new(&self.scenario.customers);
        let mut replay = Replay::new(self.scenario, first, self.speed);
        let mut screen = Screen::new();
        let replay_begun = self.clock.elapsed();
        loop {
            let elapsed = self.clock.elapsed().saturating_sub(replay_begun);
            let Some(events) = replay.step(&self.api, &*self.clock, elapsed).await? else { break };
            for index in events {
                recount.add(&replay::event_id(index), &self.scenario.usage[index]);
            }
            self.show(&mut screen, begun, &replay, &recount)?;
        }
        let deadline = self.clock.elapsed() + GRACE;
        while self.receiver.count() < recount.webhooks() && self.clock.elapsed() < deadline {
            self.clock.sleep(POLL).await;
            self.show(&mut screen, begun, &replay, &recount)?;
        }
        screen.show(&self.view(begun, &replay, &recount)).map_err(Failure::Output)?;
        let report = self.report(begun, &replay, &recount).await?;
        say(&report.text())?;
        Ok(report.agrees())
    }

    fn show(
        &self,
        screen: &mut Screen,
        begun: Duration,
        replay: &Replay<'_>,
        recount: &Recount,
    ) -> Result<(), Failure> {
        if !screen.is_due(self.clock.elapsed().saturating_sub(begun)) {
            return Ok(());
        }
        screen.show(&self.view(begun, replay, recount)).map_err(Failure::Output)
    }

    fn view<'a>(&'a self, begun: Duration, replay: &Replay<'_>, recount: &'a Recount) -> View<'a> {
        let latest = self.receiver.latest(Screen::LATEST).into_iter();
        View {
            elapsed: self.clock.elapsed().saturating_sub(begun),
            sent: replay.progress(),
            scenario: self.scenario,
            recount,
            webhooks: self.receiver.count(),
            verified: self.receiver.verified(),
            latest: latest
                .map(|arrival| Shown { latency: latency(replay, &arrival), arrival })
                .collect(),
        }
    }

    async fn report(
        &self,
        begun: Duration,
        replay: &Replay<'_>,
        recount: &Recount,
    ) -> Result<Report, Failure> {
        let elapsed = self.clock.elapsed().saturating_sub(begun);
        self.settle().await?;
        let arrivals = self.receiver.arrivals();
        let differences =
            compare::differences(&self.api, self.scenario, recount, &replay.sent, &arrivals)
                .await?;
        Ok(Report {
            events_sent: replay.sent.events,
            accepted: replay.sent.accepted,
            duplicates: replay.sent.duplicates,
            lines_crossed: recount.crossings().len(),
            webhooks_expected: recount.webhooks(),
            webhooks_received: arrivals.len(),
            webhooks_verified: self.receiver.verified(),
            latencies: arrivals.iter().filter_map(|it| latency(replay, it)).collect(),
            elapsed,
            differences,
        })
    }

    /// Waits until no delivery is pending: its outcome is written after the receiver has answered.
    async fn settle(&self) -> Result<(), Failure> {
        let deadline = self.clock.elapsed() + GRACE;
        for state in ["PENDING", "SENDING"] {
            let path = format!("/v1/notifications?state={state}&limit=1");
            while self.clock.elapsed() < deadline {
                let page = self.api.get(&path).await?;
                if page["items"].as_array().is_none_or(Vec::is_empty) {
                    break;
                }
                self.clock.sleep(POLL).await;
            }
        }
        Ok(())
    }
}

/// From the first byte of the request with the event to the webhook's body.
fn latency(replay: &Replay<'_>, arrival: &Arrival) -> Option<Duration> {
    let index = replay::event_index(arrival.crossing_event()?)?;
    Some(arrival.at.saturating_sub(*replay.sent.begun.get(index)?))
}
