//! The rules of Plimsoll: what usage means, when a line is crossed, what fires.
//!
//! Everything here is a pure function of its arguments. There is no IO, no async, no clock, no
//! randomness, no float and no hash-map order: the same log gives the same state, to the byte.
//!
//! Not here: JSON, SQL, HTTP, and everything that acts on what was decided.

#![warn(missing_docs)]

pub mod archive;
pub mod catalog;
pub mod codec;
pub mod command;
pub mod delivery;
pub mod effect;
pub mod entitlement;
pub mod ids;
pub mod key;
pub mod limits;
pub mod line;
pub mod metering;
pub mod quantity;
pub mod rule;
pub mod state;
pub mod time;
