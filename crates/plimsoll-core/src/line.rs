//! Lines: levels drawn on a value, and what it takes to cross them.
//!
//! Every line is reduced to a [`Trigger`], a level on *usage*: it is reached when usage is at or
//! past `at`, and armed again when usage is below `rearm_below`. A line on the balance becomes one
//! on usage by `limit − level`, so one comparison serves rising and falling lines alike.
//!
//! Not here: whether a line has fired before (`state::evaluate`).

use crate::{
    codec::{Corrupt, Reader, Writer},
    ids::LineId,
    quantity::Quantity,
};

pub mod crossing;

/// A line of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line {
    /// Minted when the line enters its rule, kept while its kind and value stay.
    pub id: LineId,
    /// What the value is measured on.
    pub kind: LineKind,
    /// The level, in the unit of the kind: percent, or the unit of the feature.
    pub value: Quantity,
}

/// What a line is drawn on (design 5.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LineKind {
    /// Usage in percent of the limit; rising.
    UsagePercentage,
    /// Usage; rising.
    UsageValue,
    /// What is left of the limit; falling.
    BalanceValue,
    /// Usage in percent of the hard limit, for `entitlement.limit.{warning,reached}`; rising.
    Limit,
}

/// Which way a value moves to cross a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// It grows.
    Rising,
    /// It shrinks.
    Falling,
}

/// A line against one limit, as a level on usage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trigger {
    /// Usage at which the line is reached.
    pub at: Quantity,
    /// Whether usage must be *above* `at`: so where the limit is zero (row 13).
    pub strict: bool,
    /// A line that was reached is armed again when usage is below this.
    pub rearm_below: Quantity,
    /// The level in the line's own terms, as notifications show it.
    pub level: Quantity,
}

impl LineKind {
    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::UsagePercentage => "usage_percentage",
            Self::UsageValue => "usage_value",
            Self::BalanceValue => "balance_value",
            Self::Limit => "limit",
        }
    }

    /// Which way the value moves to cross the line.
    pub fn direction(self) -> Direction {
        match self {
            Self::UsagePercentage | Self::UsageValue | Self::Limit => Direction::Rising,
            Self::BalanceValue => Direction::Falling,
        }
    }

    /// Whether the level is a share of the limit.
    pub fn is_percentage(self) -> bool {
        matches!(self, Self::UsagePercentage | Self::Limit)
    }

    fn tag(self) -> u8 {
        match self {
            Self::UsagePercentage => 0,
            Self::UsageValue => 1,
            Self::BalanceValue => 2,
            Self::Limit => 3,
        }
    }

    fn from_tag(tag: u8) -> Result<Self, Corrupt> {
        match tag {
            0 => Ok(Self::UsagePercentage),
            1 => Ok(Self::UsageValue),
            2 => Ok(Self::BalanceValue),
            3 => Ok(Self::Limit),
            _ => Err(Corrupt { expected: "a kind of line" }),
        }
    }
}

impl Line {
    /// Where the line stands on usage, given the hard limit; nothing where it has no meaning:
    /// a percentage or a balance without a limit (row 12), or numbers beyond 28 digits.
    pub fn trigger(&self, limit: Option<Quantity>, hysteresis: Quantity) -> Option<Trigger> {
        match self.kind {
            LineKind::UsageValue => {
                let rearm_below = self.value.checked_sub(hysteresis).ok()?;
                Some(Trigger { at: self.value, strict: false, rearm_below, level: self.value })
            }
            LineKind::UsagePercentage | LineKind::Limit => {
                let limit = limit?;
                let at = self.value.percent_of(limit).ok()?;
                let slack = hysteresis.percent_of(limit).ok()?;
                let rearm_below = at.checked_sub(slack).ok()?;
                Some(Trigger { at, strict: limit.is_zero(), rearm_below, level: at })
            }
            LineKind::BalanceValue => {
                let at = limit?.checked_sub(self.value).ok()?;
                let rearm_below = at.checked_sub(hysteresis).ok()?;
                Some(Trigger { at, strict: false, rearm_below, level: self.value })
            }
        }
    }

    pub(crate) fn encode(&self, writer: &mut Writer) {
        writer.bits(self.id.bits());
        writer.byte(self.kind.tag());
        writer.quantity(self.value);
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, Corrupt> {
        Ok(Self {
            id: LineId::from_bits(reader.bits()?),
            kind: LineKind::from_tag(reader.byte()?)?,
            value: reader.quantity()?,
        })
    }
}

impl Trigger {
    /// Whether usage is at or past the line.
    pub fn is_reached(&self, usage: Quantity) -> bool {
        if self.strict { usage > self.at } else { usage >= self.at }
    }

    /// Whether usage is far enough below the line to arm it again.
    pub fn is_rearmed(&self, usage: Quantity) -> bool {
        // A strict trigger is left by falling back to its level, there is nothing below it.
        if self.strict { usage <= self.at } else { usage < self.rearm_below }
    }
}
