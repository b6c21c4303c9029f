//! What HTTP alone costs on this machine: an axum handler that reads the body and answers 200.
//!
//! It runs as a process of its own, as the product does, and is driven by the same client with the
//! same bytes in the same run. What the product reaches is named as a share of it.
//!
//! Not here: a store. This is the ceiling, not a competitor.

use std::{net::SocketAddr, process::Stdio};

use axum::{Router, body::Bytes, extract::DefaultBodyLimit, http::header, routing::post};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    net::TcpListener,
    process::{Child, Command},
};

use crate::Failure;

/// As large as the product's answer to one event.
const ANSWER: &str = "{\"accepted\":1,\"duplicates\":0,\"rejected\":[]}";

/// Serves until it is killed; the first line on standard output is the address.
pub(crate) async fn serve() -> Result<(), Failure> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    let handler = |body: Bytes| async move {
        drop(body);
        ([(header::CONTENT_TYPE, "application/json")], ANSWER)
    };
    let router =
        Router::new().route("/v1/events", post(handler)).layer(DefaultBodyLimit::disable());
    let listener = axum::serve::ListenerExt::tap_io(listener, |stream| {
        // A refusal leaves Nagle's algorithm on, which only makes the baseline slower.
        drop(stream.set_nodelay(true));
    });
    axum::serve(listener, router).await?;
    Ok(())
}

/// The empty handler as a child process, killed when dropped.
#[derive(Debug)]
pub(crate) struct EmptyHandler {
    _child: Child,
    /// Where it listens.
    pub(crate) address: SocketAddr,
}

impl EmptyHandler {
    /// Starts this program again as the empty handler.
    pub(crate) async fn start() -> Result<Self, Failure> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("empty-handler")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let output = child.stdout.take().ok_or("the empty handler has no output")?;
        let line = BufReader::new(output).lines().next_line().await?;
        let address = line.ok_or("the empty handler did not start")?.parse()?;
        Ok(Self { _child: child, address })
    }
}
