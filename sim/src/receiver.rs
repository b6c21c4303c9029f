//! The receivers of webhooks, on a network without sockets.
//!
//! One is healthy and takes everything, another answers whatever the dice say or not at all. Each
//! speaks just enough HTTP/1.1 to be a server, and remembers what it took, also when the process
//! that sent it is gone.
//!
//! Not here: what should have been sent (`check`).

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use plimsoll_engine::{
    delivery::client::{Bytestream, Network},
    deps::{BoxFuture, Clock as _},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::{clock::VirtualClock, random::Dice, trace::Trace};

/// The port of the receiver that takes everything.
pub const HEALTHY_PORT: u16 = 9_001;
/// The port of the receiver that does not.
pub const FLAKY_PORT: u16 = 9_002;

/// Every receiver, and the way to them. Clones are the same.
#[derive(Debug, Clone)]
pub struct Receivers {
    clock: VirtualClock,
    trace: Trace,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug)]
struct Shared {
    dice: Dice,
    /// What the healthy receiver took: the bodies by their `webhook-id`.
    taken: BTreeMap<String, Vec<Vec<u8>>>,
}

/// How a receiver treats one request.
#[derive(Debug)]
enum Answer {
    Status(u16, &'static str),
    /// It closes the connection without a word.
    Closes,
    /// It never answers.
    Silence,
}

impl Receivers {
    /// Receivers that behave as the dice say and have taken nothing yet.
    pub fn new(clock: &VirtualClock, trace: &Trace, dice: Dice) -> Self {
        let shared = Arc::new(Mutex::new(Shared { dice, taken: BTreeMap::new() }));
        Self { clock: clock.clone(), trace: trace.clone(), shared }
    }

    /// What the healthy receiver took under this id.
    pub fn taken(&self, id: &str) -> Vec<Vec<u8>> {
        self.lock().taken.get(id).cloned().unwrap_or_default()
    }

    /// The ids of everything that the healthy receiver took.
    pub fn ids(&self) -> Vec<String> {
        self.lock().taken.keys().cloned().collect()
    }

    fn take(&self, port: u16, request: &Request) -> (Answer, Duration) {
        let mut shared = self.lock();
        let is_healthy = port == HEALTHY_PORT;
        let (answer, wait_ms) = if is_healthy {
            (Answer::Status(200, ""), shared.dice.between(1, 40))
        } else {
            flaky_answer(&mut shared.dice)
        };
        if is_healthy {
            shared.taken.entry(request.id.clone()).or_default().push(request.body.clone());
        }
        drop(shared);
        self.trace.note(format_args!("receiver {port}: {} gets {answer:?}", request.id));
        (answer, Duration::from_millis(wait_ms))
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn flaky_answer(dice: &mut Dice) -> (Answer, u64) {
    let answer = match dice.below(10) {
        0..=3 => Answer::Status(204, ""),
        4 => Answer::Status(500, ""),
        5 => Answer::Status(503, "retry-after: 7\r\n"),
        6 => Answer::Status(429, ""),
        7 => Answer::Status(302, "location: http://127.0.0.1/\r\n"),
        8 => Answer::Closes,
        _ => Answer::Silence,
    };
    (answer, dice.between(1, 2_000))
}

impl Network for Receivers {
    fn connect(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Bytestream>>> {
        let (port, wait) = (address.port(), self.lock().dice.between(100, 3_000));
        let is_refused = port == FLAKY_PORT && self.lock().dice.percent(10);
        let connected = self.clock.sleep(Duration::from_micros(wait));
        Box::pin(async move {
            connected.await;
            if is_refused || !matches!(port, HEALTHY_PORT | FLAKY_PORT) {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            let receivers = self.clone();
            let connection = Connection {
                receivers,
                port,
                received: Vec::new(),
                answer: None,
                outgoing: Vec::new(),
                is_closed: false,
                reader: None,
            };
            Ok(Box::new(connection) as Box<dyn Bytestream>)
        })
    }
}

/// The sender's end of a connection; the receiver lives inside.
struct Connection {
    receivers: Receivers,
    port: u16,
    received: Vec<u8>,
    /// What is to be said, and when.
    answer: Option<(Answer, BoxFuture<'static, ()>)>,
    outgoing: Vec<u8>,
    is_closed: bool,
    reader: Option<Waker>,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("port", &self.port).finish_non_exhaustive()
    }
}

struct Request {
    id: String,
    body: Vec<u8>,
}

impl Request {
    /// Takes the first whole request out of what was received.
    fn split_from(received: &mut Vec<u8>) -> Option<Self> {
        let head_end = received.windows(4).position(|it| it == b"\r\n\r\n")? + 4;
        let head = String::from_utf8_lossy(&received[..head_end]).into_owned();
        let header = |name: &str| {
            let found = head.lines().filter_map(|it| it.split_once(": "));
            found.into_iter().find(|(it, _)| it.eq_ignore_ascii_case(name)).map(|(_, it)| it)
        };
        let length: usize = header("content-length")?.parse().ok()?;
        if received.len() < head_end + length {
            return None;
        }
        let id = header("webhook-id").unwrap_or_default().to_owned();
        let body = received[head_end..head_end + length].to_vec();
        received.drain(..head_end + length);
        Some(Self { id, body })
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.answer.is_none()
            && let Some(request) = Request::split_from(&mut self.received)
        {
            let (answer, wait) = self.receivers.take(self.port, &request);
            self.answer = Some((answer, self.receivers.clock.sleep(wait)));
        }
        if let Some((_, moment)) = &mut self.answer
            && moment.as_mut().poll(cx).is_ready()
        {
            match self.answer.take() {
                Some((Answer::Status(status, headers), _)) => {
                    let text = format!("HTTP/1.1 {status} x\r\n{headers}content-length: 0\r\n\r\n");
                    // 204 has no body, so nothing may announce one.
                    let text =
                        if status == 204 { "HTTP/1.1 204 x\r\n\r\n".to_owned() } else { text };
                    self.outgoing.extend_from_slice(text.as_bytes());
                }
                Some((Answer::Closes, _)) => self.is_closed = true,
                Some((Answer::Silence, _)) | None => {}
            }
        }
        if !self.outgoing.is_empty() {
            let count = self.outgoing.len().min(buf.remaining());
            buf.put_slice(&self.outgoing[..count]);
            self.outgoing.drain(..count);
            return Poll::Ready(Ok(()));
        }
        if self.is_closed {
            return Poll::Ready(Ok(()));
        }
        self.reader = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.is_closed {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        self.received.extend_from_slice(bytes);
        self.reader.take().into_iter().for_each(Waker::wake);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.is_closed = true;
        Poll::Ready(Ok(()))
    }
}
