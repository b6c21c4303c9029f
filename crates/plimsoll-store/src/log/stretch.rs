//! Stretches of one partition's log in the order of their stamps, from either end.
//!
//! The rows of one environment have the same order by stamp as by position: its clock never goes
//! back. A stretch is read in two steps, so that whoever merges partitions, or stops early, brings
//! only the payloads that it needs: first heads ([`heads`]), then rows by position ([`rows`]).
//!
//! Not here: whose rows they are and what they say (the engine).

use plimsoll_core::time::Timestamp;

use super::{LogRow, from_row};
use crate::{
    multirow,
    row::{MalformedRow, Row},
    statement::Statement,
    store::{ReadError, Store},
    value::Value,
};

/// The place of a row among those of its partition and kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Its stamp.
    pub stamped_at: Timestamp,
    /// Its position.
    pub position: i64,
}

/// Which end of a stretch comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// The oldest row.
    Forward,
    /// The newest row.
    Backward,
}

/// Rows of one kind on one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    /// Which partition.
    pub partition: u32,
    /// What the payloads are.
    pub kind: u32,
    /// The first place that belongs to it.
    pub from: Place,
    /// The first place that no longer does.
    pub before: Place,
}

/// A row without its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Where it is.
    pub place: Place,
    /// How long the payload is, in bytes.
    pub payload_bytes: usize,
}

impl Place {
    /// Before every row.
    pub const FIRST: Self = Self { stamped_at: Timestamp::MIN, position: i64::MIN };
    /// After every row.
    pub const LAST: Self = Self { stamped_at: Timestamp::MAX, position: i64::MAX };
}

impl Direction {
    pub(crate) const fn as_sql(self) -> &'static str {
        match self {
            Self::Forward => "ASC",
            Self::Backward => "DESC",
        }
    }
}

/// The first heads of a stretch, at most `limit`.
pub async fn heads(
    store: &dyn Store,
    stretch: &Stretch,
    direction: Direction,
    limit: u32,
) -> Result<Vec<Head>, ReadError> {
    let order = direction.as_sql();
    let sql = format!(
        "SELECT stamped_at, position, CAST(length(payload) AS BIGINT) FROM log \
         WHERE partition = $1 AND kind = $2 \
         AND (stamped_at, position) >= ($3, $4) AND (stamped_at, position) < ($5, $6) \
         ORDER BY stamped_at {order}, position {order} LIMIT $7",
    );
    let params = vec![
        stretch.partition.into(),
        stretch.kind.into(),
        stretch.from.stamped_at.into(),
        stretch.from.position.into(),
        stretch.before.stamped_at.into(),
        stretch.before.position.into(),
        limit.into(),
    ];
    let rows = store.query(Statement::new("log.heads", sql, params)).await?;
    Ok(rows.iter().map(head_from_row).collect::<Result<_, _>>()?)
}

/// The rows at these positions of a partition, as far as they exist, by position.
///
/// The caller bounds how many and how large they are.
pub async fn rows(
    store: &dyn Store,
    partition: u32,
    positions: &[i64],
) -> Result<Vec<LogRow>, ReadError> {
    if positions.is_empty() {
        return Ok(Vec::new());
    }
    let statement = by_positions(
        "log.rows",
        "SELECT partition, position, stamped_at, core_version, kind, codec, payload FROM log",
        partition,
        positions,
    );
    let rows = store.query(statement).await?;
    Ok(rows.iter().map(from_row).collect::<Result<_, _>>()?)
}

/// `{select} WHERE` the row is at one of these positions of the partition, by position.
pub(crate) fn by_positions(
    name: &'static str,
    select: &str,
    partition: u32,
    positions: &[i64],
) -> Statement {
    let (members, positions) =
        multirow::members_of(2, positions.iter().map(|it| Value::from(*it)).collect());
    let sql = format!("{select} WHERE partition = $1 AND position IN {members} ORDER BY position");
    let mut params = vec![partition.into()];
    params.extend(positions);
    Statement::new(name, sql, params)
}

/// Reads `stamped_at, position, length`.
pub(crate) fn head_from_row(row: &Row) -> Result<Head, MalformedRow> {
    Ok(Head {
        place: Place { stamped_at: row.get_time(0)?, position: row.get_int(1)? },
        payload_bytes: usize::try_from(row.get_int(2)?)
            .map_err(|_| row.malformed(2, "a length"))?,
    })
}
