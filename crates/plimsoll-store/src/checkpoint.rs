//! Checkpoints: slices of a partition's state, each with the log position that it is good for.
//!
//! Not here: what a slice holds (the engine and the core's codec).

use bytes::Bytes;

use crate::{
    log::last_that_fits,
    multirow,
    row::{MalformedRow, Row},
    statement::Statement,
    store::{ReadError, Store},
};

/// Slices whose lengths are looked up at once to cut a page.
const PAGE_ROWS: i64 = 1_024;

/// One slice of a partition's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckpointRow {
    /// Which partition.
    pub partition: u32,
    /// Which slice of it.
    pub slice: u32,
    /// The slice holds everything that the log says up to and including this position.
    pub position: i64,
    /// The version of the core that encoded it.
    pub core_version: u32,
    /// The state.
    pub payload: Bytes,
}

/// Writes slices, each in place of the one that was there.
pub fn put(rows: Vec<CheckpointRow>) -> Vec<Statement> {
    let rows = rows
        .into_iter()
        .map(|it| {
            [
                it.partition.into(),
                it.slice.into(),
                it.position.into(),
                it.core_version.into(),
                it.payload.into(),
            ]
        })
        .collect();
    multirow::insert(
        "checkpoint.put",
        "INSERT INTO checkpoint (partition, slice, position, core_version, payload)",
        " ON CONFLICT (partition, slice) DO UPDATE SET position = excluded.position, \
         core_version = excluded.core_version, payload = excluded.payload",
        rows,
    )
}

/// Deletes one slice.
pub fn delete(partition: u32, slice: u32) -> Statement {
    Statement::new(
        "checkpoint.delete",
        "DELETE FROM checkpoint WHERE partition = $1 AND slice = $2",
        vec![partition.into(), slice.into()],
    )
}

/// Deletes the slices of a partition from this number on.
pub fn delete_from(partition: u32, slice: u32) -> Statement {
    Statement::new(
        "checkpoint.delete_from",
        "DELETE FROM checkpoint WHERE partition = $1 AND slice >= $2",
        vec![partition.into(), slice.into()],
    )
}

/// Reads the slices of a partition after a slice (`None`: from the first), in order.
///
/// A page holds at most `page_bytes` of payload, but at least one slice; it is empty only at the
/// end.
pub async fn read(
    store: &dyn Store,
    partition: u32,
    after: Option<u32>,
    page_bytes: usize,
) -> Result<Vec<CheckpointRow>, ReadError> {
    let after = after.map_or(-1, i64::from);
    let lengths = store
        .query(Statement::new(
            "checkpoint.lengths",
            "SELECT slice, CAST(length(payload) AS BIGINT) FROM checkpoint \
             WHERE partition = $1 AND slice > $2 ORDER BY slice LIMIT $3",
            vec![partition.into(), after.into(), PAGE_ROWS.into()],
        ))
        .await?;
    let Some(last) = last_that_fits(&lengths, page_bytes)? else { return Ok(Vec::new()) };
    let rows = store
        .query(Statement::new(
            "checkpoint.read",
            "SELECT partition, slice, position, core_version, payload FROM checkpoint \
             WHERE partition = $1 AND slice > $2 AND slice <= $3 ORDER BY slice",
            vec![partition.into(), after.into(), last.into()],
        ))
        .await?;
    Ok(rows.iter().map(from_row).collect::<Result<_, _>>()?)
}

/// The position of the head of a partition's checkpoint; nothing if there is none.
pub async fn head_position(store: &dyn Store, partition: u32) -> Result<Option<i64>, ReadError> {
    let sql = "SELECT position FROM checkpoint WHERE partition = $1 AND slice = 0";
    let rows = store.query(Statement::new("checkpoint.head_position", sql, vec![partition.into()]));
    Ok(rows.await?.first().map(|it| it.get_int(0)).transpose()?)
}

fn from_row(row: &Row) -> Result<CheckpointRow, MalformedRow> {
    Ok(CheckpointRow {
        partition: row.get_u32(0)?,
        slice: row.get_u32(1)?,
        position: row.get_int(2)?,
        core_version: row.get_u32(3)?,
        payload: row.get_bytes(4)?.clone(),
    })
}
