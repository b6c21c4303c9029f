//! What can be done with grants.

use plimsoll_core::{
    command::CustomerCommand,
    ids::{CustomerId, GrantId},
};
use plimsoll_store::resource::{self, Order, ResourceList, ResourceRow};

use crate::{
    catalogue::{index::Versioned, load},
    ops::{
        Context, Ops,
        change::Changed,
        control::unreadable,
        document::Kind,
        entitlement::{Entitlement, effective_at},
        grant::{CreateGrant, Grant, GrantStanding, VoidGrant, checks::check_room},
        page::{ListRequest, Page},
        plan::{Answer, CustomerPlan},
        problem::{Problem, ProblemCode},
    },
};

impl Ops {
    /// Puts a grant into an entitlement, now or later.
    pub async fn create_grant(
        &self,
        context: &Context,
        customer: &str,
        name: &str,
        request: CreateGrant,
    ) -> Result<Grant, Problem> {
        self.once(context, async {
            let attempt = || self.try_create_grant(context, customer, name, request.clone());
            self.attempts(attempt).await
        })
        .await
    }

    /// A grant of an entitlement, and where it stands.
    pub async fn get_grant(
        &self,
        context: &Context,
        customer: &str,
        name: &str,
        grant: &str,
    ) -> Result<GrantStanding, Problem> {
        let customer = self.customer(context, customer).await?.document.id;
        let entitlement = self.metered_entitlement(context, customer, name).await?;
        let grant = self.find_grant(context, &entitlement, grant).await?.document;
        let (_, standing) = self.standing(context, customer, &entitlement).await?;
        Ok(GrantStanding::of(grant, &standing.grants))
    }

    /// The grants of an entitlement and where they stand, the oldest first.
    pub async fn list_grants(
        &self,
        context: &Context,
        customer: &str,
        name: &str,
        request: &ListRequest,
    ) -> Result<Page<GrantStanding>, Problem> {
        let limit = request.limit()?;
        let after = request.after()?;
        let customer = self.customer(context, customer).await?.document.id;
        let entitlement = self.metered_entitlement(context, customer, name).await?;
        let parent = entitlement.id.to_string();
        let list = ResourceList {
            environment: context.environment(),
            kind: Kind::Grant.as_str(),
            parent: Some(&parent),
            order: Order::OldestFirst,
            after: after.as_deref(),
            limit: limit as u32 + 1,
        };
        let rows = resource::list(self.inner.deps.store.as_ref(), &list).await;
        let rows = rows.map_err(|it| unreadable(&it))?;
        let grants = rows.iter().map(|row| Ok(read(row)?.document));
        let grants = grants.collect::<Result<Vec<_>, Problem>>()?;
        let (_, standing) = self.standing(context, customer, &entitlement).await?;
        let page = Page::cut(grants, limit, |it| it.id.to_string());
        Ok(page.map(|it| GrantStanding::of(it, &standing.grants)))
    }

    /// Ends what is left of a grant, now or later. Doing it again changes nothing.
    pub async fn void_grant(
        &self,
        context: &Context,
        customer: &str,
        name: &str,
        grant: &str,
        request: VoidGrant,
    ) -> Result<(), Problem> {
        self.once(context, async {
            self.attempts(|| self.try_void_grant(context, customer, name, grant, request)).await
        })
        .await
    }

    /// Nothing, if something was changed meanwhile.
    async fn try_create_grant(
        &self,
        context: &Context,
        customer: &str,
        name: &str,
        request: CreateGrant,
    ) -> Result<Option<Grant>, Problem> {
        let (turn, customer) = self.customer_in_turn(context, customer).await?;
        let customer = customer.document.id;
        let entitlement = self.metered_entitlement(context, customer, name).await?;
        let (time, standing) = self.standing(context, customer, &entitlement).await?;
        check_room(&standing.grants)?;
        let id = self.mint(GrantId::from_parts);
        let grant = request.into_document(id, entitlement.id, time, context.now)?;
        let parent = entitlement.id.to_string();
        let mut draft = self.draft(context);
        // Whoever deletes the entitlement waits for this, or this is refused.
        draft.statements.push(resource::hold(&parent));
        draft.insert_part(&grant, None, Some(parent));
        draft.audit("grant.create", None, Some(&grant));
        let command = CustomerCommand::PutGrant {
            customer,
            entitlement: entitlement.id,
            grant: grant.to_core(),
        };
        let plan = CustomerPlan {
            turn,
            draft,
            customer,
            commands: vec![command],
            documents: Vec::new(),
            opening: None,
            effects: Vec::new(),
            answer: Answer::created(grant),
        };
        match self.change(context, plan).await? {
            Changed::Made(grant) => Ok(Some(grant)),
            Changed::Refused { .. } => Ok(None),
        }
    }

    /// Nothing, if something was changed meanwhile.
    async fn try_void_grant(
        &self,
        context: &Context,
        customer: &str,
        name: &str,
        grant: &str,
        request: VoidGrant,
    ) -> Result<Option<()>, Problem> {
        let (turn, customer) = self.customer_in_turn(context, customer).await?;
        let customer = customer.document.id;
        let entitlement = self.metered_entitlement(context, customer, name).await?;
        let before = self.find_grant(context, &entitlement, grant).await?;
        let (time, standing) = self.standing(context, customer, &entitlement).await?;
        let at = effective_at("at", request.at, time)?;
        let Versioned { version, document: before } = before;
        if standing.grants.iter().all(|it| it.grant != before.id) || before.voided_at == Some(at) {
            // It has ended, or will at that very moment.
            return Ok(Some(()));
        }
        if let Some(known) = before.voided_at.filter(|_| at > time) {
            let detail =
                format!("the grant is voided at {known} already: leave it, or void it now");
            return Err(Problem::at(ProblemCode::InvalidParameter, "at", detail));
        }
        let after = Grant { voided_at: Some(at), updated_at: context.now, ..before.clone() };
        let mut draft = self.draft(context);
        draft.update(version, &after, None);
        draft.audit("grant.void", Some(&before), Some(&after));
        let (entitlement, grant) = (entitlement.id, after.id);
        let plan = CustomerPlan {
            turn,
            draft,
            customer,
            commands: vec![CustomerCommand::VoidGrant { customer, entitlement, grant, at }],
            documents: Vec::new(),
            opening: None,
            effects: Vec::new(),
            answer: Answer::deleted(),
        };
        match self.change(context, plan).await? {
            Changed::Made(()) => Ok(Some(())),
            Changed::Refused { .. } => Ok(None),
        }
    }

    /// The entitlement of a customer that grants can be put into.
    async fn metered_entitlement(
        &self,
        context: &Context,
        customer: CustomerId,
        name: &str,
    ) -> Result<Entitlement, Problem> {
        let found = self.find_entitlement(context, customer, name).await?;
        found.entry.document.check_metered()?;
        Ok(found.entry.document)
    }

    async fn find_grant(
        &self,
        context: &Context,
        entitlement: &Entitlement,
        name: &str,
    ) -> Result<Versioned<Grant>, Problem> {
        let parent = entitlement.id.to_string();
        let row = match name.parse::<GrantId>() {
            Ok(_) => self.find_row(context, Kind::Grant, Some(&parent), name).await?,
            Err(_) => None,
        };
        read(&row.ok_or_else(|| Problem::not_found("grant", name))?)
    }
}

fn read(row: &ResourceRow) -> Result<Versioned<Grant>, Problem> {
    load::document(row).map_err(|it| unreadable(&it))
}
