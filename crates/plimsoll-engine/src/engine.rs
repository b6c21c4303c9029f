//! Puts the engine together and starts it.
//!
//! Not here: which store and which clock (`plimsoll::assemble`), HTTP.

use std::sync::Arc;

use plimsoll_core::ids::StoreId;
use plimsoll_store::{Batch, CommitError, Lane, ReadError, Store, meta};

use crate::{
    catalogue::{Catalogue, load::LoadError},
    delivery::{
        channels::ChannelRegistry,
        client::{Client, ClientOptions, SystemResolver},
        dispatcher::Dispatcher,
        guard::AllowList,
    },
    deps::Deps,
    ingest::{Identify, Ingest},
    ops::{Ops, OpsParts, channel::register},
    partition::{Partitions, PartitionsOptions},
    reads::{EventReader, usage::UsageReader},
    retention,
    vault::Vault,
};

/// Partitions of a store at the most.
const MOST_PARTITIONS: u32 = 1_024;

const META_STORE_ID: &str = "store_id";
pub(crate) const META_PARTITIONS: &str = "partitions";
const META_DEDUPE_KEY: &str = "dedupe_key";

/// What the engine is told at its start.
#[derive(Debug)]
pub struct Options {
    /// Partitions of a store that is new; an old one keeps what it was made with.
    pub partitions: u32,
    /// Seals secrets at rest.
    pub vault: Arc<Vault>,
    /// Destinations that webhooks may reach although they are private.
    pub allow: AllowList,
    /// For how long the log is kept, in milliseconds; nothing keeps it for ever.
    pub keep_log_ms: Option<i64>,
}

/// A running engine. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Engine {
    deps: Deps,
    /// The control plane.
    pub ops: Ops,
    /// The way in for usage.
    pub ingest: Ingest,
    partitions: Partitions,
}

/// Why the engine did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The store could not be prepared.
    #[error("the store could not be prepared: {0}")]
    Prepare(#[from] CommitError),
    /// The control plane could not be read.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The number of partitions makes no sense.
    #[error("partitions must be 1 to {MOST_PARTITIONS}")]
    Partitions,
    /// A value that was written when the store was made cannot be read.
    #[error("the store's {0} cannot be read")]
    Meta(&'static str),
}

impl Engine {
    /// Prepares the store if it is new, then starts everything. Partitions recover in the
    /// background: see [`Engine::is_ready`].
    pub async fn start(deps: Deps, options: Options) -> Result<Self, StartError> {
        let client = Client::new(ClientOptions {
            allow: options.allow.clone(),
            extra_roots: Vec::new(),
            resolver: Arc::new(SystemResolver::new()),
            clock: deps.clock.clone(),
        });
        Self::start_with_client(deps, options, client).await
    }

    /// As [`Engine::start`], with a client that is not the machine's.
    pub async fn start_with_client(
        deps: Deps,
        options: Options,
        client: Client,
    ) -> Result<Self, StartError> {
        let made = prepare(&deps, options.partitions).await?;
        let catalogue = Catalogue::load(&*deps.store).await?;
        let channels = ChannelRegistry::new();
        // Before the dispatcher starts: what is open for a channel that it does not know fails.
        register(&catalogue, &channels, &options.vault);
        let dispatcher = Dispatcher::start(deps.clone(), channels.clone(), client);
        let partitions = Partitions::start(
            &deps,
            &PartitionsOptions {
                count: made.partitions,
                identify: made.identify.clone(),
                channels: channels.clone(),
                dispatcher: dispatcher.clone(),
            },
        );
        let ops = Ops::start(
            deps.clone(),
            OpsParts {
                catalogue: catalogue.clone(),
                partitions: Arc::new(partitions.clone()),
                events: EventReader::new(deps.store.clone(), made.partitions),
                usage: UsageReader::new(deps.store.clone(), Arc::new(partitions.clone())),
                redelivery: Arc::new(dispatcher.clone()),
                channels,
                vault: options.vault,
                allow: options.allow,
            },
        );
        dispatcher.listen(Arc::new(ops.clone()));
        if let Some(keep_ms) = options.keep_log_ms {
            retention::start(&deps, keep_ms);
        }
        let ingest = Ingest::new(&deps, catalogue, partitions.clone(), made.identify);
        Ok(Self { deps, ops, ingest, partitions })
    }

    /// Whether every partition takes requests and the store answers and writes.
    pub async fn is_ready(&self) -> bool {
        // The question refreshes what a store knows of its own health.
        let answers = meta::ping(&*self.deps.store).await.is_ok();
        answers && self.partitions.is_ready() && self.deps.store.healthy()
    }

    /// Takes what waits, leaves checkpoints behind, lets go of the store.
    pub async fn stop(&self) {
        self.stop_without_store().await;
        self.deps.store.close().await;
    }

    /// As [`Engine::stop`], but others may go on with the store.
    pub async fn stop_without_store(&self) {
        self.deps.tasks.stop().await;
    }
}

/// What a store was made with.
struct Made {
    partitions: u32,
    identify: Identify,
}

/// Reads what the store was made with; makes it, if nobody has.
async fn prepare(deps: &Deps, wanted: u32) -> Result<Made, StartError> {
    if meta::get(&*deps.store, META_STORE_ID).await?.is_none() {
        if !(1..=MOST_PARTITIONS).contains(&wanted) {
            return Err(StartError::Partitions);
        }
        let now = deps.clock.now();
        let store_id = StoreId::from_parts(now.as_ms().max(0) as u64, deps.random.bits());
        let statements = vec![
            meta::insert(META_STORE_ID, &store_id.to_string()),
            meta::insert(META_PARTITIONS, &wanted.to_string()),
            meta::insert(META_DEDUPE_KEY, &format!("{:032x}", deps.random.bits())),
        ];
        match deps.store.commit(Batch::new(Lane::Control, statements)).await {
            // Refused: another process has made it in the meantime.
            Ok(_) | Err(CommitError::Refused { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let partitions = read_meta(&*deps.store, META_PARTITIONS, |it| it.parse().ok()).await?;
    let key = read_meta(&*deps.store, META_DEDUPE_KEY, |it| u128::from_str_radix(it, 16).ok());
    let identify = Identify::new(key.await?.to_be_bytes());
    Ok(Made { partitions, identify })
}

async fn read_meta<T>(
    store: &dyn Store,
    name: &'static str,
    read: impl FnOnce(&str) -> Option<T>,
) -> Result<T, StartError> {
    let text = meta::get(store, name).await?;
    text.as_deref().and_then(read).ok_or(StartError::Meta(name))
}
