//! Who asks, and what their key allows.
//!
//! The router puts every route into a group with one scope; this is the layer in front of a group.
//! Behind it a handler takes a [`Caller`] and need not check anything: what it reaches through the
//! caller lies in the caller's environment.
//!
//! Not here: how keys are made, hashed and revoked (`plimsoll_engine::ops`).

use axum::{
    extract::{FromRequestParts, Request, State},
    http::{HeaderMap, header, request::Parts},
    middleware::Next,
    response::Response,
};
use plimsoll_engine::ops::{
    self, Context, Scope,
    problem::{Problem, ProblemCode},
};

use crate::{
    body,
    problem::{Answer, Ending},
    state::App,
};

/// Lets a request pass whose key has one of the scopes, and tells the handler whose key it is.
pub(crate) async fn require(
    State((app, scopes)): State<(App, &'static [Scope])>,
    mut request: Request,
    next: Next,
) -> Answer<Response> {
    match admit(&app, request.headers(), scopes) {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            Ok(next.run(request).await)
        }
        Err(ending) => {
            let (parts, body) = request.into_parts();
            body::linger(body, &parts.headers, app.deps.clock.as_ref()).await;
            Err(ending)
        }
    }
}

fn admit(app: &App, headers: &HeaderMap, scopes: &[Scope]) -> Answer<ops::Caller> {
    let caller = app.ops.authenticate(bearer(headers)?)?;
    allow(&caller, scopes)?;
    Ok(caller)
}

/// Refused only if every one of `scopes` is; the first one is then the one to ask for.
fn allow(caller: &ops::Caller, scopes: &[Scope]) -> Result<(), Problem> {
    let mut refused = None;
    for scope in scopes {
        match caller.require(*scope) {
            Ok(()) => return Ok(()),
            Err(problem) => refused = refused.or(Some(problem)),
        }
    }
    refused.map_or(Ok(()), Err)
}

/// The token of `Authorization: Bearer …`.
fn bearer(headers: &HeaderMap) -> Answer<&str> {
    let value = headers.get(header::AUTHORIZATION).and_then(|it| it.to_str().ok());
    let token = value.and_then(|it| {
        let (scheme, token) = it.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
    });
    token.ok_or_else(|| {
        Ending::at(
            ProblemCode::Unauthenticated,
            "authorization",
            "send an API key as `Authorization: Bearer plm_…`",
        )
    })
}

/// The key that the request came with, already checked.
#[derive(Debug, Clone)]
pub(crate) struct Caller(pub(crate) ops::Caller);

impl FromRequestParts<App> for Caller {
    type Rejection = Ending;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Answer<Self> {
        // Only a route outside every group has no caller: a defect, and refused as one.
        parts.extensions.get().cloned().map(Self).ok_or_else(|| {
            Ending::new(ProblemCode::Internal, "the route is in no group that checks keys")
        })
    }
}

/// What an operation that only reads needs to know of its caller.
#[derive(Debug)]
pub(crate) struct Reading(pub(crate) Context);

impl FromRequestParts<App> for Reading {
    type Rejection = Ending;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Answer<Self> {
        let Caller(caller) = Caller::from_request_parts(parts, app).await?;
        Ok(Self(app.ops.context(caller, None)))
    }
}
