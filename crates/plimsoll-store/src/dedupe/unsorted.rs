//! Segments as the first schema had them: hashes in the order in which they were accepted.
//!
//! They are read once, when a newer program recovers a partition for the first time, and deleted
//! when what they hold is sealed again. Nobody writes them any more.
//!
//! Not here: segments of today (`dedupe`).

use bytes::Bytes;
use plimsoll_core::time::Timestamp;

use crate::{
    log::last_that_fits,
    row::{MalformedRow, Row},
    statement::Statement,
    store::{ReadError, Store},
};

/// Segments whose lengths are looked up at once to cut a page.
const PAGE_ROWS: i64 = 1_024;

/// One segment of the first schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnsortedRow {
    /// Its number; higher is newer.
    pub segment: i64,
    /// The last log position whose events are in it.
    pub last_position: i64,
    /// When it was sealed: the youngest of its identities is older than that.
    pub sealed_at: Timestamp,
    /// The hashes, 16 bytes each, the lowest byte first.
    pub hashes: Bytes,
}

/// Deletes all segments of a partition.
pub fn delete_all(partition: u32) -> Statement {
    Statement::new(
        "dedupe.delete_unsorted",
        "DELETE FROM dedupe WHERE partition = $1",
        vec![partition.into()],
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
) -> Result<Vec<UnsortedRow>, ReadError> {
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
            "dedupe.read_unsorted",
            "SELECT segment, last_position, sealed_at, hashes \
             FROM dedupe WHERE partition = $1 AND segment > $2 AND segment <= $3 ORDER BY segment",
            vec![partition.into(), after.into(), last.into()],
        ))
        .await?;
    Ok(rows.iter().map(from_row).collect::<Result<_, _>>()?)
}

fn from_row(row: &Row) -> Result<UnsortedRow, MalformedRow> {
    Ok(UnsortedRow {
        segment: row.get_int(0)?,
        last_position: row.get_int(1)?,
        sealed_at: row.get_time(2)?,
        hashes: row.get_bytes(3)?.clone(),
    })
}
