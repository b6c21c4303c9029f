//! The control log: changes of the catalogue, numbered without gaps.
//!
//! A change increments the head and inserts its command in one transaction ([`append`]). Every
//! append to a partition's log carries [`guard`], which is refused when the partition has not
//! seen the newest change.
//!
//! Not here: what a command says (the core's codec).

use bytes::Bytes;
use plimsoll_core::time::Timestamp;

use crate::{
    row::{MalformedRow, Row},
    statement::{Expect, Statement},
    store::{ReadError, Store},
    value::Value,
};

/// The name of the statement that increments the head.
pub const BUMP: &str = "control.bump";
/// The name of the statement that inserts the command.
pub const INSERT: &str = "control.insert";
/// The name of the statement that refuses a batch when the head has moved.
pub const GUARD: &str = "control.guard";

/// One change of the control plane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlRow {
    /// Its number; the first is 1, and there are no gaps.
    pub seq: i64,
    /// When it was made, by the machine's clock.
    pub at: Timestamp,
    /// The command.
    pub command: Bytes,
}

/// Appends a command under the next number. The first statement returns one row: that number.
pub fn append(at: Timestamp, command: Bytes) -> [Statement; 2] {
    let bump = Statement::new(
        BUMP,
        "UPDATE control_head SET seq = seq + 1 WHERE id = 1 RETURNING seq",
        Vec::new(),
    );
    let insert = Statement::new(
        INSERT,
        "INSERT INTO control (seq, at, command) SELECT seq, $1, $2 FROM control_head WHERE id = 1",
        vec![at.into(), command.into()],
    );
    [bump.expecting(Expect::RowsAffected(1)), insert.expecting(Expect::RowsAffected(1))]
}

/// Refuses its batch under the name [`GUARD`] unless the newest change is number `seq`.
pub fn guard(seq: i64) -> Statement {
    Statement::new(GUARD, "SELECT seq FROM control_head WHERE id = 1", Vec::new())
        .expecting(Expect::Row(vec![Value::Int(seq)]))
}

/// The number of the newest change; 0 if there is none.
pub async fn head(store: &dyn Store) -> Result<i64, ReadError> {
    let rows = store
        .query(Statement::new(
            "control.head",
            "SELECT coalesce(max(seq), 0) FROM control_head",
            Vec::new(),
        ))
        .await?;
    Ok(rows.first().map_or(Ok(0), |it| it.get_int(0))?)
}

/// At most `limit` changes after number `seq`, in order.
pub async fn since(store: &dyn Store, seq: i64, limit: u32) -> Result<Vec<ControlRow>, ReadError> {
    let rows = store
        .query(Statement::new(
            "control.since",
            "SELECT seq, at, command FROM control WHERE seq > $1 ORDER BY seq LIMIT $2",
            vec![seq.into(), limit.into()],
        ))
        .await?;
    Ok(rows.iter().map(from_row).collect::<Result<_, _>>()?)
}

fn from_row(row: &Row) -> Result<ControlRow, MalformedRow> {
    Ok(ControlRow {
        seq: row.get_int(0)?,
        at: row.get_time(1)?,
        command: row.get_bytes(2)?.clone(),
    })
}
