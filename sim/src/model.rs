//! The naive model: what a log means, counted from its first row, by code that shares none of the
//! core's.
//!
//! One partition at a time, one fact after the other, everything recomputed whenever anything
//! moves. There is no shortcut in here, no checkpoint and no arithmetic but that of integers:
//! amounts are millionths. What comes out are the values of all entitlements and the notifications
//! that must exist, in order. The rules are those of `docs/reference/lines.md`.
//!
//! Not here: reading a log (`log`), comparing (`check`). A new kind of fact or line is a case more
//! in `apply` or in `lines`.

use std::collections::BTreeMap;

use plimsoll_core::ids::{CustomerId, EntitlementId, FeatureId, LineId, MeterId, RuleId};

use crate::{
    log::{EntitlementFact, Fact, Logged, MeterFact, Period, RuleFact, UsageFact},
    model::lines::{Cause, Mark, Standing},
};

pub mod lines;

/// Millionths of the unit.
pub type Amount = i128;
/// One unit.
pub const UNIT: Amount = 1_000_000;

/// A notification that must exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// The position of the log row that it comes from.
    pub position: i64,
    /// The rule's id.
    pub rule: String,
    /// Whose it is.
    pub customer: String,
    /// The entitlement's id.
    pub entitlement: String,
    /// The kind of the line.
    pub kind: &'static str,
    /// The value of the line, as the rule has it.
    pub line_value: Amount,
    /// When the window began, in milliseconds since the epoch.
    pub window_from_ms: i64,
    /// `crossed` or `resolved`.
    pub edge: &'static str,
    /// Why it came about.
    pub cause: &'static str,
    /// Why it is not sent, if it is not.
    pub reason: Option<&'static str>,
    /// When, by the environment's clock.
    pub at_ms: i64,
    /// Usage before.
    pub before: Amount,
    /// Usage after.
    pub usage: Amount,
    /// The limit, if there is one.
    pub limit: Option<Amount>,
    /// The id of the event that crossed, if it was one.
    pub event: Option<String>,
    /// Where it is sent to, in order.
    pub channels: Vec<String>,
}

/// What a partition has come to.
#[derive(Debug, Default)]
pub struct Partition {
    pub(super) catalogue: Catalogue,
    /// In the order in which they were made; a deleted customer keeps its place.
    customers: Vec<Option<Customer>>,
    places: BTreeMap<CustomerId, usize>,
    clock_ms: i64,
    /// Every notification that must exist, in order.
    pub expected: Vec<Expected>,
}

/// Meters, features and rules as of one row.
#[derive(Debug, Default)]
pub struct Catalogue {
    meters: BTreeMap<MeterId, MeterFact>,
    features: BTreeMap<FeatureId, Option<MeterId>>,
    pub(super) rules: BTreeMap<RuleId, RuleFact>,
    pub(super) origins: BTreeMap<LineId, lines::Origin>,
    /// The number of the last change of any rule.
    pub(super) rules_seq: u64,
}

#[derive(Debug)]
struct Customer {
    id: CustomerId,
    /// The `rules_seq` with which its lines were last looked at.
    seen_seq: u64,
    tracked: Vec<Tracked>,
}

/// An entitlement to something that is counted.
#[derive(Debug)]
pub struct Tracked {
    pub(super) customer: CustomerId,
    pub(super) id: EntitlementId,
    pub(super) feature: FeatureId,
    meter: MeterId,
    period: Period,
    pub(super) limit: Option<Amount>,
    pub(super) window: (i64, i64),
    total: Amount,
    pub(super) lines: BTreeMap<LineId, lines::LineState>,
}

/// Where an entitlement stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Value {
    /// Usage in the window.
    pub usage: Amount,
    /// The limit, if there is one.
    pub limit: Option<Amount>,
}

/// The step that is being taken: when, why, and by which event.
pub(super) struct Moment<'a> {
    pub(super) position: i64,
    pub(super) at_ms: i64,
    pub(super) cause: Cause,
    pub(super) event: Option<&'a str>,
    /// Lines that apply since a later number are new to the customer.
    pub(super) seen_seq: u64,
}

impl Tracked {
    pub(super) fn usage(&self) -> Amount {
        self.total.max(0)
    }

    fn begin_window(&mut self, at_ms: i64) {
        self.window = self.period.window_at(at_ms);
        self.total = 0;
        self.lines.clear();
    }
}

impl Catalogue {
    fn apply(&mut self, fact: &Fact) {
        match fact {
            Fact::Meter(id, meter) => drop(self.meters.insert(*id, meter.clone())),
            Fact::MeterGone(id) => drop(self.meters.remove(id)),
            Fact::Feature(id, meter) => drop(self.features.insert(*id, *meter)),
            Fact::FeatureGone(id) => drop(self.features.remove(id)),
            Fact::Rule { seq, rule } => self.put_rule(*seq, rule),
            Fact::RuleGone { seq, rule } => {
                let gone = self.rules.remove(rule);
                for line in gone.iter().flat_map(|it| &it.lines) {
                    self.origins.remove(&line.id);
                }
                self.rules_seq = *seq;
            }
            _ => {}
        }
    }

    pub(super) fn has_feature(&self, feature: FeatureId) -> bool {
        self.features.contains_key(&feature)
    }
}

impl Partition {
    /// Goes on by one row of the log.
    pub fn apply(&mut self, row: &Logged) {
        let position = row.position;
        match &row.fact {
            Fact::CustomerMade { customer, at_ms } => {
                self.clock_ms = self.clock_ms.max(*at_ms);
                self.make(*customer);
            }
            Fact::CustomerGone { customer, at_ms } => {
                self.touch(position, *customer, *at_ms);
                if let Some(place) = self.places.get(customer) {
                    self.customers[*place] = None;
                }
            }
            Fact::Entitled { customer, at_ms, entitlement } => {
                if let Some((customer, at_ms)) = self.touch(position, *customer, *at_ms) {
                    self.entitle(position, customer, at_ms, entitlement);
                }
            }
            Fact::Unentitled { customer, at_ms, entitlement } => {
                if let Some((place, _)) = self.touch(position, *customer, *at_ms)
                    && let Some(customer) = &mut self.customers[place]
                {
                    customer.tracked.retain(|it| it.id != *entitlement);
                }
            }
            Fact::Sweep { at_ms, slots } => {
                self.clock_ms = self.clock_ms.max(*at_ms);
                for place in slots.clone() {
                    self.look(position, place as usize);
                }
            }
            Fact::Usage { at_ms, events } => {
                self.clock_ms = self.clock_ms.max(*at_ms);
                for event in events {
                    self.count(position, event);
                }
            }
            other => self.catalogue.apply(other),
        }
    }

    /// Where an entitlement stands at a time, if it is counted.
    pub fn value(&self, entitlement: EntitlementId, now_ms: i64) -> Option<Value> {
        let all = self.customers.iter().flatten().flat_map(|it| &it.tracked);
        let tracked = all.into_iter().find(|it| it.id == entitlement)?;
        let is_open = now_ms.max(self.clock_ms) < tracked.window.1;
        Some(Value { usage: if is_open { tracked.usage() } else { 0 }, limit: tracked.limit })
    }

    /// Every entitlement that is counted, and whose it is.
    pub fn entitlements(&self) -> Vec<(CustomerId, EntitlementId)> {
        let all = self.customers.iter().flatten().flat_map(|it| &it.tracked);
        all.map(|it| (it.customer, it.id)).collect()
    }

    /// Whether a customer is, or ever was, of this partition.
    pub fn knows(&self, customer: CustomerId) -> bool {
        self.places.contains_key(&customer)
    }

    /// Whether any customer is left.
    pub fn has_customers(&self) -> bool {
        self.customers.iter().any(Option::is_some)
    }

    fn make(&mut self, id: CustomerId) {
        if !self.places.contains_key(&id) {
            self.places.insert(id, self.customers.len());
            let seen_seq = self.catalogue.rules_seq;
            self.customers.push(Some(Customer { id, seen_seq, tracked: Vec::new() }));
        }
    }

    /// Moves the clock, brings a customer up to date, and says where it is and what time.
    fn touch(&mut self, position: i64, customer: CustomerId, at_ms: i64) -> Option<(usize, i64)> {
        self.clock_ms = self.clock_ms.max(at_ms);
        let place = *self.places.get(&customer)?;
        self.look(position, place);
        self.customers[place].as_ref().map(|_| (place, self.clock_ms))
    }

    /// Looks at everything that has changed in the rules since a customer was last looked at.
    fn look(&mut self, position: i64, place: usize) {
        let (catalogue, at_ms) = (&self.catalogue, self.clock_ms);
        let Some(Some(customer)) = self.customers.get_mut(place) else { return };
        if customer.seen_seq >= catalogue.rules_seq {
            return;
        }
        let seen_seq = customer.seen_seq;
        let moment = Moment { position, at_ms, cause: Cause::RuleChanged, event: None, seen_seq };
        for tracked in &mut customer.tracked {
            roll_over(catalogue, tracked, &moment);
            lines::leave(catalogue, tracked);
            let before = tracked.usage();
            lines::settle(catalogue, tracked, &moment, before, &mut self.expected);
        }
        customer.seen_seq = catalogue.rules_seq;
    }

    fn entitle(&mut self, position: i64, place: usize, at_ms: i64, fact: &EntitlementFact) {
        let catalogue = &self.catalogue;
        let Some(customer) = &mut self.customers[place] else { return };
        let seen_seq = customer.seen_seq;
        let known = customer.tracked.iter_mut().find(|it| it.id == fact.id);
        let cause = if known.is_some() { Cause::LimitChanged } else { Cause::EntitlementCreated };
        let moment = Moment { position, at_ms, cause, event: None, seen_seq };
        if let Some(tracked) = known {
            roll_over(catalogue, tracked, &moment);
            lines::change_limit(catalogue, tracked, &moment, fact.limit, &mut self.expected);
            return;
        }
        let Some(Some(meter)) = catalogue.features.get(&fact.feature) else { return };
        let mut tracked = Tracked {
            customer: customer.id,
            id: fact.id,
            feature: fact.feature,
            meter: *meter,
            period: fact.period,
            limit: fact.limit,
            window: fact.period.window_at(at_ms),
            total: 0,
            lines: BTreeMap::new(),
        };
        lines::settle(catalogue, &mut tracked, &moment, 0, &mut self.expected);
        customer.tracked.push(tracked);
    }

    fn count(&mut self, position: i64, event: &UsageFact) {
        let meters: Vec<(MeterId, Option<Amount>)> = self
            .catalogue
            .meters
            .iter()
            .filter(|(_, it)| it.event_type == event.event_type)
            .map(|(id, it)| (*id, it.reading(event)))
            .collect();
        let Some(place) = self.places.get(&event.customer).copied() else { return };
        if meters.is_empty() {
            return;
        }
        self.look(position, place);
        let (catalogue, at_ms) = (&self.catalogue, self.clock_ms);
        let Some(customer) = &mut self.customers[place] else { return };
        let (cause, seen_seq) = (Cause::Usage, customer.seen_seq);
        let moment = Moment { position, at_ms, cause, event: Some(&event.id), seen_seq };
        for (meter, amount) in meters {
            let Some(amount) = amount else { continue };
            for tracked in customer.tracked.iter_mut().filter(|it| it.meter == meter) {
                roll_over(catalogue, tracked, &moment);
                let (from, to) = tracked.window;
                if !(from..to).contains(&event.time_ms) {
                    continue;
                }
                let before = tracked.usage();
                tracked.total += amount;
                lines::settle(catalogue, tracked, &moment, before, &mut self.expected);
            }
        }
    }
}

/// Begins a new window if the old one has ended: everything is armed, and a falling line at or
/// above what the window opens with counts as passed, if the customer knew it (row 5).
fn roll_over(catalogue: &Catalogue, tracked: &mut Tracked, moment: &Moment<'_>) {
    if moment.at_ms < tracked.window.1 {
        return;
    }
    tracked.begin_window(moment.at_ms);
    for Standing { line, place, origin, .. } in lines::standing(catalogue, tracked) {
        if line.kind.falls() && origin.entered <= moment.seen_seq && place.is_reached(0) {
            tracked.lines.insert(line.id, lines::LineState { generation: 0, mark: Mark::Passed });
        }
    }
}
