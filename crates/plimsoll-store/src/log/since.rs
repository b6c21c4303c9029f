//! Rows of one partition's log from a time on, without those that have nothing to say about it.
//!
//! Stamps are of the environments' clocks, so their order is that of positions only inside one
//! environment: rows are chosen by their stamp and read by position.
//!
//! Not here: whose rows they are and what they say (the engine).

use plimsoll_core::time::Timestamp;

use super::{LogRow, from_row, last_that_fits};
use crate::{
    statement::Statement,
    store::{ReadError, Store},
};

/// Rows whose lengths are looked up at once to cut a page.
const PAGE_ROWS: i64 = 1_024;

/// Which rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Since {
    /// Of which partition.
    pub partition: u32,
    /// Rows of this kind, whenever they were stamped.
    pub always: u32,
    /// Rows of this kind that are stamped at `stamped_at` or later.
    pub kind: u32,
    /// The earliest stamp.
    pub stamped_at: Timestamp,
}

/// The position of the first row of the kind that is stamped late enough.
pub async fn first(store: &dyn Store, since: &Since) -> Result<Option<i64>, ReadError> {
    let sql = "SELECT min(position) FROM log \
        WHERE partition = $1 AND kind = $2 AND stamped_at >= $3";
    let params = vec![since.partition.into(), since.kind.into(), since.stamped_at.into()];
    let rows = store.query(Statement::new("log.first_since", sql, params)).await?;
    Ok(rows.first().map_or(Ok(None), |it| it.opt_int(0))?)
}

/// The next rows after a position, in order.
///
/// A page holds at most `page_bytes` of payload, but at least one row; it is empty only when no
/// such row is left.
pub async fn read(
    store: &dyn Store,
    since: &Since,
    after: i64,
    page_bytes: usize,
) -> Result<Vec<LogRow>, ReadError> {
    let chosen = "WHERE partition = $1 AND position > $2 \
        AND (kind = $3 OR (kind = $4 AND stamped_at >= $5))";
    let mut params = vec![
        since.partition.into(),
        after.into(),
        since.always.into(),
        since.kind.into(),
        since.stamped_at.into(),
    ];
    let sql = format!(
        "SELECT position, CAST(length(payload) AS BIGINT) FROM log {chosen} \
         ORDER BY position LIMIT $6"
    );
    let mut heads = params.clone();
    heads.push(PAGE_ROWS.into());
    let lengths = store.query(Statement::new("log.lengths_since", sql, heads)).await?;
    let Some(last) = last_that_fits(&lengths, page_bytes)? else { return Ok(Vec::new()) };
    let sql = format!(
        "SELECT partition, position, stamped_at, core_version, kind, codec, payload FROM log \
         {chosen} AND position <= $6 ORDER BY position"
    );
    params.push(last.into());
    let rows = store.query(Statement::new("log.read_since", sql, params)).await?;
    Ok(rows.iter().map(from_row).collect::<Result<_, _>>()?)
}
