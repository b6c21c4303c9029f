//! What can be asked of a state without changing it.

use super::{GrantBalance, State, customers::READ_AHEAD};
use crate::{
    archive::Segment,
    catalog::Catalog,
    entitlement::EntitlementValue,
    ids::{CustomerId, EntitlementId, MeterId},
    metering::cell::Cell,
    time::Timestamp,
};

/// The open cells of a meter: the newest hour, and the newest day without that hour.
type OpenCellsOf<'a> = (Option<&'a Cell>, Option<&'a Cell>);

impl State {
    /// The catalogue as of the last row.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// Customers that exist.
    pub fn customer_count(&self) -> usize {
        self.customers.count()
    }

    /// Whether this customer exists here.
    pub fn has_customer(&self, customer: CustomerId) -> bool {
        self.customers.slot(customer).is_some_and(|it| self.customers.get(it).is_some())
    }

    /// Whether this customer exists here, or did before it was deleted.
    pub fn has_had_customer(&self, customer: CustomerId) -> bool {
        self.customers.slot(customer).is_some()
    }

    /// Customers that are read ahead together.
    pub const READ_AHEAD: usize = READ_AHEAD;

    /// Reads ahead what applying events of these customers will read; changes nothing. At most
    /// [`State::READ_AHEAD`] of them.
    ///
    /// Many customers do not fit a processor's cache, and an event waits for memory several times.
    /// The waits of different customers overlap here.
    pub fn read_ahead(&self, customers: impl Iterator<Item = CustomerId>) {
        self.customers.read_ahead(customers);
    }

    /// The closed windows that an event of this time concerns, to be brought into the archive
    /// before the event is applied: their entitlements.
    pub fn late_windows(&self, customer: CustomerId, time: Timestamp) -> Vec<EntitlementId> {
        if self.customers.is_timely(time) {
            return Vec::new();
        }
        let Some(customer) = self.customers.slot(customer).and_then(|it| self.customers.get(it))
        else {
            return Vec::new();
        };
        let metered = customer.entitlements.iter().filter_map(|it| it.metered());
        // Windows that close while the row is applied get into the archive by themselves.
        let late = metered.filter(|it| it.first_from <= time && time < it.window.from);
        late.map(|it| it.entitlement).collect()
    }

    /// The stamp of the last usage that was accepted for a customer, also after it was deleted.
    pub fn last_usage_at(&self, customer: CustomerId) -> Option<Timestamp> {
        self.customers.last_usage_at(customer)
    }

    /// The value of a metered entitlement where the machine's clock shows `now`, whatever has not
    /// been worked off yet.
    pub fn value(
        &self,
        customer: CustomerId,
        entitlement: EntitlementId,
        now: Timestamp,
    ) -> Option<EntitlementValue> {
        let customer = self.customers.get(self.customers.slot(customer)?)?;
        customer.value_at(entitlement, self.stamp(customer.environment, now))
    }

    /// The grants of a metered entitlement that have not ended, in the order in which they burn.
    pub fn grant_balances(
        &self,
        customer: CustomerId,
        entitlement: EntitlementId,
        now: Timestamp,
    ) -> Option<Vec<GrantBalance>> {
        let customer = self.customers.get(self.customers.slot(customer)?)?;
        let now = self.stamp(customer.environment, now);
        let metered = customer.entitlements.iter().find(|it| it.id() == entitlement)?.metered()?;
        Some(metered.at(now).grant_balances())
    }

    /// The segment of burning that goes on, of an entitlement with grants.
    pub fn open_segment(
        &self,
        customer: CustomerId,
        entitlement: EntitlementId,
        now: Timestamp,
    ) -> Option<Segment> {
        let customer = self.customers.get(self.customers.slot(customer)?)?;
        let now = self.stamp(customer.environment, now);
        let metered = customer.entitlements.iter().find(|it| it.id() == entitlement)?.metered()?;
        metered.at(now).open_segment(now)
    }

    /// The open cells of one customer and meter.
    pub fn customer_cells(&self, customer: CustomerId, meter: MeterId) -> OpenCellsOf<'_> {
        let customer = self.customers.slot(customer).and_then(|it| self.customers.get(it));
        let cells = customer.and_then(|it| it.cells.iter().find(|(own, _)| *own == meter));
        cells.map_or((None, None), |(_, it)| it.open())
    }

    /// The open cells of each slice of customers.
    pub fn slice_cells(&self, meter: MeterId) -> impl Iterator<Item = (u32, OpenCellsOf<'_>)> {
        self.customers.totals().filter_map(move |(slice, it)| Some((slice, it.get(&meter)?.open())))
    }

    /// Every customer with open cells of this meter.
    pub fn customers_with_cells(
        &self,
        meter: MeterId,
    ) -> impl Iterator<Item = (CustomerId, OpenCellsOf<'_>)> {
        self.customers.iter().filter_map(move |(_, customer)| {
            let (_, cells) = customer.cells.iter().find(|(own, _)| *own == meter)?;
            Some((customer.id, cells.open()))
        })
    }

    /// Every metered entitlement of every customer, in the order of slots.
    pub fn metered_entitlements(&self) -> impl Iterator<Item = (CustomerId, EntitlementId)> {
        self.customers.iter().flat_map(|(_, customer)| {
            let metered = customer.entitlements.iter().filter_map(|it| it.metered());
            metered.map(|it| (customer.id, it.entitlement))
        })
    }
}
