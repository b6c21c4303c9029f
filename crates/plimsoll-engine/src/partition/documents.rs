//! The documents of customers and entitlements, as notifications show them.
//!
//! The store is the truth. What a change has just set is at hand here until its commit, and a
//! bounded number of recently shown documents is kept.

use bytes::Bytes;
use hashbrown::HashMap;
use plimsoll_store::{ReadError, Store, resource};

/// Documents that are kept; when there are more, all are forgotten and read again as needed.
const KEPT: usize = 4_096;

/// Documents by the id of their resource.
#[derive(Debug, Default)]
pub(super) struct Documents {
    kept: HashMap<String, Bytes>,
}

impl Documents {
    /// What has just been changed: it is newer than what the store has committed.
    pub(super) fn put(&mut self, documents: impl IntoIterator<Item = (String, Bytes)>) {
        self.kept.extend(documents);
    }

    /// Makes sure that these are at hand, as far as they exist.
    pub(super) async fn load(
        &mut self,
        store: &dyn Store,
        mut ids: Vec<String>,
    ) -> Result<(), ReadError> {
        ids.sort_unstable();
        ids.dedup();
        ids.retain(|it| !self.kept.contains_key(it));
        if ids.is_empty() {
            return Ok(());
        }
        let rows = resource::get_many(store, &ids).await?;
        self.kept.extend(rows.into_iter().map(|it| (it.id, Bytes::from(it.doc))));
        Ok(())
    }

    /// The document with this id; `null` if there is none any more.
    pub(super) fn get(&self, id: &str) -> &[u8] {
        self.kept.get(id).map_or(b"null", |it| it)
    }

    /// Keeps memory bounded. To be called between batches: nothing uncommitted may be forgotten.
    pub(super) fn trim(&mut self) {
        if self.kept.len() > KEPT {
            self.kept.clear();
        }
    }
}
