//! JSON documents in and out.
//!
//! Not here: how a document is read and what is wrong with it (`plimsoll_engine::ops::request`),
//! and usage (`events`), which has no document type.

use axum::{
    extract::{FromRequest, Request},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use plimsoll_core::limits;
use plimsoll_engine::{
    ingest::body::Buffer,
    ops::{problem::ProblemCode, request::parse_request},
};
use serde::{Serialize, de::DeserializeOwned};

use crate::{body, problem::Ending, state::App};

/// A JSON document: the body of a request, or of an answer.
#[derive(Debug)]
pub(crate) struct Json<T>(pub(crate) T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        match serde_json::to_vec(&self.0) {
            Ok(text) => bytes(StatusCode::OK, text),
            Err(error) => {
                tracing::error!(%error, "an answer could not be written as JSON");
                Ending::new(ProblemCode::Internal, "the answer could not be written")
                    .into_response()
            }
        }
    }
}

/// An answer of ready-made JSON.
pub(crate) fn bytes(status: StatusCode, text: impl Into<axum::body::Body>) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], text.into()).into_response()
}

/// The body of a request to change something, and its text as it was sent.
///
/// The text is what tells a repeated request from another one with the same idempotency key.
#[derive(Debug)]
pub(crate) struct Document<T> {
    pub(crate) value: T,
    pub(crate) text: body::Held,
}

impl<T: DeserializeOwned> FromRequest<App> for Document<T> {
    type Rejection = Ending;

    async fn from_request(request: Request, app: &App) -> Result<Self, Ending> {
        let text = read(request, app).await?;
        let value = parse_request(&text.bytes)?;
        Ok(Self { value, text })
    }
}

/// Reads a JSON body without looking into it.
async fn read(request: Request, app: &App) -> Result<body::Held, Ending> {
    let (parts, content) = request.into_parts();
    let clock = app.deps.clock.as_ref();
    let bytes_max = limits::BODY_BYTES;
    let room = Buffer::default();
    let held = body::read(content, &parts.headers, bytes_max, &app.bodies, clock, room).await?;
    // A request whose fields are all optional may come without a body, and then without its type.
    let is_json = media_type(&parts.headers).eq_ignore_ascii_case("application/json");
    if !is_json && !held.bytes.is_empty() {
        let detail = "send the body as application/json";
        return Err(Ending::at(ProblemCode::UnsupportedMediaType, "content-type", detail));
    }
    Ok(held)
}

/// The content type without its parameters.
pub(crate) fn media_type(headers: &HeaderMap) -> &str {
    let value = headers.get(header::CONTENT_TYPE).and_then(|it| it.to_str().ok());
    value.and_then(|it| it.split(';').next()).unwrap_or_default().trim()
}
