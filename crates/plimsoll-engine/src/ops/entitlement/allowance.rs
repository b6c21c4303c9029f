//! How much an entitlement allows: limits, the sources that they are summed from, and tiers.
//!
//! A plain limit is a source too, of the customer itself, so that an answer can always say where a
//! limit comes from.
//!
//! Not here: how sources add up (`plimsoll-core`), grants (`ops::grant`).

use std::collections::BTreeSet;

use plimsoll_core::{entitlement::source, limits, quantity::Quantity};
use serde::{Deserialize, Serialize};

use crate::ops::{
    entitlement::Entitlement,
    fields,
    problem::{Problem, ProblemCode},
    request::Patch,
    scalar::Decimal,
};

/// The key of the source that a plain limit becomes.
const OWN: &str = "customer";

/// One thing that the limits of an entitlement are summed from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// What it is.
    pub r#type: SourceType,
    /// Its name, unique among the sources of the entitlement.
    #[schema(example = "pro")]
    pub key: String,
    /// What it allows in each period, not below zero; null is unlimited.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "300")]
    pub limit: Option<Decimal>,
    /// What may be used of it before someone is told; null is the same as `limit`.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub soft_limit: Option<Decimal>,
    /// How many times it counts; 1 if absent.
    #[serde(default = "once")]
    pub quantity: u32,
    /// The key of the source that it replaces, if it replaces one.
    #[serde(default)]
    pub overrides: Option<String>,
}

/// What a source is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SourceType {
    /// What a plan includes.
    Plan,
    /// What an addon brings.
    Addon,
    /// What was agreed for one subscription.
    Subscription,
    /// What was agreed with the customer.
    Customer,
}

/// A step of usage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Tier {
    /// The usage at which it ends, above zero; null is never, and only of the last one.
    #[schema(value_type = Option<String>, example = "100")]
    pub up_to: Option<Decimal>,
}

/// What changes as one, now or later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Allowance {
    pub(super) limits: source::Limits,
    pub(super) sources: Vec<Source>,
    pub(super) tiers: Vec<Tier>,
}

/// What a request says about an [`Allowance`].
#[derive(Debug, Clone, Default)]
pub(super) struct AllowancePatch {
    pub(super) limit: Patch<Decimal>,
    pub(super) soft_limit: Patch<Decimal>,
    pub(super) sources: Patch<Vec<Source>>,
    pub(super) tiers: Patch<Vec<Tier>>,
}

const fn once() -> u32 {
    1
}

impl Source {
    fn own(limit: Option<Decimal>, soft_limit: Option<Decimal>) -> Self {
        let (r#type, key) = (SourceType::Customer, OWN.to_owned());
        Self { r#type, key, limit, soft_limit, quantity: 1, overrides: None }
    }

    /// Whether it stands for a plain limit.
    fn is_own(&self) -> bool {
        *self == Self::own(self.limit, self.soft_limit)
    }

    fn to_core(&self) -> source::Source<'_> {
        source::Source {
            key: &self.key,
            quantity: self.quantity,
            hard: self.limit.map(|it| it.0),
            soft: self.soft_limit.map(|it| it.0),
            overrides: self.overrides.as_deref(),
        }
    }
}

impl Allowance {
    /// A plain limit, of which the entitlement is without sources so far.
    pub(super) fn own(limits: source::Limits, tiers: Vec<Tier>) -> Self {
        let decimal = |it: Option<Quantity>| it.map(Decimal);
        let sources = vec![Source::own(decimal(limits.hard), decimal(limits.soft))];
        Self { limits, sources, tiers }
    }

    /// Unlimited.
    pub(super) fn unlimited() -> Self {
        Self::own(source::Limits::default(), Vec::new())
    }

    /// What an entitlement allows.
    pub(super) fn of(entitlement: &Entitlement) -> Self {
        let Entitlement { limit, soft_limit, sources, tiers, .. } = entitlement;
        let limits = source::Limits { hard: *limit, soft: *soft_limit };
        Self { limits, sources: sources.clone(), tiers: tiers.clone() }
    }

    /// Makes an entitlement allow this.
    pub(super) fn put_into(self, entitlement: &mut Entitlement) {
        entitlement.limit = self.limits.hard;
        entitlement.soft_limit = self.limits.soft;
        entitlement.sources = self.sources;
        entitlement.tiers = self.tiers;
    }

    /// The same after a change.
    pub(super) fn patched(mut self, patch: AllowancePatch) -> Result<Self, Problem> {
        let AllowancePatch { limit, soft_limit, sources, tiers } = patch;
        let is_plain = matches!((&limit, &soft_limit), (Patch::Keep, Patch::Keep));
        match sources {
            Patch::Keep if is_plain => {}
            Patch::Keep => {
                let [own] = &self.sources[..] else { return Err(is_summed()) };
                if !own.is_own() {
                    return Err(is_summed());
                }
                let own = Source::own(limit.apply(own.limit), soft_limit.apply(own.soft_limit));
                not_negative("limit", own.limit)?;
                not_negative("soft_limit", own.soft_limit)?;
                self = Self::summed(vec![own], self.tiers)?;
            }
            Patch::Clear => return Err(Problem::invalid("sources", "sources cannot be null")),
            Patch::Set(_) if !is_plain => {
                let detail = "limit and soft_limit stand for sources: give one or the other";
                return Err(Problem::invalid("sources", detail));
            }
            Patch::Set(sources) => {
                check_sources(&sources)?;
                self = Self::summed(sources, self.tiers)?;
            }
        }
        match tiers {
            Patch::Keep => {}
            Patch::Clear => self.tiers = Vec::new(),
            Patch::Set(tiers) => {
                check_tiers(&tiers)?;
                self.tiers = tiers;
            }
        }
        Ok(self)
    }

    fn summed(sources: Vec<Source>, tiers: Vec<Tier>) -> Result<Self, Problem> {
        let counted: Vec<_> = sources.iter().map(Source::to_core).collect();
        let limits = source::Limits::of_sources(&counted).map_err(|_| {
            let detail = "the limits of the sources add up to more than 28 digits";
            Problem::at(ProblemCode::LimitOverflow, "sources", detail)
        })?;
        Ok(Self { limits, sources, tiers })
    }

    /// The finite upper bounds of the tiers.
    pub(super) fn bounds(&self) -> Vec<Quantity> {
        self.tiers.iter().filter_map(|it| it.up_to).map(|it| it.0).collect()
    }
}

impl AllowancePatch {
    /// Whether it says anything.
    pub(super) fn is_empty(&self) -> bool {
        matches!(
            self,
            Self {
                limit: Patch::Keep,
                soft_limit: Patch::Keep,
                sources: Patch::Keep,
                tiers: Patch::Keep
            }
        )
    }

    /// The first field that it says something about.
    pub(super) fn field(&self) -> &'static str {
        match self {
            Self { limit: Patch::Set(_) | Patch::Clear, .. } => "limit",
            Self { soft_limit: Patch::Set(_) | Patch::Clear, .. } => "soft_limit",
            Self { sources: Patch::Set(_) | Patch::Clear, .. } => "sources",
            _ => "tiers",
        }
    }
}

fn is_summed() -> Problem {
    let detail = "the limit is the sum of several sources: change sources";
    Problem::invalid("limit", detail)
}

fn not_negative(field: &str, limit: Option<Decimal>) -> Result<(), Problem> {
    match limit {
        Some(Decimal(it)) if it.is_negative() => {
            Err(Problem::invalid(field, format!("a limit is not below zero, as {it} is")))
        }
        _ => Ok(()),
    }
}

fn check_sources(sources: &[Source]) -> Result<(), Problem> {
    let most = limits::ENTITLEMENT_SOURCES;
    if sources.is_empty() || sources.len() > most {
        let detail = format!("an entitlement has 1 to {most} sources");
        return Err(Problem::at(ProblemCode::TooManyItems, "sources", detail));
    }
    let refuse = |index: usize, field: &str, detail: String| {
        let field = format!("sources[{index}].{field}");
        Err(Problem::at(ProblemCode::InvalidSource, field, detail))
    };
    let mut keys = BTreeSet::new();
    for (index, source) in sources.iter().enumerate() {
        fields::key(&format!("sources[{index}].key"), &source.key)?;
        not_negative(&format!("sources[{index}].limit"), source.limit)?;
        not_negative(&format!("sources[{index}].soft_limit"), source.soft_limit)?;
        if !keys.insert(&source.key) {
            return refuse(index, "key", format!("{:?} twice", source.key));
        }
    }
    for (index, source) in sources.iter().enumerate() {
        // Whoever follows what is replaced comes to an end, or round in a circle.
        let mut replaced = source.overrides.as_deref();
        let mut steps = 0;
        while let Some(key) = replaced {
            let Some(other) = sources.iter().find(|it| it.key == key) else {
                return refuse(index, "overrides", format!("there is no source {key:?}"));
            };
            steps += 1;
            if steps >= sources.len() {
                let detail = "sources replace each other in a circle";
                return refuse(index, "overrides", detail.to_owned());
            }
            replaced = other.overrides.as_deref();
        }
    }
    Ok(())
}

fn check_tiers(tiers: &[Tier]) -> Result<(), Problem> {
    let most = limits::ENTITLEMENT_TIERS;
    if tiers.len() > most {
        let detail = format!("an entitlement has at most {most} tiers");
        return Err(Problem::at(ProblemCode::TooManyItems, "tiers", detail));
    }
    let mut below = Quantity::ZERO;
    for (index, tier) in tiers.iter().enumerate() {
        let refuse = |detail: &str| {
            let field = format!("tiers[{index}].up_to");
            Err(Problem::at(ProblemCode::InvalidTier, field, detail))
        };
        match tier.up_to {
            Some(Decimal(bound)) if bound <= below => {
                return refuse("a tier ends above zero and above the one before it");
            }
            Some(Decimal(bound)) => below = bound,
            None if index + 1 < tiers.len() => return refuse("only the last tier has no end"),
            None => {}
        }
    }
    Ok(())
}
