//! What is known about a line that was crossed, and what makes it this crossing and no other.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::{
    catalog::LineOrigin,
    codec::Writer,
    entitlement::EntitlementValue,
    ids::{CustomerId, EntitlementId, EnvironmentId, FeatureId, LineId, NotificationId, RuleId},
    line::Line,
    quantity::Quantity,
    rule::Rule,
    time::Timestamp,
};

/// What makes a crossing this one: at most one notification exists for it, ever (design 5.3).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// The rule.
    pub rule: RuleId,
    /// The line inside the rule.
    pub line: LineId,
    /// Whose value crossed.
    pub entitlement: EntitlementId,
    /// The group-by value whose usage crossed, of a line on groups.
    pub group: Option<Box<str>>,
    /// Start of the window in which it crossed.
    pub window_from: Timestamp,
    /// Which of a line's levels: the multiple, or the upper bound of the tier.
    pub step: Option<Quantity>,
    /// How often the line was armed again in this window.
    pub generation: u32,
    /// Whether the line was reached or left.
    pub edge: Edge,
}

/// Whether a line was reached or left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Edge {
    /// The value came to or past the line.
    Crossed,
    /// The value is on the near side of the line again.
    Resolved,
}

/// Why a value came to be on the other side of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// A usage event moved it.
    Usage,
    /// The limit, or a tier, was changed.
    LimitChanged,
    /// A grant was added, or became active.
    GrantActive,
    /// A grant was set back to its amount.
    GrantRecurred,
    /// A grant expired.
    GrantExpired,
    /// A grant was voided.
    GrantVoided,
    /// A window began with usage that was carried over.
    Reset,
    /// The entitlement was made.
    EntitlementCreated,
    /// The line began to apply.
    Line(LineOrigin),
    /// The rule was changed otherwise: a smaller hysteresis leaves a line.
    RuleChanged,
}

/// Why a notification exists but is not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Suppression {
    /// The rule was disabled at the time (row 16).
    RuleDisabled,
    /// The line was left, and the rule's `notify_on` does not name that (row 10).
    ResolvedNotWanted,
}

/// A line was crossed, or left again.
#[derive(Debug, Clone)]
pub struct Crossing {
    /// What makes it this crossing.
    pub identity: Identity,
    /// The environment.
    pub environment: EnvironmentId,
    /// Whose value crossed.
    pub customer: CustomerId,
    /// The feature of the entitlement.
    pub feature: FeatureId,
    /// The rule as it was.
    pub rule: Arc<Rule>,
    /// The line.
    pub line: Line,
    /// Where the line stood, in its own terms: `80 %` of 1000 is 800.
    pub level: Quantity,
    /// How many multiples this notification stands for; one for other lines.
    pub count: u64,
    /// Whether it happened in a window that had closed (row 11).
    pub late: bool,
    /// Usage before; that of the group, of a line on groups.
    pub previous_usage: Quantity,
    /// The value after; with the usage of the group, of a line on groups.
    pub value: EntitlementValue,
    /// Why.
    pub cause: Cause,
    /// When: the stamp of the command.
    pub at: Timestamp,
    /// Which event of the usage row it was, if it was one.
    pub event: Option<u32>,
    /// Why it is not sent, if it is not.
    pub suppression: Option<Suppression>,
}

impl Identity {
    /// A digest of the identity: what the unique index of notifications holds.
    pub fn digest(&self) -> [u8; 32] {
        let mut writer = Writer::new();
        // The first byte tells kinds of identities apart: 1 is a crossing of an entitlement's line.
        writer.byte(1);
        writer.bits(self.rule.bits());
        writer.bits(self.line.bits());
        writer.bits(self.entitlement.bits());
        writer.option(self.group.as_deref(), Writer::text);
        writer.time(self.window_from);
        writer.option(self.step, Writer::quantity);
        writer.number(u64::from(self.generation));
        writer.byte(match self.edge {
            Edge::Crossed => 0,
            Edge::Resolved => 1,
        });
        Sha256::digest(writer.into_bytes()).into()
    }
}

impl Crossing {
    /// The id of its notification: the stamp, and 80 bits of the identity's digest.
    pub fn notification_id(&self) -> NotificationId {
        NotificationId::of_digest(self.at, &self.identity.digest())
    }
}

impl Edge {
    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Crossed => "crossed",
            Self::Resolved => "resolved",
        }
    }
}

impl Cause {
    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Usage => "usage",
            Self::LimitChanged => "limit_changed",
            Self::GrantActive => "grant_active",
            Self::GrantRecurred => "grant_recurred",
            Self::GrantExpired => "grant_expired",
            Self::GrantVoided => "grant_voided",
            Self::Reset => "reset",
            Self::EntitlementCreated => "entitlement_created",
            Self::Line(LineOrigin::RuleCreated) => "rule_created",
            Self::Line(LineOrigin::RuleEnabled) => "rule_enabled",
            Self::Line(LineOrigin::LineAdded) => "line_added",
            Self::Line(LineOrigin::ScopeChanged) => "scope_changed",
            Self::RuleChanged => "rule_changed",
        }
    }
}

impl Suppression {
    /// The stable code.
    pub fn code(self) -> &'static str {
        match self {
            Self::RuleDisabled => "rule_disabled",
            Self::ResolvedNotWanted => "resolved_not_wanted",
        }
    }
}
