//! Which events of a log row are stored although a meter could not count them, and why.
//!
//! One row here for a row of the log that has any, written in its transaction and never changed.
//!
//! Not here: what a payload says (the engine), which events are counted (the core).

use bytes::Bytes;
use plimsoll_core::{ids::EnvironmentId, time::Timestamp};

use crate::{
    log::stretch::{self, Direction, Head, Place},
    multirow,
    row::{MalformedRow, Row},
    statement::Statement,
    store::{ReadError, Store},
    value::Value,
};

/// The uncounted events of one row of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UncountedRow {
    /// The partition of the log row.
    pub partition: u32,
    /// The position of the log row.
    pub position: i64,
    /// Whose usage the log row holds.
    pub environment: EnvironmentId,
    /// The stamp of the log row.
    pub stamped_at: Timestamp,
    /// The events and the reasons.
    pub payload: Bytes,
}

/// Inserts rows, in the batch that appends their log rows.
pub fn insert(rows: Vec<UncountedRow>) -> Vec<Statement> {
    let rows = rows
        .into_iter()
        .map(|it| {
            [
                it.partition.into(),
                it.position.into(),
                Value::text_of(&it.environment),
                it.stamped_at.into(),
                it.payload.into(),
            ]
        })
        .collect();
    multirow::insert(
        "uncounted.insert",
        "INSERT INTO uncounted (partition, position, environment, stamped_at, payload)",
        "",
        rows,
    )
}

/// Deletes the rows of a partition up to and including a position, as the log does.
pub fn delete_through(partition: u32, position: i64) -> Statement {
    Statement::new(
        "uncounted.delete_through",
        "DELETE FROM uncounted WHERE partition = $1 AND position <= $2",
        vec![partition.into(), position.into()],
    )
}

/// The first heads of those log rows of a partition that hold uncounted events of an environment:
/// from `from` on and before `before`, at most `limit`. The lengths are those of the log rows.
pub async fn heads(
    store: &dyn Store,
    environment: EnvironmentId,
    partition: u32,
    (from, before): (Place, Place),
    direction: Direction,
    limit: u32,
) -> Result<Vec<Head>, ReadError> {
    let order = direction.as_sql();
    let sql = format!(
        "SELECT u.stamped_at, u.position, CAST(length(l.payload) AS BIGINT) FROM uncounted u \
         JOIN log l ON l.partition = u.partition AND l.position = u.position \
         WHERE u.environment = $1 AND u.partition = $2 \
         AND (u.stamped_at, u.position) >= ($3, $4) AND (u.stamped_at, u.position) < ($5, $6) \
         ORDER BY u.stamped_at {order}, u.position {order} LIMIT $7",
    );
    let params = vec![
        Value::text_of(&environment),
        partition.into(),
        from.stamped_at.into(),
        from.position.into(),
        before.stamped_at.into(),
        before.position.into(),
        limit.into(),
    ];
    let rows = store.query(Statement::new("uncounted.heads", sql, params)).await?;
    Ok(rows.iter().map(stretch::head_from_row).collect::<Result<_, _>>()?)
}

/// What is uncounted in the log rows at these positions of a partition, by position.
///
/// The caller bounds how many they are.
pub async fn rows(
    store: &dyn Store,
    partition: u32,
    positions: &[i64],
) -> Result<Vec<UncountedRow>, ReadError> {
    if positions.is_empty() {
        return Ok(Vec::new());
    }
    let statement = stretch::by_positions(
        "uncounted.rows",
        "SELECT partition, position, environment, stamped_at, payload FROM uncounted",
        partition,
        positions,
    );
    let rows = store.query(statement).await?;
    Ok(rows.iter().map(from_row).collect::<Result<_, _>>()?)
}

fn from_row(row: &Row) -> Result<UncountedRow, MalformedRow> {
    Ok(UncountedRow {
        partition: row.get_u32(0)?,
        position: row.get_int(1)?,
        environment: row.parse(2)?,
        stamped_at: row.get_time(3)?,
        payload: row.get_bytes(4)?.clone(),
    })
}
