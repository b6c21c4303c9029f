//! Rules: when to notify, about whom, through which channels.
//!
//! A line keeps its id while its kind and value stay, because its id is a part of what makes a
//! crossing fire once. Rules of type `entitlement.limit.*` have one line that is not shown.
//!
//! Not here: what crossing a line means (`plimsoll-core`).

use std::collections::BTreeSet;

use plimsoll_core::{
    ids::{ChannelId, CustomerId, FeatureId, LineId, RuleId},
    line as core_line,
    quantity::Quantity,
    time::Timestamp,
};
use serde::{Deserialize, Serialize};

use crate::ops::{
    document::{Document, Kind},
    fields::{Metadata, MetadataPatch},
    request::{Immutable, Patch},
    scalar::{Decimal, as_text, as_text_list, as_text_or_null},
};

pub mod backtest;

mod checks;
mod methods;

/// A rule: when to notify, about whom, through which channels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Rule {
    /// The rule's id.
    #[serde(with = "as_text")]
    #[schema(value_type = String, example = "rul_01K0000000000000000000000A")]
    pub id: RuleId,
    /// What people call it.
    #[schema(example = "80 and 100")]
    pub name: String,
    /// The type of the notifications that it makes.
    pub r#type: RuleType,
    /// The keys of the features that it watches; none means all.
    pub features: Vec<String>,
    /// The ids of the customers that it watches; none means all.
    #[serde(with = "as_text_list")]
    #[schema(value_type = Vec<String>)]
    pub customers: Vec<CustomerId>,
    /// The levels that it watches; only of `entitlements.balance.threshold`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lines: Vec<Line>,
    /// At how many percent of the limit it warns; only of `entitlement.limit.warning`.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "as_text_or_null")]
    #[schema(value_type = Option<String>, example = "80")]
    pub warning_percentage: Option<Quantity>,
    /// The ids of the channels that its notifications go to.
    #[serde(with = "as_text_list")]
    #[schema(value_type = Vec<String>)]
    pub channels: Vec<ChannelId>,
    /// What happens when one change crosses several lines.
    pub when_several: WhenSeveral,
    /// Which edges are sent.
    pub notify_on: Vec<Edge>,
    /// How far a value must fall back to arm a line again, in the line's unit.
    #[serde(with = "as_text")]
    #[schema(value_type = String, example = "0")]
    pub hysteresis: Quantity,
    /// Whether a line that is already reached when it begins to apply fires.
    pub evaluate_on_create: bool,
    /// Whether its notifications are recorded without being sent.
    pub disabled: bool,
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
}

/// A level on a value; crossing it is an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Line {
    /// The line's id; another one once its kind or value changes.
    #[serde(with = "as_text")]
    #[schema(value_type = String, example = "lin_01K0000000000000000000000A")]
    pub id: LineId,
    /// What the value is measured on.
    pub kind: LineKind,
    /// The level: percent, or the unit of the feature.
    #[serde(with = "as_text")]
    #[schema(value_type = String, example = "80")]
    pub value: Quantity,
}

/// What a line is drawn on.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum LineKind {
    /// Usage in percent of the limit.
    UsagePercentage,
    /// Usage.
    UsageValue,
    /// What is left of the limit; crossed when it falls.
    BalanceValue,
}

/// What happens when one change crosses several lines of a rule.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum WhenSeveral {
    /// Each line fires, ascending.
    #[default]
    Each,
    /// Only the furthest line fires, in each direction.
    Highest,
}

/// Which edge of a line.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Edge {
    /// The value has reached the line.
    Crossed,
    /// The value has gone back behind the line.
    Resolved,
}

/// A rule as its row keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredRule {
    /// What the API shows of it.
    #[serde(flatten)]
    pub rule: Rule,
    /// The ids of the features that it watches, in the order of their keys.
    #[serde(with = "as_text_list")]
    feature_ids: Vec<FeatureId>,
    /// The one line of a rule about the limit.
    #[serde(default, with = "as_text_or_null")]
    limit_line: Option<LineId>,
}

/// A line to be drawn.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewLine {
    /// What the value is measured on.
    pub kind: LineKind,
    /// The level, above zero or for a balance at least zero: percent, or the unit of the feature.
    pub value: Decimal,
    /// Taken and ignored, so that the lines of a rule can be sent back as they were got.
    #[serde(default)]
    #[schema(ignore)]
    #[expect(dead_code, reason = "a line keeps its id by its kind and value, not by being told")]
    id: Option<String>,
}

/// A rule to be made.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateRule {
    /// What people call it.
    #[schema(example = "80 and 100")]
    pub name: String,
    /// The type of the notifications to make.
    #[schema(value_type = RuleType)]
    pub r#type: String,
    /// The keys or ids of the features to watch; all if absent.
    #[serde(default)]
    #[schema(example = json!(["tokens"]))]
    pub features: Vec<String>,
    /// The keys or ids of the customers to watch; all if absent.
    #[serde(default)]
    pub customers: Vec<String>,
    /// 1 to 20 lines: required for `entitlements.balance.threshold`, refused otherwise.
    #[serde(default)]
    pub lines: Vec<NewLine>,
    /// At how many percent of the limit to warn, above 0 and below 100; 80 if absent. Only for
    /// `entitlement.limit.warning`.
    #[serde(default)]
    pub warning_percentage: Option<Decimal>,
    /// The ids of 1 to 20 channels.
    pub channels: Vec<String>,
    /// `each` if absent.
    #[serde(default)]
    pub when_several: WhenSeveral,
    /// `["crossed"]` if absent.
    #[serde(default)]
    pub notify_on: Option<Vec<Edge>>,
    /// How far a value must fall back to arm a line again, in the line's unit; 0 if absent.
    #[serde(default)]
    pub hysteresis: Option<Decimal>,
    /// Whether a line that is already reached when it begins to apply fires; true if absent.
    #[serde(default)]
    pub evaluate_on_create: Option<bool>,
    /// Whether notifications are to be recorded without being sent.
    #[serde(default)]
    pub disabled: bool,
    /// Texts to keep with it.
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, String>)]
    pub metadata: Metadata,
}

/// A change of a rule. What is absent stays; a list replaces the one before.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateRule {
    /// What people call it.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub name: Patch<String>,
    /// The keys or ids of the features to watch; null for all.
    #[serde(default)]
    #[schema(value_type = Option<Vec<String>>)]
    pub features: Patch<Vec<String>>,
    /// The keys or ids of the customers to watch; null for all.
    #[serde(default)]
    #[schema(value_type = Option<Vec<String>>)]
    pub customers: Patch<Vec<String>>,
    /// The lines. Those with the kind and value of one before keep its id and what it has fired.
    #[serde(default)]
    #[schema(value_type = Option<Vec<NewLine>>)]
    pub lines: Patch<Vec<NewLine>>,
    /// At how many percent of the limit to warn; null for 80.
    #[serde(default)]
    #[schema(value_type = Option<Decimal>)]
    pub warning_percentage: Patch<Decimal>,
    /// The ids of 1 to 20 channels.
    #[serde(default)]
    #[schema(value_type = Option<Vec<String>>)]
    pub channels: Patch<Vec<String>>,
    /// What happens when one change crosses several lines.
    #[serde(default)]
    #[schema(value_type = Option<WhenSeveral>)]
    pub when_several: Patch<WhenSeveral>,
    /// Which edges are sent.
    #[serde(default)]
    #[schema(value_type = Option<Vec<Edge>>)]
    pub notify_on: Patch<Vec<Edge>>,
    /// How far a value must fall back to arm a line again; null for 0.
    #[serde(default)]
    #[schema(value_type = Option<Decimal>)]
    pub hysteresis: Patch<Decimal>,
    /// Whether a line that is already reached when it begins to apply fires.
    #[serde(default)]
    #[schema(value_type = Option<bool>)]
    pub evaluate_on_create: Patch<bool>,
    /// Whether notifications are to be recorded without being sent.
    #[serde(default)]
    #[schema(value_type = Option<bool>)]
    pub disabled: Patch<bool>,
    /// Texts to set, or to remove by null.
    #[serde(default)]
    #[schema(value_type = Option<BTreeMap<String, Option<String>>>)]
    pub metadata: Patch<MetadataPatch>,
    #[serde(default)]
    #[schema(ignore)]
    r#type: Immutable,
}

impl Document for StoredRule {
    type Id = RuleId;
    const KIND: Kind = Kind::Rule;

    fn id(&self) -> RuleId {
        self.rule.id
    }
}

impl StoredRule {
    /// Whether the rule names this feature; a rule about all features names none.
    pub(crate) fn names_feature(&self, feature: FeatureId) -> bool {
        self.feature_ids.contains(&feature)
    }
}

impl RuleType {
    /// The notification type on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BalanceThreshold => "entitlements.balance.threshold",
            Self::LimitWarning => "entitlement.limit.warning",
            Self::LimitReached => "entitlement.limit.reached",
        }
    }
}

impl LineKind {
    const fn to_core(self) -> core_line::LineKind {
        match self {
            Self::UsagePercentage => core_line::LineKind::UsagePercentage,
            Self::UsageValue => core_line::LineKind::UsageValue,
            Self::BalanceValue => core_line::LineKind::BalanceValue,
        }
    }
}

/// Edges without repetition, in their order; an empty list stays empty.
fn distinct_edges(edges: Vec<Edge>) -> Vec<Edge> {
    edges.into_iter().collect::<BTreeSet<_>>().into_iter().collect()
}
