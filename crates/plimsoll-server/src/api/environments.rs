//! `/v1/environment`: the one that the caller's key belongs to.
//!
//! Not here: making environments. That is not one environment's to do; `plimsoll environment
//! create` does it.

use axum::extract::State;
use plimsoll_engine::ops::environment::{Environment, UpdateEnvironment};

use crate::{
    auth::Reading,
    idempotency::Change,
    json::{Document, Json},
    problem::Answer,
    state::App,
};

/// Get the environment of the key.
#[utoipa::path(
    get, path = "/v1/environment", tag = "environment",
    responses((status = 200, description = "The environment.", body = Environment))
)]
pub(crate) async fn get_environment(
    State(app): State<App>,
    Reading(context): Reading,
) -> Answer<Json<Environment>> {
    Ok(Json(app.ops.environment(&context)?))
}

/// Change the settings of the environment. Fields that the request leaves out stay as they are.
#[utoipa::path(
    patch, path = "/v1/environment", tag = "environment",
    request_body = UpdateEnvironment,
    responses((status = 200, description = "The environment as it is now.", body = Environment))
)]
pub(crate) async fn update_environment(
    State(app): State<App>,
    change: Change,
    document: Document<UpdateEnvironment>,
) -> Answer<Json<Environment>> {
    let context = change.begin(&document.text.bytes).await?;
    Ok(Json(app.ops.update_environment(&context, document.value).await?))
}
