//! API keys: made, shown once, listed, revoked; and who a token belongs to.
//!
//! A token has 256 random bits; the store keeps its SHA-256 alone. Looking a hash up tells nothing
//! about how much of a guessed token was right, so comparison needs no constant time.
//!
//! Not here: how a request carries its token (`plimsoll-server`).

use std::sync::Arc;

use plimsoll_core::{ids::ApiKeyId, limits, time::Timestamp};
use serde::{Deserialize, Serialize};

use crate::{
    catalogue::{EnvironmentView, KeyEntry, index::Versioned},
    deps::Random,
    ops::{
        Caller, Context, Ops, Scope,
        document::{Document, Kind},
        environment::EnvironmentKind,
        fields, outcome,
        page::{ListRequest, Page},
        plan::{Answer, ControlPlan},
        problem::{Problem, ProblemCode},
        scalar::{Time, as_text, as_text_or_null},
    },
    vault::fingerprint,
};

/// Random characters of a token: 62^43 is more than 2^256.
const TOKEN_CHARACTERS: usize = 43;
/// What a token is made of, so that a double click takes the whole.
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// An API key, without its token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ApiKey {
    /// The key's id.
    #[serde(with = "as_text")]
    #[schema(value_type = String, example = "key_01K0000000000000000000000A")]
    pub id: ApiKeyId,
    /// What people call it.
    pub name: String,
    /// What it allows.
    pub scopes: Vec<Scope>,
    /// The first characters of its token, to tell keys apart.
    #[schema(example = "plm_live_Zk3x")]
    pub hint: String,
    /// When it stops working.
    #[serde(with = "as_text_or_null")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
    /// When it was made.
    #[serde(with = "as_text")]
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

/// An API key with its token, which is shown this once.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct CreatedApiKey {
    /// The key.
    #[serde(flatten)]
    pub api_key: ApiKey,
    /// What requests send as `Authorization: Bearer …`. It cannot be shown again.
    #[schema(example = "plm_live_…")]
    pub token: String,
}

/// An API key to be made.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateApiKey {
    /// What people call it.
    pub name: String,
    /// What it allows, at least one of `admin`, `read`, `ingest`, `check`.
    pub scopes: Vec<Scope>,
    /// When it stops working; never if absent.
    #[serde(default)]
    pub expires_at: Option<Time>,
}

impl Document for ApiKey {
    type Id = ApiKeyId;
    const KIND: Kind = Kind::ApiKey;

    fn id(&self) -> ApiKeyId {
        self.id
    }
}

/// What tokens of an environment of this kind begin with.
pub(crate) const fn token_prefix(kind: EnvironmentKind) -> &'static str {
    match kind {
        EnvironmentKind::Live => "plm_live_",
        EnvironmentKind::Sandbox => "plm_test_",
    }
}

/// A new token for an environment of this kind.
pub(crate) fn mint_token(random: &dyn Random, kind: EnvironmentKind) -> String {
    let mut token = token_prefix(kind).to_owned();
    let length = token.len() + TOKEN_CHARACTERS;
    while token.len() < length {
        let mut bytes = [0; TOKEN_CHARACTERS];
        random.fill(&mut bytes);
        // 248 is a multiple of 62: without the bytes above, each character is as likely.
        let characters = bytes.iter().filter(|it| **it < 248);
        let characters = characters.map(|it| char::from(ALPHABET[usize::from(*it) % 62]));
        token.extend(characters.take(length - token.len()));
    }
    token
}

/// The part of a token that may be shown: its prefix and four characters of 43.
pub(crate) fn hint(token: &str) -> String {
    token.chars().take("plm_live_".len() + 4).collect()
}

/// Whether a key works at `now`.
fn works(expires_at: Option<Timestamp>, now: Timestamp) -> bool {
    expires_at.is_none_or(|it| now < it)
}

impl Ops {
    /// Whose token this is.
    pub fn authenticate(&self, token: &str) -> Result<Caller, Problem> {
        let unknown = || {
            let detail = "the token is not that of an API key; it may have been revoked";
            Problem::new(ProblemCode::Unauthenticated, detail)
        };
        let snapshot = self.inner.catalogue.snapshot();
        let entry = snapshot.key(&fingerprint(token.as_bytes())).ok_or_else(unknown)?;
        if !works(entry.expires_at, self.inner.deps.clock.now()) {
            return Err(Problem::new(ProblemCode::KeyExpired, "the API key has expired"));
        }
        let view = snapshot.environment(entry.environment).ok_or_else(unknown)?;
        let key = view.keys.get(entry.key).ok_or_else(unknown)?;
        let scopes = key.document.scopes.clone();
        Ok(Caller { key: entry.key, environment: entry.environment, scopes })
    }

    /// Makes an API key. Its token is in the answer and nowhere else.
    pub async fn create_api_key(
        &self,
        context: &Context,
        request: CreateApiKey,
    ) -> Result<CreatedApiKey, Problem> {
        self.once(context, async {
            fields::name("name", &request.name)?;
            let scopes = distinct_scopes(&request.scopes)?;
            let expires_at = request.expires_at.map(|it| it.0);
            if !works(expires_at, self.machine_now()) {
                return Err(Problem::invalid("expires_at", "expires_at is in the past"));
            }
            let kind = self.view(context)?.environment.document.kind;
            let token = mint_token(self.inner.deps.random.as_ref(), kind);
            let api_key = ApiKey {
                id: self.mint(ApiKeyId::from_parts),
                name: request.name,
                scopes,
                hint: hint(&token),
                expires_at,
                created_at: self.machine_now(),
            };
            let hash = fingerprint(token.as_bytes());
            self.control(context, |view, draft| {
                view.keys.check_room(limits::API_KEYS)?;
                draft.insert(&api_key, Some(&hash));
                draft.audit("api_key.create", None, Some(&api_key));
                let created = CreatedApiKey { api_key: api_key.clone(), token: token.clone() };
                let answer = Answer::with_secret(created, outcome::CREATED, &api_key);
                let environment = draft.environment;
                let entry = KeyEntry { environment, key: api_key.id, expires_at };
                let (hash, document) = (hash.clone(), api_key.clone());
                Ok(ControlPlan::new(answer)
                    .view(environment, |it| {
                        Arc::make_mut(&mut it.keys).put(Versioned { version: 1, document });
                    })
                    .then(move |ops| ops.catalogue.edit(|it| it.put_key(hash, entry))))
            })
            .await
        })
        .await
    }

    /// The API key with this id.
    pub fn get_api_key(&self, context: &Context, name: &str) -> Result<ApiKey, Problem> {
        Ok(find_key(&*self.view(context)?, name)?.document.clone())
    }

    /// API keys that have not been revoked, the oldest first.
    pub fn list_api_keys(
        &self,
        context: &Context,
        request: &ListRequest,
    ) -> Result<Page<ApiKey>, Problem> {
        Ok(self.view(context)?.keys.page(request)?.map(|it| it.document.clone()))
    }

    /// Revokes an API key. When this returns, its token works no longer.
    pub async fn revoke_api_key(&self, context: &Context, name: &str) -> Result<(), Problem> {
        self.once(context, async {
            self.control(context, |view, draft| {
                let key = find_key(view, name)?;
                check_not_last_admin(view, key, self.machine_now())?;
                draft.delete(key);
                draft.audit("api_key.revoke", Some(&key.document), None);
                let id = key.document.id;
                Ok(ControlPlan::new(Answer::deleted())
                    .view(draft.environment, move |it| Arc::make_mut(&mut it.keys).remove(id))
                    .then(move |ops| ops.catalogue.edit(|it| it.remove_key(id))))
            })
            .await
        })
        .await
    }
}

fn distinct_scopes(scopes: &[Scope]) -> Result<Vec<Scope>, Problem> {
    if scopes.is_empty() {
        return Err(Problem::invalid("scopes", "a key without scopes can do nothing"));
    }
    let mut distinct = scopes.to_vec();
    distinct.sort_unstable();
    distinct.dedup();
    Ok(distinct)
}

fn find_key<'a>(view: &'a EnvironmentView, name: &str) -> Result<&'a Versioned<ApiKey>, Problem> {
    view.keys.find(name).ok_or_else(|| Problem::not_found("API key", name))
}

/// Refuses to revoke the last key that could make another one.
fn check_not_last_admin(
    view: &EnvironmentView,
    key: &Versioned<ApiKey>,
    now: Timestamp,
) -> Result<(), Problem> {
    let is_admin = |it: &ApiKey| it.scopes.contains(&Scope::Admin) && works(it.expires_at, now);
    let another = |it: &Versioned<ApiKey>| {
        it.document.id != key.document.id
            && is_admin(&it.document)
            // A key that will expire is no way back in.
            && it.document.expires_at.is_none()
    };
    if is_admin(&key.document) && !view.keys.iter().any(another) {
        let detail = "it is the last admin key that does not expire; make another one first";
        return Err(Problem::new(ProblemCode::LastAdminKey, detail));
    }
    Ok(())
}
