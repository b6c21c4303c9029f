//! What an entitlement must be, and what the core gets of it.

use plimsoll_core::{
    entitlement::{self as core, period},
    ids::{CustomerId, EntitlementId, FeatureId},
    time::Timestamp,
};

use crate::ops::{
    entitlement::{
        CreateEntitlement, Entitlement, Interval, MeasureFrom, PeriodPatch, ScheduledChange,
        UpdateEntitlement, UsagePeriod,
        allowance::{Allowance, AllowancePatch},
        scheduled::effective_at,
    },
    feature::{Feature, FeatureType, check_value},
    fields,
    problem::{Problem, ProblemCode},
    request::Patch,
    scalar::Time,
};

impl CreateEntitlement {
    pub(super) fn into_document(
        self,
        id: EntitlementId,
        customer: CustomerId,
        feature: &Feature,
        now: Timestamp,
    ) -> Result<Entitlement, Problem> {
        let r#type = read_type(&self.r#type)?;
        if r#type != feature.r#type {
            let detail = format!("the feature {:?} is not {}", feature.key, self.r#type);
            return Err(Problem::at(ProblemCode::EntitlementTypeMismatch, "type", detail));
        }
        let is_metered = r#type == FeatureType::Metered;
        if is_metered && self.usage_period.is_none() {
            let detail = "a metered entitlement has a usage_period";
            return Err(Problem::at(ProblemCode::MissingField, "usage_period", detail));
        }
        self.check_fields_of(r#type)?;
        self.value.as_ref().map_or(Ok(()), check_value)?;
        fields::metadata(&self.metadata)?;
        let of_metered = |it: bool| is_metered.then_some(it);
        let mut entitlement = Entitlement {
            id,
            customer,
            feature: feature.key.clone(),
            r#type,
            limit: None,
            soft_limit: None,
            sources: Vec::new(),
            tiers: Vec::new(),
            usage_period: self.usage_period,
            limit_priority: is_metered.then(|| self.limit_priority.unwrap_or(core::LIMIT_PRIORITY)),
            preserve_overage_at_reset: of_metered(self.preserve_overage_at_reset.unwrap_or(false)),
            measure_usage_from: is_metered.then(|| self.measure_usage_from.unwrap_or_default()),
            scheduled_changes: Vec::new(),
            scheduled_resets: Vec::new(),
            value: self.value,
            metadata: self.metadata,
            created_at: now,
            updated_at: now,
        };
        if is_metered {
            let patch = AllowancePatch {
                limit: given(self.limit),
                soft_limit: given(self.soft_limit),
                sources: given(self.sources),
                tiers: given(self.tiers),
            };
            Allowance::unlimited().patched(patch)?.put_into(&mut entitlement);
        }
        Ok(entitlement)
    }

    fn check_fields_of(&self, r#type: FeatureType) -> Result<(), Problem> {
        let is_metered = r#type == FeatureType::Metered;
        for (field, is_given) in [
            ("limit", self.limit.is_some()),
            ("soft_limit", self.soft_limit.is_some()),
            ("sources", self.sources.is_some()),
            ("tiers", self.tiers.is_some()),
            ("usage_period", self.usage_period.is_some()),
            ("limit_priority", self.limit_priority.is_some()),
            ("preserve_overage_at_reset", self.preserve_overage_at_reset.is_some()),
            ("measure_usage_from", self.measure_usage_from.is_some()),
        ] {
            only_for(field, !is_given || is_metered, "metered")?;
        }
        only_for("value", self.value.is_none() || r#type == FeatureType::Static, "static")
    }
}

/// What a change of an entitlement comes to.
pub(super) struct Updated {
    /// The entitlement as it is from now on.
    pub(super) after: Entitlement,
    /// What is to change later.
    pub(super) later: Option<(Allowance, Timestamp)>,
}

impl UpdateEntitlement {
    /// Whether the environment's time matters to it.
    pub(super) fn names_a_time(&self) -> bool {
        self.effective_at.is_some()
    }

    /// `before` is the entitlement as it is at `time` by its environment's clock.
    pub(super) fn apply(
        self,
        before: &Entitlement,
        time: Timestamp,
        now: Timestamp,
    ) -> Result<Updated, Problem> {
        self.feature.check("feature")?;
        self.r#type.check("type")?;
        self.limit_priority.check("limit_priority")?;
        self.measure_usage_from.check("measure_usage_from")?;
        let is_metered = before.r#type == FeatureType::Metered;
        let mut after = before.clone();
        after.updated_at = now;
        after.usage_period = patched_period(before.usage_period, self.usage_period)?;
        let preserves = &self.preserve_overage_at_reset;
        let is_kept = matches!(preserves, Patch::Keep);
        if !is_kept {
            let field = "preserve_overage_at_reset";
            only_for(field, is_metered, "metered")?;
            let preserves = fields::never_null(field, self.preserve_overage_at_reset, false)?;
            after.preserve_overage_at_reset = Some(preserves);
        }
        if !matches!(self.value, Patch::Keep) {
            only_for("value", before.r#type == FeatureType::Static, "static")?;
            after.value = self.value.apply(None);
            after.value.as_ref().map_or(Ok(()), check_value)?;
        }
        after.metadata = fields::patched_metadata(after.metadata, self.metadata)?;
        let patch = AllowancePatch {
            limit: self.limit,
            soft_limit: self.soft_limit,
            sources: self.sources,
            tiers: self.tiers,
        };
        if patch.is_empty() {
            if self.effective_at.is_some() {
                let detail = "effective_at is of limit, soft_limit, sources and tiers";
                return Err(Problem::invalid("effective_at", detail));
            }
            return Ok(Updated { after, later: None });
        }
        only_for(patch.field(), is_metered, "metered")?;
        let at = effective_at("effective_at", self.effective_at, time)?;
        let changed = Allowance::of(&before.clone().at(at)).patched(patch)?;
        if at <= time {
            changed.put_into(&mut after);
            return Ok(Updated { after, later: None });
        }
        after.schedule_change(ScheduledChange::new(at, changed.clone()))?;
        Ok(Updated { after, later: Some((changed, at)) })
    }
}

fn patched_period(
    period: Option<UsagePeriod>,
    patch: Patch<PeriodPatch>,
) -> Result<Option<UsagePeriod>, Problem> {
    let refuse =
        |field: &str, detail: &str| Err(Problem::at(ProblemCode::FieldImmutable, field, detail));
    let PeriodPatch { interval, anchor } = match patch {
        Patch::Keep => return Ok(period),
        Patch::Set(patch) if period.is_some_and(|it| it.interval == Interval::BillingCycle) => {
            patch
        }
        Patch::Set(_) | Patch::Clear => {
            let detail = "the usage_period never changes, but for the anchor of a billing cycle";
            return refuse("usage_period", detail);
        }
    };
    if interval.is_some_and(|it| it != Interval::BillingCycle) {
        return refuse("usage_period.interval", "the interval never changes");
    }
    let current = period.and_then(|it| it.anchor);
    Ok(Some(UsagePeriod { interval: Interval::BillingCycle, anchor: anchor.apply(current) }))
}

impl Entitlement {
    /// What the rules depend on.
    pub(super) fn to_core(&self, feature: FeatureId) -> core::Entitlement {
        let kind = match (self.r#type, self.usage_period) {
            (FeatureType::Metered, period) => {
                let period = period.expect("a metered entitlement is made with a period");
                let allowance = Allowance::of(self);
                let terms = core::Terms {
                    tiers: allowance.bounds(),
                    limit_priority: self.limit_priority.unwrap_or(core::LIMIT_PRIORITY),
                    preserves_overage: self.preserve_overage_at_reset.unwrap_or(false),
                    ..core::Terms::new(allowance.limits, period.to_core())
                };
                core::EntitlementKind::Metered(Box::new(terms))
            }
            (FeatureType::Boolean, _) => core::EntitlementKind::Boolean,
            (FeatureType::Static, _) => core::EntitlementKind::Static,
        };
        core::Entitlement { id: self.id, feature, kind }
    }

    /// Whether it counts from the start of the period in which it is made.
    pub(super) fn counts_from_period_start(&self) -> bool {
        self.measure_usage_from == Some(MeasureFrom::PeriodStart)
    }

    /// Refuses what has no usage.
    pub(in crate::ops) fn check_metered(&self) -> Result<(), Problem> {
        if self.r#type == FeatureType::Metered {
            return Ok(());
        }
        let detail = format!("the entitlement to {:?} is not metered", self.feature);
        Err(Problem::new(ProblemCode::EntitlementNotMetered, detail))
    }
}

impl UsagePeriod {
    pub(in crate::ops) fn to_core(self) -> period::UsagePeriod {
        let interval = match self.interval {
            Interval::Hour => period::Interval::Hour,
            Interval::Day => period::Interval::Day,
            Interval::Week => period::Interval::Week,
            Interval::Month => period::Interval::Month,
            Interval::Quarter => period::Interval::Quarter,
            Interval::HalfYear => period::Interval::HalfYear,
            Interval::Year => period::Interval::Year,
            Interval::Never => period::Interval::Never,
            Interval::BillingCycle => period::Interval::BillingCycle,
        };
        period::UsagePeriod { interval, anchor: self.anchor.map(|Time(it)| it) }
    }
}

/// A field of a new resource, as a change of one.
fn given<T>(field: Option<T>) -> Patch<T> {
    field.map_or(Patch::Keep, Patch::Set)
}

fn read_type(text: &str) -> Result<FeatureType, Problem> {
    match text {
        "metered" => Ok(FeatureType::Metered),
        "boolean" => Ok(FeatureType::Boolean),
        "static" => Ok(FeatureType::Static),
        other => {
            let detail = format!("{other:?} is none of metered, boolean, static");
            Err(Problem::at(ProblemCode::UnknownFeatureType, "type", detail))
        }
    }
}

fn only_for(field: &str, holds: bool, r#type: &str) -> Result<(), Problem> {
    if holds {
        return Ok(());
    }
    Err(Problem::invalid(field, format!("only a {type} entitlement has a {field}")))
}

/// Refuses a right to what cannot be limited, such as a mean (design 5.2).
pub(super) fn check_limitable(
    view: &crate::catalogue::EnvironmentView,
    feature: &Feature,
) -> Result<(), Problem> {
    let meter = feature.meter.as_deref().and_then(|it| view.meters.find(it));
    match meter.map(|it| &it.document) {
        Some(meter) if !meter.is_limitable() => {
            let (meter, how) = (&meter.key, meter.aggregation.as_str());
            let detail = format!("its meter {meter:?} takes {how}, which is for queries only");
            Err(Problem::at(ProblemCode::AggregationNotLimitable, "feature", detail))
        }
        _ => Ok(()),
    }
}
