//! What the engine needs from the world, as ports: time, randomness, tasks, the store.
//!
//! Everything that varies from run to run enters through here, so that tests and simulation can
//! decide it. The system implementations at the end are the only places that ask the machine.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use plimsoll_core::time::Timestamp;
use plimsoll_store::Store;
use tokio::sync::{Notify, mpsc};

/// The ports that every part of the engine is built from.
#[derive(Debug, Clone)]
pub struct Deps {
    /// Where everything durable lives.
    pub store: Arc<dyn Store>,
    /// The machine's time.
    pub clock: Arc<dyn Clock>,
    /// Unpredictable bits, for ids and secrets.
    pub random: Arc<dyn Random>,
    /// Who owns the background tasks.
    pub tasks: TaskGroup,
}

/// A boxed future that can be sent between threads.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The machine's time.
pub trait Clock: Send + Sync + fmt::Debug {
    /// The time of day.
    fn now(&self) -> Timestamp;

    /// Time since some fixed moment; never goes back. For durations and deadlines.
    fn elapsed(&self) -> Duration;

    /// Waits this long.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;
}

/// Unpredictable bits.
pub trait Random: Send + Sync + fmt::Debug {
    /// Fills `bytes`.
    fn fill(&self, bytes: &mut [u8]);

    /// 128 unpredictable bits.
    fn bits(&self) -> u128 {
        let mut bytes = [0; 16];
        self.fill(&mut bytes);
        u128::from_le_bytes(bytes)
    }
}

/// Owns background tasks: they are told to stop, and someone awaits them.
#[derive(Clone)]
pub struct TaskGroup {
    stop: Arc<Stop>,
    /// Every task holds a clone; when all are gone, the receiver learns it.
    alive: Arc<std::sync::Mutex<Option<mpsc::Sender<()>>>>,
    finished: Arc<tokio::sync::Mutex<mpsc::Receiver<()>>>,
}

/// Tells the tasks to stop when it is dropped, if nobody has told them before.
struct Stop(Arc<Told>);

/// Whether to stop. Whoever waits for it is woken in the order of their waiting, which a channel of
/// tokio's `watch` does not promise: it wakes in an order that it draws.
#[derive(Default)]
struct Told {
    is_told: AtomicBool,
    waiting: Notify,
}

impl Stop {
    fn tell(&self) {
        self.0.is_told.store(true, Ordering::Release);
        self.0.waiting.notify_waiters();
    }
}

impl Drop for Stop {
    fn drop(&mut self) {
        self.tell();
    }
}

impl fmt::Debug for TaskGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskGroup").field("stopping", &self.is_stopping()).finish_non_exhaustive()
    }
}

impl Default for TaskGroup {
    fn default() -> Self {
        Self::new()
    }
}

impl TaskGroup {
    /// A group without tasks.
    pub fn new() -> Self {
        let (alive, finished) = mpsc::channel(1);
        Self {
            stop: Arc::new(Stop(Arc::default())),
            alive: Arc::new(std::sync::Mutex::new(Some(alive))),
            finished: Arc::new(tokio::sync::Mutex::new(finished)),
        }
    }

    /// Runs `task` until it ends. It must end soon after [`TaskGroup::stopping`] resolves.
    ///
    /// Does nothing once the group is stopping.
    pub fn spawn<F>(&self, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let alive = self.alive.lock().expect("no holder of this lock panics").clone();
        let Some(alive) = alive else { return };
        #[expect(clippy::disallowed_methods, reason = "the one place where tasks are spawned")]
        tokio::spawn(async move {
            task.await;
            drop(alive);
        });
    }

    /// Resolves when the group has been told to stop.
    pub fn stopping(&self) -> impl Future<Output = ()> + Send + 'static {
        let told = Arc::clone(&self.stop.0);
        async move {
            // Waits from here on, so that what is told after the look is not missed.
            let woken = told.waiting.notified();
            if !told.is_told.load(Ordering::Acquire) {
                woken.await;
            }
        }
    }

    /// Whether the group has been told to stop.
    pub fn is_stopping(&self) -> bool {
        self.stop.0.is_told.load(Ordering::Acquire)
    }

    /// Tells every task to stop and waits until all have ended.
    pub async fn stop(&self) {
        self.stop.tell();
        self.alive.lock().expect("no holder of this lock panics").take();
        // `None` comes when the last task has dropped its sender.
        while self.finished.lock().await.recv().await.is_some() {}
    }
}

/// The machine's own clock.
#[derive(Debug)]
pub struct SystemClock {
    started: Instant,
}

impl SystemClock {
    /// A clock that counts `elapsed` from now.
    #[expect(clippy::disallowed_methods, reason = "the one place that asks the machine's clock")]
    pub fn new() -> Self {
        Self { started: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that asks the machine's clock")]
    fn now(&self) -> Timestamp {
        let since_epoch = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or(Duration::ZERO);
        Timestamp::from_ms(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
    }

    fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    #[expect(clippy::disallowed_methods, reason = "the one place that sleeps")]
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// The operating system's generator.
#[derive(Debug, Default)]
pub struct SystemRandom;

impl Random for SystemRandom {
    #[expect(clippy::disallowed_methods, reason = "the one place that draws from the system")]
    fn fill(&self, bytes: &mut [u8]) {
        getrandom::fill(bytes).expect("the operating system has a random generator");
    }
}
