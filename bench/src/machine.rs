//! The machine's clock, tasks and memory: the only place of the benchmark that asks for them.
//!
//! Not here: the ports of the engine. A load generator is real by nature; nobody simulates it.

use std::{
    fs,
    future::Future,
    io,
    path::Path,
    time::{Duration, Instant},
};

use tempfile::TempDir;
use tokio::task::JoinHandle;

/// This moment.
#[expect(clippy::disallowed_methods, reason = "the one place of the benchmark that asks the clock")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Milliseconds since 1970.
#[expect(clippy::disallowed_methods, reason = "the one place of the benchmark that asks the clock")]
pub(crate) fn epoch_ms() -> i64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as i64)
}

/// Waits this long.
#[expect(clippy::disallowed_methods, reason = "the one place of the benchmark that sleeps")]
pub(crate) async fn sleep(duration: Duration) {
    tokio::time::sleep(duration).await;
}

/// Waits until this moment; returns at once if it has passed.
pub(crate) async fn sleep_until(moment: Instant) {
    let left = moment.saturating_duration_since(now());
    if !left.is_zero() {
        sleep(left).await;
    }
}

/// Runs `task`; the caller awaits the handle or aborts it.
#[expect(clippy::disallowed_methods, reason = "the one place of the benchmark that spawns")]
pub(crate) fn spawn<T: Send + 'static>(
    task: impl Future<Output = T> + Send + 'static,
) -> JoinHandle<T> {
    tokio::spawn(task)
}

/// Resident memory of a process in KiB: now, and the most it ever was.
pub(crate) fn resident_kib(process: u32) -> Option<(u64, u64)> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim_start_matches(':').trim().trim_end_matches(" kB").parse().ok()
    };
    Some((field("VmRSS")?, field("VmHWM")?))
}

/// CPU time that a process has used so far, in milliseconds.
pub(crate) fn cpu_ms(process: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name in parentheses may hold spaces; user and system ticks are fields 14 and 15.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some((user + system) * 10)
}

/// A folder for one run, removed when dropped: inside `parent` or the temporary folder.
pub(crate) fn folder(parent: Option<&Path>) -> io::Result<TempDir> {
    const PREFIX: &str = "plimsoll-bench-";
    match parent {
        Some(parent) => TempDir::with_prefix_in(PREFIX, parent),
        None => TempDir::with_prefix(PREFIX),
    }
}

/// Tells whoever watches how far it is.
pub(crate) fn say(what: &str) {
    eprintln!("bench: {what}");
}

/// How many processors there are.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
