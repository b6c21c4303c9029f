//! Customers: who is metered, by which subjects their usage is known.
//!
//! Usage of an unknown subject makes a provisional customer. Making a customer with that subject
//! takes it over: same id, usage kept.
//!
//! Not here: what they may use (`entitlement`), which customer a subject is (`catalogue`).

use plimsoll_core::{
    ids::{CustomerId, EnvironmentId},
    key::Key,
    limits,
    time::Timestamp,
};
use plimsoll_store::{
    Statement,
    resource::{self, ResourceRow},
    subject::{self, SubjectRow},
};
use serde::{Deserialize, Serialize};

use crate::ops::{
    document::{Document, Kind},
    fields::{self, Metadata, MetadataPatch},
    plan::json,
    problem::Problem,
    request::{Immutable, Patch},
    scalar::as_text,
};

mod create;
mod methods;

/// A customer: who is metered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Customer {
    /// The customer's id.
    #[serde(with = "as_text")]
    #[schema(value_type = String, example = "cus_01K0000000000000000000000A")]
    pub id: CustomerId,
    /// The customer's key, unique among customers. Null for a provisional customer whose subject
    /// could not become its key.
    #[schema(example = "acme")]
    pub key: Option<String>,
    /// What people call it.
    #[schema(example = "Acme")]
    pub name: String,
    /// What its usage events carry as their subject.
    #[schema(example = json!(["acme-prod"]))]
    pub subjects: Vec<String>,
    /// Whether usage made it, and nobody has taken it over yet.
    pub provisional: bool,
    /// Texts that Plimsoll keeps and never reads.
    #[schema(value_type = BTreeMap<String, String>)]
    pub metadata: Metadata,
    /// When it was made.
    #[serde(with = "as_text")]
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it was last changed.
    #[serde(with = "as_text")]
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

/// A customer to be made.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateCustomer {
    /// The customer's key, unique among customers; it never changes.
    #[schema(example = "acme")]
    pub key: String,
    /// What people call it; the key if absent.
    #[serde(default)]
    #[schema(example = "Acme")]
    pub name: Option<String>,
    /// What its usage events carry as their subject; its key if absent. A provisional customer with
    /// one of them is taken over.
    #[serde(default)]
    #[schema(example = json!(["acme-prod"]))]
    pub subjects: Option<Vec<String>>,
    /// Texts to keep with it.
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, String>)]
    pub metadata: Metadata,
}

/// A change of a customer. What is absent stays.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateCustomer {
    /// What people call it.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub name: Patch<String>,
    /// Its subjects, in place of those before. One that sent usage cannot be taken away.
    #[serde(default)]
    #[schema(value_type = Option<Vec<String>>)]
    pub subjects: Patch<Vec<String>>,
    /// Texts to set, or to remove by null.
    #[serde(default)]
    #[schema(value_type = Option<BTreeMap<String, Option<String>>>)]
    pub metadata: Patch<MetadataPatch>,
    #[serde(default)]
    #[schema(ignore)]
    key: Immutable,
}

impl Document for Customer {
    type Id = CustomerId;
    const KIND: Kind = Kind::Customer;

    fn id(&self) -> CustomerId {
        self.id
    }

    fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }
}

impl CreateCustomer {
    /// The subjects that are asked for.
    fn subjects(&self) -> &[String] {
        self.subjects.as_deref().unwrap_or_else(|| std::slice::from_ref(&self.key))
    }
}

impl Customer {
    /// The customer that usage of an unknown subject makes. Its key is the subject, if that can be
    /// a key.
    pub fn provisional(id: CustomerId, subject: &str, now: Timestamp) -> Self {
        Self {
            id,
            key: subject.parse::<Key>().ok().map(|it| it.to_string()),
            name: subject.to_owned(),
            subjects: vec![subject.to_owned()],
            provisional: true,
            metadata: Metadata::new(),
            created_at: now,
            updated_at: now,
        }
    }

    /// The document as JSON, as notifications show it.
    pub fn to_json(&self) -> String {
        json(self)
    }
}

/// The rows of provisional customers, for the transaction of the usage that makes them. One whose
/// key belongs to another customer gets none.
pub fn provisional_rows(environment: EnvironmentId, customers: &[Customer]) -> Vec<Statement> {
    let row = |it: &Customer| ResourceRow {
        id: it.id.to_string(),
        environment,
        kind: Kind::Customer.as_str().to_owned(),
        key: it.key.clone(),
        parent: None,
        version: 1,
        doc: it.to_json(),
        created_at: it.created_at,
        updated_at: it.updated_at,
        deleted_at: None,
    };
    let subjects = customers.iter().flat_map(|it| {
        it.subjects.iter().map(|subject| SubjectRow {
            environment,
            subject: subject.clone(),
            customer: it.id,
        })
    });
    let mut statements = resource::insert_yielding_keys(customers.iter().map(row).collect());
    statements.extend(subject::insert(subjects.collect()));
    statements
}

fn check_subjects(subjects: &[String]) -> Result<(), Problem> {
    fields::distinct("subjects", subjects, limits::CUSTOMER_SUBJECTS)?;
    for (index, subject) in subjects.iter().enumerate() {
        // As long as in an event: every provisional customer can be taken over.
        let bytes = limits::EVENT_ATTRIBUTE_BYTES;
        fields::bounded_text(&format!("subjects[{index}]"), subject, bytes)?;
    }
    Ok(())
}
