//! Tests of the whole program: the real binary as a process, HTTP from outside, a real receiver.
//!
//! Everything here is blocking and uses the standard library only, so that nothing is shared with
//! the program under test, least of all its runtime.

#![expect(clippy::panic, clippy::print_stdout, reason = "tests fail by it and say what they skip")]

mod backtest;
mod backup;
mod database;
mod demo;
mod http;
mod ledger;
mod load;
mod outage;
mod process;
mod readme;
mod receiver;
mod saas;
mod settings;
mod start;
mod torture;
mod verify;
mod wait;
mod webhooks;
