//! The types of rules: what each makes, and the line that it has without showing it.
//!
//! Not here: lines that a rule draws itself (`rule::lines`).

use plimsoll_core::{line::LineKind, rule::RuleKind};
use serde::{Deserialize, Serialize};

/// The type of the notifications that a rule makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub enum RuleType {
    /// A value crosses a line that the rule draws.
    #[serde(rename = "entitlements.balance.threshold")]
    BalanceThreshold,
    /// Usage comes near the hard limit.
    #[serde(rename = "entitlement.limit.warning")]
    LimitWarning,
    /// Usage reaches the hard limit.
    #[serde(rename = "entitlement.limit.reached")]
    LimitReached,
    /// Usage comes near the soft limit.
    #[serde(rename = "entitlement.soft_limit.warning")]
    SoftLimitWarning,
    /// Usage reaches the soft limit.
    #[serde(rename = "entitlement.soft_limit.reached")]
    SoftLimitReached,
    /// Usage comes near the upper bound of a tier.
    #[serde(rename = "entitlement.tier_limit.warning")]
    TierLimitWarning,
    /// Usage reaches the upper bound of a tier.
    #[serde(rename = "entitlement.tier_limit.reached")]
    TierLimitReached,
    /// A new window has begun.
    #[serde(rename = "entitlements.reset")]
    Reset,
}

impl RuleType {
    pub(super) const ALL: [Self; 8] = [
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
    pub fn as_str(self) -> &'static str {
        self.to_core().notification_type()
    }

    pub(super) const fn to_core(self) -> RuleKind {
        match self {
            Self::BalanceThreshold => RuleKind::BalanceThreshold,
            Self::LimitWarning => RuleKind::LimitWarning,
            Self::LimitReached => RuleKind::LimitReached,
            Self::SoftLimitWarning => RuleKind::SoftLimitWarning,
            Self::SoftLimitReached => RuleKind::SoftLimitReached,
            Self::TierLimitWarning => RuleKind::TierLimitWarning,
            Self::TierLimitReached => RuleKind::TierLimitReached,
            Self::Reset => RuleKind::Reset,
        }
    }

    /// What the one line that is not shown is drawn on; nothing where a rule draws its own, or
    /// has none.
    pub(super) const fn hidden_line(self) -> Option<LineKind> {
        match self {
            Self::BalanceThreshold | Self::Reset => None,
            Self::LimitWarning | Self::LimitReached => Some(LineKind::Limit),
            Self::SoftLimitWarning | Self::SoftLimitReached => Some(LineKind::SoftLimit),
            Self::TierLimitWarning | Self::TierLimitReached => Some(LineKind::TierLimit),
        }
    }

    /// At how many percent a rule warns if it does not say; nothing of a type that does not warn.
    pub(super) const fn default_warning(self) -> Option<i64> {
        match self {
            Self::LimitWarning | Self::SoftLimitWarning => Some(80),
            Self::TierLimitWarning => Some(75),
            Self::BalanceThreshold
            | Self::LimitReached
            | Self::SoftLimitReached
            | Self::TierLimitReached
            | Self::Reset => None,
        }
    }
}
