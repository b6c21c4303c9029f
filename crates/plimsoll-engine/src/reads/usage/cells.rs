//! Adds up cells: those of named customers, of everybody one by one, or the totals of everybody.
//!
//! Totals are few, so they answer wherever rows are not by customer. They are kept only where they
//! stay small, and a total with too many combinations of group-by values does not tell them apart;
//! then the customers' own cells are added up.
//!
//! Not here: minutes (`minutes`), why open and closed cells go together (`open`).

use std::collections::BTreeMap;

use plimsoll_core::{
    ids::CustomerId,
    limits,
    metering::cell::{Cell, CellScope, Groups},
};
use plimsoll_store::archive::{self, CellRow};

use super::{
    UsageError, UsageQuery, UsageReader,
    closed::{Budget, ClosedCells, customer_of, decode},
    open::{CellsWanted, OpenScope},
    plan::{Plan, Span},
    sums::Sums,
};

/// Cells that one look-up of named customers may bring.
const LOOKUP_CELLS: usize = 16_384;
/// Named customers of one look-up.
const LOOKUP_CUSTOMERS: usize = 256;
/// Totals that one read brings.
const TOTALS: u32 = 4_096;

const FIRST_CUSTOMER: CustomerId = CustomerId::from_bits(0);
const LAST_CUSTOMER: CustomerId = CustomerId::from_bits(u128::MAX);

impl UsageReader {
    /// The rows of a query of whole hours.
    pub(super) async fn cells<'a>(&self, query: &'a UsageQuery) -> Result<Sums<'a>, UsageError> {
        let plan = Plan::of(query.step, query.range, query.now);
        let mut sums = Sums::new(query);
        let mut budget = Budget::new();
        if let Some(customers) = &query.customers {
            let first = first_customer(query);
            let customers: Vec<_> = customers.range(first..).copied().collect();
            let chunk = (LOOKUP_CELLS / plan.cells().max(1)).clamp(1, LOOKUP_CUSTOMERS);
            for customers in customers.chunks(chunk) {
                self.add_named(&plan, customers, &mut sums, &mut budget).await?;
                if query.by_customer && sums.is_full() {
                    break;
                }
            }
            return Ok(sums);
        }
        if !query.by_customer && query.meter.aggregation.is_small() {
            if self.add_totals(&plan, query, &mut sums, &mut budget).await? {
                return Ok(sums);
            }
            sums.clear();
        }
        self.add_everybody(&plan, query, &mut sums, &mut budget).await?;
        Ok(sums)
    }

    /// Adds the cells of named customers, in the order of their ids.
    async fn add_named(
        &self,
        plan: &Plan,
        customers: &[CustomerId],
        sums: &mut Sums<'_>,
        budget: &mut Budget,
    ) -> Result<(), UsageError> {
        let meter = sums.meter();
        let mut by_partition: BTreeMap<usize, Vec<CustomerId>> = BTreeMap::new();
        for customer in customers {
            by_partition.entry(self.open.partition_of(*customer)).or_default().push(*customer);
        }
        let asked = by_partition.into_iter().map(|(partition, customers)| {
            self.open.open(partition, CellsWanted::Of { meter, customers })
        });
        let mut open = by_customer(futures_util::future::try_join_all(asked).await?);
        // Only now: see `open`.
        let mut closed: BTreeMap<CustomerId, Vec<CellRow>> = BTreeMap::new();
        for Span { resolution, from, to } in &plan.spans {
            let store = &*self.store;
            let rows =
                archive::cells_of_customers(store, meter, *resolution, customers, (*from, *to));
            for row in rows.await? {
                budget.take(1)?;
                if let Some(customer) = customer_of(&row) {
                    closed.entry(customer).or_default().push(row);
                }
            }
        }
        for customer in customers {
            let mut open = open.remove(customer);
            let mut rows = closed.remove(customer).unwrap_or_default();
            // What was used later counts as later.
            rows.sort_unstable_by_key(|it| it.key.from);
            for row in rows {
                if let Some(open) = &mut open {
                    open.replace_by(row.key.resolution, row.key.from);
                }
                sums.add(Some(*customer), &decode(&row)?)?;
            }
            add_open(plan, open.as_ref(), Some(*customer), sums)?;
        }
        Ok(())
    }

    /// Adds the cells of everybody, in the order of their ids, until a page by customer is full.
    async fn add_everybody(
        &self,
        plan: &Plan,
        query: &UsageQuery,
        sums: &mut Sums<'_>,
        budget: &mut Budget,
    ) -> Result<(), UsageError> {
        let mut first = first_customer(query);
        // A filter may leave little of what a look brings: a short page may need many customers.
        let page = query.limit.max(limits::PAGE) + 1;
        let limit = if query.by_customer { page } else { limits::USAGE_OPEN };
        loop {
            let (mut open, last) = self.open_from(query, first, limit).await?;
            // Only now: see `open`.
            let closed = |it: &Span| {
                let customers = (first, last);
                (*it, ClosedCells::new(&*self.store, query.meter.id, *it, customers))
            };
            let mut closed: Vec<_> = plan.spans.iter().map(closed).collect();
            loop {
                let mut next = open.keys().next().copied();
                for (_, cells) in &mut closed {
                    let customer = cells.customer(budget).await?;
                    next = next.into_iter().chain(customer).min();
                }
                let Some(customer) = next else { break };
                let mut open = open.remove(&customer);
                for (span, cells) in &mut closed {
                    while let Some(cell) = cells.next_of(customer, budget).await? {
                        if let Some(open) = &mut open {
                            open.replace_by(span.resolution, cell.from);
                        }
                        sums.add(Some(customer), &cell)?;
                    }
                }
                add_open(plan, open.as_ref(), Some(customer), sums)?;
                if query.by_customer && sums.is_full() {
                    return Ok(());
                }
            }
            if last == LAST_CUSTOMER {
                return Ok(());
            }
            first = CustomerId::from_bits(last.bits() + 1);
        }
    }

    /// The open cells of customers from one on, and the customer up to which that is all of them.
    async fn open_from(
        &self,
        query: &UsageQuery,
        first: CustomerId,
        limit: usize,
    ) -> Result<(BTreeMap<CustomerId, OpenScope>, CustomerId), UsageError> {
        let meter = query.meter.id;
        let partitions = 0..self.open.partitions();
        let asked =
            partitions.map(|it| self.open.open(it, CellsWanted::From { meter, first, limit }));
        let answers = futures_util::future::try_join_all(asked).await?;
        let cut = answers.iter().filter(|it| it.len() >= limit);
        let last = cut.filter_map(|it| it.last().and_then(|it| owner(&it.scope))).min();
        let last = last.unwrap_or(LAST_CUSTOMER);
        let mut open = by_customer(answers);
        open.retain(|customer, _| *customer <= last);
        Ok((open, last))
    }

    /// Adds the totals of everybody; false if they cannot tell what is asked.
    async fn add_totals(
        &self,
        plan: &Plan,
        query: &UsageQuery,
        sums: &mut Sums<'_>,
        budget: &mut Budget,
    ) -> Result<bool, UsageError> {
        let meter = query.meter.id;
        let partitions = 0..self.open.partitions();
        let asked = partitions.map(|it| self.open.open(it, CellsWanted::Totals { meter }));
        let mut open: BTreeMap<(u32, u32), OpenScope> = BTreeMap::new();
        let answers = futures_util::future::try_join_all(asked).await?;
        for (partition, scopes) in (0..).zip(answers) {
            for scope in scopes {
                if let CellScope::Slice(slice) = scope.scope {
                    open.insert((partition, slice), scope);
                }
            }
        }
        // Only now: see `open`.
        for Span { resolution, from, to } in &plan.spans {
            let mut begin = Some((*from, 0, 0));
            while let Some(place) = begin {
                let rows =
                    archive::totals(&*self.store, meter, *resolution, place, *to, TOTALS).await?;
                budget.take(rows.len())?;
                begin = rows.last().filter(|_| rows.len() == TOTALS as usize).map(|(place, _)| {
                    let (at, partition, slice) = *place;
                    (at, partition, slice + 1)
                });
                for ((at, partition, slice), row) in &rows {
                    if let Some(open) = open.get_mut(&(*partition, *slice)) {
                        open.replace_by(*resolution, *at);
                    }
                    let cell = decode(row)?;
                    if !is_whole(&cell, query, sums) {
                        return Ok(false);
                    }
                    sums.add(None, &cell)?;
                }
            }
        }
        for scope in open.values() {
            for cell in scope.left(plan) {
                if !is_whole(cell, query, sums) {
                    return Ok(false);
                }
                sums.add(None, cell)?;
            }
        }
        Ok(true)
    }
}

/// Whether a total tells all that is asked of it.
///
/// Without group-by keys there cannot be too many of their values: then a sum went beyond 28
/// digits.
/// With them that cannot be told, and need not be: the customers together would do the same.
fn is_whole(cell: &Cell, query: &UsageQuery, sums: &Sums<'_>) -> bool {
    let may_lack = sums.needs_groups() || query.meter.group_by.is_empty();
    !(may_lack && cell.groups == Groups::TooMany)
}

/// Adds what is left of a scope's open cells.
fn add_open(
    plan: &Plan,
    open: Option<&OpenScope>,
    customer: Option<CustomerId>,
    sums: &mut Sums<'_>,
) -> Result<(), UsageError> {
    open.into_iter().flat_map(|it| it.left(plan)).try_for_each(|it| sums.add(customer, it))
}

/// The first customer whose rows are not all on earlier pages.
fn first_customer(query: &UsageQuery) -> CustomerId {
    query.after.as_ref().and_then(|it| it.customer).unwrap_or(FIRST_CUSTOMER)
}

fn by_customer(answers: Vec<Vec<OpenScope>>) -> BTreeMap<CustomerId, OpenScope> {
    let scopes = answers.into_iter().flatten();
    scopes.filter_map(|it| Some((owner(&it.scope)?, it))).collect()
}

fn owner(scope: &CellScope) -> Option<CustomerId> {
    match scope {
        CellScope::Customer(customer) => Some(*customer),
        CellScope::Slice(_) => None,
    }
}
