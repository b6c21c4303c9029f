//! Writes and reads as data: one SQL text with its parameters, and a batch of them.
//!
//! A batch is one transaction, all or nothing. There are no interactive transactions: whatever a
//! write depends on is a guard statement in its batch, whose expectation refuses the whole.
//!
//! Not here: SQL texts (the typed modules) and execution (`sqlite`, `postgres`).

use std::borrow::Cow;

use crate::{row::Row, value::Value};

/// One SQL statement with its parameters.
///
/// The text is the same for both backends. Placeholders are `$1`, `$2`, …; results are BIGINT,
/// TEXT or BYTEA.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// What the statement is called in errors and logs, such as `log.append`.
    pub name: &'static str,
    /// The text.
    pub sql: Cow<'static, str>,
    /// The values of `$1`, `$2`, ….
    pub params: Vec<Value>,
    /// What must come out of it.
    pub expect: Expect,
}

/// What must come out of a statement so that its batch is committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expect {
    /// Whatever comes.
    Anything,
    /// Exactly so many rows inserted, updated or deleted.
    RowsAffected(u64),
    /// A SELECT whose first row is exactly this one.
    Row(Vec<Value>),
}

/// What a batch is for. On SQLite the one writer serves lanes in this order; on PostgreSQL the
/// last two may use only a part of the connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Appends to the log, with everything that follows from them.
    Log,
    /// Changes of the control plane.
    Control,
    /// Results of delivery attempts.
    Attempts,
    /// Slices of checkpoints and sealed dedupe segments.
    Checkpoint,
    /// Deletion of what is no longer needed.
    Pruning,
}

/// Statements that are committed together or not at all, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// What the batch is for.
    pub lane: Lane,
    /// The statements, run in this order.
    pub statements: Vec<Statement>,
}

impl Statement {
    /// A statement that accepts whatever comes out of it.
    pub fn new(name: &'static str, sql: impl Into<Cow<'static, str>>, params: Vec<Value>) -> Self {
        Self { name, sql: sql.into(), params, expect: Expect::Anything }
    }

    /// The same statement, refusing its batch unless this comes out of it.
    #[must_use]
    pub fn expecting(mut self, expect: Expect) -> Self {
        self.expect = expect;
        self
    }

    /// Whether a text parameter holds U+0000, which PostgreSQL cannot store.
    pub(crate) fn holds_nul(&self) -> bool {
        self.params.iter().any(|it| matches!(it, Value::Text(text) if text.contains('\0')))
    }

    /// Roughly what the statement takes in memory, in bytes.
    pub(crate) fn weight(&self) -> usize {
        self.sql.len() + self.params.iter().map(Value::weight).sum::<usize>()
    }
}

impl Expect {
    /// Whether these results are what is expected; if not, what was found.
    pub(crate) fn check(&self, rows: &[Row], affected: u64) -> Result<(), String> {
        match self {
            Self::Anything => Ok(()),
            Self::RowsAffected(expected) if *expected == affected => Ok(()),
            Self::RowsAffected(_) => Err(format!("{affected} rows affected")),
            Self::Row(expected) => match rows.first() {
                Some(row) if row.values() == expected.as_slice() => Ok(()),
                Some(row) => Err(format!("{:?}", row.values())),
                None => Err("no row".to_owned()),
            },
        }
    }
}

impl Batch {
    /// A batch of these statements.
    pub const fn new(lane: Lane, statements: Vec<Statement>) -> Self {
        Self { lane, statements }
    }

    /// Roughly what the batch takes in memory, in bytes.
    pub(crate) fn weight(&self) -> usize {
        self.statements.iter().map(Statement::weight).sum()
    }
}

impl Lane {
    /// Every lane, the most urgent first.
    pub const ALL: [Self; 5] =
        [Self::Log, Self::Control, Self::Attempts, Self::Checkpoint, Self::Pruning];

    /// Whether nobody waits for the batch: checkpoints and pruning.
    pub(crate) const fn is_background(self) -> bool {
        matches!(self, Self::Checkpoint | Self::Pruning)
    }
}
