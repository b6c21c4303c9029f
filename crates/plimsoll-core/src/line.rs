//! Lines: levels drawn on a value, and what it takes to cross them.
//!
//! Every line is reduced to a [`Trigger`], a level on *usage*: it is reached when usage is at or
//! past `at`, and armed again when usage is below `rearm_below`. A line on the balance becomes one
//! on usage by `limit − level`, so one comparison serves rising and falling lines alike.
//!
//! A line on tiers becomes one trigger a tier. Only a line on every multiple has no fixed levels.
//!
//! Not here: whether a line has fired before (`state::evaluate`).

use crate::{
    codec::{Corrupt, Reader, Writer},
    entitlement::Measure,
    ids::LineId,
    quantity::Quantity,
};

pub mod crossing;

/// A line of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Minted when the line enters its rule, kept while its kind, value and group stay.
    pub id: LineId,
    /// What the value is measured on.
    pub kind: LineKind,
    /// The level, in the unit of the kind: percent, or the unit of the feature.
    pub value: Quantity,
    /// Usage by which group-by key it watches; without one, all usage of the entitlement.
    pub group: Option<LineGroup>,
}

/// The part of an entitlement's usage that a line watches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineGroup {
    /// The name of one of the meter's group-by keys.
    pub key: Box<str>,
    /// The one value that it watches; without one, it watches each value by itself.
    pub value: Option<Box<str>>,
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
    /// What is left, in percent of the limit; falling.
    BalancePercentage,
    /// Each multiple of the value, on usage; rising.
    Every,
    /// Usage in percent of the hard limit, for `entitlement.limit.{warning,reached}`; rising.
    Limit,
    /// The same of the soft limit, for `entitlement.soft_limit.{warning,reached}`; rising.
    SoftLimit,
    /// The same of each tier's upper bound, for `entitlement.tier_limit.{warning,reached}`, but
    /// never below the tier; rising.
    TierLimit,
}

/// Which way a value moves to cross a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// It grows.
    Rising,
    /// It shrinks.
    Falling,
}

/// A line against one measure, as a level on usage.
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
    /// Which of the line's levels it is, where a line has several: the upper bound of the tier.
    pub step: Option<Quantity>,
}

impl LineKind {
    /// Every kind.
    pub const ALL: [Self; 8] = [
        Self::UsagePercentage,
        Self::UsageValue,
        Self::BalanceValue,
        Self::Limit,
        Self::BalancePercentage,
        Self::Every,
        Self::SoftLimit,
        Self::TierLimit,
    ];

    /// The name on the wire.
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

    /// Which way the value moves to cross the line.
    pub fn direction(self) -> Direction {
        match self {
            Self::BalanceValue | Self::BalancePercentage => Direction::Falling,
            Self::UsagePercentage
            | Self::UsageValue
            | Self::Every
            | Self::Limit
            | Self::SoftLimit
            | Self::TierLimit => Direction::Rising,
        }
    }

    /// Whether the level is a share of something.
    pub fn is_percentage(self) -> bool {
        !matches!(self, Self::UsageValue | Self::BalanceValue | Self::Every)
    }

    fn encode(self, writer: &mut Writer) {
        let place = Self::ALL.iter().position(|it| *it == self).unwrap_or_default();
        writer.byte(place as u8);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Corrupt> {
        let place = usize::from(reader.byte()?);
        Self::ALL.get(place).copied().ok_or(Corrupt { expected: "a kind of line" })
    }
}

impl Line {
    /// Where the line stands on usage; nowhere where it has no meaning: a percentage or a balance
    /// without a limit (row 12), or numbers beyond 28 digits. A line of [`LineKind::Every`] stands
    /// on every multiple instead, see [`Line::multiples`].
    pub fn triggers(&self, measure: &Measure<'_>, hysteresis: Quantity) -> Vec<Trigger> {
        let one = |trigger: Option<Trigger>| trigger.into_iter().collect();
        match self.kind {
            LineKind::Every => Vec::new(),
            LineKind::UsageValue => one(self.absolute(hysteresis)),
            LineKind::UsagePercentage => one(self.percentage(measure.whole(), hysteresis)),
            LineKind::Limit => one(self.percentage(measure.hard, hysteresis)),
            LineKind::SoftLimit => one(self.percentage(measure.soft, hysteresis)),
            LineKind::BalanceValue => one(self.left(measure.whole(), hysteresis)),
            LineKind::BalancePercentage => one(self.percentage_left(measure.whole(), hysteresis)),
            LineKind::TierLimit => {
                let lower = [Quantity::ZERO].into_iter().chain(measure.tiers.iter().copied());
                let tiers = lower.zip(measure.tiers);
                tiers.filter_map(|(from, to)| self.tier(from, *to, hysteresis)).collect()
            }
        }
    }

    /// How many multiples this usage has come to, of a line of [`LineKind::Every`].
    pub(crate) fn multiples(&self, usage: Quantity) -> u64 {
        usage.multiples_of(self.value).unwrap_or(0)
    }

    fn absolute(&self, hysteresis: Quantity) -> Option<Trigger> {
        let rearm_below = self.value.checked_sub(hysteresis).ok()?;
        let (at, level) = (self.value, self.value);
        Some(Trigger { at, strict: false, rearm_below, level, step: None })
    }

    fn percentage(&self, whole: Option<Quantity>, hysteresis: Quantity) -> Option<Trigger> {
        let whole = whole?;
        let at = self.value.percent_of(whole).ok()?;
        let slack = hysteresis.percent_of(whole).ok()?;
        let rearm_below = at.checked_sub(slack).ok()?;
        Some(Trigger { at, strict: whole.is_zero(), rearm_below, level: at, step: None })
    }

    fn left(&self, whole: Option<Quantity>, hysteresis: Quantity) -> Option<Trigger> {
        let at = whole?.checked_sub(self.value).ok()?;
        let rearm_below = at.checked_sub(hysteresis).ok()?;
        Some(Trigger { at, strict: false, rearm_below, level: self.value, step: None })
    }

    fn percentage_left(&self, whole: Option<Quantity>, hysteresis: Quantity) -> Option<Trigger> {
        let whole = whole?;
        let level = self.value.percent_of(whole).ok()?;
        let at = whole.checked_sub(level).ok()?;
        let rearm_below = at.checked_sub(hysteresis.percent_of(whole).ok()?).ok()?;
        Some(Trigger { at, strict: whole.is_zero(), rearm_below, level, step: None })
    }

    /// A share of a tier's upper bound, but never below the tier itself.
    fn tier(&self, from: Quantity, to: Quantity, hysteresis: Quantity) -> Option<Trigger> {
        let at = self.value.percent_of(to).ok()?.max(from);
        let rearm_below = at.checked_sub(hysteresis.percent_of(to).ok()?).ok()?;
        Some(Trigger { at, strict: false, rearm_below, level: at, step: Some(to) })
    }

    pub(crate) fn encode(&self, writer: &mut Writer) {
        writer.bits(self.id.bits());
        self.kind.encode(writer);
        writer.quantity(self.value);
        writer.option(self.group.as_ref(), |writer, it| {
            writer.text(&it.key);
            writer.option(it.value.as_deref(), Writer::text);
        });
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, Corrupt> {
        let mut line = Self {
            id: LineId::from_bits(reader.bits()?),
            kind: LineKind::decode(reader)?,
            value: reader.quantity()?,
            group: None,
        };
        if reader.version() >= 2 {
            line.group = reader.option(|reader| {
                let key = reader.text()?.into();
                Ok(LineGroup { key, value: reader.option(|it| it.text().map(Box::from))? })
            })?;
        }
        Ok(line)
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
