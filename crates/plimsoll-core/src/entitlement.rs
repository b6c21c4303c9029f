//! Entitlements: one customer's right to one feature, and what it has used of it.
//!
//! Not here: which lines watch it (`line`), how usage gets here (`state`).

use crate::{
    codec::{Corrupt, Reader, Writer},
    ids::{EntitlementId, FeatureId},
    metering::cell::Cell,
    quantity::Quantity,
};

pub mod grant;
pub mod period;
pub mod source;

use period::{UsagePeriod, Window};
use source::Limits;

/// The priority of the limit among grants, unless an entitlement says otherwise.
pub const LIMIT_PRIORITY: u8 = 1;

/// A right to a feature, as far as rules depend on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entitlement {
    /// The entitlement's id.
    pub id: EntitlementId,
    /// The feature it grants.
    pub feature: FeatureId,
    /// What it grants of it.
    pub kind: EntitlementKind,
}

/// What an entitlement grants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntitlementKind {
    /// An amount in each period.
    Metered(Box<Terms>),
    /// Had.
    Boolean,
    /// A fixed configuration value.
    Static,
}

/// How much of a metered feature an entitlement grants, and how long usage adds up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// What its sources add up to.
    pub limits: Limits,
    /// The finite upper bounds of its tiers, ascending.
    pub tiers: Vec<Quantity>,
    /// How long usage adds up before it starts again at zero. Only the anchor of a billing cycle
    /// ever changes.
    pub period: UsagePeriod,
    /// When the limit burns, among grants.
    pub limit_priority: u8,
    /// Whether what was used beyond the limit counts in the next period.
    pub preserves_overage: bool,
    /// What was used in the period before the entitlement was made, if that counts.
    pub opening: Option<Box<Cell>>,
}

/// What usage is measured against: limits with the grants that add to them, and tiers.
#[derive(Debug, Clone, Copy)]
pub struct Measure<'a> {
    /// The effective hard limit, if there is one.
    pub hard: Option<Quantity>,
    /// The effective soft limit, if there is one.
    pub soft: Option<Quantity>,
    /// The finite upper bounds of the tiers, ascending.
    pub tiers: &'a [Quantity],
}

/// Where an entitlement stands in its current window (design 5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntitlementValue {
    /// Whether the customer may use the feature now: below the hard limit, or without one.
    pub has_access: bool,
    /// Usage in the window, never below zero.
    pub usage: Quantity,
    /// The effective hard limit, if there is one.
    pub limit: Option<Quantity>,
    /// The effective soft limit, if there is one.
    pub soft_limit: Option<Quantity>,
    /// What is left of the hard limit, else of the soft one; never below zero.
    pub balance: Option<Quantity>,
    /// What was used beyond the hard limit, else the soft one.
    pub overage: Quantity,
    /// Usage in percent of the hard limit, else the soft one; nothing without a limit or with a
    /// limit of zero.
    pub usage_percentage: Option<Quantity>,
    /// The window that the usage falls into.
    pub window: Window,
}

impl Terms {
    /// A limit in a period, and nothing else.
    pub fn new(limits: Limits, period: UsagePeriod) -> Self {
        Self {
            limits,
            tiers: Vec::new(),
            period,
            limit_priority: LIMIT_PRIORITY,
            preserves_overage: false,
            opening: None,
        }
    }

    fn encode(&self, writer: &mut Writer) {
        self.limits.encode(writer);
        writer.list(self.tiers.iter(), |writer, it| writer.quantity(*it));
        self.period.encode(writer);
        writer.byte(self.limit_priority);
        writer.byte(u8::from(self.preserves_overage));
        writer.option(self.opening.as_deref(), |writer, it| it.encode(writer));
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Corrupt> {
        Ok(Self {
            limits: Limits::decode(reader)?,
            tiers: reader.list(Reader::quantity)?,
            period: UsagePeriod::decode(reader)?,
            limit_priority: reader.byte()?,
            preserves_overage: reader.flag()?,
            opening: reader.option(Cell::decode)?.map(Box::new),
        })
    }
}

impl Measure<'_> {
    /// What percentages and balances are of.
    pub fn whole(&self) -> Option<Quantity> {
        self.hard.or(self.soft)
    }

    /// The value of this much usage.
    pub fn value(&self, usage: Quantity, window: Window) -> EntitlementValue {
        let left = |from: Quantity, what: Quantity| from.rounded_sub(what).floor_at_zero();
        let whole = self.whole();
        EntitlementValue {
            has_access: self.hard.is_none_or(|it| usage < it),
            usage,
            limit: self.hard,
            soft_limit: self.soft,
            balance: whole.map(|it| left(it, usage)),
            overage: whole.map_or(Quantity::ZERO, |it| left(usage, it)),
            usage_percentage: whole.and_then(|it| usage.as_percentage_of(it)),
            window,
        }
    }
}

impl Entitlement {
    pub(crate) fn encode(&self, writer: &mut Writer) {
        writer.bits(self.id.bits());
        writer.bits(self.feature.bits());
        match &self.kind {
            EntitlementKind::Boolean => writer.byte(1),
            EntitlementKind::Static => writer.byte(2),
            EntitlementKind::Metered(terms) => {
                writer.byte(3);
                terms.encode(writer);
            }
        }
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, Corrupt> {
        Ok(Self {
            id: EntitlementId::from_bits(reader.bits()?),
            feature: FeatureId::from_bits(reader.bits()?),
            kind: match reader.byte()? {
                // Version 1 had a hard limit and a period.
                0 => {
                    let limits = Limits::hard(reader.option(Reader::quantity)?);
                    let period = UsagePeriod::decode(reader)?;
                    EntitlementKind::Metered(Box::new(Terms::new(limits, period)))
                }
                1 => EntitlementKind::Boolean,
                2 => EntitlementKind::Static,
                3 => EntitlementKind::Metered(Box::new(Terms::decode(reader)?)),
                _ => return Err(Corrupt { expected: "a kind of entitlement" }),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;

    #[test]
    fn values() {
        let window = Window { from: Timestamp::from_ms(0), to: Timestamp::from_ms(1) };
        // used, hard/soft limit → access, usage, balance, overage, percent
        let cases = [
            ("812", "1000/-", "true 812 188 0 81.2"),
            ("1000", "1000/-", "false 1000 0 0 100"),
            ("1200", "1000/-", "false 1200 0 200 120"),
            ("0", "10/-", "true 0 10 0 0"),
            ("7", "-/-", "true 7 - 0 -"),
            ("0", "0/-", "false 0 0 0 -"),
            ("1", "0/-", "false 1 0 1 -"),
            ("900", "-/800", "true 900 0 100 112.5"),
            ("900", "1000/800", "true 900 100 0 90"),
            (
                "1.1000000000000000000000000001",
                "1000/-",
                "true 1.1000000000000000000000000001 998.9 0 0.11",
            ),
        ];
        for (used, limits, expected) in cases {
            let (hard, soft) = limits.split_once('/').unwrap();
            let limit = |text: &str| (text != "-").then(|| text.parse().unwrap());
            let measure = Measure { hard: limit(hard), soft: limit(soft), tiers: &[] };
            let value = measure.value(used.parse().unwrap(), window);
            let shown =
                |it: Option<Quantity>| it.map_or_else(|| "-".to_owned(), |it| it.to_string());
            let got = format!(
                "{} {} {} {} {}",
                value.has_access,
                value.usage,
                shown(value.balance),
                value.overage,
                shown(value.usage_percentage)
            );
            assert_eq!(got, expected, "{used} of {limits}");
        }
    }
}
