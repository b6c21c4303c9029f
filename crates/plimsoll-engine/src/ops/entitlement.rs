//! Entitlements: one customer's right to one feature.
//!
//! A customer has at most one entitlement to a feature. Its usage period never changes, but for the
//! anchor of a billing cycle; its limits, tiers, value and metadata do.
//!
//! Not here: usage and what it does to lines (`plimsoll-core`), grants (`ops::grant`).

use plimsoll_core::{
    ids::{CustomerId, EntitlementId},
    quantity::Quantity,
    time::Timestamp,
};
use serde::{Deserialize, Serialize};

use crate::ops::{
    document::{Document, Kind},
    feature::FeatureType,
    fields::{Metadata, MetadataPatch},
    request::{Immutable, Patch},
    scalar::{Decimal, Time, as_text, as_text_or_null},
};

mod allowance;
mod checks;
mod history;
mod methods;
mod reset;
mod scheduled;
mod value;

pub use allowance::{Source, SourceType, Tier};
pub use history::{BurnedGrant, History, HistoryRequest, Segment, UsageWindow};
pub use reset::ResetEntitlement;
pub(crate) use scheduled::document_at;
pub(in crate::ops) use scheduled::effective_at;
pub use scheduled::{ScheduledChange, ScheduledReset};
pub use value::{EntitlementValue, FeatureAccess, GrantBalance, MeteredValue, Period};

/// An entitlement: one customer's right to one feature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Entitlement {
    /// The entitlement's id.
    #[serde(with = "as_text")]
    #[schema(value_type = String, example = "ent_01K0000000000000000000000A")]
    pub id: EntitlementId,
    /// The id of the customer whose right it is.
    #[serde(with = "as_text")]
    #[schema(value_type = String, example = "cus_01K0000000000000000000000A")]
    pub customer: CustomerId,
    /// The key of the feature.
    #[schema(example = "tokens")]
    pub feature: String,
    /// The type of the feature.
    pub r#type: FeatureType,
    /// How much in each period: what the sources add up to, without grants; null is unlimited.
    /// Only of a metered one.
    #[serde(with = "as_text_or_null")]
    #[schema(value_type = Option<String>, example = "1000")]
    pub limit: Option<Quantity>,
    /// How much may be used before someone is told: what the sources add up to; null is none. Only
    /// of a metered one.
    #[serde(default, with = "as_text_or_null")]
    #[schema(value_type = Option<String>, example = "800")]
    pub soft_limit: Option<Quantity>,
    /// What the limits are summed from. Only of a metered one.
    #[serde(default)]
    pub sources: Vec<Source>,
    /// Steps of usage, ascending. Only of a metered one.
    #[serde(default)]
    pub tiers: Vec<Tier>,
    /// How long usage adds up before it starts again at zero. Only of a metered one.
    pub usage_period: Option<UsagePeriod>,
    /// When the limit burns, among grants: lower numbers first. Only of a metered one.
    #[serde(default)]
    pub limit_priority: Option<u8>,
    /// Whether what was used beyond the limit counts in the next period. Only of a metered one.
    #[serde(default)]
    pub preserve_overage_at_reset: Option<bool>,
    /// From when on usage counted when it was made. Only of a metered one.
    #[serde(default)]
    pub measure_usage_from: Option<MeasureFrom>,
    /// Limits, sources and tiers to come, the earliest first.
    #[serde(default)]
    pub scheduled_changes: Vec<ScheduledChange>,
    /// Resets to come that someone asked for, the earliest first.
    #[serde(default)]
    pub scheduled_resets: Vec<ScheduledReset>,
    /// The configured value, if it is not the feature's. Only of a static one.
    #[schema(value_type = Option<serde_json::Value>)]
    pub value: Option<serde_json::Value>,
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

/// How long usage adds up before it starts again at zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UsagePeriod {
    /// The length of a period.
    pub interval: Interval,
    /// A moment at which some period starts; absent or null follows the calendar, in UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anchor: Option<Time>,
}

/// From when on an entitlement counts usage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum MeasureFrom {
    /// From the moment at which it is made.
    #[default]
    Now,
    /// From the start of the period in which it is made.
    PeriodStart,
}

/// The length of a usage period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Interval {
    /// 60 minutes.
    Hour,
    /// 24 hours.
    Day,
    /// Seven days; by the calendar from Monday.
    Week,
    /// A month of the calendar.
    Month,
    /// Three months of the calendar, from January, April, July and October.
    Quarter,
    /// Six months of the calendar, from January and July.
    HalfYear,
    /// A year of the calendar.
    Year,
    /// One period for ever, unless someone resets it.
    Never,
    /// The billing cycle of the subscription, which sets the anchor; monthly until there is one.
    BillingCycle,
}

/// An entitlement to be made.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateEntitlement {
    /// The key or id of the feature.
    #[schema(example = "tokens")]
    pub feature: String,
    /// The type of the feature: `metered`, `boolean` or `static`.
    #[schema(value_type = FeatureType)]
    pub r#type: String,
    /// How much in each period, not below zero; null or absent is unlimited. Only for `metered`.
    #[serde(default)]
    pub limit: Option<Decimal>,
    /// How much may be used before someone is told; null or absent is none. Only for `metered`.
    #[serde(default)]
    pub soft_limit: Option<Decimal>,
    /// What the limits are summed from, in place of `limit` and `soft_limit`. Only for `metered`.
    #[serde(default)]
    pub sources: Option<Vec<Source>>,
    /// Steps of usage, ascending; only the last may be null. Only for `metered`.
    #[serde(default)]
    pub tiers: Option<Vec<Tier>>,
    /// How long usage adds up before it starts again at zero: required for `metered`, refused
    /// otherwise.
    #[serde(default)]
    pub usage_period: Option<UsagePeriod>,
    /// When the limit burns, among grants: lower numbers first; 1 if absent. Only for `metered`.
    #[serde(default)]
    pub limit_priority: Option<u8>,
    /// Whether what was used beyond the limit counts in the next period; false if absent. Only for
    /// `metered`.
    #[serde(default)]
    pub preserve_overage_at_reset: Option<bool>,
    /// From when on usage counts: `now` if absent. Only for `metered`.
    #[serde(default)]
    pub measure_usage_from: Option<MeasureFrom>,
    /// The configured value; the feature's if absent. Only for `static`.
    #[serde(default)]
    #[schema(value_type = Option<serde_json::Value>)]
    pub value: Option<serde_json::Value>,
    /// Texts to keep with it.
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, String>)]
    pub metadata: Metadata,
}

/// A change of an entitlement. What is absent stays.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateEntitlement {
    /// How much in each period; null is unlimited. Not where there are `sources`.
    #[serde(default)]
    #[schema(value_type = Option<Decimal>)]
    pub limit: Patch<Decimal>,
    /// How much may be used before someone is told; null is none. Not where there are `sources`.
    #[serde(default)]
    #[schema(value_type = Option<Decimal>)]
    pub soft_limit: Patch<Decimal>,
    /// What the limits are summed from, all of it.
    #[serde(default)]
    #[schema(value_type = Option<Vec<Source>>)]
    pub sources: Patch<Vec<Source>>,
    /// Steps of usage, all of them; null is none.
    #[serde(default)]
    #[schema(value_type = Option<Vec<Tier>>)]
    pub tiers: Patch<Vec<Tier>>,
    /// When limits, sources and tiers change; at once if absent, never earlier.
    #[serde(default)]
    pub effective_at: Option<Time>,
    /// Whether what was used beyond the limit counts in the next period.
    #[serde(default)]
    #[schema(value_type = Option<bool>)]
    pub preserve_overage_at_reset: Patch<bool>,
    /// Another anchor; only of a billing cycle.
    #[serde(default)]
    #[schema(value_type = Option<UsagePeriod>)]
    pub usage_period: Patch<PeriodPatch>,
    /// The configured value; null for the feature's.
    #[serde(default)]
    #[schema(value_type = Option<serde_json::Value>)]
    pub value: Patch<serde_json::Value>,
    /// Texts to set, or to remove by null.
    #[serde(default)]
    #[schema(value_type = Option<BTreeMap<String, Option<String>>>)]
    pub metadata: Patch<MetadataPatch>,
    #[serde(default)]
    #[schema(ignore)]
    feature: Immutable,
    #[serde(default)]
    #[schema(ignore)]
    r#type: Immutable,
    #[serde(default)]
    #[schema(ignore)]
    limit_priority: Immutable,
    #[serde(default)]
    #[schema(ignore)]
    measure_usage_from: Immutable,
}

/// A change of a usage period: of a billing cycle, the anchor.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeriodPatch {
    /// The interval as it is.
    #[serde(default)]
    pub interval: Option<Interval>,
    /// A moment at which some cycle starts; null follows the calendar, in UTC.
    #[serde(default)]
    pub anchor: Patch<Time>,
}

impl Document for Entitlement {
    type Id = EntitlementId;
    const KIND: Kind = Kind::Entitlement;

    fn id(&self) -> EntitlementId {
        self.id
    }
}
