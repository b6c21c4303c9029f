//! Attempts: single HTTP requests of deliveries, and what came of them.
//!
//! [`record`] writes many results at once: an attempt's row and its delivery's new state go into
//! one batch.
//!
//! Not here: what an answer means for the delivery (the engine).

use std::collections::HashMap;

use bytes::Bytes;
use plimsoll_core::{ids::DeliveryId, time::Timestamp};

use crate::{
    delivery::DeliveryState,
    multirow,
    row::{MalformedRow, Row},
    statement::Statement,
    store::{ReadError, Store},
    value::Value,
};

/// The name of the statements that insert attempts. An attempt that exists is refused under it as
/// unique: somebody else works on the delivery.
pub const INSERT: &str = "attempt.insert";

/// Deliveries whose attempts one query looks up.
const LOOKUP_IDS: usize = 512;

/// One attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptRow {
    /// Of which delivery.
    pub delivery: DeliveryId,
    /// 1 for the first.
    pub n: u32,
    /// When it began.
    pub at: Timestamp,
    /// The HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// How long it took.
    pub duration_ms: u32,
    /// The class of the error, if it failed.
    pub error: Option<String>,
    /// The first bytes of the answer's body, whatever they are.
    pub response_body: Option<Bytes>,
}

/// An attempt, and what its delivery becomes by it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptResult {
    /// The attempt. Its number becomes the delivery's `attempts`.
    pub attempt: AttemptRow,
    /// The state of the delivery.
    pub state: DeliveryState,
    /// When to try again; `None` exactly if the state is final.
    pub next_attempt_at: Option<Timestamp>,
    /// When the result was known.
    pub updated_at: Timestamp,
}

/// Writes results. The delivery takes the attempt's error as its own.
///
/// A delivery that became final meanwhile (its channel was disabled) keeps its state, unless the
/// result is a success: the receiver has it, whatever was decided here.
pub fn record(results: Vec<AttemptResult>) -> Vec<Statement> {
    let mut attempts = Vec::with_capacity(results.len());
    let mut deliveries = Vec::with_capacity(results.len());
    for result in results {
        let AttemptResult { attempt, state, next_attempt_at, updated_at } = result;
        deliveries.push([
            Value::text_of(&attempt.delivery),
            state.as_str().into(),
            attempt.n.into(),
            next_attempt_at.into(),
            attempt.error.clone().into(),
            updated_at.into(),
        ]);
        attempts.push([
            Value::text_of(&attempt.delivery),
            attempt.n.into(),
            attempt.at.into(),
            attempt.status.into(),
            attempt.duration_ms.into(),
            attempt.error.into(),
            attempt.response_body.into(),
        ]);
    }
    let mut statements = multirow::insert(
        INSERT,
        "INSERT INTO attempt (delivery, n, at, status, duration_ms, error, response_body)",
        "",
        attempts,
    );
    // `|| ''` keeps SQLite from indexing the results: with many of them it would rather read all of
    // `delivery` and look each row up among the results.
    statements.extend(multirow::with(
        "attempt.update_delivery",
        "result (id, state, attempts, next_attempt_at, error, updated_at)",
        ["TEXT", "TEXT", "BIGINT", "BIGINT", "TEXT", "BIGINT"],
        "UPDATE delivery SET state = result.state, attempts = result.attempts, \
         next_attempt_at = result.next_attempt_at, error = result.error, \
         updated_at = result.updated_at FROM result WHERE delivery.id = (result.id || '') \
         AND (delivery.next_attempt_at IS NOT NULL OR result.state = 'SUCCESS')",
        deliveries,
    ));
    statements
}

/// The attempts of each of these deliveries, in order.
pub async fn of_deliveries(
    store: &dyn Store,
    deliveries: &[DeliveryId],
) -> Result<HashMap<DeliveryId, Vec<AttemptRow>>, ReadError> {
    let ids: Vec<_> = deliveries.iter().map(ToString::to_string).collect();
    let mut attempts: HashMap<_, Vec<_>> = HashMap::new();
    for ids in ids.chunks(LOOKUP_IDS) {
        let (members, params) = multirow::members(1, ids);
        let sql = format!(
            "SELECT delivery, n, at, status, duration_ms, error, response_body FROM attempt \
             WHERE delivery IN {members} ORDER BY delivery, n"
        );
        let rows = store.query(Statement::new("attempt.of_deliveries", sql, params)).await?;
        for row in &rows {
            let attempt = from_row(row)?;
            attempts.entry(attempt.delivery).or_default().push(attempt);
        }
    }
    Ok(attempts)
}

fn from_row(row: &Row) -> Result<AttemptRow, MalformedRow> {
    Ok(AttemptRow {
        delivery: row.parse(0)?,
        n: row.get_u32(1)?,
        at: row.get_time(2)?,
        status: row.opt_int(3)?.map(|_| row.get_u16(3)).transpose()?,
        duration_ms: row.get_u32(4)?,
        error: row.opt_text(5)?.map(str::to_owned),
        response_body: row.opt_bytes(6)?.cloned(),
    })
}
