//! The `plimsoll` program: one binary, its roles are subcommands.
//!
//! Not here: anything that could be tested without a process.

use std::process::ExitCode;

use clap::Parser;

mod assemble;
mod cli;
mod config;
mod logging;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::Cli::parse().run()
}
