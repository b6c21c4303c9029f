//! Sealed segments of the identities of accepted events, by partition.
//!
//! Not here: how identities are hashed and looked up (the engine).

use bytes::Bytes;
use plimsoll_core::time::Timestamp;

use crate::{
    log::last_that_fits,
    multirow,
    row::{MalformedRow, Row},
    statement::Statement,
    store::{ReadError, Store},
};

/// Segments whose lengths are looked up at once to cut a page.
const PAGE_ROWS: i64 = 1_024;

/// One sealed segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DedupeRow {
    /// Which partition.
    pub partition: u32,
    /// Its number; higher is newer.
    pub segment: i64,
    /// The first log position whose events are in it.
    pub first_position: i64,
    /// The last log position whose events are in it.
    pub last_position: i64,
    /// When it was sealed: a dedupe window later it can go.
    pub sealed_at: Timestamp,
    /// The hashes.
    pub hashes: Bytes,
}

/// Writes segments, each in place of one of the same number.
pub fn put(rows: Vec<DedupeRow>) -> Vec<Statement> {
    let rows = rows
        .into_iter()
        .map(|it| {
            [
                it.partition.into(),
                it.segment.into(),
                it.first_position.into(),
                it.last_position.into(),
                it.sealed_at.into(),
                it.hashes.into(),
            ]
        })
        .collect();
    multirow::insert(
        "dedupe.put",
        "INSERT INTO dedupe (partition, segment, first_position, last_position, sealed_at, hashes)",
        " ON CONFLICT (partition, segment) DO UPDATE SET \
         first_position = excluded.first_position, last_position = excluded.last_position, \
         sealed_at = excluded.sealed_at, hashes = excluded.hashes",
        rows,
    )
}

/// Deletes one segment.
pub fn delete(partition: u32, segment: i64) -> Statement {
    Statement::new(
        "dedupe.delete",
        "DELETE FROM dedupe WHERE partition = $1 AND segment = $2",
        vec![partition.into(), segment.into()],
    )
}

/// Deletes the segments of a partition that were sealed before a time.
pub fn delete_sealed_before(partition: u32, before: Timestamp) -> Statement {
    Statement::new(
        "dedupe.delete_sealed_before",
        "DELETE FROM dedupe WHERE partition = $1 AND sealed_at < $2",
        vec![partition.into(), before.into()],
    )
}

/// Reads the segments of a partition after a segment (`None`: from the oldest), oldest first.
///
/// A page holds at most `page_bytes` of hashes, but at least one segment; it is empty only at the
/// end.
pub async fn read(
    store: &dyn Store,
    partition: u32,
    after: Option<i64>,
    page_bytes: usize,
) -> Result<Vec<DedupeRow>, ReadError> {
    let after = after.unwrap_or(i64::MIN);
    let lengths = store
        .query(Statement::new(
            "dedupe.lengths",
            "SELECT segment, CAST(length(hashes) AS BIGINT) FROM dedupe \
             WHERE partition = $1 AND segment > $2 ORDER BY segment LIMIT $3",
            vec![partition.into(), after.into(), PAGE_ROWS.into()],
        ))
        .await?;
    let Some(last) = last_that_fits(&lengths, page_bytes)? else { return Ok(Vec::new()) };
    let rows = store
        .query(Statement::new(
            "dedupe.read",
            "SELECT partition, segment, first_position, last_position, sealed_at, hashes \
             FROM dedupe WHERE partition = $1 AND segment > $2 AND segment <= $3 ORDER BY segment",
            vec![partition.into(), after.into(), last.into()],
        ))
        .await?;
    Ok(rows.iter().map(from_row).collect::<Result<_, _>>()?)
}

fn from_row(row: &Row) -> Result<DedupeRow, MalformedRow> {
    Ok(DedupeRow {
        partition: row.get_u32(0)?,
        segment: row.get_int(1)?,
        first_position: row.get_int(2)?,
        last_position: row.get_int(3)?,
        sealed_at: row.get_time(4)?,
        hashes: row.get_bytes(5)?.clone(),
    })
}
