//! A store, a dispatcher and what a test needs to look into them.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use plimsoll_core::{
    ids::{ChannelId, CustomerId, DeliveryId, EnvironmentId, NotificationId},
    time::Timestamp,
};
use plimsoll_engine::{
    delivery::{
        channels::{Channel, ChannelRegistry},
        client::{Client, ClientOptions, Resolve, ResolveError},
        dispatcher::{ChannelEvents, Dispatcher, DispatcherHandle, Outbound},
        formats::Format,
        guard::vet_url,
        signature::Secret,
    },
    deps::{BoxFuture, Clock, Deps, SystemRandom, TaskGroup},
};
use plimsoll_store::{
    Batch, Lane, SqliteStore, Store,
    attempt::{self, AttemptRow},
    delivery::{self, DeliveryRow, DeliveryState},
    faulty::FaultyStore,
    notification::{self, NotificationRow},
};
use rustls::pki_types::CertificateDer;
use tempfile::TempDir;
use url::Url;

use super::{
    clock::SkippableClock,
    receiver::{Receiver, Reply},
};

/// How long a condition may take to come about.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);
pub(super) const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
pub(super) const ENVIRONMENT: EnvironmentId = EnvironmentId::from_parts(1, 1);

/// Everything that one test needs.
pub(super) struct World {
    pub(super) store: Arc<FaultyStore>,
    pub(super) clock: Arc<SkippableClock>,
    pub(super) channels: ChannelRegistry,
    pub(super) names: Arc<Names>,
    pub(super) events: Arc<GoneChannels>,
    /// Receivers run in it, beyond a restart of delivery.
    pub(super) outside: TaskGroup,
    /// Delivery runs in it.
    tasks: TaskGroup,
    handle: Option<DispatcherHandle>,
    trusted: Vec<CertificateDer<'static>>,
    made: u64,
    _directory: TempDir,
}

/// Names that tests give to addresses.
#[derive(Debug, Default)]
pub(super) struct Names(Mutex<HashMap<String, Vec<IpAddr>>>);

/// Channels that were reported as gone.
#[derive(Debug, Default)]
pub(super) struct GoneChannels(Mutex<Vec<ChannelId>>);

impl World {
    /// A world in which delivery runs.
    pub(super) async fn start() -> Self {
        let mut world = Self::asleep().await;
        world.wake();
        world
    }

    /// A world in which delivery does not run yet.
    pub(super) async fn asleep() -> Self {
        let directory = TempDir::new().unwrap();
        let sqlite = SqliteStore::open(directory.path()).await.unwrap();
        Self {
            store: FaultyStore::new(sqlite),
            clock: Arc::new(SkippableClock::new()),
            channels: ChannelRegistry::new(),
            names: Arc::default(),
            events: Arc::default(),
            outside: TaskGroup::new(),
            tasks: TaskGroup::new(),
            handle: None,
            trusted: Vec::new(),
            made: 0,
            _directory: directory,
        }
    }

    /// Trusts an authority from the next start of delivery on.
    pub(super) fn trust(&mut self, authority: CertificateDer<'static>) {
        self.trusted.push(authority);
    }

    /// Starts delivery.
    pub(super) fn wake(&mut self) {
        self.tasks = TaskGroup::new();
        let deps = Deps {
            store: Arc::<FaultyStore>::clone(&self.store),
            clock: Arc::<SkippableClock>::clone(&self.clock),
            random: Arc::new(SystemRandom),
            tasks: self.tasks.clone(),
        };
        let client = Client::new(ClientOptions {
            allow: "127.0.0.0/8".parse().unwrap(),
            extra_roots: self.trusted.clone(),
            resolver: Arc::<Names>::clone(&self.names),
            clock: Arc::<SkippableClock>::clone(&self.clock),
        });
        let handle = Dispatcher::start(deps, self.channels.clone(), client);
        handle.listen(Arc::<GoneChannels>::clone(&self.events));
        self.handle = Some(handle);
    }

    /// The client that delivery uses.
    pub(super) fn client(&self) -> Client {
        self.handle.as_ref().unwrap().client().clone()
    }

    /// Stops delivery; the receivers go on.
    pub(super) async fn sleep(&mut self) {
        self.handle = None;
        let stopped = tokio::time::timeout(PATIENCE, self.tasks.stop()).await;
        assert!(stopped.is_ok(), "delivery does not stop");
    }

    /// Ends the test: everything stops, nothing hangs.
    pub(super) async fn end(mut self) {
        self.sleep().await;
        self.outside.stop().await;
        self.store.close().await;
    }

    pub(super) async fn receiver(&self, reply: Reply) -> Receiver {
        Receiver::start(&self.outside, reply).await
    }

    /// Adds a channel to this URL.
    pub(super) fn channel(&self, url: &str) -> ChannelId {
        let id = ChannelId::from_parts(1, rand());
        self.put(channel(id, vet_url(url, &"127.0.0.0/8".parse().unwrap()).unwrap()));
        id
    }

    pub(super) fn put(&self, channel: Channel) {
        self.channels.put(channel);
    }

    /// Commits deliveries to a channel, about these customers in turn, and does not offer them.
    pub(super) async fn commit(&mut self, channel: ChannelId, customers: &[u64]) -> Vec<Outbound> {
        let now = self.clock.now();
        let outbound: Vec<_> = customers
            .iter()
            .map(|customer| {
                self.made += 1;
                Outbound {
                    delivery: DeliveryId::from_parts(self.made, rand()),
                    notification: NotificationId::from_parts(self.made, rand()),
                    channel,
                    customer: Some(CustomerId::from_parts(*customer, 0)),
                    ordinal: self.made as i64,
                    body: Bytes::from(format!("{{\"number\":{}}}", self.made)),
                }
            })
            .collect();
        let notifications = outbound.iter().map(|it| notification_row(it, now)).collect();
        let deliveries = outbound.iter().map(|it| delivery_row(it, now)).collect();
        let mut statements = notification::insert(notifications);
        statements.extend(delivery::insert(deliveries));
        self.store.commit(Batch::new(Lane::Log, statements)).await.unwrap();
        outbound
    }

    pub(super) fn offer(&self, outbound: Vec<Outbound>) {
        self.handle.as_ref().unwrap().offer(outbound);
    }

    /// Commits and offers so many deliveries about one customer.
    pub(super) async fn send(&mut self, channel: ChannelId, count: usize) -> Vec<Outbound> {
        let outbound = self.commit(channel, &vec![7; count]).await;
        self.offer(outbound.clone());
        outbound
    }

    /// Commits and offers one delivery.
    pub(super) async fn send_one(&mut self, channel: ChannelId) -> DeliveryId {
        self.send(channel, 1).await[0].delivery
    }

    pub(super) async fn row(&self, delivery: DeliveryId) -> DeliveryRow {
        delivery::get(&*self.store, delivery).await.unwrap().unwrap()
    }

    pub(super) async fn attempts(&self, delivery: DeliveryId) -> Vec<AttemptRow> {
        let mut attempts = attempt::of_deliveries(&*self.store, &[delivery]).await.unwrap();
        attempts.remove(&delivery).unwrap_or_default()
    }

    /// Waits until the delivery has so many attempts, and gives its row.
    pub(super) async fn attempted(&self, delivery: DeliveryId, attempts: u32) -> DeliveryRow {
        self.wait(delivery, |row| row.attempts >= attempts).await
    }

    /// Waits until the delivery is in this state, and gives its row.
    pub(super) async fn reached(&self, delivery: DeliveryId, state: DeliveryState) -> DeliveryRow {
        self.wait(delivery, |row| row.state == state).await
    }

    /// Waits until all of these deliveries are in this state.
    pub(super) async fn all_reached(&self, outbound: &[Outbound], state: DeliveryState) {
        for it in outbound {
            self.reached(it.delivery, state).await;
        }
    }

    async fn wait(
        &self,
        delivery: DeliveryId,
        is_met: impl Fn(&DeliveryRow) -> bool,
    ) -> DeliveryRow {
        let waiting = async {
            loop {
                let row = self.row(delivery).await;
                if is_met(&row) {
                    return row;
                }
                tokio::task::yield_now().await;
            }
        };
        if let Ok(row) = tokio::time::timeout(PATIENCE, waiting).await {
            return row;
        }
        panic!("it does not come about: {:?}", self.row(delivery).await)
    }

    /// Moves the clock to the delivery's next attempt, and just past it.
    pub(super) async fn skip_to_next_attempt(&self, delivery: DeliveryId) {
        let next = self.row(delivery).await.next_attempt_at.expect("it is open");
        let wait_ms = next.ms_since(self.clock.now()).max(0) + 1;
        self.clock.skip(Duration::from_millis(wait_ms as u64));
    }
}

impl Names {
    /// Gives a name (without a dot at the end) these addresses.
    pub(super) fn set(&self, name: &str, addresses: &[&str]) {
        let addresses = addresses.iter().map(|it| it.parse().unwrap()).collect();
        self.0.lock().unwrap().insert(format!("{name}."), addresses);
    }
}

impl Resolve for Names {
    fn resolve(&self, name: &str) -> BoxFuture<'_, Result<Vec<IpAddr>, ResolveError>> {
        let found = self.0.lock().unwrap().get(name).cloned();
        Box::pin(async { found.ok_or_else(|| ResolveError { detail: "no such name".to_owned() }) })
    }
}

impl GoneChannels {
    pub(super) fn all(&self) -> Vec<ChannelId> {
        self.0.lock().unwrap().clone()
    }
}

impl ChannelEvents for GoneChannels {
    fn gone(&self, channel: ChannelId) -> BoxFuture<'static, ()> {
        self.0.lock().unwrap().push(channel);
        Box::pin(async {})
    }
}

/// An enabled channel.
pub(super) fn channel(id: ChannelId, url: Url) -> Channel {
    Channel {
        id,
        environment: ENVIRONMENT,
        name: "test".to_owned(),
        url,
        headers: Vec::new(),
        secrets: vec![Secret::parse(SECRET, None).unwrap()],
        format: Format::Plimsoll,
        disabled: false,
        event_types: Vec::new(),
        rate_limit: None,
    }
}

pub(super) fn rand() -> u128 {
    use plimsoll_engine::deps::Random as _;

    SystemRandom.bits()
}

fn notification_row(outbound: &Outbound, now: Timestamp) -> NotificationRow {
    NotificationRow {
        id: outbound.notification,
        identity: Bytes::copy_from_slice(&outbound.notification.bits().to_be_bytes()),
        environment: ENVIRONMENT,
        r#type: "test".to_owned(),
        edge: String::new(),
        customer: outbound.customer,
        feature: None,
        rule: None,
        reason: None,
        created_at: now,
        ordinal: outbound.ordinal,
        doc: outbound.body.clone(),
        rule_snapshot: None,
    }
}

fn delivery_row(outbound: &Outbound, now: Timestamp) -> DeliveryRow {
    DeliveryRow {
        id: outbound.delivery,
        notification: outbound.notification,
        environment: ENVIRONMENT,
        channel: outbound.channel,
        customer: outbound.customer,
        n: 1,
        state: DeliveryState::Pending,
        attempts: 0,
        next_attempt_at: Some(now),
        ordinal: outbound.ordinal,
        format: Format::Plimsoll.versioned().to_owned(),
        error: None,
        created_at: now,
        updated_at: now,
    }
}
