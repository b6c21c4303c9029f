//! The course of time: windows end, grants begin and end, changes that were planned are made.
//!
//! One step after the other, the earliest first. At one moment grants end before the window does,
//! and recur and begin after it.
//!
//! Not here: which lines fire (`lines`), what is left of a grant (`pots`).

use super::{
    Amount, Catalogue, Customer, Expected, Moment, Outcome, Tracked, What,
    lines::{self, Cause, View},
    pots::Pots,
    sheet::Sheet,
};
use crate::{
    log::{Allowed, ChangeFact, GrantFact, Limits},
    period::Length,
};

/// That a window has begun.
#[derive(Debug)]
pub(super) struct Begun {
    cause: &'static str,
    skipped: i64,
    closed: (i64, Amount, Limits),
    opened: (i64, Amount, Limits),
}

impl Tracked {
    /// When something happens by itself next.
    pub(super) fn next_due(&self) -> i64 {
        self.quiet_until().min(self.sheet.window.1)
    }

    /// Until when nothing but windows passes.
    fn quiet_until(&self) -> i64 {
        let planned = self.planned.iter().map(|it| it.0).min().unwrap_or(i64::MAX);
        self.pots.as_ref().map_or(i64::MAX, Pots::next_due).min(planned)
    }

    /// The last window that may begin before anything else happens, up to a moment.
    fn last_quiet_window(&self, until_ms: i64) -> (i64, i64) {
        let voids = self.planned.iter().filter(|it| matches!(it.1, ChangeFact::Void(_)));
        let voids = voids.map(|it| it.0).min().unwrap_or(i64::MAX);
        // What ends with a window still ends in it.
        let ends = self.pots.as_ref().map_or(i64::MAX, Pots::next_end).min(voids);
        self.period.window_at(until_ms.min(self.quiet_until()).min(ends - 1))
    }

    /// The limit that acts as a grant.
    fn own_limit(&self) -> Amount {
        self.base.whole().unwrap_or(0)
    }

    /// Finds the limits with all grants anew: they add to the hard one, else to the soft one.
    pub(super) fn measure(&mut self) {
        let usage = self.sheet.usage();
        self.sheet.allowed.limits = self.base;
        let Some(pots) = &mut self.pots else { return };
        let limits = &mut self.sheet.allowed.limits;
        if let Some(limit) = limits.hard.as_mut().or(limits.soft.as_mut()) {
            *limit = pots.reach(usage);
        }
    }

    /// The clock went back, before there was any usage.
    pub(super) fn rewind(&mut self, to_ms: i64) {
        let window = self.period.window_at(to_ms);
        (self.sheet, self.first_ms) = (self.sheet.like(window, self.sheet.carried), window.0);
        let allowed = Allowed { limits: self.base, tiers: self.sheet.allowed.tiers.clone() };
        self.allowances = vec![(i64::MIN, allowed)];
        if let Some(pots) = &mut self.pots {
            pots.begin_window(self.base.whole().unwrap_or(0), window, 0);
            pots.rewind(to_ms);
        }
        self.measure();
    }
}

/// Does everything that is due for a customer, in order.
pub(super) fn pass_time(
    catalogue: &Catalogue,
    customer: &mut Customer,
    moment: &Moment<'_>,
    outcome: &mut Outcome,
) {
    let mut begun: Vec<Vec<Begun>> = customer.tracked.iter().map(|_| Vec::new()).collect();
    loop {
        let due = customer.tracked.iter().enumerate().map(|(place, it)| (it.next_due(), place));
        let Some((due_ms, place)) = due.min().filter(|it| it.0 <= moment.at_ms) else { break };
        let tracked = &mut customer.tracked[place];
        let Some(next) = step(catalogue, tracked, due_ms, moment, outcome) else { continue };
        match begun[place].last_mut() {
            // Periods that nobody saw begin are told as one.
            Some(last) if last.cause == "period" && next.cause == "period" => {
                last.skipped += 1 + next.skipped;
                last.opened = next.opened;
            }
            _ => begun[place].push(next),
        }
    }
    for (tracked, begun) in customer.tracked.iter().zip(begun) {
        for it in begun {
            tell(catalogue, tracked, &it, moment, outcome);
        }
    }
}

fn step(
    catalogue: &Catalogue,
    tracked: &mut Tracked,
    due_ms: i64,
    moment: &Moment<'_>,
    outcome: &mut Outcome,
) -> Option<Begun> {
    if tracked.pots.as_mut().is_some_and(|it| it.expire(due_ms)) {
        settle(catalogue, tracked, Cause::Other("grant_expired"), moment, outcome);
        return None;
    }
    let is_void = |it: &(i64, ChangeFact)| matches!(it.1, ChangeFact::Void(_));
    let planned = tracked.planned.iter().position(|it| it.0 <= due_ms && is_void(it));
    if let Some(place) = planned {
        let change = tracked.planned.remove(place).1;
        return apply(catalogue, tracked, (due_ms, change), moment, outcome);
    }
    if tracked.sheet.window.1 <= due_ms {
        return Some(roll(catalogue, tracked, moment, outcome));
    }
    if tracked.pots.as_mut().is_some_and(|it| it.recur(due_ms)) {
        settle(catalogue, tracked, Cause::Other("grant_recurred"), moment, outcome);
        return None;
    }
    if tracked.pots.as_mut().is_some_and(|it| it.begin(due_ms)) {
        settle(catalogue, tracked, Cause::Other("grant_active"), moment, outcome);
        return None;
    }
    let place = tracked.planned.iter().position(|it| it.0 <= due_ms)?;
    let change = tracked.planned.remove(place).1;
    apply(catalogue, tracked, (due_ms, change), moment, outcome)
}

/// Makes a change, or plans it for its time.
pub(super) fn change(
    catalogue: &Catalogue,
    tracked: &mut Tracked,
    (due_ms, change): (i64, ChangeFact),
    moment: &Moment<'_>,
    outcome: &mut Outcome,
) {
    if due_ms > moment.at_ms {
        tracked.planned.push((due_ms, change));
        tracked.planned.sort_by_key(|it| it.0);
    } else if let Some(begun) = apply(catalogue, tracked, (moment.at_ms, change), moment, outcome) {
        tell(catalogue, tracked, &begun, moment, outcome);
    }
}

/// Puts a grant in.
pub(super) fn grant(
    catalogue: &Catalogue,
    tracked: &mut Tracked,
    fact: &GrantFact,
    moment: &Moment<'_>,
    outcome: &mut Outcome,
) {
    let (base, window, usage) = (tracked.own_limit(), tracked.sheet.window, tracked.sheet.usage());
    let pots = tracked.pots.get_or_insert_with(|| Pots::new(base, window, usage));
    pots.add(fact, moment.at_ms);
    tracked.measure();
    while tracked.next_due() <= moment.at_ms {
        step(catalogue, tracked, moment.at_ms, moment, outcome);
    }
}

fn apply(
    catalogue: &Catalogue,
    tracked: &mut Tracked,
    (at_ms, change): (i64, ChangeFact),
    moment: &Moment<'_>,
    outcome: &mut Outcome,
) -> Option<Begun> {
    match change {
        ChangeFact::Void(grant) => {
            if tracked.pots.as_mut().is_some_and(|it| it.void(grant)) {
                settle(catalogue, tracked, Cause::Other("grant_voided"), moment, outcome);
            }
            None
        }
        ChangeFact::Allow(allowed) => {
            let moment = Moment { cause: Cause::LimitChanged, ..*moment };
            tracked.allowances.push((at_ms, allowed.clone()));
            lines::allow(catalogue, tracked, &moment, &allowed, &mut outcome.crossed);
            None
        }
        ChangeFact::Reset(reset) => {
            if at_ms <= tracked.sheet.window.0 {
                return None;
            }
            // What never ends has no periods that could begin elsewhere.
            if tracked.period.length != Length::Never {
                tracked.period.anchor_ms = reset.anchor_ms.or(tracked.period.anchor_ms);
            }
            let keeps = reset.preserves.unwrap_or(tracked.preserves);
            let carried = if keeps { tracked.sheet.beyond() } else { 0 };
            tracked.sheet.window.1 = tracked.sheet.window.1.min(at_ms);
            let next = (at_ms, tracked.period.window_at(at_ms).1);
            Some(begin(catalogue, tracked, (next, carried), (0, "manual"), moment, outcome))
        }
    }
}

fn roll(
    catalogue: &Catalogue,
    tracked: &mut Tracked,
    moment: &Moment<'_>,
    outcome: &mut Outcome,
) -> Begun {
    let carried = if tracked.preserves { tracked.sheet.beyond() } else { 0 };
    let mut next = tracked.period.window_at(tracked.sheet.window.1);
    let mut skipped = 0;
    if carried == 0 {
        // Windows in which nothing happens are passed at once.
        let last = tracked.last_quiet_window(moment.at_ms);
        if last.0 > next.0 {
            skipped = tracked.period.windows_between(next.0, last.0);
            next = last;
        }
    }
    begin(catalogue, tracked, (next, carried), (skipped, "period"), moment, outcome)
}

/// Closes the window and begins another one: everything is armed, and a falling line at or above
/// what the window opens with counts as passed, if the customer knew it (row 5).
fn begin(
    catalogue: &Catalogue,
    tracked: &mut Tracked,
    (window, carried): ((i64, i64), Amount),
    (skipped, cause): (i64, &'static str),
    moment: &Moment<'_>,
    outcome: &mut Outcome,
) -> Begun {
    let standing = |it: &Tracked| (it.sheet.window.0, it.sheet.usage(), it.sheet.allowed.limits);
    let closed = standing(tracked);
    let fresh = tracked.sheet.like(window, carried);
    let mut sheet = std::mem::replace(&mut tracked.sheet, fresh);
    sheet.knows = Some(moment.seen_seq);
    // A window that is no whole period cannot be made up again.
    let is_told = cause == "period" && tracked.period.window_at(sheet.window.0) == sheet.window;
    if sheet.is_touched() || !is_told {
        tracked.closed.push(sheet);
    }
    let base = tracked.own_limit();
    tracked.pots.take_if(|it| !it.begin_window(base, window, carried));
    tracked.measure();
    let view = View { catalogue, who: &tracked.who, group: None, moment, before: carried };
    lines::pass_falling(&view, &mut tracked.sheet);
    if carried != 0 {
        settle(catalogue, tracked, Cause::Other("reset"), moment, outcome);
    }
    Begun { cause, skipped, closed, opened: standing(tracked) }
}

/// A window that closed without anything in it: with what was allowed when it ended, and the lines
/// that were known then.
///
/// The anchors of today: the world sends nothing late to whom an anchor may move, see
/// `World::on_time`.
pub(super) fn unused(
    catalogue: &Catalogue,
    tracked: &Tracked,
    time_ms: i64,
    moment: &Moment<'_>,
) -> Sheet {
    let (from_ms, to_ms) = tracked.period.window_at(time_ms);
    let end_ms = to_ms.min(tracked.sheet.window.0);
    let mut sheet = tracked.sheet.like((from_ms, end_ms), 0);
    let allowed = tracked.allowances.iter().rev().find(|it| it.0 < end_ms);
    if let Some((_, allowed)) = allowed {
        sheet.allowed = allowed.clone();
    }
    sheet.knows = Some(catalogue.known_at(end_ms));
    let view = View { catalogue, who: &tracked.who, group: None, moment, before: 0 };
    lines::pass_falling(&view, &mut sheet);
    sheet
}

/// Looks at every line, where usage has not moved.
fn settle(
    catalogue: &Catalogue,
    tracked: &mut Tracked,
    cause: Cause,
    moment: &Moment<'_>,
    outcome: &mut Outcome,
) {
    tracked.measure();
    let moment = Moment { cause, ..*moment };
    let (who, sheet) = (&tracked.who, &mut tracked.sheet);
    lines::settle_all(catalogue, who, sheet, &moment, &mut outcome.crossed);
}

/// One notification for each rule that tells of it, and one for the channels that take it directly
/// and that no such rule names.
fn tell(
    catalogue: &Catalogue,
    tracked: &Tracked,
    begun: &Begun,
    moment: &Moment<'_>,
    outcome: &mut Outcome,
) {
    let who = &tracked.who;
    let notice = |rule: Option<String>, is_disabled: bool, channels: Vec<String>| Expected {
        position: moment.position,
        rule,
        customer: who.customer.to_string(),
        entitlement: who.entitlement.to_string(),
        what: What::Reset {
            skipped: begun.skipped,
            closed_from_ms: begun.closed.0,
            closed_limits: begun.closed.2,
        },
        window_from_ms: begun.opened.0,
        edge: "",
        cause: begun.cause,
        reason: is_disabled.then_some("rule_disabled"),
        at_ms: moment.at_ms,
        before: begun.closed.1,
        usage: begun.opened.1,
        limits: begun.opened.2,
        channels: if is_disabled { Vec::new() } else { channels },
    };
    let rules = catalogue.rules.values().filter(|it| {
        it.tells_resets
            && it.scope.covers(who.feature, who.customer)
            && catalogue.has_feature(who.feature)
    });
    let mut direct = catalogue.takers.clone();
    for rule in rules {
        let channels: Vec<String> = rule.channels.iter().map(ToString::to_string).collect();
        direct.retain(|it| !channels.contains(it));
        outcome.begun.push(notice(Some(rule.id.to_string()), rule.is_disabled, channels));
    }
    if !direct.is_empty() {
        outcome.begun.push(notice(None, false, direct));
    }
}
