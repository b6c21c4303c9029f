//! A whole product in this process: SQLite in a temporary folder, a server on a free port.

use std::sync::Arc;

use plimsoll_engine::{
    delivery::guard::AllowList,
    deps::{Deps, SystemClock, SystemRandom, TaskGroup},
    engine::{Engine, Options},
    vault::{MASTER_KEY_BYTES, Vault},
};
use plimsoll_server::Listening;
use plimsoll_store::SqliteStore;

use crate::client::Client;

/// A server and the admin keys of its two environments.
#[derive(Debug)]
pub(crate) struct Product {
    engine: Engine,
    listening: Listening,
    live: Client,
    sandbox: Client,
    // Dropped last: the store is in it.
    _folder: tempfile::TempDir,
}

impl Product {
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let deps = Deps {
            store: SqliteStore::open(folder.path()).await.expect("a store"),
            clock: Arc::new(SystemClock::new()),
            random: Arc::new(SystemRandom),
            tasks: TaskGroup::new(),
        };
        let vault = Vault::new(&[7; MASTER_KEY_BYTES], Arc::clone(&deps.random));
        // Nothing is sent: the tests of this crate look at HTTP only.
        let options = Options {
            partitions: 4,
            vault: Arc::new(vault),
            allow: AllowList::default(),
            keep_log_ms: None,
        };
        let engine = Engine::start(deps.clone(), options).await.expect("an engine");
        let keys = engine.ops.bootstrap(None).await.expect("first keys").expect("a new store");
        let anywhere = "127.0.0.1:0".parse().expect("an address");
        let listening =
            plimsoll_server::serve(anywhere, deps, engine.clone()).await.expect("a free port");
        let live = Client::new(listening.address(), Some(&keys.live.token));
        let sandbox = live.with_key(Some(&keys.sandbox.token));
        Self { engine, listening, live, sandbox, _folder: folder }
    }

    /// A client with the admin key of `live`.
    pub(crate) fn live(&self) -> Client {
        self.live.clone()
    }

    /// A client with the admin key of `sandbox`.
    pub(crate) fn sandbox(&self) -> Client {
        self.sandbox.clone()
    }

    /// Stops in order; a part that does not end keeps the test from ending.
    pub(crate) async fn stop(self) {
        self.listening.stop().await;
        self.engine.stop().await;
    }
}
