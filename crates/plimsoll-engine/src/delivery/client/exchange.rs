//! One request and its answer over one connection.
//!
//! The connection is polled by whoever waits for the exchange, together with the answer: no task,
//! no lock and no wake-up between them.
//!
//! Not here: opening connections (`dial`).

use std::{
    fmt,
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http_body_util::Full;
use hyper::{
    Request, Response,
    body::{Body as _, Incoming},
    client::conn::{
        TrySendError,
        http1::{Connection, SendRequest},
    },
};
use hyper_util::rt::TokioIo;
use plimsoll_core::{delivery::outcome::ErrorClass, limits};

use super::{
    Answer, Client, Failure, Target, retry_after,
    stream::{Gauge, Stream},
};
use crate::deps::BoxFuture;

type Body = Full<Bytes>;
type Sent = Result<Response<Incoming>, TrySendError<Request<Body>>>;

/// An open connection on which no exchange is under way.
pub struct Wire {
    sender: SendRequest<Body>,
    connection: Box<Connection<TokioIo<Stream>, Body>>,
    gauge: Arc<Gauge>,
    /// The connection has ended and must not be polled again.
    is_closed: bool,
}

/// A request that is on its way.
pub struct Exchange {
    client: Client,
    wire: Wire,
    response: BoxFuture<'static, Sent>,
    /// The answer, or its absence, if it was there before the request was.
    early: Option<Sent>,
    deadline: BoxFuture<'static, ()>,
}

impl Client {
    /// Sends one request over a connection of its own and waits for the answer.
    pub async fn send(
        &self,
        target: &Target,
        request: Request<Full<Bytes>>,
    ) -> Result<Answer, Failure> {
        self.begin(target, None, request).await?.finish().await.0
    }

    /// Sends `request`, over `wire` if it is still good, and returns once it is on its way.
    ///
    /// On a kept connection that turns out to be closed before a byte was written, the request is
    /// sent once more over a new one. The time for the whole attempt begins now.
    pub async fn begin(
        &self,
        target: &Target,
        wire: Option<Wire>,
        mut request: Request<Full<Bytes>>,
    ) -> Result<Exchange, Failure> {
        let timeout = Duration::from_millis(limits::ATTEMPT_TIMEOUT_MS);
        let mut deadline = self.shared.clock.sleep(timeout);
        let mut kept = wire;
        loop {
            let usable = match kept.take() {
                Some(wire) => wire.usable().await,
                None => None,
            };
            let is_kept = usable.is_some();
            let mut wire = match usable {
                Some(wire) => wire,
                None => self.dial(target).await?,
            };
            wire.gauge.reset();
            let mut response: BoxFuture<'static, Sent> =
                Box::pin(wire.sender.try_send_request(request));
            let gauge = Arc::clone(&wire.gauge);
            let early = wire
                .drive(&mut deadline, |cx| {
                    if gauge.has_written() {
                        return Poll::Ready(None);
                    }
                    response.as_mut().poll(cx).map(Some)
                })
                .await?;
            match early {
                Some(Err(mut error)) if is_kept && !gauge.has_written() => {
                    let Some(unsent) = error.take_message() else {
                        return Err(failure(error.error(), &gauge));
                    };
                    request = unsent;
                }
                early => {
                    let client = self.clone();
                    return Ok(Exchange { client, wire, response, early, deadline });
                }
            }
        }
    }
}

impl Exchange {
    /// Waits for the answer, and gives back the connection if it can be used again.
    ///
    /// Once the status is known, nothing that happens to the body changes it.
    pub async fn finish(mut self) -> (Result<Answer, Failure>, Option<Wire>) {
        let sent = if let Some(sent) = self.early.take() {
            Ok(sent)
        } else {
            let response = &mut self.response;
            self.wire.drive(&mut self.deadline, |cx| response.as_mut().poll(cx)).await
        };
        let response = match sent {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return (Err(failure(error.error(), &self.wire.gauge)), None),
            Err(timeout) => return (Err(timeout), None),
        };
        let (head, mut incoming) = response.into_parts();
        let now = self.client.shared.clock.now();
        let (body, is_complete) = self.read_body(&mut incoming).await;
        let answer = Answer {
            status: head.status.as_u16(),
            retry_after_ms: retry_after::parse(&head.headers, now),
            body,
        };
        let wire = if is_complete { self.wire.usable().await } else { None };
        (Ok(answer), wire)
    }

    /// The part of the body that is kept, and whether the whole has been read.
    async fn read_body(&mut self, incoming: &mut Incoming) -> (Bytes, bool) {
        let mut kept = BytesMut::new();
        let mut read = 0;
        loop {
            if incoming.is_end_stream() {
                return (kept.freeze(), true);
            }
            let frame = self
                .wire
                .drive(&mut self.deadline, |cx| Pin::new(&mut *incoming).poll_frame(cx))
                .await;
            let frame = match frame {
                Ok(Some(Ok(frame))) => frame,
                Ok(None) => return (kept.freeze(), true),
                // Broken off or out of time: the status stands.
                Ok(Some(Err(_))) | Err(_) => return (kept.freeze(), false),
            };
            let Some(data) = frame.data_ref() else { continue };
            read += data.len();
            let room = limits::RESPONSE_BODY_BYTES - kept.len();
            kept.extend_from_slice(&data[..data.len().min(room)]);
            if read > limits::RESPONSE_READ_BYTES {
                return (kept.freeze(), false);
            }
        }
    }
}

impl Wire {
    pub(super) fn new(
        sender: SendRequest<Body>,
        connection: Connection<TokioIo<Stream>, Body>,
        gauge: Arc<Gauge>,
    ) -> Self {
        gauge.reset();
        Self { sender, connection: Box::new(connection), gauge, is_closed: false }
    }

    /// The same connection if a request can be sent on it at once.
    ///
    /// Looks at what arrived meanwhile: the receiver may have closed it, or said something that
    /// nobody asked for, which ends it as well.
    async fn usable(mut self) -> Option<Self> {
        let is_ready = poll_fn(|cx| {
            self.poll_connection(cx);
            let is_ready = matches!(self.sender.poll_ready(cx), Poll::Ready(Ok(())));
            Poll::Ready(is_ready && !self.is_closed)
        })
        .await;
        is_ready.then_some(self)
    }

    /// Polls the connection, `poll` and the deadline until `poll` or the deadline is ready.
    async fn drive<T>(
        &mut self,
        deadline: &mut BoxFuture<'static, ()>,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Result<T, Failure> {
        poll_fn(|cx| {
            self.poll_connection(cx);
            if let Poll::Ready(output) = poll(cx) {
                return Poll::Ready(Ok(output));
            }
            deadline.as_mut().poll(cx).map(|()| Err(Failure::timeout()))
        })
        .await
    }

    fn poll_connection(&mut self, cx: &mut Context<'_>) {
        if !self.is_closed {
            // The error, if any, reaches whoever waits for the answer.
            self.is_closed = Pin::new(&mut *self.connection).poll(cx).is_ready();
        }
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").field("is_closed", &self.is_closed).finish_non_exhaustive()
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange").field("wire", &self.wire).finish_non_exhaustive()
    }
}

fn failure(error: &hyper::Error, gauge: &Gauge) -> Failure {
    // What broke before an answer could be read is the connection's fault; what could be read but
    // is no answer, or too long for one, is the receiver's.
    let is_no_answer = error.is_parse() || error.is_parse_too_large() || error.is_parse_status();
    let class = if is_no_answer || gauge.is_exhausted() {
        ErrorClass::Protocol
    } else {
        ErrorClass::Connect
    };
    let mut detail = error.to_string();
    if let Some(source) = std::error::Error::source(error) {
        detail = format!("{detail}: {source}");
    }
    Failure::new(class, detail)
}
