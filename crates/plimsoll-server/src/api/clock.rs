//! `/v1/clock`: the time of the key's environment, and moving it in a sandbox.
//!
//! Not here: what happens on the way (`plimsoll-engine`).

use axum::extract::State;
use plimsoll_engine::ops::clock::{AdvanceClock, Clock, SetClock};

use crate::{
    auth::Reading,
    idempotency::Change,
    json::{Document, Json},
    problem::Answer,
    state::App,
};

/// Get the time of the environment.
#[utoipa::path(
    get, path = "/v1/clock", tag = "environment",
    responses((status = 200, description = "What the clock shows.", body = Clock))
)]
pub(crate) async fn get_clock(
    State(app): State<App>,
    Reading(context): Reading,
) -> Answer<Json<Clock>> {
    Ok(Json(app.ops.clock(&context)?))
}

/// Set the clock of a sandbox. It stands there until it is set again. The answer comes when
/// everything that became due on the way has happened.
#[utoipa::path(
    put, path = "/v1/clock", tag = "environment",
    request_body = SetClock,
    responses((status = 200, description = "What the clock shows now.", body = Clock))
)]
pub(crate) async fn set_clock(
    State(app): State<App>,
    change: Change,
    document: Document<SetClock>,
) -> Answer<Json<Clock>> {
    let context = change.begin(&document.text.bytes).await?;
    Ok(Json(app.ops.set_clock(&context, document.value).await?))
}

/// Move the clock of a sandbox forward, by a time or to one. The answer comes when everything that
/// became due on the way has happened.
#[utoipa::path(
    post, path = "/v1/clock/advance", tag = "environment",
    request_body = AdvanceClock,
    responses((status = 200, description = "What the clock shows now.", body = Clock))
)]
pub(crate) async fn advance_clock(
    State(app): State<App>,
    change: Change,
    document: Document<AdvanceClock>,
) -> Answer<Json<Clock>> {
    let context = change.begin(&document.text.bytes).await?;
    Ok(Json(app.ops.advance_clock(&context, document.value).await?))
}
