//! How a problem looks in HTTP: `application/problem+json`, RFC 9457.
//!
//! Every answer that is not a success comes from here, those of the router and of the transport
//! included, so that a client needs one parser.
//!
//! Not here: which codes there are (`plimsoll_engine::ops::problem`).

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use plimsoll_engine::ops::problem::{Problem, ProblemCode};
use serde::Serialize;
use utoipa::ToSchema;

/// Where the page of a code is, below the place of the documentation.
const PAGES: &str = "/docs/reference/errors/";

/// The result of a handler.
pub(crate) type Answer<T> = Result<T, Ending>;

/// Why a handler ends before its work is done.
#[derive(Debug)]
pub(crate) enum Ending {
    /// It cannot be done.
    Problem(Box<Problem>),
    /// It was done before: the request repeats one with the same idempotency key.
    Repeated(Box<Response>),
}

impl Ending {
    /// A problem of the request as a whole.
    pub(crate) fn new(code: ProblemCode, detail: impl Into<String>) -> Self {
        Problem::new(code, detail).into()
    }

    /// A problem of one field or parameter.
    pub(crate) fn at(
        code: ProblemCode,
        field: impl Into<String>,
        detail: impl Into<String>,
    ) -> Self {
        Problem::at(code, field, detail).into()
    }
}

impl From<Problem> for Ending {
    fn from(problem: Problem) -> Self {
        Self::Problem(Box::new(problem))
    }
}

impl IntoResponse for Ending {
    fn into_response(self) -> Response {
        match self {
            Self::Problem(problem) => response(&problem),
            Self::Repeated(response) => *response,
        }
    }
}

/// The body of an answer that is not a success.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct ProblemDocument<'a> {
    /// Where the code is explained.
    #[serde(rename = "type")]
    #[schema(example = "/docs/reference/errors/not_found")]
    kind: String,
    /// What every problem with this code has in common.
    title: &'a str,
    /// The HTTP status.
    status: u16,
    /// What happened, for programs. It never changes its meaning.
    code: &'a str,
    /// What happened, for people.
    detail: &'a str,
    /// The field or parameter at fault, as a path such as `lines[1].value`.
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'a str>,
}

/// The document of `problem`, for an answer that adds to it.
pub(crate) fn document(problem: &Problem) -> ProblemDocument<'_> {
    ProblemDocument {
        kind: format!("{PAGES}{}", problem.code),
        title: problem.title(),
        status: problem.status(),
        code: problem.code.as_str(),
        detail: &problem.detail,
        field: problem.field.as_deref(),
    }
}

/// The answer that tells `problem`.
pub(crate) fn response(problem: &Problem) -> Response {
    with_document(problem, &document(problem))
}

/// The answer that tells `problem` by `document`, which may say more than [`document`] does.
pub(crate) fn with_document(problem: &Problem, document: &impl Serialize) -> Response {
    let body = serde_json::to_vec(document).expect("a struct of texts and numbers is JSON");
    let status =
        StatusCode::from_u16(problem.status()).expect("every problem code has a valid status");
    let mut response = (status, body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    if let Some(seconds) = problem.retry_after_s {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}
