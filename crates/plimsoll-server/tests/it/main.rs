//! Tests of the HTTP API: a server on a real socket in this process, over SQLite.
//!
//! Not here: the program around it, crashes, webhooks (`crates/plimsoll/tests`).

mod auth;
mod bad_input;
mod bodies;
mod client;
mod company;
mod entitlements;
mod event_list;
mod events;
mod health;
mod idempotency;
mod openapi;
mod paging;
mod problems;
mod product;
mod resources;
mod usage;
