//! Waiting for a condition, with a deadline. The one place of these tests that sleeps.

use std::{
    thread,
    time::{Duration, Instant},
};

/// Far beyond what anything here takes on a loaded machine: reaching it is a failure.
pub(crate) const DEADLINE: Duration = Duration::from_mins(1);
const POLL: Duration = Duration::from_millis(5);

/// Asks until there is an answer.
pub(crate) fn until<T>(what: &str, ask: impl FnMut() -> Option<T>) -> T {
    within_deadline(ask).unwrap_or_else(|| panic!("waited {DEADLINE:?} in vain: {what}"))
}

/// The same, for those who have more to say than that they waited in vain.
#[expect(clippy::disallowed_methods, reason = "the one place of these tests that sleeps")]
pub(crate) fn within_deadline<T>(mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let begun = Instant::now();
    while begun.elapsed() < DEADLINE {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        thread::sleep(POLL);
    }
    None
}

/// Lets the program run for a while, for its own sake: the moment of a kill has no condition.
#[expect(clippy::disallowed_methods, reason = "the one place of these tests that sleeps")]
pub(crate) fn for_ms(ms: u64) {
    thread::sleep(Duration::from_millis(ms));
}
