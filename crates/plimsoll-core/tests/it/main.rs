//! Tests of the core from outside: the bytes that are stored, and that none of them panic.
//!
//! Not here: what the rules mean (`src/state/tests`).

mod any;
mod commands;
mod fixtures;
