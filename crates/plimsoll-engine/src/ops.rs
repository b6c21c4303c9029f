//! The only writer of the control plane: API, console and command line all call it.
//!
//! Requests and documents live here because they are the product's own language; the API shows
//! them as they are. Every change writes its rows, its audit row and, where the caller gave one,
//! its idempotency record in one transaction, and is in the catalogue when the call returns.
//!
//! # Methods of [`Ops`]
//!
//! `context: &Context` comes first everywhere. `name: &str` is a key or an id. Lists take
//! `&ListRequest` and give `Page<T>`. Everything fails with [`Problem`]. Methods that only read
//! what the catalogue holds in memory are not async.
//!
//! | resource | methods |
//! |---|---|
//! | who asks | `authenticate(token: &str) -> Caller` (sync), `Caller::require(Scope)`, `async begin(&Caller, route, target, key, body: &[u8]) -> Begun::{Fresh(IdempotencyToken), Replay{status, body: Bytes}}` |
//! | environment | `async bootstrap(Option<&str>) -> Option<FirstKeys>`, `async create_environment(name, EnvironmentKind) -> NewEnvironment`, `environment(context) -> Environment` (sync), `async update_environment(context, UpdateEnvironment) -> Environment` |
//! | clock | `clock(context) -> Clock` (sync), `async set_clock(context, SetClock) -> Clock`, `async advance_clock(context, AdvanceClock) -> Clock` |
//! | meter | `async create_meter(context, CreateMeter) -> Meter`, `get_meter(context, name)`, `list_meters(context, &ListRequest)` (sync), `async update_meter(context, name, UpdateMeter)`, `async delete_meter(context, name) -> ()` |
//! | feature | `create_feature`, `get_feature`, `list_features`, `update_feature`, `delete_feature`: the same with `CreateFeature`, `UpdateFeature`, `Feature` |
//! | channel | `create_channel -> CreatedChannel`, `get_channel`, `list_channels`, `update_channel`, `delete_channel`, `async rotate_channel_secret(context, name, RotateSecret) -> CreatedChannel` |
//! | rule | `create_rule`, `get_rule`, `list_rules`, `update_rule`, `delete_rule`, `async backtest_rule(context, BacktestRule) -> Backtest` with `CreateRule`, `UpdateRule`, `Rule` |
//! | customer | `create_customer`, `async get_customer`, `async list_customers`, `update_customer`, `delete_customer` with `CreateCustomer`, `UpdateCustomer`, `Customer` |
//! | entitlement | `create_entitlement(context, customer, CreateEntitlement)`, `get_entitlement(context, customer, name)`, `list_entitlements(context, customer, &ListRequest)`, `update_entitlement(context, customer, name, UpdateEntitlement)`, `delete_entitlement(context, customer, name)`, `entitlement_value(context, customer, name) -> EntitlementValue`, `reset_entitlement(context, customer, name, ResetEntitlement)`, `entitlement_history(context, customer, name, &HistoryRequest) -> History`, `customer_access(context, customer, &ListRequest) -> Page<FeatureAccess>`; all async; `name` is the feature's key or id, or the entitlement's id |
//! | grant | `create_grant(context, customer, name, CreateGrant) -> Grant`, `get_grant(context, customer, name, grant) -> GrantStanding`, `list_grants(context, customer, name, &ListRequest)`, `void_grant(context, customer, name, grant, VoidGrant) -> ()`; all async; `name` as for entitlements |
//! | API key | `async create_api_key(context, CreateApiKey) -> CreatedApiKey`, `get_api_key`, `list_api_keys` (sync), `async revoke_api_key(context, name)` |
//! | notification | `async list_notifications(context, &NotificationQuery) -> Page<Notification>`, `async get_notification(context, id) -> Notification`, `async resend_notification(context, id, ResendNotification) -> Notification` |
//! | event | `async list_events(context, &EventQuery) -> Page<AcceptedEvent>` |
//! | usage | `async usage(context, UsageRequest) -> Usage` |
//! | audit | `async list_audit(context, &ListRequest) -> Page<AuditEntry>` |
//!
//! A created resource is 201, a changed or read one 200, a deleted one 204, a resend 202: the
//! constants are in [`outcome`], because a replayed answer repeats them.
//!
//! Not here: HTTP (`plimsoll-server`), usage (`ingest`), sending (`delivery`), SQL
//! (`plimsoll-store`), what a change means for lines and values (`plimsoll-core`).

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use plimsoll_core::{
    ids::{ApiKeyId, EnvironmentId},
    limits,
    time::Timestamp,
};
use serde::{Deserialize, Serialize};

use crate::{
    catalogue::{Catalogue, EnvironmentView},
    delivery::{channels::ChannelRegistry, guard::AllowList},
    deps::Deps,
    reads::{EventReader, usage::UsageReader},
    vault::Vault,
};

pub mod api_key;
pub mod audit;
pub mod channel;
pub mod clock;
pub mod customer;
pub mod document;
pub mod entitlement;
pub mod environment;
pub mod event;
pub mod feature;
pub mod fields;
pub mod grant;
pub mod idempotency;
pub mod meter;
pub mod notification;
pub mod notification_type;
pub mod outcome;
pub mod page;
pub mod port;
pub mod problem;
pub mod request;
pub mod rule;
pub mod scalar;
pub mod usage;

mod bootstrap;
mod change;
mod control;
mod plan;
mod secret;
mod subjects;

pub use bootstrap::{BootstrapError, FirstKeys, NewEnvironment};
pub use idempotency::{Begun, IdempotencyToken};

use idempotency::InFlight;
use port::{PartitionPort, RedeliveryPort};
use problem::{Problem, ProblemCode};

/// The control plane. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Ops {
    inner: Arc<Inner>,
}

/// What the control plane works with.
#[derive(Debug)]
pub struct OpsParts {
    /// What is committed, in memory.
    pub catalogue: Arc<Catalogue>,
    /// The owners of the partitions.
    pub partitions: Arc<dyn PartitionPort>,
    /// Reads what usage was accepted.
    pub events: EventReader,
    /// Reads what was used when.
    pub usage: UsageReader,
    /// Takes deliveries that are made by hand.
    pub redelivery: Arc<dyn RedeliveryPort>,
    /// The channels, as the dispatcher sees them. Filled by [`channel::register`], kept up to date
    /// here.
    pub channels: ChannelRegistry,
    /// Seals secrets.
    pub vault: Arc<Vault>,
    /// Which private networks webhooks may reach.
    pub allow: AllowList,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) deps: Deps,
    pub(crate) catalogue: Arc<Catalogue>,
    pub(crate) partitions: Arc<dyn PartitionPort>,
    pub(crate) events: EventReader,
    pub(crate) usage: UsageReader,
    pub(crate) redelivery: Arc<dyn RedeliveryPort>,
    pub(crate) channels: ChannelRegistry,
    pub(crate) vault: Arc<Vault>,
    pub(crate) allow: AllowList,
    /// One change of the control plane at a time; what it guards is whether the catalogue may be
    /// behind the store, which it is after a commit of unknown outcome.
    control: Arc<tokio::sync::Mutex<control::Turn>>,
    in_flight: Arc<InFlight>,
    /// A back-test reads the whole log: so many may run at a time.
    pub(crate) backtests: tokio::sync::Semaphore,
    /// Who may change a customer; each is shared by many customers.
    turns: Box<[Arc<tokio::sync::Mutex<()>>]>,
    /// Milliseconds and further bits of the last id that was made.
    last_id: Mutex<(u64, u128)>,
}

/// What every method needs to know about its caller.
#[derive(Debug, Clone)]
pub struct Context {
    /// Who asks.
    pub caller: Caller,
    /// Set if the request is to be done once, however often it is sent.
    pub idempotency: Option<IdempotencyToken>,
    /// The time of the caller's environment: the machine's, unless the environment's clock was set.
    pub now: Timestamp,
}

/// Who asks, as their API key says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The key.
    pub key: ApiKeyId,
    /// The key's environment: nothing else is seen or touched.
    pub environment: EnvironmentId,
    /// What the key allows.
    pub scopes: Vec<Scope>,
}

/// What an API key allows.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Everything.
    Admin,
    /// Reading the control plane, values and notifications.
    Read,
    /// Sending usage.
    Ingest,
    /// Asking whether a customer may use a feature.
    Check,
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Admin => "admin",
            Self::Read => "read",
            Self::Ingest => "ingest",
            Self::Check => "check",
        })
    }
}

impl Caller {
    /// Refuses what the key does not allow. An admin key allows everything.
    pub fn require(&self, scope: Scope) -> Result<(), Problem> {
        if self.scopes.contains(&scope) || self.scopes.contains(&Scope::Admin) {
            return Ok(());
        }
        let detail = format!("the API key lacks the scope {scope}");
        Err(Problem::new(ProblemCode::InsufficientScope, detail))
    }
}

impl Context {
    /// The caller's environment.
    pub fn environment(&self) -> EnvironmentId {
        self.caller.environment
    }
}

impl Ops {
    /// A control plane over what `parts` hold.
    pub fn start(deps: Deps, parts: OpsParts) -> Self {
        let inner = Arc::new(Inner {
            deps,
            catalogue: parts.catalogue,
            partitions: parts.partitions,
            events: parts.events,
            usage: parts.usage,
            redelivery: parts.redelivery,
            channels: parts.channels,
            vault: parts.vault,
            allow: parts.allow,
            control: Arc::default(),
            in_flight: Arc::default(),
            backtests: tokio::sync::Semaphore::new(limits::BACKTESTS),
            turns: (0..change::TURNS).map(|_| Arc::default()).collect(),
            last_id: Mutex::default(),
        });
        idempotency::forget_old_answers(&inner);
        Self { inner }
    }

    /// What is committed, in memory.
    pub fn catalogue(&self) -> &Arc<Catalogue> {
        &self.inner.catalogue
    }

    /// What is in the caller's environment.
    fn view(&self, context: &Context) -> Result<Arc<EnvironmentView>, Problem> {
        self.inner.catalogue.environment(context.environment()).ok_or_else(|| {
            Problem::new(ProblemCode::Unauthenticated, "the API key's environment is gone")
        })
    }

    /// The context of a request of this caller, now.
    pub fn context(&self, caller: Caller, idempotency: Option<IdempotencyToken>) -> Context {
        let machine = self.machine_now();
        let view = self.inner.catalogue.environment(caller.environment);
        let now = view.map_or(machine, |it| it.environment.document.now(machine));
        Context { caller, idempotency, now }
    }

    /// The machine's time: for secrets, keys, deliveries, idempotency and the audit trail, which do
    /// not follow the clock of an environment.
    pub(crate) fn machine_now(&self) -> Timestamp {
        self.inner.deps.clock.now()
    }

    /// A new id, greater than every one before: what is made later is listed later, also within
    /// one millisecond and while the clock goes back.
    fn mint<I>(&self, from_parts: fn(u64, u128) -> I) -> I {
        let ms = u64::try_from(self.inner.deps.clock.now().as_ms()).unwrap_or(0);
        let mut last = self.inner.last_id.lock().unwrap_or_else(PoisonError::into_inner);
        *last = if ms > last.0 {
            // The highest bit stays free, so that counting on never overflows.
            (ms, self.inner.deps.random.bits() & ((1 << 79) - 1))
        } else {
            (last.0, last.1 + 1)
        };
        from_parts(last.0, last.1)
    }
}
