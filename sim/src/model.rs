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
    log::{
        Allowed, ChangeFact, Counts, EntitlementFact, Fact, Group, Limits, Logged, MeterFact,
        RuleFact, UsageFact,
    },
    model::{
        lines::{Cause, View},
        pots::{Balance, Pots},
        sheet::{Came, Sheet},
    },
    period::{Length, Period},
};

mod course;
pub mod lines;
pub mod pots;
pub mod sheet;

/// Millionths of the unit.
pub type Amount = i128;
/// One unit.
pub const UNIT: Amount = 1_000_000;

/// A notification that must exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// The position of the log row that it comes from.
    pub position: i64,
    /// The rule's id, if it comes from one.
    pub rule: Option<String>,
    /// Whose it is.
    pub customer: String,
    /// The entitlement's id.
    pub entitlement: String,
    /// What happened.
    pub what: What,
    /// When the window began, in milliseconds since the epoch.
    pub window_from_ms: i64,
    /// `crossed` or `resolved`; nothing for a reset.
    pub edge: &'static str,
    /// Why it came about.
    pub cause: &'static str,
    /// Why it is not sent, if it is not.
    pub reason: Option<&'static str>,
    /// When, by the environment's clock.
    pub at_ms: i64,
    /// Usage before; of the group, if it is about one.
    pub before: Amount,
    /// Usage after.
    pub usage: Amount,
    /// The limits.
    pub limits: Limits,
    /// Where it is sent to, in order.
    pub channels: Vec<String>,
}

/// What a notification is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A line.
    Line {
        /// Its kind.
        kind: &'static str,
        /// Its value, as the rule has it.
        value: Amount,
        /// The same where it stands, in its own terms.
        level: Amount,
        /// The multiple, or the upper bound of the tier.
        step: Option<Amount>,
        /// How many multiples at once, of a line on multiples.
        count: Option<i64>,
        /// The group whose usage it is drawn on.
        group: Option<Group>,
        /// The id of the event that crossed, if it was one.
        event: Option<String>,
        /// Whether the window had closed.
        is_late: bool,
    },
    /// A new window.
    Reset {
        /// Periods that nobody saw.
        skipped: i64,
        /// When the last window began.
        closed_from_ms: i64,
        /// The limits that it closed with.
        closed_limits: Limits,
    },
}

/// What a partition has come to.
#[derive(Debug, Default)]
pub struct Partition {
    pub(super) catalogue: Catalogue,
    /// In the order in which they were made; a deleted customer keeps its place.
    customers: Vec<Option<Customer>>,
    places: BTreeMap<CustomerId, usize>,
    clock: Clock,
    /// Every notification that must exist, in order.
    pub expected: Vec<Expected>,
    /// What came by meter, customer and hour, whatever entitlements there were.
    pub used: BTreeMap<(MeterId, CustomerId, i64), Vec<Came>>,
    /// How often the anchor of a period moved.
    pub moved_anchors: u64,
    /// What is wrong with the log itself.
    pub findings: Vec<String>,
}

/// The environment's clock.
#[derive(Debug, Default, Clone, Copy)]
struct Clock {
    last_ms: i64,
    set_to_ms: Option<i64>,
    has_events: bool,
}

/// Meters, features and rules as of one row.
#[derive(Debug, Default)]
pub struct Catalogue {
    pub(super) meters: BTreeMap<MeterId, MeterFact>,
    features: BTreeMap<FeatureId, Option<MeterId>>,
    pub(super) rules: BTreeMap<RuleId, RuleFact>,
    pub(super) origins: BTreeMap<LineId, lines::Origin>,
    /// The number of the last change of any rule.
    pub(super) rules_seq: u64,
    /// When rows were stamped, and the number of the last change of any rule by then.
    stamps: Vec<(i64, u64)>,
    /// The channels that take resets directly.
    pub takers: Vec<String>,
}

#[derive(Debug, Clone)]
pub(super) struct Customer {
    id: CustomerId,
    /// The `rules_seq` with which its lines were last looked at.
    seen_seq: u64,
    tracked: Vec<Tracked>,
}

/// Whose right to what.
#[derive(Debug, Clone, Copy)]
pub struct Who {
    pub(super) customer: CustomerId,
    pub(super) entitlement: EntitlementId,
    pub(super) feature: FeatureId,
}

/// An entitlement to something that is counted.
#[derive(Debug, Clone)]
pub struct Tracked {
    pub(super) who: Who,
    meter: MeterId,
    period: Period,
    /// The limits without grants.
    pub(super) base: Limits,
    /// Everything that was ever allowed without grants, and since when.
    pub(super) allowances: Vec<(i64, Allowed)>,
    /// Whether what was used beyond the limit is carried over.
    preserves: bool,
    /// When its first window began.
    first_ms: i64,
    pub(super) sheet: Sheet,
    /// Windows that have closed.
    closed: Vec<Sheet>,
    pub(super) pots: Option<Pots>,
    /// Changes with their times, the earliest first.
    planned: Vec<(i64, ChangeFact)>,
}

/// Where an entitlement stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    /// Usage in the window.
    pub usage: Amount,
    /// The limits with grants.
    pub limits: Limits,
    /// When the window began, and when it ends.
    pub window: (i64, i64),
    /// The grants that have not ended, in the order in which they burn.
    pub grants: Vec<Balance>,
}

/// What an entitlement is, whatever was used of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base {
    /// What it allows without grants.
    pub allowed: Allowed,
    /// A moment at which its periods begin, if they do not follow the calendar.
    pub anchor_ms: Option<i64>,
    /// When it is that.
    pub at_ms: i64,
}

/// The step that is being taken: when, why, and by which event.
#[derive(Clone, Copy)]
pub(super) struct Moment<'a> {
    pub(super) position: i64,
    pub(super) at_ms: i64,
    pub(super) cause: Cause,
    pub(super) event: Option<&'a str>,
    /// Lines that apply since a later number are new to the customer.
    pub(super) seen_seq: u64,
}

/// What one row brings about: what crossed lines is told first.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) crossed: Vec<Expected>,
    pub(super) begun: Vec<Expected>,
}

impl Clock {
    fn advance(&mut self, at_ms: i64) {
        self.last_ms = self.last_ms.max(at_ms);
    }

    fn shown(&self, now_ms: i64) -> i64 {
        self.last_ms.max(self.set_to_ms.unwrap_or(now_ms))
    }

    /// Sets it; whether it went back.
    fn set(&mut self, to_ms: i64) -> bool {
        let goes_back = to_ms < self.last_ms.max(self.set_to_ms.unwrap_or(0)) && !self.has_events;
        if goes_back {
            self.last_ms = to_ms;
        }
        self.set_to_ms = Some(self.last_ms.max(to_ms));
        goes_back
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

    /// The last change of rules that a window knew which ended at this time: from the first stamp
    /// after a change on, windows know of it.
    pub(super) fn known_at(&self, end_ms: i64) -> u64 {
        self.stamps.iter().rev().find(|it| it.0 < end_ms).map_or(0, |it| it.1)
    }

    pub(super) fn has_feature(&self, feature: FeatureId) -> bool {
        self.features.contains_key(&feature)
    }
}

impl Partition {
    /// Goes on by one row of the log.
    pub fn apply(&mut self, row: &Logged) {
        let position = row.position;
        let mut outcome = Outcome::default();
        self.check_turn(row);
        match &row.fact {
            Fact::CustomerMade { customer, at_ms } => {
                self.advance(*at_ms);
                self.make(*customer);
            }
            Fact::CustomerGone { customer, at_ms } => {
                self.touch(position, *customer, *at_ms, &mut outcome);
                if let Some(place) = self.places.get(customer) {
                    self.customers[*place] = None;
                }
            }
            Fact::Entitled { customer, at_ms, entitlement } => {
                if let Some(place) = self.touch(position, *customer, *at_ms, &mut outcome) {
                    self.entitle(position, place, entitlement, &mut outcome);
                }
            }
            Fact::Unentitled { customer, at_ms, entitlement } => {
                if let Some(place) = self.touch(position, *customer, *at_ms, &mut outcome)
                    && let Some(customer) = &mut self.customers[place]
                {
                    customer.tracked.retain(|it| it.who.entitlement != *entitlement);
                }
            }
            Fact::Granted { customer, at_ms, entitlement, grant } => {
                let place = self.touch(position, *customer, *at_ms, &mut outcome);
                let moment = self.moment_of_change(position);
                if let Some(it) = tracked(&mut self.customers, place, *entitlement) {
                    course::grant(&self.catalogue, it, grant, &moment, &mut outcome);
                }
            }
            Fact::Changed { customer, at_ms, entitlement, due_ms, change } => {
                let place = self.touch(position, *customer, *at_ms, &mut outcome);
                self.change(position, place, *entitlement, (*due_ms, change), &mut outcome);
            }
            Fact::Sweep { at_ms, slots } => {
                self.advance(*at_ms);
                for place in slots.clone().map(|it| it as usize) {
                    if self.is_behind(place) {
                        self.look(position, place, &mut outcome);
                    }
                }
            }
            Fact::Pulse { at_ms, slots } => {
                self.advance(*at_ms);
                for place in slots {
                    self.look(position, *place as usize, &mut outcome);
                }
            }
            Fact::Usage { at_ms, events } => {
                self.advance(*at_ms);
                self.clock.has_events |= !events.is_empty();
                for event in events {
                    self.count(position, event, &mut outcome);
                }
            }
            Fact::Clock { now_ms } => self.set_clock(*now_ms),
            other => self.catalogue.apply(other),
        }
        self.expected.append(&mut outcome.crossed);
        self.expected.append(&mut outcome.begun);
    }

    /// Something happens to an entitlement of the customer in this place, now or later.
    fn change(
        &mut self,
        position: i64,
        place: Option<usize>,
        entitlement: EntitlementId,
        (due_ms, change): (i64, &ChangeFact),
        outcome: &mut Outcome,
    ) {
        let moment = self.moment_of_change(position);
        let Some(it) = tracked(&mut self.customers, place, entitlement) else { return };
        if let ChangeFact::Reset(reset) = change {
            self.moved_anchors += u64::from(reset.anchor_ms.is_some());
        }
        course::change(&self.catalogue, it, (due_ms, change.clone()), &moment, outcome);
    }

    /// Where the clock was set, what is due comes first, and at its own time.
    fn check_turn(&mut self, row: &Logged) {
        if self.clock.set_to_ms.is_none() {
            return;
        }
        let all = self.customers.iter().flatten().flat_map(|it| &it.tracked);
        let due_ms = all.map(Tracked::next_due).min().unwrap_or(i64::MAX);
        let wrong = match &row.fact {
            Fact::Pulse { at_ms, .. } => *at_ms != due_ms.max(self.clock.last_ms),
            Fact::Usage { at_ms, .. }
            | Fact::Sweep { at_ms, .. }
            | Fact::CustomerMade { at_ms, .. }
            | Fact::CustomerGone { at_ms, .. }
            | Fact::Entitled { at_ms, .. }
            | Fact::Unentitled { at_ms, .. }
            | Fact::Granted { at_ms, .. }
            | Fact::Changed { at_ms, .. } => due_ms <= *at_ms,
            _ => false,
        };
        if wrong {
            let position = row.position;
            self.findings.push(format!("row {position} is out of its turn: {due_ms} is due"));
        }
    }

    /// Where an entitlement stands where the machine's clock shows `now`, if it is counted.
    pub fn value(&self, entitlement: EntitlementId, now_ms: i64) -> Option<Value> {
        let tracked = self.tracked_at(entitlement, now_ms)?;
        let (limits, window) = (tracked.sheet.allowed.limits, tracked.sheet.window);
        let grants = tracked.pots.as_ref().map(Pots::balances).unwrap_or_default();
        Some(Value { usage: tracked.sheet.usage(), limits, window, grants })
    }

    /// What an entitlement is then.
    pub fn base(&self, entitlement: EntitlementId, now_ms: i64) -> Option<Base> {
        let at_ms = self.clock.shown(now_ms);
        let Tracked { base, sheet, period, .. } = self.tracked_at(entitlement, now_ms)?;
        let allowed = Allowed { limits: base, tiers: sheet.allowed.tiers };
        Some(Base { allowed, anchor_ms: period.anchor_ms, at_ms })
    }

    fn tracked_at(&self, entitlement: EntitlementId, now_ms: i64) -> Option<Tracked> {
        let has = |it: &&Customer| it.tracked.iter().any(|it| it.who.entitlement == entitlement);
        let mut customer = self.customers.iter().flatten().find(has)?.clone();
        let moment = moment(0, self.clock.shown(now_ms), Cause::RuleChanged, customer.seen_seq);
        course::pass_time(&self.catalogue, &mut customer, &moment, &mut Outcome::default());
        customer.tracked.into_iter().find(|it| it.who.entitlement == entitlement)
    }

    /// Entitlements to which something should have happened by now.
    pub fn overdue(&self, now_ms: i64) -> Vec<String> {
        let at_ms = self.clock.shown(now_ms);
        let all = self.customers.iter().flatten().flat_map(|it| &it.tracked);
        let late = all.filter(|it| it.next_due() <= at_ms);
        late.map(|it| format!("{} has been due since {}", it.who.entitlement, it.next_due()))
            .collect()
    }

    /// Every entitlement that is counted, and whose it is.
    pub fn entitlements(&self) -> Vec<(CustomerId, EntitlementId)> {
        let all = self.customers.iter().flatten().flat_map(|it| &it.tracked);
        all.map(|it| (it.who.customer, it.who.entitlement)).collect()
    }

    /// How the values of each meter are put together, and by which keys they are told apart.
    pub fn meters(&self) -> BTreeMap<MeterId, (Counts, Vec<String>)> {
        let keys = |it: &MeterFact| it.keys().map(ToOwned::to_owned).collect();
        self.catalogue.meters.iter().map(|(id, it)| (*id, (it.counts, keys(it)))).collect()
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

    fn advance(&mut self, at_ms: i64) {
        self.clock.advance(at_ms);
        self.catalogue.stamps.push((self.clock.last_ms, self.catalogue.rules_seq));
    }

    fn set_clock(&mut self, to_ms: i64) {
        if self.clock.set(to_ms) {
            // Windows begin again, and know everything that was known at the last stamp.
            let last = self.catalogue.stamps.last().map(|it| (i64::MIN, it.1));
            self.catalogue.stamps = last.into_iter().collect();
            let all = self.customers.iter_mut().flatten().flat_map(|it| &mut it.tracked);
            all.for_each(|it| it.rewind(to_ms));
        }
    }

    /// Moves the clock, brings a customer up to date, and says where it is.
    fn touch(
        &mut self,
        position: i64,
        customer: CustomerId,
        at_ms: i64,
        outcome: &mut Outcome,
    ) -> Option<usize> {
        self.advance(at_ms);
        let place = *self.places.get(&customer)?;
        self.look(position, place, outcome);
        self.customers[place].as_ref().map(|_| place)
    }

    fn is_behind(&self, place: usize) -> bool {
        let customer = self.customers.get(place).and_then(Option::as_ref);
        customer.is_some_and(|it| it.seen_seq < self.catalogue.rules_seq)
    }

    /// Does what is due for a customer, then looks at everything that has changed in the rules
    /// since it was last looked at.
    fn look(&mut self, position: i64, place: usize, outcome: &mut Outcome) {
        let catalogue = &self.catalogue;
        let Some(Some(customer)) = self.customers.get_mut(place) else { return };
        let at_ms = self.clock.last_ms;
        let moment = moment(position, at_ms, Cause::RuleChanged, customer.seen_seq);
        course::pass_time(catalogue, customer, &moment, outcome);
        if customer.seen_seq >= catalogue.rules_seq {
            return;
        }
        for tracked in &mut customer.tracked {
            let (who, sheet) = (&tracked.who, &mut tracked.sheet);
            lines::leave(catalogue, who, sheet);
            lines::settle_all(catalogue, who, sheet, &moment, &mut outcome.crossed);
        }
        customer.seen_seq = catalogue.rules_seq;
    }

    /// The moment of a change of a customer that has been brought up to date.
    fn moment_of_change(&self, position: i64) -> Moment<'static> {
        let (at_ms, seq) = (self.clock.last_ms, self.catalogue.rules_seq);
        moment(position, at_ms, Cause::LimitChanged, seq)
    }

    fn entitle(
        &mut self,
        position: i64,
        place: usize,
        fact: &EntitlementFact,
        outcome: &mut Outcome,
    ) {
        let (catalogue, at_ms) = (&self.catalogue, self.clock.last_ms);
        let Some(customer) = &mut self.customers[place] else { return };
        let seen_seq = customer.seen_seq;
        let mut known = customer.tracked.iter_mut();
        if let Some(tracked) = known.find(|it| it.who.entitlement == fact.id) {
            tracked.preserves = fact.preserves;
            let moment = moment(position, at_ms, Cause::LimitChanged, seen_seq);
            tracked.allowances.push((at_ms, fact.allowed.clone()));
            lines::allow(catalogue, tracked, &moment, &fact.allowed, &mut outcome.crossed);
            return;
        }
        let Some(Some(meter)) = catalogue.features.get(&fact.feature) else { return };
        let Some(counts) = catalogue.meters.get(meter).map(|it| it.counts) else { return };
        let window = fact.period.window_at(at_ms);
        let mut tracked = Tracked {
            who: Who { customer: customer.id, entitlement: fact.id, feature: fact.feature },
            meter: *meter,
            period: fact.period,
            base: fact.allowed.limits,
            allowances: vec![(at_ms, fact.allowed.clone())],
            preserves: fact.preserves,
            first_ms: window.0,
            sheet: Sheet::new(window, counts, fact.allowed.clone()),
            closed: Vec::new(),
            pots: None,
            planned: Vec::new(),
        };
        tracked.measure();
        let moment = moment(position, at_ms, Cause::EntitlementCreated, seen_seq);
        let (who, sheet) = (&tracked.who, &mut tracked.sheet);
        lines::settle_all(catalogue, who, sheet, &moment, &mut outcome.crossed);
        customer.tracked.push(tracked);
    }

    fn count(&mut self, position: i64, event: &UsageFact, outcome: &mut Outcome) {
        let all = self.catalogue.meters.iter();
        let came = |it: &MeterFact| {
            it.reading(event).map(|reading| Came { reading, groups: it.groups(event) })
        };
        let meters: Vec<(MeterId, Option<Came>)> = all
            .filter(|(_, it)| it.event_type == event.event_type)
            .map(|(id, it)| (*id, came(it)))
            .collect();
        let Some(place) = self.places.get(&event.customer).copied() else { return };
        if meters.is_empty() {
            return;
        }
        self.look(position, place, outcome);
        let (catalogue, at_ms) = (&self.catalogue, self.clock.last_ms);
        let Some(customer) = &mut self.customers[place] else { return };
        let moment = moment(position, at_ms, Cause::Usage, customer.seen_seq);
        let moment = Moment { event: Some(&event.id), ..moment };
        for (meter, came) in meters {
            let Some(came) = came else { continue };
            let hour = Length::Hour.by_calendar().window_at(event.time_ms).0;
            let used = self.used.entry((meter, event.customer, hour)).or_default();
            used.push(came.clone());
            for tracked in customer.tracked.iter_mut().filter(|it| it.meter == meter) {
                count_one(catalogue, tracked, event.time_ms, &came, &moment, outcome);
            }
        }
    }
}

fn tracked(
    customers: &mut [Option<Customer>],
    place: Option<usize>,
    entitlement: EntitlementId,
) -> Option<&mut Tracked> {
    let customer = customers.get_mut(place?)?.as_mut()?;
    customer.tracked.iter_mut().find(|it| it.who.entitlement == entitlement)
}

fn moment(position: i64, at_ms: i64, cause: Cause, seen_seq: u64) -> Moment<'static> {
    Moment { position, at_ms, cause, event: None, seen_seq }
}

/// Counts what came in the window that its time falls into.
fn count_one(
    catalogue: &Catalogue,
    tracked: &mut Tracked,
    time_ms: i64,
    came: &Came,
    moment: &Moment<'_>,
    outcome: &mut Outcome,
) {
    if time_ms < tracked.first_ms {
        return;
    }
    let who = tracked.who;
    let alone = Came { reading: came.reading.clone(), groups: Vec::new() };
    if time_ms >= tracked.sheet.window.0 {
        let before = tracked.sheet.usage();
        tracked.sheet.readings.push(alone);
        let after = tracked.sheet.usage();
        if let Some(pots) = &mut tracked.pots {
            pots.move_usage(before, after);
        }
        tracked.measure();
        let sheet = &mut tracked.sheet;
        let view = View { catalogue, who: &who, group: None, moment, before };
        lines::settle(&view, sheet, &mut outcome.crossed);
        // What corrections give back to nobody has moved the limit, under every group.
        lines::settle_all(catalogue, &who, sheet, moment, &mut outcome.crossed);
        count_groups(&view, sheet, &came.groups, outcome);
        return;
    }
    let mut place = tracked.closed.iter().position(|it| it.holds(time_ms));
    if place.is_none() {
        place = Some(tracked.closed.len());
        let unused = course::unused(catalogue, tracked, time_ms, moment);
        tracked.closed.push(unused);
    }
    let Some(sheet) = place.and_then(|it| tracked.closed.get_mut(it)) else { return };
    let before = sheet.usage();
    sheet.readings.push(alone);
    let view = View { catalogue, who: &who, group: None, moment, before };
    lines::settle(&view, sheet, &mut outcome.crossed);
    count_groups(&view, sheet, &came.groups, outcome);
}

/// Counts what came last in its groups as well, one after the other.
fn count_groups(view: &View<'_>, sheet: &mut Sheet, groups: &[Group], outcome: &mut Outcome) {
    for group in groups {
        let before = sheet.usage_of(Some(group));
        if let Some(last) = sheet.readings.last_mut() {
            last.groups.push(group.clone());
        }
        let view = View { group: Some(group), before, ..*view };
        lines::settle(&view, sheet, &mut outcome.crossed);
    }
}
