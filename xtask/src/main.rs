//! The project's own automation: `cargo xtask <command>`.
//!
//! It depends on the standard library alone, so that it builds in a second and can check the rest.
//!
//! Not here: what CI runs and in which order (`.ci/run`).

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "this is a command line tool")]

use std::{path::Path, process::ExitCode};

mod tidy;

const USAGE: &str = "\
usage: cargo xtask <command>

commands:
  tidy    check what rustfmt and clippy cannot: import floors, file sizes, headers, documents";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    if let (Some("tidy"), None) = (arguments.next().as_deref(), arguments.next()) {
        run_tidy()
    } else {
        eprintln!("{USAGE}");
        ExitCode::from(2)
    }
}

fn run_tidy() -> ExitCode {
    // The manifest directory is fixed when this is compiled: the tool is run from its own checkout.
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask lies one folder below the root of the workspace");
    let tree = match tidy::Tree::load(root) {
        Ok(tree) => tree,
        Err(error) => {
            eprintln!("tidy: cannot read the tree: {error}");
            return ExitCode::FAILURE;
        }
    };
    let complaints = tidy::check(&tree);
    for complaint in &complaints {
        eprintln!("{complaint}");
    }
    if complaints.is_empty() {
        println!("tidy: {} files, nothing to complain about", tree.len());
        ExitCode::SUCCESS
    } else {
        eprintln!("tidy: {} complaints", complaints.len());
        ExitCode::FAILURE
    }
}
