//! What is to become of an entitlement: changes of its limits and resets that have a time.
//!
//! The row of an entitlement is not written when their time comes: what it is then follows from
//! the row and the time alone. The core does the same on its log.
//!
//! Not here: what a reset does to usage (`plimsoll-core`).

use plimsoll_core::{entitlement as core, limits, quantity::Quantity, time::Timestamp};
use serde::{Deserialize, Serialize};

use crate::ops::{
    entitlement::{Entitlement, Interval, MeasureFrom, Source, Tier, allowance::Allowance},
    feature::FeatureType,
    plan,
    problem::{Problem, ProblemCode},
    scalar::{Time, as_text, as_text_or_null},
};

/// Limits, sources and tiers as they will be from a moment on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ScheduledChange {
    /// From when on.
    #[serde(with = "as_text")]
    #[schema(value_type = String, format = DateTime)]
    pub effective_at: Timestamp,
    /// How much in each period; null is unlimited.
    #[serde(with = "as_text_or_null")]
    #[schema(value_type = Option<String>)]
    pub limit: Option<Quantity>,
    /// How much may be used before someone is told; null is none.
    #[serde(with = "as_text_or_null")]
    #[schema(value_type = Option<String>)]
    pub soft_limit: Option<Quantity>,
    /// What the limits are summed from.
    pub sources: Vec<Source>,
    /// Steps of usage.
    pub tiers: Vec<Tier>,
}

/// A reset to come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ScheduledReset {
    /// When.
    #[serde(with = "as_text")]
    #[schema(value_type = String, format = DateTime)]
    pub effective_at: Timestamp,
    /// Whether the next period still begins when it would have.
    pub retain_anchor: bool,
    /// Whether what was used beyond the limit counts in the new period; null is as the entitlement
    /// says.
    pub preserve_overage: Option<bool>,
}

impl ScheduledChange {
    pub(super) fn new(effective_at: Timestamp, allowance: Allowance) -> Self {
        let Allowance { limits, sources, tiers } = allowance;
        Self { effective_at, limit: limits.hard, soft_limit: limits.soft, sources, tiers }
    }

    fn allowance(self) -> Allowance {
        let limits = core::source::Limits { hard: self.limit, soft: self.soft_limit };
        Allowance { limits, sources: self.sources, tiers: self.tiers }
    }
}

impl Entitlement {
    /// Whether anything is to come.
    pub(super) fn is_scheduled(&self) -> bool {
        !self.scheduled_changes.is_empty() || !self.scheduled_resets.is_empty()
    }

    /// The entitlement at a time by its environment's clock.
    pub(super) fn at(mut self, now: Timestamp) -> Self {
        let due = self.scheduled_changes.partition_point(|it| it.effective_at <= now);
        let last = self.scheduled_changes.drain(..due).next_back();
        if let Some(last) = last {
            last.allowance().put_into(&mut self);
        }
        let due = self.scheduled_resets.partition_point(|it| it.effective_at <= now);
        let resets: Vec<_> = self.scheduled_resets.drain(..due).collect();
        for reset in resets.iter().filter(|it| !it.retain_anchor) {
            self.anchor_at(reset.effective_at);
        }
        self
    }

    /// Periods start at this moment from now on.
    pub(super) fn anchor_at(&mut self, at: Timestamp) {
        let moved = self.usage_period.as_mut().filter(|it| it.interval != Interval::Never);
        if let Some(period) = moved {
            period.anchor = Some(Time(at));
        }
    }

    /// What the row of an older version does not say yet.
    pub(super) fn completed(mut self) -> Self {
        if self.r#type == FeatureType::Metered && self.sources.is_empty() {
            let limits = core::source::Limits { hard: self.limit, soft: self.soft_limit };
            Allowance::own(limits, Vec::new()).put_into(&mut self);
            self.limit_priority.get_or_insert(core::LIMIT_PRIORITY);
            self.preserve_overage_at_reset.get_or_insert(false);
            self.measure_usage_from.get_or_insert(MeasureFrom::Now);
        }
        self
    }

    /// Makes a change that is to come part of it.
    pub(super) fn schedule_change(&mut self, change: ScheduledChange) -> Result<(), Problem> {
        self.check_room()?;
        let at = change.effective_at;
        let place = self.scheduled_changes.partition_point(|it| it.effective_at <= at);
        self.scheduled_changes.insert(place, change);
        Ok(())
    }

    /// Makes a reset that is to come part of it.
    pub(super) fn schedule_reset(&mut self, reset: ScheduledReset) -> Result<(), Problem> {
        self.check_room()?;
        let at = reset.effective_at;
        let place = self.scheduled_resets.partition_point(|it| it.effective_at <= at);
        self.scheduled_resets.insert(place, reset);
        Ok(())
    }

    fn check_room(&self) -> Result<(), Problem> {
        let most = limits::ENTITLEMENT_SCHEDULED;
        if self.scheduled_changes.len() + self.scheduled_resets.len() < most {
            return Ok(());
        }
        let detail = format!("an entitlement has at most {most} changes and resets to come");
        Err(Problem::new(ProblemCode::ResourceLimit, detail))
    }
}

/// The stored document of an entitlement as it is at a time, if that is not as it is stored.
pub(crate) fn document_at(json: &[u8], at: Timestamp) -> Option<String> {
    let stored: Entitlement = serde_json::from_slice(json).ok()?;
    stored.is_scheduled().then(|| plan::json(&stored.at(at)))
}

/// When something takes effect: at the time that the request names, or now. Never earlier.
pub(in crate::ops) fn effective_at(
    field: &str,
    named: Option<Time>,
    now: Timestamp,
) -> Result<Timestamp, Problem> {
    match named {
        Some(Time(at)) if at < now => {
            let detail = format!("{at} is past: the environment's clock shows {now}");
            Err(Problem::at(ProblemCode::TimeInPast, field, detail))
        }
        named => Ok(named.map_or(now, |it| it.0)),
    }
}
