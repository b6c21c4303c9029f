//! What delivery tells the world about itself: every metric, by name.
//!
//! Not here: how metrics are exported (`plimsoll-server`).

use metrics::{Counter, Gauge, Histogram, Unit, counter, gauge, histogram};
use plimsoll_core::delivery::outcome::{AttemptResult, ErrorClass};

/// Attempts that ended, however they ended.
pub const ATTEMPTS: &str = "plimsoll_delivery_attempts_total";
/// Attempts that were answered 2xx.
pub const SUCCESSES: &str = "plimsoll_delivery_successes_total";
/// Attempts that failed, by `class`: an error class, or `status` for an answer other than 2xx.
pub const FAILURES: &str = "plimsoll_delivery_failures_total";
/// Requests that are under way.
pub const IN_FLIGHT: &str = "plimsoll_delivery_in_flight";
/// Deliveries that wait in memory; what waits in the store is not in it.
pub const QUEUED: &str = "plimsoll_delivery_queued";
/// Seconds since the oldest open delivery of any channel was due.
pub const OLDEST_DUE_SECONDS: &str = "plimsoll_delivery_oldest_due_seconds";
/// Seconds that an attempt took.
pub const DURATION_SECONDS: &str = "plimsoll_delivery_duration_seconds";

/// The class of an attempt that was answered, but not 2xx.
const STATUS_CLASS: &str = "status";

/// Handles of the metrics. Made once, since finding a metric by name takes a lock.
#[derive(Debug)]
pub(super) struct Meters {
    attempts: Counter,
    successes: Counter,
    failures_by_status: Counter,
    failures: [Counter; ErrorClass::ALL.len()],
    durations: Histogram,
    pub(super) in_flight: Gauge,
    pub(super) queued: Gauge,
    pub(super) oldest_due_seconds: Gauge,
}

impl Meters {
    /// Handles of the recorder that is installed now.
    pub(super) fn new() -> Self {
        describe();
        Self {
            attempts: counter!(ATTEMPTS),
            successes: counter!(SUCCESSES),
            failures_by_status: counter!(FAILURES, "class" => STATUS_CLASS),
            failures: ErrorClass::ALL.map(|it| counter!(FAILURES, "class" => it.as_str())),
            durations: histogram!(DURATION_SECONDS),
            in_flight: gauge!(IN_FLIGHT),
            queued: gauge!(QUEUED),
            oldest_due_seconds: gauge!(OLDEST_DUE_SECONDS),
        }
    }

    /// Counts an attempt that ended.
    pub(super) fn ended(&self, result: AttemptResult, duration: std::time::Duration) {
        self.attempts.increment(1);
        self.durations.record(duration);
        match result {
            AttemptResult::Answered { status: 200..=299, .. } => self.successes.increment(1),
            AttemptResult::Answered { .. } => self.failures_by_status.increment(1),
            AttemptResult::Failed(class) => {
                let index = ErrorClass::ALL.iter().position(|it| *it == class);
                self.failures[index.expect("ALL holds every class")].increment(1);
            }
        }
    }
}

fn describe() {
    metrics::describe_counter!(ATTEMPTS, "Webhook requests that ended.");
    metrics::describe_counter!(SUCCESSES, "Webhook requests that were answered 2xx.");
    metrics::describe_counter!(FAILURES, "Webhook requests that failed, by class.");
    metrics::describe_gauge!(IN_FLIGHT, "Webhook requests under way.");
    metrics::describe_gauge!(QUEUED, "Deliveries waiting in memory.");
    metrics::describe_gauge!(
        OLDEST_DUE_SECONDS,
        Unit::Seconds,
        "Time since the oldest open delivery was due."
    );
    metrics::describe_histogram!(
        DURATION_SECONDS,
        Unit::Seconds,
        "Time that a webhook request took."
    );
}
