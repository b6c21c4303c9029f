//! Usage through the whole engine: what is answered, what is counted, what fires, what survives.

mod answers;
mod backtest;
mod clock;
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
mod retention;
mod scans;
mod shop;
mod typed;
mod verify;
pub(crate) mod world;
