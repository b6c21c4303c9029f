//! The table of what fires when, once more and without a shortcut.
//!
//! Not here: counting (`model`).

use plimsoll_core::ids::LineId;

use super::{Amount, Catalogue, Expected, Moment, Tracked, UNIT, What, Who, sheet::Sheet};
use crate::log::{Allowed, Group, LineFact, LineFactKind, RuleFact};

/// On whose usage a line stands, which line, and which of its tiers.
pub type Level = (Option<Group>, LineId, Option<Amount>);

/// What has happened to a line in the present window.
#[derive(Debug, Clone, Copy)]
pub struct LineState {
    /// How often it was armed again.
    pub generation: u32,
    /// Whether it can fire.
    pub mark: Mark,
    /// How many multiples were passed, of a line on every multiple.
    pub passed: Amount,
}

const FRESH: LineState = LineState { generation: 0, mark: Mark::Armed, passed: 0 };

/// Whether a line can fire, and if not, why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// It can.
    Armed,
    /// It has fired.
    Fired,
    /// It was reached while its rule was disabled.
    Recorded,
    /// It counts as passed and never fired.
    Passed,
}

/// Since when a line is there and applies, and why.
#[derive(Debug, Clone, Copy)]
pub struct Origin {
    /// The change with which it entered its rule.
    pub entered: u64,
    /// The change since which it applies.
    pub since: u64,
    /// Why it does.
    pub because: &'static str,
}

/// Why a value came to be on the other side of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// An event.
    Usage,
    /// The limit.
    LimitChanged,
    /// The entitlement is new.
    EntitlementCreated,
    /// Something else about the rule.
    RuleChanged,
    /// A grant, or what was carried over.
    Other(&'static str),
    /// The line is new.
    Line(&'static str),
}

impl Cause {
    fn name(self) -> &'static str {
        match self {
            Self::Usage => "usage",
            Self::LimitChanged => "limit_changed",
            Self::EntitlementCreated => "entitlement_created",
            Self::RuleChanged => "rule_changed",
            Self::Other(name) | Self::Line(name) => name,
        }
    }
}

/// Where a line stands on usage.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    at: Amount,
    /// It is reached only above `at`: the limit is zero.
    is_strict: bool,
    rearm_below: Amount,
    /// The same in the line's own terms.
    level: Amount,
    /// The multiple, or the upper bound of the tier.
    step: Option<Amount>,
}

impl Place {
    /// Where a line stands; nowhere where it has no meaning. Multiples have no places.
    fn all(line: &LineFact, rule: &RuleFact, allowed: &Allowed) -> Vec<Self> {
        let share = |percent: Amount, whole: Amount| percent * whole / (100 * UNIT);
        let whole = allowed.limits.whole();
        let of_share = |whole: Amount| {
            let at = share(line.value, whole);
            let (is_strict, rearm_below) = (whole == 0, at - share(rule.hysteresis, whole));
            Self { at, is_strict, rearm_below, level: at, step: None }
        };
        let plain = |at: Amount| {
            let rearm_below = at - rule.hysteresis;
            Self { at, is_strict: false, rearm_below, level: line.value, step: None }
        };
        let falling = |whole: Amount| {
            let level = share(line.value, whole);
            let at = whole - level;
            let (is_strict, rearm_below) = (whole == 0, at - share(rule.hysteresis, whole));
            Self { at, is_strict, rearm_below, level, step: None }
        };
        let place = match line.kind {
            LineFactKind::Every => None,
            LineFactKind::UsageValue => Some(plain(line.value)),
            LineFactKind::BalanceValue => whole.map(|it| plain(it - line.value)),
            LineFactKind::BalancePercentage => whole.map(falling),
            LineFactKind::UsagePercentage => whole.map(of_share),
            LineFactKind::Limit => allowed.limits.hard.map(of_share),
            LineFactKind::SoftLimit => allowed.limits.soft.map(of_share),
            LineFactKind::TierLimit => {
                let mut begins = 0;
                let tiers = allowed.tiers.iter().map(|ends| {
                    // Never before the tier itself.
                    let at = share(line.value, *ends).max(begins);
                    begins = *ends;
                    let rearm_below = at - share(rule.hysteresis, *ends);
                    Self { at, is_strict: false, rearm_below, level: at, step: Some(*ends) }
                });
                return tiers.collect();
            }
        };
        place.into_iter().collect()
    }

    /// Whether usage is at or past the line.
    pub fn is_reached(&self, usage: Amount) -> bool {
        if self.is_strict { usage > self.at } else { usage >= self.at }
    }

    fn is_left(&self, usage: Amount) -> bool {
        if self.is_strict { usage <= self.at } else { usage < self.rearm_below }
    }
}

/// A line that applies to an entitlement.
#[derive(Debug, Clone, Copy)]
pub struct Standing<'a> {
    rule: &'a RuleFact,
    /// The line.
    pub line: &'a LineFact,
    /// Since when.
    pub origin: Origin,
}

impl Catalogue {
    pub(super) fn put_rule(&mut self, seq: u64, rule: &RuleFact) {
        let before = self.rules.insert(rule.id, rule.clone());
        let stays = |line: LineId| rule.lines.iter().any(|it| it.id == line);
        for line in before.iter().flat_map(|it| &it.lines).filter(|it| !stays(it.id)) {
            self.origins.remove(&line.id);
        }
        for line in &rule.lines {
            let known = self.origins.get(&line.id).copied();
            let because = match (&before, known) {
                (None, _) => "rule_created",
                (Some(_), None) => "line_added",
                (Some(it), Some(_)) if it.is_disabled && !rule.is_disabled => "rule_enabled",
                (Some(it), Some(_)) if it.scope != rule.scope => "scope_changed",
                _ => continue,
            };
            let entered = known.map_or(seq, |it| it.entered);
            self.origins.insert(line.id, Origin { entered, since: seq, because });
        }
        self.rules_seq = seq;
    }
}

/// One usage of an entitlement, and why its lines are looked at.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) catalogue: &'a Catalogue,
    pub(super) who: &'a Who,
    /// Of which group; of all usage, if of none.
    pub(super) group: Option<&'a Group>,
    pub(super) moment: &'a Moment<'a>,
    /// Usage before.
    pub(super) before: Amount,
}

impl<'a> View<'a> {
    /// The lines that apply, in the order of their rules.
    fn standing(&self, sheet: &Sheet) -> Vec<Standing<'a>> {
        let mut found = Vec::new();
        let (catalogue, who) = (self.catalogue, self.who);
        if !catalogue.has_feature(who.feature) {
            return found;
        }
        let rules = catalogue.rules.values();
        for rule in rules.filter(|it| it.scope.covers(who.feature, who.customer)) {
            for line in rule.lines.iter().filter(|it| it.is_on(self.group)) {
                let Some(origin) = catalogue.origins.get(&line.id) else { continue };
                // A closed window knows nothing of what came later.
                if sheet.knows.is_none_or(|it| origin.since <= it) {
                    found.push(Standing { rule, line, origin: *origin });
                }
            }
        }
        found
    }

    fn level(&self, line: LineId, step: Option<Amount>) -> Level {
        (self.group.cloned(), line, step)
    }

    fn state(&self, sheet: &Sheet, line: LineId, step: Option<Amount>) -> LineState {
        sheet.lines.get(&self.level(line, step)).copied().unwrap_or(FRESH)
    }
}

/// Forgets lines that are gone, and arms those that no longer cover the customer.
pub(super) fn leave(catalogue: &Catalogue, who: &Who, sheet: &mut Sheet) {
    sheet.lines.retain(|level, _| catalogue.origins.contains_key(&level.1));
    let has_feature = catalogue.has_feature(who.feature);
    for (level, state) in &mut sheet.lines {
        let covers = |it: &&RuleFact| {
            it.lines.iter().any(|it| it.id == level.1) && it.scope.covers(who.feature, who.customer)
        };
        if state.mark != Mark::Armed
            && !(has_feature && catalogue.rules.values().any(|it| covers(&it)))
        {
            *state = LineState { generation: state.generation + 1, ..FRESH };
        }
    }
}

/// A window has begun: a falling line at or above what it opens with counts as passed, if the
/// customer knew it (row 5). Nothing that falls stands on a group.
pub(super) fn pass_falling(view: &View<'_>, sheet: &mut Sheet) {
    let usage = sheet.usage();
    let seen_seq = view.moment.seen_seq;
    for Standing { rule, line, origin } in view.standing(sheet) {
        for place in Place::all(line, rule, &sheet.allowed) {
            if line.kind.falls() && origin.entered <= seen_seq && place.is_reached(usage) {
                let passed = LineState { mark: Mark::Passed, ..FRESH };
                sheet.lines.insert(view.level(line.id, place.step), passed);
            }
        }
    }
}

/// Sets what is allowed. A line that has no place any more is left, wherever the value is.
pub(super) fn allow(
    catalogue: &Catalogue,
    tracked: &mut Tracked,
    moment: &Moment<'_>,
    allowed: &Allowed,
    expected: &mut Vec<Expected>,
) {
    let before = tracked.sheet.allowed.clone();
    tracked.base = allowed.limits;
    tracked.sheet.allowed.tiers.clone_from(&allowed.tiers);
    if let Some(pots) = &mut tracked.pots {
        pots.change_limit(allowed.limits.whole().unwrap_or(0));
    }
    tracked.measure();
    let (who, sheet) = (&tracked.who, &mut tracked.sheet);
    let groups = sheet.groups();
    for group in [None].into_iter().chain(groups.iter().map(Some)) {
        let usage = sheet.usage_of(group);
        let view = View { catalogue, who, group, moment, before: usage };
        for it in view.standing(sheet) {
            let now = Place::all(it.line, it.rule, &sheet.allowed);
            let mut places = Place::all(it.line, it.rule, &before);
            places.retain(|it| now.iter().all(|now| now.step != it.step));
            for place in &places {
                arm_again(&view, sheet, &it, place, expected);
            }
        }
    }
    settle_all(catalogue, who, sheet, moment, expected);
}

/// Looks at every line on all usage and on each group, where usage has not moved.
pub(super) fn settle_all(
    catalogue: &Catalogue,
    who: &Who,
    sheet: &mut Sheet,
    moment: &Moment<'_>,
    expected: &mut Vec<Expected>,
) {
    let groups = sheet.groups();
    for group in [None].into_iter().chain(groups.iter().map(Some)) {
        let before = sheet.usage_of(group);
        settle(&View { catalogue, who, group, moment, before }, sheet, expected);
    }
}

/// Looks at every line: arms what was left, fires what is armed and reached.
pub(super) fn settle(view: &View<'_>, sheet: &mut Sheet, expected: &mut Vec<Expected>) {
    let usage = sheet.usage_of(view.group);
    let mut firing = Vec::new();
    for it in view.standing(sheet) {
        if it.line.kind == LineFactKind::Every {
            leave_multiples(view, sheet, &it, expected);
            firing.extend(come_to_multiples(view, sheet, it));
            continue;
        }
        for place in Place::all(it.line, it.rule, &sheet.allowed) {
            if place.is_left(usage) {
                arm_again(view, sheet, &it, &place, expected);
            } else if place.is_reached(usage) {
                let state = view.state(sheet, it.line.id, place.step);
                firing.extend(chance(it, place, state, view.moment));
            }
        }
    }
    firing.sort_by_key(|it| (it.place.at, it.standing.line.kind.is_share()));
    silence_all_but_the_furthest(&mut firing);
    for Firing { standing, place, state, cause, count, is_silent } in firing {
        let is_disabled = standing.rule.is_disabled;
        let mark = match (is_silent, is_disabled) {
            (true, _) => Mark::Passed,
            (false, true) => Mark::Recorded,
            (false, false) => Mark::Fired,
        };
        // Multiples are counted, they have no state of their own.
        let step = place.step.filter(|_| standing.line.kind == LineFactKind::TierLimit);
        sheet.lines.insert(view.level(standing.line.id, step), LineState { mark, ..state });
        if !is_silent {
            let reason = is_disabled.then_some("rule_disabled");
            let turn = Turn { edge: "crossed", cause, reason, count };
            expected.push(notice(view, sheet, &standing, &place, &turn));
        }
    }
}

/// A multiple of a line's value.
fn multiple(line: &LineFact, times: Amount) -> Place {
    let at = line.value * times;
    Place { at, is_strict: false, rearm_below: at, level: at, step: Some(at) }
}

/// Goes back to the multiples that usage is still past: those beyond are resolved as one.
fn leave_multiples(
    view: &View<'_>,
    sheet: &mut Sheet,
    standing: &Standing<'_>,
    expected: &mut Vec<Expected>,
) {
    let (line, usage) = (standing.line, sheet.usage_of(view.group));
    let was = view.state(sheet, line.id, None);
    // A multiple is left where usage is below it by more than the hysteresis.
    let is_left = |times: &Amount| usage < line.value * times - standing.rule.hysteresis;
    let left: Vec<Amount> = (1..=was.passed).filter(is_left).collect();
    let Some(first) = left.first() else { return };
    let (generation, passed) = (was.generation + 1, first - 1);
    let mark = if passed == 0 { Mark::Armed } else { was.mark };
    sheet.lines.insert(view.level(line.id, None), LineState { generation, mark, passed });
    if was.mark != Mark::Passed {
        let place = multiple(line, *first);
        let turn = Turn { count: left.len() as i64, ..resolved(standing, view) };
        expected.push(notice(view, sheet, standing, &place, &turn));
    }
}

/// All multiples that usage has newly come to, told as the last of them (row 3).
fn come_to_multiples<'a>(
    view: &View<'_>,
    sheet: &Sheet,
    standing: Standing<'a>,
) -> Option<Firing<'a>> {
    let (line, usage) = (standing.line, sheet.usage_of(view.group));
    let was = view.state(sheet, line.id, None);
    let reached = usage / line.value;
    if reached <= was.passed {
        return None;
    }
    let armed = LineState { mark: Mark::Armed, ..was };
    let firing = chance(standing, multiple(line, reached), armed, view.moment)?;
    let state = LineState { passed: reached, ..firing.state };
    Some(Firing { state, count: (reached - was.passed) as i64, ..firing })
}

struct Firing<'a> {
    standing: Standing<'a>,
    place: Place,
    /// How it stands then, but for its mark.
    state: LineState,
    cause: Cause,
    /// Multiples that it stands for.
    count: i64,
    is_silent: bool,
}

/// Whether a reached line may fire, as what, and whether it only counts as passed.
fn chance<'a>(
    standing: Standing<'a>,
    place: Place,
    state: LineState,
    moment: &Moment<'_>,
) -> Option<Firing<'a>> {
    let (generation, cause) = match state.mark {
        Mark::Armed if standing.origin.since > moment.seen_seq => {
            (state.generation, Cause::Line(standing.origin.because))
        }
        Mark::Armed => (state.generation, moment.cause),
        Mark::Recorded if !standing.rule.is_disabled => {
            (state.generation + 1, Cause::Line("rule_enabled"))
        }
        Mark::Recorded | Mark::Fired | Mark::Passed => return None,
    };
    let begins = matches!(cause, Cause::Line(_) | Cause::EntitlementCreated);
    let is_silent = begins && !standing.rule.evaluates_on_create;
    let state = LineState { generation, ..state };
    Some(Firing { standing, place, state, cause, count: 1, is_silent })
}

/// Of a rule that wants only the furthest, the last one in each direction is left. Multiples have
/// no part in it.
fn silence_all_but_the_furthest(firing: &mut [Firing<'_>]) {
    let takes_part = |it: &Firing<'_>| it.standing.line.kind != LineFactKind::Every;
    for index in 0..firing.len() {
        let it = &firing[index];
        let (rule, falls) = (it.standing.rule.id, it.standing.line.kind.falls());
        let is_outdone = firing[index + 1..].iter().any(|later| {
            !later.is_silent
                && takes_part(later)
                && later.standing.rule.id == rule
                && later.standing.line.kind.falls() == falls
        });
        let is_silent = it.standing.rule.only_furthest && takes_part(it) && is_outdone;
        firing[index].is_silent |= is_silent;
    }
}

fn arm_again(
    view: &View<'_>,
    sheet: &mut Sheet,
    standing: &Standing<'_>,
    place: &Place,
    expected: &mut Vec<Expected>,
) {
    let Some(state) = sheet.lines.get_mut(&view.level(standing.line.id, place.step)) else {
        return;
    };
    let was = state.mark;
    if was == Mark::Armed {
        return;
    }
    *state = LineState { generation: state.generation + 1, ..FRESH };
    if was != Mark::Passed {
        let turn = resolved(standing, view);
        expected.push(notice(view, sheet, standing, place, &turn));
    }
}

/// What happens to a line at once.
struct Turn {
    edge: &'static str,
    cause: Cause,
    /// Why it is not sent.
    reason: Option<&'static str>,
    count: i64,
}

fn resolved(standing: &Standing<'_>, view: &View<'_>) -> Turn {
    let reason = match (standing.rule.is_disabled, standing.rule.sends_resolved) {
        (true, _) => Some("rule_disabled"),
        (false, false) => Some("resolved_not_wanted"),
        (false, true) => None,
    };
    Turn { edge: "resolved", cause: view.moment.cause, reason, count: 1 }
}

fn notice(
    view: &View<'_>,
    sheet: &Sheet,
    standing: &Standing<'_>,
    place: &Place,
    turn: &Turn,
) -> Expected {
    let (moment, line) = (view.moment, standing.line);
    Expected {
        position: moment.position,
        rule: Some(standing.rule.id.to_string()),
        customer: view.who.customer.to_string(),
        entitlement: view.who.entitlement.to_string(),
        what: What::Line {
            kind: line.kind.name(),
            value: line.value,
            level: place.level,
            step: place.step,
            count: (line.kind == LineFactKind::Every).then_some(turn.count),
            group: view.group.cloned(),
            event: moment.event.map(str::to_owned),
            is_late: sheet.knows.is_some(),
        },
        window_from_ms: sheet.window.0,
        edge: turn.edge,
        cause: turn.cause.name(),
        reason: turn.reason,
        at_ms: moment.at_ms,
        before: view.before,
        usage: sheet.usage_of(view.group),
        limits: sheet.allowed.limits,
        channels: match turn.reason {
            None => standing.rule.channels.iter().map(ToString::to_string).collect(),
            Some(_) => Vec::new(),
        },
    }
}
