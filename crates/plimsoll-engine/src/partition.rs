//! Partitions: each owns a part of the customers, in memory, and is the only one to change them.
//!
//! A customer's partition is a hash of its id. The owner of a partition takes requests in turn,
//! applies them to memory, and answers when what follows from them is durable: log rows,
//! notifications and deliveries, committed in one transaction (`owner`). When a commit fails or its
//! outcome is unknown, the memory is thrown away and rebuilt from checkpoint and log.
//!
//! Not here: reading requests (`ingest`), the rules (`plimsoll-core`), sending (`delivery`).

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
};

use async_trait::async_trait;
use plimsoll_core::{
    command::ControlCommand,
    ids::{CustomerId, EntitlementId, EnvironmentId},
    limits,
    time::Timestamp,
};
use plimsoll_store::{Batch, CommitError, Lane, Statement, control, notification};
use tokio::sync::{Mutex, mpsc, oneshot};

use crate::{
    delivery::{channels::ChannelRegistry, dispatcher::DispatcherHandle},
    deps::Deps,
    ingest::{Identify, body::BodyText},
    ops::{
        customer::Customer,
        port::{ChangeError, CustomerChange, PartitionPort, Standings, ValueError},
    },
    reads::usage::open::{CellsWanted, OpenScope},
};

mod archive;
mod body;
mod cells;
mod checkpoint;
mod dedupe;
mod documents;
mod gathered;
mod memory;
mod notice;
mod opening;
mod owner;
pub(crate) mod readings;
mod recovery;
mod standing;
pub(crate) mod uncounted_row;
pub mod usage_row;
mod waiting;

pub(crate) use checkpoint::HEAD;
pub(crate) use notice::{ORDINAL_BITS, rules_for};
pub use usage_row::IncomingEvent;

/// Counter: events that were accepted and move no meter, by reason.
const UNCOUNTED_EVENTS: &str = "plimsoll_events_uncounted_total";

/// The owners of all partitions. Cheap to clone.
#[derive(Clone)]
pub struct Partitions {
    shared: Arc<Shared>,
}

struct Shared {
    deps: Deps,
    owners: Vec<mpsc::Sender<Request>>,
    statuses: Arc<[AtomicU8]>,
    /// One change of the catalogue at a time.
    control: Mutex<()>,
}

/// What a partition is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Status {
    /// Rebuilding its memory.
    Recovering = 0,
    /// Taking requests.
    Running = 1,
    /// Stopped by a broken promise (an assertion): a human must look.
    Broken = 2,
}

/// Events of one request that belong to one partition.
#[derive(Debug)]
pub struct UsageRequest {
    /// Their environment.
    pub environment: EnvironmentId,
    /// The text that they stand in.
    pub body: BodyText,
    /// The events, in the order of the request.
    pub events: Vec<IncomingEvent>,
    /// Customers to be made for subjects that nobody knew.
    pub provisional: Vec<Customer>,
}

/// What became of the events of a [`UsageRequest`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UsageOutcome {
    /// Accepted, and durable.
    pub accepted: u64,
    /// Accepted before.
    pub duplicates: u64,
    /// Refused because their customer has been deleted: their places in the request.
    pub gone: Vec<u32>,
}

/// Why usage was not, or not for certain, accepted. Sending it again with the same ids is safe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UsageError {
    /// As many requests wait as may wait.
    #[error("too many requests are waiting")]
    Busy,
    /// The partition lost its memory or the database is away.
    #[error("the outcome is unknown; send it again with the same ids")]
    Retry,
}

enum Request {
    Usage(UsageRequest, oneshot::Sender<Result<UsageOutcome, UsageError>>),
    Change(CustomerChange, oneshot::Sender<Result<(), ChangeError>>),
    Read(Read),
    Settle(EnvironmentId, oneshot::Sender<Result<(), ValueError>>),
    Pause(Pause),
}

enum Read {
    Standings {
        environment: EnvironmentId,
        customer: CustomerId,
        entitlements: Vec<EntitlementId>,
        reply: oneshot::Sender<Result<Standings, ValueError>>,
    },
    HasUsage {
        environment: EnvironmentId,
        customer: CustomerId,
        reply: oneshot::Sender<Result<bool, ValueError>>,
    },
    Clock {
        environment: EnvironmentId,
        reply: oneshot::Sender<Result<Timestamp, ValueError>>,
    },
    Cells {
        wanted: CellsWanted,
        reply: oneshot::Sender<Result<Vec<OpenScope>, ValueError>>,
    },
}

/// Holds a partition between two commits while the catalogue changes.
struct Pause {
    /// Whose clock is going to be set, if one is.
    clock: Option<EnvironmentId>,
    paused: oneshot::Sender<Option<Shown>>,
    resume: oneshot::Receiver<Resume>,
}

/// What a partition knows of an environment's clock.
#[derive(Debug, Clone, Copy)]
struct Shown {
    has_events: bool,
    now: Timestamp,
}

/// Partitions that are held between two commits.
struct Paused {
    releases: Vec<oneshot::Sender<Resume>>,
    /// What those that are held know of the clock that was asked for.
    shown: Vec<Shown>,
}

/// How a paused partition goes on.
enum Resume {
    /// Nothing has changed.
    Unchanged,
    /// The catalogue has.
    Moved { seq: u64, command: ControlCommand },
    /// It may have: look.
    Unknown,
}

/// What the owners need beside the ports.
#[derive(Debug, Clone)]
pub struct PartitionsOptions {
    /// How many partitions the store was made with.
    pub count: u32,
    /// Computes the identities of events.
    pub identify: Identify,
    /// Where notifications go.
    pub channels: ChannelRegistry,
    /// Who sends them.
    pub dispatcher: DispatcherHandle,
}

impl Partitions {
    /// Starts an owner for each partition. Each recovers by itself; see [`Partitions::is_ready`].
    pub fn start(deps: &Deps, options: &PartitionsOptions) -> Self {
        let statuses: Arc<[AtomicU8]> =
            (0..options.count).map(|_| AtomicU8::new(Status::Recovering as u8)).collect();
        let owners = (0..options.count)
            .map(|partition| {
                let (requests, inbox) = mpsc::channel(limits::PARTITION_QUEUE);
                let owner = owner::Owner::new(deps, options, partition, inbox, statuses.clone());
                deps.tasks.spawn(owner.run());
                requests
            })
            .collect();
        let shared = Shared { deps: deps.clone(), owners, statuses, control: Mutex::new(()) };
        Self { shared: Arc::new(shared) }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.shared.owners.len()
    }

    /// Whether every partition takes requests.
    pub fn is_ready(&self) -> bool {
        self.shared.statuses.iter().all(|it| it.load(Ordering::Relaxed) == Status::Running as u8)
    }

    /// The partition that owns a customer.
    pub fn of(&self, customer: CustomerId) -> usize {
        partition_of(customer, self.shared.owners.len())
    }

    /// Hands usage to one partition; `Ok` means that what was accepted is durable.
    pub async fn usage(
        &self,
        partition: usize,
        request: UsageRequest,
    ) -> Result<UsageOutcome, UsageError> {
        let (reply, answer) = oneshot::channel();
        match self.owner(partition).try_send(Request::Usage(request, reply)) {
            Ok(()) => answer.await.unwrap_or(Err(UsageError::Retry)),
            Err(mpsc::error::TrySendError::Full(_)) => Err(UsageError::Busy),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(UsageError::Retry),
        }
    }

    fn owner(&self, partition: usize) -> &mpsc::Sender<Request> {
        self.shared.owners.get(partition).expect("`of` gives numbers below the count")
    }

    async fn read<T>(
        &self,
        partition: usize,
        request: impl FnOnce(oneshot::Sender<Result<T, ValueError>>) -> Read,
    ) -> Result<T, ValueError> {
        let (reply, answer) = oneshot::channel();
        let request = Request::Read(request(reply));
        match self.owner(partition).try_send(request) {
            Ok(()) => answer.await.unwrap_or_else(|_| {
                Err(ValueError::Unavailable { detail: "the partition is stopping".to_owned() })
            }),
            Err(mpsc::error::TrySendError::Full(_)) => Err(ValueError::Busy),
            Err(mpsc::error::TrySendError::Closed(_)) => {
                Err(ValueError::Unavailable { detail: "the partition has stopped".to_owned() })
            }
        }
    }

    /// Holds every partition between two commits. Those that are broken are left out.
    async fn pause(&self, clock: Option<EnvironmentId>) -> Paused {
        let mut waiting = Vec::with_capacity(self.count());
        for owner in &self.shared.owners {
            let (paused, ack) = oneshot::channel();
            let (release, resume) = oneshot::channel();
            if owner.send(Request::Pause(Pause { clock, paused, resume })).await.is_ok() {
                waiting.push((ack, release));
            }
        }
        let mut held = Paused { releases: Vec::with_capacity(waiting.len()), shown: Vec::new() };
        for (ack, release) in waiting {
            // An owner that loses its memory drops the request: it looks at the catalogue anyway.
            if let Ok(shown) = ack.await {
                held.releases.push(release);
                held.shown.extend(shown);
            }
        }
        held
    }

    /// Whether the clocks of all partitions may be set like this. A clock goes back only in an
    /// environment without events, and only if every partition says that it has none; and not over
    /// what was told: time that comes again would tell it again, with the same identity.
    async fn check_clock(
        &self,
        command: &ControlCommand,
        held: &Paused,
    ) -> Result<(), ChangeError> {
        let ControlCommand::SetClock { environment, now } = command else { return Ok(()) };
        if held.shown.len() < self.count() {
            let detail = "a partition does not answer".to_owned();
            return Err(ChangeError::Unavailable { detail });
        }
        let goes_back = held.shown.iter().any(|it| *now < it.now);
        if !goes_back {
            return Ok(());
        }
        let told = notification::any(&*self.shared.deps.store, *environment).await;
        let told = told.map_err(|it| ChangeError::Unavailable { detail: it.to_string() })?;
        if told || held.shown.iter().any(|it| it.has_events) {
            return Err(ChangeError::ClockBackwards);
        }
        Ok(())
    }
}

#[async_trait]
impl PartitionPort for Partitions {
    async fn change(&self, change: CustomerChange) -> Result<(), ChangeError> {
        let (reply, answer) = oneshot::channel();
        let owner = self.owner(self.of(change.customer));
        match owner.try_send(Request::Change(change, reply)) {
            Ok(()) => answer.await.unwrap_or_else(|_| {
                Err(ChangeError::Unknown { detail: "the partition stopped".to_owned() })
            }),
            Err(mpsc::error::TrySendError::Full(_)) => Err(ChangeError::Busy),
            Err(mpsc::error::TrySendError::Closed(_)) => {
                Err(ChangeError::Unavailable { detail: "the partition has stopped".to_owned() })
            }
        }
    }

    async fn control(
        &self,
        command: Option<ControlCommand>,
        mut statements: Vec<Statement>,
    ) -> Result<(), ChangeError> {
        let _serial = self.shared.control.lock().await;
        let store = &self.shared.deps.store;
        let Some(command) = command else {
            store.commit(Batch::new(Lane::Control, statements)).await.map_err(change_error)?;
            return Ok(());
        };
        let now = self.shared.deps.clock.now();
        let clock = match &command {
            ControlCommand::SetClock { environment, .. } => Some(*environment),
            _ => None,
        };
        let held = self.pause(clock).await;
        if let Err(refused) = self.check_clock(&command, &held).await {
            for release in held.releases {
                drop(release.send(Resume::Unchanged));
            }
            return Err(refused);
        }
        statements.extend(control::append(now, command.encode().into()));
        let bump = statements.len() - 2;
        let outcome = store.commit(Batch::new(Lane::Control, statements)).await;
        let seq = outcome.as_ref().ok().and_then(|rows| rows.get(bump)?.first()?.get_int(0).ok());
        for release in held.releases {
            let resume = match (&outcome, seq) {
                (Ok(_), Some(seq)) => Resume::Moved { seq: seq as u64, command: command.clone() },
                (Err(CommitError::Refused { .. } | CommitError::Unavailable { .. }), _) => {
                    Resume::Unchanged
                }
                (Err(CommitError::Unknown { .. }) | Ok(_), _) => Resume::Unknown,
            };
            // An owner that has gone meanwhile reads the catalogue when it comes back.
            drop(release.send(resume));
        }
        outcome.map(drop).map_err(change_error)
    }

    async fn standings(
        &self,
        environment: EnvironmentId,
        customer: CustomerId,
        entitlements: Vec<EntitlementId>,
    ) -> Result<Standings, ValueError> {
        let read = |reply| Read::Standings { environment, customer, entitlements, reply };
        self.read(self.of(customer), read).await
    }

    async fn has_usage(
        &self,
        environment: EnvironmentId,
        customer: CustomerId,
    ) -> Result<bool, ValueError> {
        let read = |reply| Read::HasUsage { environment, customer, reply };
        self.read(self.of(customer), read).await
    }

    async fn settle(&self, environment: EnvironmentId) -> Result<(), ValueError> {
        let mut answers = Vec::with_capacity(self.count());
        for owner in &self.shared.owners {
            let (reply, answer) = oneshot::channel();
            // An owner that has stopped drops the request, and with it the reply.
            drop(owner.send(Request::Settle(environment, reply)).await);
            answers.push(answer);
        }
        let stopped = || ValueError::Unavailable { detail: "a partition has stopped".to_owned() };
        for answer in answers {
            answer.await.unwrap_or_else(|_| Err(stopped()))?;
        }
        Ok(())
    }
}

/// Which of so many partitions owns a customer. It never changes: the log depends on it.
pub(crate) fn partition_of(customer: CustomerId, count: usize) -> usize {
    let bits = customer.bits();
    let mixed = ((bits >> 64) as u64 ^ bits as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 32) as usize % count
}

fn change_error(error: CommitError) -> ChangeError {
    match error {
        CommitError::Refused { statement, refusal } => ChangeError::Refused { statement, refusal },
        CommitError::Unavailable { detail } => ChangeError::Unavailable { detail },
        CommitError::Unknown { detail } => ChangeError::Unknown { detail },
    }
}

impl fmt::Debug for Partitions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Partitions").field("count", &self.count()).finish_non_exhaustive()
    }
}
