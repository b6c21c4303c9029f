//! Usage through the whole engine: what is answered, what is counted, what fires, what survives.

mod answers;
mod faults;
mod kinds;
mod late;
mod laws;
mod lines;
mod meters;
mod resets;
mod shop;
mod typed;
mod world;
