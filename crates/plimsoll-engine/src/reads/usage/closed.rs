//! Closed cells of customers that follow each other, read ahead in pages.
//!
//! Not here: which customers and spans (`cells`).

use std::collections::VecDeque;

use plimsoll_core::{
    codec::Reader,
    ids::{CustomerId, MeterId},
    limits,
    metering::cell::{Cell, CellScope},
};
use plimsoll_store::{
    Store,
    archive::{self, CellRange, CellRow},
};

use super::{UsageError, plan::Span};

/// Cells that the first read brings; each further one brings twice as many, within
/// [`limits::USAGE_PAGE_BYTES`].
const FIRST_CELLS: u32 = 1_024;
/// Cells that one read brings at the most.
const MOST_CELLS: u32 = 32_768;

/// How many cells one request may still look at.
#[derive(Debug)]
pub(super) struct Budget(usize);

/// The closed cells of one span, by customer and time.
#[derive(Debug)]
pub(super) struct ClosedCells<'a> {
    store: &'a dyn Store,
    range: CellRange,
    cells: u32,
    page: VecDeque<CellRow>,
    is_at_end: bool,
}

impl Budget {
    pub(super) fn new() -> Self {
        Self(limits::USAGE_CELLS)
    }

    /// Takes so many cells from it.
    pub(super) fn take(&mut self, cells: usize) -> Result<(), UsageError> {
        let left = self.0.checked_sub(cells);
        self.0 = left.ok_or(UsageError::TooLarge("the range has too many cells of usage"))?;
        Ok(())
    }
}

impl<'a> ClosedCells<'a> {
    pub(super) fn new(
        store: &'a dyn Store,
        meter: MeterId,
        span: Span,
        (first, last): (CustomerId, CustomerId),
    ) -> Self {
        let Span { resolution, from, to } = span;
        let range = CellRange { meter, resolution, begin: (first, from), last, from, to };
        let page = VecDeque::new();
        Self { store, range, cells: FIRST_CELLS, page, is_at_end: false }
    }

    /// The customer of the next cell; nothing at the end.
    pub(super) async fn customer(
        &mut self,
        budget: &mut Budget,
    ) -> Result<Option<CustomerId>, UsageError> {
        if self.page.is_empty() && !self.is_at_end {
            self.read_page(budget).await?;
        }
        Ok(self.page.front().and_then(customer_of))
    }

    /// The next cell, if it is of this customer.
    pub(super) async fn next_of(
        &mut self,
        customer: CustomerId,
        budget: &mut Budget,
    ) -> Result<Option<Cell>, UsageError> {
        if self.customer(budget).await? != Some(customer) {
            return Ok(None);
        }
        self.page.pop_front().as_ref().map(decode).transpose()
    }

    async fn read_page(&mut self, budget: &mut Budget) -> Result<(), UsageError> {
        let rows = archive::cells_of_range(self.store, &self.range, self.cells).await?;
        budget.take(rows.len())?;
        self.is_at_end = rows.len() < self.cells as usize;
        let bytes: usize = rows.iter().map(|it| it.payload.len()).sum();
        let fitting = limits::USAGE_PAGE_BYTES / (bytes / rows.len().max(1)).max(1);
        let fitting = u32::try_from(fitting).unwrap_or(MOST_CELLS).clamp(1, MOST_CELLS);
        self.cells = self.cells.saturating_mul(2).min(fitting);
        if let Some(last) = rows.last()
            && let Some(customer) = customer_of(last)
        {
            self.range.begin = (customer, last.key.from.plus_ms(1));
        }
        self.page = rows.into();
        Ok(())
    }
}

/// Reads a cell as it is kept.
pub(super) fn decode(row: &CellRow) -> Result<Cell, UsageError> {
    let mut reader = Reader::of_version(&row.payload, row.core_version);
    Ok(Cell::decode(&mut reader)?)
}

/// Whose cell a row is.
pub(super) fn customer_of(row: &CellRow) -> Option<CustomerId> {
    match row.key.scope {
        CellScope::Customer(customer) => Some(customer),
        CellScope::Slice(_) => None,
    }
}
