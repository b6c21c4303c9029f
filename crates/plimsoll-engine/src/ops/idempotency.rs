//! Doing a request once, however often it is sent.
//!
//! The answer is recorded in the transaction of the change, so a crash leaves both or neither. A
//! refusal (4xx) is recorded after the fact, trouble of the server's own (5xx, 429) never.
//! Recorded answers are sealed and hold no secrets.
//!
//! Not here: usage events, whose ids do the same (`ingest`).

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use plimsoll_core::{ids::EnvironmentId, limits, time::Timestamp};
use plimsoll_store::{
    Batch, CommitError, Lane, Statement,
    idempotency::{self as rows, IdempotencyRow},
};
use serde::{Deserialize, Serialize};

use crate::{
    ops::{
        Caller, Context, Inner, Ops,
        control::{unavailable, unreadable},
        plan::Answer,
        problem::{Problem, ProblemCode},
    },
    vault::fingerprint,
};

/// Old answers that one transaction forgets.
const FORGET_ROWS: u32 = 1_000;
/// How often old answers are looked for.
const FORGET_EVERY: Duration = Duration::from_hours(1);

/// The right to do a request that has not been done before. Requests with the same key are refused
/// while a clone of it lives.
#[derive(Debug, Clone)]
pub struct IdempotencyToken(Arc<Held>);

/// What [`Ops::begin`] found.
#[derive(Debug)]
pub enum Begun {
    /// The request is new: do it, with this in its context.
    Fresh(IdempotencyToken),
    /// The request was done before: this was the answer.
    Replay {
        /// Its HTTP status.
        status: u16,
        /// Its JSON body, without secrets; empty for 204.
        body: Bytes,
    },
}

/// Requests that are being done.
#[derive(Debug, Default)]
pub(crate) struct InFlight(Mutex<HashSet<Place>>);

/// What an idempotency key is unique in.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Place {
    environment: EnvironmentId,
    route: String,
    key: String,
}

#[derive(Debug)]
struct Held {
    place: Place,
    body_hash: String,
    in_flight: Arc<InFlight>,
}

/// A recorded refusal.
#[derive(Debug, Serialize, Deserialize)]
struct Refused {
    code: String,
    field: Option<String>,
    detail: String,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.in_flight.set().remove(&self.place);
    }
}

impl InFlight {
    fn set(&self) -> std::sync::MutexGuard<'_, HashSet<Place>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Binds a sealed answer to its row.
    fn associated(&self) -> Vec<u8> {
        format!("idempotency {} {} {}", self.environment, self.route, self.key).into_bytes()
    }
}

/// Another request with the key is being done.
pub(crate) fn in_flight() -> Problem {
    let detail = "a request with this idempotency key is being done; try again when it has ended";
    Problem::new(ProblemCode::IdempotencyInFlight, detail).retry_after(1)
}

impl Ops {
    /// Whether a request was done before.
    ///
    /// `route` is the method and the path's pattern, in which `key` is unique; `target` is the path
    /// itself, which together with `body` tells one request from another.
    pub async fn begin(
        &self,
        caller: &Caller,
        route: &str,
        target: &str,
        key: &str,
        body: &[u8],
    ) -> Result<Begun, Problem> {
        if key.is_empty() || key.len() > limits::IDEMPOTENCY_KEY_BYTES {
            let detail = format!("a key has 1 to {} bytes", limits::IDEMPOTENCY_KEY_BYTES);
            return Err(Problem::new(ProblemCode::InvalidIdempotencyKey, detail));
        }
        let place =
            Place { environment: caller.environment, route: route.to_owned(), key: key.to_owned() };
        let body_hash = fingerprint(&[target.as_bytes(), b"\n", body].concat());
        let in_flight_set = Arc::clone(&self.inner.in_flight);
        if !in_flight_set.set().insert(place.clone()) {
            return Err(in_flight());
        }
        let held = Held { place, body_hash, in_flight: in_flight_set };
        match self.inner.recorded(&held).await? {
            None => Ok(Begun::Fresh(IdempotencyToken(Arc::new(held)))),
            Some(row) => self.inner.replay(&held, &row),
        }
    }

    /// Does what `work` does; a refusal is recorded for repetitions.
    pub(super) async fn once<T>(
        &self,
        context: &Context,
        work: impl Future<Output = Result<T, Problem>>,
    ) -> Result<T, Problem> {
        let result = Box::pin(work).await;
        if let (Err(problem), Some(token)) = (&result, &context.idempotency)
            && is_lasting(problem)
        {
            self.inner.record_refusal(token, problem, self.machine_now()).await;
        }
        result
    }

    /// The record that goes into the transaction of a change.
    pub(super) fn idempotency_record<T>(
        &self,
        context: &Context,
        answer: &Answer<T>,
    ) -> Option<Statement> {
        let token = context.idempotency.as_ref()?;
        Some(self.inner.record(token, answer.status, &answer.kept, self.machine_now()))
    }
}

/// Whether a repetition would be refused for the same reason.
fn is_lasting(problem: &Problem) -> bool {
    let passing = matches!(
        problem.code,
        ProblemCode::TooManyRequests
            | ProblemCode::ConcurrentChange
            | ProblemCode::IdempotencyInFlight
    );
    problem.status() < 500 && !passing
}

impl Inner {
    fn record(
        &self,
        token: &IdempotencyToken,
        status: u16,
        body: &[u8],
        now: Timestamp,
    ) -> Statement {
        let Held { place, body_hash, .. } = token.0.as_ref();
        rows::insert(IdempotencyRow {
            environment: place.environment,
            route: place.route.clone(),
            key: place.key.clone(),
            body_hash: Bytes::from(body_hash.clone()),
            status,
            response: Bytes::from(self.vault.seal(body, &place.associated())),
            created_at: now,
        })
    }

    async fn record_refusal(&self, token: &IdempotencyToken, problem: &Problem, now: Timestamp) {
        let refused = Refused {
            code: problem.code.as_str().to_owned(),
            field: problem.field.clone(),
            detail: problem.detail.clone(),
        };
        let body = serde_json::to_vec(&refused).expect("texts are JSON");
        let statement = self.record(token, problem.status(), &body, now);
        let batch = Batch::new(Lane::Control, vec![statement]);
        if let Err(error) = self.deps.store.commit(batch).await {
            // The repetition will be planned and refused anew, which is the same to its caller.
            tracing::warn!(%error, "a refusal could not be recorded for its idempotency key");
        }
    }

    /// What is recorded for this key, unless it is too old to count.
    async fn recorded(&self, held: &Held) -> Result<Option<IdempotencyRow>, Problem> {
        let Place { environment, route, key } = &held.place;
        let store = self.deps.store.as_ref();
        let row = rows::get(store, *environment, route, key).await.map_err(|it| unreadable(&it))?;
        let oldest = self.oldest_answer();
        if row.as_ref().is_some_and(|it| it.created_at < oldest) {
            self.forget(oldest).await.map_err(|_| unavailable())?;
            return Ok(None);
        }
        Ok(row)
    }

    fn replay(&self, held: &Held, row: &IdempotencyRow) -> Result<Begun, Problem> {
        if row.body_hash != held.body_hash.as_bytes() {
            let detail = "the idempotency key was used with another path or body";
            return Err(Problem::new(ProblemCode::IdempotencyKeyReused, detail));
        }
        let body = self.vault.open(&row.response, &held.place.associated()).map_err(|error| {
            tracing::error!(%error, "a recorded answer cannot be opened");
            Problem::new(ProblemCode::Internal, "the recorded answer cannot be opened")
        })?;
        if row.status < 400 {
            return Ok(Begun::Replay { status: row.status, body: Bytes::from(body) });
        }
        let refused: Option<Refused> = serde_json::from_slice(&body).ok();
        let code = |text: &str| ProblemCode::ALL.iter().find(|it| it.as_str() == text);
        let problem = refused.and_then(|it| {
            let code = *code(&it.code)?;
            Some(Problem { field: it.field, ..Problem::new(code, it.detail) })
        });
        Err(problem.unwrap_or_else(|| {
            Problem::new(ProblemCode::Internal, "the recorded answer cannot be read")
        }))
    }

    fn oldest_answer(&self) -> Timestamp {
        self.deps.clock.now().plus_ms(-limits::IDEMPOTENCY_MS)
    }

    /// Forgets answers recorded before `oldest`.
    async fn forget(&self, oldest: Timestamp) -> Result<(), CommitError> {
        loop {
            let statement = rows::delete_before(oldest, FORGET_ROWS);
            let batch = Batch::new(Lane::Pruning, vec![statement]);
            let deleted = self.deps.store.commit(batch).await?;
            if deleted.iter().map(Vec::len).sum::<usize>() < FORGET_ROWS as usize {
                return Ok(());
            }
        }
    }
}

/// Forgets old answers from time to time, until the tasks are told to stop.
pub(crate) fn forget_old_answers(inner: &Arc<Inner>) {
    let clock = Arc::clone(&inner.deps.clock);
    let stopping = inner.deps.tasks.stopping();
    // Weak, so that the task does not keep the control plane alive.
    let inner_ref = Arc::downgrade(inner);
    inner.deps.tasks.spawn(async move {
        tokio::pin!(stopping);
        loop {
            tokio::select! {
                biased;
                () = &mut stopping => return,
                () = clock.sleep(FORGET_EVERY) => {}
            }
            let Some(inner) = inner_ref.upgrade() else { return };
            if let Err(error) = inner.forget(inner.oldest_answer()).await {
                tracing::warn!(%error, "old answers could not be forgotten; trying again later");
            }
        }
    });
}
