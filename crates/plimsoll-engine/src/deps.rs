//! What the engine needs from the world, as ports: time, randomness, tasks, the store.
//!
//! Everything that varies from run to run enters through here, so that tests and simulation can
//! decide it. The system implementations at the end are the only places that ask the machine.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use plimsoll_core::time::Timestamp;
use plimsoll_store::Store;
use tokio::sync::{mpsc, watch};

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
    stop: watch::Sender<bool>,
    /// Every task holds a clone; when all are gone, the receiver learns it.
    alive: Arc<std::sync::Mutex<Option<mpsc::Sender<()>>>>,
    finished: Arc<tokio::sync::Mutex<mpsc::Receiver<()>>>,
}

impl fmt::Debug for TaskGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskGroup").field("stopping", &*self.stop.borrow()).finish_non_exhaustive()
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
        let (stop, _) = watch::channel(false);
        let (alive, finished) = mpsc::channel(1);
        Self {
            stop,
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
        let mut stop = self.stop.subscribe();
        async move {
            // An error means that the group is gone, which is a stop as well.
            drop(stop.wait_for(|it| *it).await);
        }
    }

    /// Whether the group has been told to stop.
    pub fn is_stopping(&self) -> bool {
        *self.stop.borrow()
    }

    /// Tells every task to stop and waits until all have ended.
    pub async fn stop(&self) {
        self.stop.send_replace(true);
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
