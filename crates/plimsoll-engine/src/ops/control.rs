//! Commits changes of what all partitions depend on: one at a time, planned on the catalogue.
//!
//! A plan is made from the snapshot, so two plans made from one snapshot would each be right and
//! together wrong (a rule that names a channel which the other deletes). Within the process a lock
//! orders them; against another node the rows' versions do, and then the catalogue is read again
//! and the plan made anew.
//!
//! The commit and what follows it in memory run in a task of their own: a caller who goes away
//! between the two would leave the catalogue behind the store.
//!
//! Not here: changes of one customer (`change`), what the changes are (each resource).

use std::sync::Arc;

use plimsoll_core::command::ControlCommand;
use plimsoll_store::{Statement, idempotency as idempotency_rows, resource};
use tokio::sync::{OwnedMutexGuard, oneshot};

use crate::{
    catalogue::{EnvironmentView, load},
    ops::{
        Context, Inner, Ops, channel,
        plan::{ControlPlan, Draft, Effect},
        port::ChangeError,
        problem::{Problem, ProblemCode},
    },
};

/// How often a change is planned before its caller is told that others are always faster.
pub(crate) const CHANGE_ATTEMPTS: usize = 4;

/// Whose turn it is to change the control plane.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    /// Whether a commit may have been made that the catalogue does not show.
    behind: bool,
}

impl Ops {
    /// Plans a change on the caller's environment and commits it, anew if someone was faster.
    pub(super) async fn control<T>(
        &self,
        context: &Context,
        plan: impl Fn(&EnvironmentView, &mut Draft) -> Result<ControlPlan<T>, Problem>,
    ) -> Result<T, Problem> {
        let mut turn = Arc::clone(&self.inner.control).lock_owned().await;
        for _ in 0..CHANGE_ATTEMPTS {
            if turn.behind {
                self.inner.reload().await?;
                turn.behind = false;
            }
            let view = self.view(context)?;
            let mut draft = self.draft(context);
            let plan = plan(&view, &mut draft)?;
            draft.statements.extend(self.idempotency_record(context, &plan.answer));
            let commit = self.commit(turn, context, plan.command, draft.statements, plan.effects);
            let (back, result) = commit.await?;
            turn = back;
            match result {
                Ok(()) => return Ok(plan.answer.value),
                Err(ChangeError::Refused { statement, .. })
                    if statement == idempotency_rows::INSERT =>
                {
                    return Err(super::idempotency::in_flight());
                }
                Err(ChangeError::Refused { statement: resource::UNNAMED, .. }) => {
                    return Err(super::feature::entitled());
                }
                Err(ChangeError::Refused { statement, refusal }) => {
                    tracing::info!(statement, %refusal, "a change was refused and is planned anew");
                    turn.behind = true;
                }
                Err(error) => return Err(problem_of(&error)),
            }
        }
        Err(concurrent_change())
    }

    /// Makes a change of something else than the catalogue: anew, while it gives nothing because
    /// someone was faster.
    pub(super) async fn attempts<T, F>(&self, attempt: impl Fn() -> F) -> Result<T, Problem>
    where
        F: Future<Output = Result<Option<T>, Problem>>,
    {
        for _ in 0..CHANGE_ATTEMPTS {
            if let Some(made) = attempt().await? {
                return Ok(made);
            }
        }
        Err(concurrent_change())
    }

    /// Rows to be written by the caller, now.
    pub(super) fn draft(&self, context: &Context) -> Draft {
        Draft {
            environment: context.environment(),
            now: self.machine_now(),
            actor: context.caller.key.to_string(),
            audit_id: self.mint(plimsoll_core::ids::AuditId::from_parts),
            statements: Vec::new(),
        }
    }

    /// Commits in a task that goes on if the caller goes away.
    async fn commit(
        &self,
        mut turn: OwnedMutexGuard<Turn>,
        context: &Context,
        command: Option<ControlCommand>,
        statements: Vec<Statement>,
        effects: Vec<Effect>,
    ) -> Result<(OwnedMutexGuard<Turn>, Result<(), ChangeError>), Problem> {
        let inner = Arc::clone(&self.inner);
        // Held until the change is made, so that a repetition meanwhile is told to wait.
        let token = context.idempotency.clone();
        let (send, receive) = oneshot::channel();
        self.inner.deps.tasks.spawn(async move {
            let result = inner.partitions.control(command, statements).await;
            match &result {
                Ok(()) => {
                    for effect in effects {
                        effect(&inner);
                    }
                }
                Err(ChangeError::Unknown { .. }) => {
                    // Looked at now, for the sake of readers, and again before the next change.
                    turn.behind = true;
                    drop(inner.reload().await);
                }
                Err(_) => {}
            }
            drop(token);
            // Nobody may be waiting any more; then the turn ends here.
            drop(send.send((turn, result)));
        });
        receive.await.map_err(|_| {
            Problem::new(ProblemCode::Unavailable, "the server is stopping").retry_after(1)
        })
    }
}

impl Inner {
    /// Reads the control plane from the store again.
    async fn reload(&self) -> Result<(), Problem> {
        let snapshot = load::snapshot(self.deps.store.as_ref()).await.map_err(|error| {
            tracing::error!(%error, "the catalogue could not be read again");
            unavailable()
        })?;
        let before = self.catalogue.snapshot();
        self.catalogue.replace(snapshot);
        let now = self.catalogue.snapshot();
        for view in before.environments() {
            let environment = now.environment(view.environment.document.id);
            for channel in view.channels.iter().map(|it| it.document.channel.id) {
                if environment.is_none_or(|it| it.channels.get(channel).is_none()) {
                    self.channels.remove(channel);
                }
            }
        }
        channel::register(&self.catalogue, &self.channels, &self.vault);
        Ok(())
    }
}

/// What a caller is told about a change that was not made, or not for certain.
pub(crate) fn problem_of(error: &ChangeError) -> Problem {
    match error {
        ChangeError::Refused { .. } => concurrent_change(),
        ChangeError::NotMeasurable { .. } => {
            let detail = error.to_string();
            Problem::at(ProblemCode::UsageNotMeasurable, "measure_usage_from", detail)
        }
        ChangeError::ClockBackwards => {
            let detail = "something has happened here already, so the clock only goes forward";
            Problem::at(ProblemCode::ClockBackwards, "now", detail)
        }
        ChangeError::Busy => {
            let detail = "too many changes are waiting";
            Problem::new(ProblemCode::TooManyRequests, detail).retry_after(1)
        }
        ChangeError::Unavailable { .. } => {
            tracing::warn!(%error, "a change could not be committed");
            unavailable()
        }
        ChangeError::Unknown { .. } => {
            tracing::warn!(%error, "a change may or may not be committed");
            let detail = "it is not known whether the change was made; read before you try again";
            Problem::new(ProblemCode::Unavailable, detail).retry_after(1)
        }
    }
}

/// The store does not answer.
pub(crate) fn unavailable() -> Problem {
    Problem::new(ProblemCode::Unavailable, "the store does not answer").retry_after(1)
}

/// What a caller is told when a read fails.
pub(crate) fn unreadable(error: &impl std::fmt::Display) -> Problem {
    tracing::warn!(%error, "the store could not be read");
    unavailable()
}

/// Others changed the same thing each time.
pub(crate) fn concurrent_change() -> Problem {
    Problem::new(ProblemCode::ConcurrentChange, "others changed it at the same moment; try again")
}
