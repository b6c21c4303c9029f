//! Connections to the database file: how they are set up, and how a statement runs on one.
//!
//! Not here: transactions (`writer`) and threads.

use std::{path::Path, time::Duration};

use bytes::Bytes;
use rusqlite::{
    Connection, ErrorCode, OpenFlags, TransactionBehavior, ffi,
    types::{ToSqlOutput, Type, ValueRef},
};

use crate::{migrate, row::Row, statement::Statement, store::OpenError, value::Value};

/// Prepared statements kept by a connection. Chunks of powers of two (see `multirow`) keep the
/// number of distinct texts below this.
const PREPARED_STATEMENTS: usize = 256;

/// How long a connection waits for a lock. Writers never meet; this covers recovery after a crash
/// and the moments in which the WAL is reset.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// What a statement gave.
#[derive(Debug)]
pub(super) struct Outcome {
    /// The rows of a SELECT or RETURNING.
    pub(super) rows: Vec<Row>,
    /// Rows inserted, updated or deleted.
    pub(super) affected: u64,
}

/// What an error means for whoever asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// A unique value exists.
    Unique,
    /// The statement is not valid.
    Invalid(String),
    /// The disk is full.
    Full(String),
    /// The machine failed in another way.
    Broken(String),
}

/// Opens the connection that writes, and makes the file if it does not exist.
pub(super) fn open_writer(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = open(path, flags)?;
    // The page size counts only before the file has its first page. Log rows are tens of
    // kilobytes: larger pages make shorter chains of overflow pages.
    connection.pragma_update(None, "page_size", 8192)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "fullfsync", true)?;
    connection.pragma_update(None, "checkpoint_fullfsync", true)?;
    // `wal` moves pages into the file, so that no commit has to.
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    connection.pragma_update(None, "journal_size_limit", 64 << 20)?;
    connection.pragma_update(None, "cache_size", -16 * 1024)?;
    Ok(connection)
}

/// Opens a connection that reads.
pub(super) fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = open(path, flags)?;
    connection.pragma_update(None, "cache_size", -4 * 1024)?;
    Ok(connection)
}

/// Opens a connection that moves the write-ahead log into the file, and does nothing else.
pub(super) fn open_mover(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = open(path, flags)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "checkpoint_fullfsync", true)?;
    Ok(connection)
}

/// Opens a database that is in memory and nobody else's.
pub(super) fn open_in_memory() -> rusqlite::Result<Connection> {
    let connection = Connection::open_in_memory()?;
    connection.set_prepared_statement_cache_capacity(PREPARED_STATEMENTS);
    Ok(connection)
}

fn open(path: &Path, flags: OpenFlags) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.set_prepared_statement_cache_capacity(PREPARED_STATEMENTS);
    Ok(connection)
}

/// Brings the schema up to date, in one transaction.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), OpenError> {
    let failed = |error: rusqlite::Error| OpenError::Database { detail: error.to_string() };
    let transaction =
        connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
    transaction.execute_batch(migrate::CREATE_TABLE).map_err(failed)?;
    let rows = run(&transaction, &migrate::select_applied()).map_err(failed)?.rows;
    let pending = migrate::pending_after(&rows)?;
    for migration in pending {
        transaction.execute_batch(migration.sql).map_err(failed)?;
        run(&transaction, &migration.record()).map_err(failed)?;
        tracing::info!(migration = migration.name, "the schema was migrated");
    }
    let unfinished = run(&transaction, &migrate::select_unfinished_restore()).map_err(failed)?;
    if !unfinished.rows.is_empty() {
        return Err(OpenError::HalfRestored);
    }
    transaction.commit().map_err(failed)
}

/// Runs one statement to its end.
pub(super) fn run(connection: &Connection, statement: &Statement) -> rusqlite::Result<Outcome> {
    let mut prepared = connection.prepare_cached(&numbered(&statement.sql))?;
    if prepared.parameter_count() != statement.params.len() {
        let (given, needed) = (statement.params.len(), prepared.parameter_count());
        return Err(rusqlite::Error::InvalidParameterCount(given, needed));
    }
    for (index, value) in statement.params.iter().enumerate() {
        prepared.raw_bind_parameter(index + 1, as_sqlite(value))?;
    }
    let columns = prepared.column_count();
    let rows = read_rows(prepared.raw_query(), columns);
    // A cached statement keeps copies of what was bound: payloads of megabytes.
    prepared.clear_bindings();
    let affected = if prepared.readonly() { 0 } else { connection.changes() };
    Ok(Outcome { rows: rows?, affected })
}

fn read_rows(mut cursor: rusqlite::Rows<'_>, columns: usize) -> rusqlite::Result<Vec<Row>> {
    let mut rows = Vec::new();
    while let Some(row) = cursor.next()? {
        let values = (0..columns).map(|column| read_value(row.get_ref(column)?, column));
        rows.push(Row::new(values.collect::<Result<_, _>>()?));
    }
    Ok(rows)
}

fn read_value(value: ValueRef<'_>, column: usize) -> rusqlite::Result<Value> {
    match value {
        ValueRef::Null => Ok(Value::Null),
        ValueRef::Integer(it) => Ok(Value::Int(it)),
        ValueRef::Text(it) => match str::from_utf8(it) {
            Ok(text) => Ok(Value::Text(text.to_owned())),
            Err(error) => Err(rusqlite::Error::Utf8Error(column, error)),
        },
        ValueRef::Blob(it) => Ok(Value::Bytes(Bytes::copy_from_slice(it))),
        ValueRef::Real(_) => {
            let name = format!("column {column}");
            Err(rusqlite::Error::InvalidColumnType(column, name, Type::Real))
        }
    }
}

/// What an error means.
pub(super) fn classify(error: &rusqlite::Error) -> Failure {
    let detail = error.to_string();
    let Some(code) = error.sqlite_error() else { return Failure::Invalid(detail) };
    match code.code {
        ErrorCode::ConstraintViolation => match code.extended_code {
            ffi::SQLITE_CONSTRAINT_PRIMARYKEY
            | ffi::SQLITE_CONSTRAINT_UNIQUE
            | ffi::SQLITE_CONSTRAINT_ROWID => Failure::Unique,
            _ => Failure::Invalid(detail),
        },
        ErrorCode::DiskFull => Failure::Full(detail),
        ErrorCode::Unknown
        | ErrorCode::TooBig
        | ErrorCode::TypeMismatch
        | ErrorCode::ApiMisuse
        | ErrorCode::ParameterOutOfRange => Failure::Invalid(detail),
        _ => Failure::Broken(detail),
    }
}

/// The text with `?1` for `$1`. SQLite takes `$1` for a name and looks names up one by one, which
/// makes preparing a statement of thousands of parameters slow.
fn numbered(sql: &str) -> String {
    sql.replace('$', "?")
}

fn as_sqlite(value: &Value) -> ToSqlOutput<'_> {
    ToSqlOutput::Borrowed(match value {
        Value::Null => ValueRef::Null,
        Value::Int(it) => ValueRef::Integer(*it),
        Value::Text(it) => ValueRef::Text(it.as_bytes()),
        Value::Bytes(it) => ValueRef::Blob(it),
    })
}
