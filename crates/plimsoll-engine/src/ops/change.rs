//! Commits changes of one customer, executed by the owner of its partition.
//!
//! Within the process, a turn orders the changes of one customer: a refused change costs the
//! partition its memory, so it should be rare. Against another node, whatever the change was
//! planned on is guarded by the versions of its rows; if one has moved, the caller plans anew. As
//! in `control`, the commit and what follows it run in a task of their own; the turn lasts as long.
//!
//! Not here: changes of what all partitions depend on (`control`).

use std::sync::Arc;

use bytes::Bytes;
use plimsoll_store::{Refusal, idempotency as idempotency_rows};
use tokio::sync::{OwnedMutexGuard, oneshot};

use crate::{
    ops::{
        Context, Ops,
        control::problem_of,
        idempotency,
        plan::CustomerPlan,
        port::{ChangeError, CustomerChange},
        problem::{Problem, ProblemCode},
    },
    vault::fingerprint,
};

/// Turns that all customers share.
pub(super) const TURNS: usize = 256;

/// The right to change a customer, until it is dropped.
pub(crate) type Turn = OwnedMutexGuard<()>;

/// How a change of a customer ended.
#[derive(Debug)]
pub(crate) enum Changed<T> {
    /// It is durable.
    Made(T),
    /// A statement was refused, nothing was written: something was changed meanwhile.
    Refused {
        /// The name of the statement.
        statement: &'static str,
        /// Whether a unique value was taken.
        taken: bool,
    },
}

impl Ops {
    /// Waits for the turn to change what is called `name`: a customer's id, or a key to be taken.
    pub(super) async fn turn(&self, name: &str) -> Turn {
        let hash = fingerprint(name.as_bytes());
        let shard = usize::from_str_radix(&hash[..8], 16).unwrap_or(0) % TURNS;
        Arc::clone(&self.inner.turns[shard]).lock_owned().await
    }

    /// Commits a change of one customer.
    pub(super) async fn change<T>(
        &self,
        context: &Context,
        plan: CustomerPlan<T>,
    ) -> Result<Changed<T>, Problem> {
        let mut statements = plan.draft.statements;
        statements.extend(self.idempotency_record(context, &plan.answer));
        let documents = plan.documents.into_iter().map(|(id, text)| (id, Bytes::from(text)));
        let change = CustomerChange {
            environment: plan.draft.environment,
            customer: plan.customer,
            commands: plan.commands,
            statements,
            documents: documents.collect(),
            opening: plan.opening,
        };
        let inner = Arc::clone(&self.inner);
        let token = context.idempotency.clone();
        let effects = plan.effects;
        let turn = plan.turn;
        let (send, receive) = oneshot::channel();
        self.inner.deps.tasks.spawn(async move {
            let result = inner.partitions.change(change).await;
            if result.is_ok() {
                for effect in effects {
                    effect(&inner);
                }
            }
            drop((token, turn));
            // Nobody may be waiting any more.
            drop(send.send(result));
        });
        let stopping = || Problem::new(ProblemCode::Unavailable, "the server is stopping");
        match receive.await.map_err(|_| stopping().retry_after(1))? {
            Ok(()) => Ok(Changed::Made(plan.answer.value)),
            Err(ChangeError::Refused { statement, .. })
                if statement == idempotency_rows::INSERT =>
            {
                Err(idempotency::in_flight())
            }
            Err(ChangeError::Refused { statement, refusal }) => {
                Ok(Changed::Refused { statement, taken: refusal == Refusal::Unique })
            }
            Err(error) => Err(problem_of(&error)),
        }
    }
}
