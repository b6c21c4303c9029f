//! An engine over a store that fails on command, and short words for what tests do with it.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use plimsoll_core::time::Timestamp;
use plimsoll_engine::{
    delivery::guard::AllowList,
    deps::{BoxFuture, Clock, Deps, SystemRandom, TaskGroup},
    engine::{Engine, Options},
    ingest::{Answer, IngestError, Mode},
    ops::{Context, notification::NotificationQuery, request::parse_request},
    vault::Vault,
};
use plimsoll_store::{SqliteStore, Store, faulty::FaultyStore};
use serde_json::{Value, json};
use tempfile::TempDir;

/// How long a condition may take to come about.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);
/// 2026-03-10T12:00:00Z
pub(super) const START_MS: i64 = 1_773_144_000_000;

/// Time of day that stands still until it is moved.
#[derive(Debug)]
pub(super) struct StandingClock {
    now_ms: AtomicI64,
    started: std::time::Instant,
}

impl StandingClock {
    pub(super) fn advance(&self, by: Duration) {
        self.now_ms.fetch_add(by.as_millis() as i64, Ordering::SeqCst);
    }
}

impl Clock for StandingClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_ms(self.now_ms.load(Ordering::SeqCst))
    }

    fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    #[expect(clippy::disallowed_methods, reason = "a clock of a test is a clock")]
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }
}

pub(super) struct World {
    pub(super) store: Arc<FaultyStore>,
    pub(super) clock: Arc<StandingClock>,
    pub(super) engine: Engine,
    pub(super) token: String,
    /// The key of the other environment.
    pub(super) sandbox: String,
    sequence: u64,
    _directory: TempDir,
}

impl World {
    #[expect(clippy::disallowed_methods, reason = "a clock of a test is a clock")]
    pub(super) async fn start() -> Self {
        let directory = TempDir::new().unwrap();
        let store = FaultyStore::new(SqliteStore::open(directory.path()).await.unwrap());
        let clock = Arc::new(StandingClock {
            now_ms: AtomicI64::new(START_MS),
            started: std::time::Instant::now(),
        });
        let engine = engine(&store, &clock).await;
        let keys = engine.ops.bootstrap(None).await.unwrap().unwrap();
        let (token, sandbox) = (keys.live.token, keys.sandbox.token);
        Self { store, clock, engine, token, sandbox, sequence: 0, _directory: directory }
    }

    /// The same in the sandbox: everything that is done from now on is done there.
    pub(super) async fn start_sandbox() -> Self {
        let mut world = Self::start().await;
        world.token.clone_from(&world.sandbox);
        world
    }

    /// As if the process had been killed and started again: nothing is said to the old engine.
    pub(super) async fn crash(&mut self) {
        self.engine = engine(&self.store, &self.clock).await;
        self.until_ready().await;
    }

    /// Waits until every partition takes requests.
    #[expect(clippy::disallowed_methods, reason = "looking again takes a pause between looks")]
    pub(super) async fn until_ready(&self) {
        let started = std::time::Instant::now();
        while !self.engine.is_ready().await {
            assert!(started.elapsed() < PATIENCE, "the partitions did not come back");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    pub(super) fn context(&self) -> Context {
        let caller = self.engine.ops.authenticate(&self.token).unwrap();
        self.engine.ops.context(caller, None)
    }

    /// A meter and a feature `tokens`, customers `acme` and `globex` (subjects of the same name),
    /// each with an entitlement of this monthly limit.
    pub(super) async fn small_company(&self, limit: Option<&str>) {
        let ops = &self.engine.ops;
        let context = self.context();
        let meter = json!({"key": "tokens", "name": "Tokens", "event_type": "llm.request",
            "aggregation": "sum", "value_property": "$.tokens"});
        ops.create_meter(&context, request(&meter)).await.unwrap();
        let feature = json!({"key": "tokens", "name": "Tokens", "type": "metered",
            "meter": "tokens"});
        ops.create_feature(&context, request(&feature)).await.unwrap();
        for key in ["acme", "globex"] {
            let customer = json!({"key": key, "name": key, "subjects": [key]});
            ops.create_customer(&context, request(&customer)).await.unwrap();
            self.entitle(key, limit).await;
        }
    }

    pub(super) async fn entitle(&self, customer: &str, limit: Option<&str>) {
        self.entitle_for(customer, limit, "month").await;
    }

    /// An entitlement of a customer with a usage period of this interval.
    pub(super) async fn entitle_for(&self, customer: &str, limit: Option<&str>, interval: &str) {
        let entitlement = json!({"feature": "tokens", "type": "metered", "limit": limit,
            "usage_period": {"interval": interval}});
        let ops = &self.engine.ops;
        ops.create_entitlement(&self.context(), customer, request(&entitlement)).await.unwrap();
    }

    /// A rule on `tokens` with these percentages, without more than `extra` says.
    pub(super) async fn rule(&self, percentages: &[&str], extra: &Value) -> String {
        let lines: Vec<Value> =
            percentages.iter().map(|it| json!({"kind": "usage_percentage", "value": it})).collect();
        let mut rule = json!({"name": "lines", "type": "entitlements.balance.threshold",
            "features": ["tokens"], "lines": lines});
        for (name, value) in extra.as_object().unwrap() {
            rule[name] = value.clone();
        }
        if rule.get("channels").is_none() {
            rule["channels"] = json!([self.channel(None).await]);
        }
        let made = self.engine.ops.create_rule(&self.context(), request(&rule)).await.unwrap();
        made.id.to_string()
    }

    /// A channel; without an address nobody listens behind it.
    pub(super) async fn channel(&self, address: Option<SocketAddr>) -> String {
        let url = address
            .map_or_else(|| "http://127.0.0.1:50009/".to_owned(), |it| format!("http://{it}/"));
        let channel = json!({"type": "webhook", "name": "ops", "url": url, "event_types": ["*"]});
        let made = self.engine.ops.create_channel(&self.context(), request(&channel)).await;
        made.unwrap().channel.id.to_string()
    }

    /// An event of a subject that uses so many tokens, with an id of its own.
    pub(super) fn event(&mut self, subject: &str, tokens: &Value) -> Value {
        self.sequence += 1;
        event(&self.sequence.to_string(), subject, tokens)
    }

    pub(super) async fn send(&self, events: &[Value]) -> Result<Answer, IngestError> {
        let environment = self.context().environment();
        let body = Bytes::from(serde_json::to_vec(events).unwrap());
        self.engine.ingest.accept(environment, body, Mode::Either).await
    }

    /// Sends one event that is accepted.
    pub(super) async fn uses(&mut self, subject: &str, tokens: i64) {
        let event = self.event(subject, &json!(tokens));
        let answer = self.send(&[event]).await.unwrap();
        assert_eq!((answer.accepted, answer.rejected), (1, vec![]));
    }

    /// The usage of `tokens`.
    pub(super) async fn usage(&self, customer: &str) -> String {
        let value =
            self.engine.ops.entitlement_value(&self.context(), customer, "tokens").await.unwrap();
        let value = serde_json::to_value(value).unwrap();
        value["usage"].as_str().unwrap().to_owned()
    }

    /// Every notification, the oldest first, as JSON.
    pub(super) async fn notifications(&self) -> Vec<Value> {
        let query = NotificationQuery { limit: Some(1000), ..NotificationQuery::default() };
        let page = self.engine.ops.list_notifications(&self.context(), &query).await.unwrap();
        let page = serde_json::to_value(page).unwrap();
        let mut items = page["items"].as_array().unwrap().clone();
        items.reverse();
        items
    }

    /// What was crossed, in the order of the levels: `"80 crossed usage"`.
    pub(super) async fn crossings(&self) -> Vec<String> {
        let all = self.notifications().await;
        let crossings = all.iter().filter(|it| it["type"] != "entitlements.reset");
        let mut all: Vec<String> = crossings.map(in_short).collect();
        all.sort();
        all
    }
}

/// A notification in short: line, edge, cause, and the reason it was not sent, if there is one.
fn in_short(notification: &Value) -> String {
    let data = &notification["payload"]["data"];
    let word = |it: &Value| it.as_str().unwrap_or_default().to_owned();
    let mut words = vec![word(&data["line"]["value"]), word(&data["edge"]), word(&data["cause"])];
    words.extend(notification["reason"].as_str().map(str::to_owned));
    words.join(" ")
}

pub(super) fn event(id: &str, subject: &str, tokens: &Value) -> Value {
    json!({"specversion": "1.0", "id": id, "source": "test", "type": "llm.request",
        "subject": subject, "data": {"tokens": tokens}})
}

pub(super) fn request<T: serde::de::DeserializeOwned>(document: &Value) -> T {
    parse_request(&serde_json::to_vec(document).unwrap()).unwrap()
}

async fn engine(store: &Arc<FaultyStore>, clock: &Arc<StandingClock>) -> Engine {
    let deps = Deps {
        store: store.clone() as Arc<dyn Store>,
        clock: clock.clone(),
        random: Arc::new(SystemRandom),
        tasks: TaskGroup::new(),
    };
    let options = Options {
        partitions: 2,
        vault: Arc::new(Vault::new(&[7; 32], Arc::new(SystemRandom))),
        allow: "127.0.0.0/8".parse::<AllowList>().unwrap(),
        keep_log_ms: None,
    };
    Engine::start(deps, options).await.unwrap()
}
