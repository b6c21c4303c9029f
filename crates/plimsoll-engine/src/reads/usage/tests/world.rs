//! Partitions over a store of their own, without a control plane: meters of every kind.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use plimsoll_core::{
    catalog::meter::{Aggregation, GroupKey, Meter},
    command::{ControlCommand, CustomerCommand},
    entitlement::period::Window,
    ids::{CustomerId, EnvironmentId, MeterId},
    metering::bucket::Bucket,
    time::Timestamp,
};
use plimsoll_store::{SqliteStore, Store};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::super::{Step, UsageError, UsageQuery, UsageReader, UsageRow, open::OpenCells};
use crate::{
    delivery::{
        channels::ChannelRegistry,
        client::{Client, ClientOptions, SystemResolver},
        dispatcher::Dispatcher,
    },
    deps::{BoxFuture, Clock, Deps, SystemRandom, TaskGroup},
    ingest::{Identify, body::BodyText, event::EventReader, json::Scanner},
    ops::{
        customer::Customer,
        port::{CustomerChange, PartitionPort},
    },
    partition::{IncomingEvent, Partitions, PartitionsOptions, UsageOutcome, UsageRequest},
};

pub(super) const ENVIRONMENT: EnvironmentId = EnvironmentId::from_parts(1, 1);
/// By what every meter here can tell usage apart.
pub(super) const KEYS: [&str; 2] = ["model", "region"];
const PARTITIONS: u32 = 3;

/// Time of day that stands still until it is set; nobody is woken by it.
#[derive(Debug)]
pub(super) struct StandingClock(AtomicI64);

impl StandingClock {
    pub(super) fn set(&self, to: Timestamp) {
        self.0.store(to.as_ms(), Ordering::SeqCst);
    }
}

impl Clock for StandingClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_ms(self.0.load(Ordering::SeqCst))
    }

    fn elapsed(&self) -> Duration {
        Duration::ZERO
    }

    fn sleep(&self, _: Duration) -> BoxFuture<'static, ()> {
        Box::pin(std::future::pending())
    }
}

pub(super) struct World {
    pub(super) clock: Arc<StandingClock>,
    pub(super) partitions: Partitions,
    pub(super) meters: Vec<Arc<Meter>>,
    store: Arc<dyn Store>,
    deps: Deps,
    _directory: TempDir,
}

pub(super) fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub(super) fn customer(number: u64) -> CustomerId {
    // Ids that are neither in the order of their making nor all of one partition.
    CustomerId::from_parts(7, u128::from(number.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
}

/// One meter of each kind, all of the event type `t`.
pub(super) fn meters() -> Vec<Arc<Meter>> {
    let value = || "$.v".parse().unwrap();
    let multiplier = "0.5".parse().unwrap();
    let kinds = [
        Aggregation::Count,
        Aggregation::Sum { value: value() },
        Aggregation::SumWithMultiplier { value: value(), multiplier },
        Aggregation::BucketedSum { value: value(), bucket: Bucket::Hour },
        Aggregation::Average { value: value() },
        Aggregation::Min { value: value() },
        Aggregation::Max { value: value() },
        Aggregation::BucketedMax { value: value(), bucket: Bucket::Minutes15 },
        Aggregation::Latest { value: value() },
        Aggregation::UniqueCount { value: value() },
        Aggregation::WeightedSum { value: value() },
    ];
    let meter = |(number, aggregation)| {
        let key = |name: &&str| GroupKey {
            name: (*name).into(),
            path: format!("$.{name}").parse().unwrap(),
        };
        Arc::new(Meter {
            id: MeterId::from_parts(1, number),
            environment: ENVIRONMENT,
            event_type: "t".into(),
            aggregation,
            group_by: KEYS.iter().map(key).collect(),
            filters: Vec::new(),
        })
    };
    (0..).zip(kinds).map(meter).collect()
}

impl World {
    pub(super) async fn start(now: &str) -> Self {
        let directory = TempDir::new().unwrap();
        let store = SqliteStore::open(directory.path()).await.unwrap();
        let clock = Arc::new(StandingClock(AtomicI64::new(at(now).as_ms())));
        let deps = deps(&store, &clock);
        let partitions = partitions(&deps);
        let meters = meters();
        for meter in &meters {
            let command = ControlCommand::PutMeter(Meter::clone(meter));
            partitions.control(Some(command), Vec::new()).await.unwrap();
        }
        Self { clock, partitions, meters, store, deps, _directory: directory }
    }

    /// Other owners take over, as after a crash or, with `gently`, after a stop.
    pub(super) async fn restart(&mut self, gently: bool) {
        if gently {
            self.deps.tasks.stop().await;
        }
        self.deps = deps(&self.store, &self.clock);
        self.partitions = partitions(&self.deps);
        while !self.partitions.is_ready() {
            tokio::task::yield_now().await;
        }
    }

    pub(super) async fn delete(&self, customer: CustomerId) {
        let change = CustomerChange {
            environment: ENVIRONMENT,
            customer,
            commands: vec![CustomerCommand::Delete { customer }],
            statements: Vec::new(),
            documents: Vec::new(),
            opening: None,
        };
        self.partitions.change(change).await.unwrap();
    }

    pub(super) fn reader(&self) -> UsageReader {
        self.reader_over(Arc::new(self.partitions.clone()))
    }

    pub(super) fn reader_over(&self, open: Arc<dyn OpenCells>) -> UsageReader {
        UsageReader::new(Arc::clone(&self.store), open)
    }

    /// Sends events at the same time; the sum of what became of them.
    pub(super) async fn send(&self, events: &[(CustomerId, Value)]) -> UsageOutcome {
        let requests = events.iter().map(|(customer, event)| {
            let partition = self.partitions.of(*customer);
            self.partitions.usage(partition, request(*customer, event))
        });
        let mut sum = UsageOutcome::default();
        for outcome in futures_util::future::join_all(requests).await {
            let outcome = outcome.unwrap();
            sum.accepted += outcome.accepted;
            sum.duplicates += outcome.duplicates;
        }
        sum
    }

    /// Everything that a query asks for, page by page.
    pub(super) async fn all(&self, query: &UsageQuery) -> Vec<UsageRow> {
        let mut query = query.clone();
        let mut rows = Vec::new();
        loop {
            let page = self.reader().read(&query).await.unwrap();
            assert!(page.rows.len() <= query.limit);
            assert!(page.next.is_none() || page.rows.len() == query.limit, "no short page");
            rows.extend(page.rows);
            match page.next {
                Some(next) => query.after = Some(next),
                None => return rows,
            }
        }
    }

    /// A query of everybody, without groups.
    pub(super) fn query(&self, meter: usize, step: Step, from: &str, to: &str) -> UsageQuery {
        UsageQuery {
            meter: Arc::clone(&self.meters[meter]),
            customers: None,
            by_customer: false,
            by: Vec::new(),
            filters: Vec::new(),
            step,
            range: Window { from: at(from), to: at(to) },
            now: self.clock.now(),
            after: None,
            limit: 1_000,
        }
    }
}

/// An event as it is sent.
pub(super) fn event(id: &str, time: Option<Timestamp>, data: &Value) -> Value {
    let mut event = json!({"specversion": "1.0", "id": id, "source": "test", "type": "t",
        "subject": "s", "data": data});
    if let Some(time) = time {
        event["time"] = json!(time.to_string());
    }
    event
}

pub(super) fn request(customer: CustomerId, event: &Value) -> UsageRequest {
    let body = BodyText::new(event.to_string().into_bytes().into()).unwrap();
    let text = body.as_str();
    let read = EventReader::default().read(&mut Scanner::new(text)).unwrap().unwrap();
    let identity = identify().event(customer, &read.source, &read.id);
    let incoming = IncomingEvent::new(text, 0, customer, identity, &read);
    let made = Customer::provisional(customer, &customer.to_string(), Timestamp::from_ms(0));
    let provisional = vec![made];
    UsageRequest { environment: ENVIRONMENT, body, events: vec![incoming], provisional }
}

pub(super) fn values(rows: Result<Vec<UsageRow>, UsageError>) -> Vec<String> {
    let value = |it: UsageRow| it.value.map_or_else(|| "null".to_owned(), |it| it.to_string());
    rows.unwrap().into_iter().map(value).collect()
}

pub(super) fn names(names: &[&str]) -> BTreeSet<Box<str>> {
    names.iter().map(|it| Box::from(*it)).collect()
}

fn identify() -> Identify {
    Identify::new([7; 16])
}

fn deps(store: &Arc<dyn Store>, clock: &Arc<StandingClock>) -> Deps {
    Deps {
        store: Arc::clone(store),
        clock: Arc::clone(clock) as Arc<dyn Clock>,
        random: Arc::new(SystemRandom),
        tasks: TaskGroup::new(),
    }
}

fn partitions(deps: &Deps) -> Partitions {
    let channels = ChannelRegistry::new();
    let client = Client::new(ClientOptions {
        allow: "127.0.0.0/8".parse().unwrap(),
        extra_roots: Vec::new(),
        resolver: Arc::new(SystemResolver::new()),
        clock: Arc::clone(&deps.clock),
    });
    let dispatcher = Dispatcher::start(deps.clone(), channels.clone(), client);
    let identify = identify();
    let options = PartitionsOptions { count: PARTITIONS, identify, channels, dispatcher };
    Partitions::start(deps, &options)
}
