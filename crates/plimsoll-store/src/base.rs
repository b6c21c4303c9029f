//! Bases: what stands in for the rows of the log that were pruned, and marks that tell their age.
//!
//! Not here: when a base is made and what it holds (the engine).

use plimsoll_core::time::Timestamp;

use crate::{
    checkpoint::CheckpointRow,
    log::last_that_fits,
    multirow,
    row::{MalformedRow, Row},
    statement::Statement,
    store::{ReadError, Store},
};

/// Slices whose lengths are looked up at once to cut a page.
const PAGE_ROWS: i64 = 1_024;

/// A base that is complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Base {
    /// The last row that it stands in for.
    pub position: i64,
    /// When the machine had come so far.
    pub at: Timestamp,
    /// The latest stamp of any row up to there.
    pub stamped_at: Timestamp,
}

/// How far a log had come when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// The last row.
    pub position: i64,
    /// The machine's time.
    pub at: Timestamp,
}

/// Writes a slice of a base. The head, slice 0, makes it complete and comes last.
pub fn put(base: Base, slice: CheckpointRow) -> Vec<Statement> {
    let row = [
        slice.partition.into(),
        base.position.into(),
        slice.slice.into(),
        base.at.into(),
        base.stamped_at.into(),
        slice.core_version.into(),
        slice.payload.into(),
    ];
    let head = "INSERT INTO base \
        (partition, position, slice, at, stamped_at, core_version, payload)";
    multirow::insert("base.put", head, "", vec![row])
}

/// Deletes what a partition has of bases other than the one at this position.
pub fn delete_others(partition: u32, position: i64) -> Statement {
    Statement::new(
        "base.delete_others",
        "DELETE FROM base WHERE partition = $1 AND position <> $2",
        vec![partition.into(), position.into()],
    )
}

/// Since when the logs of all partitions are whole, by the machine's clock; nothing if no row was
/// ever pruned.
pub async fn complete_from(store: &dyn Store) -> Result<Option<Timestamp>, ReadError> {
    let sql = "SELECT max(at) FROM base WHERE slice = 0";
    let rows = store.query(Statement::new("base.complete_from", sql, Vec::new())).await?;
    Ok(rows.first().map(|it| it.opt_time(0)).transpose()?.flatten())
}

/// The newest complete base of a partition.
pub async fn newest(store: &dyn Store, partition: u32) -> Result<Option<Base>, ReadError> {
    let sql = "SELECT position, at, stamped_at FROM base WHERE partition = $1 AND slice = 0 \
        ORDER BY position DESC LIMIT 1";
    let rows = store.query(Statement::new("base.newest", sql, vec![partition.into()])).await?;
    let base = |row: &Row| -> Result<Base, MalformedRow> {
        let (at, stamped_at) = (row.get_time(1)?, row.get_time(2)?);
        Ok(Base { position: row.get_int(0)?, at, stamped_at })
    };
    Ok(rows.first().map(base).transpose()?)
}

/// Reads the slices of a base after a slice (`None`: from the head), in order.
///
/// A page holds at most `page_bytes` of payload, but at least one slice; it is empty only at the
/// end.
pub async fn read(
    store: &dyn Store,
    partition: u32,
    position: i64,
    after: Option<u32>,
    page_bytes: usize,
) -> Result<Vec<CheckpointRow>, ReadError> {
    let after = after.map_or(-1, i64::from);
    let sql = "SELECT slice, CAST(length(payload) AS BIGINT) FROM base \
        WHERE partition = $1 AND position = $2 AND slice > $3 ORDER BY slice LIMIT $4";
    let params = vec![partition.into(), position.into(), after.into(), PAGE_ROWS.into()];
    let lengths = store.query(Statement::new("base.lengths", sql, params)).await?;
    let Some(last) = last_that_fits(&lengths, page_bytes)? else { return Ok(Vec::new()) };
    let sql = "SELECT partition, slice, position, core_version, payload FROM base \
        WHERE partition = $1 AND position = $2 AND slice > $3 AND slice <= $4 ORDER BY slice";
    let params = vec![partition.into(), position.into(), after.into(), last.into()];
    let rows = store.query(Statement::new("base.read", sql, params)).await?;
    let slice = |row: &Row| -> Result<CheckpointRow, MalformedRow> {
        Ok(CheckpointRow {
            partition: row.get_u32(0)?,
            slice: row.get_u32(1)?,
            position: row.get_int(2)?,
            core_version: row.get_u32(3)?,
            payload: row.get_bytes(4)?.clone(),
        })
    };
    Ok(rows.iter().map(slice).collect::<Result<_, _>>()?)
}

/// Writes how far a log has come; a position keeps its first time.
pub fn put_mark(partition: u32, mark: Mark) -> Statement {
    Statement::new(
        "base.put_mark",
        "INSERT INTO log_mark (partition, position, at) VALUES ($1, $2, $3) \
         ON CONFLICT (partition, position) DO NOTHING",
        vec![partition.into(), mark.position.into(), mark.at.into()],
    )
}

/// The marks of a partition, the oldest first.
pub async fn marks(store: &dyn Store, partition: u32) -> Result<Vec<Mark>, ReadError> {
    let sql = "SELECT position, at FROM log_mark WHERE partition = $1 ORDER BY position";
    let rows = store.query(Statement::new("base.marks", sql, vec![partition.into()])).await?;
    let mark = |row: &Row| -> Result<Mark, MalformedRow> {
        Ok(Mark { position: row.get_int(0)?, at: row.get_time(1)? })
    };
    Ok(rows.iter().map(mark).collect::<Result<_, _>>()?)
}

/// Deletes the marks of a partition up to and including a position.
pub fn delete_marks_through(partition: u32, position: i64) -> Statement {
    Statement::new(
        "base.delete_marks_through",
        "DELETE FROM log_mark WHERE partition = $1 AND position <= $2",
        vec![partition.into(), position.into()],
    )
}
