//! Bounds that need a budget or a clock of their own. Formats are tested over HTTP.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use axum::http::HeaderValue;
use hyper::body::Frame;
use plimsoll_core::time::Timestamp;
use plimsoll_engine::deps::{BoxFuture, SystemClock};

use super::*;

/// A clock on which every wait is over at once.
#[derive(Debug)]
struct Impatient;

impl Clock for Impatient {
    fn now(&self) -> Timestamp {
        Timestamp::from_ms(0)
    }

    fn elapsed(&self) -> Duration {
        Duration::ZERO
    }

    fn sleep(&self, _: Duration) -> BoxFuture<'static, ()> {
        Box::pin(async {})
    }
}

/// A body that never arrives.
struct Never;

impl hyper::body::Body for Never {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Poll::Pending
    }
}

fn code(outcome: Result<Held, Ending>) -> Option<ProblemCode> {
    match outcome {
        Ok(_) => None,
        Err(Ending::Problem(problem)) => Some(problem.code),
        Err(Ending::Repeated(_)) => unreachable!("reading repeats nothing"),
    }
}

#[tokio::test]
async fn a_body_that_does_not_arrive_is_given_up() {
    let budget = BodyBudget::default();
    let outcome =
        read(Body::new(Never), &HeaderMap::new(), 1_000, &budget, &Impatient, Buffer::default())
            .await;
    assert_eq!(code(outcome), Some(ProblemCode::RequestTimeout));
}

#[tokio::test]
async fn all_bodies_together_are_bounded() {
    let clock = SystemClock::new();
    let budget = BodyBudget(Arc::new(Semaphore::new(2)));
    let read = |bytes: usize| {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(bytes as u64));
        let budget = budget.clone();
        let clock = &clock;
        async move {
            let (body, room) = (Body::from(vec![0; bytes]), Buffer::default());
            read(body, &headers, usize::MAX, &budget, clock, room).await
        }
    };
    let first = read(BUDGET_UNIT).await.expect("half of the budget");
    let second = read(1).await.expect("the other half");
    assert_eq!(code(read(1).await), Some(ProblemCode::TooManyRequests));
    drop(first);
    assert_eq!(code(read(BUDGET_UNIT + 1).await), Some(ProblemCode::TooManyRequests));
    drop(second);
    assert_eq!(code(read(2 * BUDGET_UNIT).await), None);
    // What is given back can be had again, whatever ended the request before.
    assert_eq!(code(read(2 * BUDGET_UNIT).await), None);
}
