//! A connection's byte stream, with a gauge on it.
//!
//! The gauge bounds what one answer may make us read, whatever it consists of (header lines, 1xx
//! answers, chunk extensions, trailers), and tells when a request's first byte has left.
//!
//! Not here: opening connections (`dial`), HTTP (`exchange`).

use std::{
    fmt, io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
};

use plimsoll_core::limits;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::client::TlsStream;

/// Bytes that one answer may have in all: its body and as much again for everything around it.
const ANSWER_BYTES: usize = 2 * limits::RESPONSE_READ_BYTES;

/// Bytes in both directions, from a [`Network`](super::Network) that is not the machine's.
pub trait Bytestream: AsyncRead + AsyncWrite + Send + Unpin + fmt::Debug {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + fmt::Debug> Bytestream for T {}

/// What carries the bytes.
#[derive(Debug)]
pub(super) enum Transport {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    Simulated(Box<dyn Bytestream>),
}

/// A transport with a gauge.
#[derive(Debug)]
pub(super) struct Stream {
    transport: Transport,
    gauge: Arc<Gauge>,
}

/// Counts for one exchange. The stream and the exchange each hold it.
#[derive(Debug, Default)]
pub(super) struct Gauge {
    has_written: AtomicBool,
    /// Bytes that may still be read.
    readable: AtomicUsize,
}

impl Gauge {
    /// Begins a new exchange.
    pub(super) fn reset(&self) {
        self.has_written.store(false, Ordering::Relaxed);
        self.readable.store(ANSWER_BYTES, Ordering::Relaxed);
    }

    /// Whether the answer had more bytes than an answer may have.
    pub(super) fn is_exhausted(&self) -> bool {
        self.readable.load(Ordering::Relaxed) == 0
    }

    /// Whether a byte of the request has been handed to the machine.
    pub(super) fn has_written(&self) -> bool {
        self.has_written.load(Ordering::Relaxed)
    }
}

impl Stream {
    pub(super) fn new(transport: Transport) -> (Self, Arc<Gauge>) {
        let gauge = Arc::new(Gauge::default());
        (Self { transport, gauge: Arc::clone(&gauge) }, gauge)
    }

    fn wrote(&self, result: &Poll<io::Result<usize>>) {
        if matches!(result, Poll::Ready(Ok(1..))) {
            self.gauge.has_written.store(true, Ordering::Relaxed);
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let readable = self.gauge.readable.load(Ordering::Relaxed);
        if readable == 0 {
            return Poll::Ready(Err(io::Error::other("the answer is too long")));
        }
        let before = buf.filled().len();
        ready!(match &mut self.transport {
            Transport::Plain(it) => Pin::new(it).poll_read(cx, buf),
            Transport::Tls(it) => Pin::new(it).poll_read(cx, buf),
            Transport::Simulated(it) => Pin::new(it).poll_read(cx, buf),
        })?;
        let read = buf.filled().len() - before;
        self.gauge.readable.store(readable.saturating_sub(read), Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = match &mut self.transport {
            Transport::Plain(it) => Pin::new(it).poll_write(cx, buf),
            Transport::Tls(it) => Pin::new(it).poll_write(cx, buf),
            Transport::Simulated(it) => Pin::new(it).poll_write(cx, buf),
        };
        self.wrote(&result);
        result
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.transport {
            Transport::Plain(it) => Pin::new(it).poll_flush(cx),
            Transport::Tls(it) => Pin::new(it).poll_flush(cx),
            Transport::Simulated(it) => Pin::new(it).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.transport {
            Transport::Plain(it) => Pin::new(it).poll_shutdown(cx),
            Transport::Tls(it) => Pin::new(it).poll_shutdown(cx),
            Transport::Simulated(it) => Pin::new(it).poll_shutdown(cx),
        }
    }
}
