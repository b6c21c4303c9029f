//! The store on SQLite: one file in a directory that one process owns.
//!
//! One thread holds the only connection that writes; it serves lanes in their order and commits
//! several batches at once. A few threads read. The file is in WAL mode with `synchronous=FULL`:
//! what is committed survives the loss of power.
//!
//! Not here: SQL of the typed modules.

mod batch;
mod connection;
mod directory;
mod lanes;
mod memory;
mod readers;
mod wal;
mod writer;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use async_trait::async_trait;

use crate::{
    backup, migrate,
    row::Row,
    sqlite::{directory::Directory, lanes::Lanes, readers::Readers, wal::Upkeep, writer::Writer},
    statement::{Batch, Statement},
    store::{BackupError, CommitError, OpenError, QueryError, Store},
};

pub use memory::MemoryStore;

/// Threads that read. Each has a connection of its own.
const READERS: usize = 4;

/// A store on SQLite.
#[derive(Debug)]
pub struct SqliteStore {
    directory: Arc<Directory>,
    lanes: Arc<Lanes>,
    readers: Readers,
    /// Taken by whoever closes first.
    threads: Mutex<Option<Threads>>,
}

/// The threads that a closing store waits for.
#[derive(Debug)]
struct Threads {
    writer: Writer,
    upkeep: Upkeep,
}

impl SqliteStore {
    /// Opens the store in `directory`, making both if they do not exist, and brings its schema up
    /// to date. Refused if another process has it open.
    pub async fn open(directory: &Path) -> Result<Arc<dyn Store>, OpenError> {
        let path = directory.to_owned();
        blocking(move || Self::open_blocking(&path))
            .await
            .unwrap_or_else(|detail| Err(OpenError::Database { detail }))
    }

    /// Writes a backup of the store in `directory`, which another process may have open.
    ///
    /// Nothing is locked and nothing is written but the new file `to`. The store must have the
    /// schema of this program.
    pub async fn back_up(directory: &Path, to: &Path) -> Result<(), BackupError> {
        let snapshot = snapshot(directory::database_in(directory)).await?;
        let result = match check_schema(&snapshot).await {
            Ok(()) => backup::write(&snapshot, to).await,
            Err(error) => Err(error),
        };
        snapshot.close().await;
        result
    }

    fn open_blocking(path: &Path) -> Result<Arc<dyn Store>, OpenError> {
        let directory = Arc::new(Directory::lock(path)?);
        let failed = |detail| OpenError::Database { detail };
        let opened = connection::open_writer(&directory.database());
        let mut connection = opened.map_err(|it| failed(it.to_string()))?;
        connection::migrate(&mut connection)?;
        let upkeep = Upkeep::start(&directory).map_err(failed)?;
        let lanes = Arc::new(Lanes::default());
        let writer =
            Writer::start(connection, &directory, &lanes, upkeep.gauge()).map_err(failed)?;
        let readers = Readers::start(&directory, READERS).map_err(failed)?;
        Ok(Arc::new(Self {
            directory,
            lanes,
            readers,
            threads: Mutex::new(Some(Threads { writer, upkeep })),
        }))
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn commit(&self, batch: Batch) -> Result<Vec<Vec<Row>>, CommitError> {
        batch::check(&batch)?;
        let answer = self.lanes.push(batch)?;
        // The writer answers everything it took; if it died with the batch in its hands, nobody
        // knows how far it had come.
        answer.await.unwrap_or_else(|_| {
            Err(CommitError::Unknown { detail: "the writer has stopped".to_owned() })
        })
    }

    async fn query(&self, statement: Statement) -> Result<Vec<Row>, QueryError> {
        self.readers.query(statement).await
    }

    async fn backup(&self, to: &Path) -> Result<(), BackupError> {
        let snapshot = snapshot(self.directory.database()).await?;
        let result = backup::write(&snapshot, to).await;
        snapshot.close().await;
        result
    }

    async fn close(&self) {
        self.lanes.close();
        self.readers.close().await;
        let threads = self.threads.lock().expect("no holder of this lock panics").take();
        let Some(Threads { writer, upkeep }) = threads else { return };
        let closed = blocking(move || {
            upkeep.stop();
            writer.join();
        });
        if let Err(detail) = closed.await {
            tracing::error!(detail, "the store was not closed cleanly");
        }
        self.directory.unlock();
    }

    fn healthy(&self) -> bool {
        self.lanes.is_open()
    }
}

impl Drop for SqliteStore {
    /// Lets the threads end by themselves if the store was not closed.
    fn drop(&mut self) {
        self.lanes.close();
        self.readers.stop();
    }
}

/// The store in the file `database` as it is now.
async fn snapshot(database: PathBuf) -> Result<Readers, QueryError> {
    let taken = blocking(move || Readers::snapshot(&database)).await.and_then(|it| it);
    taken.map_err(|detail| QueryError::Unavailable { detail })
}

/// Refuses a store that is of another schema than this program's.
async fn check_schema(snapshot: &Readers) -> Result<(), BackupError> {
    let rows = snapshot.query(migrate::select_applied()).await?;
    let pending = migrate::pending_after(&rows)?;
    if !pending.is_empty() {
        return Err(BackupError::Older);
    }
    Ok(())
}

/// Runs what blocks beside the asynchronous threads.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.map_err(|it| it.to_string())
}
