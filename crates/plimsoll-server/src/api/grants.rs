//! `/v1/customers/{customer}/entitlements/{feature}/grants`: dated quantities put into an
//! entitlement, and what is left of them.

use axum::{extract::State, response::Response};
use plimsoll_engine::ops::{
    grant::{CreateGrant, Grant, GrantStanding, VoidGrant},
    page::{ListRequest, Page},
};

use crate::{
    api::{created, deleted},
    auth::Reading,
    idempotency::Change,
    json::{Document, Json},
    parameters::{Names, Query, ThreeNames},
    problem::Answer,
    state::App,
};

/// Put a grant into an entitlement, now or later.
#[utoipa::path(
    post, path = "/v1/customers/{customer}/entitlements/{feature}/grants", tag = "grants",
    params(
        ("customer" = String, Path, description = "The customer's id or key."),
        (
            "feature" = String,
            Path,
            description = "The feature's id or key, or the entitlement's id."
        )
    ),
    request_body = CreateGrant,
    responses((status = 201, description = "The grant that was made.", body = Grant))
)]
pub(crate) async fn create_grant(
    State(app): State<App>,
    change: Change,
    Names(customer, feature): Names,
    document: Document<CreateGrant>,
) -> Answer<Response> {
    let context = change.begin(&document.text.bytes).await?;
    Ok(created(app.ops.create_grant(&context, &customer, &feature, document.value).await?))
}

/// List an entitlement's grants, oldest first.
#[utoipa::path(
    get, path = "/v1/customers/{customer}/entitlements/{feature}/grants", tag = "grants",
    params(
        ("customer" = String, Path, description = "The customer's id or key."),
        (
            "feature" = String,
            Path,
            description = "The feature's id or key, or the entitlement's id."
        ),
        ListRequest
    ),
    responses((status = 200, description = "One page.", body = Page<GrantStanding>))
)]
pub(crate) async fn list_grants(
    State(app): State<App>,
    Reading(context): Reading,
    Names(customer, feature): Names,
    Query(request): Query<ListRequest>,
) -> Answer<Json<Page<GrantStanding>>> {
    Ok(Json(app.ops.list_grants(&context, &customer, &feature, &request).await?))
}

/// Get one grant, and what is left of it.
#[utoipa::path(
    get, path = "/v1/customers/{customer}/entitlements/{feature}/grants/{grant}", tag = "grants",
    params(
        ("customer" = String, Path, description = "The customer's id or key."),
        (
            "feature" = String,
            Path,
            description = "The feature's id or key, or the entitlement's id."
        ),
        ("grant" = String, Path, description = "The grant's id.")
    ),
    responses((status = 200, description = "The grant.", body = GrantStanding))
)]
pub(crate) async fn get_grant(
    State(app): State<App>,
    Reading(context): Reading,
    ThreeNames(customer, feature, grant): ThreeNames,
) -> Answer<Json<GrantStanding>> {
    Ok(Json(app.ops.get_grant(&context, &customer, &feature, &grant).await?))
}

/// Void what is left of a grant, now or later. It stays listed.
#[utoipa::path(
    delete, path = "/v1/customers/{customer}/entitlements/{feature}/grants/{grant}",
    tag = "grants",
    params(
        ("customer" = String, Path, description = "The customer's id or key."),
        (
            "feature" = String,
            Path,
            description = "The feature's id or key, or the entitlement's id."
        ),
        ("grant" = String, Path, description = "The grant's id."),
        VoidGrant
    ),
    responses((status = 204, description = "It is voided, or will be."))
)]
pub(crate) async fn void_grant(
    State(app): State<App>,
    change: Change,
    ThreeNames(customer, feature, grant): ThreeNames,
    Query(request): Query<VoidGrant>,
) -> Answer<Response> {
    // The query is all that tells one request from another.
    let text = request.at.map_or_else(String::new, |it| it.0.to_string());
    let context = change.begin(text.as_bytes()).await?;
    app.ops.void_grant(&context, &customer, &feature, &grant, request).await?;
    Ok(deleted())
}
