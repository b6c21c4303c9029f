//! A clock that runs like the machine's and can be skipped ahead.

use std::time::Duration;

use plimsoll_core::time::Timestamp;
use plimsoll_engine::deps::{BoxFuture, Clock, SystemClock};
use tokio::sync::watch;

#[derive(Debug)]
pub(super) struct SkippableClock {
    machine: SystemClock,
    skipped: watch::Sender<Duration>,
}

impl SkippableClock {
    pub(super) fn new() -> Self {
        Self { machine: SystemClock::new(), skipped: watch::Sender::new(Duration::ZERO) }
    }

    /// Moves the clock ahead; sleeps that end by then end at once.
    pub(super) fn skip(&self, duration: Duration) {
        self.skipped.send_modify(|it| *it += duration);
    }

    fn skipped(&self) -> Duration {
        *self.skipped.borrow()
    }
}

impl Clock for SkippableClock {
    fn now(&self) -> Timestamp {
        self.machine.now().plus_ms(self.skipped().as_millis() as i64)
    }

    fn elapsed(&self) -> Duration {
        self.machine.elapsed() + self.skipped()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let mut skips = self.skipped.subscribe();
        let ends = *skips.borrow() + duration;
        let slept = self.machine.sleep(duration);
        Box::pin(async move {
            tokio::select! {
                () = slept => {}
                // An error means that the clock is gone: nobody will wake us any more.
                skipped = skips.wait_for(|it| *it >= ends) => drop(skipped.unwrap()),
            }
        })
    }
}
