//! The store of a simulation: a database in memory behind a disk that is slow, fails and crashes.
//!
//! What is applied to the database is durable. A batch is under way for a while before it is
//! applied and for a while before that is told; a crash between finds it made or lost, as the dice
//! say. So a tail is lost only as far as nobody was told of it.
//!
//! Not here: which faults come when (`weather`), SQL (`plimsoll-store`).

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Poll, Waker},
    time::Duration,
};

use async_trait::async_trait;
use plimsoll_engine::deps::Clock as _;
use plimsoll_store::{
    BackupError, Batch, CommitError, MemoryStore, QueryError, Row, Statement, Store,
};

use crate::{
    clock::VirtualClock,
    random::Dice,
    trace::Trace,
    weather::{Fate, Weather},
};

type Rows = Vec<Vec<Row>>;

/// The disk and the database on it, which outlive the processes that use them.
#[derive(Debug)]
pub struct SimStore {
    database: MemoryStore,
    clock: VirtualClock,
    trace: Trace,
    shared: Mutex<Shared>,
}

#[derive(Debug)]
struct Shared {
    dice: Dice,
    weather: Weather,
    under_way: BTreeMap<u64, (Batch, Fate)>,
    /// Batches whose outcome was told as unknown and that will be made at this time.
    late: BTreeMap<(Duration, u64), Batch>,
    next: u64,
    /// Batches that were made late since somebody asked.
    made_late: u64,
    /// The process has crashed: nothing that it says reaches the disk any more.
    is_dead: bool,
    mourner: Option<Waker>,
}

impl SimStore {
    /// An empty database in calm weather.
    pub fn new(
        database: MemoryStore,
        clock: &VirtualClock,
        trace: &Trace,
        dice: Dice,
    ) -> Arc<Self> {
        let shared = Shared {
            dice,
            weather: Weather::CALM,
            under_way: BTreeMap::new(),
            late: BTreeMap::new(),
            next: 0,
            made_late: 0,
            is_dead: false,
            mourner: None,
        };
        let (clock, trace) = (clock.clone(), trace.clone());
        Arc::new(Self { database, clock, trace, shared: Mutex::new(shared) })
    }

    /// What is durable, without a wait and without faults.
    pub fn database(&self) -> &MemoryStore {
        &self.database
    }

    /// From now on it is as `weather` says.
    pub fn set_weather(&self, weather: Weather) {
        self.lock().weather = weather;
    }

    /// The process is gone: what was under way is made or lost, as the dice say.
    pub fn crash(&self) {
        let mut shared = self.lock();
        if std::mem::replace(&mut shared.is_dead, true) {
            return;
        }
        let under_way = std::mem::take(&mut shared.under_way);
        let late = std::mem::take(&mut shared.late);
        let mourner = shared.mourner.take();
        let under_way = under_way.into_iter().map(|(ticket, (batch, _))| (ticket, batch));
        let late = late.into_iter().map(|((_, ticket), batch)| (ticket, batch));
        for (ticket, batch) in under_way.chain(late) {
            let is_made = shared.dice.percent(50);
            let made = is_made && self.database.commit_now(&batch).is_ok();
            self.trace.note(format_args!("disk: crash finds commit {ticket} made: {made}"));
        }
        drop(shared);
        mourner.into_iter().for_each(Waker::wake);
    }

    /// A new process uses the disk.
    pub fn revive(&self) {
        let mut shared = self.lock();
        shared.is_dead = false;
        shared.weather = Weather::CALM;
    }

    /// Resolves when the process has crashed.
    pub async fn crashed(&self) {
        std::future::poll_fn(|cx| {
            let mut shared = self.lock();
            if shared.is_dead {
                return Poll::Ready(());
            }
            shared.mourner = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Makes what was told as unknown and is due by now. Says how many were made so since the last
    /// time that this was asked.
    pub fn settle_late(&self) -> u64 {
        self.make_late();
        std::mem::take(&mut self.lock().made_late)
    }

    /// Whether a batch is going to be made after its outcome was told as unknown.
    pub fn expects_late(&self) -> bool {
        let shared = self.lock();
        let is_late = |(_, fate): &(Batch, Fate)| *fate == Fate::UnknownLate;
        !shared.late.is_empty() || shared.under_way.values().any(is_late)
    }

    fn make_late(&self) {
        let mut shared = self.lock();
        let now = self.clock.elapsed();
        while let Some(entry) = shared.late.first_entry().filter(|it| it.key().0 <= now) {
            let ((_, ticket), batch) = entry.remove_entry();
            let outcome = self.database.commit_now(&batch).map(drop);
            shared.made_late += u64::from(outcome.is_ok());
            self.trace.note(format_args!("disk: commit {ticket} made late: {outcome:?}"));
        }
    }

    /// Takes a batch on, and says how long until it is applied.
    fn take(&self, batch: Batch) -> (u64, Fate, Duration) {
        let mut shared = self.lock();
        let Shared { dice, weather, .. } = &mut *shared;
        let fate = weather.fate_of(&batch, dice, self.clock.elapsed());
        let wait = weather.wait(dice);
        shared.next += 1;
        let ticket = shared.next;
        let (lane, count) = (batch.lane, batch.statements.len());
        let first =
            batch.statements.get(1).or_else(|| batch.statements.first()).map_or("", |it| it.name);
        self.trace.note(format_args!(
            "disk: commit {ticket} {lane:?} of {count}, {first}: {fate:?} after {wait:?}"
        ));
        shared.under_way.insert(ticket, (batch, fate));
        (ticket, fate, wait)
    }

    /// Applies a batch or does not, as its fate says; nothing if the process is gone.
    fn land(&self, ticket: u64, fate: Fate) -> Option<Result<Rows, CommitError>> {
        self.make_late();
        if fate == Fate::CrashBefore {
            self.crash();
        }
        let mut shared = self.lock();
        if shared.is_dead {
            return None;
        }
        let (batch, _) = shared.under_way.remove(&ticket)?;
        let detail = "simulated".to_owned();
        let answer = match fate {
            Fate::Unavailable => Err(CommitError::Unavailable { detail }),
            Fate::UnknownLost => Err(CommitError::Unknown { detail }),
            Fate::UnknownLate => {
                let due = self.clock.elapsed() + Duration::from_micros(shared.dice.below(400_000));
                shared.late.insert((due, ticket), batch);
                Err(CommitError::Unknown { detail })
            }
            Fate::UnknownMade => match self.database.commit_now(&batch) {
                Ok(_) => Err(CommitError::Unknown { detail }),
                Err(error) => Err(error),
            },
            Fate::Made | Fate::CrashBefore | Fate::CrashAfter => self.database.commit_now(&batch),
        };
        drop(shared);
        if let Err(error) = &answer {
            self.trace.note(format_args!("disk: commit {ticket} fails: {error}"));
        }
        if fate == Fate::CrashAfter {
            self.crash();
        }
        Some(answer)
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the read fails, how long it takes, and whether it looks before that or after.
    fn read_plan(&self) -> (bool, Duration, bool) {
        let mut shared = self.lock();
        let Shared { dice, weather, .. } = &mut *shared;
        let fails = weather.fails_read(dice, self.clock.elapsed());
        (fails, Duration::from_micros(dice.below(800)), dice.percent(50))
    }
}

#[async_trait]
impl Store for SimStore {
    async fn commit(&self, batch: Batch) -> Result<Rows, CommitError> {
        let (ticket, fate, wait) = self.take(batch);
        self.clock.sleep(wait).await;
        let Some(answer) = self.land(ticket, fate) else { return std::future::pending().await };
        let wait = self.read_plan().1;
        self.clock.sleep(wait).await;
        if self.lock().is_dead {
            return std::future::pending().await;
        }
        answer
    }

    async fn query(&self, statement: Statement) -> Result<Vec<Row>, QueryError> {
        self.make_late();
        let (fails, wait, is_early) = self.read_plan();
        let early = is_early.then(|| self.database.query_now(&statement));
        self.clock.sleep(wait).await;
        if fails {
            return Err(QueryError::Unavailable { detail: "simulated".to_owned() });
        }
        early.unwrap_or_else(|| self.database.query_now(&statement))
    }

    async fn backup(&self, to: &Path) -> Result<(), BackupError> {
        self.database.backup(to).await
    }

    /// Does nothing: the next process goes on with the database.
    async fn close(&self) {}

    fn healthy(&self) -> bool {
        true
    }
}
