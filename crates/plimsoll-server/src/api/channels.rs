//! `/v1/channels`: where notifications go.

use axum::{extract::State, response::Response};
use plimsoll_engine::ops::{
    channel::{Channel, CreateChannel, CreatedChannel, RotateSecret, UpdateChannel},
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

/// Make a channel.
#[utoipa::path(
    post, path = "/v1/channels", tag = "channels",
    request_body = CreateChannel,
    responses((
        status = 201,
        description = "The channel that was made. Its secret is shown here only.",
        body = CreatedChannel
    ))
)]
pub(crate) async fn create_channel(
    State(app): State<App>,
    change: Change,
    document: Document<CreateChannel>,
) -> Answer<Response> {
    let context = change.begin(&document.text.bytes).await?;
    Ok(created(app.ops.create_channel(&context, document.value).await?))
}

/// List channels, newest first.
#[utoipa::path(
    get, path = "/v1/channels", tag = "channels",
    params(ListRequest),
    responses((status = 200, description = "One page.", body = Page<Channel>))
)]
pub(crate) async fn list_channels(
    State(app): State<App>,
    Reading(context): Reading,
    Query(request): Query<ListRequest>,
) -> Answer<Json<Page<Channel>>> {
    Ok(Json(app.ops.list_channels(&context, &request)?))
}

/// Get one channel.
#[utoipa::path(
    get, path = "/v1/channels/{channel}", tag = "channels",
    params(("channel" = String, Path, description = "Its id.")),
    responses((status = 200, description = "The channel.", body = Channel))
)]
pub(crate) async fn get_channel(
    State(app): State<App>,
    Reading(context): Reading,
    Name(name): Name,
) -> Answer<Json<Channel>> {
    Ok(Json(app.ops.get_channel(&context, &name)?))
}

/// Change a channel. Fields that the request leaves out stay as they are.
#[utoipa::path(
    patch, path = "/v1/channels/{channel}", tag = "channels",
    params(("channel" = String, Path, description = "Its id.")),
    request_body = UpdateChannel,
    responses((status = 200, description = "The channel as it is now.", body = Channel))
)]
pub(crate) async fn update_channel(
    State(app): State<App>,
    change: Change,
    Name(name): Name,
    document: Document<UpdateChannel>,
) -> Answer<Json<Channel>> {
    let context = change.begin(&document.text.bytes).await?;
    Ok(Json(app.ops.update_channel(&context, &name, document.value).await?))
}

/// Delete a channel.
#[utoipa::path(
    delete, path = "/v1/channels/{channel}", tag = "channels",
    params(("channel" = String, Path, description = "Its id.")),
    responses((status = 204, description = "It is gone."))
)]
pub(crate) async fn delete_channel(
    State(app): State<App>,
    change: Change,
    Name(name): Name,
) -> Answer<Response> {
    let context = change.begin(&[]).await?;
    app.ops.delete_channel(&context, &name).await?;
    Ok(deleted())
}

/// Replace the signing secret. The old one signs beside the new one for 24 hours.
#[utoipa::path(
    post, path = "/v1/channels/{channel}/rotate-secret", tag = "channels",
    params(("channel" = String, Path, description = "Its id.")),
    request_body = Option<RotateSecret>,
    responses((
        status = 200,
        description = "The channel, with its new secret.",
        body = CreatedChannel
    ))
)]
pub(crate) async fn rotate_channel_secret(
    State(app): State<App>,
    change: Change,
    Name(name): Name,
    document: Document<RotateSecret>,
) -> Answer<Json<CreatedChannel>> {
    let context = change.begin(&document.text.bytes).await?;
    Ok(Json(app.ops.rotate_channel_secret(&context, &name, document.value).await?))
}
