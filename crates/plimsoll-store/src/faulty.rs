//! A store that fails on command, around any other. For tests and simulation only.
//!
//! Faults are planned for a lane, or for whichever batch comes next, and are used up one by one.
//!
//! Not here: faults of the real databases. The contract suite makes those happen for real.

use std::{
    collections::VecDeque,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
};

use async_trait::async_trait;
use tokio::sync::watch;

use crate::{
    row::Row,
    statement::{Batch, Lane, Statement},
    store::{BackupError, CommitError, QueryError, Store},
};

/// What happens to a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing: it is committed. Puts off the faults planned after it.
    Pass,
    /// It is not committed: `Unavailable`.
    FailBefore,
    /// It is committed: `Unknown`.
    CommitThenUnknown,
    /// It is not committed: `Unknown`.
    LoseThenUnknown,
    /// It waits for [`FaultyStore::release`], then is committed.
    HoldBefore,
    /// It is committed, and its answer waits for [`FaultyStore::release`].
    HoldAnswer,
}

/// A store around another one.
#[derive(Debug)]
pub struct FaultyStore {
    inner: Arc<dyn Store>,
    plan: Mutex<VecDeque<(Option<Lane>, Fault)>>,
    unreachable: AtomicBool,
    /// How many batches are held.
    held: watch::Sender<usize>,
    /// How often everything held was released.
    released: watch::Sender<u64>,
}

impl FaultyStore {
    /// A store that does what `inner` does until it is told otherwise.
    pub fn new(inner: Arc<dyn Store>) -> Arc<Self> {
        Arc::new(Self {
            inner,
            plan: Mutex::default(),
            unreachable: AtomicBool::new(false),
            held: watch::Sender::new(0),
            released: watch::Sender::new(0),
        })
    }

    /// Plans `fault` for the next `times` batches of `lane`, or of any lane for `None`.
    pub fn plan(&self, lane: Option<Lane>, fault: Fault, times: usize) {
        self.planned().extend(std::iter::repeat_n((lane, fault), times));
    }

    /// Forgets what is planned.
    pub fn clear_plan(&self) {
        self.planned().clear();
    }

    /// While set, every commit and query is answered `Unavailable` at once.
    pub fn set_unreachable(&self, unreachable: bool) {
        self.unreachable.store(unreachable, Ordering::Release);
    }

    /// Lets everything go on that is held now.
    pub fn release(&self) {
        self.released.send_modify(|it| *it += 1);
    }

    /// How many batches are held now.
    pub fn held(&self) -> usize {
        *self.held.borrow()
    }

    /// Waits until at least so many batches are held.
    pub async fn wait_until_held(&self, count: usize) {
        let mut held = self.held.subscribe();
        held.wait_for(|it| *it >= count).await.expect("the sender is a field of self");
    }

    fn next_fault(&self, lane: Lane) -> Option<Fault> {
        let mut plan = self.planned();
        let place = plan.iter().position(|(it, _)| it.is_none_or(|it| it == lane))?;
        plan.remove(place).map(|(_, fault)| fault)
    }

    fn planned(&self) -> MutexGuard<'_, VecDeque<(Option<Lane>, Fault)>> {
        self.plan.lock().expect("no holder of this lock panics")
    }

    async fn hold(&self) {
        let mut released = self.released.subscribe();
        let before = *released.borrow();
        self.held.send_modify(|it| *it += 1);
        let counted = Held(&self.held);
        released.wait_for(|it| *it > before).await.expect("the sender is a field of self");
        drop(counted);
    }
}

/// Counts a held batch until it goes on, or whoever waits for it gives up.
struct Held<'a>(&'a watch::Sender<usize>);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|it| *it -= 1);
    }
}

#[async_trait]
impl Store for FaultyStore {
    async fn commit(&self, batch: Batch) -> Result<Vec<Vec<Row>>, CommitError> {
        let detail = "a planned fault".to_owned();
        if self.unreachable.load(Ordering::Acquire) {
            return Err(CommitError::Unavailable { detail });
        }
        match self.next_fault(batch.lane) {
            None | Some(Fault::Pass) => self.inner.commit(batch).await,
            Some(Fault::FailBefore) => Err(CommitError::Unavailable { detail }),
            Some(Fault::LoseThenUnknown) => Err(CommitError::Unknown { detail }),
            Some(Fault::CommitThenUnknown) => {
                self.inner.commit(batch).await?;
                Err(CommitError::Unknown { detail })
            }
            Some(Fault::HoldBefore) => {
                self.hold().await;
                self.inner.commit(batch).await
            }
            Some(Fault::HoldAnswer) => {
                let answer = self.inner.commit(batch).await;
                self.hold().await;
                answer
            }
        }
    }

    async fn query(&self, statement: Statement) -> Result<Vec<Row>, QueryError> {
        if self.unreachable.load(Ordering::Acquire) {
            return Err(QueryError::Unavailable { detail: "a planned fault".to_owned() });
        }
        self.inner.query(statement).await
    }

    async fn backup(&self, to: &Path) -> Result<(), BackupError> {
        self.inner.backup(to).await
    }

    async fn close(&self) {
        self.inner.close().await;
    }

    fn healthy(&self) -> bool {
        !self.unreachable.load(Ordering::Acquire) && self.inner.healthy()
    }
}
