//! `/v1/api-keys`: who may ask for what in the caller's environment.

use axum::{extract::State, response::Response};
use plimsoll_engine::ops::{
    api_key::{ApiKey, CreateApiKey, CreatedApiKey},
    page::{ListRequest, Page},
};

use crate::{
    api::{created, deleted},
    auth::Reading,
    idempotency::Change,
    json::{Document, Json},
    parameters::{Name, Query},
    problem::Answer,
    state::App,
};

/// Make an API key.
#[utoipa::path(
    post, path = "/v1/api-keys", tag = "api-keys",
    request_body = CreateApiKey,
    responses((
        status = 201,
        description = "The key that was made. Its secret is shown here only.",
        body = CreatedApiKey
    ))
)]
pub(crate) async fn create_api_key(
    State(app): State<App>,
    change: Change,
    document: Document<CreateApiKey>,
) -> Answer<Response> {
    let context = change.begin(&document.text.bytes).await?;
    Ok(created(app.ops.create_api_key(&context, document.value).await?))
}

/// List API keys, newest first.
#[utoipa::path(
    get, path = "/v1/api-keys", tag = "api-keys",
    params(ListRequest),
    responses((status = 200, description = "One page.", body = Page<ApiKey>))
)]
pub(crate) async fn list_api_keys(
    State(app): State<App>,
    Reading(context): Reading,
    Query(request): Query<ListRequest>,
) -> Answer<Json<Page<ApiKey>>> {
    Ok(Json(app.ops.list_api_keys(&context, &request)?))
}

/// Get one API key.
#[utoipa::path(
    get, path = "/v1/api-keys/{api_key}", tag = "api-keys",
    params(("api_key" = String, Path, description = "Its id.")),
    responses((status = 200, description = "The key, without its secret.", body = ApiKey))
)]
pub(crate) async fn get_api_key(
    State(app): State<App>,
    Reading(context): Reading,
    Name(name): Name,
) -> Answer<Json<ApiKey>> {
    Ok(Json(app.ops.get_api_key(&context, &name)?))
}

/// Revoke an API key, at once.
#[utoipa::path(
    delete, path = "/v1/api-keys/{api_key}", tag = "api-keys",
    params(("api_key" = String, Path, description = "Its id.")),
    responses((status = 204, description = "It opens nothing any more."))
)]
pub(crate) async fn revoke_api_key(
    State(app): State<App>,
    change: Change,
    Name(name): Name,
) -> Answer<Response> {
    let context = change.begin(&[]).await?;
    app.ops.revoke_api_key(&context, &name).await?;
    Ok(deleted())
}
