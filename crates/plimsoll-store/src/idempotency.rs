//! Answers kept for `Idempotency-Key`, so that a repeated request gets the same one.
//!
//! Not here: sealing of answers and what is kept (`ops` in the engine).

use bytes::Bytes;
use plimsoll_core::{ids::EnvironmentId, time::Timestamp};

use crate::{
    row::{MalformedRow, Row},
    statement::Statement,
    store::{ReadError, Store},
    value::Value,
};

/// The name of the statement that inserts. A key that is taken is refused under it as unique.
pub const INSERT: &str = "idempotency.insert";

/// One kept answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyRow {
    /// In which environment.
    pub environment: EnvironmentId,
    /// Method and path of the request.
    pub route: String,
    /// The key that the client chose.
    pub key: String,
    /// The hash of the request's body.
    pub body_hash: Bytes,
    /// The status of the answer.
    pub status: u16,
    /// The sealed body of the answer.
    pub response: Bytes,
    /// When it was kept.
    pub created_at: Timestamp,
}

/// Keeps an answer.
pub fn insert(row: IdempotencyRow) -> Statement {
    Statement::new(
        INSERT,
        "INSERT INTO idempotency \
         (environment, route, key, body_hash, status, response, created_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
        vec![
            Value::text_of(&row.environment),
            row.route.into(),
            row.key.into(),
            row.body_hash.into(),
            row.status.into(),
            row.response.into(),
            row.created_at.into(),
        ],
    )
}

/// Deletes at most `limit` answers kept before a time. The rows returned are one for each.
pub fn delete_before(before: Timestamp, limit: u32) -> Statement {
    Statement::new(
        "idempotency.delete_before",
        "DELETE FROM idempotency WHERE (environment, route, key) IN \
         (SELECT environment, route, key FROM idempotency WHERE created_at < $1 \
         ORDER BY created_at LIMIT $2) RETURNING created_at",
        vec![before.into(), limit.into()],
    )
}

/// The answer that was kept.
pub async fn get(
    store: &dyn Store,
    environment: EnvironmentId,
    route: &str,
    key: &str,
) -> Result<Option<IdempotencyRow>, ReadError> {
    let rows = store
        .query(Statement::new(
            "idempotency.get",
            "SELECT environment, route, key, body_hash, status, response, created_at \
             FROM idempotency WHERE environment = $1 AND route = $2 AND key = $3",
            vec![Value::text_of(&environment), route.into(), key.into()],
        ))
        .await?;
    Ok(rows.first().map(from_row).transpose()?)
}

fn from_row(row: &Row) -> Result<IdempotencyRow, MalformedRow> {
    Ok(IdempotencyRow {
        environment: row.parse(0)?,
        route: row.get_text(1)?.to_owned(),
        key: row.get_text(2)?.to_owned(),
        body_hash: row.get_bytes(3)?.clone(),
        status: row.get_u16(4)?,
        response: row.get_bytes(5)?.clone(),
        created_at: row.get_time(6)?,
    })
}
