//! The owner of one partition: takes requests in turn, commits what follows, then answers.
//!
//! The loop is serial. It gathers what waits, applies all of it to memory, commits once, answers
//! everybody. While a commit is under way nothing else is applied, so memory is ahead of the disk
//! by exactly that batch and nobody can see it. After a commit that failed or whose outcome is
//! unknown the memory is dropped and rebuilt before the next answer.
//!
//! Not here: what applying means (`memory`, `plimsoll-core`).

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use plimsoll_core::{command::ControlCommand, limits};
use plimsoll_store::{
    Batch, CommitError, Lane, Refusal, Statement, control, dedupe, delivery, log, notification,
};
use tokio::sync::mpsc;

use super::{
    PartitionsOptions, Pause, Request, Resume, Shown, Status,
    checkpoint::Checkpointer,
    dedupe::LookupError,
    documents::Documents,
    gathered::{self, Gathered},
    memory::{Memory, Work},
    notice::{Happenings, Notifier},
    opening,
    recovery::{self, Recovered, RecoveryError},
    waiting::Waiting,
};
use crate::{delivery::dispatcher::Outbound, deps::Deps};

/// How long an idle partition waits before it writes a checkpoint.
const IDLE_CHECKPOINT: Duration = Duration::from_secs(10);
/// The longest wait for something that is due, so that a machine's clock that was set is noticed.
const LONGEST_SLEEP: Duration = Duration::from_mins(1);
/// How long to wait before recovering again when the store did not answer.
const RECOVERY_PAUSE: Duration = Duration::from_millis(200);

/// Owns one partition until it is told to stop.
pub(super) struct Owner {
    deps: Deps,
    options: PartitionsOptions,
    partition: u32,
    inbox: mpsc::Receiver<Request>,
    statuses: Arc<[AtomicU8]>,
    /// Requests of a batch that was refused for certain: to be taken again.
    again: Gathered,
    /// Whether those are to be taken one at a time, to find out which one was refused.
    isolate: bool,
    /// Requests for environments in which something is still due before them.
    waiting: Waiting,
}

/// The parts that are lost together.
struct Held {
    memory: Memory,
    checkpointer: Checkpointer,
    documents: Documents,
    missing_control: Vec<(u64, ControlCommand)>,
}

/// Why a batch is not durable.
enum Failure {
    /// Nothing was written, for certain, and why.
    Refused { statement: &'static str, refusal: Refusal },
    /// Nothing can be said, or nothing can be written now.
    Lost { certain: bool, detail: String },
    /// What is stored cannot be understood.
    Corrupt { detail: String },
}

/// Why the serving loop ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Stopped,
    MemoryLost,
    Broken,
}

impl Owner {
    pub(super) fn new(
        deps: &Deps,
        options: &PartitionsOptions,
        partition: u32,
        inbox: mpsc::Receiver<Request>,
        statuses: Arc<[AtomicU8]>,
    ) -> Self {
        Self {
            deps: deps.clone(),
            options: options.clone(),
            partition,
            inbox,
            statuses,
            again: Gathered::default(),
            isolate: false,
            waiting: Waiting::default(),
        }
    }

    pub(super) async fn run(mut self) {
        loop {
            self.set_status(Status::Recovering);
            let Some(mut held) = self.recover().await else { break };
            self.set_status(Status::Running);
            match self.serve(&mut held).await {
                End::Stopped => return,
                End::MemoryLost => {}
                End::Broken => break,
            }
        }
        self.set_status(if self.deps.tasks.is_stopping() {
            Status::Recovering
        } else {
            Status::Broken
        });
        self.refuse_until_stopped().await;
    }

    fn since(&self, started: Duration) -> Duration {
        self.deps.clock.elapsed().saturating_sub(started)
    }

    fn set_status(&self, status: Status) {
        if let Some(slot) = self.statuses.get(self.partition as usize) {
            slot.store(status as u8, Ordering::Relaxed);
        }
    }

    /// Rebuilds the memory, however long the store takes to come back; nothing when told to stop,
    /// or when what is stored cannot be understood.
    async fn recover(&mut self) -> Option<Held> {
        let started = self.deps.clock.elapsed();
        loop {
            let (store, now) = (&*self.deps.store, self.deps.clock.now());
            let identify = &self.options.identify;
            let bytes = limits::DEDUPE_MEMORY / self.options.count.max(1) as usize;
            match recovery::recover(store, self.partition, identify, bytes, now).await {
                Ok(Recovered { memory, checkpointer, missing_control }) => {
                    let duration_ms = self.since(started).as_millis() as u64;
                    tracing::debug!(
                        partition = self.partition,
                        position = memory.position,
                        customers = memory.state.customer_count(),
                        duration_ms,
                        "partition recovered"
                    );
                    let documents = Documents::default();
                    return Some(Held { memory, checkpointer, documents, missing_control });
                }
                Err(error @ (RecoveryError::Read(_) | RecoveryError::Commit(_))) => {
                    let partition = self.partition;
                    tracing::warn!(partition, %error, "recovery waits for the store");
                    self.again.fail("the database is away");
                    if !self.refuse_for(RECOVERY_PAUSE).await {
                        return None;
                    }
                }
                Err(error) => {
                    tracing::error!(partition = self.partition, %error, "partition cannot recover");
                    return None;
                }
            }
        }
    }

    /// Answers requests with "not now" for a while; false when told to stop.
    async fn refuse_for(&mut self, pause: Duration) -> bool {
        let mut pause = self.deps.clock.sleep(pause);
        let stopping = self.deps.tasks.stopping();
        tokio::pin!(stopping);
        loop {
            tokio::select! {
                biased;
                () = &mut pause => return true,
                () = &mut stopping => return false,
                request = self.inbox.recv() => match request {
                    Some(request) => gathered::refuse(request),
                    None => return false,
                },
            }
        }
    }

    async fn refuse_until_stopped(&mut self) {
        self.again.fail("the partition has stopped");
        self.waiting.fail("the partition has stopped");
        while self.refuse_for(Duration::from_mins(1)).await {}
        self.inbox.close();
        while let Ok(request) = self.inbox.try_recv() {
            gathered::refuse(request);
        }
    }

    async fn serve(&mut self, held: &mut Held) -> End {
        loop {
            let Some(mut turn) = self.gather(held).await else {
                return self.finish(held).await;
            };
            let pause = turn.pause.take();
            let end = self.turn(held, turn).await;
            if let Some(end) = end {
                return end;
            }
            if let Some(pause) = pause
                && let Some(end) = self.pause(held, pause).await
            {
                return end;
            }
        }
    }

    /// Waits for something to do and takes all that waits, up to a bound; nothing when it is time
    /// to stop.
    async fn gather(&mut self, held: &mut Held) -> Option<Gathered> {
        if let Some(turn) = self.take_again() {
            return Some(turn);
        }
        let mut turn = Gathered::default();
        let busy = !held.missing_control.is_empty()
            || held.memory.state.due_slice().is_some()
            || held.checkpointer.in_round()
            || held.memory.dedupe.is_working()
            || !self.waiting.is_empty();
        let behind = held.checkpointer.is_behind(&held.memory);
        let idle = self.idle_time(held, behind);
        let waits = !busy && idle != Some(Duration::ZERO);
        if waits {
            let idle = idle.map(|it| self.deps.clock.sleep(it));
            let idle = futures_util::future::OptionFuture::from(idle);
            tokio::select! {
                biased;
                request = self.inbox.recv() => {
                    turn.add(request?);
                    // The first of many that have arrived together wakes the owner: the others
                    // come in before it begins, and share its commit.
                    tokio::task::yield_now().await;
                }
                () = self.deps.tasks.stopping() => return None,
                Some(()) = idle => {}
            }
        } else if self.deps.tasks.is_stopping() {
            return None;
        }
        while turn.events < limits::COMMIT_EVENTS && turn.pause.is_none() {
            match self.inbox.try_recv() {
                Ok(request) => turn.add(request),
                Err(_) => break,
            }
        }
        Some(turn)
    }

    /// How long there is nothing to do by itself, if ever there will be: until something is due, or
    /// until it is time to make the next start short.
    fn idle_time(&self, held: &mut Held, behind: bool) -> Option<Duration> {
        let now = self.deps.clock.now();
        if held.memory.state.due_pulse(now).is_some() {
            return Some(Duration::ZERO);
        }
        let due = held.memory.state.next_due().map(|it| {
            let left_ms = it.ms_since(now).max(1);
            // The clock may be set: look again now and then.
            Duration::from_millis(left_ms as u64).min(LONGEST_SLEEP)
        });
        let checkpoint = behind.then_some(IDLE_CHECKPOINT);
        due.into_iter().chain(checkpoint).min()
    }

    /// What was refused before: all of it, or one request if one of them is to blame.
    fn take_again(&mut self) -> Option<Gathered> {
        if self.again.is_empty() && !self.again.asks() {
            self.isolate = false;
            return None;
        }
        if !self.isolate {
            return Some(std::mem::take(&mut self.again));
        }
        Some(self.again.take_one())
    }

    /// One turn: apply, commit, answer.
    async fn turn(&mut self, held: &mut Held, mut turn: Gathered) -> Option<End> {
        let now = self.deps.clock.now();
        let idle = turn.is_empty() && !turn.asks();
        if let Err(failure) = self.prepare(held, &turn, now).await {
            return Some(self.not_committed(turn, failure));
        }
        let memory = &mut held.memory;
        let mut work = Work::default();
        for (seq, command) in std::mem::take(&mut held.missing_control) {
            memory.control(&mut work, now, seq, command);
        }
        let unsettled = memory.settle_set_clocks(&mut work, now);
        self.waiting.exchange(&mut turn, &unsettled);
        let late = memory.late_windows(&turn.usage);
        if let Err(error) = work.archive.load_windows(&*self.deps.store, late).await {
            return Some(self.not_committed(turn, lost(&error)));
        }
        let filled = opening::fill_all(&*self.deps.store, &memory.state, &mut turn.changes, now);
        if let Err(error) = filled.await {
            return Some(self.not_committed(turn, lost(&error)));
        }
        for (change, _) in &turn.changes {
            memory.change(&mut work, now, change);
        }
        let outcomes = memory.usage(&mut work, now, &turn.usage);
        memory.slice(&mut work, now, &unsettled);
        memory.pulse(&mut work, now);
        held.checkpointer.note(work.events);
        held.checkpointer.begin_if_due(memory);
        let is_idle = idle && work.rows.is_empty() && !memory.dedupe.is_working();
        if is_idle && held.checkpointer.is_behind(memory) {
            // Nothing happens: a good time to make the next start short.
            if !held.checkpointer.in_round() {
                held.checkpointer.begin(memory);
            }
        }
        let outbound = match self.commit(held, work).await {
            Ok(outbound) => outbound,
            Err(failure) => return Some(self.not_committed(turn, failure)),
        };
        self.options.dispatcher.offer(outbound);
        gathered::answer(&held.memory.state, turn, outcomes, now);
        held.documents.trim();
        None
    }

    /// Finds out what must be known before usage can be applied without waiting.
    async fn prepare(
        &self,
        held: &mut Held,
        turn: &Gathered,
        now: plimsoll_core::time::Timestamp,
    ) -> Result<(), Failure> {
        let Memory { dedupe, position, .. } = &mut held.memory;
        dedupe.set_time(now);
        // What waits may be let go in this turn: nothing is known of it any more.
        let usage = || self.waiting.usage().iter().chain(&turn.usage);
        let events = usage().flat_map(|it| &it.events);
        let count = usage().map(|it| it.events.len()).sum();
        let store = &*self.deps.store;
        dedupe.make_room(store, count, *position).await?;
        dedupe.look_up(store, events.map(|it| it.identity)).await?;
        Ok(())
    }

    /// What is written beside usage: the next piece of a checkpoint and of the sealed identities.
    async fn beside_usage(&self, held: &mut Held) -> Result<Vec<Statement>, Failure> {
        let mut statements = held.checkpointer.step(&held.memory);
        let Memory { dedupe, position, .. } = &mut held.memory;
        let stretch = dedupe.read_stretch(&*self.deps.store).await?;
        statements.extend(dedupe.step(stretch, *position));
        Ok(statements)
    }

    /// Commits a turn's work with everything that follows from it.
    async fn commit(&self, held: &mut Held, work: Work) -> Result<Vec<Outbound>, Failure> {
        let checkpoint = self.beside_usage(held).await?;
        if work.rows.is_empty() && work.statements.is_empty() {
            if !checkpoint.is_empty() {
                self.execute(Batch::new(Lane::Checkpoint, checkpoint)).await?;
            }
            return Ok(Vec::new());
        }
        held.documents.put(work.documents);
        let store = &*self.deps.store;
        let mut happenings = Happenings { crossings: work.crossings, resets: work.resets };
        happenings.keep_wanted(held.memory.state.catalog(), &self.options.channels);
        let needed = happenings.needed_documents();
        held.documents.load(store, needed).await.map_err(|error| lost(&error))?;
        let archive = work.archive.into_statements(store, self.partition).await;
        let archive = archive.map_err(|error| lost(&error))?;
        let catalog = held.memory.state.catalog();
        let notices = Notifier {
            catalog,
            documents: &held.documents,
            channels: &self.options.channels,
            random: &*self.deps.random,
            now: self.deps.clock.now(),
        }
        .notices_of(&happenings);
        let mut statements = vec![control::guard(catalog.seq() as i64)];
        statements.extend(log::append(work.rows));
        statements.extend(work.statements);
        statements.extend(archive);
        statements.extend(notification::insert(notices.notifications));
        statements.extend(delivery::insert(notices.deliveries));
        statements.extend(checkpoint);
        self.execute(Batch::new(Lane::Log, statements)).await?;
        Ok(notices.outbound)
    }

    async fn execute(&self, batch: Batch) -> Result<(), Failure> {
        self.deps.store.commit(batch).await?;
        Ok(())
    }

    /// The memory is ahead of a batch that is not on the disk, or may not be. It cannot be kept.
    fn not_committed(&mut self, mut turn: Gathered, failure: Failure) -> End {
        match failure {
            Failure::Lost { certain, detail } => {
                tracing::warn!(partition = self.partition, certain, %detail, "commit failed");
                turn.fail_as(certain, &detail);
            }
            Failure::Corrupt { detail } => {
                tracing::error!(partition = self.partition, %detail, "the partition stops");
                turn.fail("the partition has stopped");
                return End::Broken;
            }
            Failure::Refused { statement: notification::INSERT, refusal } => {
                tracing::error!(
                    partition = self.partition,
                    %refusal,
                    "a notification exists already: the partition stops"
                );
                turn.fail("the partition has stopped");
                return End::Broken;
            }
            Failure::Refused {
                statement: statement @ (log::APPEND | control::GUARD | dedupe::BEGIN),
                ..
            } => {
                // Someone else has written: look at what, then do the same again.
                tracing::info!(partition = self.partition, statement, "partition was overtaken");
                self.again.append(turn);
            }
            Failure::Refused { statement, refusal } => {
                tracing::debug!(partition = self.partition, statement, %refusal, "batch refused");
                if turn.requests() == 1 {
                    turn.refuse(statement, &refusal);
                } else {
                    self.again.append(turn);
                    self.isolate = true;
                }
            }
        }
        End::MemoryLost
    }

    /// Waits while the catalogue changes.
    async fn pause(&mut self, held: &mut Held, pause: Pause) -> Option<End> {
        let state = &held.memory.state;
        let shown = pause.clock.map(|it| Shown {
            has_events: state.has_events(it),
            now: state.stamp(it, self.deps.clock.now()),
        });
        if pause.paused.send(shown).is_err() {
            return None;
        }
        match pause.resume.await {
            Ok(Resume::Unchanged) => None,
            Ok(Resume::Moved { seq, command }) if seq == held.memory.state.catalog().seq() + 1 => {
                held.missing_control.push((seq, command));
                None
            }
            Ok(Resume::Moved { .. } | Resume::Unknown) | Err(_) => Some(End::MemoryLost),
        }
    }

    /// Takes what still waits, then leaves a checkpoint without a tail behind.
    async fn finish(&mut self, held: &mut Held) -> End {
        self.inbox.close();
        loop {
            let mut turn = Gathered::default();
            while let Ok(request) = self.inbox.try_recv() {
                turn.add(request);
            }
            if turn.is_empty() && !turn.asks() {
                break;
            }
            turn.pause = None;
            if self.turn(held, turn).await.is_some() {
                self.again.fail("the partition is stopping");
                self.waiting.fail("the partition is stopping");
                return End::Stopped;
            }
        }
        self.waiting.fail("the partition is stopping");
        if held.checkpointer.is_behind(&held.memory) {
            held.checkpointer.begin(&mut held.memory);
        }
        while held.checkpointer.in_round() {
            let committed = match self.beside_usage(held).await {
                Ok(step) => self.execute(Batch::new(Lane::Checkpoint, step)).await,
                Err(failure) => Err(failure),
            };
            if committed.is_err() {
                tracing::warn!(partition = self.partition, "no checkpoint: the next start replays");
                break;
            }
        }
        End::Stopped
    }
}

impl From<CommitError> for Failure {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Refused { statement, refusal } => Self::Refused { statement, refusal },
            CommitError::Unavailable { detail } => Self::Lost { certain: true, detail },
            CommitError::Unknown { detail } => Self::Lost { certain: false, detail },
        }
    }
}

impl From<LookupError> for Failure {
    fn from(error: LookupError) -> Self {
        let detail = error.to_string();
        match error {
            LookupError::Read(_) => Self::Lost { certain: true, detail },
            LookupError::Corrupt(_) => Self::Corrupt { detail },
        }
    }
}

/// Nothing was written, because something could not be read.
fn lost(error: &dyn std::error::Error) -> Failure {
    Failure::Lost { certain: true, detail: error.to_string() }
}
