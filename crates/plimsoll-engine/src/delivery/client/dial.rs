//! Opens a connection to a vetted address.
//!
//! Judging happens here, on the very addresses that are connected to next: what a name meant when
//! the channel was made, or a moment ago, is worth nothing.
//!
//! Not here: which addresses are forbidden (`guard`), what is sent (`exchange`).

use std::{
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use plimsoll_core::{delivery::outcome::ErrorClass, limits};
use rustls::{ClientConfig, pki_types::CertificateDer};
use rustls_platform_verifier::Verifier;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{
    Client, Failure, Target, TargetHost,
    exchange::Wire,
    stream::{Stream, Transport},
};
use crate::deps::Clock;

/// Addresses of one name that are tried, one after the other.
const ADDRESSES_TRIED: usize = 4;
/// Bytes of an answer's status line and headers.
const HEAD_BYTES: usize = 16 * 1024;
/// Bytes that a connection buffers.
const BUFFER_BYTES: usize = 32 * 1024;

/// TLS with the machine's certificate authorities and `extra_roots`.
pub(super) fn tls_connector(
    extra_roots: Vec<CertificateDer<'static>>,
) -> Result<TlsConnector, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = Verifier::new_with_extra_roots(extra_roots, Arc::clone(&provider))?;
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

impl Client {
    /// Resolves, judges, connects and shakes hands, within `limits::CONNECT_TIMEOUT_MS`.
    pub(super) async fn dial(&self, target: &Target) -> Result<Wire, Failure> {
        let clock = &*self.shared.clock;
        let timeout = Duration::from_millis(limits::CONNECT_TIMEOUT_MS);
        match within(clock, timeout, self.dial_untimed(target)).await {
            Some(result) => result,
            None => Err(Failure::new(ErrorClass::Timeout, "no connection within 5 s")),
        }
    }

    async fn dial_untimed(&self, target: &Target) -> Result<Wire, Failure> {
        let addresses = self.vetted_addresses(target).await?;
        let opened = self.connect(&addresses, target.port).await?;
        let transport = match (&target.server_name, opened) {
            (None, opened) => opened,
            (Some(name), Transport::Plain(tcp)) => {
                let connector = self.shared.tls.as_ref().ok_or_else(|| {
                    Failure::new(ErrorClass::Tls, "no certificate authorities on this machine")
                })?;
                let tls = connector.connect(name.clone(), tcp).await;
                let tls = tls.map_err(|it| Failure::new(ErrorClass::Tls, it.to_string()))?;
                Transport::Tls(Box::new(tls))
            }
            (Some(_), _) => return Err(Failure::new(ErrorClass::Tls, "no TLS on this network")),
        };
        let (stream, gauge) = Stream::new(transport);
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(BUFFER_BYTES)
            .max_header_size(HEAD_BYTES)
            // One write for head and body.
            .writev(false)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|it| Failure::new(ErrorClass::Connect, it.to_string()))?;
        Ok(Wire::new(sender, connection, gauge))
    }

    /// The addresses of the target, if every one of them may be reached.
    ///
    /// One forbidden address among them refuses them all: such an answer is an attempt to have us
    /// pick it the next time.
    async fn vetted_addresses(&self, target: &Target) -> Result<Vec<IpAddr>, Failure> {
        let addresses = match &target.host {
            TargetHost::Address(address) => vec![*address],
            TargetHost::Name(name) => self
                .shared
                .resolver
                .resolve(name)
                .await
                .map_err(|it| Failure::new(ErrorClass::Dns, it.to_string()))?,
        };
        for address in &addresses {
            self.shared.allow.vet(*address).map_err(|why| {
                Failure::new(ErrorClass::BlockedDestination, format!("{address} is a {why}"))
            })?;
        }
        Ok(addresses)
    }

    async fn connect(&self, addresses: &[IpAddr], port: u16) -> Result<Transport, Failure> {
        let tried = &addresses[..addresses.len().min(ADDRESSES_TRIED)];
        let share_ms = limits::CONNECT_TIMEOUT_MS / tried.len().max(1) as u64;
        let share = Duration::from_millis(share_ms);
        let mut failure = Failure::new(ErrorClass::Dns, "the name has no addresses");
        for address in tried {
            let connecting = self.open(SocketAddr::new(*address, port));
            match within(&*self.shared.clock, share, connecting).await {
                Some(Ok(opened)) => return Ok(opened),
                Some(Err(error)) => failure = connect_failure(&error),
                None => failure = Failure::new(ErrorClass::Timeout, "no connection in time"),
            }
        }
        Err(failure)
    }

    async fn open(&self, address: SocketAddr) -> io::Result<Transport> {
        if let Some(network) = &self.shared.network {
            return network.connect(address).await.map(Transport::Simulated);
        }
        let tcp = TcpStream::connect(address).await?;
        // A request is one write; waiting for more to send would only delay it.
        tcp.set_nodelay(true)?;
        Ok(Transport::Plain(tcp))
    }
}

fn connect_failure(error: &io::Error) -> Failure {
    let class = match error.kind() {
        io::ErrorKind::ConnectionRefused => ErrorClass::Refused,
        io::ErrorKind::TimedOut => ErrorClass::Timeout,
        _ => ErrorClass::Connect,
    };
    Failure::new(class, error.to_string())
}

/// The output of `work`, or `None` if it takes longer than `timeout`.
async fn within<F: Future>(clock: &dyn Clock, timeout: Duration, work: F) -> Option<F::Output> {
    tokio::select! {
        biased;
        output = work => Some(output),
        () = clock.sleep(timeout) => None,
    }
}
