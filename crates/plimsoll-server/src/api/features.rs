//! `/v1/features`: what is sold.

use axum::{extract::State, response::Response};
use plimsoll_engine::ops::{
    feature::{CreateFeature, Feature, UpdateFeature},
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

/// Make a feature.
#[utoipa::path(
    post, path = "/v1/features", tag = "features",
    request_body = CreateFeature,
    responses((status = 201, description = "The feature that was made.", body = Feature))
)]
pub(crate) async fn create_feature(
    State(app): State<App>,
    change: Change,
    document: Document<CreateFeature>,
) -> Answer<Response> {
    let context = change.begin(&document.text.bytes).await?;
    Ok(created(app.ops.create_feature(&context, document.value).await?))
}

/// List features, newest first.
#[utoipa::path(
    get, path = "/v1/features", tag = "features",
    params(ListRequest),
    responses((status = 200, description = "One page.", body = Page<Feature>))
)]
pub(crate) async fn list_features(
    State(app): State<App>,
    Reading(context): Reading,
    Query(request): Query<ListRequest>,
) -> Answer<Json<Page<Feature>>> {
    Ok(Json(app.ops.list_features(&context, &request)?))
}

/// Get one feature.
#[utoipa::path(
    get, path = "/v1/features/{feature}", tag = "features",
    params(("feature" = String, Path, description = "Its id or key.")),
    responses((status = 200, description = "The feature.", body = Feature))
)]
pub(crate) async fn get_feature(
    State(app): State<App>,
    Reading(context): Reading,
    Name(name): Name,
) -> Answer<Json<Feature>> {
    Ok(Json(app.ops.get_feature(&context, &name)?))
}

/// Change a feature. Fields that the request leaves out stay as they are.
#[utoipa::path(
    patch, path = "/v1/features/{feature}", tag = "features",
    params(("feature" = String, Path, description = "Its id or key.")),
    request_body = UpdateFeature,
    responses((status = 200, description = "The feature as it is now.", body = Feature))
)]
pub(crate) async fn update_feature(
    State(app): State<App>,
    change: Change,
    Name(name): Name,
    document: Document<UpdateFeature>,
) -> Answer<Json<Feature>> {
    let context = change.begin(&document.text.bytes).await?;
    Ok(Json(app.ops.update_feature(&context, &name, document.value).await?))
}

/// Delete a feature.
#[utoipa::path(
    delete, path = "/v1/features/{feature}", tag = "features",
    params(("feature" = String, Path, description = "Its id or key.")),
    responses((status = 204, description = "It is gone."))
)]
pub(crate) async fn delete_feature(
    State(app): State<App>,
    change: Change,
    Name(name): Name,
) -> Answer<Response> {
    let context = change.begin(&[]).await?;
    app.ops.delete_feature(&context, &name).await?;
    Ok(deleted())
}
