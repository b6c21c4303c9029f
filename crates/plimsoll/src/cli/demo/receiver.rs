//! Where the webhooks arrive: a server of its own on a loopback port, as a customer would write it.
//!
//! Each request's signature is verified with the `standardwebhooks` crate, which shares no code
//! with the sender. What arrived is kept with the moment at which its body had been read.
//!
//! Not here: whether it should have arrived (`compare`).

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Router,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    routing::post,
};
use hyper::body::Bytes;
use plimsoll_engine::deps::{Clock, TaskGroup};
use serde_json::Value;
use standardwebhooks::Webhook;
use tokio::net::TcpListener;

use super::Failure;

/// One webhook.
#[derive(Debug, Clone)]
pub(super) struct Arrival {
    /// The channel that it was sent through.
    pub(super) channel: String,
    /// The header `webhook-id`.
    pub(super) notification: String,
    /// When the body had been read, on the demonstration's clock.
    pub(super) at: Duration,
    /// Why the signature is not good; `None` if it is.
    pub(super) bad_signature: Option<String>,
    /// The body, or null if it is not JSON.
    pub(super) payload: Value,
}

impl Arrival {
    /// The event that crossed the line, if an event did.
    pub(super) fn crossing_event(&self) -> Option<&str> {
        self.payload["data"]["crossed_by"]["id"].as_str()
    }
}

/// A running receiver.
#[derive(Debug, Clone)]
pub(super) struct Receiver {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    clock: Arc<dyn Clock>,
    verifiers: Mutex<BTreeMap<String, Webhook>>,
    arrivals: Mutex<Vec<Arrival>>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The verifiers hold secrets.
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl Receiver {
    /// Starts to listen on a loopback port of the system's choice, until `tasks` stops.
    pub(super) async fn start(clock: Arc<dyn Clock>, tasks: &TaskGroup) -> Result<Self, Failure> {
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(Failure::Receiver)?;
        let address = listener.local_addr().map_err(Failure::Receiver)?;
        let shared =
            Arc::new(Shared { clock, verifiers: Mutex::default(), arrivals: Mutex::default() });
        let router =
            Router::new().route("/{channel}", post(receive)).with_state(Arc::clone(&shared));
        let stopping = tasks.stopping();
        tasks.spawn(async move {
            let server = axum::serve(listener, router).with_graceful_shutdown(stopping);
            if let Err(error) = server.await {
                tracing::error!(%error, "the receiver of the demonstration stopped");
            }
        });
        Ok(Self { address, shared })
    }

    /// The URL for a channel of this name.
    pub(super) fn url(&self, channel: &str) -> String {
        format!("http://{}/{channel}", self.address)
    }

    /// From now on webhooks of `channel` must be signed with `secret`.
    pub(super) fn expect_signatures_of(&self, channel: &str, secret: &str) -> Result<(), Failure> {
        let verifier = Webhook::new(secret).map_err(|_| Failure::Secret)?;
        lock(&self.shared.verifiers).insert(channel.to_owned(), verifier);
        Ok(())
    }

    /// How many webhooks have arrived.
    pub(super) fn count(&self) -> usize {
        lock(&self.shared.arrivals).len()
    }

    /// How many of them were signed well.
    pub(super) fn verified(&self) -> usize {
        lock(&self.shared.arrivals).iter().filter(|it| it.bad_signature.is_none()).count()
    }

    /// All of them, in the order in which they arrived.
    pub(super) fn arrivals(&self) -> Vec<Arrival> {
        lock(&self.shared.arrivals).clone()
    }

    /// The last `count` of them.
    pub(super) fn latest(&self, count: usize) -> Vec<Arrival> {
        let arrivals = lock(&self.shared.arrivals);
        let skipped = arrivals.len().saturating_sub(count);
        arrivals.iter().skip(skipped).cloned().collect()
    }
}

async fn receive(
    State(shared): State<Arc<Shared>>,
    Path(channel): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    let at = shared.clock.elapsed();
    let bad_signature = match lock(&shared.verifiers).get(&channel) {
        Some(verifier) => verifier.verify(&body, &headers).err().map(|it| it.to_string()),
        None => Some("no such channel".to_owned()),
    };
    let status =
        if bad_signature.is_none() { StatusCode::NO_CONTENT } else { StatusCode::UNAUTHORIZED };
    let notification = headers
        .get(standardwebhooks::HEADER_WEBHOOK_ID)
        .and_then(|it| it.to_str().ok())
        .unwrap_or_default()
        .to_owned();
    let payload = serde_json::from_slice(&body).unwrap_or_default();
    lock(&shared.arrivals).push(Arrival { channel, notification, at, bad_signature, payload });
    status
}

/// What is behind these locks is whole after every statement, so a panic elsewhere spoils nothing.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
