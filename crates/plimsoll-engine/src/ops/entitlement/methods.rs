//! What can be done with entitlements.

use plimsoll_core::{
    command::CustomerCommand,
    ids::{CustomerId, EntitlementId, FeatureId, MeterId},
    limits,
    metering::cell::Resolution,
};
use plimsoll_store::resource::{self, Order, ResourceList, ResourceRow};

use crate::{
    catalogue::{index::Versioned, load},
    ops::{
        Context, Ops,
        change::Changed,
        control::{CHANGE_ATTEMPTS, concurrent_change, unreadable},
        document::Kind,
        entitlement::{CreateEntitlement, Entitlement, UpdateEntitlement, checks::Updated},
        feature::Feature,
        page::{ListRequest, Page},
        plan::{Answer, CustomerPlan, json},
        problem::{Problem, ProblemCode},
    },
};

/// An entitlement that was found, with the feature that its row names.
pub(in crate::ops) struct Found {
    pub(in crate::ops) entry: Versioned<Entitlement>,
    pub(in crate::ops) feature: FeatureId,
}

impl Ops {
    /// Entitles a customer to a feature.
    pub async fn create_entitlement(
        &self,
        context: &Context,
        customer: &str,
        request: CreateEntitlement,
    ) -> Result<Entitlement, Problem> {
        self.once(context, async {
            self.attempts(|| self.try_create_entitlement(context, customer, request.clone())).await
        })
        .await
    }

    /// The entitlement of a customer to a feature.
    pub async fn get_entitlement(
        &self,
        context: &Context,
        customer: &str,
        name: &str,
    ) -> Result<Entitlement, Problem> {
        let customer = self.customer(context, customer).await?.document.id;
        let found = self.find_entitlement(context, customer, name).await?;
        let mut shown = self.as_of_now(context, customer, vec![found.entry.document]).await?;
        shown.pop().ok_or_else(|| Problem::not_found("entitlement", name))
    }

    /// The entitlements of a customer, the oldest first.
    pub async fn list_entitlements(
        &self,
        context: &Context,
        customer: &str,
        request: &ListRequest,
    ) -> Result<Page<Entitlement>, Problem> {
        let limit = request.limit()?;
        let after = request.after()?;
        let customer = self.customer(context, customer).await?.document.id;
        let rows = self.entitlement_rows(context, customer, after.as_deref(), limit + 1).await?;
        let entitlements = rows.iter().map(|row| Ok(read_found(row)?.entry.document));
        let entitlements = entitlements.collect::<Result<Vec<_>, Problem>>()?;
        let entitlements = self.as_of_now(context, customer, entitlements).await?;
        Ok(Page::cut(entitlements, limit, |it| it.id.to_string()))
    }

    /// Entitlements of a customer with the changes whose time has come.
    async fn as_of_now(
        &self,
        context: &Context,
        customer: CustomerId,
        entitlements: Vec<Entitlement>,
    ) -> Result<Vec<Entitlement>, Problem> {
        if !entitlements.iter().any(Entitlement::is_scheduled) {
            return Ok(entitlements);
        }
        let now = self.standings(context, customer, Vec::new()).await?.now;
        Ok(entitlements.into_iter().map(|it| it.at(now)).collect())
    }

    /// Changes an entitlement: its limits, sources and tiers now or later, everything else now.
    pub async fn update_entitlement(
        &self,
        context: &Context,
        customer: &str,
        name: &str,
        request: UpdateEntitlement,
    ) -> Result<Entitlement, Problem> {
        self.once(context, async {
            let attempt = || self.try_update_entitlement(context, customer, name, request.clone());
            self.attempts(attempt).await
        })
        .await
    }

    /// Nothing, if something was changed meanwhile.
    async fn try_update_entitlement(
        &self,
        context: &Context,
        customer: &str,
        name: &str,
        request: UpdateEntitlement,
    ) -> Result<Option<Entitlement>, Problem> {
        let (turn, customer) = self.customer_in_turn(context, customer).await?;
        let customer = customer.document.id;
        let found = self.find_entitlement(context, customer, name).await?;
        let Versioned { version, document: before } = found.entry;
        let time = if before.is_scheduled() || request.names_a_time() {
            self.standings(context, customer, Vec::new()).await?.now
        } else {
            context.now
        };
        let before = before.at(time);
        let Updated { after, later } = request.apply(&before, time, context.now)?;
        let mut commands = Vec::new();
        let entitlement = after.to_core(found.feature);
        if entitlement != before.to_core(found.feature) {
            commands.push(CustomerCommand::PutEntitlement { customer, entitlement });
        }
        if let Some((allowance, at)) = later {
            commands.push(CustomerCommand::ChangeLimits {
                customer,
                entitlement: after.id,
                limits: allowance.limits,
                tiers: allowance.bounds(),
                at,
            });
        }
        let mut draft = self.draft(context);
        draft.update(version, &after, Some(&found.feature.to_string()));
        draft.audit("entitlement.update", Some(&before), Some(&after));
        let plan = CustomerPlan {
            turn,
            draft,
            customer,
            commands,
            documents: vec![(after.id.to_string(), json(&after).into_bytes())],
            opening: None,
            effects: Vec::new(),
            answer: Answer::changed(after),
        };
        match self.change(context, plan).await? {
            Changed::Made(entitlement) => Ok(Some(entitlement)),
            Changed::Refused { .. } => Ok(None),
        }
    }

    /// Takes a right away. What was used stays recorded; a new entitlement starts at zero.
    pub async fn delete_entitlement(
        &self,
        context: &Context,
        customer: &str,
        name: &str,
    ) -> Result<(), Problem> {
        self.once(context, async {
            for _ in 0..CHANGE_ATTEMPTS {
                let (turn, customer) = self.customer_in_turn(context, customer).await?;
                let customer = customer.document.id;
                let found = self.find_entitlement(context, customer, name).await?;
                let entitlement = found.entry.document.id;
                let mut draft = self.draft(context);
                draft.delete(&found.entry);
                let grants = Kind::Grant.as_str();
                let parent = entitlement.to_string();
                draft.statements.push(resource::delete_children(&parent, grants, context.now));
                draft.audit("entitlement.delete", Some(&found.entry.document), None);
                let plan = CustomerPlan {
                    turn,
                    draft,
                    customer,
                    commands: vec![CustomerCommand::DeleteEntitlement { customer, entitlement }],
                    documents: Vec::new(),
                    opening: None,
                    effects: Vec::new(),
                    answer: Answer::deleted(),
                };
                if let Changed::Made(()) = self.change(context, plan).await? {
                    return Ok(());
                }
            }
            Err(concurrent_change())
        })
        .await
    }

    /// Nothing, if something was changed meanwhile.
    async fn try_create_entitlement(
        &self,
        context: &Context,
        customer: &str,
        request: CreateEntitlement,
    ) -> Result<Option<Entitlement>, Problem> {
        let (turn, customer) = self.customer_in_turn(context, customer).await?;
        let customer = customer.document.id;
        let feature = self.feature_for(context, &request.feature)?;
        super::checks::check_limitable(&*self.view(context)?, &feature)?;
        let most = limits::CUSTOMER_ENTITLEMENTS;
        let rows = self.entitlement_rows(context, customer, None, most).await?;
        let key = feature.id.to_string();
        if rows.iter().any(|it| it.key.as_deref() == Some(&key)) {
            return Err(exists(&feature));
        }
        if rows.len() >= most {
            let detail = format!("a customer has at most {most} entitlements");
            return Err(Problem::new(ProblemCode::ResourceLimit, detail));
        }
        let id = self.mint(EntitlementId::from_parts);
        let entitlement = request.into_document(id, customer, &feature, context.now)?;
        let opening = self.opening_of(context, &entitlement, &feature).await?;
        let mut draft = self.draft(context);
        // Whoever deletes the feature or the customer waits for this, or this is refused.
        draft.statements.push(resource::hold(&key));
        draft.statements.push(resource::hold(&customer.to_string()));
        draft.insert_part(&entitlement, Some(&key), Some(customer.to_string()));
        draft.audit("entitlement.create", None, Some(&entitlement));
        let plan = CustomerPlan {
            turn,
            draft,
            customer,
            commands: vec![CustomerCommand::PutEntitlement {
                customer,
                entitlement: entitlement.to_core(feature.id),
            }],
            documents: vec![(id.to_string(), json(&entitlement).into_bytes())],
            opening,
            effects: Vec::new(),
            answer: Answer::created(entitlement),
        };
        match self.change(context, plan).await? {
            Changed::Made(entitlement) => Ok(Some(entitlement)),
            Changed::Refused { statement: resource::INSERT, taken: true } => Err(exists(&feature)),
            Changed::Refused { .. } => Ok(None),
        }
    }

    /// The meter whose usage of the period so far counts, if the entitlement is to count it.
    async fn opening_of(
        &self,
        context: &Context,
        entitlement: &Entitlement,
        feature: &Feature,
    ) -> Result<Option<MeterId>, Problem> {
        let period = entitlement.usage_period.filter(|_| entitlement.counts_from_period_start());
        let Some(period) = period else { return Ok(None) };
        let refuse = |detail: String| {
            Err(Problem::at(ProblemCode::UsageNotMeasurable, "measure_usage_from", detail))
        };
        let view = self.view(context)?;
        let meter = feature.meter.as_deref().and_then(|it| view.meters.find(it));
        let Some(meter) = meter.map(|it| &it.document) else {
            return refuse("the feature has no meter".to_owned());
        };
        let now = self.standings(context, entitlement.customer, Vec::new()).await?.now;
        let from = period.to_core().window_at(now).from;
        if Resolution::Hour.start_of(from) != from {
            return refuse(format!("the period began inside an hour, at {from}"));
        }
        if from < meter.created_at {
            let detail =
                format!("the period began at {from}, the meter was made at {}", meter.created_at);
            return refuse(detail);
        }
        Ok(Some(meter.id))
    }

    /// The feature that a request names.
    fn feature_for(&self, context: &Context, name: &str) -> Result<Feature, Problem> {
        let view = self.view(context)?;
        let found = view.features.find(name).map(|it| it.document.clone());
        found.ok_or_else(|| {
            let detail = format!("there is no feature {name:?}");
            Problem::at(ProblemCode::FeatureNotFound, "feature", detail)
        })
    }

    /// The entitlement of a customer by its own id, or by its feature's key or id.
    pub(in crate::ops) async fn find_entitlement(
        &self,
        context: &Context,
        customer: CustomerId,
        name: &str,
    ) -> Result<Found, Problem> {
        let nothing = || Problem::not_found("entitlement", name);
        let parent = customer.to_string();
        let row = if name.parse::<EntitlementId>().is_ok() {
            self.find_row(context, Kind::Entitlement, Some(&parent), name).await?
        } else {
            let feature = self.view(context)?.features.find(name).map(|it| it.document.id);
            let key = feature.ok_or_else(nothing)?.to_string();
            let environment = context.environment();
            let store = self.inner.deps.store.as_ref();
            let kind = Kind::Entitlement.as_str();
            let row = resource::get_by_key(store, environment, kind, Some(&parent), &key).await;
            row.map_err(|it| unreadable(&it))?
        };
        read_found(&row.ok_or_else(nothing)?)
    }

    pub(super) async fn entitlement_rows(
        &self,
        context: &Context,
        customer: CustomerId,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<ResourceRow>, Problem> {
        let parent = customer.to_string();
        let list = ResourceList {
            environment: context.environment(),
            kind: Kind::Entitlement.as_str(),
            parent: Some(&parent),
            order: Order::OldestFirst,
            after,
            limit: limit as u32,
        };
        let rows = resource::list(self.inner.deps.store.as_ref(), &list).await;
        rows.map_err(|it| unreadable(&it))
    }
}

fn exists(feature: &Feature) -> Problem {
    let detail = format!("the customer is entitled to {:?} already", feature.key);
    Problem::at(ProblemCode::EntitlementExists, "feature", detail)
}

/// Reads an entitlement's row, which names the feature by its key.
pub(super) fn read_found(row: &ResourceRow) -> Result<Found, Problem> {
    let feature = row.key.as_deref().and_then(|it| it.parse().ok()).ok_or_else(|| {
        unreadable(&format!("the row of entitlement {} names no feature", row.id))
    })?;
    let read = load::document::<Entitlement>(row).map_err(|it| unreadable(&it))?;
    let entry = Versioned { version: read.version, document: read.document.completed() };
    Ok(Found { entry, feature })
}
