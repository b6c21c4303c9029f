//! Usage of a meter by time, customer and group: sums of cells, and minutes counted from the log.
//!
//! What has closed is in the store, what is still open is in the memory of the partitions. Open
//! cells are asked for first and the store is read afterwards: see `open` for why nothing is missed
//! or counted twice.
//!
//! Not here: names, defaults and who may ask (`ops::usage`), how cells are made (`plimsoll-core`).

use std::{collections::BTreeSet, sync::Arc};

use plimsoll_core::{
    catalog::meter::Meter,
    codec::Corrupt,
    entitlement::period::Window,
    ids::{CustomerId, EnvironmentId},
    limits,
    quantity::Quantity,
    time::Timestamp,
};
use plimsoll_store::{ReadError, Store};

mod cells;
mod closed;
mod minutes;
pub mod open;
mod plan;
mod sums;

pub use plan::Step;
pub use sums::RowKey;

use open::{NotNow, OpenCells};

/// Reads usage. Cheap to clone.
#[derive(Debug, Clone)]
pub struct UsageReader {
    store: Arc<dyn Store>,
    open: Arc<dyn OpenCells>,
}

/// What usage is asked for.
#[derive(Debug, Clone)]
pub struct UsageQuery {
    /// By which meter it was measured.
    pub meter: Arc<Meter>,
    /// Only of these customers; nothing is everybody.
    pub customers: Option<BTreeSet<CustomerId>>,
    /// Whether each customer has rows of its own.
    pub by_customer: bool,
    /// The meter's group-by keys, by their place, that each combination of has rows of its own.
    pub by: Vec<usize>,
    /// Only usage that passes all of these.
    pub filters: Vec<GroupFilter>,
    /// How long the time of one row is.
    pub step: Step,
    /// From when to when: whole hours, or whole minutes for [`Step::Minute`].
    pub range: Window,
    /// The clock of the environment.
    pub now: Timestamp,
    /// Only rows after this one.
    pub after: Option<RowKey>,
    /// Rows at the most.
    pub limit: usize,
}

/// The place of a group-by key, and the values that pass.
pub type GroupFilter = (usize, BTreeSet<Box<str>>);

/// Some rows of usage, in the order of their keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsagePage {
    /// The rows.
    pub rows: Vec<UsageRow>,
    /// Where the next page begins: after this row. Nothing on the last page.
    pub next: Option<RowKey>,
}

/// What was used in one window, by one customer or combination of group-by values if so asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageRow {
    /// From when to when, inside the range that was asked for.
    pub window: Window,
    /// Whose usage; everybody's that was asked for, if rows are not by customer.
    pub customer: Option<CustomerId>,
    /// The values of the group-by keys that were asked for; nothing where an event has none.
    pub group: Vec<Option<Box<str>>>,
    /// The value; nothing where there is none, as the least of no values.
    pub value: Option<Quantity>,
}

/// Why usage was not read.
#[derive(Debug, thiserror::Error)]
pub enum UsageError {
    /// The store cannot be read now.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A partition cannot answer now.
    #[error(transparent)]
    NotNow(#[from] NotNow),
    /// What is stored cannot be understood. Waiting does not help.
    #[error(transparent)]
    Corrupt(#[from] Corrupt),
    /// More than one request may look at.
    #[error("{0}")]
    TooLarge(&'static str),
    /// A sum has more digits than can be held.
    #[error("a sum has more than 28 digits")]
    OutOfRange,
}

impl UsageReader {
    /// Reads `store`, and what is not there yet from the owners of the partitions.
    pub fn new(store: Arc<dyn Store>, open: Arc<dyn OpenCells>) -> Self {
        Self { store, open }
    }

    /// What the clock of an environment shows where it is most ahead, if the machine's shows the
    /// present.
    pub async fn clock(&self, environment: EnvironmentId) -> Result<Timestamp, UsageError> {
        let partitions = 0..self.open.partitions();
        let clocks = partitions.map(|it| self.open.clock(it, environment));
        let clocks = futures_util::future::try_join_all(clocks).await?;
        Ok(clocks.into_iter().max().unwrap_or(Timestamp::MIN))
    }

    /// The rows that a query asks for.
    pub async fn read(&self, query: &UsageQuery) -> Result<UsagePage, UsageError> {
        if query.step.windows_in(query.range) > limits::USAGE_WINDOWS {
            return Err(UsageError::TooLarge("the range has too many windows"));
        }
        let sums = match query.step {
            Step::Minute => self.minutes(query).await?,
            Step::Hour | Step::Day | Step::Month | Step::Whole => self.cells(query).await?,
        };
        Ok(sums.into_page())
    }
}

#[cfg(test)]
mod tests;
