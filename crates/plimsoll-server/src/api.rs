//! Version 1 of the API, one file a resource. A handler takes the request apart, calls one
//! operation and hands back what it gives.
//!
//! Not here: which routes there are (`router`), what operations do (`plimsoll_engine::ops`).

use axum::{
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Serialize;

use crate::json::Json;

pub(crate) mod api_keys;
pub(crate) mod audit;
pub(crate) mod channels;
pub(crate) mod clock;
pub(crate) mod customers;
pub(crate) mod entitlements;
pub(crate) mod environments;
pub(crate) mod events;
pub(crate) mod features;
pub(crate) mod grants;
pub(crate) mod health;
pub(crate) mod meters;
pub(crate) mod notifications;
pub(crate) mod rules;
pub(crate) mod usage;

/// 201 with what was made.
fn created(document: impl Serialize) -> Response {
    (StatusCode::CREATED, Json(document)).into_response()
}

/// 204: it is gone.
fn deleted() -> Response {
    StatusCode::NO_CONTENT.into_response()
}
