//! Doing a change once, however often it is asked for.
//!
//! Every route that changes something takes `Idempotency-Key`. The operation stores its answer
//! in the transaction of its change; a repetition gets that answer, marked by a header.
//!
//! Not here: `POST /v1/events`, where the ids of the events do it, and how answers are kept
//! (`plimsoll_engine::ops`).

use axum::{
    extract::{FromRequestParts, MatchedPath},
    http::{HeaderName, HeaderValue, StatusCode, request::Parts},
};
use plimsoll_core::limits;
use plimsoll_engine::ops::{self, Begun, Context, problem::ProblemCode};

use crate::{
    auth::Caller,
    json,
    problem::{Answer, Ending},
    state::App,
};

const KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// A request that changes something: who asks, for which route, under which idempotency key.
#[derive(Debug)]
pub(crate) struct Change {
    app: App,
    caller: ops::Caller,
    route: String,
    target: String,
    key: Option<String>,
}

impl FromRequestParts<App> for Change {
    type Rejection = Ending;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Answer<Self> {
        let Caller(caller) = Caller::from_request_parts(parts, app).await?;
        let matched = parts.extensions.get::<MatchedPath>();
        let path = matched.map_or_else(|| parts.uri.path(), MatchedPath::as_str);
        Ok(Self {
            app: app.clone(),
            caller,
            route: format!("{} {path}", parts.method),
            target: parts.uri.path().to_owned(),
            key: key(parts)?,
        })
    }
}

impl Change {
    /// What the operation needs to know, unless the change has been made before.
    ///
    /// `text` is the body as it was sent: another one under the same key is refused.
    pub(crate) async fn begin(self, text: &[u8]) -> Answer<Context> {
        let Self { app, caller, route, target, key } = self;
        let idempotency = match key {
            None => None,
            Some(key) => match app.ops.begin(&caller, &route, &target, &key, text).await? {
                Begun::Fresh(token) => Some(token),
                Begun::Replay { status, body } => return Err(replay(status, body)),
            },
        };
        Ok(app.ops.context(caller, idempotency))
    }
}

fn key(parts: &Parts) -> Answer<Option<String>> {
    let mut values = parts.headers.get_all(&KEY).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let text = value.to_str().ok().filter(|it| {
        (1..=limits::IDEMPOTENCY_KEY_BYTES).contains(&it.len()) && values.next().is_none()
    });
    let text = text.ok_or_else(|| {
        let detail = format!(
            "an idempotency key is one header of 1 to {} visible ASCII characters",
            limits::IDEMPOTENCY_KEY_BYTES
        );
        Ending::at(ProblemCode::InvalidIdempotencyKey, KEY.as_str(), detail)
    })?;
    Ok(Some(text.to_owned()))
}

fn replay(status: u16, body: bytes::Bytes) -> Ending {
    let status = StatusCode::from_u16(status).expect("a status of ours was stored");
    let mut response = json::bytes(status, body);
    response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    Ending::Repeated(Box::new(response))
}
