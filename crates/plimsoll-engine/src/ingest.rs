//! Usage on its way in: read, judge, resolve customers, hand to the partitions, answer.
//!
//! An event is *refused* here when it cannot be stored: it is malformed, its time is out of bounds,
//! its customer is deleted. What is stored but cannot be counted is the partition's concern.
//!
//! Not here: HTTP and decompression (`plimsoll-server`), what counting means (`plimsoll-core`).

use std::{borrow::Cow, fmt, hash::Hasher, sync::Arc};

use futures_util::future::join_all;
use hashbrown::HashMap;
use plimsoll_core::{
    ids::{CustomerId, EnvironmentId},
    limits,
    time::Timestamp,
};
use siphasher::sip128::{Hasher128, SipHasher13};
use tokio::sync::oneshot;

use crate::{
    catalogue::{
        Catalogue,
        subjects::{Resolution, SubjectKey, SubjectKeys},
    },
    deps::Deps,
    ops::{customer::Customer, environment::UnknownSubjects},
    partition::{IncomingEvent, Partitions, UsageError, UsageOutcome, UsageRequest},
};

pub mod body;
pub mod event;
pub mod json;

use body::{BodyText, Buffer, Buffers};
use event::{Event, EventReader, Refused};
use json::{Malformed, Scanner};

/// Counter: events that were accepted.
const ACCEPTED_EVENTS: &str = "plimsoll_events_accepted_total";
/// Counter: events that had been accepted before.
const DUPLICATE_EVENTS: &str = "plimsoll_events_duplicate_total";
/// Counter: events that were not stored.
const REJECTED_EVENTS: &str = "plimsoll_events_rejected_total";
/// Events that are read before their customers are looked up together: enough for the waits for
/// memory to overlap, few enough to stay in a processor's first cache.
const PLACED_TOGETHER: usize = 128;
/// The code of an event whose customer has been deleted.
const CUSTOMER_DELETED: &str = "customer_deleted";

/// Computes the identities of events: a keyed 128-bit hash of customer, source and id.
///
/// The key is the store's own, so that nobody outside can make two events collide.
#[derive(Clone)]
pub struct Identify {
    key: [u8; 16],
}

impl Identify {
    /// With the store's key.
    pub fn new(key: [u8; 16]) -> Self {
        Self { key }
    }

    /// The identity of an event of a customer.
    pub fn event(&self, customer: CustomerId, source: &str, id: &str) -> u128 {
        let mut hasher = SipHasher13::new_with_key(&self.key);
        hasher.write(&customer.bits().to_le_bytes());
        // The length keeps ("a", "bc") and ("ab", "c") apart.
        hasher.write(&(source.len() as u64).to_le_bytes());
        hasher.write(source.as_bytes());
        hasher.write(id.as_bytes());
        hasher.finish128().as_u128()
    }
}

impl fmt::Debug for Identify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identify")
    }
}

/// How a request carries its events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// One event, as an object; or several, as an array.
    Either,
    /// One event, as an object.
    Single,
    /// Several events, as an array.
    Batch,
}

/// What became of a request's events. Everything accepted is durable.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct Answer {
    /// Stored now.
    pub accepted: u64,
    /// Stored before, within the dedupe window.
    pub duplicates: u64,
    /// Not stored, in the order of the request.
    pub rejected: Vec<Rejected>,
}

/// An event that was not stored.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct Rejected {
    /// Its place in the request, from 0.
    pub index: u32,
    /// Why, as a stable code.
    pub code: Cow<'static, str>,
    /// Why, for people.
    pub detail: String,
}

/// Why a request got no [`Answer`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IngestError {
    /// The body is not JSON, or not of the form that was announced.
    #[error("{detail}")]
    Malformed {
        /// What is wrong, and where.
        detail: String,
    },
    /// The batch holds no event.
    #[error("the batch holds no event")]
    Empty,
    /// More than [`limits::BATCH_EVENTS`] events.
    #[error("a request has at most {} events", limits::BATCH_EVENTS)]
    TooMany,
    /// As many requests wait as may wait. Nothing of it was refused for good.
    #[error("too many requests are waiting")]
    Busy,
    /// The outcome is unknown, or nothing can be stored now: send it again with the same ids.
    #[error("nothing can be promised now; send it again with the same ids")]
    RetrySameIds,
}

impl From<Malformed> for IngestError {
    fn from(error: Malformed) -> Self {
        Self::Malformed { detail: format!("the body is not valid JSON: expected {error}") }
    }
}

/// The way in for usage. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Ingest {
    deps: Deps,
    catalogue: Arc<Catalogue>,
    partitions: Partitions,
    identify: Identify,
    buffers: Buffers,
}

/// A request that has been read: its events by partition, and what was refused.
struct Sorted {
    rejected: Vec<Rejected>,
    partitions: Vec<Share>,
    /// Subjects that nobody knew, and the customers to be made for them.
    reserved: HashMap<String, CustomerId>,
}

/// What one partition gets of a request.
#[derive(Clone, Default)]
struct Share {
    events: Vec<IncomingEvent>,
    /// Customers to be made for subjects that nobody knew.
    provisional: Vec<Customer>,
}

/// An event that has been read, and whose customer is not known yet.
struct Unplaced<'a> {
    index: u32,
    subject: SubjectKey,
    event: Event<'a>,
}

/// A request being read.
struct Reading<'a> {
    ingest: &'a Ingest,
    environment: EnvironmentId,
    unknown_subjects: UnknownSubjects,
    body: &'a str,
    now: Timestamp,
    count: u32,
    events: EventReader<'a>,
    subjects: SubjectKeys,
    unplaced: Vec<Unplaced<'a>>,
    resolutions: Vec<Option<Resolution>>,
    sorted: Sorted,
}

impl Ingest {
    /// Over started partitions.
    pub fn new(
        deps: &Deps,
        catalogue: Arc<Catalogue>,
        partitions: Partitions,
        identify: Identify,
    ) -> Self {
        let buffers = Buffers::default();
        Self { deps: deps.clone(), catalogue, partitions, identify, buffers }
    }

    /// Where the memory of bodies goes when it is no longer needed, and where to take it from.
    pub fn buffers(&self) -> &Buffers {
        &self.buffers
    }

    /// Stores the events of a body. When it is `Ok`, what was accepted is durable.
    pub async fn accept(
        &self,
        environment: EnvironmentId,
        body: impl Into<Buffer>,
        mode: Mode,
    ) -> Result<Answer, IngestError> {
        let Some(body) = BodyText::new(body.into()) else {
            let detail = "the body is not UTF-8".to_owned();
            return Err(IngestError::Malformed { detail });
        };
        let mut reading = self.reading(environment, &body)?;
        let read = reading.read(mode);
        let sorted = reading.sorted;
        if let Err(error) = read {
            self.settle(environment, &sorted.reserved, false);
            return Err(error);
        }
        if sorted.reserved.is_empty() {
            return self.store(environment, &body, sorted).await;
        }
        self.store_with_new_customers(environment, body, sorted).await
    }

    fn reading<'a>(
        &'a self,
        environment: EnvironmentId,
        body: &'a BodyText,
    ) -> Result<Reading<'a>, IngestError> {
        let view = self.catalogue.environment(environment).ok_or(IngestError::RetrySameIds)?;
        Ok(Reading {
            ingest: self,
            environment,
            unknown_subjects: view.environment.document.unknown_subjects,
            body: body.as_str(),
            now: view.environment.document.now(self.deps.clock.now()),
            count: 0,
            events: EventReader::default(),
            subjects: self.catalogue.subjects().keys(environment),
            unplaced: Vec::new(),
            resolutions: Vec::new(),
            sorted: Sorted {
                rejected: Vec::new(),
                partitions: vec![Share::default(); self.partitions.count()],
                reserved: HashMap::new(),
            },
        })
    }

    /// As [`Ingest::store`], to the end even if the caller goes away: the subject index must learn
    /// what became of the reserved subjects.
    async fn store_with_new_customers(
        &self,
        environment: EnvironmentId,
        body: BodyText,
        sorted: Sorted,
    ) -> Result<Answer, IngestError> {
        let (reply, answer) = oneshot::channel();
        let ingest = self.clone();
        self.deps.tasks.spawn(async move {
            let reserved = sorted.reserved.clone();
            let outcome = ingest.store(environment, &body, sorted).await;
            ingest.settle(environment, &reserved, outcome.is_ok());
            // The caller may have gone.
            drop(reply.send(outcome));
        });
        answer.await.unwrap_or(Err(IngestError::RetrySameIds))
    }

    /// Hands the events to their partitions, all at once, and puts the answers together.
    async fn store(
        &self,
        environment: EnvironmentId,
        body: &BodyText,
        sorted: Sorted,
    ) -> Result<Answer, IngestError> {
        let shares = sorted.partitions.into_iter().enumerate();
        let shares = shares.filter(|(_, it)| !it.events.is_empty() || !it.provisional.is_empty());
        let requests = shares.map(|(partition, Share { events, provisional })| {
            let request = UsageRequest { environment, body: body.clone(), events, provisional };
            self.partitions.usage(partition, request)
        });
        let mut answer = Answer { rejected: sorted.rejected, ..Answer::default() };
        let mut failure = None;
        for outcome in join_all(requests).await {
            match outcome {
                Ok(UsageOutcome { accepted, duplicates, gone }) => {
                    answer.accepted += accepted;
                    answer.duplicates += duplicates;
                    answer.rejected.extend(gone.into_iter().map(customer_deleted));
                }
                // Some of it may be stored; sending the same ids again makes the rest follow.
                Err(UsageError::Busy) => failure = failure.or(Some(IngestError::Busy)),
                Err(UsageError::Retry) => failure = Some(IngestError::RetrySameIds),
            }
        }
        if let Some(failure) = failure {
            return Err(failure);
        }
        answer.rejected.sort_by_key(|it| it.index);
        count(&answer);
        Ok(answer)
    }

    /// Tells the subject index what became of the subjects that were reserved.
    fn settle(
        &self,
        environment: EnvironmentId,
        reserved: &HashMap<String, CustomerId>,
        stored: bool,
    ) {
        for (subject, customer) in reserved {
            if stored {
                self.catalogue.subjects().confirm(environment, subject, *customer);
            } else {
                self.catalogue.subjects().release(environment, subject, *customer);
            }
        }
    }
}

impl<'a> Reading<'a> {
    /// Reads the whole body; an error means that nothing of it is stored.
    fn read(&mut self, mode: Mode) -> Result<(), IngestError> {
        let mut scanner = Scanner::new(self.body);
        let is_array = scanner.peek() == Some(b'[');
        match (mode, is_array) {
            (Mode::Single, true) => return Err(wrong_shape("one event, not an array")),
            (Mode::Batch, false) => return Err(wrong_shape("an array of events")),
            (Mode::Either | Mode::Batch, true) => scanner.array(|it| self.event(it))?,
            (Mode::Either | Mode::Single, false) => self.event(&mut scanner)?,
        }
        scanner.finish()?;
        self.place_all();
        if self.count == 0 { Err(IngestError::Empty) } else { Ok(()) }
    }

    fn event(&mut self, scanner: &mut Scanner<'a>) -> Result<(), IngestError> {
        if self.count as usize == limits::BATCH_EVENTS {
            return Err(IngestError::TooMany);
        }
        let index = self.count;
        self.count += 1;
        match self.events.read(scanner)?.and_then(|it| self.check_time(it)) {
            Ok(event) => {
                let subject = self.subjects.of(&event.subject);
                self.unplaced.push(Unplaced { index, subject, event });
                if self.unplaced.len() == PLACED_TOGETHER {
                    self.place_all();
                }
            }
            Err(refused) => self.refuse(index, refused),
        }
        Ok(())
    }

    fn refuse(&mut self, index: u32, Refused { code, detail }: Refused) {
        self.sorted.rejected.push(Rejected { index, code: Cow::Borrowed(code), detail });
    }

    /// Puts the events that were read with the partitions of their customers.
    fn place_all(&mut self) {
        let mut unplaced = std::mem::take(&mut self.unplaced);
        let mut resolutions = std::mem::take(&mut self.resolutions);
        let keys = unplaced.iter().map(|it| it.subject);
        self.ingest.catalogue.subjects().resolve_all(keys, &mut resolutions);
        for (Unplaced { index, event, .. }, resolution) in unplaced.drain(..).zip(&resolutions) {
            let customer = match resolution {
                Some(Resolution::Known { customer }) => Ok(*customer),
                _ => self.customer(&event.subject),
            };
            match customer {
                Ok(customer) => self.place(index, customer, &event),
                Err(refused) => self.refuse(index, refused),
            }
        }
        resolutions.clear();
        (self.unplaced, self.resolutions) = (unplaced, resolutions);
    }

    fn place(&mut self, index: u32, customer: CustomerId, event: &Event<'_>) {
        let identity = self.ingest.identify.event(customer, &event.source, &event.id);
        let incoming = IncomingEvent::new(self.body, index, customer, identity, event);
        let partitions = self.sorted.partitions.len();
        let share = &mut self.sorted.partitions[self.ingest.partitions.of(customer)];
        if share.events.is_empty() {
            // As many as there will be if all are as long as this one, and spread evenly.
            let expected = self.body.len() / event.raw.len().max(1) / partitions;
            share.events.reserve((expected + expected / 8).clamp(1, limits::BATCH_EVENTS));
        }
        share.events.push(incoming);
    }

    fn check_time(&self, event: Event<'a>) -> Result<Event<'a>, Refused> {
        let Some(time) = event.time else { return Ok(event) };
        let age_ms = self.now.ms_since(time);
        if age_ms < -limits::EVENT_TIME_AHEAD_MS {
            let detail = "time is more than an hour ahead of the environment's clock";
            return Err(Refused::new("event_time_in_future", detail));
        }
        if age_ms > limits::DEDUPE_WINDOW_MS {
            let detail = "time is older than the dedupe window of 32 days";
            return Err(Refused::new("event_time_too_old", detail));
        }
        Ok(event)
    }

    /// Whose event it is that nobody, or nobody who exists for certain, has been found for.
    fn customer(&mut self, subject: &str) -> Result<CustomerId, Refused> {
        let subjects = self.ingest.catalogue.subjects();
        if let Some(customer) = self.sorted.reserved.get(subject) {
            return Ok(*customer);
        }
        let resolution = match subjects.resolve(self.environment, subject) {
            Some(known @ (Resolution::Known { .. } | Resolution::Deleted { .. })) => known,
            _ if self.unknown_subjects == UnknownSubjects::Reject => {
                return Err(Refused::new("unknown_subject", "no customer has this subject"));
            }
            _ => {
                let random = &self.ingest.deps.random;
                let ms = self.ingest.deps.clock.now().as_ms().max(0) as u64;
                let new = || CustomerId::from_parts(ms, random.bits());
                subjects.resolve_or_reserve(self.environment, subject, new)
            }
        };
        match resolution {
            Resolution::Known { customer } => Ok(customer),
            Resolution::Deleted { .. } => {
                Err(Refused::new(CUSTOMER_DELETED, "the customer has been deleted"))
            }
            Resolution::Reserved { customer } => {
                self.sorted.reserved.insert(subject.to_owned(), customer);
                let provisional = Customer::provisional(customer, subject, self.now);
                let partition = self.ingest.partitions.of(customer);
                self.sorted.partitions[partition].provisional.push(provisional);
                Ok(customer)
            }
        }
    }
}

fn wrong_shape(expected: &str) -> IngestError {
    IngestError::Malformed { detail: format!("the content type announces {expected}") }
}

fn customer_deleted(index: u32) -> Rejected {
    let detail = "the customer has been deleted".to_owned();
    Rejected { index, code: Cow::Borrowed(CUSTOMER_DELETED), detail }
}

fn count(answer: &Answer) {
    metrics::counter!(ACCEPTED_EVENTS).increment(answer.accepted);
    metrics::counter!(DUPLICATE_EVENTS).increment(answer.duplicates);
    metrics::counter!(REJECTED_EVENTS).increment(answer.rejected.len() as u64);
}
