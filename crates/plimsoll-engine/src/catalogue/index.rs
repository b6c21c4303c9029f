//! Documents of one kind in one environment, found by id or key and listed by id.

use std::{collections::BTreeMap, sync::Arc};

use plimsoll_core::key::looks_like_id;

use crate::ops::{
    document::Document,
    page::{ListRequest, Page},
    problem::{Problem, ProblemCode},
};

/// A document and the version of its row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Versioned<D> {
    /// 1 when it was made, one more with each change.
    pub version: i64,
    /// The document.
    pub document: D,
}

/// Documents of one kind.
#[derive(Debug)]
pub struct Index<D: Document> {
    by_id: BTreeMap<D::Id, Arc<Versioned<D>>>,
    by_key: BTreeMap<Box<str>, D::Id>,
}

impl<D: Document> Default for Index<D> {
    fn default() -> Self {
        Self { by_id: BTreeMap::new(), by_key: BTreeMap::new() }
    }
}

impl<D: Document> Clone for Index<D> {
    fn clone(&self) -> Self {
        Self { by_id: self.by_id.clone(), by_key: self.by_key.clone() }
    }
}

impl<D: Document> Index<D> {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// The document with this id.
    pub fn get(&self, id: D::Id) -> Option<&Versioned<D>> {
        self.by_id.get(&id).map(Arc::as_ref)
    }

    /// The document with this key or id. No key looks like an id, so no name means two things.
    pub fn find(&self, name: &str) -> Option<&Versioned<D>> {
        let id = if looks_like_id(name) { name.parse().ok()? } else { *self.by_key.get(name)? };
        self.get(id)
    }

    /// Every document, the oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Versioned<D>> {
        self.by_id.values().map(Arc::as_ref)
    }

    /// One page of documents, the oldest first.
    pub(crate) fn page(&self, request: &ListRequest) -> Result<Page<&Versioned<D>>, Problem> {
        let limit = request.limit()?;
        let after: Option<D::Id> = match request.after()? {
            None => None,
            Some(text) => Some(text.parse().map_err(|_| {
                Problem::at(ProblemCode::InvalidCursor, "cursor", "the cursor is of another list")
            })?),
        };
        let from = after.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        let items = self.by_id.range((from, std::ops::Bound::Unbounded));
        let items: Vec<_> = items.take(limit + 1).map(|(_, it)| it.as_ref()).collect();
        Ok(Page::cut(items, limit, |it| it.document.id().to_string()))
    }

    /// Refuses a key that another document has.
    pub(crate) fn check_free(&self, key: &str) -> Result<(), Problem> {
        if self.by_key.contains_key(key) {
            let detail = format!("another {} has the key {key:?}", D::KIND.noun());
            return Err(Problem::at(ProblemCode::KeyInUse, "key", detail));
        }
        Ok(())
    }

    /// Refuses one more document when there are `most`.
    pub(crate) fn check_room(&self, most: usize) -> Result<(), Problem> {
        if self.len() >= most {
            let detail = format!("an environment has at most {most} of kind {}", D::KIND.noun());
            return Err(Problem::new(ProblemCode::ResourceLimit, detail));
        }
        Ok(())
    }

    /// Adds or replaces a document.
    pub(crate) fn put(&mut self, entry: Versioned<D>) {
        let id = entry.document.id();
        if let Some(key) = entry.document.key() {
            self.by_key.insert(key.into(), id);
        }
        self.by_id.insert(id, Arc::new(entry));
    }

    /// Removes a document.
    pub(crate) fn remove(&mut self, id: D::Id) {
        if let Some(entry) = self.by_id.remove(&id)
            && let Some(key) = entry.document.key()
        {
            self.by_key.remove(key);
        }
    }
}
