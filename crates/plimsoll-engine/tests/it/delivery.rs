//! Delivery from the offer to the rows in the store, against receivers of every kind.
//!
//! Each test has a store of its own, receivers on loopback whose behaviour can change while they
//! run, and a clock that can be skipped ahead; nothing here waits for time to pass.

mod answers;
mod clock;
mod destinations;
mod failures;
mod flow;
pub(crate) mod receiver;
mod retries;
mod tls;
mod world;
