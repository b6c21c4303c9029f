//! The rows of an answer while they are being added up.
//!
//! Not here: which cells there are (`cells`), reading the log (`minutes`).

use std::collections::BTreeMap;

use plimsoll_core::{
    catalog::meter::UncountedReason,
    entitlement::period::Window,
    ids::{CustomerId, MeterId},
    limits,
    metering::{
        accumulator::{Accumulator, Amount},
        cell::{Cell, Groups},
    },
    time::Timestamp,
};

use super::{UsageError, UsagePage, UsageQuery, UsageRow};

/// Which row. Rows are listed in this order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RowKey {
    /// Whose, if rows are by customer.
    pub customer: Option<CustomerId>,
    /// The first moment of the row's window.
    pub from: Timestamp,
    /// The values of the group-by keys that were asked for.
    pub group: Vec<Option<Box<str>>>,
}

/// Rows that are being added up.
#[derive(Debug)]
pub(super) struct Sums<'a> {
    query: &'a UsageQuery,
    rows: BTreeMap<RowKey, Accumulator>,
}

impl<'a> Sums<'a> {
    /// Nothing yet. Where rows are only by time every window has one, whether there is usage in it
    /// or not.
    pub(super) fn new(query: &'a UsageQuery) -> Self {
        let mut sums = Self { query, rows: BTreeMap::new() };
        if !query.by_customer && query.by.is_empty() {
            for window in query.step.windows(query.range) {
                let key = RowKey { customer: None, from: window.from, group: Vec::new() };
                if sums.is_wanted(&key) {
                    sums.rows.insert(key, Accumulator::empty(&query.meter.aggregation));
                }
            }
        }
        sums
    }

    /// The meter whose usage it is.
    pub(super) fn meter(&self) -> MeterId {
        self.query.meter.id
    }

    /// Whether the sums need to know groups.
    pub(super) fn needs_groups(&self) -> bool {
        !self.query.by.is_empty() || !self.query.filters.is_empty()
    }

    /// Adds a cell of a customer, or of many.
    pub(super) fn add(
        &mut self,
        customer: Option<CustomerId>,
        cell: &Cell,
    ) -> Result<(), UsageError> {
        if !self.needs_groups() {
            return self.merge(customer, cell.from, &[], &cell.total);
        }
        let Groups::Each(groups) = &cell.groups else { return Ok(()) };
        for (values, accumulator) in groups {
            if self.passes(values) {
                self.merge(customer, cell.from, values, accumulator)?;
            }
        }
        Ok(())
    }

    /// Adds an event; what cannot be counted changes nothing, as when it was accepted.
    pub(super) fn add_event(
        &mut self,
        customer: CustomerId,
        time: Timestamp,
        amount: Amount,
        values: &[Option<Box<str>>],
    ) -> Result<(), UsageError> {
        if !self.passes(values) {
            return Ok(());
        }
        match self.row(Some(customer), time, values)? {
            Some(row) => match row.add(time, amount) {
                Err(UncountedReason::ValueOutOfRange) => Err(UsageError::OutOfRange),
                Ok(()) | Err(_) => Ok(()),
            },
            None => Ok(()),
        }
    }

    /// Whether there are more rows than the page holds already.
    pub(super) fn is_full(&self) -> bool {
        self.rows.len() > self.query.limit
    }

    /// Forgets what was added.
    pub(super) fn clear(&mut self) {
        *self = Self::new(self.query);
    }

    /// The first rows.
    pub(super) fn into_page(self) -> UsagePage {
        let Self { query, rows } = self;
        let more = rows.len() > query.limit;
        let mut next = None;
        let mut page = Vec::with_capacity(rows.len().min(query.limit));
        for (key, accumulator) in rows.into_iter().take(query.limit) {
            let window = query.step.window_at(key.from, query.range);
            page.push(UsageRow {
                window,
                customer: key.customer,
                group: key.group.clone(),
                value: accumulator.value_in(window),
            });
            next = Some(key);
        }
        UsagePage { rows: page, next: next.filter(|_| more) }
    }

    /// Adds the rows of another answer to the same query.
    pub(super) fn absorb(&mut self, other: Self) -> Result<(), UsageError> {
        for (key, accumulator) in other.rows {
            match self.rows.get_mut(&key) {
                Some(known) => known.merge(&accumulator).map_err(|_| UsageError::OutOfRange)?,
                None => drop(self.rows.insert(key, accumulator)),
            }
        }
        self.check_size()
    }

    fn passes(&self, values: &[Option<Box<str>>]) -> bool {
        self.query.filters.iter().all(|(place, wanted)| {
            values.get(*place).and_then(Option::as_ref).is_some_and(|it| wanted.contains(it))
        })
    }

    fn merge(
        &mut self,
        customer: Option<CustomerId>,
        time: Timestamp,
        values: &[Option<Box<str>>],
        accumulator: &Accumulator,
    ) -> Result<(), UsageError> {
        match self.row(customer, time, values)? {
            Some(row) => row.merge(accumulator).map_err(|_| UsageError::OutOfRange),
            None => Ok(()),
        }
    }

    /// The row that usage belongs to, unless an earlier page had it.
    fn row(
        &mut self,
        customer: Option<CustomerId>,
        time: Timestamp,
        values: &[Option<Box<str>>],
    ) -> Result<Option<&mut Accumulator>, UsageError> {
        let Window { from, .. } = self.query.step.window_at(time, self.query.range);
        let customer = customer.filter(|_| self.query.by_customer);
        let group = self.query.by.iter().map(|it| values.get(*it).cloned().flatten()).collect();
        let key = RowKey { customer, from, group };
        if !self.is_wanted(&key) {
            return Ok(None);
        }
        self.check_size()?;
        let empty = || Accumulator::empty(&self.query.meter.aggregation);
        Ok(Some(self.rows.entry(key).or_insert_with(empty)))
    }

    fn is_wanted(&self, key: &RowKey) -> bool {
        self.query.after.as_ref().is_none_or(|after| key > after)
    }

    fn check_size(&self) -> Result<(), UsageError> {
        if self.rows.len() > limits::USAGE_ROWS {
            return Err(UsageError::TooLarge("the answer has too many rows"));
        }
        Ok(())
    }
}
