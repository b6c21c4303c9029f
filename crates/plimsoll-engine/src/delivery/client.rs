//! The one HTTP client for everything that leaves the process.
//!
//! It resolves a name once, refuses it if any of its addresses is forbidden, and connects to one of
//! the addresses it judged. It follows no redirect, decompresses nothing, speaks HTTP/1.1 only,
//! reads no proxy setting, and bounds every byte and every second.
//!
//! An exchange has two steps, so that a caller can start requests in order: [`Client::begin`] ends
//! when the request is on its way, [`Exchange::finish`] when the answer is in. Both are driven by
//! the caller's task: a connection has no task of its own, and no lock.
//!
//! Not here: retries, signatures, and which connection is kept for whom (`lane`).

mod dial;
mod exchange;
mod resolve;
mod retry_after;
mod stream;

use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use bytes::Bytes;
use hyper::{Uri, header::HeaderValue};
use plimsoll_core::delivery::outcome::ErrorClass;
use rustls::pki_types::{CertificateDer, ServerName};
use url::{Host, Url};

use super::guard::AllowList;
use crate::deps::{BoxFuture, Clock};

pub use exchange::{Exchange, Wire};
pub use resolve::{Resolve, ResolveError, SystemResolver};
pub use stream::Bytestream;

/// What a client is made of.
#[derive(Debug)]
pub struct ClientOptions {
    /// Networks that may be reached beside the public internet.
    pub allow: AllowList,
    /// Certificate authorities that are trusted beside the machine's.
    pub extra_roots: Vec<CertificateDer<'static>>,
    /// How names become addresses.
    pub resolver: Arc<dyn Resolve>,
    /// Deadlines are measured on it.
    pub clock: Arc<dyn Clock>,
}

/// Another network than the machine's, for simulation.
pub trait Network: Send + Sync + fmt::Debug {
    /// Opens a connection to an address that has been judged.
    fn connect(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Bytestream>>>;
}

/// The guarded client. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

struct Shared {
    allow: AllowList,
    resolver: Arc<dyn Resolve>,
    clock: Arc<dyn Clock>,
    /// Absent where the machine has no certificate authorities; then `https` fails.
    tls: Option<tokio_rustls::TlsConnector>,
    /// Absent: the machine's network.
    network: Option<Arc<dyn Network>>,
}

/// Where requests go: a URL taken apart once, for many requests.
#[derive(Debug, Clone)]
pub struct Target {
    host: TargetHost,
    port: u16,
    /// Set for `https`.
    server_name: Option<ServerName<'static>>,
    /// The value of the `host` header.
    authority: HeaderValue,
    /// Path and query.
    uri: Uri,
}

#[derive(Debug, Clone)]
enum TargetHost {
    Address(IpAddr),
    /// Complete, with a dot at the end, so that no search domain is tried.
    Name(Arc<str>),
}

/// The URL cannot be requested; [`vet_url`](super::guard::vet_url) refuses such URLs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the URL cannot be requested")]
pub struct InvalidTarget;

/// What a receiver answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The wait that it asked for, in milliseconds from now.
    pub retry_after_ms: Option<i64>,
    /// The first bytes of the body as they came, at most `limits::RESPONSE_BODY_BYTES`.
    pub body: Bytes,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Failure {
    /// The class, as attempts show it.
    pub class: ErrorClass,
    /// What happened, in words.
    pub detail: String,
}

impl Client {
    /// A client for these options. It holds no connections.
    pub fn new(options: ClientOptions) -> Self {
        let ClientOptions { allow, extra_roots, resolver, clock } = options;
        let tls = dial::tls_connector(extra_roots)
            .inspect_err(|error| {
                tracing::warn!(%error, "webhooks to https URLs will fail: no TLS on this machine");
            })
            .ok();
        Self { shared: Arc::new(Shared { allow, resolver, clock, tls, network: None }) }
    }

    /// A client that opens its connections on `network`, where nobody speaks TLS: `https` fails.
    pub fn on_network(options: ClientOptions, network: Arc<dyn Network>) -> Self {
        let ClientOptions { allow, extra_roots: _, resolver, clock } = options;
        let (tls, network) = (None, Some(network));
        Self { shared: Arc::new(Shared { allow, resolver, clock, tls, network }) }
    }

    /// Networks that may be reached beside the public internet.
    pub fn allow(&self) -> &AllowList {
        &self.shared.allow
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("allow", &self.shared.allow).finish_non_exhaustive()
    }
}

impl Target {
    /// Takes a URL apart.
    pub fn new(url: &Url) -> Result<Self, InvalidTarget> {
        let is_https = url.scheme() == "https";
        let (host, text) = match url.host().ok_or(InvalidTarget)? {
            Host::Ipv4(it) => (TargetHost::Address(it.into()), it.to_string()),
            Host::Ipv6(it) => (TargetHost::Address(it.into()), it.to_string()),
            Host::Domain(name) => {
                let name = name.strip_suffix('.').unwrap_or(name);
                (TargetHost::Name(format!("{name}.").into()), name.to_owned())
            }
        };
        let server_name =
            is_https.then(|| ServerName::try_from(text)).transpose().map_err(|_| InvalidTarget)?;
        let authority = match (url.host_str().ok_or(InvalidTarget)?, url.port()) {
            (host, None) => host.to_owned(),
            (host, Some(port)) => format!("{host}:{port}"),
        };
        let path_and_query = match url.query() {
            None => url.path().to_owned(),
            Some(query) => format!("{}?{query}", url.path()),
        };
        Ok(Self {
            host,
            port: url.port_or_known_default().ok_or(InvalidTarget)?,
            server_name,
            authority: authority.try_into().map_err(|_| InvalidTarget)?,
            uri: path_and_query.try_into().map_err(|_| InvalidTarget)?,
        })
    }

    /// The value of the `host` header.
    pub fn authority(&self) -> &HeaderValue {
        &self.authority
    }

    /// Path and query.
    pub fn uri(&self) -> &Uri {
        &self.uri
    }
}

impl Failure {
    fn new(class: ErrorClass, detail: impl Into<String>) -> Self {
        Self { class, detail: detail.into() }
    }

    fn timeout() -> Self {
        Self::new(ErrorClass::Timeout, "no answer within the time for an attempt")
    }
}
