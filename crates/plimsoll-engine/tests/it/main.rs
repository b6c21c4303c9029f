//! The integration tests of the engine: one binary, a module an area.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "the lints know what a test is, but not what its scaffolding is"
)]

mod delivery;
mod ops;
mod usage;
