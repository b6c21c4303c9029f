//! Usage through the whole engine: what is answered, what is counted, what fires, what survives.

mod answers;
mod backtest;
mod clock;
mod faults;
mod laws;
mod lines;
mod retention;
mod verify;
mod world;
