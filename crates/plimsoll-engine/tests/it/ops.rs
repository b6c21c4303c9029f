//! The control plane through its public methods, over SQLite, with stand-ins for partitions and
//! dispatcher.
//!
//! Tests speak in paths and JSON, as callers do: `world.rs` turns them into method calls.

mod channels;
mod clock;
mod customers;
mod entitlements;
mod failures;
mod idempotency;
mod keys;
mod meters;
mod notifications;
mod partitions;
mod refusals;
mod resources;
mod rules;
mod world;
