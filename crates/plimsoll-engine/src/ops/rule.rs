//! Rules: when to notify, about whom, through which channels.
//!
//! A line keeps its id while its kind, value and group stay, because its id is a part of what makes
//! a crossing fire once. Rules of type `entitlement.*` have one line that is not shown; those of
//! type `entitlements.reset` have none.
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
mod lines;
mod methods;
mod rule_type;

pub use rule_type::RuleType;

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
    /// At how many percent of the limit, or of a tier's upper bound, it warns; only of the types
    /// `entitlement.*.warning`.
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

/// A level on a value; crossing it is an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Line {
    /// The line's id; another one once its kind, value or group changes.
    #[serde(with = "as_text")]
    #[schema(value_type = String, example = "lin_01K0000000000000000000000A")]
    pub id: LineId,
    /// What the value is measured on.
    pub kind: LineKind,
    /// The level: percent, or the unit of the feature.
    #[serde(with = "as_text")]
    #[schema(value_type = String, example = "80")]
    pub value: Quantity,
    /// Which part of usage it watches; without one, all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<LineGroup>,
}

/// The part of usage that a line watches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LineGroup {
    /// The name of one of the meter's group-by keys.
    #[schema(example = "model")]
    pub key: String,
    /// The one value that it watches; without one, it watches each value by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "large")]
    pub value: Option<String>,
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
    /// What is left, in percent of the limit; crossed when it falls.
    BalancePercentage,
    /// Each multiple of the value, on usage.
    Every,
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
    /// The one line of a rule about a limit or tiers.
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
    /// Which part of usage to watch, not for a balance; all of it if absent.
    #[serde(default)]
    pub group: Option<LineGroup>,
    /// Taken and ignored, so that the lines of a rule can be sent back as they were got.
    #[serde(default)]
    #[schema(ignore)]
    #[expect(dead_code, reason = "a line keeps its id by what it is, not by being told")]
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
    /// At how many percent to warn, above 0 and below 100; 80 if absent, of tiers 75. Only for
    /// `entitlement.limit.warning`, `entitlement.soft_limit.warning` and
    /// `entitlement.tier_limit.warning`.
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
    /// The lines. Those with the kind, value and group of one before keep its id and what it has
    /// fired.
    #[serde(default)]
    #[schema(value_type = Option<Vec<NewLine>>)]
    pub lines: Patch<Vec<NewLine>>,
    /// At how many percent to warn; null for what a new rule has.
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

impl LineKind {
    const fn to_core(self) -> core_line::LineKind {
        match self {
            Self::UsagePercentage => core_line::LineKind::UsagePercentage,
            Self::UsageValue => core_line::LineKind::UsageValue,
            Self::BalanceValue => core_line::LineKind::BalanceValue,
            Self::BalancePercentage => core_line::LineKind::BalancePercentage,
            Self::Every => core_line::LineKind::Every,
        }
    }
}

/// Edges without repetition, in their order; an empty list stays empty.
fn distinct_edges(edges: Vec<Edge>) -> Vec<Edge> {
    edges.into_iter().collect::<BTreeSet<_>>().into_iter().collect()
}
