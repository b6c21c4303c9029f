//! The history of one entitlement while it is told: windows with events, and what usage burns.
//!
//! What happens by itself between deeds happens at its moment, usage burns half a unit at a time,
//! and what a window used is counted anew from its events. Each thing that moves usage, or what it
//! is measured against, is a point of the window's curve.
//!
//! Not here: which deeds there are (`full_model`), which lines a curve crosses (`full_lines`).

use std::collections::{BTreeMap, BTreeSet};

use super::{
    full_history::{Event, HOUR_MS},
    full_lines::{Curve, Part, Sample, Told},
    full_model::{Change, Kept, Measure, Standing, Stretch, Turn, halves},
    full_time::window_of,
};
use crate::{
    catalog::meter::Aggregation,
    effect::ResetCause,
    entitlement::{
        Terms,
        grant::Grant,
        period::{Interval, UsagePeriod},
        source::Limits,
    },
    ids::{EntitlementId, GrantId},
    line::crossing::Cause,
    quantity::Quantity,
    rule::Rule,
    time::Timestamp,
};

/// A quantity that usage burns: the limit, or a grant.
#[derive(Debug, Clone)]
struct Pot {
    grant: Option<Grant>,
    order: (u8, Timestamp, Timestamp, u128),
    phase: Phase,
    left: i64,
    used: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Waiting,
    Active,
    Ended,
}

/// A window, open or closed.
#[derive(Debug, Clone)]
struct Span {
    from: Timestamp,
    to: Timestamp,
    /// Whether something happened while it was the present one, if only by itself.
    is_seen: bool,
    carried: i64,
    events: Vec<Event>,
    curve: Curve,
    /// The limits and tiers it closed with, once it has.
    closed_with: Option<Measure>,
    /// Whether it was kept when it closed, or made up since.
    is_kept: bool,
}

/// How things stand while the story is told.
#[derive(Debug)]
pub(super) struct Tale<'a> {
    rules: Vec<&'a Rule>,
    kind: Aggregation,
    period: UsagePeriod,
    limits: Limits,
    tiers: Vec<Quantity>,
    preserves: bool,
    spans: Vec<Span>,
    /// The limit first; sorted where it matters.
    pots: Vec<Pot>,
    over: i64,
    /// Changes to come, the earliest first.
    later: Vec<(Timestamp, Change)>,
    pub(super) resets: Vec<Turn>,
    pub(super) segments: Vec<Stretch>,
    /// The stretch that goes on, of an entitlement that ever had a grant.
    open: Option<Stretch>,
    /// When grants were set back to their amounts last.
    recurred: BTreeMap<GrantId, Timestamp>,
    /// Points of curves so far.
    samples: usize,
    /// The row that is told, and its stamp.
    pub(super) row: usize,
    pub(super) at: Timestamp,
}

impl<'a> Tale<'a> {
    pub(super) fn new(
        rules: Vec<&'a Rule>,
        kind: Aggregation,
        terms: &Terms,
        (row, at): (usize, Timestamp),
    ) -> Self {
        let (from, to) = window_of(terms.period, at);
        let order = (terms.limit_priority, to, from, 0);
        let base = base(terms.limits);
        let limit = Pot { grant: None, order, phase: Phase::Active, left: base, used: 0 };
        let mut tale = Self {
            rules,
            kind,
            period: terms.period,
            limits: terms.limits,
            tiers: terms.tiers.clone(),
            preserves: terms.preserves_overage,
            spans: vec![Span::new(from, to, 0)],
            pots: vec![limit],
            over: 0,
            later: Vec::new(),
            resets: Vec::new(),
            segments: Vec::new(),
            open: None,
            recurred: BTreeMap::new(),
            samples: 0,
            row,
            at,
        };
        tale.look(Cause::EntitlementCreated);
        tale
    }

    fn now(&self) -> &Span {
        self.spans.last().unwrap()
    }

    fn usage(&self) -> i64 {
        self.now().usage(&self.kind)
    }

    fn measure(&self) -> Measure {
        let covered = self.usage() - self.over;
        let left: i64 =
            self.pots.iter().filter(|it| it.phase == Phase::Active).map(|it| it.left).sum();
        let effective = Some(covered + left);
        let (hard, soft) = (self.limits.hard, self.limits.soft);
        Measure {
            hard: hard.and(effective),
            soft: if hard.is_some() { soft.map(halves) } else { soft.and(effective) },
            tiers: self.tiers.iter().copied().map(halves).collect(),
        }
    }

    fn plain_measure(&self) -> Measure {
        Measure {
            hard: self.limits.hard.map(halves),
            soft: self.limits.soft.map(halves),
            tiers: self.tiers.iter().copied().map(halves).collect(),
        }
    }

    /// The windows that have closed and are kept.
    pub(super) fn kept(&self) -> Vec<Kept> {
        let kept = self.spans.iter().filter(|it| it.is_kept);
        let kept = kept.map(|it| {
            let Measure { hard, soft, .. } = it.closed_with.clone().unwrap();
            Kept { from: it.from, to: it.to, usage: it.usage(&self.kind), hard, soft }
        });
        kept.collect()
    }

    pub(super) fn standing(&mut self) -> Standing {
        self.pots.sort_by_key(|it| it.order);
        let Measure { hard, soft, .. } = self.measure();
        let alive = self.pots.iter().filter(|it| it.phase != Phase::Ended);
        let grants = alive
            .filter_map(|it| Some((it.grant.as_ref()?.id, it.left, it.phase == Phase::Active)));
        let (grants, window) = (grants.collect(), (self.now().from, self.now().to));
        Standing { usage: self.usage(), hard, soft, window, grants }
    }

    /// Crossings of every window, in the order in which they were seen.
    pub(super) fn told(&self, id: EntitlementId) -> Vec<Told> {
        let read = |it: &Span| it.curve.read(&self.rules, id, it.from);
        let mut told: Vec<Told> = self.spans.iter().flat_map(read).collect();
        told.sort_by_key(|it| it.number);
        told
    }

    /// A point of the present window's curve: everything as it stands.
    fn look(&mut self, cause: Cause) {
        let (usage, measure) = (self.usage(), self.measure());
        let sample = self.sample(cause, (usage, usage), measure);
        self.now_mut().curve.0.push(sample);
    }

    fn now_mut(&mut self) -> &mut Span {
        self.spans.last_mut().unwrap()
    }

    fn sample(&mut self, cause: Cause, usage: (i64, i64), measure: Measure) -> Sample {
        self.samples += 1;
        let (number, row, at) = (self.samples, self.row, self.at);
        let (event, late, part) = (None, false, Part::Whole);
        Sample { number, row, at, event, cause, late, part, usage, measure }
    }
}

/// Usage.
impl Tale<'_> {
    pub(super) fn count(&mut self, index: u32, event: &Event) {
        let last = self.spans.len() - 1;
        let place = self.spans.iter().position(|it| it.from <= event.time && event.time < it.to);
        let place = if event.time >= self.now().from { Some(last) } else { place };
        let Some(place) = place else { return };
        let is_late = place < last;
        if is_late && !self.spans[place].is_kept {
            // Nobody used it: it is made up, with what it closed with.
            let Span { from, to, ref closed_with, .. } = self.spans[place];
            let measure = closed_with.clone().unwrap();
            let mut span = Span::new(from, to, 0);
            let sample = self.sample(Cause::Reset, (0, 0), measure.clone());
            span.curve.0.push(Sample { part: Part::Opening, ..sample });
            (span.closed_with, span.is_kept) = (Some(measure), true);
            self.spans[place] = span;
        }
        let before = self.spans[place].usage(&self.kind);
        let groups = self.spans[place].groups(&self.kind, event);
        self.spans[place].events.push(event.clone());
        let after = self.spans[place].usage(&self.kind);
        if !is_late {
            self.move_usage(before, after);
        }
        let measure =
            if is_late { self.spans[place].closed_with.clone().unwrap() } else { self.measure() };
        let mut sample = self.sample(Cause::Usage, (before, after), measure);
        (sample.late, sample.event) = (is_late, Some(index));
        self.spans[place].curve.0.push(sample.clone());
        let moved = self.spans[place].groups(&self.kind, event);
        for ((group, before), (_, after)) in groups.into_iter().zip(moved) {
            self.samples += 1;
            sample.number = self.samples;
            (sample.part, sample.usage) = (Part::Group(group), (before, after));
            self.spans[place].curve.0.push(sample.clone());
        }
    }

    /// Half a unit at a time.
    fn move_usage(&mut self, before: i64, after: i64) {
        self.pots.sort_by_key(|it| it.order);
        for _ in before..after {
            self.burn();
        }
        for _ in after..before {
            self.give_back();
        }
        if let Some(open) = &mut self.open {
            open.usage += after - before;
        }
    }

    fn burn(&mut self) {
        let mut active = self.pots.iter_mut().filter(|it| it.phase == Phase::Active);
        let Some(pot) = active.find(|it| it.left > 0) else {
            self.over += 1;
            return;
        };
        (pot.left, pot.used) = (pot.left - 1, pot.used + 1);
        if let Some(open) = &mut self.open {
            *open.burned.entry(pot.grant.as_ref().map(|it| it.id)).or_default() += 1;
        }
    }

    fn give_back(&mut self) {
        if self.over > 0 {
            self.over -= 1;
            return;
        }
        let mut active = self.pots.iter_mut().rev().filter(|it| it.phase == Phase::Active);
        // What ended grants covered is nobody's.
        let Some(pot) = active.find(|it| it.used > 0) else { return };
        (pot.left, pot.used) = (pot.left + 1, pot.used - 1);
        if let Some(open) = &mut self.open {
            *open.burned.entry(pot.grant.as_ref().map(|it| it.id)).or_default() -= 1;
        }
    }

    /// What was beyond everything burns what there is now.
    fn absorb(&mut self) {
        self.pots.sort_by_key(|it| it.order);
        for _ in 0..std::mem::take(&mut self.over) {
            self.burn();
        }
    }
}

/// What happens by itself, and what people do.
impl Tale<'_> {
    pub(super) fn pass_time(&mut self, now: Timestamp) {
        while let Some((due, rank)) = self.next(true).filter(|(due, _)| *due <= now) {
            self.happen(due, rank, now);
        }
    }

    /// The next moment, and what comes first at it: grants end, are voided, the window ends, grants
    /// recur, begin, other changes.
    fn next(&self, with_window: bool) -> Option<(Timestamp, u8)> {
        let window = with_window.then(|| (self.now().to, 2));
        let pots = self.pots.iter().filter_map(|it| {
            let grant = it.grant.as_ref()?;
            Some(match it.phase {
                Phase::Waiting => vec![(grant.effective_at, 4)],
                Phase::Ended => Vec::new(),
                Phase::Active => {
                    let expiry = grant.expires_at.map(|it| (it, 0));
                    let recurs = self.recurs(grant).map(|it| (it, 3));
                    expiry.into_iter().chain(recurs).collect()
                }
            })
        });
        let later = self.later.iter().map(|(at, change)| match change {
            Change::Void(_) => (*at, 1),
            _ => (*at, 5),
        });
        let all = window.into_iter().chain(pots.flatten()).chain(later);
        all.filter(|(at, _)| *at < Timestamp::MAX).min()
    }

    /// When an active grant is set back to its amount next: each of its periods once.
    fn recurs(&self, grant: &Grant) -> Option<Timestamp> {
        let done = self.recurred.get(&grant.id).copied().unwrap_or(grant.effective_at);
        let period = grant.recurrence?;
        let anchor = Some(period.anchor.unwrap_or(grant.effective_at));
        Some(window_of(UsagePeriod { anchor, ..period }, done).1)
    }

    fn happen(&mut self, due: Timestamp, rank: u8, now: Timestamp) {
        match rank {
            0 => self.of_grants(due, Cause::GrantExpired, |it, grant| {
                it.phase == Phase::Active && grant.expires_at == Some(due)
            }),
            1 | 5 => {
                let is_void = |it: &Change| matches!(it, Change::Void(_));
                let own =
                    self.later.iter().position(|(at, it)| *at == due && is_void(it) == (rank == 1));
                let (_, change) = self.later.remove(own.unwrap());
                self.change(due, &change);
            }
            2 => self.end_period(due, now),
            3 => {
                let recurring = self.pots.iter().filter(|it| it.phase == Phase::Active);
                let due_now = recurring.filter_map(|it| it.grant.as_ref());
                let due_now = due_now.filter(|it| self.recurs(it) == Some(due)).map(|it| it.id);
                let due_now: BTreeSet<GrantId> = due_now.collect();
                for id in &due_now {
                    self.recurred.insert(*id, due);
                }
                self.of_grants(due, Cause::GrantRecurred, |_, it| due_now.contains(&it.id));
            }
            _ => self.of_grants(due, Cause::GrantActive, |it, grant| {
                it.phase == Phase::Waiting && grant.effective_at == due
            }),
        }
    }

    /// Something happens to some grants at once.
    fn of_grants(&mut self, at: Timestamp, cause: Cause, which: impl Fn(&Pot, &Grant) -> bool) {
        let mut any = false;
        for pot in &mut self.pots {
            if !pot.grant.as_ref().is_some_and(|it| which(pot, it)) {
                continue;
            }
            any = true;
            let ends = matches!(cause, Cause::GrantExpired | Cause::GrantVoided);
            if ends {
                (pot.phase, pot.left) = (Phase::Ended, 0);
            } else {
                let amount = pot.grant.as_ref().map_or(0, |it| halves(it.amount));
                (pot.phase, pot.left, pot.used) = (Phase::Active, amount, 0);
            }
        }
        if any {
            self.next_stretch(at);
            self.absorb();
            self.look(cause);
        }
    }

    pub(super) fn change(&mut self, at: Timestamp, change: &Change) {
        match change {
            Change::Later(at, change) => {
                let place = self.later.partition_point(|it| it.0 <= *at);
                self.later.insert(place, (*at, (**change).clone()));
            }
            Change::Entitle(terms) => {
                self.preserves = terms.preserves_overage;
                let follows_billing = |it: UsagePeriod| it.interval == Interval::BillingCycle;
                if follows_billing(self.period) && follows_billing(terms.period) {
                    // The window goes on to the next start of a cycle.
                    self.period = terms.period;
                    self.now_mut().to = window_of(terms.period, at).1;
                }
                let limit = self.pots.iter_mut().find(|it| it.grant.is_none()).unwrap();
                limit.order.0 = terms.limit_priority;
                self.limit(at, terms.limits, &terms.tiers);
            }
            Change::Limits(limits, tiers) => self.limit(at, *limits, tiers),
            Change::Grant(grant) => self.grant(at, grant),
            Change::Void(id) => self.of_grants(at, Cause::GrantVoided, |it, grant| {
                it.phase != Phase::Ended && grant.id == *id
            }),
            Change::Reset(reset) if at > self.now().from => {
                self.now_mut().to = at;
                if !reset.retains_anchor {
                    self.period.anchor = Some(at);
                }
                let to = window_of(self.period, at).1;
                let preserves = reset.preserves_overage.unwrap_or(self.preserves);
                self.begin((at, to), preserves, ResetCause::Manual, true);
            }
            // A window has at least a millisecond.
            Change::Reset(_) => {}
        }
    }

    fn grant(&mut self, at: Timestamp, grant: &Grant) {
        if self.open.is_none() {
            self.open = Some(Stretch::new(at));
        }
        let effective_at = grant.effective_at.max(at);
        let made = Timestamp::from_ms((grant.id.bits() >> 80) as i64);
        let expires = grant.expires_at.unwrap_or(Timestamp::MAX);
        let order = (grant.priority, expires, made, grant.id.bits());
        let grant = Some(Grant { effective_at, ..grant.clone() });
        self.pots.push(Pot { grant, order, phase: Phase::Waiting, left: 0, used: 0 });
        self.pass_time(at);
    }

    fn limit(&mut self, at: Timestamp, limits: Limits, tiers: &[Quantity]) {
        (self.limits, self.tiers) = (limits, tiers.to_vec());
        let base = base(limits);
        let limit = self.pots.iter_mut().find(|it| it.grant.is_none()).unwrap();
        let kept = limit.used.min(base);
        let excess = limit.used - kept;
        (limit.left, limit.used) = (base - kept, kept);
        self.next_stretch(at);
        self.over += excess;
        self.absorb();
        self.look(Cause::LimitChanged);
    }

    fn end_period(&mut self, due: Timestamp, now: Timestamp) {
        let next = window_of(self.period, due);
        let carries = self.preserves && self.overage() > 0;
        // Windows in which nothing happens pass without a look.
        let seen = match self.next(false) {
            // Grants end before the window does.
            Some((at, rank)) if at <= now => at < next.1 || at == next.1 && rank < 2,
            _ => now < next.1,
        };
        self.begin(next, self.preserves, ResetCause::Period, carries || seen);
    }

    /// What was used beyond the limit, if there is one.
    fn overage(&self) -> i64 {
        let whole = self.limits.hard.or(self.limits.soft);
        whole.map_or(0, |_| self.over)
    }

    fn begin(
        &mut self,
        (from, to): (Timestamp, Timestamp),
        preserves: bool,
        cause: ResetCause,
        seen: bool,
    ) {
        let carried = if preserves { self.overage() } else { 0 };
        let closed = (self.now().from, self.usage());
        let is_whole = window_of(self.period, closed.0) == (closed.0, from);
        let is_kept = self.is_touched() || !is_whole || cause == ResetCause::Manual;
        // What nobody used is not kept, and made up without grants.
        let measure = if is_kept { self.measure() } else { self.plain_measure() };
        (self.now_mut().closed_with, self.now_mut().is_kept) = (Some(measure), is_kept);
        if self.now().is_seen {
            self.end_stretch(from);
        }
        self.spans.push(Span { is_seen: seen, ..Span::new(from, to, carried) });
        self.pots.retain(|it| it.phase != Phase::Ended);
        for pot in self.pots.iter_mut().filter(|it| it.phase == Phase::Active) {
            let left = match &pot.grant {
                None => base(self.limits),
                Some(it) => pot.left.max(halves(it.min_rollover)).min(halves(it.max_rollover)),
            };
            (pot.left, pot.used) = (left, 0);
            if pot.grant.is_none() {
                pot.order = (pot.order.0, to, from, 0);
            }
        }
        self.open = (self.pots.len() > 1 && self.open.is_some()).then(|| Stretch::new(from));
        self.over = carried;
        self.absorb();
        if seen {
            let (usage, measure) = (self.usage(), self.measure());
            let sample = self.sample(Cause::Reset, (usage, usage), measure);
            self.now_mut().curve.0.push(Sample { part: Part::Opening, ..sample });
            if usage > 0 {
                self.look(Cause::Reset);
            }
        }
        let (row, at, opened) = (self.row, self.at, (from, self.usage()));
        self.resets.push(Turn { row, at, closed, opened, skipped: 0, cause });
    }
}

impl Tale<'_> {
    /// Whether anything has happened in the window that closes.
    fn is_touched(&self) -> bool {
        let (span, kind) = (self.now(), &self.kind);
        let is_counted = match kind {
            Aggregation::Count
            | Aggregation::Sum { .. }
            | Aggregation::BucketedSum { .. }
            | Aggregation::SumWithMultiplier { .. } => total(kind, span.events.iter()) != 0,
            _ => !span.events.is_empty(),
        };
        let is_grouped = span.events.iter().any(|it| it.groups.iter().any(Option::is_some));
        is_counted || is_grouped || span.carried != 0 || span.curve.is_marked(&self.rules)
    }
}

/// Stretches of burning.
impl Tale<'_> {
    fn end_stretch(&mut self, at: Timestamp) {
        let over = self.over;
        if let Some(open) = self.open.as_mut().filter(|it| it.from < at) {
            (open.to, open.overage) = (at, over);
            self.segments.push(open.clone());
        }
    }

    /// Something happens to a grant. Stretches without length are one.
    fn next_stretch(&mut self, at: Timestamp) {
        if self.open.as_ref().is_some_and(|it| it.from < at) {
            self.end_stretch(at);
            self.open = Some(Stretch::new(at));
        }
    }
}

impl Span {
    fn new(from: Timestamp, to: Timestamp, carried: i64) -> Self {
        let (events, curve, closed_with) = (Vec::new(), Curve::default(), None);
        Self { from, to, is_seen: true, carried, events, curve, closed_with, is_kept: false }
    }

    fn usage(&self, kind: &Aggregation) -> i64 {
        self.carried + counted(kind, self.events.iter())
    }

    /// Usage of each group that an event belongs to.
    fn groups(&self, kind: &Aggregation, event: &Event) -> Vec<((usize, &'static str), i64)> {
        let own = event.groups.iter().enumerate();
        let own = own.filter_map(|(key, value)| Some((key, (*value)?)));
        own.map(|(key, value)| {
            let events = self.events.iter().filter(|it| it.groups[key] == Some(value));
            ((key, value), counted(kind, events))
        })
        .collect()
    }
}

/// What events add up to, never below zero.
fn counted<'a>(kind: &Aggregation, events: impl Iterator<Item = &'a Event>) -> i64 {
    total(kind, events).max(0)
}

fn total<'a>(kind: &Aggregation, events: impl Iterator<Item = &'a Event>) -> i64 {
    match kind {
        Aggregation::Count => 2 * events.count() as i64,
        Aggregation::Sum { .. } | Aggregation::BucketedSum { .. } => {
            events.map(|it| it.halves).sum()
        }
        Aggregation::SumWithMultiplier { .. } => events.map(|it| -2 * it.halves).sum(),
        Aggregation::Max { .. } => events.map(|it| it.halves).max().unwrap_or(0),
        // The last of those with the latest time.
        Aggregation::Latest { .. } => events.max_by_key(|it| it.time).map_or(0, |it| it.halves),
        Aggregation::UniqueCount { .. } => {
            2 * events.map(|it| it.halves).collect::<BTreeSet<_>>().len() as i64
        }
        Aggregation::BucketedMax { .. } => {
            let mut hours: BTreeMap<i64, i64> = BTreeMap::new();
            for it in events {
                let hour = it.time.as_ms().div_euclid(HOUR_MS);
                let most = hours.entry(hour).or_insert(it.halves);
                *most = (*most).max(it.halves);
            }
            hours.values().sum()
        }
        other => panic!("no entitlement stands on {other:?}"),
    }
}

fn base(limits: Limits) -> i64 {
    limits.hard.or(limits.soft).map_or(0, halves)
}
