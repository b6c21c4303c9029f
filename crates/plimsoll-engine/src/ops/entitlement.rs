//! Entitlements: one customer's right to one feature.
//!
//! A customer has at most one entitlement to a feature. Its usage period never changes; its limit,
//! value and metadata do.
//!
//! Not here: usage and what it does to lines (`plimsoll-core`).

use plimsoll_core::{
    entitlement as core,
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

mod checks;
mod methods;

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
    /// How much in each period; null is unlimited. Only of a metered one.
    #[serde(with = "as_text_or_null")]
    #[schema(value_type = Option<String>, example = "1000")]
    pub limit: Option<Quantity>,
    /// How long usage adds up before it starts again at zero. Only of a metered one.
    pub usage_period: Option<UsagePeriod>,
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
    /// A year of the calendar.
    Year,
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
    /// How long usage adds up before it starts again at zero: required for `metered`, refused
    /// otherwise.
    #[serde(default)]
    pub usage_period: Option<UsagePeriod>,
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
    /// How much in each period; null is unlimited. It applies at once.
    #[serde(default)]
    #[schema(value_type = Option<Decimal>)]
    pub limit: Patch<Decimal>,
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
    usage_period: Immutable,
}

/// Where an entitlement stands now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(untagged)]
pub enum EntitlementValue {
    /// Of a metered feature.
    Metered(MeteredValue),
    /// Of a static feature.
    Static {
        /// Always true.
        has_access: bool,
        /// The configured value.
        #[schema(value_type = serde_json::Value)]
        value: serde_json::Value,
    },
    /// Of a boolean feature.
    Boolean {
        /// Always true.
        has_access: bool,
    },
}

/// Where a metered entitlement stands in its current period.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct MeteredValue {
    /// Whether the customer may use the feature now: below the limit, or unlimited.
    pub has_access: bool,
    /// What was used in the period.
    #[serde(with = "as_text")]
    #[schema(value_type = String, example = "812")]
    pub usage: Quantity,
    /// The limit; null is unlimited.
    #[serde(with = "as_text_or_null")]
    #[schema(value_type = Option<String>, example = "1000")]
    pub limit: Option<Quantity>,
    /// What is left of the limit; null without one.
    #[serde(with = "as_text_or_null")]
    #[schema(value_type = Option<String>, example = "188")]
    pub balance: Option<Quantity>,
    /// What was used beyond the limit.
    #[serde(with = "as_text")]
    #[schema(value_type = String, example = "0")]
    pub overage: Quantity,
    /// Usage in percent of the limit, to four places; null without a limit or with a limit of 0.
    #[serde(with = "as_text_or_null")]
    #[schema(value_type = Option<String>, example = "81.2")]
    pub usage_percentage: Option<Quantity>,
    /// The period.
    pub period: Period,
}

/// From one moment to the moment after its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Period {
    /// The first moment inside.
    #[serde(with = "as_text")]
    #[schema(value_type = String, format = DateTime)]
    pub from: Timestamp,
    /// The first moment after.
    #[serde(with = "as_text")]
    #[schema(value_type = String, format = DateTime)]
    pub to: Timestamp,
}

impl Document for Entitlement {
    type Id = EntitlementId;
    const KIND: Kind = Kind::Entitlement;

    fn id(&self) -> EntitlementId {
        self.id
    }
}

/// Places of a percentage that are shown.
const PERCENTAGE_PLACES: u32 = 4;

impl MeteredValue {
    fn of(value: core::EntitlementValue) -> Self {
        Self {
            has_access: value.has_access,
            usage: value.usage,
            limit: value.limit,
            balance: value.balance,
            overage: value.overage,
            usage_percentage: value.usage_percentage.map(|it| it.rounded(PERCENTAGE_PLACES)),
            period: Period { from: value.window.from, to: value.window.to },
        }
    }
}
