//! Where the webhooks arrive: reads each request whole, notes the moment, answers 200.
//!
//! The moment is taken when the last byte of the body has been read, before anything is parsed.
//!
//! Not here: verification of signatures; `plimsoll demo` and the tests do that.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinHandle,
};

use crate::{Failure, client, machine};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

/// One webhook: the id of the event that crossed, and when its body was complete.
#[derive(Debug)]
pub(crate) struct Arrival {
    /// `data.crossed_by.id` of the payload.
    pub(crate) event: String,
    /// When the last byte was read.
    pub(crate) at: Instant,
}

/// Listens until dropped.
#[derive(Debug)]
pub(crate) struct Receiver {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    received: Arc<AtomicU64>,
    listener: JoinHandle<()>,
}

impl Receiver {
    /// Starts listening; arrivals with a crossing event go to `arrivals`, all are counted.
    pub(crate) async fn start(arrivals: mpsc::UnboundedSender<Arrival>) -> Result<Self, Failure> {
        let socket = TcpListener::bind("127.0.0.1:0").await?;
        let address = socket.local_addr()?;
        let received = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&received);
        let listener = machine::spawn(async move {
            while let Ok((stream, _)) = socket.accept().await {
                let (arrivals, counter) = (arrivals.clone(), Arc::clone(&counter));
                // The sender closes its connections when it stops; nobody has to await them.
                drop(machine::spawn(async move {
                    drop(serve(stream, &arrivals, &counter).await);
                }));
            }
        });
        Ok(Self { address, received, listener })
    }

    /// Webhooks received so far.
    pub(crate) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// The address as a channel's URL.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

async fn serve(
    mut stream: TcpStream,
    arrivals: &mpsc::UnboundedSender<Arrival>,
    received: &AtomicU64,
) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::with_capacity(8192);
    loop {
        let message = loop {
            if let Some(message) = client::parse(&buffer)? {
                break message;
            }
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        };
        let at = machine::now();
        stream.write_all(OK).await?;
        received.fetch_add(1, Ordering::Relaxed);
        if let Some(event) = crossing_event(&buffer[message.body_start..message.end]) {
            // Nobody listens any more once the workload has what it waits for.
            drop(arrivals.send(Arrival { event, at }));
        }
        buffer.drain(..message.end);
    }
}

/// `data.crossed_by.id`, found without parsing: nothing else of the payload is of interest.
fn crossing_event(body: &[u8]) -> Option<String> {
    const MARK: &[u8] = b"\"crossed_by\":{";
    const NAME: &[u8] = b"\"id\":\"";
    let inside = &body[client::find(body, MARK)? + MARK.len()..];
    let value = &inside[client::find(inside, NAME)? + NAME.len()..];
    let end = value.iter().position(|byte| *byte == b'"')?;
    Some(String::from_utf8_lossy(&value[..end]).into_owned())
}

#[cfg(test)]
mod tests {
    use super::crossing_event;

    #[test]
    fn finds_the_event_that_crossed() {
        let body = br#"{"id":"ntf_1","data":{"crossed_by":{"source":"s","id":"x-7"},"id":"no"}}"#;
        assert_eq!(crossing_event(body).as_deref(), Some("x-7"));
        assert_eq!(crossing_event(b"{\"id\":\"ntf_1\"}"), None);
    }
}
