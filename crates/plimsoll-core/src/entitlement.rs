//! Entitlements: one customer's right to one feature, and what it has used of it.
//!
//! Not here: which lines watch it (`line`), how usage gets here (`state`).

use crate::{
    codec::{Corrupt, Reader, Writer},
    ids::{EntitlementId, FeatureId},
    quantity::Quantity,
};

pub mod period;

use period::{UsagePeriod, Window};

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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntitlementKind {
    /// An amount in each period.
    Metered {
        /// The hard limit; nothing means unlimited, zero means nothing allowed.
        limit: Option<Quantity>,
        /// How long usage adds up before it starts again at zero. Never changes.
        period: UsagePeriod,
    },
    /// Had.
    Boolean,
    /// A fixed configuration value.
    Static,
}

/// Where an entitlement stands in its current window (design 5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntitlementValue {
    /// Whether the customer may use the feature now: below the hard limit, or unlimited.
    pub has_access: bool,
    /// Usage in the window, never below zero.
    pub usage: Quantity,
    /// The hard limit, if there is one.
    pub limit: Option<Quantity>,
    /// What is left of the limit, never below zero.
    pub balance: Option<Quantity>,
    /// What was used beyond the limit.
    pub overage: Quantity,
    /// Usage in percent of the limit; nothing without a limit or with a limit of zero.
    pub usage_percentage: Option<Quantity>,
    /// The window that the usage falls into.
    pub window: Window,
}

impl EntitlementValue {
    /// The value of an accumulated amount against a limit.
    pub fn of(accumulated: Quantity, limit: Option<Quantity>, window: Window) -> Self {
        let usage = accumulated.floor_at_zero();
        let left = |from: Quantity, what: Quantity| from.rounded_sub(what).floor_at_zero();
        Self {
            has_access: limit.is_none_or(|it| usage < it),
            usage,
            limit,
            balance: limit.map(|it| left(it, usage)),
            overage: limit.map_or(Quantity::ZERO, |it| left(usage, it)),
            usage_percentage: limit.and_then(|it| usage.as_percentage_of(it)),
            window,
        }
    }
}

impl Entitlement {
    pub(crate) fn encode(&self, writer: &mut Writer) {
        writer.bits(self.id.bits());
        writer.bits(self.feature.bits());
        match self.kind {
            EntitlementKind::Metered { limit, period } => {
                writer.byte(0);
                writer.option(limit, Writer::quantity);
                period.encode(writer);
            }
            EntitlementKind::Boolean => writer.byte(1),
            EntitlementKind::Static => writer.byte(2),
        }
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, Corrupt> {
        Ok(Self {
            id: EntitlementId::from_bits(reader.bits()?),
            feature: FeatureId::from_bits(reader.bits()?),
            kind: match reader.byte()? {
                0 => EntitlementKind::Metered {
                    limit: reader.option(Reader::quantity)?,
                    period: UsagePeriod::decode(reader)?,
                },
                1 => EntitlementKind::Boolean,
                2 => EntitlementKind::Static,
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
        // used, limit → access, usage, balance, overage, percent
        let cases = [
            ("812", Some("1000"), (true, "812", Some("188"), "0", Some("81.2"))),
            ("1000", Some("1000"), (false, "1000", Some("0"), "0", Some("100"))),
            ("1200", Some("1000"), (false, "1200", Some("0"), "200", Some("120"))),
            ("-5", Some("10"), (true, "0", Some("10"), "0", Some("0"))),
            ("7", None, (true, "7", None, "0", None)),
            ("0", Some("0"), (false, "0", Some("0"), "0", None)),
            ("1", Some("0"), (false, "1", Some("0"), "1", None)),
            (
                "1.1000000000000000000000000001",
                Some("1000"),
                (true, "1.1000000000000000000000000001", Some("998.9"), "0", Some("0.11")),
            ),
        ];
        for (used, limit, expected) in cases {
            let limit = limit.map(|it| it.parse().unwrap());
            let value = EntitlementValue::of(used.parse().unwrap(), limit, window);
            let text = |it: Quantity| it.to_string();
            let got = (
                value.has_access,
                text(value.usage),
                value.balance.map(text),
                text(value.overage),
                value.usage_percentage.map(text),
            );
            let own = |it: &str| it.to_owned();
            let (access, usage, balance, overage, percent) = expected;
            let expected = (access, own(usage), balance.map(own), own(overage), percent.map(own));
            assert_eq!(got, expected, "{used} of {limit:?}");
        }
    }
}
