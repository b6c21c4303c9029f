//! `plimsoll openapi`: prints the document, without a server.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use crate::cli::Failure;

/// Prints the OpenAPI document of the HTTP API.
pub(super) fn run() -> Result<ExitCode, Failure> {
    let document =
        serde_json::to_string_pretty(&plimsoll_server::document()).map_err(io::Error::from)?;
    writeln!(io::stdout().lock(), "{document}")?;
    Ok(ExitCode::SUCCESS)
}
