//! What one turn of an owner works on: the requests that it gathered, and how they are answered.
//!
//! Not here: what becomes of them (`memory`), when they are taken and committed (`owner`).

use plimsoll_core::{ids::EnvironmentId, limits, state::State, time::Timestamp};
use plimsoll_store::Refusal;
use tokio::sync::oneshot;

use super::{Pause, Read, Request, UsageError, UsageOutcome, UsageRequest, cells, standing};
use crate::ops::port::{ChangeError, CustomerChange, ValueError};

pub(super) type UsageReply = oneshot::Sender<Result<UsageOutcome, UsageError>>;
pub(super) type ChangeReply = oneshot::Sender<Result<(), ChangeError>>;
pub(super) type SettleReply = oneshot::Sender<Result<(), ValueError>>;

/// What one turn of the loop works on.
#[derive(Default)]
pub(super) struct Gathered {
    pub(super) usage: Vec<UsageRequest>,
    pub(super) usage_replies: Vec<UsageReply>,
    pub(super) changes: Vec<(CustomerChange, ChangeReply)>,
    pub(super) settles: Vec<(EnvironmentId, SettleReply)>,
    pub(super) reads: Vec<Read>,
    pub(super) pause: Option<Pause>,
    pub(super) events: usize,
}

impl Gathered {
    pub(super) fn add(&mut self, request: Request) {
        match request {
            Request::Usage(usage, reply) => {
                self.events += usage.events.len().max(1);
                self.usage.push(usage);
                self.usage_replies.push(reply);
            }
            Request::Change(change, reply) => {
                self.events += 1;
                self.changes.push((change, reply));
            }
            Request::Read(read) => self.reads.push(read),
            Request::Settle(environment, reply) => self.settles.push((environment, reply)),
            Request::Pause(pause) => self.pause = Some(pause),
        }
    }

    pub(super) fn append(&mut self, other: Self) {
        self.usage.extend(other.usage);
        self.usage_replies.extend(other.usage_replies);
        self.changes.extend(other.changes);
        self.settles.extend(other.settles);
        self.reads.extend(other.reads);
        self.events += other.events;
    }

    /// Takes over what belongs to no environment.
    pub(super) fn take_rest(&mut self, other: Self) {
        self.reads.extend(other.reads);
        self.pause = self.pause.take().or(other.pause);
    }

    /// Requests that write.
    pub(super) fn requests(&self) -> usize {
        self.usage.len() + self.changes.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.requests() == 0
    }

    /// Whether it has requests that write nothing.
    pub(super) fn asks(&self) -> bool {
        !self.reads.is_empty() || !self.settles.is_empty()
    }

    pub(super) fn take_one(&mut self) -> Self {
        let mut one = Self::default();
        if let Some(change) = self.changes.pop() {
            one.changes.push(change);
        } else if let (Some(usage), Some(reply)) = (self.usage.pop(), self.usage_replies.pop()) {
            one.usage.push(usage);
            one.usage_replies.push(reply);
        }
        if self.is_empty() {
            one.reads = std::mem::take(&mut self.reads);
            one.settles = std::mem::take(&mut self.settles);
        }
        one
    }

    /// Nothing of this was written, or it is not known.
    pub(super) fn fail_as(&mut self, certain: bool, detail: &str) {
        for reply in self.usage_replies.drain(..) {
            drop(reply.send(Err(UsageError::Retry)));
        }
        for (_, reply) in self.changes.drain(..) {
            let detail = detail.to_owned();
            drop(reply.send(Err(if certain {
                ChangeError::Unavailable { detail }
            } else {
                ChangeError::Unknown { detail }
            })));
        }
        for (_, reply) in self.settles.drain(..) {
            let detail = detail.to_owned();
            drop(reply.send(Err(ValueError::Unavailable { detail })));
        }
        for read in self.reads.drain(..) {
            read.fail(detail);
        }
        *self = Self { pause: self.pause.take(), ..Self::default() };
    }

    pub(super) fn fail(&mut self, detail: &str) {
        self.fail_as(true, detail);
    }

    /// The one request in here was refused.
    pub(super) fn refuse(&mut self, statement: &'static str, refusal: &Refusal) {
        for reply in self.usage_replies.drain(..) {
            drop(reply.send(Err(UsageError::Retry)));
        }
        for (_, reply) in self.changes.drain(..) {
            let refusal = refusal.clone();
            drop(reply.send(Err(ChangeError::Refused { statement, refusal })));
        }
        for (_, reply) in self.settles.drain(..) {
            let detail = "the partition is being rebuilt".to_owned();
            drop(reply.send(Err(ValueError::Unavailable { detail })));
        }
        for read in self.reads.drain(..) {
            read.fail("the partition is being rebuilt");
        }
        *self = Self::default();
    }
}

impl Read {
    pub(super) fn fail(self, detail: &str) {
        let error = ValueError::Unavailable { detail: detail.to_owned() };
        // Whoever asked may have gone.
        match self {
            Self::Standings { reply, .. } => drop(reply.send(Err(error))),
            Self::HasUsage { reply, .. } => drop(reply.send(Err(error))),
            Self::Clock { reply, .. } => drop(reply.send(Err(error))),
            Self::Cells { reply, .. } => drop(reply.send(Err(error))),
        }
    }
}

/// Answers everybody, now that what they see is durable.
pub(super) fn answer(state: &State, turn: Gathered, outcomes: Vec<UsageOutcome>, now: Timestamp) {
    for (reply, outcome) in turn.usage_replies.into_iter().zip(outcomes) {
        drop(reply.send(Ok(outcome)));
    }
    for (_, reply) in turn.changes {
        drop(reply.send(Ok(())));
    }
    for (_, reply) in turn.settles {
        drop(reply.send(Ok(())));
    }
    for read in turn.reads {
        match read {
            Read::Standings { environment, customer, entitlements, reply } => {
                let asked = (environment, customer, &entitlements[..]);
                drop(reply.send(Ok(standing::standings(state, asked, now))));
            }
            Read::HasUsage { environment, customer, reply } => {
                let now = state.stamp(environment, now);
                let last = state.last_usage_at(customer);
                let is_recent = |it| now.ms_since(it) <= limits::DEDUPE_WINDOW_MS;
                drop(reply.send(Ok(last.is_some_and(is_recent))));
            }
            Read::Clock { environment, reply } => {
                drop(reply.send(Ok(state.stamp(environment, now))));
            }
            Read::Cells { wanted, reply } => {
                drop(reply.send(Ok(cells::open_cells(state, &wanted))));
            }
        }
    }
}

/// Answers a request with "not now".
pub(super) fn refuse(request: Request) {
    let mut turn = Gathered::default();
    turn.add(request);
    turn.fail("the partition is recovering");
}
