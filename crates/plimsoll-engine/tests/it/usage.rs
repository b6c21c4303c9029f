//! Usage through the whole engine: what is answered, what is counted, what fires, what survives.

mod answers;
mod dedupe;
mod faults;
mod laws;
mod lines;
mod world;
