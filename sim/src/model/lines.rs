//! The table of what fires when, once more and without a shortcut.
//!
//! Not here: counting (`model`).

use plimsoll_core::ids::LineId;

use super::{Amount, Catalogue, Expected, Moment, Tracked, UNIT, What, Who, sheet::Sheet};
use crate::log::{LineFact, LineFactKind, RuleFact};

/// What has happened to a line in the present window.
#[derive(Debug, Clone, Copy)]
pub struct LineState {
    /// How often it was armed again.
    pub generation: u32,
    /// Whether it can fire.
    pub mark: Mark,
}

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
}

impl Place {
    /// Where a line stands; nowhere where it has no meaning.
    fn of(line: &LineFact, rule: &RuleFact, limit: Option<Amount>) -> Option<Self> {
        let share = |percent: Amount, limit: Amount| percent * limit / (100 * UNIT);
        let (at, slack, is_strict) = match line.kind {
            LineFactKind::UsageValue => (line.value, rule.hysteresis, false),
            LineFactKind::BalanceValue => (limit? - line.value, rule.hysteresis, false),
            LineFactKind::BalancePercentage => {
                let limit = limit?;
                let at = limit - share(line.value, limit);
                (at, share(rule.hysteresis, limit), limit == 0)
            }
            LineFactKind::UsagePercentage | LineFactKind::Limit => {
                let limit = limit?;
                (share(line.value, limit), share(rule.hysteresis, limit), limit == 0)
            }
        };
        Some(Self { at, is_strict, rearm_below: at - slack })
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
#[derive(Debug)]
pub struct Standing<'a> {
    rule: &'a RuleFact,
    /// The line.
    pub line: &'a LineFact,
    /// Where it stands.
    pub place: Place,
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

/// The lines that apply to an entitlement, in the order of their rules.
pub(super) fn standing<'a>(
    catalogue: &'a Catalogue,
    who: &Who,
    sheet: &Sheet,
) -> Vec<Standing<'a>> {
    let mut found = Vec::new();
    if !catalogue.has_feature(who.feature) {
        return found;
    }
    let rules = catalogue.rules.values();
    for rule in rules.filter(|it| it.scope.covers(who.feature, who.customer)) {
        for line in &rule.lines {
            let Some(origin) = catalogue.origins.get(&line.id) else { continue };
            // A closed window knows nothing of what came later.
            if sheet.knows.is_some_and(|it| origin.since > it) {
                continue;
            }
            if let Some(place) = Place::of(line, rule, sheet.limit) {
                found.push(Standing { rule, line, place, origin: *origin });
            }
        }
    }
    found
}

/// Forgets lines that are gone, and arms those that no longer cover the customer.
pub(super) fn leave(catalogue: &Catalogue, who: &Who, sheet: &mut Sheet) {
    sheet.lines.retain(|line, _| catalogue.origins.contains_key(line));
    let has_feature = catalogue.has_feature(who.feature);
    for (line, state) in &mut sheet.lines {
        let covers = |it: &&RuleFact| {
            it.lines.iter().any(|it| it.id == *line) && it.scope.covers(who.feature, who.customer)
        };
        if state.mark != Mark::Armed
            && !(has_feature && catalogue.rules.values().any(|it| covers(&it)))
        {
            *state = LineState { generation: state.generation + 1, mark: Mark::Armed };
        }
    }
}

/// Sets the limit. A line that has no place any more is left, wherever the value is.
pub(super) fn change_limit(
    catalogue: &Catalogue,
    tracked: &mut Tracked,
    moment: &Moment<'_>,
    limit: Option<Amount>,
    expected: &mut Vec<Expected>,
) {
    let before = standing(catalogue, &tracked.who, &tracked.sheet);
    tracked.base = limit;
    if let Some(pots) = &mut tracked.pots {
        pots.change_limit(limit.unwrap_or(0));
    }
    tracked.measure();
    let (who, sheet) = (&tracked.who, &mut tracked.sheet);
    let usage = sheet.usage();
    let limit = sheet.limit;
    for it in before.iter().filter(|it| Place::of(it.line, it.rule, limit).is_none()) {
        arm_again(who, sheet, it, moment, usage, expected);
    }
    settle(catalogue, who, sheet, moment, usage, expected);
}

/// Looks at every line: arms what was left, fires what is armed and reached.
pub(super) fn settle(
    catalogue: &Catalogue,
    who: &Who,
    sheet: &mut Sheet,
    moment: &Moment<'_>,
    before: Amount,
    expected: &mut Vec<Expected>,
) {
    let usage = sheet.usage();
    let mut firing = Vec::new();
    for it in standing(catalogue, who, sheet) {
        if it.place.is_left(usage) {
            arm_again(who, sheet, &it, moment, before, expected);
        } else if it.place.is_reached(usage) {
            firing.extend(chance(sheet, it, moment));
        }
    }
    firing.sort_by_key(|it| (it.standing.place.at, it.standing.line.kind.is_share()));
    silence_all_but_the_furthest(&mut firing);
    for Firing { standing, generation, cause, is_silent } in firing {
        let is_disabled = standing.rule.is_disabled;
        let mark = match (is_silent, is_disabled) {
            (true, _) => Mark::Passed,
            (false, true) => Mark::Recorded,
            (false, false) => Mark::Fired,
        };
        sheet.lines.insert(standing.line.id, LineState { generation, mark });
        if !is_silent {
            let reason = is_disabled.then_some("rule_disabled");
            let what = ("crossed", cause, reason);
            expected.push(notice(who, sheet, &standing, moment, before, what));
        }
    }
}

struct Firing<'a> {
    standing: Standing<'a>,
    generation: u32,
    cause: Cause,
    is_silent: bool,
}

/// Whether a reached line may fire, as what, and whether it only counts as passed.
fn chance<'a>(sheet: &Sheet, standing: Standing<'a>, moment: &Moment<'_>) -> Option<Firing<'a>> {
    let fresh = LineState { generation: 0, mark: Mark::Armed };
    let state = sheet.lines.get(&standing.line.id).copied().unwrap_or(fresh);
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
    Some(Firing { standing, generation, cause, is_silent })
}

/// Of a rule that wants only the furthest, the last one in each direction is left.
fn silence_all_but_the_furthest(firing: &mut [Firing<'_>]) {
    for index in 0..firing.len() {
        let it = &firing[index];
        let (rule, falls) = (it.standing.rule.id, it.standing.line.kind.falls());
        let is_outdone = firing[index + 1..].iter().any(|later| {
            !later.is_silent
                && later.standing.rule.id == rule
                && later.standing.line.kind.falls() == falls
        });
        let is_silent = it.standing.rule.only_furthest && is_outdone;
        firing[index].is_silent |= is_silent;
    }
}

fn arm_again(
    who: &Who,
    sheet: &mut Sheet,
    standing: &Standing<'_>,
    moment: &Moment<'_>,
    before: Amount,
    expected: &mut Vec<Expected>,
) {
    let Some(state) = sheet.lines.get_mut(&standing.line.id) else { return };
    let was = state.mark;
    if was == Mark::Armed {
        return;
    }
    *state = LineState { generation: state.generation + 1, mark: Mark::Armed };
    if was == Mark::Passed {
        return;
    }
    let reason = match (standing.rule.is_disabled, standing.rule.sends_resolved) {
        (true, _) => Some("rule_disabled"),
        (false, false) => Some("resolved_not_wanted"),
        (false, true) => None,
    };
    let what = ("resolved", moment.cause, reason);
    expected.push(notice(who, sheet, standing, moment, before, what));
}

/// The edge, why it came about, and why it is not sent.
type Turn = (&'static str, Cause, Option<&'static str>);

fn notice(
    who: &Who,
    sheet: &Sheet,
    standing: &Standing<'_>,
    moment: &Moment<'_>,
    before: Amount,
    (edge, cause, reason): Turn,
) -> Expected {
    Expected {
        position: moment.position,
        rule: Some(standing.rule.id.to_string()),
        customer: who.customer.to_string(),
        entitlement: who.entitlement.to_string(),
        what: What::Line {
            kind: standing.line.kind.name(),
            value: standing.line.value,
            event: moment.event.map(str::to_owned),
            is_late: sheet.knows.is_some(),
        },
        window_from_ms: sheet.window.0,
        edge,
        cause: cause.name(),
        reason,
        at_ms: moment.at_ms,
        before,
        usage: sheet.usage(),
        limit: sheet.limit,
        channels: match reason {
            None => standing.rule.channels.iter().map(ToString::to_string).collect(),
            Some(_) => Vec::new(),
        },
    }
}
