//! From the text of one setting to its value. What is returned as an error follows the setting's
//! name in a sentence: "`--listen` is not an address such as 127.0.0.1:8787".

use std::{net::SocketAddr, path::PathBuf};

use plimsoll_core::{limits, time::DAY_MS};
use plimsoll_engine::{delivery::guard::AllowList, vault::MASTER_KEY_BYTES};
use tracing_subscriber::{EnvFilter, filter::LevelFilter};

use super::Secret;

/// Fewest characters that a bootstrap key has after its prefix.
const BOOTSTRAP_KEY_CHARACTERS: usize = 16;
/// Most partitions that a store can be created with.
const PARTITIONS: u16 = 1_024;

/// Most days that the log is kept: a century.
const RETENTION_DAYS: u32 = 36_500;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line, for machines.
    Json,
}

pub(super) fn data_dir(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() {
        return Err("is empty: name a folder".to_owned());
    }
    Ok(PathBuf::from(text))
}

pub(super) fn listen(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| format!("is not an address such as 127.0.0.1:8787: `{text}`"))
}

/// The URL may hold a password, so no error repeats it.
pub(super) fn database_url(text: &str) -> Result<Secret<String>, String> {
    if !text.starts_with("postgres://") && !text.starts_with("postgresql://") {
        return Err(
            "does not begin with postgres://; leave it out to store in SQLite in the data \
             directory"
                .to_owned(),
        );
    }
    Ok(Secret::new(text.to_owned()))
}

pub(super) fn bootstrap_key(text: &str) -> Result<Secret<String>, String> {
    let rest = text.strip_prefix("plm_live_").or_else(|| text.strip_prefix("plm_test_"));
    let Some(rest) = rest else {
        return Err("begins neither with plm_live_ nor with plm_test_".to_owned());
    };
    let plain = rest.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'_' || it == b'-');
    if rest.len() < BOOTSTRAP_KEY_CHARACTERS || !plain {
        return Err(format!(
            "needs at least {BOOTSTRAP_KEY_CHARACTERS} letters, digits, `_` or `-` after its prefix"
        ));
    }
    Ok(Secret::new(text.to_owned()))
}

/// A list with commas between; empty means none.
pub(super) fn networks(text: &str) -> Result<AllowList, String> {
    text.parse()
        .map_err(|_| format!("is not a list of networks such as 127.0.0.0/8,fd00::/8: `{text}`"))
}

pub(super) fn partitions(text: &str) -> Result<u16, String> {
    match text.parse() {
        Ok(count) if (1..=PARTITIONS).contains(&count) => Ok(count),
        _ => Err(format!("is not a number from 1 to {PARTITIONS}: `{text}`")),
    }
}

/// Shorter than the dedupe window it cannot be: late events may still ask for what is younger.
pub(super) fn retention_log_days(text: &str) -> Result<u32, String> {
    let least = (limits::DEDUPE_WINDOW_MS / DAY_MS) as u32 + 1;
    match text.parse() {
        Ok(days) if days == 0 || (least..=RETENTION_DAYS).contains(&days) => Ok(days),
        _ => Err(format!("is neither 0 nor a number from {least} to {RETENTION_DAYS}: `{text}`")),
    }
}

pub(super) fn log_format(text: &str) -> Result<LogFormat, String> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err(format!("is neither `text` nor `json`: `{text}`")),
    }
}

pub(super) fn log_level(text: &str) -> Result<String, String> {
    // A word that is no level would be the name of a module of which everything is logged.
    let is_level = |it: &str| it.trim().parse::<LevelFilter>().is_ok();
    let mut parts = text.split(',');
    match EnvFilter::builder().parse(text) {
        Ok(_) if parts.all(|it| it.contains('=') || is_level(it)) => Ok(text.to_owned()),
        _ => Err(format!(
            "is neither a level (error, warn, info, debug, trace) nor directives such as \
             info,plimsoll_engine=debug: `{text}`"
        )),
    }
}

/// 64 hexadecimal digits. No error repeats the text.
pub(crate) fn master_key(text: &str) -> Result<Secret<[u8; MASTER_KEY_BYTES]>, String> {
    let wrong = || format!("is not {} hexadecimal digits", MASTER_KEY_BYTES * 2);
    let text = text.trim();
    if text.len() != MASTER_KEY_BYTES * 2 || !text.bytes().all(|it| it.is_ascii_hexdigit()) {
        return Err(wrong());
    }
    let mut key = [0; MASTER_KEY_BYTES];
    for (slot, start) in key.iter_mut().zip((0..).step_by(2)) {
        *slot = u8::from_str_radix(&text[start..start + 2], 16).map_err(|_| wrong())?;
    }
    Ok(Secret::new(key))
}
