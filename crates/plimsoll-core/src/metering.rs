//! Metering: what the values of events add up to, and what is kept of it by the hour and the day.
//!
//! Not here: which events a meter measures (`catalog::meter`), limits and lines (`state`).

pub mod accumulator;
pub mod bucket;
pub mod cell;
