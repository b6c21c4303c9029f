//! Grants: dated quantities put into an entitlement.
//!
//! A grant never changes; what is left of it can be voided. The row says what was granted, the
//! partition what is left of it.
//!
//! Not here: the order in which grants burn, rollover and recurrence (`plimsoll-core`).

use plimsoll_core::{
    ids::{EntitlementId, GrantId},
    quantity::Quantity,
    time::Timestamp,
};
use serde::{Deserialize, Serialize};

use crate::ops::{
    document::{Document, Kind},
    entitlement::UsagePeriod,
    fields::Metadata,
    scalar::{Decimal, Time, as_text, as_text_or_null},
};

mod checks;
mod methods;

/// A quantity that an entitlement may use, from one moment to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Grant {
    /// The grant's id.
    #[serde(with = "as_text")]
    #[schema(value_type = String, example = "grt_01K0000000000000000000000A")]
    pub id: GrantId,
    /// The entitlement that it was put into.
    #[serde(with = "as_text")]
    #[schema(value_type = String, example = "ent_01K0000000000000000000000A")]
    pub entitlement: EntitlementId,
    /// How much.
    #[serde(with = "as_text")]
    #[schema(value_type = String, example = "100")]
    pub amount: Quantity,
    /// When it burns: lower numbers first.
    pub priority: u8,
    /// From when on it can be used.
    #[serde(with = "as_text")]
    #[schema(value_type = String, format = DateTime)]
    pub effective_at: Timestamp,
    /// From when on it can be used no longer; null is never.
    #[serde(with = "as_text_or_null")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
    /// When it is set back to its amount; null is never.
    pub recurrence: Option<UsagePeriod>,
    /// What a reset leaves of it at least.
    #[serde(with = "as_text")]
    #[schema(value_type = String, example = "0")]
    pub min_rollover: Quantity,
    /// What a reset leaves of it at most.
    #[serde(with = "as_text")]
    #[schema(value_type = String, example = "100")]
    pub max_rollover: Quantity,
    /// When what is left of it was voided, or will be; null is never.
    #[serde(with = "as_text_or_null")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub voided_at: Option<Timestamp>,
    /// Texts that Plimsoll keeps and never reads.
    #[schema(value_type = BTreeMap<String, String>)]
    pub metadata: Metadata,
    /// When it was made.
    #[serde(with = "as_text")]
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it was last changed.
    #[serde(with = "as_text")]
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

/// A grant and where it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct GrantStanding {
    /// The grant.
    #[serde(flatten)]
    pub grant: Grant,
    /// What is left of it; 0 before it is effective and after it has ended.
    #[serde(with = "as_text")]
    #[schema(value_type = String, example = "40")]
    pub balance: Quantity,
    /// Whether it can be used now.
    pub is_active: bool,
}

/// A grant to be made.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateGrant {
    /// How much, above zero.
    pub amount: Decimal,
    /// When it burns: lower numbers first; 1 if absent.
    #[serde(default)]
    pub priority: Option<u8>,
    /// From when on it can be used, never earlier than now; now if absent.
    #[serde(default)]
    pub effective_at: Option<Time>,
    /// From when on it can be used no longer; never if absent.
    #[serde(default)]
    pub expires_at: Option<Time>,
    /// The same, counted from `effective_at`.
    #[serde(default)]
    pub expiration: Option<Expiration>,
    /// When it is set back to its amount, whatever is left of it; never if absent.
    #[serde(default)]
    pub recurrence: Option<UsagePeriod>,
    /// What a reset leaves of it at least, not below zero; 0 if absent.
    #[serde(default)]
    pub min_rollover: Option<Decimal>,
    /// What a reset leaves of it at most; the amount if absent.
    #[serde(default)]
    pub max_rollover: Option<Decimal>,
    /// Texts to keep with it.
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, String>)]
    pub metadata: Metadata,
}

/// How long a grant can be used.
#[derive(Debug, Clone, Copy, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Expiration {
    /// Of what.
    pub duration: ExpirationUnit,
    /// How many, 1 to 1000.
    pub count: u32,
}

/// What the time of an expiration is counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ExpirationUnit {
    /// 60 minutes.
    Hour,
    /// 24 hours.
    Day,
    /// Seven days.
    Week,
    /// A month of the calendar; the 31st falls on the last day of a shorter one.
    Month,
    /// A year of the calendar.
    Year,
}

/// When what is left of a grant is voided.
#[derive(Debug, Clone, Copy, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct VoidGrant {
    /// When, never earlier than now; now if absent.
    #[serde(default)]
    #[param(value_type = Option<String>)]
    pub at: Option<Time>,
}

impl Document for Grant {
    type Id = GrantId;
    const KIND: Kind = Kind::Grant;

    fn id(&self) -> GrantId {
        self.id
    }
}
