//! What applying a command does to the world, as data.
//!
//! Effects carry everything needed to act on them; acting on them decides nothing any more.

use sha2::{Digest, Sha256};

use crate::{
    catalog::meter::UncountedReason,
    codec::Writer,
    entitlement::EntitlementValue,
    ids::{CustomerId, EntitlementId, EnvironmentId, FeatureId, MeterId, NotificationId, RuleId},
    line::crossing::Crossing,
    time::Timestamp,
};

/// One thing that a command brought about.
#[derive(Debug, Clone)]
pub enum Effect {
    /// A line was crossed, or left again.
    Crossing(Box<Crossing>),
    /// A new window of an entitlement has begun.
    Reset(Box<Reset>),
    /// An event of the row moved no meter.
    Uncounted {
        /// Which event of the row.
        event: u32,
        /// Whose event it was.
        customer: CustomerId,
        /// The meter that could not count it.
        meter: MeterId,
        /// Why.
        reason: UncountedReason,
    },
}

/// A new window of an entitlement has begun.
#[derive(Debug, Clone)]
pub struct Reset {
    /// The environment.
    pub environment: EnvironmentId,
    /// Whose entitlement.
    pub customer: CustomerId,
    /// The entitlement.
    pub entitlement: EntitlementId,
    /// Its feature.
    pub feature: FeatureId,
    /// The value with which the last window closed.
    pub closed: EntitlementValue,
    /// The value with which the new window opened.
    pub opened: EntitlementValue,
    /// Whole periods that passed in between, while nobody looked.
    pub skipped: u64,
    /// Why.
    pub cause: ResetCause,
    /// When it was noticed: the stamp of the command.
    pub at: Timestamp,
}

/// Why a new window has begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResetCause {
    /// The period was over.
    Period,
    /// Someone said so.
    Manual,
}

impl ResetCause {
    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Period => "period",
            Self::Manual => "manual",
        }
    }
}

impl Reset {
    /// A digest of what makes it this reset, told by this rule or by none: what the unique index of
    /// notifications holds.
    pub fn digest(&self, rule: Option<RuleId>) -> [u8; 32] {
        let mut writer = Writer::new();
        // The first byte tells kinds of identities apart: 2 is a reset.
        writer.byte(2);
        writer.bits(self.entitlement.bits());
        writer.time(self.opened.window.from);
        writer.option(rule, |writer, it| writer.bits(it.bits()));
        Sha256::digest(writer.into_bytes()).into()
    }

    /// The id of its notification: the stamp, and 80 bits of the digest.
    pub fn notification_id(&self, rule: Option<RuleId>) -> NotificationId {
        NotificationId::of_digest(self.at, &self.digest(rule))
    }
}
