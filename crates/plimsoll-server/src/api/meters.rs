//! `/v1/meters`: how events become numbers.

use axum::{extract::State, response::Response};
use plimsoll_engine::ops::{
    meter::{CreateMeter, Meter, UpdateMeter},
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

/// Make a meter.
#[utoipa::path(
    post, path = "/v1/meters", tag = "meters",
    request_body = CreateMeter,
    responses((status = 201, description = "The meter that was made.", body = Meter))
)]
pub(crate) async fn create_meter(
    State(app): State<App>,
    change: Change,
    document: Document<CreateMeter>,
) -> Answer<Response> {
    let context = change.begin(&document.text.bytes).await?;
    Ok(created(app.ops.create_meter(&context, document.value).await?))
}

/// List meters, newest first.
#[utoipa::path(
    get, path = "/v1/meters", tag = "meters",
    params(ListRequest),
    responses((status = 200, description = "One page.", body = Page<Meter>))
)]
pub(crate) async fn list_meters(
    State(app): State<App>,
    Reading(context): Reading,
    Query(request): Query<ListRequest>,
) -> Answer<Json<Page<Meter>>> {
    Ok(Json(app.ops.list_meters(&context, &request)?))
}

/// Get one meter.
#[utoipa::path(
    get, path = "/v1/meters/{meter}", tag = "meters",
    params(("meter" = String, Path, description = "Its id or key.")),
    responses((status = 200, description = "The meter.", body = Meter))
)]
pub(crate) async fn get_meter(
    State(app): State<App>,
    Reading(context): Reading,
    Name(name): Name,
) -> Answer<Json<Meter>> {
    Ok(Json(app.ops.get_meter(&context, &name)?))
}

/// Change a meter. Fields that the request leaves out stay as they are.
#[utoipa::path(
    patch, path = "/v1/meters/{meter}", tag = "meters",
    params(("meter" = String, Path, description = "Its id or key.")),
    request_body = UpdateMeter,
    responses((status = 200, description = "The meter as it is now.", body = Meter))
)]
pub(crate) async fn update_meter(
    State(app): State<App>,
    change: Change,
    Name(name): Name,
    document: Document<UpdateMeter>,
) -> Answer<Json<Meter>> {
    let context = change.begin(&document.text.bytes).await?;
    Ok(Json(app.ops.update_meter(&context, &name, document.value).await?))
}

/// Delete a meter.
#[utoipa::path(
    delete, path = "/v1/meters/{meter}", tag = "meters",
    params(("meter" = String, Path, description = "Its id or key.")),
    responses((status = 204, description = "It is gone."))
)]
pub(crate) async fn delete_meter(
    State(app): State<App>,
    change: Change,
    Name(name): Name,
) -> Answer<Response> {
    let context = change.begin(&[]).await?;
    app.ops.delete_meter(&context, &name).await?;
    Ok(deleted())
}
