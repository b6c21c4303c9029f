//! Where a metered entitlement stands: its window, its usage, its grants, what is due.
//!
//! Time moves it in single steps, each due at a moment: grants end, the window ends, grants recur
//! and begin, limits change. Steps of one moment happen in that order.
//!
//! Not here: what makes a line fire (`state::evaluate`).

use std::sync::Arc;

use super::{
    book::{Book, GrantBalance},
    closed::ClosedWindow,
    gauge::{Gauge, GroupGauges, decode_groups, encode_groups},
    past::{ClosedTerms, Past, PastTerms, closed_window},
    shared::{Shared, Sharing},
};
use crate::{
    archive::Segment,
    catalog::meter::UncountedReason,
    codec::{Corrupt, Reader, Writer},
    command::ManualReset,
    effect::ResetCause,
    entitlement::{
        Entitlement, EntitlementKind, EntitlementValue, LIMIT_PRIORITY, Measure, Terms,
        grant::Grant,
        period::{Interval, UsagePeriod, Window},
        source::Limits,
    },
    ids::{EntitlementId, FeatureId, GrantId, MeterId},
    line::crossing::Cause,
    metering::accumulator::{Accumulator, Amount},
    quantity::Quantity,
    time::Timestamp,
};

/// The moving part of a metered entitlement.
#[derive(Debug, Clone)]
pub(super) struct Metered {
    pub(super) entitlement: EntitlementId,
    shared: Arc<Shared>,
    pub(super) window: Window,
    /// The start of its first window: what comes before is not its usage.
    pub(super) first_from: Timestamp,
    pub(super) gauge: Gauge,
    /// What most entitlements do without.
    extra: Option<Box<Extra>>,
}

#[derive(Debug, Clone)]
struct Extra {
    tiers: Vec<Quantity>,
    limit_priority: u8,
    preserves_overage: bool,
    /// Usage beyond the limit that was carried into the window.
    carried: Quantity,
    book: Option<Book>,
    groups: GroupGauges,
    /// Changes to come, the earliest first.
    scheduled: Vec<Scheduled>,
    /// What windows that have closed had, where it is not what applies now.
    past: Past,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Scheduled {
    at: Timestamp,
    change: Change,
}

/// A change that takes effect at a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    Void(GrantId),
    Reset(ManualReset),
    Limits(Limits, Vec<Quantity>),
}

/// What lines are evaluated against.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame<'a> {
    pub(super) entitlement: EntitlementId,
    pub(super) feature: FeatureId,
    pub(super) window: Window,
    pub(super) measure: Measure<'a>,
    /// Usage of the window that is not its gauge's.
    pub(super) carried: Quantity,
    /// The control sequence that a closed window closed with; only lines known then stand there.
    pub(super) closed_with: Option<u64>,
}

/// What time, or someone, did to an entitlement.
#[derive(Debug)]
pub(super) enum Step {
    /// What usage is measured against has changed, if at all.
    Measure(Option<Cause>),
    /// Its limits or tiers are others; before, usage was measured against these.
    Limits { before: Limits, tiers_before: Vec<Quantity> },
    /// A new window has begun.
    Rolled(Box<Rolled>),
}

/// A window that has closed, and why another one began.
#[derive(Debug)]
pub(super) struct Rolled {
    pub(super) closed: ClosedWindow,
    pub(super) skipped: u64,
    pub(super) cause: ResetCause,
}

impl Default for Extra {
    fn default() -> Self {
        Self {
            tiers: Vec::new(),
            limit_priority: LIMIT_PRIORITY,
            preserves_overage: false,
            carried: Quantity::ZERO,
            book: None,
            groups: GroupGauges::new(),
            scheduled: Vec::new(),
            past: Past::default(),
        }
    }
}

impl Extra {
    /// Whether an entitlement can do without.
    fn is_plain(&self) -> bool {
        let has_terms = !self.tiers.is_empty()
            || self.limit_priority != LIMIT_PRIORITY
            || self.preserves_overage;
        let has_usage = !self.carried.is_zero() || self.book.is_some() || !self.groups.is_empty();
        !has_terms && !has_usage && self.scheduled.is_empty() && self.past.is_empty()
    }
}

impl Metered {
    /// Nothing used yet, in the window of `at`.
    pub(super) fn new(
        entitlement: EntitlementId,
        feature: FeatureId,
        terms: &Terms,
        meter: (MeterId, Accumulator),
        at: Timestamp,
    ) -> Self {
        let window = terms.period.window_at(at);
        let (limits, period) = (terms.limits, terms.period);
        let mut metered = Self {
            entitlement,
            shared: Arc::new(Shared { feature, meter: meter.0, limits, period }),
            window,
            first_from: window.from,
            gauge: Gauge::new(meter.1),
            extra: None,
        };
        metered.set_terms(terms, at);
        metered
    }

    /// Takes over what can be set at any time, but the limits.
    pub(super) fn set_terms(&mut self, terms: &Terms, at: Timestamp) {
        let plain = terms.limit_priority == LIMIT_PRIORITY && !terms.preserves_overage;
        if self.extra.is_some() || !plain || !terms.tiers.is_empty() {
            let extra = self.extra_mut();
            extra.limit_priority = terms.limit_priority;
            extra.preserves_overage = terms.preserves_overage;
            if let Some(book) = &mut extra.book {
                book.set_limit_priority(terms.limit_priority);
            }
        }
        let follows_billing = |it: UsagePeriod| it.interval == Interval::BillingCycle;
        if follows_billing(self.shared.period) && follows_billing(terms.period) {
            // The window goes on to the next start of a cycle, which is never one that has passed.
            self.set_period(terms.period);
            self.window.to = self.shared.period.window_at(at).to;
        }
    }

    /// What it measures.
    pub(super) fn feature(&self) -> FeatureId {
        self.shared.feature
    }

    /// What measures it.
    pub(super) fn meter(&self) -> MeterId {
        self.shared.meter
    }

    /// Holds what others have as well together with them.
    pub(super) fn share(&mut self, sharing: &mut Sharing) {
        sharing.share(&mut self.shared);
    }

    fn shared_mut(&mut self) -> &mut Shared {
        Arc::make_mut(&mut self.shared)
    }

    fn extra_mut(&mut self) -> &mut Extra {
        self.extra.get_or_insert_with(Box::default)
    }

    /// The entitlement that is measured, as its command said it.
    fn to_entitlement(&self) -> Entitlement {
        let mut terms = Terms::new(self.shared.limits, self.shared.period);
        if let Some(extra) = &self.extra {
            terms.tiers.clone_from(&extra.tiers);
            terms.limit_priority = extra.limit_priority;
            terms.preserves_overage = extra.preserves_overage;
        }
        let kind = EntitlementKind::Metered(Box::new(terms));
        Entitlement { id: self.entitlement, feature: self.shared.feature, kind }
    }

    /// Counts periods in another way, from the present window on.
    fn set_period(&mut self, period: UsagePeriod) {
        if period != self.shared.period {
            self.remember_terms();
            self.shared_mut().period = period;
        }
    }

    /// Terms are about to change: the windows before the present one have closed with those of now.
    fn remember_terms(&mut self) {
        let until = self.window.from;
        let is_known = self.extra.as_ref().is_some_and(|it| it.past.knows(until));
        if is_known || until <= self.first_from {
            return;
        }
        let (limits, tiers, period) =
            (self.shared.limits, self.tiers().to_vec(), self.shared.period);
        self.extra_mut().past.remember(PastTerms { until, limits, tiers, period });
    }

    /// The window before the present one that `time` falls into, as it closed if nobody used it.
    pub(super) fn closed_terms(&self, time: Timestamp) -> ClosedTerms<'_> {
        let past = self.extra.as_ref().map(|it| it.past.terms_at(time));
        let (past, since) = past.unwrap_or_default();
        let since = since.unwrap_or(self.first_from);
        if let Some(past) = past {
            return past.closed(time, since);
        }
        let stretch = Window { from: since, to: self.window.from };
        let window = closed_window(self.shared.period, time, stretch);
        ClosedTerms { window, limits: self.shared.limits, tiers: self.tiers() }
    }

    /// The period that `time` falls into.
    pub(super) fn period_window(&self, time: Timestamp) -> Window {
        self.shared.period.window_at(time)
    }

    pub(super) fn tiers(&self) -> &[Quantity] {
        self.extra.as_ref().map_or(&[], |it| &it.tiers)
    }

    fn book(&self) -> Option<&Book> {
        self.extra.as_ref()?.book.as_ref()
    }

    fn carried(&self) -> Quantity {
        self.extra.as_ref().map_or(Quantity::ZERO, |it| it.carried)
    }

    /// What the limit is as a grant.
    fn base_limit(&self) -> Quantity {
        self.shared.limits.hard.or(self.shared.limits.soft).unwrap_or_default()
    }

    /// Usage as it is shown and compared.
    pub(super) fn usage(&self) -> Quantity {
        self.carried().bounded_add(self.gauge.accumulated.usage())
    }

    /// Reads what counting an event will read.
    pub(super) fn read_ahead(&self) {
        let first = (self.window.from, self.shared.meter.bits() as u8, self.extra.is_some());
        let gauge = (self.gauge.accumulated.is_empty(), self.gauge.calm.is_some());
        // Without a use of what is read, nothing is read.
        std::hint::black_box((first, gauge));
    }

    /// The limits with the grants that add to them.
    pub(super) fn effective_limits(&self) -> Limits {
        let Some(book) = self.book() else { return self.shared.limits };
        let effective = Some(book.effective_limit(self.usage()));
        match self.shared.limits {
            Limits { hard: Some(_), soft } => Limits { hard: effective, soft },
            Limits { hard: None, soft: Some(_) } => Limits { hard: None, soft: effective },
            none => none,
        }
    }

    /// The value in the window of the last step.
    pub(super) fn value(&self) -> EntitlementValue {
        self.frame().measure.value(self.usage(), self.window)
    }

    /// What usage is evaluated against.
    pub(super) fn frame(&self) -> Frame<'_> {
        let Limits { hard, soft } = self.effective_limits();
        Frame {
            entitlement: self.entitlement,
            feature: self.shared.feature,
            window: self.window,
            measure: Measure { hard, soft, tiers: self.tiers() },
            carried: self.carried(),
            closed_with: None,
        }
    }

    /// What evaluation looks at, beside what it changes.
    pub(super) fn parts(&mut self) -> (Frame<'_>, &mut Gauge, Option<&mut GroupGauges>) {
        let Limits { hard, soft } = self.effective_limits();
        let carried = self.carried();
        let (tiers, groups) = match self.extra.as_deref_mut() {
            Some(Extra { tiers, groups, .. }) => (&tiers[..], Some(groups)),
            None => (&[][..], None),
        };
        let frame = Frame {
            entitlement: self.entitlement,
            feature: self.shared.feature,
            window: self.window,
            measure: Measure { hard, soft, tiers },
            carried,
            closed_with: None,
        };
        (frame, &mut self.gauge, groups)
    }

    /// The gauges of groups, which are kept from now on.
    pub(super) fn groups_mut(&mut self) -> &mut GroupGauges {
        &mut self.extra_mut().groups
    }

    /// Adds what an event brings; refused, it changes nothing.
    pub(super) fn add(&mut self, time: Timestamp, amount: Amount) -> Result<(), UncountedReason> {
        let (before, carried) = (self.usage(), self.carried());
        let Some(book) = self.extra.as_mut().and_then(|it| it.book.as_mut()) else {
            return self.gauge.accumulated.add(time, amount);
        };
        let after = carried.bounded_add(self.gauge.accumulated.usage_after(time, amount)?);
        book.move_usage(before, after).map_err(|_| UncountedReason::ValueOutOfRange)?;
        // It cannot fail now: `usage_after` has refused all that `add` would refuse.
        self.gauge.accumulated.add(time, amount)
    }

    /// Each grant that has not ended, in the order in which they burn.
    pub(super) fn grant_balances(&self) -> Vec<GrantBalance> {
        self.book().map_or_else(Vec::new, |it| it.balances().collect())
    }

    /// Whether grants move what usage is limited to.
    pub(super) fn has_grants(&self) -> bool {
        self.book().is_some()
    }

    /// How many grants have not ended.
    pub(super) fn grant_count(&self) -> usize {
        self.book().map_or(0, Book::count)
    }

    /// What burned since the last thing that happened to a grant.
    pub(super) fn open_segment(&self, at: Timestamp) -> Option<Segment> {
        self.book()?.end_segment(at, self.usage())
    }

    /// Puts a grant in; it is effective when its time has come, see [`Metered::step`].
    pub(super) fn add_grant(&mut self, grant: Grant, at: Timestamp) {
        let (limit, window, usage) = (self.base_limit(), self.window, self.usage());
        let extra = self.extra_mut();
        let priority = extra.limit_priority;
        extra.book.get_or_insert_with(|| Book::new(limit, priority, window, usage, at)).add(grant);
    }

    /// Has something happen at its time.
    pub(super) fn schedule(&mut self, at: Timestamp, change: Change) {
        let scheduled = &mut self.extra_mut().scheduled;
        let place = scheduled.partition_point(|it| it.at <= at);
        scheduled.insert(place, Scheduled { at, change });
    }

    /// The next time at which something happens by itself; [`Timestamp::MAX`] is never.
    pub(super) fn next_due(&self) -> Timestamp {
        let Some(extra) = &self.extra else { return self.window.to };
        let grants = extra.book.as_ref().map_or(Timestamp::MAX, Book::next_due);
        let scheduled = extra.scheduled.first().map_or(Timestamp::MAX, |it| it.at);
        self.window.to.min(grants).min(scheduled)
    }
}

/// Steps of time.
impl Metered {
    /// Does one thing that is due at `due`, which must be [`Metered::next_due`]. Where nothing but
    /// windows passes until `now`, they pass as one.
    pub(super) fn step(
        &mut self,
        due: Timestamp,
        now: Timestamp,
        segments: &mut Vec<Segment>,
    ) -> Step {
        if let Some(cause) = self.on_book(due, segments, |it| it.expire(due)) {
            return Step::Measure(Some(cause));
        }
        if let Some(grant) = self.take_scheduled(due, |it| matches!(it, Change::Void(_))) {
            return self.change(due, grant, segments);
        }
        if self.window.to <= due {
            return self.roll(due, now, segments);
        }
        if let Some(cause) = self.on_book(due, segments, |it| it.recur(due)) {
            return Step::Measure(Some(cause));
        }
        if let Some(cause) = self.on_book(due, segments, |it| it.activate(due)) {
            return Step::Measure(Some(cause));
        }
        match self.take_scheduled(due, |_| true) {
            Some(change) => self.change(due, change, segments),
            None => Step::Measure(None),
        }
    }

    fn take_scheduled(
        &mut self,
        due: Timestamp,
        wanted: impl Fn(&Change) -> bool,
    ) -> Option<Change> {
        let scheduled = &mut self.extra.as_mut()?.scheduled;
        let place = scheduled.iter().position(|it| it.at <= due && wanted(&it.change))?;
        Some(scheduled.remove(place).change)
    }

    /// Makes a change that takes effect now.
    pub(super) fn change(
        &mut self,
        at: Timestamp,
        change: Change,
        segments: &mut Vec<Segment>,
    ) -> Step {
        match change {
            Change::Void(grant) => Step::Measure(self.on_book(at, segments, |it| it.void(grant))),
            Change::Limits(limits, tiers) => {
                let (before, tiers_before) = (self.effective_limits(), self.tiers().to_vec());
                if limits != self.shared.limits || tiers != tiers_before {
                    self.remember_terms();
                }
                self.shared_mut().limits = limits;
                if tiers != tiers_before {
                    self.extra_mut().tiers = tiers;
                }
                let base = self.base_limit();
                self.on_book(at, segments, |it| {
                    it.change_limit(base);
                    Some(Cause::LimitChanged)
                });
                Step::Limits { before, tiers_before }
            }
            Change::Reset(reset) => self.reset(at, reset, segments),
        }
    }

    /// Does something to the book, with a segment that ends before and one that begins after.
    fn on_book(
        &mut self,
        at: Timestamp,
        segments: &mut Vec<Segment>,
        what: impl FnOnce(&mut Book) -> Option<Cause>,
    ) -> Option<Cause> {
        let usage = self.usage();
        let book = self.extra.as_mut()?.book.as_mut()?;
        let (cause, segment) = book.change(at, usage, what)?;
        segments.extend(segment);
        Some(cause)
    }

    /// The period is over.
    fn roll(&mut self, due: Timestamp, now: Timestamp, segments: &mut Vec<Segment>) -> Step {
        let preserves = self.extra.as_ref().is_some_and(|it| it.preserves_overage);
        let mut next = self.shared.period.window_at(due);
        let mut skipped = 0;
        if !preserves || self.value().overage.is_zero() {
            // Windows without usage, and without anything that happens in them, are alike.
            let last = self.shared.period.window_at(self.quiet_until(now));
            if next.from < last.from {
                skipped = self.shared.period.count(next.from, last.from);
                next = last;
            }
        }
        self.begin(next, preserves, skipped, ResetCause::Period, segments)
    }

    /// Until when nothing but windows passes, up to `now`.
    fn quiet_until(&self, now: Timestamp) -> Timestamp {
        let Some(extra) = &self.extra else { return now };
        let grants = extra.book.as_ref().map_or(Timestamp::MAX, Book::next_due);
        let scheduled = extra.scheduled.first().map_or(Timestamp::MAX, |it| it.at);
        // Grants end before the window of that moment does, so in the one that comes to its end.
        let expires = extra.book.as_ref().map_or(Timestamp::MAX, Book::next_expiry);
        let voids = extra.scheduled.iter().find(|it| matches!(it.change, Change::Void(_)));
        let ends = expires.min(voids.map_or(Timestamp::MAX, |it| it.at));
        now.min(grants).min(scheduled).min(ends.plus_ms(-1))
    }

    /// Someone says that usage starts again. A window has at least a millisecond.
    fn reset(&mut self, at: Timestamp, reset: ManualReset, segments: &mut Vec<Segment>) -> Step {
        if at <= self.window.from {
            return Step::Measure(None);
        }
        if !reset.retains_anchor {
            // The moment that was named, which the stamp may be a little after.
            self.set_period(UsagePeriod { anchor: Some(reset.at), ..self.shared.period });
        }
        self.window.to = self.window.to.min(at);
        let next = Window { from: at, to: self.shared.period.window_at(at).to };
        let own = self.extra.as_ref().is_some_and(|it| it.preserves_overage);
        let preserves = reset.preserves_overage.unwrap_or(own);
        self.begin(next, preserves, 0, ResetCause::Manual, segments)
    }

    fn begin(
        &mut self,
        next: Window,
        preserves_overage: bool,
        skipped: u64,
        cause: ResetCause,
        segments: &mut Vec<Segment>,
    ) -> Step {
        let (usage, limits) = (self.usage(), self.effective_limits());
        let carried = if preserves_overage { self.value().overage } else { Quantity::ZERO };
        let fresh = Gauge::new(self.gauge.accumulated.emptied());
        let mut closed = ClosedWindow {
            window: std::mem::replace(&mut self.window, next),
            lines_seq: 0,
            limits,
            tiers: self.tiers().to_vec(),
            carried: self.carried(),
            gauge: std::mem::replace(&mut self.gauge, fresh),
            groups: GroupGauges::new(),
        };
        let base = self.base_limit();
        if self.extra.is_some() || !carried.is_zero() {
            let extra = self.extra_mut();
            closed.groups = std::mem::take(&mut extra.groups);
            extra.carried = carried;
            if let Some(book) = &mut extra.book {
                segments.extend(book.end_segment(closed.window.to, usage));
                book.begin_window(base, next, carried);
            }
            // With its last grant gone, the limit alone says everything again.
            extra.book.take_if(|it| it.is_plain());
            if extra.past.forget(next.from) && extra.is_plain() {
                self.extra = None;
            }
        }
        Step::Rolled(Box::new(Rolled { closed, skipped, cause }))
    }

    /// Begins again at an earlier time, before there was any usage.
    pub(super) fn rewind(&mut self, to: Timestamp) {
        self.window = self.shared.period.window_at(to);
        self.first_from = self.window.from;
        self.gauge.empty();
        if let Some(extra) = &mut self.extra {
            extra.past.clear();
        }
        let (base, window) = (self.base_limit(), self.window);
        if let Some(book) = self.extra.as_mut().and_then(|it| it.book.as_mut()) {
            book.begin_window(base, window, Quantity::ZERO);
            book.rewind(to);
        }
    }

    /// The same entitlement as it will stand at `now`, without a look at lines.
    pub(super) fn at(&self, now: Timestamp) -> Self {
        let mut later = self.clone();
        loop {
            let due = later.next_due();
            if due > now || due == Timestamp::MAX {
                return later;
            }
            later.step(due, now, &mut Vec::new());
        }
    }
}

impl Metered {
    pub(super) fn encode(&self, writer: &mut Writer) {
        self.to_entitlement().encode(writer);
        writer.bits(self.shared.meter.bits());
        writer.time(self.window.from);
        writer.time(self.window.to);
        writer.time(self.first_from);
        self.gauge.encode(writer);
        writer.option(self.extra.as_deref(), |writer, it| {
            writer.quantity(it.carried);
            writer.option(it.book.as_ref(), |writer, it| it.encode(writer));
            encode_groups(&it.groups, writer);
            writer.list(it.scheduled.iter(), |writer, it| {
                writer.time(it.at);
                it.change.encode(writer);
            });
            it.past.encode(writer);
        });
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, Corrupt> {
        let entitlement = Entitlement::decode(reader)?;
        let meter = MeterId::from_bits(reader.bits()?);
        let (window, first_from) =
            (Window { from: reader.time()?, to: reader.time()? }, reader.time()?);
        let gauge = Gauge::decode(reader)?;
        let mut metered = Self::restored(entitlement, meter, window, gauge)?;
        metered.first_from = first_from;
        let extra = reader.option(|reader| {
            Ok((
                reader.quantity()?,
                reader.option(Book::decode)?,
                decode_groups(reader)?,
                reader.list(|it| Ok(Scheduled { at: it.time()?, change: Change::decode(it)? }))?,
                if reader.version() >= 3 { Past::decode(reader)? } else { Past::default() },
            ))
        })?;
        if let Some((carried, book, groups, scheduled, past)) = extra {
            let own = metered.extra_mut();
            (own.carried, own.book, own.groups, own.scheduled) = (carried, book, groups, scheduled);
            own.past = past;
        } else {
            metered.extra = None;
        }
        Ok(metered)
    }

    /// Reads what version 1 wrote behind the entitlement.
    pub(super) fn decode_v1(
        reader: &mut Reader<'_>,
        entitlement: Entitlement,
    ) -> Result<Self, Corrupt> {
        let meter = MeterId::from_bits(reader.bits()?);
        let window = Window { from: reader.time()?, to: reader.time()? };
        Self::restored(entitlement, meter, window, Gauge::decode_v1(reader)?)
    }

    fn restored(
        entitlement: Entitlement,
        meter: MeterId,
        window: Window,
        gauge: Gauge,
    ) -> Result<Self, Corrupt> {
        let EntitlementKind::Metered(terms) = entitlement.kind else {
            return Err(Corrupt { expected: "a metered entitlement" });
        };
        let kind = (meter, gauge.accumulated.emptied());
        let at = window.from;
        let mut metered = Self::new(entitlement.id, entitlement.feature, &terms, kind, at);
        if !terms.tiers.is_empty() {
            metered.extra_mut().tiers = terms.tiers;
        }
        (metered.window, metered.first_from, metered.gauge) = (window, window.from, gauge);
        Ok(metered)
    }
}

impl Change {
    fn encode(&self, writer: &mut Writer) {
        match self {
            Self::Void(grant) => {
                writer.byte(0);
                writer.bits(grant.bits());
            }
            Self::Reset(reset) => {
                writer.byte(1);
                reset.encode(writer);
            }
            Self::Limits(limits, tiers) => {
                writer.byte(2);
                limits.encode(writer);
                writer.list(tiers.iter(), |writer, it| writer.quantity(*it));
            }
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Corrupt> {
        match reader.byte()? {
            0 => reader.bits().map(GrantId::from_bits).map(Self::Void),
            1 => ManualReset::decode(reader).map(Self::Reset),
            2 => Ok(Self::Limits(Limits::decode(reader)?, reader.list(Reader::quantity)?)),
            _ => Err(Corrupt { expected: "a scheduled change" }),
        }
    }
}
