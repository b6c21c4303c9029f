//! Fills the catalogue from the store, page by page, at start and after a doubtful commit.

use std::str::FromStr;

use hashbrown::HashSet;
use plimsoll_core::ids::{CustomerId, EnvironmentId};
use plimsoll_store::{
    ReadError, Store,
    resource::{self, Order, ResourceList, ResourceRow},
    subject,
};

use crate::{
    catalogue::{
        EnvironmentView, KeyEntry, Snapshot,
        index::{Index, Versioned},
        subjects::Subjects,
    },
    ops::{
        api_key::ApiKey,
        document::{Document, Kind},
        environment::Environment,
    },
};

/// Rows that one query fetches.
const PAGE: u32 = 1_000;
/// Subjects that one query fetches; they are small.
const SUBJECTS_PAGE: u32 = 10_000;

/// Why the catalogue could not be read.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The store does not answer, or a row is not of the expected shape.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A stored document is not one.
    #[error("the stored document {id} cannot be read: {detail}")]
    Document {
        /// The id of its row.
        id: String,
        /// What is wrong.
        detail: String,
    },
}

/// Reads a row's document.
pub(crate) fn document<D: Document>(row: &ResourceRow) -> Result<Versioned<D>, LoadError> {
    let document = serde_json::from_str(&row.doc)
        .map_err(|error| LoadError::Document { id: row.id.clone(), detail: error.to_string() })?;
    Ok(Versioned { version: row.version, document })
}

/// Everything of the control plane but customers and entitlements.
pub(crate) async fn snapshot(store: &dyn Store) -> Result<Snapshot, LoadError> {
    let mut snapshot = Snapshot::default();
    for row in resource::environments(store).await? {
        let environment = document::<Environment>(&row)?;
        let id = environment.document.id;
        let mut view = EnvironmentView::empty(environment);
        view.meters = index(store, id).await?.into();
        view.features = index(store, id).await?.into();
        view.channels = index(store, id).await?.into();
        view.rules = index(store, id).await?.into();
        let mut keys = Index::default();
        for row in rows(store, id, ApiKey::KIND).await? {
            let key = document::<ApiKey>(&row)?;
            let hash = row.key.ok_or_else(|| LoadError::Document {
                id: row.id.clone(),
                detail: "the row has no fingerprint".to_owned(),
            })?;
            let entry = KeyEntry {
                environment: id,
                key: key.document.id,
                expires_at: key.document.expires_at,
            };
            snapshot.put_key(hash, entry);
            keys.put(key);
        }
        view.keys = keys.into();
        snapshot.put_environment(view);
    }
    Ok(snapshot)
}

async fn index<D: Document>(
    store: &dyn Store,
    environment: EnvironmentId,
) -> Result<Index<D>, LoadError> {
    let mut index = Index::default();
    for row in rows(store, environment, D::KIND).await? {
        index.put(document(&row)?);
    }
    Ok(index)
}

async fn rows(
    store: &dyn Store,
    environment: EnvironmentId,
    kind: Kind,
) -> Result<Vec<ResourceRow>, ReadError> {
    let mut rows: Vec<ResourceRow> = Vec::new();
    loop {
        let list = ResourceList {
            environment,
            kind: kind.as_str(),
            parent: None,
            order: Order::OldestFirst,
            after: rows.last().map(|it| it.id.as_str()),
            limit: PAGE,
        };
        let page = resource::list(store, &list).await?;
        let last = page.len() < PAGE as usize;
        rows.extend(page);
        if last {
            return Ok(rows);
        }
    }
}

/// Puts every stored subject into the index.
pub(crate) async fn subjects(store: &dyn Store, subjects: &Subjects) -> Result<(), LoadError> {
    let deleted = deleted_customers(store).await?;
    let mut last = None;
    loop {
        let page = subject::scan(store, last.as_ref(), SUBJECTS_PAGE).await?;
        for row in &page {
            if deleted.contains(&row.customer) {
                subjects.put_deleted(row.environment, &row.subject, row.customer);
            } else {
                subjects.put(row.environment, &row.subject, row.customer);
            }
        }
        if page.len() < SUBJECTS_PAGE as usize {
            return Ok(());
        }
        last = page.into_iter().last();
    }
}

async fn deleted_customers(store: &dyn Store) -> Result<HashSet<CustomerId>, LoadError> {
    let mut deleted = HashSet::new();
    let mut after: Option<String> = None;
    loop {
        let kind = Kind::Customer.as_str();
        let page = resource::deleted_ids(store, kind, after.as_deref(), SUBJECTS_PAGE).await?;
        for id in &page {
            let customer = CustomerId::from_str(id).map_err(|error| LoadError::Document {
                id: id.clone(),
                detail: error.to_string(),
            })?;
            deleted.insert(customer);
        }
        if page.len() < SUBJECTS_PAGE as usize {
            return Ok(deleted);
        }
        after = page.into_iter().last();
    }
}
