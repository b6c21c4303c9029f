//! Where entitlements stand now, one by one and all of a customer's at once.
//!
//! Not here: where they stood before (`history`), what decides it (`plimsoll-core`).

use plimsoll_core::{
    entitlement::EntitlementValue as CoreValue,
    ids::{CustomerId, EntitlementId, FeatureId, GrantId},
    quantity::Quantity,
    state,
    time::Timestamp,
};
use serde::Serialize;

use crate::ops::{
    Context, Ops,
    control::unreadable,
    entitlement::{Entitlement, Source, methods::read_found},
    feature::FeatureType,
    page::{ListRequest, Page},
    port::{Standing, Standings},
    problem::Problem,
    scalar::{as_text, as_text_or_null},
};

/// Places of a percentage that are shown.
const PERCENTAGE_PLACES: u32 = 4;

/// Where an entitlement stands now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(untagged)]
pub enum EntitlementValue {
    /// Of a metered feature.
    Metered(Box<MeteredValue>),
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
    /// Whether the customer may use the feature now: below the limit, or without a hard one.
    pub has_access: bool,
    /// What was used in the period.
    #[serde(with = "as_text")]
    #[schema(value_type = String, example = "812")]
    pub usage: Quantity,
    /// The effective limit: the sum of the sources, and what grants add to it; null is unlimited.
    #[serde(with = "as_text_or_null")]
    #[schema(value_type = Option<String>, example = "1000")]
    pub limit: Option<Quantity>,
    /// The effective soft limit; null is none.
    #[serde(with = "as_text_or_null")]
    #[schema(value_type = Option<String>)]
    pub soft_limit: Option<Quantity>,
    /// What is left of the limit, else of the soft one; null without either.
    #[serde(with = "as_text_or_null")]
    #[schema(value_type = Option<String>, example = "188")]
    pub balance: Option<Quantity>,
    /// What was used beyond the limit, else beyond the soft one.
    #[serde(with = "as_text")]
    #[schema(value_type = String, example = "0")]
    pub overage: Quantity,
    /// Usage in percent of the limit, else of the soft one, to four places; null without either,
    /// and where that is 0.
    #[serde(with = "as_text_or_null")]
    #[schema(value_type = Option<String>, example = "81.2")]
    pub usage_percentage: Option<Quantity>,
    /// The period.
    pub period: Period,
    /// When usage starts again at zero; null is never.
    #[serde(with = "as_text_or_null")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub resets_at: Option<Timestamp>,
    /// What the limits without grants are summed from. Only in the answer about one entitlement.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sources: Option<Vec<Source>>,
    /// The grants that have not ended, in the order in which they burn. Only in the answer about
    /// one entitlement.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grants: Option<Vec<GrantBalance>>,
}

/// A grant and what is left of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct GrantBalance {
    /// The grant's id.
    #[serde(with = "as_text")]
    #[schema(value_type = String, example = "grt_01K0000000000000000000000A")]
    pub id: GrantId,
    /// What is left of it.
    #[serde(with = "as_text")]
    #[schema(value_type = String, example = "40")]
    pub balance: Quantity,
    /// Whether it can be used now.
    pub is_active: bool,
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

/// Whether a customer may use one feature, and how much.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct FeatureAccess {
    /// The key of the feature.
    #[schema(example = "tokens")]
    pub feature: String,
    /// The entitlement to it.
    #[serde(with = "as_text")]
    #[schema(value_type = String, example = "ent_01K0000000000000000000000A")]
    pub entitlement: EntitlementId,
    /// The type of the feature.
    pub r#type: FeatureType,
    /// Where the entitlement stands.
    #[serde(flatten)]
    pub value: EntitlementValue,
}

impl MeteredValue {
    fn of(entitlement: &Entitlement, value: &CoreValue) -> Self {
        Self {
            has_access: value.has_access,
            usage: value.usage,
            limit: value.limit,
            soft_limit: value.soft_limit,
            balance: value.balance,
            overage: value.overage,
            usage_percentage: value.usage_percentage.map(|it| it.rounded(PERCENTAGE_PLACES)),
            period: Period { from: value.window.from, to: value.window.to },
            resets_at: resets_at(entitlement, value),
            sources: None,
            grants: None,
        }
    }

    /// The same with where it comes from.
    fn explained(self, sources: Vec<Source>, grants: &[state::GrantBalance]) -> Self {
        let grants = grants.iter().map(|it| GrantBalance {
            id: it.grant,
            balance: it.balance,
            is_active: it.is_active,
        });
        Self { sources: Some(sources), grants: Some(grants.collect()), ..self }
    }
}

/// When usage starts again at zero: at the end of the period, or earlier if someone asked for it.
fn resets_at(entitlement: &Entitlement, value: &CoreValue) -> Option<Timestamp> {
    let period_end = Some(value.window.to).filter(|it| *it < Timestamp::MAX);
    let asked_for = entitlement.scheduled_resets.first().map(|it| it.effective_at);
    period_end.into_iter().chain(asked_for).min()
}

impl Ops {
    /// Where an entitlement stands now.
    pub async fn entitlement_value(
        &self,
        context: &Context,
        customer: &str,
        name: &str,
    ) -> Result<EntitlementValue, Problem> {
        let customer = self.customer(context, customer).await?.document.id;
        let found = self.find_entitlement(context, customer, name).await?;
        let (entitlement, feature) = (found.entry.document, found.feature);
        if entitlement.r#type != FeatureType::Metered {
            return self.plain_value(context, entitlement, feature);
        }
        let (now, standing) = self.standing(context, customer, &entitlement).await?;
        let entitlement = entitlement.at(now);
        let value = MeteredValue::of(&entitlement, &standing.value);
        let value = value.explained(entitlement.sources, &standing.grants);
        Ok(EntitlementValue::Metered(Box::new(value)))
    }

    /// What a customer may use, and how much: a page of its entitlements with their values, the
    /// oldest first.
    pub async fn customer_access(
        &self,
        context: &Context,
        customer: &str,
        request: &ListRequest,
    ) -> Result<Page<FeatureAccess>, Problem> {
        let limit = request.limit()?;
        let after = request.after()?;
        let customer = self.customer(context, customer).await?.document.id;
        let rows = self.entitlement_rows(context, customer, after.as_deref(), limit + 1).await?;
        let found = rows.iter().map(read_found).collect::<Result<Vec<_>, _>>()?;
        let page = Page::cut(found, limit, |it| it.entry.document.id.to_string());
        let ids = page.items.iter().map(|it| it.entry.document.id).collect();
        let standings = self.standings(context, customer, ids).await?;
        let mut items = Vec::with_capacity(page.items.len());
        for (found, standing) in page.items.into_iter().zip(standings.entitlements) {
            let entitlement = found.entry.document.at(standings.now);
            let (id, feature, r#type) =
                (entitlement.id, entitlement.feature.clone(), entitlement.r#type);
            let value = match (r#type, standing) {
                (FeatureType::Metered, Some(standing)) => {
                    let value = MeteredValue::of(&entitlement, &standing.value);
                    EntitlementValue::Metered(Box::new(value))
                }
                // It has been deleted since its row was read.
                (FeatureType::Metered, None) => continue,
                _ => self.plain_value(context, entitlement, found.feature)?,
            };
            items.push(FeatureAccess { feature, entitlement: id, r#type, value });
        }
        Ok(Page { items, next_cursor: page.next_cursor })
    }

    /// The value of what is not metered.
    fn plain_value(
        &self,
        context: &Context,
        entitlement: Entitlement,
        feature: FeatureId,
    ) -> Result<EntitlementValue, Problem> {
        if entitlement.r#type == FeatureType::Boolean {
            return Ok(EntitlementValue::Boolean { has_access: true });
        }
        let view = self.view(context)?;
        let of_feature = view.features.get(feature).and_then(|it| it.document.value.clone());
        let value = entitlement.value.or(of_feature).unwrap_or(serde_json::Value::Null);
        Ok(EntitlementValue::Static { has_access: true, value })
    }

    /// Where entitlements of a customer stand, and what the environment's clock shows.
    pub(in crate::ops) async fn standings(
        &self,
        context: &Context,
        customer: CustomerId,
        entitlements: Vec<EntitlementId>,
    ) -> Result<Standings, Problem> {
        let environment = context.environment();
        let asked = self.inner.partitions.standings(environment, customer, entitlements);
        asked.await.map_err(|error| unreadable(&error))
    }

    /// Where one metered entitlement stands, and what the environment's clock shows.
    pub(in crate::ops) async fn standing(
        &self,
        context: &Context,
        customer: CustomerId,
        entitlement: &Entitlement,
    ) -> Result<(Timestamp, Standing), Problem> {
        let standings = self.standings(context, customer, vec![entitlement.id]).await?;
        let standing = standings.entitlements.into_iter().next().flatten();
        let gone = || Problem::not_found("entitlement", &entitlement.id.to_string());
        Ok((standings.now, standing.ok_or_else(gone)?))
    }
}
