//! What lines do along the curve of a window, read off from its first point to its last.
//!
//! A line is looked at in its own terms: a percentage as a percentage, a balance as a balance.
//!
//! Not here: how the curve comes about (`full_model`).

use std::collections::BTreeMap;

use super::full_model::{Measure, halves};
use crate::{
    ids::{EntitlementId, LineId},
    line::{
        Line, LineKind,
        crossing::{Cause, Edge, Identity, Suppression},
    },
    quantity::Quantity,
    rule::{Rule, WhenSeveral},
    time::Timestamp,
};

/// A group-by key, by its place, and a value of it.
pub(super) type GroupOf = (usize, &'static str);

/// A point of a curve: someone or something moved usage, or what it is measured against.
#[derive(Debug, Clone)]
pub(super) struct Sample {
    /// Its place among all points of the entitlement.
    pub(super) number: usize,
    pub(super) row: usize,
    pub(super) at: Timestamp,
    pub(super) event: Option<u32>,
    pub(super) cause: Cause,
    pub(super) late: bool,
    pub(super) part: Part,
    /// Usage before and after.
    pub(super) usage: (i64, i64),
    pub(super) measure: Measure,
}

/// What moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// A window opened.
    Opening,
    /// All usage; with what it is measured against, that of each group too.
    Whole,
    /// The usage of one group.
    Group(GroupOf),
}

/// A crossing, as far as model and core must agree on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) number: usize,
    pub(super) row: usize,
    pub(super) identity: Identity,
    pub(super) cause: Cause,
    pub(super) count: u64,
    pub(super) late: bool,
    pub(super) usage: (i64, i64),
    pub(super) whole: Option<i64>,
    pub(super) at: Timestamp,
    pub(super) event: Option<u32>,
    pub(super) suppression: Option<Suppression>,
}

/// Points in the order in which they came about.
#[derive(Debug, Clone, Default)]
pub(super) struct Curve(pub(super) Vec<Sample>);

/// What a line has done so far.
#[derive(Debug, Clone, Copy, Default)]
struct Mark {
    generation: u32,
    is_past: bool,
    /// Whether anybody was told that it is past.
    silent: bool,
    multiples: i64,
}

type Marks = BTreeMap<(Option<GroupOf>, LineId, Option<i64>), Mark>;

/// One look at the lines of one part of usage.
struct Look<'a> {
    entitlement: EntitlementId,
    window_from: Timestamp,
    sample: &'a Sample,
    group: Option<GroupOf>,
    usage: (i64, i64),
}

/// A line that has come to be past.
struct Found<'a> {
    rule: &'a Rule,
    line: &'a Line,
    step: Option<i64>,
    count: u64,
    /// Usage at which it is reached, in half hundredths.
    level: i64,
    silent: bool,
}

/// What happened to a line, as far as it is not the same for the whole look.
struct Happened<'a> {
    rule: &'a Rule,
    line: &'a Line,
    step: Option<i64>,
    count: u64,
    generation: u32,
    edge: Edge,
}

impl Curve {
    /// What the lines of these rules did.
    pub(super) fn read(
        &self,
        rules: &[&Rule],
        entitlement: EntitlementId,
        window_from: Timestamp,
    ) -> Vec<Told> {
        self.walk(rules, entitlement, window_from).0
    }

    /// Whether any line is not as a new window finds it.
    pub(super) fn is_marked(&self, rules: &[&Rule]) -> bool {
        !self.walk(rules, EntitlementId::from_parts(0, 0), Timestamp::MIN).1.is_empty()
    }

    fn walk(
        &self,
        rules: &[&Rule],
        entitlement: EntitlementId,
        window_from: Timestamp,
    ) -> (Vec<Told>, Marks) {
        let (mut told, mut marks) = (Vec::new(), Marks::new());
        let mut groups: BTreeMap<GroupOf, i64> = BTreeMap::new();
        for sample in &self.0 {
            let look = |group, usage| Look { entitlement, window_from, sample, group, usage };
            match sample.part {
                Part::Opening => look(None, sample.usage).open(rules, &mut marks),
                Part::Group(group) => {
                    if groups.insert(group, sample.usage.1).is_none() {
                        look(Some(group), (0, 0)).open(rules, &mut marks);
                    }
                    look(Some(group), sample.usage).settle(rules, &mut marks, &mut told);
                }
                Part::Whole => {
                    let each = groups.iter().map(|(group, it)| (Some(*group), (*it, *it)));
                    let all = [(None, sample.usage)].into_iter().chain(each);
                    let all: Vec<_> = all.collect();
                    if sample.cause == Cause::LimitChanged {
                        for (group, usage) in &all {
                            look(*group, *usage).leave(rules, &mut marks, &mut told);
                        }
                    }
                    for (group, usage) in &all {
                        look(*group, *usage).settle(rules, &mut marks, &mut told);
                    }
                }
            }
        }
        (told, marks)
    }
}

impl Look<'_> {
    fn lines<'r>(&self, rules: &[&'r Rule]) -> Vec<(&'r Rule, &'r Line)> {
        let all = rules.iter().flat_map(|rule| rule.lines.iter().map(|it| (*rule, it)));
        let own = all.filter(|(_, line)| match (&line.group, self.group) {
            (None, None) => true,
            (Some(it), Some((key, value))) => {
                *it.key == *["model", "region"][key]
                    && it.value.as_deref().is_none_or(|it| it == value)
            }
            _ => false,
        });
        own.collect()
    }

    /// A falling line that is past what a window opens with has been passed.
    fn open(&self, rules: &[&Rule], marks: &mut Marks) {
        for (_, line) in self.lines(rules).into_iter().filter(|(_, it)| falls(it.kind)) {
            let level = Level { line, measure: &self.sample.measure, tier: None };
            if level.is_reached(self.usage.1) == Some(true) {
                let mark = Mark { is_past: true, silent: true, ..Mark::default() };
                marks.insert((self.group, line.id, None), mark);
            }
        }
    }

    /// Without a limit, or without the tier, a line cannot be past.
    fn leave(&self, rules: &[&Rule], marks: &mut Marks, told: &mut Vec<Told>) {
        for (rule, line) in self.lines(rules) {
            let tiers = tiers_of(line, &self.sample.measure);
            let own = (self.group, line.id, None)..=(self.group, line.id, Some(i64::MAX));
            for ((.., step), mark) in marks.range_mut(own).filter(|(_, it)| it.is_past) {
                let tier = tiers.iter().find(|it| it.map(|it| it.1) == *step);
                let level = tier.map(|it| Level { line, measure: &self.sample.measure, tier: *it });
                let means = level.and_then(|it| it.is_reached(self.usage.1)).is_some();
                if means || line.kind == LineKind::Every {
                    continue;
                }
                let (generation, edge, step) = (mark.generation, Edge::Resolved, *step);
                if !mark.silent {
                    let what = Happened { rule, line, step, count: 1, generation, edge };
                    told.push(self.told(&what));
                }
                *mark = Mark { generation: generation + 1, ..Mark::default() };
            }
        }
    }

    fn settle(&self, rules: &[&Rule], marks: &mut Marks, told: &mut Vec<Told>) {
        let mut found = Vec::new();
        for (rule, line) in self.lines(rules) {
            if line.kind == LineKind::Every {
                found.extend(self.multiples(rule, line, marks, told));
                continue;
            }
            for tier in tiers_of(line, &self.sample.measure) {
                let level = Level { line, measure: &self.sample.measure, tier };
                let step = tier.map(|it| it.1);
                let mark = marks.get(&(self.group, line.id, step)).copied().unwrap_or_default();
                if mark.is_past && level.is_left(self.usage.1, rule.hysteresis) == Some(true) {
                    let generation = mark.generation;
                    let mark = Mark { generation: generation + 1, ..Mark::default() };
                    let was = marks.insert((self.group, line.id, step), mark);
                    if was.is_some_and(|it| !it.silent) {
                        let edge = Edge::Resolved;
                        let what = Happened { rule, line, step, count: 1, generation, edge };
                        told.push(self.told(&what));
                    }
                } else if !mark.is_past && level.is_reached(self.usage.1) == Some(true) {
                    let (count, level) = (1, level.at());
                    found.push(Found { rule, line, step, count, level, silent: false });
                }
            }
        }
        self.fire(found, marks, told);
    }

    /// Ascending; of those that a rule told to name the furthest only, the rest are passed.
    fn fire(&self, mut found: Vec<Found<'_>>, marks: &mut Marks, told: &mut Vec<Told>) {
        let begins = self.sample.cause == Cause::EntitlementCreated;
        for it in &mut found {
            it.silent = begins && !it.rule.evaluate_on_create;
        }
        found.sort_by_key(|it| {
            let is_plain = matches!(
                it.line.kind,
                LineKind::UsageValue | LineKind::BalanceValue | LineKind::Every
            );
            (it.level, !is_plain)
        });
        for index in 0..found.len() {
            let it = &found[index];
            let beaten = found[index + 1..].iter().any(|other| {
                other.rule.id == it.rule.id
                    && other.line.kind != LineKind::Every
                    && falls(other.line.kind) == falls(it.line.kind)
            });
            let is_several =
                it.rule.when_several == WhenSeveral::Highest && it.line.kind != LineKind::Every;
            let silent = it.silent || is_several && beaten;
            let Found { rule, line, step, count, .. } = *it;
            let key = if line.kind == LineKind::Every { None } else { step };
            let mark = marks.entry((self.group, line.id, key)).or_default();
            (mark.is_past, mark.silent) = (true, silent);
            mark.multiples += if line.kind == LineKind::Every { count as i64 } else { 0 };
            let (generation, edge) = (mark.generation, Edge::Crossed);
            if !silent {
                let what = Happened { rule, line, step, count, generation, edge };
                told.push(self.told(&what));
            }
        }
    }

    /// A line on each multiple: those that are left, together, then those that are new, together.
    fn multiples<'r>(
        &self,
        rule: &'r Rule,
        line: &'r Line,
        marks: &mut Marks,
        told: &mut Vec<Told>,
    ) -> Option<Found<'r>> {
        let (every, usage) = (halves(line.value), self.usage.1);
        let known = marks.get(&(self.group, line.id, None)).copied().unwrap_or_default();
        let is_left = |it: &i64| usage + halves(rule.hysteresis) < it * every;
        let left = (1..=known.multiples).filter(is_left).count() as i64;
        if left > 0 {
            let mark = marks.get_mut(&(self.group, line.id, None)).unwrap();
            mark.multiples -= left;
            mark.generation += 1;
            mark.is_past = mark.multiples > 0;
            if !known.silent {
                let step = Some((mark.multiples + 1) * every);
                let (count, generation, edge) = (left as u64, known.generation, Edge::Resolved);
                told.push(self.told(&Happened { rule, line, step, count, generation, edge }));
            }
        }
        let passed = known.multiples - left;
        let reached = (1..=usage).take_while(|it| it * every <= usage).count() as i64;
        (reached > passed).then(|| {
            let (step, count) = (Some(reached * every), (reached - passed) as u64);
            Found { rule, line, step, count, level: 100 * reached * every, silent: false }
        })
    }

    fn told(&self, what: &Happened<'_>) -> Told {
        let Happened { rule, line, step, count, generation, edge } = *what;
        let unwanted = edge == Edge::Resolved && !rule.sends_resolved;
        let (sample, measure) = (self.sample, &self.sample.measure);
        Told {
            number: sample.number,
            row: sample.row,
            identity: Identity {
                rule: rule.id,
                line: line.id,
                entitlement: self.entitlement,
                group: self.group.map(|(_, value)| value.into()),
                window_from: self.window_from,
                step: step.map(|it| Quantity::from_parts(i128::from(it) * 5, 1).unwrap()),
                generation,
                edge,
            },
            cause: sample.cause,
            count,
            late: sample.late,
            usage: self.usage,
            whole: measure.hard.or(measure.soft),
            at: sample.at,
            event: sample.event,
            suppression: unwanted.then_some(Suppression::ResolvedNotWanted),
        }
    }
}

/// Where a line stands: for a line on tiers, on which.
struct Level<'a> {
    line: &'a Line,
    measure: &'a Measure,
    tier: Option<(i64, i64)>,
}

impl Level<'_> {
    /// What the line is a share of, or what the balance is of.
    fn whole(&self) -> Option<i64> {
        match self.line.kind {
            LineKind::Limit => self.measure.hard,
            LineKind::SoftLimit => self.measure.soft,
            _ => self.measure.hard.or(self.measure.soft),
        }
    }

    /// Whether the value is at or past the line; nothing where the line has no meaning.
    fn is_reached(&self, usage: i64) -> Option<bool> {
        let value = halves(self.line.value);
        Some(match self.line.kind {
            LineKind::UsageValue => usage >= value,
            LineKind::BalanceValue => self.whole()? - usage <= value,
            LineKind::TierLimit => {
                let (from, to) = self.tier?;
                usage >= from && 200 * usage >= value * to
            }
            LineKind::UsagePercentage | LineKind::Limit | LineKind::SoftLimit => {
                let whole = self.whole()?;
                if whole == 0 { usage > 0 } else { 200 * usage >= value * whole }
            }
            LineKind::BalancePercentage => {
                let whole = self.whole()?;
                if whole == 0 { usage > 0 } else { 200 * (whole - usage) <= value * whole }
            }
            LineKind::Every => return None,
        })
    }

    /// Whether the value is on the near side of the line by more than the hysteresis.
    fn is_left(&self, usage: i64, hysteresis: Quantity) -> Option<bool> {
        let (value, slack) = (halves(self.line.value), halves(hysteresis));
        Some(match self.line.kind {
            LineKind::UsageValue => usage + slack < value,
            LineKind::BalanceValue => self.whole()? - usage - slack > value,
            LineKind::TierLimit => {
                let (from, to) = self.tier?;
                200 * usage + slack * to < (200 * from).max(value * to)
            }
            LineKind::UsagePercentage | LineKind::Limit | LineKind::SoftLimit => {
                let whole = self.whole()?;
                if whole == 0 { usage == 0 } else { 200 * usage < (value - slack) * whole }
            }
            LineKind::BalancePercentage => {
                let whole = self.whole()?;
                let left = 200 * (whole - usage);
                if whole == 0 { usage == 0 } else { left > (value + slack) * whole }
            }
            LineKind::Every => return None,
        })
    }

    /// Usage at which the line is reached, in two-hundredths of a unit.
    fn at(&self) -> i64 {
        let (value, whole) = (halves(self.line.value), self.whole().unwrap_or(0));
        let share = value * whole / 2;
        match (self.line.kind, self.tier) {
            (LineKind::UsageValue, _) => 100 * value,
            (LineKind::BalanceValue, _) => 100 * (whole - value),
            (LineKind::BalancePercentage, _) => 100 * whole - share,
            (LineKind::TierLimit, Some((from, to))) => (100 * from).max(value * to / 2),
            _ => share,
        }
    }
}

/// The tiers that a line stands on; for other lines, the one place that they have.
fn tiers_of(line: &Line, measure: &Measure) -> Vec<Option<(i64, i64)>> {
    if line.kind != LineKind::TierLimit {
        return vec![None];
    }
    let lower = [0].into_iter().chain(measure.tiers.iter().copied());
    lower.zip(measure.tiers.iter().copied()).map(Some).collect()
}

fn falls(kind: LineKind) -> bool {
    matches!(kind, LineKind::BalanceValue | LineKind::BalancePercentage)
}
