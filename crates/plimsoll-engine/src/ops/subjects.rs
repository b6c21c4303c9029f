//! Takes subjects for a customer that is about to be committed, so that nobody else gets them.
//!
//! A reservation that is dropped leaves its subjects in doubt; the next request for them looks into
//! the store. Not here: the index itself (`catalogue::subjects`).

use std::{sync::Arc, time::Duration};

use plimsoll_core::ids::{CustomerId, EnvironmentId};
use plimsoll_store::subject;

use crate::{
    catalogue::{Catalogue, subjects::Resolution},
    ops::{
        Context, Ops,
        control::unreadable,
        problem::{Problem, ProblemCode},
    },
};

/// How long a request waits for someone else's reservation before it looks again.
const RESERVED_WAIT: Duration = Duration::from_millis(50);

/// Subjects that nobody else gets until this is confirmed or dropped.
#[derive(Debug)]
pub(super) struct Reservation {
    catalogue: Arc<Catalogue>,
    environment: EnvironmentId,
    customer: CustomerId,
    subjects: Vec<String>,
}

/// Who has the subjects that a request asks for.
#[derive(Debug, Default)]
pub(super) struct Holders {
    /// Subjects that nobody has.
    pub(super) free: Vec<String>,
    /// Subjects of customers that were deleted without ever having sent usage.
    pub(super) left: Vec<(String, CustomerId)>,
    /// Subjects of customers that exist, by position in the request.
    pub(super) held: Vec<(usize, CustomerId)>,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let subjects = self.catalogue.subjects();
        for subject in &self.subjects {
            subjects.release(self.environment, subject, self.customer);
        }
    }
}

impl Reservation {
    /// Reserves `subjects` for `customer`; nothing, if someone else was faster with one of them.
    pub(super) fn of(
        catalogue: &Arc<Catalogue>,
        environment: EnvironmentId,
        customer: CustomerId,
        subjects: &[String],
    ) -> Option<Self> {
        let catalogue = Arc::clone(catalogue);
        let mut reservation =
            Self { catalogue, environment, customer, subjects: Vec::with_capacity(subjects.len()) };
        for subject in subjects {
            let index = reservation.catalogue.subjects();
            match index.resolve_or_reserve(environment, subject, || customer) {
                Resolution::Reserved { customer: by } if by == customer => {
                    reservation.subjects.push(subject.clone());
                }
                Resolution::Reserved { customer: by } => {
                    // Asking has made us a holder of theirs.
                    index.release(environment, subject, by);
                    return None;
                }
                Resolution::Known { .. } | Resolution::Deleted { .. } => return None,
            }
        }
        Some(reservation)
    }

    /// The customer is committed: the subjects are its own.
    pub(super) fn confirm(mut self) {
        for subject in std::mem::take(&mut self.subjects) {
            self.catalogue.subjects().confirm(self.environment, &subject, self.customer);
        }
    }
}

impl Ops {
    /// Who has these subjects. Waits a little while a subject is reserved, and then says nothing:
    /// the caller looks again.
    pub(super) async fn holders(
        &self,
        context: &Context,
        subjects: &[String],
    ) -> Result<Option<Holders>, Problem> {
        let environment = context.environment();
        let mut holders = Holders::default();
        for (position, subject) in subjects.iter().enumerate() {
            let index = self.inner.catalogue.subjects();
            let settled = index.settled();
            match index.resolve(environment, subject) {
                None => holders.free.push(subject.clone()),
                Some(Resolution::Known { customer }) => holders.held.push((position, customer)),
                Some(Resolution::Deleted { customer }) => {
                    if self.has_usage(context, customer).await? {
                        return Err(subject_in_use(position, subject, "a deleted customer"));
                    }
                    holders.left.push((subject.clone(), customer));
                }
                Some(Resolution::Reserved { .. }) => {
                    if let Some(customer) = index.in_doubt(environment, subject) {
                        self.settle(context, subject, customer).await?;
                        return Ok(None);
                    }
                    tokio::select! {
                        biased;
                        () = settled => {}
                        () = self.inner.deps.clock.sleep(RESERVED_WAIT) => {}
                    }
                    return Ok(None);
                }
            }
        }
        Ok(Some(holders))
    }

    /// Finds out whether the customer that a subject is reserved for was committed after all.
    async fn settle(
        &self,
        context: &Context,
        subject: &str,
        doubtful: CustomerId,
    ) -> Result<(), Problem> {
        let environment = context.environment();
        // The owner answers when the outcome of its last commit is known.
        self.has_usage(context, doubtful).await?;
        let store = self.inner.deps.store.as_ref();
        let row = subject::get(store, environment, subject).await.map_err(|it| unreadable(&it))?;
        let found = row.map(|it| it.customer);
        self.inner.catalogue.subjects().settle(environment, subject, doubtful, found);
        Ok(())
    }

    /// Whether usage of a customer was accepted within the dedupe window.
    pub(super) async fn has_usage(
        &self,
        context: &Context,
        customer: CustomerId,
    ) -> Result<bool, Problem> {
        let asked = self.inner.partitions.has_usage(context.environment(), customer);
        asked.await.map_err(|error| unreadable(&error))
    }
}

/// A subject that cannot change hands.
pub(super) fn subject_in_use(position: usize, subject: &str, holder: &str) -> Problem {
    let detail = format!("the subject {subject:?} belongs to {holder}");
    Problem::at(ProblemCode::SubjectInUse, format!("subjects[{position}]"), detail)
}
