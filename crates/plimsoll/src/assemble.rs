//! Puts a process together: the one place that names concrete backends.
//!
//! Everything below gets its store, clock, randomness and keys handed in; this is where they come
//! from. `serve`, the demonstration and the other commands all start here.
//!
//! Not here: where settings come from (`config`), what is printed (`cli`).

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use plimsoll_core::time::DAY_MS;
use plimsoll_engine::{
    deps::{Deps, SystemClock, SystemRandom, TaskGroup},
    engine::{self, Engine, Options},
    ops::{BootstrapError, FirstKeys},
};
use plimsoll_server::Listening;
use plimsoll_store::{BackupError, OpenError, PostgresStore, SqliteStore, Store};

use crate::config::Settings;

mod address_file;
mod master_key;

use master_key::MasterKeyError;

/// Partitions of a new store on SQLite (docs/adr/0007-partitions.md).
const SQLITE_PARTITIONS: u32 = 4;
/// Partitions of a new store on PostgreSQL: as many as nodes may come to share.
const POSTGRES_PARTITIONS: u32 = 16;
/// Connections to PostgreSQL that one process opens at the most.
const POSTGRES_CONNECTIONS: usize = 32;

/// A server that answers requests.
#[derive(Debug)]
pub(crate) struct Running {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// The admin keys of a store that was made just now; nobody can see them again.
    pub(crate) first_keys: Vec<FirstKey>,
    engine: Engine,
    listening: Listening,
    data_dir: PathBuf,
}

/// An admin key that was made just now.
pub(crate) struct FirstKey {
    /// The name of its environment.
    pub(crate) environment: String,
    /// The key itself.
    pub(crate) token: String,
}

impl std::fmt::Debug for FirstKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FirstKey").field("environment", &self.environment).finish_non_exhaustive()
    }
}

/// Why nothing was started. Each is a sentence for the person who starts the program.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error("the data directory {} cannot be used: {problem}", path.display())]
    DataDir { path: PathBuf, problem: io::Error },
    #[error(transparent)]
    Store(#[from] OpenError),
    #[error(transparent)]
    MasterKey(#[from] MasterKeyError),
    #[error(transparent)]
    Engine(#[from] engine::StartError),
    #[error(transparent)]
    Bootstrap(#[from] BootstrapError),
    #[error("cannot listen on {address}: {problem}")]
    Listen { address: SocketAddr, problem: io::Error },
    #[error("cannot write the address to {}: {problem}", path.display())]
    AddressFile { path: PathBuf, problem: io::Error },
}

impl StartError {
    /// Whether another setting would help, rather than another try.
    pub(crate) fn is_settings(&self) -> bool {
        match self {
            Self::DataDir { .. } | Self::Listen { .. } | Self::MasterKey(_) => true,
            Self::Store(error) => matches!(
                error,
                OpenError::Directory { .. } | OpenError::Locked { .. } | OpenError::Url { .. }
            ),
            Self::Bootstrap(error) => matches!(error, BootstrapError::InvalidKey),
            Self::Engine(_) | Self::AddressFile { .. } => false,
        }
    }
}

/// Starts a server and returns when it takes connections.
pub(crate) async fn start(settings: Settings) -> Result<Running, StartError> {
    let Started { deps, engine, first_keys } = start_engine(&settings).await?;
    // The store is ours now, so the address is that of a process that was killed.
    address_file::remove(&settings.data_dir);
    let serving = serve(&settings, deps, &engine).await;
    match serving {
        Ok(listening) => Ok(Running {
            address: listening.address(),
            first_keys,
            engine,
            listening,
            data_dir: settings.data_dir,
        }),
        Err(error) => {
            engine.stop().await;
            Err(error)
        }
    }
}

async fn serve(settings: &Settings, deps: Deps, engine: &Engine) -> Result<Listening, StartError> {
    let address = settings.listen;
    let listening = plimsoll_server::serve(address, deps, engine.clone())
        .await
        .map_err(|problem| StartError::Listen { address, problem })?;
    if let Err(problem) = address_file::write(&settings.data_dir, listening.address()) {
        listening.stop().await;
        return Err(StartError::AddressFile { path: settings.data_dir.clone(), problem });
    }
    Ok(listening)
}

impl Running {
    /// Answers what is being asked, takes nothing new, and lets go of everything.
    pub(crate) async fn stop(self) {
        address_file::remove(&self.data_dir);
        self.listening.stop().await;
        self.engine.stop().await;
    }
}

/// An engine without a server in front.
#[derive(Debug)]
pub(crate) struct Started {
    deps: Deps,
    pub(crate) engine: Engine,
    /// The admin keys of a store that was made just now.
    pub(crate) first_keys: Vec<FirstKey>,
}

/// Opens the store and starts the engine over it. A new store gets its first environments.
pub(crate) async fn start_engine(settings: &Settings) -> Result<Started, StartError> {
    let store = open_store(settings).await?;
    let deps = Deps {
        store: Arc::clone(&store),
        clock: Arc::new(SystemClock::new()),
        random: Arc::new(SystemRandom),
        tasks: TaskGroup::new(),
    };
    let started = start_over(settings, &deps).await;
    match started {
        Ok((engine, first_keys)) => Ok(Started { deps, engine, first_keys }),
        Err(error) => {
            deps.tasks.stop().await;
            store.close().await;
            Err(error)
        }
    }
}

async fn start_over(
    settings: &Settings,
    deps: &Deps,
) -> Result<(Engine, Vec<FirstKey>), StartError> {
    let vault = Arc::new(master_key::vault(settings, deps).await?);
    let usual = match settings.database_url {
        Some(_) => POSTGRES_PARTITIONS,
        None => SQLITE_PARTITIONS,
    };
    let options = Options {
        partitions: settings.partitions.map_or(usual, u32::from),
        vault,
        allow: settings.allow_destinations.clone(),
        keep_log_ms: keep_log_ms(settings),
    };
    let engine = Engine::start(deps.clone(), options).await?;
    let given = settings.bootstrap_key.as_ref().map(|it| it.expose().as_str());
    let made = engine.ops.bootstrap(given).await?;
    Ok((engine, made.map(|it| first_keys(it, given)).unwrap_or_default()))
}

/// For how long the log is kept; nothing keeps it for ever.
fn keep_log_ms(settings: &Settings) -> Option<i64> {
    let days = i64::from(settings.retention_log_days);
    (days > 0).then_some(days * DAY_MS)
}

/// The keys that were made, without the one that was given: who gave it knows it.
fn first_keys(keys: FirstKeys, given: Option<&str>) -> Vec<FirstKey> {
    [keys.live, keys.sandbox]
        .into_iter()
        .filter(|it| Some(it.token.as_str()) != given)
        .map(|it| FirstKey { environment: it.environment.name, token: it.token })
        .collect()
}

/// Opens the store that the settings name.
pub(crate) async fn open_store(settings: &Settings) -> Result<Arc<dyn Store>, StartError> {
    make_data_dir(&settings.data_dir)
        .map_err(|problem| StartError::DataDir { path: settings.data_dir.clone(), problem })?;
    let store = match &settings.database_url {
        Some(url) => PostgresStore::open(url.expose(), POSTGRES_CONNECTIONS).await?,
        None => SqliteStore::open(&settings.data_dir).await?,
    };
    Ok(store)
}

/// Opens the store that the settings name, which must be there already.
pub(crate) async fn open_existing_store(settings: &Settings) -> Result<Arc<dyn Store>, StartError> {
    if settings.database_url.is_none() && !settings.data_dir.is_dir() {
        let problem = io::Error::from(io::ErrorKind::NotFound);
        return Err(StartError::DataDir { path: settings.data_dir.clone(), problem });
    }
    open_store(settings).await
}

/// Writes a backup of the store that the settings name, which a server may have open.
pub(crate) async fn back_up(settings: &Settings, to: &Path) -> Result<(), BackupError> {
    match &settings.database_url {
        None => SqliteStore::back_up(&settings.data_dir, to).await,
        Some(url) => {
            let store = PostgresStore::open(url.expose(), POSTGRES_CONNECTIONS).await?;
            let written = store.backup(to).await;
            store.close().await;
            written
        }
    }
}

/// Makes the folder, readable by nobody else: keys are in it, and on SQLite everything.
fn make_data_dir(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}
