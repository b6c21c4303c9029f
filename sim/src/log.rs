//! Reads the rows of a log as facts that the naive model understands.
//!
//! This is the only place of the model that knows the product's own types. A kind of row, line or
//! aggregation that is not known here is an error, so that nothing new goes unchecked.
//!
//! Not here: what a fact means (`model`).

use std::ops::Range;

use plimsoll_core::{
    catalog::{
        feature::FeatureKind,
        meter::{Aggregation, Meter, ValuePath},
    },
    command::{Command, ControlCommand, CustomerCommand, RowKind},
    entitlement::{
        Entitlement, EntitlementKind, LIMIT_PRIORITY, grant::Grant, period::Interval,
        period::UsagePeriod, source,
    },
    ids::{ChannelId, CustomerId, EntitlementId, FeatureId, GrantId, LineId, MeterId, RuleId},
    line::{Line, LineKind},
    quantity::Quantity,
    rule::{Rule, RuleKind, WhenSeveral},
    time::Timestamp,
};
use plimsoll_engine::partition::usage_row;
use plimsoll_store::log::LogRow;
use serde_json::Value;

use crate::{
    model::{Amount, UNIT},
    period::{Length, Period},
};

/// One row.
#[derive(Debug)]
pub struct Logged {
    /// Its place in its partition.
    pub position: i64,
    /// What it says.
    pub fact: Fact,
}

/// What a row says.
#[derive(Debug)]
pub enum Fact {
    /// A meter was made.
    Meter(MeterId, MeterFact),
    /// A meter was deleted.
    MeterGone(MeterId),
    /// A feature was made or changed; with its meter, if it is metered.
    Feature(FeatureId, Option<MeterId>),
    /// A feature was deleted.
    FeatureGone(FeatureId),
    /// A rule was made or changed, by this change of the catalogue.
    Rule { seq: u64, rule: RuleFact },
    /// A rule was deleted.
    RuleGone { seq: u64, rule: RuleId },
    /// The clock of the environment was set.
    Clock { now_ms: i64 },
    /// A customer was made.
    CustomerMade { customer: CustomerId, at_ms: i64 },
    /// A customer was deleted.
    CustomerGone { customer: CustomerId, at_ms: i64 },
    /// An entitlement was made, or its limit changed.
    Entitled { customer: CustomerId, at_ms: i64, entitlement: EntitlementFact },
    /// An entitlement was deleted.
    Unentitled { customer: CustomerId, at_ms: i64, entitlement: EntitlementId },
    /// A grant was put into an entitlement.
    Granted { customer: CustomerId, at_ms: i64, entitlement: EntitlementId, grant: GrantFact },
    /// Something happens to an entitlement, now or at a later time.
    Changed {
        customer: CustomerId,
        at_ms: i64,
        entitlement: EntitlementId,
        due_ms: i64,
        change: ChangeFact,
    },
    /// The customers in these places are looked at, if rules have changed.
    Sweep { at_ms: i64, slots: Range<u32> },
    /// The customers in these places are looked at.
    Pulse { at_ms: i64, slots: Vec<u32> },
    /// Events were accepted.
    Usage { at_ms: i64, events: Vec<UsageFact> },
}

/// How events become a number.
#[derive(Debug, Clone)]
pub struct MeterFact {
    /// Which events.
    pub event_type: String,
    /// What becomes of their values.
    pub counts: Counts,
    /// The members to follow to the value.
    path: Vec<String>,
    /// By what usage is told apart: a name, and the members to follow to the value.
    keys: Vec<(String, Vec<String>)>,
}

/// One key by which usage is told apart, and one of its values.
pub type Group = (String, String);

/// How values are put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counts {
    /// How many events there are.
    Events,
    /// The sum of the values.
    Sum,
    /// The greatest value.
    Greatest,
    /// How many different values there are.
    Different,
}

/// What an event brings to a meter.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reading {
    /// A number.
    Number(Amount),
    /// A value that is told apart from others by its text.
    Text(String),
}

/// A grant.
#[derive(Debug, Clone)]
pub struct GrantFact {
    /// Its id.
    pub id: GrantId,
    /// How much.
    pub amount: Amount,
    /// Lower burns first.
    pub priority: u8,
    /// From when on.
    pub from_ms: i64,
    /// Up to when.
    pub to_ms: Option<i64>,
    /// When it is set back to its amount.
    pub recurs: Option<Period>,
    /// What a reset leaves at least, and at most.
    pub rollover: (Amount, Amount),
}

/// What happens to an entitlement at a moment.
#[derive(Debug, Clone)]
pub enum ChangeFact {
    /// What is left of a grant ends.
    Void(GrantId),
    /// Usage starts again.
    Reset(ResetFact),
    /// It allows something else.
    Allow(Allowed),
}

/// Usage starts again before its period is over.
#[derive(Debug, Clone, Copy)]
pub struct ResetFact {
    /// Whether what was beyond the limit is carried over, if that is said.
    pub preserves: Option<bool>,
    /// The moment at which periods begin from now on, if that moves.
    pub anchor_ms: Option<i64>,
}

/// What an entitlement allows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Allowed {
    /// The limits.
    pub limits: Limits,
    /// The finite upper bounds of its tiers, ascending.
    pub tiers: Vec<Amount>,
}

/// What usage is limited to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// How much may be used, if there is a limit.
    pub hard: Option<Amount>,
    /// From when on somebody is told, if there is such a limit.
    pub soft: Option<Amount>,
}

impl Limits {
    /// What shares and balances are of.
    pub fn whole(&self) -> Option<Amount> {
        self.hard.or(self.soft)
    }
}

/// A rule.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "a rule has that many switches")]
pub struct RuleFact {
    /// Its id.
    pub id: RuleId,
    /// Whom and what it covers.
    pub scope: Scope,
    /// Its lines.
    pub lines: Vec<LineFact>,
    /// Where it sends to.
    pub channels: Vec<ChannelId>,
    /// Of several lines only the furthest fires.
    pub only_furthest: bool,
    /// Whether it sends that a line was left.
    pub sends_resolved: bool,
    /// How far below its level a line is armed again.
    pub hysteresis: Amount,
    /// Whether a line that is reached when it begins to apply fires.
    pub evaluates_on_create: bool,
    /// Whether it only records.
    pub is_disabled: bool,
    /// Whether it tells of resets.
    pub tells_resets: bool,
}

/// Whom and what a rule covers; an empty list is everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    features: Vec<FeatureId>,
    customers: Vec<CustomerId>,
}

impl Scope {
    /// Whether an entitlement of this customer to this feature is covered.
    pub fn covers(&self, feature: FeatureId, customer: CustomerId) -> bool {
        (self.features.is_empty() || self.features.contains(&feature))
            && (self.customers.is_empty() || self.customers.contains(&customer))
    }
}

/// A line.
#[derive(Debug, Clone)]
pub struct LineFact {
    /// Its id.
    pub id: LineId,
    /// What it is drawn on.
    pub kind: LineFactKind,
    /// The level: percent, or units.
    pub value: Amount,
    /// Usage by which key it is drawn on, and of which value if not of each; else all usage.
    pub group: Option<(String, Option<String>)>,
}

impl LineFact {
    /// Whether it is drawn on the usage of this group, or on all usage.
    pub fn is_on(&self, group: Option<&Group>) -> bool {
        match (&self.group, group) {
            (None, None) => true,
            (Some((key, value)), Some(group)) => {
                *key == group.0 && value.as_ref().is_none_or(|it| *it == group.1)
            }
            _ => false,
        }
    }
}

/// What a line is drawn on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineFactKind {
    /// Usage in percent of the limit.
    UsagePercentage,
    /// Usage.
    UsageValue,
    /// What is left of the limit.
    BalanceValue,
    /// What is left, in percent of the limit.
    BalancePercentage,
    /// Each multiple of the value, on usage.
    Every,
    /// Usage in percent of the hard limit, of the typed rules.
    Limit,
    /// Usage in percent of the soft limit, of the typed rules.
    SoftLimit,
    /// Usage in percent of the upper bound of each tier, of the typed rules.
    TierLimit,
}

impl LineFactKind {
    /// The name in notifications.
    pub fn name(self) -> &'static str {
        match self {
            Self::UsagePercentage => "usage_percentage",
            Self::UsageValue => "usage_value",
            Self::BalanceValue => "balance_value",
            Self::BalancePercentage => "balance_percentage",
            Self::Every => "every",
            Self::Limit => "limit",
            Self::SoftLimit => "soft_limit",
            Self::TierLimit => "tier_limit",
        }
    }

    /// Whether it is crossed by falling.
    pub fn falls(self) -> bool {
        matches!(self, Self::BalanceValue | Self::BalancePercentage)
    }

    /// Whether its level is a share of the limit.
    pub fn is_share(self) -> bool {
        !matches!(self, Self::UsageValue | Self::BalanceValue | Self::Every)
    }
}

/// A right to something that is counted.
#[derive(Debug)]
pub struct EntitlementFact {
    /// Its id.
    pub id: EntitlementId,
    /// To what.
    pub feature: FeatureId,
    /// What it allows.
    pub allowed: Allowed,
    /// How long usage adds up.
    pub period: Period,
    /// Whether what was used beyond the limit is carried over.
    pub preserves: bool,
}

/// An accepted event.
#[derive(Debug)]
pub struct UsageFact {
    /// Whose.
    pub customer: CustomerId,
    /// Its effective time.
    pub time_ms: i64,
    /// Its own id.
    pub id: String,
    /// Its subject.
    pub subject: String,
    /// Its type.
    pub event_type: String,
    data: Value,
}

impl MeterFact {
    /// What an event brings; nothing if there is no such value where the meter looks.
    pub fn reading(&self, event: &UsageFact) -> Option<Reading> {
        if self.counts == Counts::Events {
            return Some(Reading::Number(UNIT));
        }
        let text = match event.find(&self.path)? {
            Value::Bool(_) if self.counts != Counts::Different => return None,
            found => text_of(found)?,
        };
        match self.counts {
            Counts::Different => Some(Reading::Text(text)),
            _ => amount(&text).map(Reading::Number),
        }
    }

    /// The groups that an event belongs to.
    pub fn groups(&self, event: &UsageFact) -> Vec<Group> {
        let value = |path: &Vec<String>| event.find(path).and_then(text_of);
        self.keys.iter().filter_map(|(key, path)| Some((key.clone(), value(path)?))).collect()
    }

    /// The names of the keys by which usage is told apart.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(|it| &*it.0)
    }
}

impl UsageFact {
    fn find(&self, path: &[String]) -> Option<&Value> {
        path.iter().try_fold(&self.data, |value, name| value.get(name))
    }
}

/// A value as text; an array, an object and nothing have none.
fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::Number(number) => Some(number.to_string()),
        Value::String(text) => Some(text.clone()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Reads a decimal with at most six digits after its point.
pub fn amount(text: &str) -> Option<Amount> {
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |it| (-1, it));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let is_number = |it: &str| it.bytes().all(|it| it.is_ascii_digit());
    if whole.is_empty() || !is_number(whole) || !is_number(fraction) || fraction.len() > 6 {
        return None;
    }
    let millionths: Amount = format!("{fraction:0<6}").parse().ok()?;
    Some(sign * (whole.parse::<Amount>().ok()? * UNIT + millionths))
}

/// Why a row is no fact.
pub type NotUnderstood = String;

/// Reads one row.
pub fn read(row: &LogRow) -> Result<Logged, NotUnderstood> {
    let kind = RowKind::from_code(i64::from(row.kind)).map_err(|it| it.to_string())?;
    let fact = match kind {
        RowKind::Usage => usage(row)?,
        _ => match Command::decode(kind, &row.payload).map_err(|it| it.to_string())? {
            Command::Control { seq, command } => control(seq, command)?,
            Command::Customer { stamped_at, command, .. } => customer(stamped_at.as_ms(), command)?,
            Command::Slice { stamped_at, from, to, .. } => {
                Fact::Sweep { at_ms: stamped_at.as_ms(), slots: from..to }
            }
            Command::Pulse { stamped_at, slots, .. } => {
                Fact::Pulse { at_ms: stamped_at.as_ms(), slots }
            }
        },
    };
    Ok(Logged { position: row.position, fact })
}

fn usage(row: &LogRow) -> Result<Fact, NotUnderstood> {
    let usage = usage_row::decode(&row.payload).map_err(|it| it.to_string())?;
    let events = usage.events.into_iter().map(|it| {
        let json: Value = serde_json::from_str(&it.raw).map_err(|it| it.to_string())?;
        let text = |name: &str| json[name].as_str().unwrap_or_default().to_owned();
        Ok(UsageFact {
            customer: it.customer,
            time_ms: it.time.as_ms(),
            id: text("id"),
            subject: text("subject"),
            event_type: text("type"),
            data: json["data"].clone(),
        })
    });
    let events = events.collect::<Result<_, NotUnderstood>>()?;
    Ok(Fact::Usage { at_ms: usage.stamped_at.as_ms(), events })
}

fn control(seq: u64, command: ControlCommand) -> Result<Fact, NotUnderstood> {
    Ok(match command {
        ControlCommand::PutMeter(it) => Fact::Meter(it.id, meter(&it)?),
        ControlCommand::DeleteMeter(id) => Fact::MeterGone(id),
        ControlCommand::PutFeature(it) => {
            let meter = match it.kind {
                FeatureKind::Metered { meter } => Some(meter),
                _ => None,
            };
            Fact::Feature(it.id, meter)
        }
        ControlCommand::DeleteFeature(id) => Fact::FeatureGone(id),
        ControlCommand::PutRule(it) => Fact::Rule { seq, rule: rule(&it)? },
        ControlCommand::DeleteRule { rule, .. } => Fact::RuleGone { seq, rule },
        ControlCommand::SetClock { now, .. } => Fact::Clock { now_ms: now.as_ms() },
    })
}

fn customer(at_ms: i64, command: CustomerCommand) -> Result<Fact, NotUnderstood> {
    Ok(match command {
        CustomerCommand::Create { customer } => Fact::CustomerMade { customer, at_ms },
        CustomerCommand::Delete { customer } => Fact::CustomerGone { customer, at_ms },
        CustomerCommand::PutEntitlement { customer, entitlement } => {
            Fact::Entitled { customer, at_ms, entitlement: entitled(&entitlement)? }
        }
        CustomerCommand::DeleteEntitlement { customer, entitlement } => {
            Fact::Unentitled { customer, at_ms, entitlement }
        }
        CustomerCommand::PutGrant { customer, entitlement, grant: it } => {
            Fact::Granted { customer, at_ms, entitlement, grant: grant(&it)? }
        }
        CustomerCommand::VoidGrant { customer, entitlement, grant, at } => {
            let (due_ms, change) = (at.as_ms(), ChangeFact::Void(grant));
            Fact::Changed { customer, at_ms, entitlement, due_ms, change }
        }
        CustomerCommand::ResetEntitlement { customer, entitlement, reset } => {
            let due_ms = reset.at.as_ms();
            let change = ChangeFact::Reset(ResetFact {
                preserves: reset.preserves_overage,
                anchor_ms: (!reset.retains_anchor).then_some(due_ms),
            });
            Fact::Changed { customer, at_ms, entitlement, due_ms, change }
        }
        CustomerCommand::ChangeLimits { customer, entitlement, limits, tiers, at } => {
            let (due_ms, change) = (at.as_ms(), ChangeFact::Allow(allowed(&limits, &tiers)?));
            Fact::Changed { customer, at_ms, entitlement, due_ms, change }
        }
    })
}

fn meter(meter: &Meter) -> Result<MeterFact, NotUnderstood> {
    let counts = match &meter.aggregation {
        Aggregation::Count => Counts::Events,
        Aggregation::Sum { .. } => Counts::Sum,
        Aggregation::Max { .. } => Counts::Greatest,
        Aggregation::UniqueCount { .. } => Counts::Different,
        other => return Err(format!("the model does not know the aggregation {other:?}")),
    };
    if !meter.filters.is_empty() {
        return Err("the model does not know filters".to_owned());
    }
    let members = |it: &ValuePath| it.members().iter().map(ToString::to_string).collect();
    let path = meter.aggregation.value_path().map(members).unwrap_or_default();
    let keys = meter.group_by.iter().map(|it| (it.name.to_string(), members(&it.path)));
    let keys = keys.collect();
    Ok(MeterFact { event_type: meter.event_type.to_string(), counts, path, keys })
}

fn rule(rule: &Rule) -> Result<RuleFact, NotUnderstood> {
    Ok(RuleFact {
        id: rule.id,
        scope: Scope { features: rule.features.clone(), customers: rule.customers.clone() },
        lines: rule.lines.iter().map(line).collect::<Result<_, _>>()?,
        channels: rule.channels.clone(),
        only_furthest: rule.when_several == WhenSeveral::Highest,
        sends_resolved: rule.sends_resolved,
        hysteresis: exactly(&rule.hysteresis)?,
        evaluates_on_create: rule.evaluate_on_create,
        is_disabled: rule.disabled,
        tells_resets: rule.kind == RuleKind::Reset,
    })
}

fn line(line: &Line) -> Result<LineFact, NotUnderstood> {
    let kind = match line.kind {
        LineKind::UsagePercentage => LineFactKind::UsagePercentage,
        LineKind::UsageValue => LineFactKind::UsageValue,
        LineKind::BalanceValue => LineFactKind::BalanceValue,
        LineKind::BalancePercentage => LineFactKind::BalancePercentage,
        LineKind::Every => LineFactKind::Every,
        LineKind::Limit => LineFactKind::Limit,
        LineKind::SoftLimit => LineFactKind::SoftLimit,
        LineKind::TierLimit => LineFactKind::TierLimit,
    };
    let group = line.group.as_ref();
    let group = group.map(|it| (it.key.to_string(), it.value.as_ref().map(ToString::to_string)));
    Ok(LineFact { id: line.id, kind, value: exactly(&line.value)?, group })
}

fn entitled(entitlement: &Entitlement) -> Result<EntitlementFact, NotUnderstood> {
    let EntitlementKind::Metered(terms) = &entitlement.kind else {
        return Err("the world makes metered entitlements only".to_owned());
    };
    if terms.opening.is_some() || terms.limit_priority != LIMIT_PRIORITY {
        return Err("the model knows neither openings nor priorities of limits".to_owned());
    }
    Ok(EntitlementFact {
        id: entitlement.id,
        feature: entitlement.feature,
        allowed: allowed(&terms.limits, &terms.tiers)?,
        period: period(&terms.period)?,
        preserves: terms.preserves_overage,
    })
}

fn period(period: &UsagePeriod) -> Result<Period, NotUnderstood> {
    let length = match period.interval {
        Interval::Hour => Length::Hour,
        Interval::Day => Length::Day,
        Interval::Week => Length::Week,
        Interval::Month => Length::Months(1),
        Interval::Quarter => Length::Months(3),
        Interval::Never => Length::Never,
        other => return Err(format!("the model does not know the interval {other:?}")),
    };
    Ok(Period { length, anchor_ms: period.anchor.map(Timestamp::as_ms) })
}

fn allowed(limits: &source::Limits, tiers: &[Quantity]) -> Result<Allowed, NotUnderstood> {
    let exactly_if = |it: &Option<Quantity>| it.as_ref().map(exactly).transpose();
    let limits = Limits { hard: exactly_if(&limits.hard)?, soft: exactly_if(&limits.soft)? };
    let tiers = tiers.iter().map(exactly).collect::<Result<_, _>>()?;
    Ok(Allowed { limits, tiers })
}

fn grant(grant: &Grant) -> Result<GrantFact, NotUnderstood> {
    Ok(GrantFact {
        id: grant.id,
        amount: exactly(&grant.amount)?,
        priority: grant.priority,
        from_ms: grant.effective_at.as_ms(),
        to_ms: grant.expires_at.map(Timestamp::as_ms),
        recurs: grant.recurrence.as_ref().map(period).transpose()?,
        rollover: (exactly(&grant.min_rollover)?, exactly(&grant.max_rollover)?),
    })
}

fn exactly(quantity: &Quantity) -> Result<Amount, NotUnderstood> {
    let text = quantity.to_string();
    amount(&text).ok_or_else(|| format!("{text} has more digits than the model"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_millionths() {
        let cases = [
            ("12", Some(12_000_000)),
            ("-0.5", Some(-500_000)),
            ("0.000001", Some(1)),
            ("1.2345678", None),
            ("many", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(amount(text), expected, "{text:?}");
        }
    }
}
