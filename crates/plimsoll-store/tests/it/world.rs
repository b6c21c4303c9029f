//! Where a test's store lives: a directory or a database of its own, gone when the test is.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    path::{Path, PathBuf},
    sync::Arc,
};

use plimsoll_store::{MemoryStore, OpenError, PostgresStore, SqliteStore, Store};
use tempfile::TempDir;
use tokio_postgres::{Client, NoTls};

const DEFAULT_POSTGRES: &str = "postgres://root@127.0.0.1:5432/postgres";

/// A place for one store.
#[derive(Debug)]
pub(crate) struct World {
    directory: TempDir,
    database: Option<Database>,
    is_in_memory: bool,
}

#[derive(Debug)]
struct Database {
    /// The URL of a database that is there before and after.
    admin: String,
    name: String,
}

impl World {
    /// A place on SQLite.
    pub(crate) fn sqlite() -> Self {
        Self { directory: TempDir::new().unwrap(), database: None, is_in_memory: false }
    }

    /// A place in memory, where each opening finds a store of its own.
    pub(crate) fn memory() -> Self {
        Self { is_in_memory: true, ..Self::sqlite() }
    }

    /// A place on PostgreSQL; `None` if there is none on this machine.
    pub(crate) async fn postgres() -> Option<Self> {
        let (url, must_be_there) = postgres_url();
        let admin = match connect(&url).await {
            Ok(admin) => admin,
            Err(error) if must_be_there => panic!("PostgreSQL is needed at {url}: {error}"),
            Err(error) => {
                eprintln!("SKIPPED: no PostgreSQL at {url}: {error}");
                return None;
            }
        };
        let name = format!("plimsoll_test_{:016x}", RandomState::new().build_hasher().finish());
        let create = format!("CREATE DATABASE {name} ENCODING 'UTF8' TEMPLATE template0");
        admin.batch_execute(&create).await.unwrap();
        let database = Some(Database { admin: url, name });
        Some(Self { database, ..Self::sqlite() })
    }

    /// Another place on the same backend.
    pub(crate) async fn another(&self) -> Self {
        match &self.database {
            None => Self::sqlite(),
            Some(_) => Self::postgres().await.expect("there was one before"),
        }
    }

    /// A place on the other backend; `None` if it is not on this machine.
    pub(crate) async fn other_backend(&self) -> Option<Self> {
        match &self.database {
            None => Self::postgres().await,
            Some(_) => Some(Self::sqlite()),
        }
    }

    /// Opens the store.
    pub(crate) async fn open(&self) -> Arc<dyn Store> {
        self.try_open().await.unwrap()
    }

    /// Opens the store, or says why not.
    pub(crate) async fn try_open(&self) -> Result<Arc<dyn Store>, OpenError> {
        match &self.database {
            None if self.is_in_memory => Ok(Arc::new(MemoryStore::open()?)),
            None => SqliteStore::open(&self.data_directory()).await,
            Some(database) => PostgresStore::open(&database.url(), 8).await,
        }
    }

    /// The URL of the test's database.
    pub(crate) fn url(&self) -> String {
        self.database.as_ref().expect("the world is on PostgreSQL").url()
    }

    /// A connection that sees the test's database from outside.
    pub(crate) async fn admin(&self) -> Client {
        connect(&self.url()).await.unwrap()
    }

    /// The directory of a store on SQLite.
    pub(crate) fn data_directory(&self) -> PathBuf {
        self.path().join("data")
    }

    /// A directory for the test's other files.
    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }
}

impl Database {
    fn url(&self) -> String {
        let (server, _) = self.admin.rsplit_once('/').expect("the URL names a database");
        format!("{server}/{}", self.name)
    }
}

impl Drop for Database {
    /// Drops the database even if the test has failed, on a thread where blocking is allowed.
    fn drop(&mut self) {
        let (admin, name) = (self.admin.clone(), self.name.clone());
        let dropping = std::thread::Builder::new().spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                let drop = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
                connect(&admin).await.unwrap().batch_execute(&drop).await.unwrap();
            });
        });
        if dropping.unwrap().join().is_err() {
            eprintln!("the database {} stays behind", self.name);
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "tests are told by the environment where to run")]
fn postgres_url() -> (String, bool) {
    let in_ci = std::env::var("CI").is_ok_and(|it| it == "true");
    match std::env::var("PLIMSOLL_TEST_POSTGRES_URL") {
        Ok(url) => (url, true),
        Err(_) => (DEFAULT_POSTGRES.to_owned(), in_ci),
    }
}

#[expect(clippy::disallowed_methods, reason = "the task ends with the client")]
async fn connect(url: &str) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    drop(tokio::spawn(connection));
    Ok(client)
}
