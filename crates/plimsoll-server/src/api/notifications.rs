//! `/v1/notifications`: what fired, where it went, and how each attempt ended.

use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use plimsoll_engine::ops::{
    notification::{Notification, NotificationQuery, ResendNotification},
    page::Page,
};

use crate::{
    auth::Reading,
    idempotency::Change,
    json::{Document, Json},
    parameters::{Name, Query},
    problem::Answer,
    state::App,
};

/// List notifications, newest first.
#[utoipa::path(
    get, path = "/v1/notifications", tag = "notifications",
    params(NotificationQuery),
    responses((status = 200, description = "One page.", body = Page<Notification>))
)]
pub(crate) async fn list_notifications(
    State(app): State<App>,
    Reading(context): Reading,
    Query(request): Query<NotificationQuery>,
) -> Answer<Json<Page<Notification>>> {
    Ok(Json(app.ops.list_notifications(&context, &request).await?))
}

/// Get one notification with its deliveries and attempts.
#[utoipa::path(
    get, path = "/v1/notifications/{notification}", tag = "notifications",
    params(("notification" = String, Path, description = "Its id.")),
    responses((status = 200, description = "The notification.", body = Notification))
)]
pub(crate) async fn get_notification(
    State(app): State<App>,
    Reading(context): Reading,
    Name(name): Name,
) -> Answer<Json<Notification>> {
    Ok(Json(app.ops.get_notification(&context, &name).await?))
}

/// Send a notification again, in the same words, as a new delivery.
#[utoipa::path(
    post, path = "/v1/notifications/{notification}/resend", tag = "notifications",
    params(("notification" = String, Path, description = "Its id.")),
    request_body = Option<ResendNotification>,
    responses((status = 202, description = "It will be sent.", body = Notification))
)]
pub(crate) async fn resend_notification(
    State(app): State<App>,
    change: Change,
    Name(name): Name,
    document: Document<ResendNotification>,
) -> Answer<Response> {
    let context = change.begin(&document.text.bytes).await?;
    let notification = app.ops.resend_notification(&context, &name, document.value).await?;
    Ok((StatusCode::ACCEPTED, Json(notification)).into_response())
}
