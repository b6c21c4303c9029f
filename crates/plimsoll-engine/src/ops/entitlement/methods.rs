//! What can be done with entitlements.

use plimsoll_core::{
    command::CustomerCommand,
    ids::{CustomerId, EntitlementId, FeatureId},
    limits,
};
use plimsoll_store::resource::{self, Order, ResourceList, ResourceRow};

use crate::{
    catalogue::{index::Versioned, load},
    ops::{
        Context, Ops,
        change::Changed,
        control::{CHANGE_ATTEMPTS, concurrent_change, unreadable},
        document::Kind,
        entitlement::{
            CreateEntitlement, Entitlement, EntitlementValue, MeteredValue, UpdateEntitlement,
        },
        feature::{Feature, FeatureType},
        page::{ListRequest, Page},
        plan::{Answer, CustomerPlan, json},
        problem::{Problem, ProblemCode},
    },
};

/// An entitlement that was found, with the feature that its row names.
struct Found {
    entry: Versioned<Entitlement>,
    feature: FeatureId,
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
            for _ in 0..CHANGE_ATTEMPTS {
                let made = self.try_create_entitlement(context, customer, request.clone()).await?;
                if let Some(entitlement) = made {
                    return Ok(entitlement);
                }
            }
            Err(concurrent_change())
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
        Ok(self.find_entitlement(context, customer, name).await?.entry.document)
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
        let entitlements = rows.iter().map(|row| Ok(read(row)?.document));
        let entitlements = entitlements.collect::<Result<Vec<_>, Problem>>()?;
        Ok(Page::cut(entitlements, limit, |it| it.id.to_string()))
    }

    /// Changes an entitlement's limit, value or metadata, at once.
    pub async fn update_entitlement(
        &self,
        context: &Context,
        customer: &str,
        name: &str,
        request: UpdateEntitlement,
    ) -> Result<Entitlement, Problem> {
        self.once(context, async {
            for _ in 0..CHANGE_ATTEMPTS {
                let (turn, customer) = self.customer_in_turn(context, customer).await?;
                let customer = customer.document.id;
                let found = self.find_entitlement(context, customer, name).await?;
                let after = request.clone().apply(&found.entry.document, context.now)?;
                let Versioned { version, document: before } = &found.entry;
                let mut draft = self.draft(context);
                draft.update(*version, &after, Some(&found.feature.to_string()));
                draft.audit("entitlement.update", Some(before), Some(&after));
                let entitlement = after.to_core(found.feature);
                let plan = CustomerPlan {
                    turn,
                    draft,
                    customer,
                    commands: vec![CustomerCommand::PutEntitlement { customer, entitlement }],
                    documents: vec![(after.id.to_string(), json(&after).into_bytes())],
                    effects: Vec::new(),
                    answer: Answer::changed(after),
                };
                if let Changed::Made(entitlement) = self.change(context, plan).await? {
                    return Ok(entitlement);
                }
            }
            Err(concurrent_change())
        })
        .await
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
                draft.audit("entitlement.delete", Some(&found.entry.document), None);
                let plan = CustomerPlan {
                    turn,
                    draft,
                    customer,
                    commands: vec![CustomerCommand::DeleteEntitlement { customer, entitlement }],
                    documents: Vec::new(),
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

    /// Where an entitlement stands now.
    pub async fn entitlement_value(
        &self,
        context: &Context,
        customer: &str,
        name: &str,
    ) -> Result<EntitlementValue, Problem> {
        let customer = self.customer(context, customer).await?.document.id;
        let found = self.find_entitlement(context, customer, name).await?;
        let entitlement = found.entry.document;
        match entitlement.r#type {
            FeatureType::Boolean => Ok(EntitlementValue::Boolean { has_access: true }),
            FeatureType::Static => {
                let own = entitlement.value;
                let view = self.view(context)?;
                let of_feature = view.features.get(found.feature);
                let of_feature = of_feature.and_then(|it| it.document.value.clone());
                let value = own.or(of_feature).unwrap_or(serde_json::Value::Null);
                Ok(EntitlementValue::Static { has_access: true, value })
            }
            FeatureType::Metered => {
                let environment = context.environment();
                let asked = self.inner.partitions.value(environment, customer, entitlement.id);
                let value = asked.await.map_err(|error| unreadable(&error))?;
                let value = value.ok_or_else(|| Problem::not_found("entitlement", name))?;
                Ok(EntitlementValue::Metered(MeteredValue::of(value)))
            }
        }
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
            effects: Vec::new(),
            answer: Answer::created(entitlement),
        };
        match self.change(context, plan).await? {
            Changed::Made(entitlement) => Ok(Some(entitlement)),
            Changed::Refused { statement: resource::INSERT, taken: true } => Err(exists(&feature)),
            Changed::Refused { .. } => Ok(None),
        }
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
    async fn find_entitlement(
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
        let row = row.ok_or_else(nothing)?;
        let feature = row.key.as_deref().and_then(|it| it.parse().ok()).ok_or_else(|| {
            unreadable(&format!("the row of entitlement {} names no feature", row.id))
        })?;
        Ok(Found { entry: read(&row)?, feature })
    }

    async fn entitlement_rows(
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

fn read(row: &ResourceRow) -> Result<Versioned<Entitlement>, Problem> {
    load::document(row).map_err(|it| unreadable(&it))
}
