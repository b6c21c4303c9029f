//! SQL, and nothing else: the log, checkpoints, resources, notifications, deliveries.
//!
//! Everything written is data: a [`Batch`] of [`Statement`]s, committed in one transaction by a
//! [`Store`]. The typed modules build the statements and read the rows; nothing above this crate
//! holds SQL. Two backends run the same texts: [`sqlite`] and [`postgres`].
//!
//! Not here: what anything stored means, when it is written, and who may read it.

#![warn(missing_docs)]

pub mod archive;
pub mod attempt;
pub mod audit;
pub mod backup;
pub mod base;
pub mod checkpoint;
pub mod control;
pub mod dedupe;
pub mod delivery;
pub mod faulty;
pub mod idempotency;
pub mod log;
pub mod meta;
pub mod notification;
pub mod postgres;
pub mod resource;
pub mod sqlite;
pub mod subject;
pub mod uncounted;
pub mod whole;

mod migrate;
mod multirow;
mod row;
mod statement;
mod store;
mod value;

pub use crate::{
    postgres::PostgresStore,
    row::{MalformedRow, Row},
    sqlite::{MemoryStore, SqliteStore},
    statement::{Batch, Expect, Lane, Statement},
    store::{BackupError, CommitError, OpenError, QueryError, ReadError, Refusal, Store},
    value::Value,
};
