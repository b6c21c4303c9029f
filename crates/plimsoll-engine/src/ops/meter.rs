//! Meters: which events count, and by what number.
//!
//! What a meter measures never changes; its name and metadata do.
//!
//! Not here: what a meter must be (`meter::checks`), measuring (`plimsoll-core`).

use std::collections::BTreeMap;

use plimsoll_core::{ids::MeterId, quantity::Quantity, time::Timestamp};
use serde::{Deserialize, Serialize};

use crate::{
    catalogue::{EnvironmentView, index::Versioned},
    ops::{
        document::{Document, Kind},
        fields::{Metadata, MetadataPatch},
        problem::Problem,
        request::{Immutable, Patch},
        scalar::{Decimal, as_text, as_text_or_null},
    },
};

mod checks;
mod methods;

/// A meter: events of one type, put together to one number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Meter {
    /// The meter's id.
    #[serde(with = "as_text")]
    #[schema(value_type = String, example = "mtr_01K0000000000000000000000A")]
    pub id: MeterId,
    /// The meter's key, unique among meters.
    #[schema(example = "tokens")]
    pub key: String,
    /// What people call it.
    #[schema(example = "Tokens")]
    pub name: String,
    /// The `type` of the events that it measures.
    #[schema(example = "llm.request")]
    pub event_type: String,
    /// How values are put together.
    pub aggregation: Aggregation,
    /// Where the value stands inside an event's `data`, as a JSONPath of member names.
    #[schema(example = "$.tokens")]
    pub value_property: Option<String>,
    /// What each value is multiplied by; only of `sum_with_multiplier`.
    #[serde(default, with = "as_text_or_null")]
    #[schema(value_type = Option<String>, example = "0.001")]
    pub multiplier: Option<Quantity>,
    /// The length of the buckets that it looks at one by one; only of `sum` and `max`.
    #[serde(default)]
    pub bucket: Option<Bucket>,
    /// By what usage can be queried and lines be drawn: names, and where each one's value stands
    /// inside an event's `data`.
    #[serde(default)]
    #[schema(example = json!({"model": "$.model"}))]
    pub group_by: BTreeMap<String, String>,
    /// The events that it measures pass all of these.
    #[serde(default)]
    pub filters: Vec<MeterFilter>,
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

/// How the values of a meter's events are put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Aggregation {
    /// The number of events.
    Count,
    /// The sum of a value of each event; a negative value corrects.
    Sum,
    /// The mean; for queries only.
    Avg,
    /// The least; for queries only.
    Min,
    /// The greatest.
    Max,
    /// The value with the latest time.
    Latest,
    /// How many different values there are.
    UniqueCount,
    /// The sum of a value of each event, each multiplied.
    SumWithMultiplier,
    /// The sum of changes, each weighted by the part of the window after it; for queries only.
    WeightedSum,
}

/// The length of a bucket. Buckets follow the calendar, in UTC; weeks begin on Monday.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Bucket {
    /// A minute.
    Minute,
    /// A quarter of an hour.
    #[serde(rename = "15min")]
    Minutes15,
    /// Half an hour.
    #[serde(rename = "30min")]
    Minutes30,
    /// An hour.
    Hour,
    /// Three hours, counted from midnight.
    #[serde(rename = "3hour")]
    Hours3,
    /// Six hours, counted from midnight.
    #[serde(rename = "6hour")]
    Hours6,
    /// Twelve hours, counted from midnight.
    #[serde(rename = "12hour")]
    Hours12,
    /// A day.
    Day,
    /// A week.
    Week,
    /// A month.
    Month,
}

/// A condition on events: one of the values stands at the property.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MeterFilter {
    /// Where to look inside an event's `data`, as a JSONPath of member names.
    #[schema(example = "$.model")]
    pub property: String,
    /// What may stand there: texts, or numbers and booleans as they are written in the event.
    #[schema(example = json!(["small", "large"]))]
    pub values: Vec<String>,
}

/// A meter to be made.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateMeter {
    /// The meter's key, unique among meters; it never changes.
    #[schema(example = "tokens")]
    pub key: String,
    /// What people call it; the key if absent.
    #[serde(default)]
    #[schema(example = "Tokens")]
    pub name: Option<String>,
    /// The `type` of the events to measure; it never changes.
    #[schema(example = "llm.request")]
    pub event_type: String,
    /// How to put values together; it never changes.
    #[schema(value_type = Aggregation)]
    pub aggregation: String,
    /// A JSONPath of member names, such as `$.usage['total.tokens']`: refused for `count`, required
    /// for all others; it never changes.
    #[serde(default)]
    #[schema(example = "$.tokens")]
    pub value_property: Option<String>,
    /// What to multiply each value by, above zero: required for `sum_with_multiplier`, refused for
    /// all others; it never changes.
    #[serde(default)]
    pub multiplier: Option<Decimal>,
    /// Look at buckets of this length one by one, and add up their sums or their greatest values:
    /// only for `sum` and `max`; it never changes.
    #[serde(default)]
    #[schema(value_type = Option<Bucket>)]
    pub bucket: Option<String>,
    /// At most 8 names of 1 to 64 letters, digits, `_`, `.` and `-`, each with a JSONPath of member
    /// names; they never change.
    #[serde(default)]
    #[schema(example = json!({"model": "$.model"}))]
    pub group_by: BTreeMap<String, String>,
    /// At most 8 conditions, each on another property; the events to measure pass all of them. They
    /// never change.
    #[serde(default)]
    pub filters: Vec<MeterFilter>,
    /// Texts to keep with it.
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, String>)]
    pub metadata: Metadata,
}

/// A change of a meter. What is absent stays.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateMeter {
    /// What people call it.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub name: Patch<String>,
    /// Texts to set, or to remove by null.
    #[serde(default)]
    #[schema(value_type = Option<BTreeMap<String, Option<String>>>)]
    pub metadata: Patch<MetadataPatch>,
    #[serde(default)]
    #[schema(ignore)]
    key: Immutable,
    #[serde(default)]
    #[schema(ignore)]
    event_type: Immutable,
    #[serde(default)]
    #[schema(ignore)]
    aggregation: Immutable,
    #[serde(default)]
    #[schema(ignore)]
    value_property: Immutable,
    #[serde(default)]
    #[schema(ignore)]
    multiplier: Immutable,
    #[serde(default)]
    #[schema(ignore)]
    bucket: Immutable,
    #[serde(default)]
    #[schema(ignore)]
    group_by: Immutable,
    #[serde(default)]
    #[schema(ignore)]
    filters: Immutable,
}

impl Document for Meter {
    type Id = MeterId;
    const KIND: Kind = Kind::Meter;

    fn id(&self) -> MeterId {
        self.id
    }

    fn key(&self) -> Option<&str> {
        Some(&self.key)
    }
}

/// The meter with this key or id, in one environment.
pub(crate) fn find_meter<'a>(
    view: &'a EnvironmentView,
    name: &str,
) -> Result<&'a Versioned<Meter>, Problem> {
    view.meters.find(name).ok_or_else(|| Problem::not_found("meter", name))
}
