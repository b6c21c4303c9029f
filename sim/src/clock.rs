//! Virtual time: it stands still while anything can be done, then jumps to the next timer.
//!
//! Timers fire one at a time, in the order of their moments and then of their making. The time of
//! day is virtual time plus an offset that a step of the world may move, back as well as forth.
//!
//! Not here: noticing that nothing can be done (`executor`).

use std::{
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use plimsoll_core::time::Timestamp;
use plimsoll_engine::deps::{BoxFuture, Clock};

/// 2026-03-10T12:00:00Z, when every simulation begins.
const START_MS: i64 = 1_773_144_000_000;
/// Timers after which a simulation is taken for one that does not end.
const TIMERS_MOST: u64 = 500_000;

/// The clock of one simulation. Clones are the same clock.
#[derive(Debug, Clone)]
pub struct VirtualClock {
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug)]
struct Shared {
    elapsed: Duration,
    /// Time of day at no time elapsed.
    base_ms: i64,
    timers: BTreeMap<(Duration, u64), Waker>,
    next_timer: u64,
    fired: u64,
    is_stuck: bool,
    /// Who wants to know that nothing will ever happen again.
    watcher: Option<Waker>,
}

impl Default for VirtualClock {
    fn default() -> Self {
        let shared = Shared {
            elapsed: Duration::ZERO,
            base_ms: START_MS,
            timers: BTreeMap::new(),
            next_timer: 0,
            fired: 0,
            is_stuck: false,
            watcher: None,
        };
        Self { shared: Arc::new(Mutex::new(shared)) }
    }
}

impl VirtualClock {
    /// Moves the time of day, and nothing else.
    pub fn jump(&self, by_ms: i64) {
        self.lock().base_ms += by_ms;
    }

    /// Goes on to the next timer and wakes it. To be called when nothing else can be done.
    pub(crate) fn advance(&self) {
        let mut shared = self.lock();
        let next = shared.timers.pop_first();
        let waker = match next {
            Some(((due, _), waker)) if shared.fired < TIMERS_MOST => {
                shared.elapsed = shared.elapsed.max(due);
                shared.fired += 1;
                Some(waker)
            }
            _ => {
                shared.is_stuck = true;
                shared.watcher.take()
            }
        };
        drop(shared);
        waker.into_iter().for_each(Waker::wake);
    }

    /// Resolves when there is nothing left to wait for, or no end in sight.
    pub(crate) async fn stuck(&self) {
        std::future::poll_fn(|cx| {
            let mut shared = self.lock();
            if shared.is_stuck {
                return Poll::Ready(());
            }
            shared.watcher = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Timestamp {
        let shared = self.lock();
        Timestamp::from_ms(shared.base_ms + shared.elapsed.as_millis() as i64)
    }

    fn elapsed(&self) -> Duration {
        self.lock().elapsed
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let due = self.lock().elapsed.saturating_add(duration);
        Box::pin(Sleep { clock: self.clone(), due, timer: None })
    }
}

/// Waits for its moment.
struct Sleep {
    clock: VirtualClock,
    due: Duration,
    timer: Option<u64>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let clock = self.clock.clone();
        let mut shared = clock.lock();
        if shared.elapsed >= self.due {
            return Poll::Ready(());
        }
        let timer = *self.timer.get_or_insert_with(|| {
            shared.next_timer += 1;
            shared.next_timer
        });
        shared.timers.insert((self.due, timer), cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(timer) = self.timer {
            self.clock.lock().timers.remove(&(self.due, timer));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::executor;

    #[test]
    fn time_passes_only_when_nothing_else_can() {
        let clock = VirtualClock::default();
        let order = executor::live(&clock, async {
            let mut order = Vec::new();
            let long = clock.sleep(Duration::from_hours(24));
            let short = clock.sleep(Duration::from_millis(3));
            short.await;
            order.push(clock.elapsed());
            long.await;
            order.push(clock.elapsed());
            order
        });
        assert_eq!(order, Ok(vec![Duration::from_millis(3), Duration::from_hours(24)]));
        assert_eq!(clock.now().as_ms(), START_MS + 86_400_000);
        clock.jump(-86_400_000);
        assert_eq!((clock.now().as_ms(), clock.elapsed()), (START_MS, Duration::from_hours(24)));
    }

    #[test]
    fn waiting_for_nothing_is_noticed() {
        let clock = VirtualClock::default();
        assert!(executor::live(&clock, std::future::pending::<()>()).is_err());
    }
}
