//! Usage through the whole engine: what is answered, what is counted, what fires, what survives.

mod answers;
mod dedupe;
mod entitlements;
mod events;
mod faults;
mod kinds;
mod late;
mod laws;
mod lines;
mod meters;
mod resets;
mod scans;
mod shop;
mod typed;
pub(crate) mod world;
