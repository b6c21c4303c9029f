//! The log: what was accepted, in order, one row a commit of a partition.
//!
//! Inserting a row at a position that exists is refused as [`Refusal::Unique`] under the name
//! [`APPEND`]: that is the fence. Whoever sees it has lost the partition.
//!
//! Not here: what a payload says (the core's codec and the engine), reading by time (`stretch`).
//!
//! [`Refusal::Unique`]: crate::store::Refusal::Unique

use bytes::Bytes;
use plimsoll_core::time::Timestamp;

use crate::{
    multirow,
    row::{MalformedRow, Row},
    statement::Statement,
    store::{ReadError, Store},
};

pub mod since;
pub mod stretch;

/// The name of the statements that append.
pub const APPEND: &str = "log.append";

/// Rows whose lengths are looked up at once to cut a page.
const PAGE_ROWS: i64 = 1_024;

/// One row of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRow {
    /// Which partition.
    pub partition: u32,
    /// Its place in the partition's log; the first is 1, and there are no gaps.
    pub position: i64,
    /// The time of the environment's clock that was given to it.
    pub stamped_at: Timestamp,
    /// The version of the core that appended it.
    pub core_version: u32,
    /// What the payload is.
    pub kind: u32,
    /// How the payload is encoded.
    pub codec: u32,
    /// The commands.
    pub payload: Bytes,
}

/// Appends rows.
pub fn append(rows: Vec<LogRow>) -> Vec<Statement> {
    let rows = rows
        .into_iter()
        .map(|it| {
            [
                it.partition.into(),
                it.position.into(),
                it.stamped_at.into(),
                it.core_version.into(),
                it.kind.into(),
                it.codec.into(),
                it.payload.into(),
            ]
        })
        .collect();
    multirow::insert(
        APPEND,
        "INSERT INTO log (partition, position, stamped_at, core_version, kind, codec, payload)",
        "",
        rows,
    )
}

/// Deletes the rows of a partition up to and including a position.
pub fn delete_through(partition: u32, position: i64) -> Statement {
    Statement::new(
        "log.delete_through",
        "DELETE FROM log WHERE partition = $1 AND position <= $2",
        vec![partition.into(), position.into()],
    )
}

/// Reads the rows after a position, in order.
///
/// A page holds at most `page_bytes` of payload, but at least one row; it is empty only at the
/// end of the log.
pub async fn read(
    store: &dyn Store,
    partition: u32,
    after: i64,
    page_bytes: usize,
) -> Result<Vec<LogRow>, ReadError> {
    let lengths = store
        .query(Statement::new(
            "log.lengths",
            "SELECT position, CAST(length(payload) AS BIGINT) FROM log \
             WHERE partition = $1 AND position > $2 ORDER BY position LIMIT $3",
            vec![partition.into(), after.into(), PAGE_ROWS.into()],
        ))
        .await?;
    let Some(last) = last_that_fits(&lengths, page_bytes)? else { return Ok(Vec::new()) };
    let rows = store
        .query(Statement::new(
            "log.read",
            "SELECT partition, position, stamped_at, core_version, kind, codec, payload FROM log \
             WHERE partition = $1 AND position > $2 AND position <= $3 ORDER BY position",
            vec![partition.into(), after.into(), last.into()],
        ))
        .await?;
    Ok(rows.iter().map(from_row).collect::<Result<_, _>>()?)
}

/// The position of the last row of a partition; 0 if there is none.
pub async fn last_position(store: &dyn Store, partition: u32) -> Result<i64, ReadError> {
    let rows = store
        .query(Statement::new(
            "log.last_position",
            "SELECT coalesce(max(position), 0) FROM log WHERE partition = $1",
            vec![partition.into()],
        ))
        .await?;
    Ok(rows.first().map_or(Ok(0), |it| it.get_int(0))?)
}

/// The position of the first row of a partition; nothing if there is none.
pub async fn first_position(store: &dyn Store, partition: u32) -> Result<Option<i64>, ReadError> {
    let rows = store
        .query(Statement::new(
            "log.first_position",
            "SELECT min(position) FROM log WHERE partition = $1",
            vec![partition.into()],
        ))
        .await?;
    Ok(rows.first().map_or(Ok(None), |it| it.opt_int(0))?)
}

/// Of rows `(key, length)`, the key of the last one with which the sum of lengths stays within
/// `page_bytes`, or of the first one if even that does not fit.
pub(crate) fn last_that_fits(
    lengths: &[Row],
    page_bytes: usize,
) -> Result<Option<i64>, MalformedRow> {
    let bound = i64::try_from(page_bytes).unwrap_or(i64::MAX);
    let (mut last, mut bytes) = (None, 0_i64);
    for row in lengths {
        bytes = bytes.saturating_add(row.get_int(1)?);
        if last.is_some() && bytes > bound {
            break;
        }
        last = Some(row.get_int(0)?);
    }
    Ok(last)
}

fn from_row(row: &Row) -> Result<LogRow, MalformedRow> {
    Ok(LogRow {
        partition: row.get_u32(0)?,
        position: row.get_int(1)?,
        stamped_at: row.get_time(2)?,
        core_version: row.get_u32(3)?,
        kind: row.get_u32(4)?,
        codec: row.get_u32(5)?,
        payload: row.get_bytes(6)?.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::Value;

    #[test]
    fn a_page_is_cut_by_bytes_but_holds_one_row() {
        let lengths: Vec<_> = [(1, 10), (2, 10), (5, 100)]
            .map(|(key, length)| Row::new(vec![Value::Int(key), Value::Int(length)]))
            .into();
        let cases = [(0, 1), (9, 1), (10, 1), (19, 1), (20, 2), (119, 2), (120, 5), (999, 5)];
        for (page_bytes, last) in cases {
            assert_eq!(last_that_fits(&lengths, page_bytes), Ok(Some(last)), "{page_bytes}");
        }
        assert_eq!(last_that_fits(&[], 10), Ok(None));
    }
}
