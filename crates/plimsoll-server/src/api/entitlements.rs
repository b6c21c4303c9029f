//! `/v1/customers/{customer}/entitlements` and `/access`: one customer's right to one feature, its
//! value and its history, and all of a customer's values at once.
//!
//! Not here: grants (`api::grants`).

use axum::{extract::State, response::Response};
use plimsoll_engine::ops::{
    entitlement::{
        CreateEntitlement, Entitlement, EntitlementValue, FeatureAccess, History, HistoryRequest,
        ResetEntitlement, UpdateEntitlement,
    },
    page::{ListRequest, Page},
};

use crate::{
    api::{created, deleted},
    auth::Reading,
    idempotency::Change,
    json::{Document, Json},
    parameters::{Name, Names, Query},
    problem::Answer,
    state::App,
};

/// Entitle a customer to a feature.
#[utoipa::path(
    post, path = "/v1/customers/{customer}/entitlements", tag = "entitlements",
    params(("customer" = String, Path, description = "The customer's id or key.")),
    request_body = CreateEntitlement,
    responses((status = 201, description = "The entitlement that was made.", body = Entitlement))
)]
pub(crate) async fn create_entitlement(
    State(app): State<App>,
    change: Change,
    Name(customer): Name,
    document: Document<CreateEntitlement>,
) -> Answer<Response> {
    let context = change.begin(&document.text.bytes).await?;
    Ok(created(app.ops.create_entitlement(&context, &customer, document.value).await?))
}

/// List a customer's entitlements, newest first.
#[utoipa::path(
    get, path = "/v1/customers/{customer}/entitlements", tag = "entitlements",
    params(("customer" = String, Path, description = "The customer's id or key."), ListRequest),
    responses((status = 200, description = "One page.", body = Page<Entitlement>))
)]
pub(crate) async fn list_entitlements(
    State(app): State<App>,
    Reading(context): Reading,
    Name(customer): Name,
    Query(request): Query<ListRequest>,
) -> Answer<Json<Page<Entitlement>>> {
    Ok(Json(app.ops.list_entitlements(&context, &customer, &request).await?))
}

/// Get one entitlement.
#[utoipa::path(
    get, path = "/v1/customers/{customer}/entitlements/{feature}", tag = "entitlements",
    params(
        ("customer" = String, Path, description = "The customer's id or key."),
        (
            "feature" = String,
            Path,
            description = "The feature's id or key, or the entitlement's id."
        )
    ),
    responses((status = 200, description = "The entitlement.", body = Entitlement))
)]
pub(crate) async fn get_entitlement(
    State(app): State<App>,
    Reading(context): Reading,
    Names(customer, feature): Names,
) -> Answer<Json<Entitlement>> {
    Ok(Json(app.ops.get_entitlement(&context, &customer, &feature).await?))
}

/// Change an entitlement. Fields that the request leaves out stay as they are.
#[utoipa::path(
    patch, path = "/v1/customers/{customer}/entitlements/{feature}", tag = "entitlements",
    params(
        ("customer" = String, Path, description = "The customer's id or key."),
        (
            "feature" = String,
            Path,
            description = "The feature's id or key, or the entitlement's id."
        )
    ),
    request_body = UpdateEntitlement,
    responses((status = 200, description = "The entitlement as it is now.", body = Entitlement))
)]
pub(crate) async fn update_entitlement(
    State(app): State<App>,
    change: Change,
    Names(customer, feature): Names,
    document: Document<UpdateEntitlement>,
) -> Answer<Json<Entitlement>> {
    let context = change.begin(&document.text.bytes).await?;
    let updated = app.ops.update_entitlement(&context, &customer, &feature, document.value).await?;
    Ok(Json(updated))
}

/// Take an entitlement away.
#[utoipa::path(
    delete, path = "/v1/customers/{customer}/entitlements/{feature}", tag = "entitlements",
    params(
        ("customer" = String, Path, description = "The customer's id or key."),
        (
            "feature" = String,
            Path,
            description = "The feature's id or key, or the entitlement's id."
        )
    ),
    responses((status = 204, description = "It is gone."))
)]
pub(crate) async fn delete_entitlement(
    State(app): State<App>,
    change: Change,
    Names(customer, feature): Names,
) -> Answer<Response> {
    let context = change.begin(&[]).await?;
    app.ops.delete_entitlement(&context, &customer, &feature).await?;
    Ok(deleted())
}

/// How much was used in the current period, and how much is left.
#[utoipa::path(
    get, path = "/v1/customers/{customer}/entitlements/{feature}/value", tag = "entitlements",
    params(
        ("customer" = String, Path, description = "The customer's id or key."),
        (
            "feature" = String,
            Path,
            description = "The feature's id or key, or the entitlement's id."
        )
    ),
    responses((status = 200, description = "The value.", body = EntitlementValue))
)]
pub(crate) async fn get_entitlement_value(
    State(app): State<App>,
    Reading(context): Reading,
    Names(customer, feature): Names,
) -> Answer<Json<EntitlementValue>> {
    Ok(Json(app.ops.entitlement_value(&context, &customer, &feature).await?))
}

/// Start the usage of an entitlement again at zero, now or later.
#[utoipa::path(
    post, path = "/v1/customers/{customer}/entitlements/{feature}/reset", tag = "entitlements",
    params(
        ("customer" = String, Path, description = "The customer's id or key."),
        (
            "feature" = String,
            Path,
            description = "The feature's id or key, or the entitlement's id."
        )
    ),
    request_body = ResetEntitlement,
    responses((status = 200, description = "The entitlement as it is now.", body = Entitlement))
)]
pub(crate) async fn reset_entitlement(
    State(app): State<App>,
    change: Change,
    Names(customer, feature): Names,
    document: Document<ResetEntitlement>,
) -> Answer<Json<Entitlement>> {
    let context = change.begin(&document.text.bytes).await?;
    Ok(Json(app.ops.reset_entitlement(&context, &customer, &feature, document.value).await?))
}

/// The usage windows that an entitlement went through, and how its grants burned.
#[utoipa::path(
    get, path = "/v1/customers/{customer}/entitlements/{feature}/history", tag = "entitlements",
    params(
        ("customer" = String, Path, description = "The customer's id or key."),
        (
            "feature" = String,
            Path,
            description = "The feature's id or key, or the entitlement's id."
        ),
        HistoryRequest
    ),
    responses((status = 200, description = "The history, the oldest first.", body = History))
)]
pub(crate) async fn get_entitlement_history(
    State(app): State<App>,
    Reading(context): Reading,
    Names(customer, feature): Names,
    Query(request): Query<HistoryRequest>,
) -> Answer<Json<History>> {
    Ok(Json(app.ops.entitlement_history(&context, &customer, &feature, &request).await?))
}

/// What a customer may use, and how much: all of its entitlements with their values.
#[utoipa::path(
    get, path = "/v1/customers/{customer}/access", tag = "entitlements",
    params(("customer" = String, Path, description = "The customer's id or key."), ListRequest),
    responses((status = 200, description = "One page.", body = Page<FeatureAccess>))
)]
pub(crate) async fn get_customer_access(
    State(app): State<App>,
    Reading(context): Reading,
    Name(customer): Name,
    Query(request): Query<ListRequest>,
) -> Answer<Json<Page<FeatureAccess>>> {
    Ok(Json(app.ops.customer_access(&context, &customer, &request).await?))
}
