//! `/v1/events`: usage, sent as CloudEvents 1.0 in structured, batch or binary mode, and listed as
//! it was accepted.
//!
//! The answer to usage comes when what it says is durable. Sending the same ids again is always
//! safe, which is why this route takes no idempotency key.

use axum::{
    extract::{Request, State},
    http::HeaderMap,
    response::{IntoResponse, Response},
};
use plimsoll_core::limits;
use plimsoll_engine::{
    ingest::{self, IngestError, Mode, body::Buffer},
    ops::{
        event::{AcceptedEvents, EventQuery},
        problem::{Problem, ProblemCode},
    },
};
use serde::Serialize;

use crate::{
    auth::{Caller, Reading},
    binary_mode,
    body::{self, Held},
    json::{self, Json},
    parameters::Query,
    problem::{self, Answer, Ending, ProblemDocument},
    state::App,
};

/// When to send again after the server had as much to do as it will take.
const RETRY_S: u32 = 1;

/// Send usage: one CloudEvent, or an array of up to 10,000.
#[utoipa::path(
    post, path = "/v1/events", tag = "events",
    request_body(
        description = "A CloudEvent or an array of them, as it is or compressed by gzip or zstd. \
                       In binary mode the attributes are `ce-…` headers and the body is the data.",
        content(
            (serde_json::Value = "application/json"),
            (serde_json::Value = "application/cloudevents+json"),
            (serde_json::Value = "application/cloudevents-batch+json")
        )
    ),
    responses(
        (status = 200, description = "What is accepted is durable.", body = ingest::Answer)
    )
)]
pub(crate) async fn ingest_events(
    State(app): State<App>,
    Caller(caller): Caller,
    request: Request,
) -> Answer<Response> {
    let (parts, content) = request.into_parts();
    let bytes_max = limits::EVENTS_BODY_BYTES;
    let clock = app.deps.clock.as_ref();
    let headers = &parts.headers;
    let room = app.ingest.buffers().take(body::announced(headers));
    let Held { bytes, share } =
        body::read(content, headers, bytes_max, &app.bodies, clock, room).await?;
    let (mode, text) = understand(headers, bytes)?;
    let outcome = app.ingest.accept(caller.environment, text, mode).await;
    drop(share);
    Ok(respond(outcome.map_err(|error| problem(&error))?))
}

/// List events as they were accepted, newest first.
///
/// What one request reads is bounded: a page may be short, or empty, and still have a
/// `next_cursor`. The list ends where that is null.
#[utoipa::path(
    get, path = "/v1/events", tag = "events",
    params(EventQuery),
    responses((status = 200, description = "One page.", body = AcceptedEvents))
)]
pub(crate) async fn list_events(
    State(app): State<App>,
    Reading(context): Reading,
    Query(request): Query<EventQuery>,
) -> Answer<Json<AcceptedEvents>> {
    Ok(Json(app.ops.list_events(&context, &request).await?))
}

/// In which mode the request is, and the JSON that it stands for.
fn understand(headers: &HeaderMap, body: Buffer) -> Answer<(Mode, Buffer)> {
    let media_type = json::media_type(headers).to_ascii_lowercase();
    match media_type.as_str() {
        "application/cloudevents+json" => Ok((Mode::Single, body)),
        "application/cloudevents-batch+json" => Ok((Mode::Batch, body)),
        "" | "application/json" if binary_mode::is_binary(headers) => {
            Ok((Mode::Single, binary_mode::structured(headers, &body)?.into()))
        }
        "application/json" => Ok((Mode::Either, body)),
        _ => Err(Ending::at(
            ProblemCode::UnsupportedMediaType,
            "content-type",
            "send application/json, application/cloudevents+json or \
             application/cloudevents-batch+json",
        )),
    }
}

fn respond(answer: ingest::Answer) -> Response {
    if answer.accepted > 0 || answer.duplicates > 0 {
        return Json(answer).into_response();
    }
    let problem = Problem::new(ProblemCode::NothingAccepted, "every event was rejected");
    let refusal = Refusal { problem: problem::document(&problem), answer };
    problem::with_document(&problem, &refusal)
}

/// A problem that also says what became of each event.
#[derive(Serialize)]
struct Refusal<'a> {
    #[serde(flatten)]
    problem: ProblemDocument<'a>,
    #[serde(flatten)]
    answer: ingest::Answer,
}

fn problem(error: &IngestError) -> Problem {
    let (code, retry) = match error {
        IngestError::Malformed { .. } => (ProblemCode::MalformedJson, false),
        IngestError::Empty => (ProblemCode::EventMalformed, false),
        IngestError::TooMany => (ProblemCode::TooManyEvents, false),
        IngestError::Busy => (ProblemCode::TooManyRequests, true),
        IngestError::RetrySameIds => (ProblemCode::RetrySameIds, true),
    };
    let problem = Problem::new(code, error.to_string());
    if retry { problem.retry_after(RETRY_S) } else { problem }
}
