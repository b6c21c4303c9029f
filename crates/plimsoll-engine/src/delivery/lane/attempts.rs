//! The attempts of a lane: starting them, and what follows from their results.
//!
//! Not here: which delivery is next (`ready`), what a result means (`plimsoll_core::delivery`).

use std::{sync::Arc, time::Duration};

use plimsoll_core::{
    delivery::{
        Event as DeliveryEvent, State,
        outcome::{self, AttemptResult, ChannelSignal},
        pace::Start,
        schedule::Jitter,
    },
    limits,
    time::Timestamp,
};
use plimsoll_store::{
    attempt::{AttemptResult as AttemptWrite, AttemptRow},
    delivery::DeliveryState,
};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::{Door, Event, Lane, micros, ready::Job};
use crate::delivery::{
    client::{Answer, Exchange, Failure, Wire},
    meters::Meters,
    writer::{Finished, Written},
};

/// How long a connection is kept without use: less than the 5 s after which many servers close
/// theirs, so that a request rarely meets a connection that is just being closed.
const IDLE_US: u64 = 4_000_000;

/// What a lane knows about its requests in flight and its connections.
pub(super) struct Attempts {
    results: mpsc::Sender<Finished>,
    tell: mpsc::UnboundedSender<Vec<Written>>,
    in_flight: usize,
    /// Open connections without a request, the one used last at the end.
    idle: Vec<(u64, Wire)>,
    /// A slot that was waited for.
    spare: Option<OwnedSemaphorePermit>,
    is_waiting_for_slot: bool,
}

/// One attempt under way.
pub(super) struct Attempt {
    job: Job,
    started_at: Timestamp,
    started_us: u64,
    /// Absent for the one request that each lane may always have in flight.
    permit: Option<OwnedSemaphorePermit>,
}

/// What came of sending, and the connection if it is still good.
pub(super) type Sent = (Result<Answer, Failure>, Option<Wire>);

impl Attempts {
    pub(super) fn new(
        results: mpsc::Sender<Finished>,
        tell: mpsc::UnboundedSender<Vec<Written>>,
    ) -> Self {
        Self {
            results,
            tell,
            in_flight: 0,
            idle: Vec::new(),
            spare: None,
            is_waiting_for_slot: false,
        }
    }

    /// Requests that are under way, or whose result the writer has not taken yet.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Keeps a slot for the next attempt.
    pub(super) fn spare(&mut self, permit: OwnedSemaphorePermit) {
        self.is_waiting_for_slot = false;
        self.spare = Some(permit);
    }

    /// Notes that an attempt is over.
    pub(super) fn leave(&mut self, permit: Option<OwnedSemaphorePermit>, meters: &Meters) {
        drop(permit);
        self.in_flight -= 1;
        meters.in_flight.decrement(1);
    }

    /// Forgets what is in flight: the lane ends.
    pub(super) fn forget(&mut self, meters: &Meters) {
        for _ in 0..std::mem::take(&mut self.in_flight) {
            meters.in_flight.decrement(1);
        }
    }

    /// When the connection that has been idle longest is to be closed.
    pub(super) fn idle_until_us(&self) -> Option<u64> {
        self.idle.first().map(|(since_us, _)| since_us + IDLE_US)
    }
}

impl Lane {
    /// Starts what may start.
    pub(super) fn start_attempts(&mut self) {
        while self.ready.len() > 0 && matches!(self.door, Door::Open(_)) {
            let now_us = self.now_us();
            if self.pace.start(now_us, self.attempts.in_flight) != Start::Now {
                return;
            }
            let Ok(permit) = self.take_slot() else { return };
            let Some(job) = self.ready.pop() else {
                // All that is ready waits for its customer's turn.
                self.attempts.spare = permit;
                return;
            };
            self.start_attempt(job, permit, now_us);
        }
        self.attempts.spare = None;
    }

    /// When the pace allows a start, if something waits for it.
    pub(super) fn next_start_us(&self, now_us: u64) -> Option<u64> {
        let is_wanted = self.ready.len() > 0 || self.backlog.is_behind();
        match self.pace.start(now_us, self.attempts.in_flight) {
            Start::At(at_us) if is_wanted => Some(at_us),
            Start::At(_) | Start::Now | Start::WhenOneEnds => None,
        }
    }

    /// A slot for one more request: the lane's own if nothing is in flight, else one that all
    /// lanes share. `Err`: one has to be waited for.
    fn take_slot(&mut self) -> Result<Option<OwnedSemaphorePermit>, ()> {
        if self.attempts.in_flight == 0 {
            return Ok(None);
        }
        if let Some(permit) = self.attempts.spare.take() {
            return Ok(Some(permit));
        }
        let slots = &self.shared.slots;
        if let Ok(permit) = Arc::clone(slots).try_acquire_owned() {
            return Ok(Some(permit));
        }
        if !std::mem::replace(&mut self.attempts.is_waiting_for_slot, true) {
            let waiting = Arc::clone(slots).acquire_owned();
            self.work.push(Box::pin(async move {
                Event::Slot(waiting.await.expect("the semaphore is never closed"))
            }));
        }
        Err(())
    }

    fn start_attempt(&mut self, job: Job, permit: Option<OwnedSemaphorePermit>, now_us: u64) {
        let Door::Open(prepared) = &self.door else { unreachable!("the caller looked") };
        let started_at = self.shared.deps.clock.now();
        let request = prepared.request(&job, started_at);
        let target = Arc::clone(&prepared.target);
        let client = self.shared.client.clone();
        let wire = self.attempts.idle.pop().map(|(_, wire)| wire);
        self.pace.started(now_us);
        self.attempts.in_flight += 1;
        self.shared.meters.in_flight.increment(1);
        self.shared.meters.queued.decrement(1);
        let attempt = Attempt { job, started_at, started_us: now_us, permit };
        self.work.push(Box::pin(async move {
            let begun = client.begin(&target, wire, request).await;
            Event::Begun(attempt, begun)
        }));
    }

    /// The request of an attempt is on its way, or will not be.
    pub(super) fn begun(&mut self, attempt: Attempt, begun: Result<Exchange, Failure>) {
        if let Some(customer) = attempt.job.ordered_by() {
            self.ready.on_its_way(customer);
        }
        match begun {
            Ok(exchange) => self.work.push(Box::pin(async move {
                let sent = exchange.finish().await;
                Event::Ended(attempt, sent)
            })),
            Err(failure) => self.ended(attempt, (Err(failure), None)),
        }
    }

    /// An attempt has its result.
    pub(super) fn ended(&mut self, attempt: Attempt, (answer, wire): Sent) {
        let clock = &self.shared.deps.clock;
        let (ended_at, ended) = (clock.now(), clock.elapsed());
        let ended_us = micros(ended);
        self.attempts.idle.extend(wire.map(|it| (ended_us, it)));
        let result = result_of(&answer);
        let duration = Duration::from_micros(ended_us.saturating_sub(attempt.started_us));
        self.shared.meters.ended(result, duration);
        let number = attempt.job.attempts + 1;
        let jitter = self.draw_jitter(result);
        let outcome = outcome::decide(result, number, ended_at, jitter);
        self.pace.ended(attempt.started_us, ended_us, outcome.signal);
        if let Some(at) = outcome.next_attempt_at {
            self.backlog.expect_retry(at);
        }
        if outcome.signal == ChannelSignal::Gone {
            self.report_gone();
        }
        log_failure(&attempt, &answer, outcome.next_attempt_at);
        let Attempt { job, started_at, permit, .. } = attempt;
        let (response_body, error) = match answer {
            Ok(answer) => (Some(answer.body), None),
            Err(failure) => (None, Some(failure.class.as_str().to_owned())),
        };
        let result = AttemptWrite {
            attempt: AttemptRow {
                delivery: job.delivery,
                n: number,
                at: started_at,
                status: status_of(result),
                duration_ms: u32::try_from(duration.as_millis()).unwrap_or(u32::MAX),
                error,
                response_body,
            },
            state: state_after(job.attempts, outcome.event),
            next_attempt_at: outcome.next_attempt_at,
            updated_at: ended_at,
        };
        self.submit(result, permit);
    }

    /// Hands a result to the writer; while that is full, the attempt keeps its place.
    fn submit(&mut self, result: AttemptWrite, permit: Option<OwnedSemaphorePermit>) {
        let written = self.attempts.tell.clone();
        let finished = Finished { result, written, channel: self.id };
        match self.attempts.results.try_send(finished) {
            Ok(()) => self.attempts.leave(permit, &self.shared.meters),
            Err(mpsc::error::TrySendError::Full(finished)) => {
                let results = self.attempts.results.clone();
                self.work.push(Box::pin(async move {
                    // The writer ends after every lane.
                    drop(results.send(finished).await);
                    Event::Submitted(permit)
                }));
            }
            Err(mpsc::error::TrySendError::Closed(_)) => {
                unreachable!("the writer ends after every lane")
            }
        }
    }

    fn draw_jitter(&self, result: AttemptResult) -> Jitter {
        if matches!(result, AttemptResult::Answered { status: 200..=299, .. }) {
            return Jitter::NONE;
        }
        let mut bits = [0; 8];
        self.shared.deps.random.fill(&mut bits);
        Jitter::from_bits(u64::from_le_bytes(bits))
    }

    /// Has the channel disabled; until that is done, the pace holds still.
    fn report_gone(&self) {
        if let Some(events) = self.shared.events.get() {
            self.shared.deps.tasks.spawn(events.gone(self.id));
        }
    }

    pub(super) fn drop_idle_wires(&mut self) {
        let Some(until_us) = self.attempts.idle_until_us() else { return };
        let now_us = self.now_us();
        if until_us <= now_us {
            self.attempts.idle.retain(|(since_us, _)| since_us + IDLE_US > now_us);
        }
    }

    /// Closes the connections without a request: they lead to where the channel led before.
    pub(super) fn drop_wires(&mut self) {
        self.attempts.idle.clear();
    }

    /// Frees the memory of a channel that takes nothing: the store has it all.
    pub(super) fn spill_if_paused(&mut self) {
        let is_long = self.ready.len() > limits::LANE_CONCURRENCY;
        if !is_long || !self.pace.is_paused(self.now_us()) {
            return;
        }
        let spilled = self.ready.spill(limits::LANE_CONCURRENCY);
        if !spilled.is_empty() {
            self.let_go(spilled);
            self.backlog.is_behind_again();
        }
    }
}

fn result_of(answer: &Result<Answer, Failure>) -> AttemptResult {
    match answer {
        Ok(answer) => {
            AttemptResult::Answered { status: answer.status, retry_after_ms: answer.retry_after_ms }
        }
        Err(failure) => AttemptResult::Failed(failure.class),
    }
}

fn status_of(result: AttemptResult) -> Option<u16> {
    match result {
        AttemptResult::Answered { status, .. } => Some(status),
        AttemptResult::Failed(_) => None,
    }
}

fn state_after(attempts_before: u32, event: DeliveryEvent) -> DeliveryState {
    let before = if attempts_before == 0 { State::Pending } else { State::Sending };
    match before.after(event).expect("only open deliveries have attempts") {
        State::Pending => DeliveryState::Pending,
        State::Sending => DeliveryState::Sending,
        State::Success => DeliveryState::Success,
        State::Failed => DeliveryState::Failed,
    }
}

fn log_failure(
    attempt: &Attempt,
    answer: &Result<Answer, Failure>,
    next_attempt_at: Option<Timestamp>,
) {
    let delivery = attempt.job.delivery;
    let number = attempt.job.attempts + 1;
    match answer {
        Ok(Answer { status: 200..=299, .. }) => {}
        Ok(Answer { status, .. }) => {
            tracing::debug!(%delivery, number, status, ?next_attempt_at, "attempt failed");
        }
        Err(Failure { class, detail }) => {
            let class = class.as_str();
            tracing::debug!(%delivery, number, class, detail, ?next_attempt_at, "attempt failed");
        }
    }
}
