//! A receiver on loopback that writes whatever bytes it is told to.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use plimsoll_engine::deps::TaskGroup;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// What a client that wants TLS says first.
const TLS_HANDSHAKE: [u8; 2] = [22, 3];

/// What the receiver does with a request.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// Writes these bytes and waits for the next request.
    Write(Vec<u8>),
    /// Writes these bytes and closes.
    WriteAndClose(Vec<u8>),
    /// Writes the first bytes, then the second ones for ever.
    WriteForEver(Vec<u8>, Vec<u8>),
    /// Writes these bytes and nothing more, and keeps the connection.
    WriteAndStall(Vec<u8>),
    /// Waits until the behaviour changes, then does that.
    Hold,
}

/// One request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    /// The request line.
    pub(crate) line: String,
    /// Lower-case names.
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: Vec<u8>,
    /// Number of the connection, from 0.
    pub(crate) connection: usize,
}

#[derive(Debug, Clone)]
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    reply: watch::Sender<Reply>,
    received: Arc<Mutex<Vec<Received>>>,
    count: watch::Sender<usize>,
}

impl Reply {
    /// An answer with this status, further header lines and body.
    pub(crate) fn status(status: u16, headers: &str, body: &str) -> Self {
        let length = body.len();
        let text = format!(
            "HTTP/1.1 {status} Some Reason\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
        );
        Self::Write(text.into_bytes())
    }

    pub(crate) fn ok() -> Self {
        Self::status(200, "", "ok")
    }
}

impl Received {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

impl Receiver {
    pub(crate) async fn start(tasks: &TaskGroup, reply: Reply) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let receiver = Self {
            address: listener.local_addr().unwrap(),
            reply: watch::Sender::new(reply),
            received: Arc::default(),
            count: watch::Sender::new(0),
        };
        let accepting = receiver.clone();
        let group = tasks.clone();
        tasks.spawn(async move {
            let stopping = group.stopping();
            tokio::pin!(stopping);
            let mut connection = 0;
            loop {
                let accepted = tokio::select! {
                    () = &mut stopping => return,
                    accepted = listener.accept() => accepted,
                };
                let (stream, _) = accepted.unwrap();
                let serving = accepting.clone();
                let stopping = group.stopping();
                group.spawn(async move {
                    tokio::select! {
                        () = stopping => {}
                        _ = serving.serve(stream, connection) => {}
                    }
                });
                connection += 1;
            }
        });
        receiver
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/hook?x=1", self.address)
    }

    /// Changes what happens to requests from now on, also to those that are held.
    pub(crate) fn set(&self, reply: Reply) {
        self.reply.send_replace(reply);
    }

    pub(crate) fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    /// The `webhook-id` of each request, in order of arrival.
    pub(crate) fn ids(&self) -> Vec<String> {
        let received = self.received.lock().unwrap();
        received.iter().map(|it| it.header("webhook-id").to_owned()).collect()
    }

    /// Waits until at least so many requests have come.
    pub(crate) async fn wait_for(&self, count: usize) {
        let mut counts = self.count.subscribe();
        let waiting = counts.wait_for(|it| *it >= count);
        let waited = tokio::time::timeout(super::world::PATIENCE, waiting).await;
        assert!(waited.is_ok(), "{} of {count} requests came", self.received().len());
    }

    async fn serve(&self, mut stream: TcpStream, connection: usize) -> Option<()> {
        let mut buffer = Vec::new();
        loop {
            let request = read_request(&mut stream, &mut buffer, connection).await?;
            self.received.lock().unwrap().push(request);
            self.count.send_modify(|it| *it += 1);
            let mut replies = self.reply.subscribe();
            let reply = replies.wait_for(|it| !matches!(it, Reply::Hold)).await.ok()?.clone();
            match reply {
                Reply::Write(bytes) => stream.write_all(&bytes).await.ok()?,
                Reply::WriteAndClose(bytes) => {
                    stream.write_all(&bytes).await.ok()?;
                    return None;
                }
                Reply::WriteForEver(first, again) => {
                    stream.write_all(&first).await.ok()?;
                    loop {
                        stream.write_all(&again).await.ok()?;
                    }
                }
                Reply::WriteAndStall(bytes) => {
                    stream.write_all(&bytes).await.ok()?;
                    // Until the sender has had enough.
                    drop(stream.read(&mut [0]).await);
                    return None;
                }
                Reply::Hold => unreachable!("waited until it is something else"),
            }
        }
    }
}

async fn read_request(
    stream: &mut TcpStream,
    buffer: &mut Vec<u8>,
    connection: usize,
) -> Option<Received> {
    loop {
        if let Some(end) = buffer.windows(4).position(|it| it == b"\r\n\r\n") {
            let head = String::from_utf8(buffer[..end].to_vec()).unwrap();
            let mut lines = head.split("\r\n");
            let line = lines.next().unwrap().to_owned();
            let headers: HashMap<_, _> = lines
                .map(|it| it.split_once(": ").unwrap())
                .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
                .collect();
            let length: usize = headers["content-length"].parse().unwrap();
            if buffer.len() >= end + 4 + length {
                let rest = buffer.split_off(end + 4 + length);
                let body = buffer[end + 4..].to_vec();
                *buffer = rest;
                return Some(Received { line, headers, body, connection });
            }
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
        if buffer.starts_with(&TLS_HANDSHAKE) {
            stream.write_all(b"HTTP/1.1 400 This is plain HTTP\r\n\r\n").await.ok()?;
            return None;
        }
    }
}
