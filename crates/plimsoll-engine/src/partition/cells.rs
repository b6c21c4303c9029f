//! The open cells of a partition, for whoever reads usage.
//!
//! Not here: which of them a reader uses, and closed ones (`reads::usage`).

use async_trait::async_trait;
use plimsoll_core::{
    ids::{CustomerId, EnvironmentId},
    metering::cell::{Cell, CellScope},
    state::State,
    time::Timestamp,
};

use super::{Partitions, Read};
use crate::{
    ops::port::ValueError,
    reads::usage::open::{CellsWanted, NotNow, OpenCells, OpenScope},
};

/// The open cells that are wanted, as they are committed.
pub(super) fn open_cells(state: &State, wanted: &CellsWanted) -> Vec<OpenScope> {
    let of = |customer, cells| open(CellScope::Customer(customer), cells);
    match wanted {
        CellsWanted::Of { meter, customers } => {
            let cells = customers.iter().map(|it| of(*it, state.customer_cells(*it, *meter)));
            cells.flatten().collect()
        }
        CellsWanted::From { meter, first, limit } => {
            // Cells are empty where the first event was refused.
            let wanted =
                |(customer, (hour, day)): &(CustomerId, (Option<&Cell>, Option<&Cell>))| {
                    customer >= first && (hour.is_some() || day.is_some())
                };
            let mut found: Vec<_> = state.customers_with_cells(*meter).filter(wanted).collect();
            if found.len() > *limit {
                found.select_nth_unstable_by_key(*limit, |it| it.0);
                found.truncate(*limit);
            }
            found.sort_unstable_by_key(|it| it.0);
            found.into_iter().filter_map(|(customer, cells)| of(customer, cells)).collect()
        }
        CellsWanted::Totals { meter } => {
            let slices = state.slice_cells(*meter);
            slices.filter_map(|(slice, cells)| open(CellScope::Slice(slice), cells)).collect()
        }
    }
}

fn open(scope: CellScope, (hour, day): (Option<&Cell>, Option<&Cell>)) -> Option<OpenScope> {
    let scope = OpenScope { scope, hour: hour.cloned(), day: day.cloned() };
    (scope.hour.is_some() || scope.day.is_some()).then_some(scope)
}

#[async_trait]
impl OpenCells for Partitions {
    fn partitions(&self) -> usize {
        self.count()
    }

    fn partition_of(&self, customer: CustomerId) -> usize {
        self.of(customer)
    }

    async fn clock(
        &self,
        partition: usize,
        environment: EnvironmentId,
    ) -> Result<Timestamp, NotNow> {
        let read = |reply| Read::Clock { environment, reply };
        self.read(partition, read).await.map_err(NotNow::from)
    }

    async fn open(&self, partition: usize, wanted: CellsWanted) -> Result<Vec<OpenScope>, NotNow> {
        let read = |reply| Read::Cells { wanted, reply };
        self.read(partition, read).await.map_err(NotNow::from)
    }
}

impl From<ValueError> for NotNow {
    fn from(error: ValueError) -> Self {
        match error {
            ValueError::Busy => Self::Busy,
            ValueError::Unavailable { detail } => Self::Unavailable { detail },
        }
    }
}
