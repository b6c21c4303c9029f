//! `/healthz`, `/readyz`, `/metrics`, `/openapi.json`: for the people who run the server.
//!
//! They need no key: they tell nothing of any customer.

use axum::{
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use plimsoll_engine::ops::problem::ProblemCode;

use crate::{
    json,
    problem::{Answer, Ending},
    state::App,
};

/// Say that the process runs.
#[utoipa::path(
    get, path = "/healthz", tag = "operations",
    responses((status = 200, description = "It runs.", body = String, content_type = "text/plain"))
)]
pub(crate) async fn healthz() -> &'static str {
    "ok\n"
}

/// Say whether requests can be answered: not while recovering, not when a part has stopped.
#[utoipa::path(
    get, path = "/readyz", tag = "operations",
    responses((status = 200, description = "They can.", body = String, content_type = "text/plain"))
)]
pub(crate) async fn readyz(State(app): State<App>) -> Answer<&'static str> {
    if app.engine.is_ready().await {
        return Ok("ready\n");
    }
    let detail = "a part of the engine recovers or has stopped, or the store does not work";
    Err(Ending::new(ProblemCode::Unavailable, detail))
}

/// Show the numbers of the process to Prometheus.
#[utoipa::path(
    get, path = "/metrics", tag = "operations",
    responses((
        status = 200,
        description = "Prometheus' text format.",
        body = String,
        content_type = "text/plain"
    ))
)]
pub(crate) async fn metrics(State(app): State<App>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], app.metrics.render()).into_response()
}

/// Show this document.
#[utoipa::path(
    get, path = "/openapi.json", tag = "operations",
    responses((status = 200, description = "OpenAPI 3.1.", body = serde_json::Value))
)]
pub(crate) async fn openapi(State(app): State<App>) -> Response {
    json::bytes(StatusCode::OK, app.document.clone())
}
