//! What a change comes to before it is committed: rows, an audit entry, an answer, and what happens
//! in memory once it is durable.
//!
//! Not here: committing (`control`, `change`).

use plimsoll_core::{
    command::{ControlCommand, CustomerCommand},
    ids::{AuditId, CustomerId, EnvironmentId, MeterId},
    time::Timestamp,
};
use plimsoll_store::{
    Statement,
    audit::{self, AuditRow},
    resource::{self, ResourceRow},
};
use serde::Serialize;

use crate::{
    catalogue::{EnvironmentView, index::Versioned},
    ops::{Inner, change::Turn, document::Document, outcome},
};

/// Rows of one change, all of one environment, one moment and one actor.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) environment: EnvironmentId,
    pub(crate) now: Timestamp,
    pub(crate) actor: String,
    pub(crate) audit_id: AuditId,
    pub(crate) statements: Vec<Statement>,
}

/// What happens in memory once a change is durable.
pub(crate) type Effect = Box<dyn FnOnce(&Inner) + Send>;

/// What the caller is told, and what a repetition of the request is told.
#[derive(Debug)]
pub(crate) struct Answer<T> {
    pub(crate) value: T,
    pub(crate) status: u16,
    /// The body as a repetition gets it: without secrets. Empty for 204.
    pub(crate) kept: Vec<u8>,
}

/// A change of what all partitions depend on.
pub(crate) struct ControlPlan<T> {
    pub(crate) answer: Answer<T>,
    pub(crate) command: Option<ControlCommand>,
    pub(crate) effects: Vec<Effect>,
}

/// A change of one customer.
pub(crate) struct CustomerPlan<T> {
    /// Held since the customer was read.
    pub(crate) turn: Turn,
    pub(crate) draft: Draft,
    pub(crate) answer: Answer<T>,
    pub(crate) customer: CustomerId,
    pub(crate) commands: Vec<CustomerCommand>,
    /// Documents that notifications show, by the id of their resource.
    pub(crate) documents: Vec<(String, Vec<u8>)>,
    /// The entitlement that is made counts what this meter measured in the period so far.
    pub(crate) opening: Option<MeterId>,
    pub(crate) effects: Vec<Effect>,
}

/// A document as JSON text.
pub(crate) fn json(document: &impl Serialize) -> String {
    serde_json::to_string(document).expect("a document has text keys and no floats")
}

impl Draft {
    /// Adds a resource.
    pub(crate) fn insert<D: Document>(&mut self, document: &D, key: Option<&str>) {
        self.insert_part(document, key, None);
    }

    /// Adds a resource that is a part of another.
    pub(crate) fn insert_part<D: Document>(
        &mut self,
        document: &D,
        key: Option<&str>,
        parent: Option<String>,
    ) {
        self.statements.extend(resource::insert(vec![ResourceRow {
            id: document.id().to_string(),
            environment: self.environment,
            kind: D::KIND.as_str().to_owned(),
            key: key.map(str::to_owned),
            parent,
            version: 1,
            doc: json(document),
            created_at: self.now,
            updated_at: self.now,
            deleted_at: None,
        }]));
    }

    /// Replaces a resource that still has this version.
    pub(crate) fn update<D: Document>(&mut self, version: i64, document: &D, key: Option<&str>) {
        let id = document.id().to_string();
        self.statements.push(resource::update(&id, version, key, json(document), self.now));
    }

    /// Deletes a resource that still has this version.
    pub(crate) fn delete<D: Document>(&mut self, entry: &Versioned<D>) {
        let id = entry.document.id().to_string();
        self.statements.push(resource::delete(&id, entry.version, self.now));
    }

    /// Writes who changed what.
    pub(crate) fn audit<D: Document>(
        &mut self,
        action: &'static str,
        before: Option<&D>,
        after: Option<&D>,
    ) {
        let subject = after.or(before).expect("a change has a before or an after");
        let id = subject.id().to_string();
        self.audit_as(action, D::KIND.as_str(), id, before.map(json), after.map(json));
    }

    /// Writes who changed what, for documents that are shown otherwise than they are stored.
    pub(crate) fn audit_as(
        &mut self,
        action: &'static str,
        kind: &str,
        id: String,
        before: Option<String>,
        after: Option<String>,
    ) {
        self.statements.extend(audit::insert(vec![AuditRow {
            id: self.audit_id,
            environment: self.environment,
            at: self.now,
            actor: self.actor.clone(),
            action: action.to_owned(),
            resource_kind: kind.to_owned(),
            resource_id: id,
            before,
            after,
        }]));
    }
}

impl<T: Serialize> Answer<T> {
    /// A resource was made.
    pub(crate) fn created(value: T) -> Self {
        let kept = json(&value).into_bytes();
        Self { value, status: outcome::CREATED, kept }
    }

    /// A resource was changed.
    pub(crate) fn changed(value: T) -> Self {
        let kept = json(&value).into_bytes();
        Self { value, status: outcome::OK, kept }
    }
}

impl<T> Answer<T> {
    /// An answer with a secret; `shown` is the same without it.
    pub(crate) fn with_secret(value: T, status: u16, shown: &impl Serialize) -> Self {
        Self { value, status, kept: json(shown).into_bytes() }
    }
}

impl Answer<()> {
    /// A resource was deleted.
    pub(crate) const fn deleted() -> Self {
        Self { value: (), status: outcome::DELETED, kept: Vec::new() }
    }
}

impl<T> ControlPlan<T> {
    /// A plan with this answer.
    pub(crate) fn new(answer: Answer<T>) -> Self {
        Self { answer, command: None, effects: Vec::new() }
    }

    /// The partitions need to know this.
    pub(crate) fn command(self, command: ControlCommand) -> Self {
        Self { command: Some(command), ..self }
    }

    /// This happens in memory once the change is durable.
    pub(crate) fn then(mut self, effect: impl FnOnce(&Inner) + Send + 'static) -> Self {
        self.effects.push(Box::new(effect));
        self
    }

    /// The environment's view changes like this once the change is durable.
    pub(crate) fn view(
        self,
        environment: EnvironmentId,
        edit: impl FnOnce(&mut EnvironmentView) + Send + 'static,
    ) -> Self {
        self.then(move |ops| {
            ops.catalogue.edit(|snapshot| {
                if let Some(view) = snapshot.environment_mut(environment) {
                    edit(view);
                }
            });
        })
    }
}
