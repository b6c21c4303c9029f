//! Accepts connections and serves HTTP/1.1 on them until told to stop.
//!
//! A loop of our own, because `axum::serve` has no bound on connections, headers or the time in
//! which headers must arrive. Stopping is graceful: nothing new is accepted, requests that are
//! being answered are answered, idle connections are closed.
//!
//! Not here: TLS. A proxy in front ends it.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use plimsoll_core::limits;
use plimsoll_engine::deps::{Clock, TaskGroup};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};

/// How long the loop rests after the system refused to give a connection.
const ACCEPT_REST: Duration = Duration::from_millis(50);

/// A server that accepts connections.
#[derive(Debug)]
pub struct Listening {
    address: SocketAddr,
    connections: TaskGroup,
    clock: Arc<dyn Clock>,
}

impl Listening {
    /// Binds `address` and begins to serve `router`.
    pub async fn start(
        address: SocketAddr,
        router: Router,
        clock: Arc<dyn Clock>,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let connections = TaskGroup::new();
        let accepting = Accepting {
            listener,
            router,
            connections: connections.clone(),
            clock: Arc::clone(&clock),
            room: Arc::new(Semaphore::new(limits::CONNECTIONS)),
        };
        connections.spawn(accepting.run());
        Ok(Self { address, connections, clock })
    }

    /// Where the server listens: the chosen port, if 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops accepting and waits for the requests that are being answered, but not for ever.
    pub async fn stop(self) {
        let deadline = self.clock.sleep(Duration::from_millis(limits::DRAIN_TIMEOUT_MS));
        tokio::select! {
            () = self.connections.stop() => {}
            () = deadline => tracing::warn!("stopped with requests unanswered"),
        }
    }
}

struct Accepting {
    listener: TcpListener,
    router: Router,
    connections: TaskGroup,
    clock: Arc<dyn Clock>,
    room: Arc<Semaphore>,
}

impl Accepting {
    async fn run(self) {
        let mut stopping = std::pin::pin!(self.connections.stopping());
        loop {
            // Waiting for room leaves further connections in the system's queue.
            let accept = async {
                let room = Arc::clone(&self.room).acquire_owned().await;
                (self.listener.accept().await, room)
            };
            let (accepted, room) = tokio::select! {
                () = &mut stopping => return,
                accepted = accept => accepted,
            };
            match accepted {
                Ok((stream, _)) => {
                    let service = TowerToHyperService::new(self.router.clone());
                    let stop = self.connections.stopping();
                    self.connections.spawn(async move {
                        serve(stream, service, stop).await;
                        drop(room);
                    });
                }
                // Of one connection, which is gone; or of the machine (no descriptor left), which
                // passes when others close.
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    self.clock.sleep(ACCEPT_REST).await;
                }
            }
        }
    }
}

async fn serve(
    stream: TcpStream,
    service: TowerToHyperService<Router>,
    stop: impl Future<Output = ()>,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection keeps its small packets back");
    }
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(limits::HEADERS_TIMEOUT_MS))
        .max_headers(limits::REQUEST_HEADERS)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let mut stop = std::pin::pin!(stop);
    let outcome = tokio::select! {
        outcome = connection.as_mut() => outcome,
        () = &mut stop => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = outcome {
        // The client went away, or sent what is no HTTP; hyper has answered what can be answered.
        tracing::debug!(%error, "a connection ended early");
    }
}
