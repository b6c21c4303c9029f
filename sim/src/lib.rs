//! Deterministic simulation of engine, store and time: the real engine on a disk, a clock and a
//! network that a seed decides, compared with a naive model.
//!
//! `docs/internals/simulation.md` says what is simulated and how a seed is replayed.
//!
//! Not here: the databases themselves (their contract suite), HTTP, throughput.

#![expect(clippy::cast_precision_loss, reason = "times are printed for people")]

pub mod check;
pub mod clock;
pub mod executor;
pub mod ledger;
pub mod log;
pub mod model;
pub mod period;
pub mod random;
pub mod receiver;
pub mod replay;
pub mod run;
pub mod store;
pub mod trace;
pub mod usage;
pub mod weather;
pub mod world;
