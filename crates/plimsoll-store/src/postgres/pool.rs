//! The connections to PostgreSQL: at most so many, kept while they work.
//!
//! Not here: what is done on a connection (`session`).

use std::{
    ops::{Deref, DerefMut},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::timeout,
};

use crate::postgres::{address::Address, session::Session};

/// How long somebody waits for a connection that others use.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a connection is taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// Somebody waits for the answer.
    Foreground,
    /// Nobody does. Gets a quarter of the connections at the most.
    Background,
}

/// The connections.
#[derive(Debug)]
pub(super) struct Pool {
    address: Address,
    idle: Mutex<Vec<Session>>,
    size: u32,
    permits: Semaphore,
    background: Semaphore,
    healthy: AtomicBool,
    closed: AtomicBool,
}

/// A connection in use. It goes back to the pool when this is dropped, if it can be used again.
#[derive(Debug)]
pub(super) struct Taken<'a> {
    session: Option<Session>,
    pool: &'a Pool,
    _permit: SemaphorePermit<'a>,
    _background: Option<SemaphorePermit<'a>>,
}

impl Pool {
    /// A pool of at most `size` connections, of which this is one.
    pub(super) fn new(address: Address, size: usize, first: Session) -> Self {
        Self {
            address,
            idle: Mutex::new(vec![first]),
            size: u32::try_from(size).unwrap_or(u32::MAX),
            permits: Semaphore::new(size),
            background: Semaphore::new((size / 4).max(1)),
            healthy: AtomicBool::new(true),
            closed: AtomicBool::new(false),
        }
    }

    /// A connection that is not in the pool and does not count.
    pub(super) async fn connect(&self) -> Result<Session, String> {
        self.address.connect().await
    }

    /// Takes a connection: an idle one, or a new one.
    pub(super) async fn take(&self, purpose: Use) -> Result<Taken<'_>, String> {
        if self.closed.load(Ordering::Acquire) {
            return Err("the store is closed".to_owned());
        }
        let background = match purpose {
            Use::Foreground => None,
            Use::Background => Some(acquire(&self.background).await?),
        };
        let permit = acquire(&self.permits).await?;
        let session = match self.pop_idle() {
            Some(session) => session,
            None => self.address.connect().await?,
        };
        let session = Some(session);
        Ok(Taken { session, pool: self, _permit: permit, _background: background })
    }

    /// Closes idle connections: one was found dead, so the others may be.
    pub(super) fn forget_idle(&self) {
        self.idle().clear();
    }

    /// Waits for what runs, and closes every connection.
    pub(super) async fn close(&self) {
        if self.closed.swap(true, Ordering::AcqRel) {
            return;
        }
        // An error would mean that the semaphore is closed, which only happens below.
        drop(self.permits.acquire_many(self.size).await);
        self.permits.close();
        let sessions: Vec<_> = self.idle().drain(..).collect();
        for session in sessions {
            session.close().await;
        }
    }

    pub(super) fn healthy(&self) -> bool {
        self.healthy.load(Ordering::Relaxed) && !self.closed.load(Ordering::Relaxed)
    }

    pub(super) fn set_healthy(&self, healthy: bool) {
        self.healthy.store(healthy, Ordering::Relaxed);
    }

    fn pop_idle(&self) -> Option<Session> {
        let mut idle = self.idle();
        while let Some(session) = idle.pop() {
            if session.is_usable() {
                return Some(session);
            }
        }
        None
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Session>> {
        self.idle.lock().expect("no holder of this lock panics")
    }
}

impl Deref for Taken<'_> {
    type Target = Session;

    fn deref(&self) -> &Session {
        self.session.as_ref().expect("only drop takes the session")
    }
}

impl DerefMut for Taken<'_> {
    fn deref_mut(&mut self) -> &mut Session {
        self.session.as_mut().expect("only drop takes the session")
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        if let Some(session) = self.session.take().filter(Session::is_usable) {
            self.pool.idle().push(session);
        }
    }
}

async fn acquire(semaphore: &Semaphore) -> Result<SemaphorePermit<'_>, String> {
    match timeout(PATIENCE, semaphore.acquire()).await {
        Ok(Ok(permit)) => Ok(permit),
        Ok(Err(_)) => Err("the store is closed".to_owned()),
        Err(_) => Err("all connections to the database are in use".to_owned()),
    }
}
