//! What is committed of the control plane, in memory: environments, keys, meters, features,
//! channels, rules; and which customer a subject is.
//!
//! A [`Snapshot`] never changes; a reader keeps the one it took. A change replaces it after its
//! commit and before its caller is answered. Customers and entitlements are too many for this:
//! they stay in the store, and only [`Subjects`] are here.
//!
//! Not here: who changes it (`ops`), what meters and rules mean (`plimsoll-core`).

use std::sync::{Arc, PoisonError, RwLock};

use hashbrown::HashMap;
use plimsoll_core::{
    ids::{ApiKeyId, EnvironmentId, RuleId},
    time::Timestamp,
};
use plimsoll_store::Store;

use crate::ops::{
    api_key::ApiKey, channel::StoredChannel, environment::Environment, feature::Feature,
    meter::Meter, rule::StoredRule,
};

pub mod index;
pub mod load;
pub mod subjects;

use index::{Index, Versioned};
use load::LoadError;
use subjects::Subjects;

/// The committed control plane of one installation, and the index of subjects.
#[derive(Debug)]
pub struct Catalogue {
    current: RwLock<Arc<Snapshot>>,
    subjects: Subjects,
}

/// The committed control plane at one moment.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Every environment with what is in it, by id.
    environments: HashMap<EnvironmentId, Arc<EnvironmentView>>,
    /// Every key that has not been revoked, by the hash of its token.
    keys: Arc<HashMap<KeyHash, KeyEntry>>,
}

/// The fingerprint of an API key's token.
pub type KeyHash = String;

/// Whose token a hash is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyEntry {
    /// The key's environment.
    pub environment: EnvironmentId,
    /// The key.
    pub key: ApiKeyId,
    /// When it stops working.
    pub expires_at: Option<Timestamp>,
}

/// What is in one environment.
#[derive(Debug, Clone)]
pub struct EnvironmentView {
    /// The environment itself.
    pub environment: Arc<Versioned<Environment>>,
    /// Its API keys that have not been revoked.
    pub keys: Arc<Index<ApiKey>>,
    /// Its meters.
    pub meters: Arc<Index<Meter>>,
    /// Its features.
    pub features: Arc<Index<Feature>>,
    /// Its channels.
    pub channels: Arc<Index<StoredChannel>>,
    /// Its rules.
    pub rules: Arc<Index<StoredRule>>,
}

impl EnvironmentView {
    /// An environment with nothing in it.
    pub fn empty(environment: Versioned<Environment>) -> Self {
        Self {
            environment: Arc::new(environment),
            keys: Arc::default(),
            meters: Arc::default(),
            features: Arc::default(),
            channels: Arc::default(),
            rules: Arc::default(),
        }
    }

    /// The rule with this id.
    pub fn rule(&self, id: RuleId) -> Option<&Versioned<StoredRule>> {
        self.rules.get(id)
    }
}

impl Snapshot {
    /// What is in an environment.
    pub fn environment(&self, id: EnvironmentId) -> Option<&Arc<EnvironmentView>> {
        self.environments.get(&id)
    }

    /// Every environment with what is in it, in no particular order.
    pub fn environments(&self) -> impl Iterator<Item = &Arc<EnvironmentView>> {
        self.environments.values()
    }

    /// Whose token this is the hash of, if the key has not been revoked.
    pub fn key(&self, hash: &str) -> Option<KeyEntry> {
        self.keys.get(hash).copied()
    }

    /// Adds or replaces an environment with what is in it.
    pub(crate) fn put_environment(&mut self, view: EnvironmentView) {
        self.environments.insert(view.environment.document.id, Arc::new(view));
    }

    /// What is in an environment, to be changed.
    pub(crate) fn environment_mut(&mut self, id: EnvironmentId) -> Option<&mut EnvironmentView> {
        self.environments.get_mut(&id).map(Arc::make_mut)
    }

    /// Lets a token work from now on.
    pub(crate) fn put_key(&mut self, hash: KeyHash, entry: KeyEntry) {
        Arc::make_mut(&mut self.keys).insert(hash, entry);
    }

    /// Lets the token of a key work no longer.
    pub(crate) fn remove_key(&mut self, key: ApiKeyId) {
        Arc::make_mut(&mut self.keys).retain(|_, entry| entry.key != key);
    }
}

impl Catalogue {
    /// Reads what is committed.
    pub async fn load(store: &dyn Store) -> Result<Arc<Self>, LoadError> {
        let snapshot = load::snapshot(store).await?;
        let subjects = Subjects::default();
        load::subjects(store, &subjects).await?;
        Ok(Arc::new(Self { current: RwLock::new(Arc::new(snapshot)), subjects }))
    }

    /// What is committed now.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// What is committed now in one environment.
    pub fn environment(&self, id: EnvironmentId) -> Option<Arc<EnvironmentView>> {
        self.snapshot().environment(id).cloned()
    }

    /// Which customer a subject is.
    pub fn subjects(&self) -> &Subjects {
        &self.subjects
    }

    /// Replaces the snapshot by one that `edit` has changed. One caller at a time.
    pub(crate) fn edit(&self, edit: impl FnOnce(&mut Snapshot)) {
        let mut next = Snapshot::clone(&self.snapshot());
        edit(&mut next);
        self.replace(next);
    }

    /// Replaces the snapshot.
    pub(crate) fn replace(&self, snapshot: Snapshot) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(snapshot);
    }
}
