//! Delivery: notifications leave the process as signed webhooks.
//!
//! One lane a channel takes what was committed, sends it through the one guarded client, and writes
//! the results back in batches. What does not fit into memory stays in the store.
//!
//! Not here: what a result means (`plimsoll_core::delivery`), who is notified of what (partitions),
//! and the changing of channels (`ops`).

pub mod channels;
pub mod client;
pub mod dispatcher;
pub mod formats;
pub mod guard;
pub mod meters;
pub mod signature;

mod lane;
mod writer;
