//! Where log lines go and how they look.
//!
//! Lines go to stderr: stdout belongs to what a person or a script asked for.
//!
//! Not here: what is logged. Secrets never are; whoever logs holds to that.

use std::{any::Any, io, panic};

use tracing_subscriber::EnvFilter;

use crate::config::{LogFormat, Settings};

/// Begins to log as the settings say, panics included.
pub(crate) fn start(settings: &Settings) {
    let filter = EnvFilter::new(&settings.log_level);
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    let started = match settings.log_format {
        LogFormat::Text => lines.with_ansi(false).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    if started.is_ok() {
        panic::set_hook(Box::new(log_panic));
    }
}

/// The one line that a panic is worth, wherever it happens.
fn log_panic(panic: &panic::PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let thread = std::thread::current();
    tracing::error!(
        panic.message = message(panic.payload()),
        panic.place = place,
        thread = thread.name().unwrap_or_default(),
        "a part of the program panicked: this is a defect"
    );
}

fn message(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or_default()
}
