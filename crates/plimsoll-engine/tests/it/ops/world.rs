//! A control plane over a store of its own, and a small router from paths to its methods.

use std::{path::Path, sync::Arc};

use plimsoll_core::ids::EnvironmentId;
use plimsoll_engine::{
    catalogue::Catalogue,
    delivery::channels::ChannelRegistry,
    deps::{Deps, SystemRandom, TaskGroup},
    ops::{
        Caller, Context, FirstKeys, IdempotencyToken, Ops, OpsParts, channel,
        notification::NotificationQuery,
        page::ListRequest,
        problem::{Problem, ProblemCode},
        request::parse_request,
    },
    reads::{EventReader, usage::UsageReader},
    vault::{MASTER_KEY_BYTES, Vault},
};
use plimsoll_store::{SqliteStore, Store};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    clock::StandingClock,
    partitions::{Offered, Partitions},
};

/// When every test begins.
pub(super) const BEGIN: &str = "2026-03-01T12:00:00Z";

pub(super) struct World {
    pub(super) ops: Ops,
    pub(super) deps: Deps,
    pub(super) clock: Arc<StandingClock>,
    pub(super) partitions: Arc<Partitions>,
    pub(super) offered: Arc<Offered>,
    pub(super) channels: ChannelRegistry,
    pub(super) live: User,
    pub(super) sandbox: User,
    pub(super) directory: TempDir,
}

/// Someone with an API key.
#[derive(Debug, Clone)]
pub(super) struct User {
    pub(super) ops: Ops,
    pub(super) caller: Caller,
    pub(super) token: String,
}

/// The parts of a control plane that go with one opening of a store.
pub(super) struct Opened {
    pub(super) ops: Ops,
    pub(super) deps: Deps,
    pub(super) partitions: Arc<Partitions>,
    pub(super) offered: Arc<Offered>,
    pub(super) channels: ChannelRegistry,
}

pub(super) async fn open(directory: &Path, clock: &Arc<StandingClock>) -> Opened {
    let store: Arc<dyn Store> = SqliteStore::open(directory).await.unwrap();
    let deps = Deps {
        store: Arc::clone(&store),
        clock: Arc::clone(clock) as _,
        random: Arc::new(SystemRandom),
        tasks: TaskGroup::new(),
    };
    let catalogue = Catalogue::load(store.as_ref()).await.unwrap();
    let partitions = Arc::new(Partitions::new(Arc::clone(&store), Arc::clone(clock) as _));
    let offered = Arc::new(Offered::default());
    let channels = ChannelRegistry::new();
    let vault = Arc::new(Vault::new(&[7; MASTER_KEY_BYTES], Arc::new(SystemRandom)));
    channel::register(&catalogue, &channels, &vault);
    let parts = OpsParts {
        catalogue,
        partitions: Arc::clone(&partitions) as _,
        events: EventReader::new(Arc::clone(&deps.store), 1),
        usage: UsageReader::new(store, Arc::clone(&partitions) as _),
        redelivery: Arc::clone(&offered) as _,
        channels: channels.clone(),
        vault,
        allow: "10.0.0.0/8".parse().unwrap(),
    };
    Opened { ops: Ops::start(deps.clone(), parts), deps, partitions, offered, channels }
}

impl World {
    pub(super) async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let clock = Arc::new(StandingClock::at(BEGIN));
        let opened = open(directory.path(), &clock).await;
        let keys = opened.ops.bootstrap(None).await.unwrap().unwrap();
        Self::with(opened, clock, directory, &keys)
    }

    fn with(
        opened: Opened,
        clock: Arc<StandingClock>,
        directory: TempDir,
        keys: &FirstKeys,
    ) -> Self {
        let user = |token: &str| User::new(&opened.ops, token);
        Self {
            live: user(&keys.live.token),
            sandbox: user(&keys.sandbox.token),
            ops: opened.ops,
            deps: opened.deps,
            partitions: opened.partitions,
            offered: opened.offered,
            channels: opened.channels,
            clock,
            directory,
        }
    }

    /// The same store in another process.
    pub(super) async fn reopen(self) -> Self {
        let Self { deps, clock, directory, live, sandbox, partitions, .. } = self;
        deps.tasks.stop().await;
        deps.store.close().await;
        drop((deps, partitions));
        let opened = open(directory.path(), &clock).await;
        Self {
            live: User::new(&opened.ops, &live.token),
            sandbox: User::new(&opened.ops, &sandbox.token),
            ops: opened.ops,
            deps: opened.deps,
            partitions: opened.partitions,
            offered: opened.offered,
            channels: opened.channels,
            clock,
            directory,
        }
    }

    /// Everything that the store's resources say, as text.
    pub(super) fn stored_text(&self) -> String {
        let mut text = Vec::new();
        for entry in std::fs::read_dir(self.directory.path()).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                text.extend(std::fs::read(path).unwrap());
            }
        }
        String::from_utf8_lossy(&text).into_owned()
    }
}

impl User {
    pub(super) fn new(ops: &Ops, token: &str) -> Self {
        let caller = ops.authenticate(token).unwrap();
        Self { ops: ops.clone(), caller, token: token.to_owned() }
    }

    pub(super) fn environment(&self) -> EnvironmentId {
        self.caller.environment
    }

    pub(super) fn context(&self, idempotency: Option<IdempotencyToken>) -> Context {
        self.ops.context(self.caller.clone(), idempotency)
    }

    pub(super) async fn post(&self, path: &str, body: Value) -> Result<Value, Problem> {
        self.send("POST", path, body.to_string().as_bytes(), None).await
    }

    pub(super) async fn patch(&self, path: &str, body: Value) -> Result<Value, Problem> {
        self.send("PATCH", path, body.to_string().as_bytes(), None).await
    }

    pub(super) async fn get(&self, path: &str) -> Result<Value, Problem> {
        self.send("GET", path, b"", None).await
    }

    pub(super) async fn delete(&self, path: &str) -> Result<(), Problem> {
        self.send("DELETE", path, b"", None).await.map(drop)
    }

    /// The items of the first page of a list.
    pub(super) async fn items(&self, path: &str) -> Vec<Value> {
        let page = self.get(path).await.unwrap();
        page["items"].as_array().unwrap().clone()
    }

    pub(super) async fn send(
        &self,
        method: &str,
        path: &str,
        body: &[u8],
        idempotency: Option<IdempotencyToken>,
    ) -> Result<Value, Problem> {
        let context = &self.context(idempotency);
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let segments: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        match segments.as_slice() {
            ["meters", rest @ ..] => self.meters(context, method, rest, query, body).await,
            ["features", rest @ ..] => self.features(context, method, rest, query, body).await,
            ["channels", rest @ ..] => self.channels(context, method, rest, query, body).await,
            ["rules", rest @ ..] => self.rules(context, method, rest, query, body).await,
            ["api-keys", rest @ ..] => self.api_keys(context, method, rest, query, body).await,
            ["customers", customer, "entitlements", rest @ ..] => {
                self.entitlements(context, customer, method, rest, query, body).await
            }
            ["customers", customer, "access"] => {
                shown(self.ops.customer_access(context, customer, &list(query)).await)
            }
            ["customers", rest @ ..] => self.customers(context, method, rest, query, body).await,
            ["notifications", rest @ ..] => {
                self.notifications(context, method, rest, query, body).await
            }
            ["audit"] => shown(self.ops.list_audit(context, &list(query)).await),
            ["environment"] if method == "GET" => shown(self.ops.environment(context)),
            ["environment"] => {
                shown(self.ops.update_environment(context, parse_request(body)?).await)
            }
            _ => panic!("no route {method} {path}"),
        }
    }

    async fn meters(
        &self,
        context: &Context,
        method: &str,
        rest: &[&str],
        query: &str,
        body: &[u8],
    ) -> Result<Value, Problem> {
        match (method, rest) {
            ("POST", []) => shown(self.ops.create_meter(context, parse_request(body)?).await),
            ("GET", []) => shown(self.ops.list_meters(context, &list(query))),
            ("GET", [name]) => shown(self.ops.get_meter(context, name)),
            ("PATCH", [name]) => {
                shown(self.ops.update_meter(context, name, parse_request(body)?).await)
            }
            ("DELETE", [name]) => shown(self.ops.delete_meter(context, name).await),
            other => panic!("no route {other:?}"),
        }
    }

    async fn features(
        &self,
        context: &Context,
        method: &str,
        rest: &[&str],
        query: &str,
        body: &[u8],
    ) -> Result<Value, Problem> {
        match (method, rest) {
            ("POST", []) => shown(self.ops.create_feature(context, parse_request(body)?).await),
            ("GET", []) => shown(self.ops.list_features(context, &list(query))),
            ("GET", [name]) => shown(self.ops.get_feature(context, name)),
            ("PATCH", [name]) => {
                shown(self.ops.update_feature(context, name, parse_request(body)?).await)
            }
            ("DELETE", [name]) => shown(self.ops.delete_feature(context, name).await),
            other => panic!("no route {other:?}"),
        }
    }

    async fn channels(
        &self,
        context: &Context,
        method: &str,
        rest: &[&str],
        query: &str,
        body: &[u8],
    ) -> Result<Value, Problem> {
        match (method, rest) {
            ("POST", []) => shown(self.ops.create_channel(context, parse_request(body)?).await),
            ("POST", [name, "rotate-secret"]) => {
                shown(self.ops.rotate_channel_secret(context, name, parse_request(body)?).await)
            }
            ("GET", []) => shown(self.ops.list_channels(context, &list(query))),
            ("GET", [name]) => shown(self.ops.get_channel(context, name)),
            ("PATCH", [name]) => {
                shown(self.ops.update_channel(context, name, parse_request(body)?).await)
            }
            ("DELETE", [name]) => shown(self.ops.delete_channel(context, name).await),
            other => panic!("no route {other:?}"),
        }
    }

    async fn rules(
        &self,
        context: &Context,
        method: &str,
        rest: &[&str],
        query: &str,
        body: &[u8],
    ) -> Result<Value, Problem> {
        match (method, rest) {
            ("POST", []) => shown(self.ops.create_rule(context, parse_request(body)?).await),
            ("GET", []) => shown(self.ops.list_rules(context, &list(query))),
            ("GET", [name]) => shown(self.ops.get_rule(context, name)),
            ("PATCH", [name]) => {
                shown(self.ops.update_rule(context, name, parse_request(body)?).await)
            }
            ("DELETE", [name]) => shown(self.ops.delete_rule(context, name).await),
            other => panic!("no route {other:?}"),
        }
    }

    async fn customers(
        &self,
        context: &Context,
        method: &str,
        rest: &[&str],
        query: &str,
        body: &[u8],
    ) -> Result<Value, Problem> {
        match (method, rest) {
            ("POST", []) => shown(self.ops.create_customer(context, parse_request(body)?).await),
            ("GET", []) => shown(self.ops.list_customers(context, &list(query)).await),
            ("GET", [name]) => shown(self.ops.get_customer(context, name).await),
            ("PATCH", [name]) => {
                shown(self.ops.update_customer(context, name, parse_request(body)?).await)
            }
            ("DELETE", [name]) => shown(self.ops.delete_customer(context, name).await),
            other => panic!("no route {other:?}"),
        }
    }

    async fn entitlements(
        &self,
        context: &Context,
        customer: &str,
        method: &str,
        rest: &[&str],
        query: &str,
        body: &[u8],
    ) -> Result<Value, Problem> {
        let ops = &self.ops;
        match (method, rest) {
            ("POST", []) => {
                shown(ops.create_entitlement(context, customer, parse_request(body)?).await)
            }
            ("GET", []) => shown(ops.list_entitlements(context, customer, &list(query)).await),
            ("GET", [name]) => shown(ops.get_entitlement(context, customer, name).await),
            ("GET", [name, "value"]) => shown(ops.entitlement_value(context, customer, name).await),
            ("GET", [name, "history"]) => {
                let request = parameters(query);
                shown(ops.entitlement_history(context, customer, name, &request).await)
            }
            ("POST", [name, "reset"]) => {
                let request = parse_request(body)?;
                shown(ops.reset_entitlement(context, customer, name, request).await)
            }
            ("POST", [name, "grants"]) => {
                shown(ops.create_grant(context, customer, name, parse_request(body)?).await)
            }
            ("GET", [name, "grants"]) => {
                shown(ops.list_grants(context, customer, name, &list(query)).await)
            }
            ("GET", [name, "grants", grant]) => {
                shown(ops.get_grant(context, customer, name, grant).await)
            }
            ("DELETE", [name, "grants", grant]) => {
                let request = parameters(query);
                shown(ops.void_grant(context, customer, name, grant, request).await)
            }
            ("PATCH", [name]) => {
                let request = parse_request(body)?;
                shown(ops.update_entitlement(context, customer, name, request).await)
            }
            ("DELETE", [name]) => shown(ops.delete_entitlement(context, customer, name).await),
            other => panic!("no route {other:?}"),
        }
    }

    async fn api_keys(
        &self,
        context: &Context,
        method: &str,
        rest: &[&str],
        query: &str,
        body: &[u8],
    ) -> Result<Value, Problem> {
        match (method, rest) {
            ("POST", []) => shown(self.ops.create_api_key(context, parse_request(body)?).await),
            ("GET", []) => shown(self.ops.list_api_keys(context, &list(query))),
            ("GET", [name]) => shown(self.ops.get_api_key(context, name)),
            ("DELETE", [name]) => shown(self.ops.revoke_api_key(context, name).await),
            other => panic!("no route {other:?}"),
        }
    }

    async fn notifications(
        &self,
        context: &Context,
        method: &str,
        rest: &[&str],
        query: &str,
        body: &[u8],
    ) -> Result<Value, Problem> {
        match (method, rest) {
            ("GET", []) => {
                let query: NotificationQuery = parameters(query);
                shown(self.ops.list_notifications(context, &query).await)
            }
            ("GET", [name]) => shown(self.ops.get_notification(context, name).await),
            ("POST", [name, "resend"]) => {
                shown(self.ops.resend_notification(context, name, parse_request(body)?).await)
            }
            other => panic!("no route {other:?}"),
        }
    }
}

fn shown<T: serde::Serialize>(result: Result<T, Problem>) -> Result<Value, Problem> {
    result.map(|it| serde_json::to_value(it).unwrap())
}

fn list(query: &str) -> ListRequest {
    parameters(query)
}

/// Parameters of a query, without any escapes.
fn parameters<T: serde::de::DeserializeOwned>(query: &str) -> T {
    let pairs = query.split('&').filter(|it| !it.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap();
        let value =
            if name == "limit" { json!(value.parse::<u64>().unwrap()) } else { json!(value) };
        (name.to_owned(), value)
    });
    serde_json::from_value(Value::Object(pairs.collect())).unwrap()
}

/// Code and field of a refusal; empty texts if there was none.
pub(super) fn refusal<T>(result: Result<T, Problem>) -> (&'static str, String) {
    match result {
        Ok(_) => ("", String::new()),
        Err(problem) => (problem.code.as_str(), problem.field.unwrap_or_default()),
    }
}

/// The code of a refusal.
pub(super) fn code<T>(result: Result<T, Problem>) -> Option<ProblemCode> {
    result.err().map(|it| it.code)
}

/// The id of a document.
pub(super) fn id(document: &Value) -> String {
    document["id"].as_str().unwrap().to_owned()
}

/// A meter `tokens` and a feature `tokens`.
pub(super) async fn tokens(user: &User) {
    let meter = json!({"key": "tokens", "name": "Tokens", "event_type": "llm.request",
        "aggregation": "sum", "value_property": "$.tokens"});
    user.post("/meters", meter).await.unwrap();
    let feature = json!({"key": "tokens", "name": "Tokens", "type": "metered", "meter": "tokens"});
    user.post("/features", feature).await.unwrap();
}

/// A channel `name`; its id.
pub(super) async fn channel_of(user: &User, name: &str) -> String {
    let channel = json!({"type": "webhook", "name": name, "url": "https://example.com/hooks",
        "event_types": ["*"]});
    id(&user.post("/channels", channel).await.unwrap())
}

/// The user `live` of another node over the same store, which hears nothing from the first.
pub(super) async fn beside(world: &World) -> User {
    let catalogue = Catalogue::load(world.deps.store.as_ref()).await.unwrap();
    let clock = Arc::clone(&world.clock) as _;
    let partitions = Arc::new(Partitions::new(Arc::clone(&world.deps.store), clock));
    let parts = OpsParts {
        catalogue,
        usage: UsageReader::new(Arc::clone(&world.deps.store), Arc::clone(&partitions) as _),
        partitions,
        events: EventReader::new(Arc::clone(&world.deps.store), 1),
        redelivery: Arc::clone(&world.offered) as _,
        channels: ChannelRegistry::new(),
        vault: Arc::new(Vault::new(&[7; MASTER_KEY_BYTES], Arc::new(SystemRandom))),
        allow: "10.0.0.0/8".parse().unwrap(),
    };
    let ops = Ops::start(world.deps.clone(), parts);
    User::new(&ops, &world.live.token)
}
