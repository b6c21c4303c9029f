//! The port to a database: commit a batch, query committed state, back up.
//!
//! Two backends implement it (`sqlite`, `postgres`) and one test double wraps it (`faulty`). One
//! contract suite runs over both backends.
//!
//! Not here: what is stored. The typed modules build statements and read rows.

use std::{fmt::Debug, path::Path};

use async_trait::async_trait;

use crate::{
    row::{MalformedRow, Row},
    statement::{Batch, Statement},
};

/// A database that holds one installation of Plimsoll.
#[async_trait]
pub trait Store: Send + Sync + Debug {
    /// Runs the statements of `batch` in one transaction, in order, all or nothing.
    ///
    /// Returns the rows of each statement (SELECT or RETURNING; empty for others). When it is
    /// `Ok`, the batch is durable. If the future is dropped before its answer, the outcome is as
    /// unknown as in [`CommitError::Unknown`].
    async fn commit(&self, batch: Batch) -> Result<Vec<Vec<Row>>, CommitError>;

    /// Runs one SELECT over committed state. What a batch wrote is seen by every query that
    /// begins after its `Ok`. `expect` of the statement is not looked at.
    async fn query(&self, statement: Statement) -> Result<Vec<Row>, QueryError>;

    /// Writes a consistent backup to the new file `to`, while commits go on.
    ///
    /// The file restores into either backend with [`restore`](crate::backup::restore).
    async fn backup(&self, to: &Path) -> Result<(), BackupError>;

    /// Finishes what was handed over, then lets go of the database. Afterwards every call answers
    /// `Unavailable`. Calling it twice is harmless.
    async fn close(&self);

    /// Whether the store works, as far as is known without asking: SQLite's writer runs;
    /// PostgreSQL answered when it was last asked. A full disk is not ill health, it passes.
    /// [`meta::ping`](crate::meta::ping) asks, and so brings the answer up to date.
    fn healthy(&self) -> bool;
}

/// Why a batch was not, or not for certain, committed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// A statement was refused. Nothing was written; that is certain.
    #[error("statement {statement} was refused: {refusal}")]
    Refused {
        /// The name of the statement.
        statement: &'static str,
        /// Why.
        refusal: Refusal,
    },
    /// The database cannot write now: disk full, gone before COMMIT. Nothing was written; that is
    /// certain. The same batch may work later.
    #[error("the database is not available: {detail}")]
    Unavailable {
        /// What the database or the machine said.
        detail: String,
    },
    /// COMMIT was sent and its outcome is unknown: everything was written, or nothing.
    #[error("the outcome of the commit is unknown: {detail}")]
    Unknown {
        /// What the database or the machine said.
        detail: String,
    },
}

/// Why a statement was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A row with that primary key or unique value exists.
    #[error("a unique value exists already")]
    Unique,
    /// The statement's expectation was not met.
    #[error("expected something else than {found}")]
    Expectation {
        /// What came out instead.
        found: String,
    },
    /// The database does not take the statement as it is. A defect of ours, never a race.
    #[error("the statement is not valid: {detail}")]
    Invalid {
        /// What the database said.
        detail: String,
    },
}

/// Why a query gave no rows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// The database cannot answer now. The same query may work later.
    #[error("the database is not available: {detail}")]
    Unavailable {
        /// What the database or the machine said.
        detail: String,
    },
    /// The database does not take the statement as it is. A defect of ours.
    #[error("query {statement} is not valid: {detail}")]
    Invalid {
        /// The name of the statement.
        statement: &'static str,
        /// What the database said.
        detail: String,
    },
}

/// Why a typed read gave nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The query failed.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// A row is not of the expected shape.
    #[error(transparent)]
    Malformed(#[from] MalformedRow),
}

/// Why a store could not be opened. Each is a sentence for the person who starts the program.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory or a file in it cannot be made, read or written.
    #[error("the data directory {directory} cannot be used: {source}")]
    Directory {
        /// Which directory.
        directory: String,
        /// What the machine said.
        source: std::io::Error,
    },
    /// Another process has the directory open.
    #[error(
        "the data directory {directory} is in use by another plimsoll process; stop that one, or \
         give this one a directory of its own"
    )]
    Locked {
        /// Which directory.
        directory: String,
    },
    /// The database URL is wrong.
    #[error("the database URL cannot be used: {detail}")]
    Url {
        /// What is wrong with it; never the URL itself, which holds a password.
        detail: String,
    },
    /// The database cannot be reached or does not work.
    #[error("the database cannot be opened: {detail}")]
    Database {
        /// What the database or the machine said.
        detail: String,
    },
    /// A newer program has written this store.
    #[error(
        "the store has schema version {store}, and this program knows versions up to {known}; \
         use the newer plimsoll that wrote it"
    )]
    Newer {
        /// The version that the store has.
        store: i64,
        /// The newest version that this program knows.
        known: i64,
    },
    /// A migration was applied with another text than this program has.
    #[error("migration {version} of the store is not the one that this program knows")]
    Altered {
        /// Which migration.
        version: i64,
    },
    /// A restore into this store did not finish.
    #[error("a restore into this store did not finish; empty it and restore again")]
    HalfRestored,
}

/// Why a backup was not written.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The file exists; a backup never overwrites.
    #[error("{file} exists already")]
    Exists {
        /// Which file.
        file: String,
    },
    /// The file cannot be written.
    #[error("{file} cannot be written: {source}")]
    File {
        /// Which file.
        file: String,
        /// What the machine said.
        source: std::io::Error,
    },
    /// The database could not be read to the end.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// The store cannot be opened as this program knows it.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The store was written by an older program and has not been opened by this one yet.
    #[error("the store has an older schema; start the server of this version once, or use the old")]
    Older,
}
