//! What can be done with customers once they are made.

use plimsoll_core::{command::CustomerCommand, key::looks_like_id, limits};
use plimsoll_store::{
    Expect,
    resource::{self, Order, ResourceList, ResourceRow},
    subject::{self, SubjectRow},
};

use crate::{
    catalogue::{index::Versioned, load},
    ops::{
        Context, Ops,
        change::{Changed, Turn},
        control::unreadable,
        customer::{Customer, UpdateCustomer, check_subjects},
        document::Kind,
        fields,
        page::{ListRequest, Page},
        plan::{Answer, CustomerPlan},
        problem::{Problem, ProblemCode},
        request::Patch,
        subjects::{Holders, Reservation, subject_in_use},
    },
};

impl Ops {
    /// The customer with this key or id.
    pub async fn get_customer(&self, context: &Context, name: &str) -> Result<Customer, Problem> {
        Ok(self.customer(context, name).await?.document)
    }

    /// Customers, the oldest first.
    pub async fn list_customers(
        &self,
        context: &Context,
        request: &ListRequest,
    ) -> Result<Page<Customer>, Problem> {
        let limit = request.limit()?;
        let after = request.after()?;
        let list = ResourceList {
            environment: context.environment(),
            kind: Kind::Customer.as_str(),
            parent: None,
            order: Order::OldestFirst,
            after: after.as_deref(),
            limit: limit as u32 + 1,
        };
        let rows = resource::list(self.inner.deps.store.as_ref(), &list).await;
        let rows = rows.map_err(|it| unreadable(&it))?;
        let customers = rows.iter().map(|row| Ok(read(row)?.document));
        let customers = customers.collect::<Result<Vec<_>, Problem>>()?;
        Ok(Page::cut(customers, limit, |it| it.id.to_string()))
    }

    /// Changes a customer's name, subjects or metadata.
    pub async fn update_customer(
        &self,
        context: &Context,
        name: &str,
        request: UpdateCustomer,
    ) -> Result<Customer, Problem> {
        self.once(context, async {
            request.key.check("key")?;
            self.attempts(|| async {
                let (turn, before) = self.customer_in_turn(context, name).await?;
                self.try_update_customer(context, turn, before, request.clone()).await
            })
            .await
        })
        .await
    }

    /// Deletes a customer and its entitlements. Usage of its subjects is rejected from now on.
    pub async fn delete_customer(&self, context: &Context, name: &str) -> Result<(), Problem> {
        self.once(context, async {
            self.attempts(|| async {
                let (turn, customer) = self.customer_in_turn(context, name).await?;
                self.try_delete_customer(context, turn, customer).await
            })
            .await
        })
        .await
    }

    async fn try_update_customer(
        &self,
        context: &Context,
        turn: Turn,
        before: Versioned<Customer>,
        request: UpdateCustomer,
    ) -> Result<Option<Customer>, Problem> {
        let Versioned { version, document: before } = before;
        let id = before.id;
        let environment = context.environment();
        let name = fields::never_null("name", request.name, before.name.clone())?;
        fields::name("name", &name)?;
        let metadata = fields::patched_metadata(before.metadata.clone(), request.metadata)?;
        let subjects = match request.subjects {
            Patch::Keep => before.subjects.clone(),
            Patch::Clear => Vec::new(),
            Patch::Set(subjects) => subjects,
        };
        check_subjects(&subjects)?;
        let Some(holders) = self.added_subjects(context, &before, &subjects).await? else {
            return Ok(None);
        };
        let removed = self.removed_subjects(context, &before, &subjects).await?;
        let catalogue = &self.inner.catalogue;
        let Some(reservation) = Reservation::of(catalogue, environment, id, &holders.free) else {
            return Ok(None);
        };
        let after =
            Customer { name, subjects, metadata, updated_at: context.now, ..before.clone() };
        let mut draft = self.draft(context);
        draft.update(version, &after, after.key.as_deref());
        draft.audit("customer.update", Some(&before), Some(&after));
        let left = holders.left.iter().map(|(subject, of)| (subject, *of));
        for (subject, of) in left.chain(removed.iter().map(|it| (it, id))) {
            let delete = subject::delete(environment, subject, of);
            draft.statements.push(delete.expecting(Expect::RowsAffected(1)));
        }
        let moved: Vec<String> = holders.left.into_iter().map(|(subject, _)| subject).collect();
        let row = |subject: &String| {
            let subject = subject.clone();
            SubjectRow { environment, subject, customer: id }
        };
        let rows = holders.free.iter().chain(&moved).map(row).collect();
        draft.statements.extend(subject::insert(rows));
        let plan = CustomerPlan {
            turn,
            draft,
            customer: id,
            commands: Vec::new(),
            documents: vec![(id.to_string(), after.to_json().into_bytes())],
            opening: None,
            effects: vec![Box::new(move |ops| {
                reservation.confirm();
                let index = ops.catalogue.subjects();
                for subject in &moved {
                    index.put(environment, subject, id);
                }
                for subject in &removed {
                    index.remove(environment, subject, id);
                }
            })],
            answer: Answer::changed(after),
        };
        match self.change(context, plan).await? {
            Changed::Made(customer) => Ok(Some(customer)),
            Changed::Refused { .. } => Ok(None),
        }
    }

    /// Who has the subjects that are added. A customer that exists gives none away.
    async fn added_subjects(
        &self,
        context: &Context,
        before: &Customer,
        subjects: &[String],
    ) -> Result<Option<Holders>, Problem> {
        let added = subjects.iter().filter(|it| !before.subjects.contains(it)).cloned();
        let added: Vec<_> = added.collect();
        let Some(holders) = self.holders(context, &added).await? else { return Ok(None) };
        if let Some((position, _)) = holders.held.first() {
            let subject = &added[*position];
            let position = subjects.iter().position(|it| it == subject).unwrap_or(0);
            return Err(subject_in_use(position, subject, "another customer"));
        }
        Ok(Some(holders))
    }

    /// The subjects that are taken away. If the customer sent usage, none can be: the same event
    /// sent again would be another customer's.
    async fn removed_subjects(
        &self,
        context: &Context,
        before: &Customer,
        subjects: &[String],
    ) -> Result<Vec<String>, Problem> {
        let removed = before.subjects.iter().filter(|it| !subjects.contains(it)).cloned();
        let removed: Vec<_> = removed.collect();
        if let Some(subject) = removed.first()
            && self.has_usage(context, before.id).await?
        {
            let detail = format!("the subject {subject:?} cannot be taken away: it sent usage");
            return Err(Problem::at(ProblemCode::SubjectInUse, "subjects", detail));
        }
        Ok(removed)
    }

    async fn try_delete_customer(
        &self,
        context: &Context,
        turn: Turn,
        customer: Versioned<Customer>,
    ) -> Result<Option<()>, Problem> {
        let id = customer.document.id;
        let environment = context.environment();
        let mut draft = self.draft(context);
        draft.delete(&customer);
        let kind = Kind::Entitlement.as_str();
        draft.statements.push(resource::delete_grandchildren(
            &id.to_string(),
            kind,
            Kind::Grant.as_str(),
            draft.now,
        ));
        draft.statements.push(resource::delete_children(&id.to_string(), kind, draft.now));
        draft.audit("customer.delete", Some(&customer.document), None);
        let subjects = customer.document.subjects;
        let plan = CustomerPlan {
            turn,
            draft,
            customer: id,
            commands: vec![CustomerCommand::Delete { customer: id }],
            documents: Vec::new(),
            opening: None,
            effects: vec![Box::new(move |ops| {
                let index = ops.catalogue.subjects();
                for subject in &subjects {
                    index.put_deleted(environment, subject, id);
                }
            })],
            answer: Answer::deleted(),
        };
        match self.change(context, plan).await? {
            Changed::Made(()) => Ok(Some(())),
            Changed::Refused { .. } => Ok(None),
        }
    }

    /// The customer with this key or id.
    pub(in crate::ops) async fn customer(
        &self,
        context: &Context,
        name: &str,
    ) -> Result<Versioned<Customer>, Problem> {
        let found = self.find_customer(context, name).await?;
        found.ok_or_else(|| Problem::not_found("customer", name))
    }

    /// The customer with this key or id, as nobody else in the process changes it meanwhile.
    pub(in crate::ops) async fn customer_in_turn(
        &self,
        context: &Context,
        name: &str,
    ) -> Result<(Turn, Versioned<Customer>), Problem> {
        let id = self.customer(context, name).await?.document.id.to_string();
        let turn = self.turn(&id).await;
        // It may have changed, or gone, while this waited.
        Ok((turn, self.customer(context, &id).await?))
    }

    /// The customer with this key or id, if there is one.
    pub(in crate::ops) async fn find_customer(
        &self,
        context: &Context,
        name: &str,
    ) -> Result<Option<Versioned<Customer>>, Problem> {
        let row = self.find_row(context, Kind::Customer, None, name).await?;
        row.as_ref().map(read).transpose()
    }

    /// The row of this kind with this key or id, in the caller's environment.
    pub(in crate::ops) async fn find_row(
        &self,
        context: &Context,
        kind: Kind,
        parent: Option<&str>,
        name: &str,
    ) -> Result<Option<ResourceRow>, Problem> {
        let store = self.inner.deps.store.as_ref();
        let environment = context.environment();
        if name.len() > limits::KEY_BYTES || name.contains('\0') {
            return Ok(None);
        }
        let row = if looks_like_id(name) {
            let row = resource::get(store, name).await;
            row.map(|row| {
                row.filter(|it| {
                    it.environment == environment
                        && it.kind == kind.as_str()
                        && it.parent.as_deref() == parent
                        && it.deleted_at.is_none()
                })
            })
        } else {
            resource::get_by_key(store, environment, kind.as_str(), parent, name).await
        };
        row.map_err(|it| unreadable(&it))
    }
}

/// Reads a customer's row. The row knows whether a provisional customer got its key.
fn read(row: &ResourceRow) -> Result<Versioned<Customer>, Problem> {
    let mut customer = load::document::<Customer>(row).map_err(|it| unreadable(&it))?;
    customer.document.key.clone_from(&row.key);
    Ok(customer)
}
