//! What an entitlement must be, and what the core gets of it.

use plimsoll_core::{
    entitlement::{self as core, period, source::Limits},
    ids::{CustomerId, EntitlementId, FeatureId},
    quantity::Quantity,
    time::Timestamp,
};

use crate::ops::{
    entitlement::{CreateEntitlement, Entitlement, Interval, UpdateEntitlement, UsagePeriod},
    feature::{Feature, FeatureType, check_value},
    fields,
    problem::{Problem, ProblemCode},
    request::Patch,
    scalar::Decimal,
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
        only_for("limit", self.limit.is_none() || is_metered, "metered")?;
        only_for("usage_period", self.usage_period.is_none() || is_metered, "metered")?;
        only_for("value", self.value.is_none() || r#type == FeatureType::Static, "static")?;
        self.value.as_ref().map_or(Ok(()), check_value)?;
        fields::metadata(&self.metadata)?;
        Ok(Entitlement {
            id,
            customer,
            feature: feature.key.clone(),
            r#type,
            limit: self.limit.map(check_limit).transpose()?,
            usage_period: self.usage_period,
            value: self.value,
            metadata: self.metadata,
            created_at: now,
            updated_at: now,
        })
    }
}

impl UpdateEntitlement {
    pub(super) fn apply(
        self,
        before: &Entitlement,
        now: Timestamp,
    ) -> Result<Entitlement, Problem> {
        self.feature.check("feature")?;
        self.r#type.check("type")?;
        self.usage_period.check("usage_period")?;
        let mut after = before.clone();
        if !matches!(self.limit, Patch::Keep) {
            only_for("limit", before.r#type == FeatureType::Metered, "metered")?;
            after.limit = self.limit.apply(None).map(check_limit).transpose()?;
        }
        if !matches!(self.value, Patch::Keep) {
            only_for("value", before.r#type == FeatureType::Static, "static")?;
            after.value = self.value.apply(None);
            after.value.as_ref().map_or(Ok(()), check_value)?;
        }
        after.metadata = fields::patched_metadata(after.metadata, self.metadata)?;
        after.updated_at = now;
        Ok(after)
    }
}

impl Entitlement {
    /// What the rules depend on.
    pub(super) fn to_core(&self, feature: FeatureId) -> core::Entitlement {
        let kind = match (self.r#type, self.usage_period) {
            (FeatureType::Metered, period) => {
                let period = period.expect("a metered entitlement is made with a period");
                let terms = core::Terms::new(Limits::hard(self.limit), period.to_core());
                core::EntitlementKind::Metered(Box::new(terms))
            }
            (FeatureType::Boolean, _) => core::EntitlementKind::Boolean,
            (FeatureType::Static, _) => core::EntitlementKind::Static,
        };
        core::Entitlement { id: self.id, feature, kind }
    }
}

impl UsagePeriod {
    fn to_core(self) -> period::UsagePeriod {
        let interval = match self.interval {
            Interval::Hour => period::Interval::Hour,
            Interval::Day => period::Interval::Day,
            Interval::Week => period::Interval::Week,
            Interval::Month => period::Interval::Month,
            Interval::Year => period::Interval::Year,
        };
        period::UsagePeriod { interval, anchor: self.anchor.map(|it| it.0) }
    }
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

fn check_limit(Decimal(limit): Decimal) -> Result<Quantity, Problem> {
    if limit.is_negative() {
        return Err(Problem::invalid("limit", format!("a limit is not below zero, as {limit} is")));
    }
    Ok(limit)
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
