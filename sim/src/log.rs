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
        meter::{Aggregation, Meter},
    },
    command::{Command, ControlCommand, CustomerCommand, RowKind},
    entitlement::{
        Entitlement, EntitlementKind,
        period::{Interval, UsagePeriod},
    },
    ids::{ChannelId, CustomerId, EntitlementId, FeatureId, LineId, MeterId, RuleId},
    line::{Line, LineKind},
    rule::{Rule, WhenSeveral},
};
use plimsoll_engine::partition::usage_row;
use plimsoll_store::log::LogRow;
use serde_json::Value;

use crate::model::{Amount, UNIT};

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
    /// A customer was made.
    CustomerMade { customer: CustomerId, at_ms: i64 },
    /// A customer was deleted.
    CustomerGone { customer: CustomerId, at_ms: i64 },
    /// An entitlement was made, or its limit changed.
    Entitled { customer: CustomerId, at_ms: i64, entitlement: EntitlementFact },
    /// An entitlement was deleted.
    Unentitled { customer: CustomerId, at_ms: i64, entitlement: EntitlementId },
    /// The customers in these places are looked at.
    Sweep { at_ms: i64, slots: Range<u32> },
    /// Events were accepted.
    Usage { at_ms: i64, events: Vec<UsageFact> },
}

/// How events become a number.
#[derive(Debug, Clone)]
pub struct MeterFact {
    /// Which events.
    pub event_type: String,
    /// The members to follow to the number; each event counts one without them.
    path: Option<Vec<String>>,
}

/// A rule.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "a rule has four switches")]
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
    /// Usage in percent of the limit, of the typed rules.
    Limit,
}

impl LineFactKind {
    /// The name in notifications.
    pub fn name(self) -> &'static str {
        match self {
            Self::UsagePercentage => "usage_percentage",
            Self::UsageValue => "usage_value",
            Self::BalanceValue => "balance_value",
            Self::Limit => "limit",
        }
    }

    /// Whether it is crossed by falling.
    pub fn falls(self) -> bool {
        self == Self::BalanceValue
    }

    /// Whether its level is a share of the limit.
    pub fn is_share(self) -> bool {
        matches!(self, Self::UsagePercentage | Self::Limit)
    }
}

/// A right to something that is counted.
#[derive(Debug)]
pub struct EntitlementFact {
    /// Its id.
    pub id: EntitlementId,
    /// To what.
    pub feature: FeatureId,
    /// The limit, if there is one.
    pub limit: Option<Amount>,
    /// How long usage adds up.
    pub period: Period,
}

/// How long usage adds up, by the calendar.
#[derive(Debug, Clone, Copy)]
pub enum Period {
    /// From hour to hour.
    Hour,
    /// From midnight to midnight.
    Day,
    /// From the first of a month to the next.
    Month,
}

impl Period {
    /// The window around a time, in milliseconds: its begin, and the begin of the next.
    pub fn window_at(self, at_ms: i64) -> (i64, i64) {
        const HOUR_MS: i64 = 3_600_000;
        let fixed = |length: i64| {
            let from = at_ms.div_euclid(length) * length;
            (from, from + length)
        };
        match self {
            Self::Hour => fixed(HOUR_MS),
            Self::Day => fixed(24 * HOUR_MS),
            Self::Month => {
                let day = jiff::Timestamp::from_millisecond(at_ms)
                    .expect("simulated times are in this century")
                    .to_zoned(jiff::tz::TimeZone::UTC)
                    .date();
                let begin = |date: jiff::civil::Date| {
                    let zoned = date.to_zoned(jiff::tz::TimeZone::UTC);
                    zoned.expect("UTC has no gaps").timestamp().as_millisecond()
                };
                let next = day.last_of_month().tomorrow().expect("the next month exists");
                (begin(day.first_of_month()), begin(next))
            }
        }
    }
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
    /// What an event adds; nothing if it has no number where the meter looks.
    pub fn reading(&self, event: &UsageFact) -> Option<Amount> {
        let Some(path) = &self.path else { return Some(UNIT) };
        let found = path.iter().try_fold(&event.data, |value, name| value.get(name))?;
        match found {
            Value::Number(number) => amount(&number.to_string()),
            Value::String(text) => amount(text),
            _ => None,
        }
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
        ControlCommand::PutMeter(it) => Fact::Meter(it.id, meter(&it)),
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
    })
}

fn meter(meter: &Meter) -> MeterFact {
    let path = match &meter.aggregation {
        Aggregation::Count => None,
        Aggregation::Sum { value } => {
            Some(value.members().iter().map(ToString::to_string).collect())
        }
    };
    MeterFact { event_type: meter.event_type.to_string(), path }
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
    })
}

fn line(line: &Line) -> Result<LineFact, NotUnderstood> {
    let kind = match line.kind {
        LineKind::UsagePercentage => LineFactKind::UsagePercentage,
        LineKind::UsageValue => LineFactKind::UsageValue,
        LineKind::BalanceValue => LineFactKind::BalanceValue,
        LineKind::Limit => LineFactKind::Limit,
    };
    Ok(LineFact { id: line.id, kind, value: exactly(&line.value)? })
}

fn entitled(entitlement: &Entitlement) -> Result<EntitlementFact, NotUnderstood> {
    let EntitlementKind::Metered { limit, period } = entitlement.kind else {
        return Err("the world makes metered entitlements only".to_owned());
    };
    let period = match period {
        UsagePeriod { interval: Interval::Hour, anchor: None } => Period::Hour,
        UsagePeriod { interval: Interval::Day, anchor: None } => Period::Day,
        UsagePeriod { interval: Interval::Month, anchor: None } => Period::Month,
        other => return Err(format!("the model does not know the period {other:?}")),
    };
    let limit = limit.map(|it| exactly(&it)).transpose()?;
    Ok(EntitlementFact { id: entitlement.id, feature: entitlement.feature, limit, period })
}

fn exactly(quantity: &plimsoll_core::quantity::Quantity) -> Result<Amount, NotUnderstood> {
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

    #[test]
    fn windows_follow_the_calendar() {
        let ms = |text: &str| text.parse::<jiff::Timestamp>().unwrap().as_millisecond();
        let cases = [
            (Period::Hour, "2026-03-10T12:34:56Z", "2026-03-10T12:00:00Z", "2026-03-10T13:00:00Z"),
            (Period::Day, "2026-03-10T12:34:56Z", "2026-03-10T00:00:00Z", "2026-03-11T00:00:00Z"),
            (Period::Month, "2026-02-28T23:00:00Z", "2026-02-01T00:00:00Z", "2026-03-01T00:00:00Z"),
        ];
        for (period, at, from, to) in cases {
            assert_eq!(period.window_at(ms(at)), (ms(from), ms(to)), "{period:?} {at}");
        }
    }
}
