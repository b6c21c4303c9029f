//! A clock that stands still until it is moved; sleeping takes real time.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

use plimsoll_core::time::Timestamp;
use plimsoll_engine::deps::{BoxFuture, Clock, SystemClock};

#[derive(Debug)]
pub(super) struct StandingClock {
    machine: SystemClock,
    now_ms: AtomicI64,
}

impl StandingClock {
    pub(super) fn at(text: &str) -> Self {
        let now: Timestamp = text.parse().unwrap();
        Self { machine: SystemClock::new(), now_ms: AtomicI64::new(now.as_ms()) }
    }

    pub(super) fn advance(&self, duration: Duration) {
        self.now_ms.fetch_add(duration.as_millis() as i64, Ordering::Relaxed);
    }
}

impl Clock for StandingClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_ms(self.now_ms.load(Ordering::Relaxed))
    }

    fn elapsed(&self) -> Duration {
        self.machine.elapsed()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.machine.sleep(duration)
    }
}
