//! One seed: a world of requests and faults, process after process, checked after every round.
//!
//! A round is a handful of requests at nearly the same moment, in weather that the dice draw. It
//! ends when everything is answered, or with a crash; then, in calm weather, everything is compared
//! with the model. The last round is followed by whatever is needed to bring all ends together.
//!
//! Not here: what a request is (`world`), what must come of it (`check`, `ledger`).

use std::{cell::RefCell, fmt, sync::Arc, time::Duration};

use futures_util::{StreamExt as _, future::LocalBoxFuture, stream::FuturesUnordered};
use plimsoll_engine::{
    delivery::{
        client::{Client, ClientOptions, Resolve, ResolveError},
        guard::AllowList,
    },
    deps::{BoxFuture, Clock as _, Deps, Random, TaskGroup},
    engine::{Engine, Options},
    ops::Context,
    vault::Vault,
};
use plimsoll_store::{MemoryStore, notification};

use crate::{
    check::{self, Books, Findings, at_once},
    clock::VirtualClock,
    executor,
    ledger::Ledger,
    random::{Dice, SeededRandom},
    receiver::Receivers,
    replay,
    store::SimStore,
    trace::Trace,
    usage,
    weather::Weather,
    world::{self, Request, World, setup},
};

/// Processes of one seed at the most: crashes are drawn only for so long.
const LIVES_MOST: u32 = 60;
/// How long the partitions may take to come back in calm weather.
const READY_WITHIN: Duration = Duration::from_mins(2);
const HOUR_MS: i64 = 3_600_000;
/// How long what has become due may take to happen, the clock having been set meanwhile.
const DUE_WITHIN: Duration = Duration::from_secs(65);
/// How long it may take otherwise.
const LEEWAY_MS: i64 = 5_000;
/// How long the last webhooks may take to come to a healthy receiver.
const DELIVERED_WITHIN: Duration = Duration::from_hours(1);

/// What came of one seed.
#[derive(Debug)]
pub struct Report {
    /// Which.
    pub seed: u64,
    /// The digest of everything that was said and everything that is stored.
    pub digest: String,
    /// What is wrong; nothing, if all is well.
    pub findings: Findings,
    /// What happened, if it was to be kept.
    pub lines: Vec<String>,
    /// Counts, for people who wonder whether anything happened at all.
    pub tally: Tally,
}

/// How much happened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Events in the log.
    pub events: u64,
    /// Notifications in the store.
    pub notifications: u64,
    /// Those of them about windows that had closed.
    pub late: u64,
    /// Those of them about windows that began.
    pub resets: u64,
    /// Those of them about the usage of one group.
    pub groups: u64,
    /// Those of them about tiers.
    pub tiers: u64,
    /// Those of them about multiples.
    pub multiples: u64,
    /// Those of them that come from a grant that was set back to its amount.
    pub recurred: u64,
    /// Resets that were to move the anchor of a period.
    pub anchors: u64,
    /// Rows of usage that were compared.
    pub usage: u64,
    /// Processes that crashed.
    pub crashes: u64,
}

impl Tally {
    /// Adds another one.
    pub fn add(&mut self, other: &Self) {
        self.events += other.events;
        self.notifications += other.notifications;
        self.late += other.late;
        self.resets += other.resets;
        self.groups += other.groups;
        self.tiers += other.tiers;
        self.multiples += other.multiples;
        self.recurred += other.recurred;
        self.anchors += other.anchors;
        self.usage += other.usage;
        self.crashes += other.crashes;
    }
}

/// How the life of a process ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Crashed,
    Stopped,
    /// There is nothing left to do.
    Done,
}

struct Simulation {
    clock: VirtualClock,
    trace: Trace,
    store: Arc<SimStore>,
    receivers: Receivers,
    random: Arc<SeededRandom>,
    /// What decides about rounds.
    dice: Dice,
    world: World,
    ledger: RefCell<Ledger>,
    books: Books,
    partitions: u32,
    token: Option<String>,
    /// Whether everything happens in the sandbox, whose clock can be set.
    is_sandbox: bool,
    rounds: u64,
    findings: RefCell<Findings>,
    tally: Tally,
    /// Batches that were made late and that not every partition may know of.
    made_late: u64,
    /// One of them may be in a partition of this process that nothing brings to look.
    is_overtaken: bool,
}

/// Runs one seed to its end; `keep` the lines of what happened.
pub fn run(seed: u64, keep: bool) -> Report {
    let mut simulation = Simulation::new(seed, keep);
    for life in 0..LIVES_MOST {
        let store = Arc::clone(&simulation.store);
        store.revive();
        let clock = simulation.clock.clone();
        let end = executor::live(&clock, simulation.live(life));
        simulation.trace.note(format_args!("life {life} ends: {end:?}"));
        // Whatever was under way when it ended has no process behind it any more.
        store.crash();
        match end {
            Ok(End::Crashed) => simulation.tally.crashes += 1,
            Ok(End::Stopped) => {}
            Ok(End::Done) => break,
            Err(executor::Stuck) => simulation.find("nothing goes on, or nothing ends".to_owned()),
        }
        simulation.check_durable();
        if !simulation.findings.borrow().is_empty() {
            break;
        }
    }
    simulation.report(seed)
}

impl Simulation {
    fn new(seed: u64, keep: bool) -> Self {
        let clock = VirtualClock::default();
        let trace = Trace::new(&clock, keep);
        let database = MemoryStore::open().expect("memory has room for an empty schema");
        let mut dice = Dice::new(seed, "rounds");
        let partitions = dice.between(1, 3) as u32;
        let is_sandbox = dice.percent(35);
        Self {
            store: SimStore::new(database, &clock, &trace, Dice::new(seed, "disk")),
            receivers: Receivers::new(&clock, &trace, Dice::new(seed, "receivers")),
            random: Arc::new(SeededRandom::new(Dice::new(seed, "random"))),
            world: World::new(Dice::new(seed, "world"), is_sandbox),
            is_sandbox,
            ledger: RefCell::default(),
            books: Books::new(partitions),
            rounds: dice.between(5, 14),
            dice,
            clock,
            trace,
            partitions,
            token: None,
            findings: RefCell::default(),
            tally: Tally::default(),
            made_late: 0,
            is_overtaken: false,
        }
    }

    /// One process, from its start to its end.
    async fn live(&mut self, life: u32) -> End {
        (self.made_late, self.is_overtaken) = (0, false);
        let engine = match self.start().await {
            Ok(engine) => engine,
            Err(error) => {
                self.find(format!("the engine does not start: {error}"));
                return End::Done;
            }
        };
        let store = Arc::clone(&self.store);
        tokio::select! {
            biased;
            end = self.rounds(&engine, life) => end,
            () = store.crashed() => End::Crashed,
        }
    }

    async fn start(&self) -> Result<Engine, String> {
        let deps = Deps {
            store: Arc::clone(&self.store) as _,
            clock: Arc::new(self.clock.clone()),
            random: Arc::clone(&self.random) as _,
            tasks: TaskGroup::new(),
        };
        let allow: AllowList = "127.0.0.0/8".parse().map_err(|_| "loopback is a network")?;
        let options = Options {
            partitions: self.partitions,
            vault: Arc::new(Vault::new(&[7; 32], Arc::clone(&self.random) as Arc<dyn Random>)),
            allow: allow.clone(),
            keep_log_ms: None,
        };
        let client = ClientOptions {
            allow,
            extra_roots: Vec::new(),
            resolver: Arc::new(NoNames),
            clock: Arc::new(self.clock.clone()),
        };
        let client = Client::on_network(client, Arc::new(self.receivers.clone()));
        let started = Engine::start_with_client(deps, options, client).await;
        started.map_err(|it| it.to_string())
    }

    async fn rounds(&mut self, engine: &Engine, life: u32) -> End {
        if self.token.is_none()
            && let Err(problem) = self.set_up(engine).await
        {
            self.find(format!("the setup fails: {problem}"));
            return End::Done;
        }
        loop {
            self.settle(engine).await;
            if !self.findings.borrow().is_empty() {
                return End::Done;
            }
            if self.rounds == 0 {
                self.finish(engine).await;
                return End::Done;
            }
            self.rounds -= 1;
            self.pass_time().await;
            if self.dice.percent(10) {
                self.come_to_rest(engine).await;
            }
            if self.dice.percent(8) {
                if self.dice.percent(30) {
                    self.store.set_weather(Weather::draw(&mut self.dice, self.clock.elapsed()));
                    engine.stop_without_store().await;
                } else {
                    self.stop(engine).await;
                }
                return End::Stopped;
            }
            self.round(engine, life).await;
        }
    }

    async fn set_up(&mut self, engine: &Engine) -> Result<(), String> {
        let keys = engine.ops.bootstrap(None).await.map_err(|it| it.to_string())?;
        let pick = usize::from(self.is_sandbox);
        self.token = keys.map(|it| [it.live, it.sandbox][pick].token.clone());
        self.until_ready(engine).await;
        let context = self.context(engine)?;
        let channels = setup::make(engine, &context).await.map_err(|it| it.to_string())?;
        self.books.set_takers(&channels);
        self.world.channels = channels;
        Ok(())
    }

    fn context(&self, engine: &Engine) -> Result<Context, String> {
        let token = self.token.as_deref().unwrap_or_default();
        let caller = engine.ops.authenticate(token).map_err(|it| it.to_string())?;
        Ok(Context { caller, idempotency: None, now: self.clock.now() })
    }

    /// Some time goes by between rounds: a moment, long enough to write checkpoints, or a step of
    /// the clock of the machine, back or far ahead.
    async fn pass_time(&mut self) {
        let dice = &mut self.dice;
        let mut up_to = |ms: i64| dice.below(ms as u64) as i64;
        let mut wait_ms = 0;
        let by_ms = match up_to(24) {
            0..=2 => {
                // An idle partition has just begun a checkpoint, or is about to.
                wait_ms = 9_990 + up_to(20);
                0
            }
            3 | 4 => {
                wait_ms = 10_000 + up_to(60_000);
                0
            }
            5..=7 => -up_to(36 * HOUR_MS),
            8..=12 => up_to(3 * HOUR_MS),
            13..=15 => up_to(72 * HOUR_MS),
            16 => up_to(40 * 24 * HOUR_MS),
            _ => 0,
        };
        self.clock.sleep(Duration::from_millis(wait_ms as u64)).await;
        if by_ms != 0 {
            self.trace.note(format_args!("the clock is set by {by_ms} ms"));
            self.clock.jump(by_ms);
        }
        self.ledger.borrow_mut().see_time(self.clock.now().as_ms());
    }

    /// Some requests at nearly the same moment, in some weather.
    async fn round(&mut self, engine: &Engine, life: u32) {
        let now = self.clock.elapsed();
        let is_bad = life + 5 < LIVES_MOST && self.dice.percent(75);
        let weather = if is_bad { Weather::draw(&mut self.dice, now) } else { Weather::CALM };
        self.trace.note(format_args!("round: {weather:?}"));
        let crash_in = (is_bad && self.dice.percent(15))
            .then(|| Duration::from_micros(self.dice.below(30_000)));
        let now_ms = self.clock.now().as_ms();
        let requests: Vec<Request> = (0..self.dice.between(1, 7))
            .map(|_| self.world.draw(&mut self.ledger.borrow_mut(), now_ms))
            .collect();
        self.world.expect_moves(&requests, now_ms);
        let waits: Vec<Duration> =
            requests.iter().map(|_| Duration::from_micros(self.dice.below(12_000))).collect();
        self.store.set_weather(weather);
        let under_way: FuturesUnordered<LocalBoxFuture<'_, ()>> = FuturesUnordered::new();
        for (number, (request, wait)) in requests.into_iter().zip(waits).enumerate() {
            let this = &*self;
            under_way.push(Box::pin(async move {
                this.clock.sleep(wait).await;
                this.request(engine, number, request).await;
            }));
        }
        let crash = async {
            match crash_in {
                Some(wait) => self.clock.sleep(wait).await,
                None => std::future::pending().await,
            }
            self.store.crash();
            std::future::pending::<()>().await;
        };
        tokio::select! {
            biased;
            () = under_way.collect::<()>() => {}
            () = crash => {}
        }
        self.store.set_weather(Weather::CALM);
    }

    async fn request(&self, engine: &Engine, number: usize, request: Request) {
        let context = match self.context(engine) {
            Ok(context) => context,
            Err(problem) => return self.find(problem),
        };
        self.trace.note(format_args!("request {number}: {request:?}"));
        let outcome = match request {
            Request::Send(events) => self
                .send(engine, &context, events)
                .await
                .map(|answer| answer.map_or_else(|| "unknown".to_owned(), |it| format!("{it:?}"))),
            request => world::perform(engine, &context, &request).await,
        };
        match outcome {
            Ok(text) => self.trace.note(format_args!("answer {number}: {text}")),
            Err(finding) => self.find(finding),
        }
    }

    /// Sends usage once; `None` if nothing is known of it.
    async fn send(
        &self,
        engine: &Engine,
        context: &Context,
        events: Vec<crate::ledger::Event>,
    ) -> Result<Option<plimsoll_engine::ingest::Answer>, String> {
        let now_ms = self.clock.now().as_ms();
        let clock = self.world.clock(now_ms);
        let request = self.ledger.borrow_mut().send(events, now_ms, clock);
        let answer = world::send(engine, context, &request.body()).await?;
        if let Some(answer) = &answer {
            self.ledger.borrow_mut().answered(&request, answer)?;
        }
        Ok(answer)
    }

    /// In calm weather: waits until the engine is ready, then compares everything.
    async fn settle(&mut self, engine: &Engine) {
        self.until_ready(engine).await;
        if let Err(finding) = self.touch(engine).await {
            self.find(finding);
        }
        self.check_durable();
        let context = match self.context(engine) {
            Ok(context) => context,
            Err(problem) => return self.find(problem),
        };
        if let Err(problem) = self.world.look(engine, &context).await {
            self.find(format!("what exists cannot be read: {problem}"));
        }
        let (database, clock) = (self.store.database(), &self.clock);
        let now_ms = || clock.now().as_ms();
        let found = self.books.compare_values(engine, &context, database, now_ms).await;
        self.findings.borrow_mut().extend(found);
    }

    /// Has every partition append something, if a commit came late: only then does it learn of it.
    async fn touch(&mut self, engine: &Engine) -> Result<(), String> {
        while self.store.expects_late() {
            self.clock.sleep(Duration::from_millis(50)).await;
            // Nobody may ask the disk for anything meanwhile; it goes on all the same.
            self.made_late += self.store.settle_late();
        }
        self.made_late += self.store.settle_late();
        if std::mem::take(&mut self.made_late) == 0 {
            return Ok(());
        }
        self.is_overtaken |= !self.books.have_customers_everywhere();
        let context = self.context(engine)?;
        self.world.look(engine, &context).await.map_err(|it| it.to_string())?;
        let events = self.world.pings();
        if events.is_empty() {
            return Ok(());
        }
        while self.send(engine, &context, events.clone()).await?.is_none() {
            self.until_ready(engine).await;
        }
        Ok(())
    }

    async fn until_ready(&self, engine: &Engine) {
        let since = self.clock.elapsed();
        while !engine.is_ready().await {
            if self.clock.elapsed().saturating_sub(since) > READY_WITHIN {
                return self.find("the partitions do not come back".to_owned());
            }
            self.clock.sleep(Duration::from_millis(50)).await;
        }
    }

    /// Compares what is durable with the model. Holds at any moment.
    fn check_durable(&mut self) {
        let database = self.store.database();
        let mut found = self.books.catch_up(database);
        if let Some(environment) = self.environment() {
            match check::notifications(database, environment) {
                Ok(rows) => {
                    self.tally.notifications = rows.len() as u64;
                    found.extend(self.books.compare_notifications(&rows));
                    let destinations = &self.books.destinations;
                    let receivers = &self.receivers;
                    found.extend(check::compare_deliveries(
                        database,
                        rows,
                        receivers,
                        destinations,
                        None,
                    ));
                }
                Err(error) => found.push(error.to_string()),
            }
        }
        found.extend(self.ledger.borrow().compare(&self.books.logged));
        self.findings.borrow_mut().extend(found);
    }

    /// The environment of everything, once there is a notification in it.
    fn environment(&self) -> Option<plimsoll_core::ids::EnvironmentId> {
        let rows = at_once(plimsoll_store::resource::environments(self.store.database())).ok()?;
        let kind = if self.is_sandbox { "\"sandbox\"" } else { "\"live\"" };
        let own = rows.iter().find(|it| it.doc.contains(kind))?;
        own.id.parse().ok()
    }

    /// Brings all ends together: every event is acknowledged, every webhook has come.
    async fn finish(&mut self, engine: &Engine) {
        loop {
            let mut rest = self.ledger.borrow().unanswered();
            rest.truncate(50);
            if rest.is_empty() || !self.findings.borrow().is_empty() {
                break;
            }
            let rest = rest.into_iter().map(|it| self.world.on_time(it)).collect();
            self.request(engine, 0, Request::Send(rest)).await;
        }
        self.settle(engine).await;
        self.come_to_rest(engine).await;
        // The machine's clock is set right: what a clock that ran ahead has made due is due then.
        let behind_ms = self.ledger.borrow().latest_ms() - self.clock.now().as_ms();
        self.clock.jump(behind_ms.max(0));
        // What is due then comes before the last webhooks are waited for: it may make some.
        self.clock.sleep(DUE_WITHIN).await;
        self.until_ready(engine).await;
        let since = self.clock.elapsed();
        while !self.is_delivered() {
            if self.clock.elapsed().saturating_sub(since) > DELIVERED_WITHIN {
                break;
            }
            self.clock.sleep(Duration::from_secs(5)).await;
        }
        self.settle(engine).await;
        self.stop(engine).await;
        let database = self.store.database();
        if let Some(rows) =
            self.environment().and_then(|it| check::notifications(database, it).ok())
        {
            let healthy = self.world.channels.first().map(String::as_str);
            let destinations = &self.books.destinations;
            let found =
                check::compare_deliveries(database, rows, &self.receivers, destinations, healthy);
            self.findings.borrow_mut().extend(found);
        }
    }

    /// What is due happens by itself, with nobody asking for anything.
    async fn come_to_rest(&mut self, engine: &Engine) {
        self.clock.sleep(DUE_WITHIN).await;
        self.until_ready(engine).await;
        self.check_durable();
        if !self.is_overtaken {
            let overdue = self.books.overdue(self.clock.now().as_ms() - LEEWAY_MS);
            self.findings.borrow_mut().extend(overdue);
        }
        match self.context(engine) {
            Ok(context) => {
                let (rows, found) = usage::compare(engine, &context, &self.books).await;
                self.tally.usage += rows;
                self.findings.borrow_mut().extend(found);
            }
            Err(problem) => self.find(problem),
        }
    }

    /// Whether everything that the healthy channel is to get has come.
    fn is_delivered(&self) -> bool {
        let database = self.store.database();
        let Some(healthy) = self.world.channels.first() else { return true };
        let rows = self.environment().and_then(|it| check::notifications(database, it).ok());
        let details = at_once(notification::details(database, rows.unwrap_or_default()));
        let details = details.unwrap_or_default();
        details.iter().all(|it| check::is_delivered(it, healthy) != Some(false))
    }

    /// Stops in calm weather, and compares the checkpoints that are left with the log.
    async fn stop(&mut self, engine: &Engine) {
        engine.stop_without_store().await;
        self.check_durable();
        if self.is_overtaken {
            return;
        }
        let found = replay::compare(self.store.database(), self.partitions);
        self.findings.borrow_mut().extend(found);
    }

    fn find(&self, finding: String) {
        self.trace.note(format_args!("FOUND {finding}"));
        self.findings.borrow_mut().push(finding);
    }

    fn report(mut self, seed: u64) -> Report {
        match self.store.database().contents() {
            Ok(tables) => {
                for (name, rows) in tables {
                    self.trace.absorb(name.as_bytes());
                    for row in rows {
                        self.trace.absorb(format!("{row:?}").as_bytes());
                    }
                }
            }
            Err(error) => self.find(error.to_string()),
        }
        self.tally.events = self.books.logged.len() as u64;
        self.books.count(&mut self.tally);
        Report {
            seed,
            digest: self.trace.digest(),
            lines: self.trace.take_lines(),
            findings: self.findings.take(),
            tally: self.tally,
        }
    }
}

/// Names do not resolve: receivers are called by address.
#[derive(Debug)]
struct NoNames;

impl Resolve for NoNames {
    fn resolve(&self, _: &str) -> BoxFuture<'_, Result<Vec<std::net::IpAddr>, ResolveError>> {
        let detail = "there are no names in a simulation".to_owned();
        Box::pin(std::future::ready(Err(ResolveError { detail })))
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { events, notifications, late, resets, groups, tiers, .. } = self;
        let Self { multiples, recurred, anchors, usage, crashes, .. } = self;
        write!(
            f,
            "{events} events, {notifications} notifications ({late} late, {resets} resets, "
        )?;
        write!(f, "{groups} on groups, {tiers} on tiers, {multiples} on multiples, ")?;
        write!(f, "{recurred} from recurrence), {anchors} anchors moved, ")?;
        write!(f, "{usage} rows of usage, {crashes} crashes")
    }
}
