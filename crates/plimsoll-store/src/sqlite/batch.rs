//! Runs the statements of one batch on a connection, inside a transaction that the caller holds.
//!
//! Not here: the transaction itself (`writer`, `memory`).

use rusqlite::Connection;

use crate::{
    row::Row,
    sqlite::connection::{self, Failure},
    statement::{Batch, Statement},
    store::{CommitError, Refusal},
};

/// Why a batch has to be rolled back.
pub(super) enum Undone {
    /// A statement was refused; the transaction goes on.
    Refused(CommitError),
    /// The machine failed; the transaction is lost.
    Failed(String),
}

/// Runs the statements in order, up to the first that is refused, and gives the rows of each.
pub(super) fn run(connection: &Connection, batch: &Batch) -> Result<Vec<Vec<Row>>, Undone> {
    batch.statements.iter().map(|it| run_statement(connection, it)).collect()
}

/// Refuses a batch with a text that PostgreSQL could not store either.
pub(super) fn check(batch: &Batch) -> Result<(), CommitError> {
    let Some(statement) = batch.statements.iter().find(|it| it.holds_nul()) else { return Ok(()) };
    let refusal = Refusal::Invalid { detail: "a text holds U+0000".to_owned() };
    Err(CommitError::Refused { statement: statement.name, refusal })
}

fn run_statement(connection: &Connection, statement: &Statement) -> Result<Vec<Row>, Undone> {
    let refused =
        |refusal| Undone::Refused(CommitError::Refused { statement: statement.name, refusal });
    let outcome =
        connection::run(connection, statement).map_err(|error| {
            match connection::classify(&error) {
                Failure::Unique => refused(Refusal::Unique),
                Failure::Invalid(detail) => refused(Refusal::Invalid { detail }),
                Failure::Full(detail) | Failure::Broken(detail) => Undone::Failed(detail),
            }
        })?;
    statement
        .expect
        .check(&outcome.rows, outcome.affected)
        .map_err(|found| refused(Refusal::Expectation { found }))?;
    Ok(outcome.rows)
}
