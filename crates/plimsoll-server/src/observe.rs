//! What happens around every request: an id, a count, a line in the log, and no panic gets out.
//!
//! The log line has the route as it stands in the router, never the URL, the headers or the body:
//! they may hold what a customer would not want to see in a log.
//!
//! Not here: spans and exporters for tracing systems.

use std::{
    collections::HashMap,
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderName, HeaderValue, Method, StatusCode},
    middleware::Next,
    response::{IntoResponse, Response},
};
use metrics::{Counter, Histogram};
use plimsoll_engine::{
    deps::{Clock, Deps},
    ops::problem::ProblemCode,
};

use crate::{problem::Ending, state::App};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Bytes of a request id that a client chose.
const REQUEST_ID_BYTES: usize = 64;
/// What a request that met no route is counted under.
const NO_ROUTE: &str = "none";

/// Watches the requests of one server.
#[derive(Debug, Clone)]
pub(crate) struct Observer {
    clock: Arc<dyn Clock>,
    ids: Arc<RequestIds>,
    routes: Arc<HashMap<String, Vec<(Method, Numbers)>>>,
}

impl Observer {
    /// An observer that keeps the numbers of `routes` at hand.
    pub(crate) fn new(deps: &Deps, routes: impl IntoIterator<Item = (Method, String)>) -> Self {
        let mut numbers: HashMap<_, Vec<_>> = HashMap::new();
        for (method, path) in routes {
            let of_route = Numbers::of(&method, &path);
            numbers.entry(path).or_default().push((method, of_route));
        }
        let ids = RequestIds { process: deps.random.bits() as u32, next: AtomicU64::new(1) };
        Self { clock: Arc::clone(&deps.clock), ids: Arc::new(ids), routes: Arc::new(numbers) }
    }

    fn count(&self, method: &Method, path: &str, status: StatusCode, took: Duration) {
        let of_path = self.routes.get(path).map(Vec::as_slice).unwrap_or_default();
        match of_path.iter().find(|(it, _)| it == method) {
            Some((_, numbers)) if status == StatusCode::OK => numbers.count(took),
            Some((_, numbers)) => {
                numbers.duration.record(took.as_secs_f64());
                requests(method.as_str(), path, status).increment(1);
            }
            // The method is a word of the client's: counted as it came, every word would be kept.
            None => requests("other", path, status).increment(1),
        }
    }
}

/// The layer around all routes.
pub(crate) async fn observe(
    State(observer): State<Observer>,
    request: Request,
    next: Next,
) -> Response {
    let id = observer.ids.of(&request);
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let started = observer.clock.elapsed();
    let mut response = catch_panic(next.run(request)).await;
    let took = observer.clock.elapsed().saturating_sub(started);
    let status = response.status();
    let path = route.as_ref().map_or(NO_ROUTE, MatchedPath::as_str);
    observer.count(&method, path, status, took);
    tracing::debug!(
        http.method = %method,
        http.route = path,
        http.status = status.as_u16(),
        request.id = id.to_str().unwrap_or_default(),
        duration_us = took.as_micros() as u64,
        "request answered"
    );
    response.headers_mut().insert(REQUEST_ID, id);
    response
}

/// Runs the request in a task of its own, which goes on if the client hangs up.
///
/// A change is more than its transaction: what is in memory follows it. Nobody may stop between.
pub(crate) async fn see_through(State(app): State<App>, request: Request, next: Next) -> Response {
    let (answer, answered) = tokio::sync::oneshot::channel();
    app.deps.tasks.spawn(async move {
        let response = catch_panic(next.run(request)).await;
        // Nobody waits if the client has hung up.
        drop(answer.send(response));
    });
    answered.await.unwrap_or_else(|_| {
        Ending::new(ProblemCode::Unavailable, "the server is stopping").into_response()
    })
}

/// How often and how fast a route was answered.
#[derive(Debug)]
struct Numbers {
    ok: Counter,
    duration: Histogram,
}

impl Numbers {
    fn of(method: &Method, path: &str) -> Self {
        let labels = [("method", method.to_string()), ("path", path.to_owned())];
        Self {
            ok: requests(method.as_str(), path, StatusCode::OK),
            duration: metrics::histogram!("plimsoll_http_request_duration_seconds", &labels),
        }
    }

    fn count(&self, took: Duration) {
        self.ok.increment(1);
        self.duration.record(took.as_secs_f64());
    }
}

fn requests(method: &str, path: &str, status: StatusCode) -> Counter {
    let labels = [
        ("method", method.to_owned()),
        ("path", path.to_owned()),
        ("status", status.as_str().to_owned()),
    ];
    metrics::counter!("plimsoll_http_requests_total", &labels)
}

/// Names requests: `4f0c2a91-17` is the 17th of the process that drew 4f0c2a91.
#[derive(Debug)]
struct RequestIds {
    process: u32,
    next: AtomicU64,
}

impl RequestIds {
    /// The id that the client chose, if it is a plain short word, or a new one.
    fn of(&self, request: &Request) -> HeaderValue {
        let chosen = request.headers().get(&REQUEST_ID).filter(|it| {
            (1..=REQUEST_ID_BYTES).contains(&it.len())
                && it.as_bytes().iter().all(u8::is_ascii_graphic)
        });
        chosen.cloned().unwrap_or_else(|| {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let text = format!("{:08x}-{number}", self.process);
            HeaderValue::try_from(text).expect("digits and a hyphen are a header's value")
        })
    }
}

/// Runs `handler`; a panic becomes a 500. The panic hook has logged it where it happened.
async fn catch_panic(handler: impl Future<Output = Response>) -> Response {
    let caught = CatchPanic { handler: Box::pin(handler) }.await;
    caught.unwrap_or_else(|Panicked| {
        Ending::new(ProblemCode::Internal, "the server could not finish this request")
            .into_response()
    })
}

struct Panicked;

struct CatchPanic<F> {
    handler: Pin<Box<F>>,
}

impl<F: Future> Future for CatchPanic<F> {
    type Output = Result<F::Output, Panicked>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        // After a panic the handler is dropped, never polled again: nobody sees it half done.
        let polled =
            std::panic::catch_unwind(AssertUnwindSafe(|| self.handler.as_mut().poll(context)));
        match polled {
            Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
            Ok(Poll::Pending) => Poll::Pending,
            Err(_) => Poll::Ready(Err(Panicked)),
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::{Router, body::Body, middleware, routing};
    use plimsoll_engine::deps::{Random, SystemClock, SystemRandom};
    use tower::ServiceExt;

    use super::*;

    fn observer() -> Observer {
        let process = SystemRandom.bits() as u32;
        Observer {
            clock: Arc::new(SystemClock::new()),
            ids: Arc::new(RequestIds { process, next: AtomicU64::new(1) }),
            routes: Arc::default(),
        }
    }

    #[tokio::test]
    async fn a_panic_is_a_500_of_this_request_only() {
        let routes = Router::new()
            .route("/broken", routing::get(async || -> &'static str { panic!("a defect") }))
            .route("/sound", routing::get(async || "sound"))
            .layer(middleware::from_fn_with_state(observer(), observe));
        for (path, status) in [("/broken", 500), ("/sound", 200), ("/broken", 500)] {
            let request = Request::get(path).body(Body::empty()).expect("a request");
            let response = routes.clone().oneshot(request).await.expect("an answer");
            assert_eq!(response.status().as_u16(), status, "{path}");
            assert!(response.headers().contains_key(REQUEST_ID), "{path}");
        }
    }
}
