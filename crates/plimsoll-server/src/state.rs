//! What every handler can reach, and how a server is put together from it.

use std::{io, net::SocketAddr, ops::Deref, sync::Arc};

use bytes::Bytes;
use plimsoll_engine::{deps::Deps, engine::Engine, ingest::Ingest, ops::Ops};

use crate::{body::BodyBudget, listen::Listening, metrics::Metrics, router};

/// Builds the routes over `engine` and begins to serve them at `address`.
pub async fn serve(address: SocketAddr, deps: Deps, engine: Engine) -> io::Result<Listening> {
    let metrics = Metrics::of_process();
    metrics.keep_up(&deps);
    let document = router::document();
    let clock = Arc::clone(&deps.clock);
    let app = App(Arc::new(Parts {
        deps,
        ops: engine.ops.clone(),
        ingest: engine.ingest.clone(),
        engine,
        bodies: BodyBudget::default(),
        metrics,
        document: serde_json::to_vec(&document).expect("the document is JSON").into(),
    }));
    Listening::start(address, router::router(&app, &document), clock).await
}

/// What handlers work with. Every layer clones it for every request, so it is one pointer.
#[derive(Debug, Clone)]
pub(crate) struct App(Arc<Parts>);

impl Deref for App {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

/// The parts themselves.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) deps: Deps,
    pub(crate) ops: Ops,
    pub(crate) ingest: Ingest,
    /// Asked whether it is ready, for nothing else.
    pub(crate) engine: Engine,
    pub(crate) bodies: BodyBudget,
    pub(crate) metrics: Metrics,
    /// The OpenAPI document as JSON.
    pub(crate) document: Bytes,
}
