//! Rules: when to notify, about whom, through which channels.
//!
//! Not here: what a line means (`line`), who the channels are (the engine).

use std::sync::Arc;

use crate::{
    catalog::feature::Feature,
    codec::{Corrupt, Reader, Writer},
    ids::{ChannelId, CustomerId, EnvironmentId, FeatureId, RuleId},
    line::Line,
    quantity::Quantity,
};

/// The type of the notification that a new window has begun.
pub const RESET: &str = "entitlements.reset";

/// A rule, as far as evaluation depends on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The rule's id.
    pub id: RuleId,
    /// The environment it watches.
    pub environment: EnvironmentId,
    /// The type of the notifications it makes.
    pub kind: RuleKind,
    /// The features it watches; none means all.
    pub features: Vec<FeatureId>,
    /// The customers it watches; none means all.
    pub customers: Vec<CustomerId>,
    /// Its lines, at most [`crate::limits::RULE_LINES`].
    pub lines: Vec<Line>,
    /// Where its notifications go.
    pub channels: Vec<ChannelId>,
    /// What happens when one change crosses several lines.
    pub when_several: WhenSeveral,
    /// Whether a line that is no longer reached is sent, or only recorded.
    pub sends_resolved: bool,
    /// How far below its level a value must fall to arm a line again, in the line's unit.
    pub hysteresis: Quantity,
    /// Whether a line that is already reached when it begins to apply fires.
    pub evaluate_on_create: bool,
    /// Whether its notifications are recorded without being sent.
    pub disabled: bool,
    /// The document that notifications show, opaque to the core.
    pub document: Arc<[u8]>,
}

/// The type of notification that a rule makes (design 5.4). Stored by its place in
/// [`RuleKind::ALL`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RuleKind {
    /// `entitlements.balance.threshold`
    BalanceThreshold,
    /// `entitlement.limit.warning`
    LimitWarning,
    /// `entitlement.limit.reached`
    LimitReached,
    /// `entitlement.soft_limit.warning`
    SoftLimitWarning,
    /// `entitlement.soft_limit.reached`
    SoftLimitReached,
    /// `entitlement.tier_limit.warning`
    TierLimitWarning,
    /// `entitlement.tier_limit.reached`
    TierLimitReached,
    /// `entitlements.reset`: it has no lines.
    Reset,
}

/// What happens when one change crosses several lines of a rule (row 2 of design 5.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenSeveral {
    /// Each line fires, ascending.
    Each,
    /// Only the furthest line fires in each direction; the others count as passed.
    Highest,
}

impl RuleKind {
    /// Every kind.
    pub const ALL: [Self; 8] = [
        Self::BalanceThreshold,
        Self::LimitWarning,
        Self::LimitReached,
        Self::SoftLimitWarning,
        Self::SoftLimitReached,
        Self::TierLimitWarning,
        Self::TierLimitReached,
        Self::Reset,
    ];

    /// The notification type on the wire.
    pub fn notification_type(self) -> &'static str {
        match self {
            Self::BalanceThreshold => "entitlements.balance.threshold",
            Self::LimitWarning => "entitlement.limit.warning",
            Self::LimitReached => "entitlement.limit.reached",
            Self::SoftLimitWarning => "entitlement.soft_limit.warning",
            Self::SoftLimitReached => "entitlement.soft_limit.reached",
            Self::TierLimitWarning => "entitlement.tier_limit.warning",
            Self::TierLimitReached => "entitlement.tier_limit.reached",
            Self::Reset => RESET,
        }
    }

    fn encode(self, writer: &mut Writer) {
        let place = Self::ALL.iter().position(|it| *it == self).unwrap_or_default();
        writer.byte(place as u8);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Corrupt> {
        let place = usize::from(reader.byte()?);
        Self::ALL.get(place).copied().ok_or(Corrupt { expected: "a kind of rule" })
    }
}

impl Rule {
    /// Whether the rule watches this feature, for some customer.
    pub fn concerns(&self, feature: &Feature) -> bool {
        self.environment == feature.environment
            && (self.features.is_empty() || self.features.contains(&feature.id))
    }

    /// Whether the rule watches this customer.
    pub fn covers_customer(&self, customer: CustomerId) -> bool {
        self.customers.is_empty() || self.customers.contains(&customer)
    }

    /// Whether both rules watch the same features and customers.
    pub(crate) fn covers_the_same(&self, other: &Self) -> bool {
        self.features == other.features && self.customers == other.customers
    }

    pub(crate) fn encode(&self, writer: &mut Writer) {
        writer.bits(self.id.bits());
        writer.bits(self.environment.bits());
        self.kind.encode(writer);
        writer.list(self.features.iter(), |writer, it| writer.bits(it.bits()));
        writer.list(self.customers.iter(), |writer, it| writer.bits(it.bits()));
        writer.list(self.lines.iter(), |writer, it| it.encode(writer));
        writer.list(self.channels.iter(), |writer, it| writer.bits(it.bits()));
        writer.byte(u8::from(self.when_several == WhenSeveral::Highest));
        writer.byte(u8::from(self.sends_resolved));
        writer.quantity(self.hysteresis);
        writer.byte(u8::from(self.evaluate_on_create));
        writer.byte(u8::from(self.disabled));
        writer.slice(&self.document);
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, Corrupt> {
        Ok(Self {
            id: RuleId::from_bits(reader.bits()?),
            environment: EnvironmentId::from_bits(reader.bits()?),
            kind: RuleKind::decode(reader)?,
            features: reader.list(|it| it.bits().map(FeatureId::from_bits))?,
            customers: reader.list(|it| it.bits().map(CustomerId::from_bits))?,
            lines: reader.list(Line::decode)?,
            channels: reader.list(|it| it.bits().map(ChannelId::from_bits))?,
            when_several: if reader.flag()? { WhenSeveral::Highest } else { WhenSeveral::Each },
            sends_resolved: reader.flag()?,
            hysteresis: reader.quantity()?,
            evaluate_on_create: reader.flag()?,
            disabled: reader.flag()?,
            document: reader.shared()?,
        })
    }
}
