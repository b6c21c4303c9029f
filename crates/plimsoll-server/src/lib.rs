//! HTTP: the routes, who may take them, and how requests and answers look.
//!
//! A handler translates between HTTP and one call of `plimsoll_engine::ops` or
//! `plimsoll_engine::ingest`; no rule of the product is decided here.
//!
//! Not here: operations, storage, delivery, and the settings of a process.

mod api;
mod auth;
mod binary_mode;
mod body;
mod idempotency;
mod json;
mod listen;
mod metrics;
mod observe;
mod openapi;
mod parameters;
mod problem;
mod router;
mod state;

pub use listen::Listening;
pub use router::{document, endpoints};
pub use state::serve;
