//! Makes environments: the two of a new store with their first keys, and more by the command line.
//!
//! Not here: settings of an environment (`environment`), keys made through the API (`api_key`).

use std::{fmt, sync::Arc};

use plimsoll_core::ids::{ApiKeyId, AuditId, EnvironmentId};
use plimsoll_store::Statement;

use crate::{
    catalogue::{EnvironmentView, KeyEntry, Snapshot, index::Versioned},
    ops::{
        Ops, Scope,
        api_key::{self, ApiKey},
        control,
        environment::{Environment, EnvironmentKind, UnknownSubjects},
        fields,
        plan::Draft,
        problem::{Problem, ProblemCode},
    },
    vault::fingerprint,
};

/// Who the audit trail says made an environment.
const ACTOR: &str = "cli";
/// Characters that a given key has after its prefix, at the least.
const GIVEN_TOKEN_CHARACTERS: usize = 16;

/// The admin keys of a new store. Shown once.
#[derive(Debug)]
pub struct FirstKeys {
    /// The environment `live` and its key.
    pub live: NewEnvironment,
    /// The environment `sandbox` and its key.
    pub sandbox: NewEnvironment,
}

/// An environment that was just made, with the token of its admin key. Shown once.
pub struct NewEnvironment {
    /// The environment.
    pub environment: Environment,
    /// The record of the key.
    pub key: ApiKey,
    /// The key's token.
    pub token: String,
}

impl fmt::Debug for NewEnvironment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewEnvironment")
            .field("environment", &self.environment)
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

/// An environment to be made.
#[derive(Clone, Copy)]
struct Wanted<'a> {
    name: &'a str,
    kind: EnvironmentKind,
    /// The token of its admin key; a new one if absent.
    token: Option<&'a str>,
}

/// Why a new store could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    /// The given key is not one.
    #[error(
        "the bootstrap key begins with plm_live_ or plm_test_ and goes on with at least \
         {GIVEN_TOKEN_CHARACTERS} letters, digits, hyphens or underscores"
    )]
    InvalidKey,
    /// The environments could not be made.
    #[error(transparent)]
    Problem(#[from] Problem),
}

impl Ops {
    /// Gives a new store its environments `live` and `sandbox`, each with an admin key. With
    /// `bootstrap_key`, that is the key of the environment that its prefix names.
    ///
    /// Nothing, if the store has environments already.
    pub async fn bootstrap(
        &self,
        bootstrap_key: Option<&str>,
    ) -> Result<Option<FirstKeys>, BootstrapError> {
        let given = bootstrap_key.map(kind_of_given).transpose()?;
        if self.inner.catalogue.snapshot().environments().next().is_some() {
            return Ok(None);
        }
        let token = |kind| bootstrap_key.filter(|_| given == Some(kind));
        let wanted = |name, kind| Wanted { name, kind, token: token(kind) };
        let [live, sandbox] = self
            .make([
                wanted("live", EnvironmentKind::Live),
                wanted("sandbox", EnvironmentKind::Sandbox),
            ])
            .await?;
        Ok(Some(FirstKeys { live, sandbox }))
    }

    /// Makes an environment with an admin key.
    pub async fn create_environment(
        &self,
        name: &str,
        kind: EnvironmentKind,
    ) -> Result<NewEnvironment, Problem> {
        let [made] = self.make([Wanted { name, kind, token: None }]).await?;
        Ok(made)
    }

    /// Makes environments, all in one transaction.
    async fn make<const N: usize>(
        &self,
        wanted: [Wanted<'_>; N],
    ) -> Result<[NewEnvironment; N], Problem> {
        // Held to the end: names are checked against the snapshot.
        let turn = self.inner.control.lock().await;
        let snapshot = self.inner.catalogue.snapshot();
        for Wanted { name, .. } in &wanted {
            fields::name("name", name)?;
            if snapshot.environments().any(|it| it.environment.document.name == *name) {
                let detail = format!("another environment has the name {name:?}");
                return Err(Problem::at(ProblemCode::KeyInUse, "name", detail));
            }
        }
        let made = wanted.map(|it| self.new_environment(&it));
        let statements = made.iter().flat_map(|it| self.rows_of(it)).collect();
        let committed = self.inner.partitions.control(None, statements).await;
        committed.map_err(|error| control::problem_of(&error))?;
        self.inner.catalogue.edit(|snapshot| made.iter().for_each(|it| it.enter(snapshot)));
        drop(turn);
        Ok(made)
    }

    fn rows_of(&self, made: &NewEnvironment) -> Vec<Statement> {
        let mut draft = Draft {
            environment: made.environment.id,
            now: made.environment.created_at,
            actor: ACTOR.to_owned(),
            audit_id: self.mint(AuditId::from_parts),
            statements: Vec::new(),
        };
        draft.insert(&made.environment, None);
        draft.audit("environment.create", None, Some(&made.environment));
        draft.insert(&made.key, Some(&fingerprint(made.token.as_bytes())));
        draft.audit_id = self.mint(AuditId::from_parts);
        draft.audit("api_key.create", None, Some(&made.key));
        draft.statements
    }

    fn new_environment(&self, wanted: &Wanted<'_>) -> NewEnvironment {
        let &Wanted { name, kind, token } = wanted;
        let now = self.inner.deps.clock.now();
        let random = self.inner.deps.random.as_ref();
        let token = token.map_or_else(|| api_key::mint_token(random, kind), str::to_owned);
        NewEnvironment {
            environment: Environment {
                id: self.mint(EnvironmentId::from_parts),
                name: name.to_owned(),
                kind,
                unknown_subjects: UnknownSubjects::Create,
                clock: None,
                created_at: now,
                updated_at: now,
            },
            key: ApiKey {
                id: self.mint(ApiKeyId::from_parts),
                name: "first admin key".to_owned(),
                scopes: vec![Scope::Admin],
                hint: api_key::hint(&token),
                expires_at: None,
                created_at: now,
            },
            token,
        }
    }
}

impl NewEnvironment {
    /// Puts the committed environment and its key into the catalogue.
    fn enter(&self, snapshot: &mut Snapshot) {
        let document = self.environment.clone();
        let mut view = EnvironmentView::empty(Versioned { version: 1, document });
        let key = Versioned { version: 1, document: self.key.clone() };
        Arc::make_mut(&mut view.keys).put(key);
        snapshot.put_environment(view);
        let (environment, key) = (self.environment.id, self.key.id);
        let hash = fingerprint(self.token.as_bytes());
        snapshot.put_key(hash, KeyEntry { environment, key, expires_at: None });
    }
}

/// The kind of environment that a given key is for.
fn kind_of_given(token: &str) -> Result<EnvironmentKind, BootstrapError> {
    let kinds = [EnvironmentKind::Live, EnvironmentKind::Sandbox];
    let found = kinds.into_iter().find_map(|kind| {
        let secret = token.strip_prefix(api_key::token_prefix(kind))?;
        let plain = |it: char| it.is_ascii_alphanumeric() || it == '-' || it == '_';
        (secret.len() >= GIVEN_TOKEN_CHARACTERS && secret.chars().all(plain)).then_some(kind)
    });
    found.ok_or(BootstrapError::InvalidKey)
}
