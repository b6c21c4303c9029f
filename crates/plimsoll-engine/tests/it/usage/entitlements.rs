//! Entitlements, grants and resets through the whole engine, by an injected clock.
//!
//! Not here: what is refused before a partition hears of it (`ops`), the rules alone (the core).

mod access;
mod changes;
mod grants;
mod history;
mod lines;
mod opening;
mod resets;
mod world;
