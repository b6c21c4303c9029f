//! Waiting for a condition, with a deadline. The one place of these tests that sleeps.

use std::{
    thread,
    time::{Duration, Instant},
};

/// Far beyond what anything here takes on a loaded machine: reaching it is a failure.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(5);

/// Asks until there is an answer.
#[expect(clippy::disallowed_methods, reason = "the one place of these tests that sleeps")]
pub(crate) fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(begun.elapsed() < DEADLINE, "waited {DEADLINE:?} in vain: {what}");
        thread::sleep(POLL);
    }
}

/// Lets the program run for a while, for its own sake: the moment of a kill has no condition.
#[expect(clippy::disallowed_methods, reason = "the one place of these tests that sleeps")]
pub(crate) fn for_ms(ms: u64) {
    thread::sleep(Duration::from_millis(ms));
}
