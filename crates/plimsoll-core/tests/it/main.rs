//! Tests of the core from outside: the bytes that are stored, and that none of them panic.
//!
//! Not here: what the rules mean (`src/state/tests`).

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod any;
mod commands;
mod fixtures;
