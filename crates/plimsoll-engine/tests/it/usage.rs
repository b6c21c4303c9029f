//! Usage through the whole engine: what is answered, what is counted, what fires, what survives.

mod answers;
mod dedupe;
mod events;
mod faults;
mod laws;
mod lines;
mod scans;
mod world;
