//! A store in memory that does everything in the calling task. For simulation and tests.
//!
//! The same texts, schema and refusals as [`SqliteStore`](super::SqliteStore), without a file, a
//! thread or a wait: what is asked is answered before the call returns, so that a run depends on
//! nothing but its order. It is as durable as the value itself.
//!
//! Not here: time that a commit takes and faults (whoever simulates wraps it).

use std::{
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use rusqlite::{Connection, Transaction};

use super::{
    batch::{self, Undone},
    connection::{self, Failure},
};
use crate::{
    backup::tables::TABLES,
    row::Row,
    statement::{Batch, Statement},
    store::{BackupError, CommitError, OpenError, QueryError, Store},
};

/// A store in memory.
#[derive(Debug)]
pub struct MemoryStore {
    /// `None` once the store is closed.
    connection: Mutex<Option<Connection>>,
}

impl MemoryStore {
    /// A new store with the newest schema and nothing in it.
    pub fn open() -> Result<Self, OpenError> {
        let failed = |error: rusqlite::Error| OpenError::Database { detail: error.to_string() };
        let mut connection = connection::open_in_memory().map_err(failed)?;
        connection::migrate(&mut connection)?;
        Ok(Self { connection: Mutex::new(Some(connection)) })
    }

    /// As [`Store::commit`], done when it returns.
    pub fn commit_now(&self, batch: &Batch) -> Result<Vec<Vec<Row>>, CommitError> {
        batch::check(batch)?;
        let mut held = self.lock();
        let Some(connection) = held.as_mut() else {
            return Err(CommitError::Unavailable { detail: closed() });
        };
        let failed =
            |error: rusqlite::Error| CommitError::Unavailable { detail: error.to_string() };
        // Dropped without a commit, it is rolled back.
        let transaction =
            Transaction::new_unchecked(connection, rusqlite::TransactionBehavior::Immediate)
                .map_err(failed)?;
        let rows = batch::run(&transaction, batch).map_err(|undone| match undone {
            Undone::Refused(error) => error,
            Undone::Failed(detail) => CommitError::Unavailable { detail },
        })?;
        transaction.commit().map_err(failed)?;
        Ok(rows)
    }

    /// As [`Store::query`], done when it returns.
    pub fn query_now(&self, statement: &Statement) -> Result<Vec<Row>, QueryError> {
        let held = self.lock();
        let Some(connection) = held.as_ref() else {
            return Err(QueryError::Unavailable { detail: closed() });
        };
        let outcome = connection::run(connection, statement);
        outcome.map(|it| it.rows).map_err(|error| match connection::classify(&error) {
            Failure::Full(detail) | Failure::Broken(detail) => QueryError::Unavailable { detail },
            Failure::Invalid(detail) => QueryError::Invalid { statement: statement.name, detail },
            Failure::Unique => {
                QueryError::Invalid { statement: statement.name, detail: error.to_string() }
            }
        })
    }

    /// Every row of every table but the schema's own, by table, in the order of the primary keys.
    pub fn contents(&self) -> Result<Vec<(&'static str, Vec<Row>)>, QueryError> {
        TABLES.iter().map(|it| Ok((it.name, self.query_now(&it.page(None, u32::MAX))?))).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Connection>> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn commit(&self, batch: Batch) -> Result<Vec<Vec<Row>>, CommitError> {
        self.commit_now(&batch)
    }

    async fn query(&self, statement: Statement) -> Result<Vec<Row>, QueryError> {
        self.query_now(&statement)
    }

    /// Refused: there is nothing to go back to.
    async fn backup(&self, _: &Path) -> Result<(), BackupError> {
        let detail = "a store in memory has no backup".to_owned();
        Err(BackupError::Query(QueryError::Unavailable { detail }))
    }

    async fn close(&self) {
        self.lock().take();
    }

    fn healthy(&self) -> bool {
        self.lock().is_some()
    }
}

fn closed() -> String {
    "the store is closed".to_owned()
}
