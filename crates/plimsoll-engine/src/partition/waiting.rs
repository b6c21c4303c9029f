//! Requests that wait until their environment has caught up with its clock.
//!
//! A sandbox whose clock was moved far has much to work off, in many turns. What is asked of it
//! meanwhile waits here, in order, so that everything due happens first; requests for other
//! environments pass.
//!
//! Not here: what is due (`memory`, `plimsoll-core`), the turn itself (`owner`).

use std::collections::BTreeSet;

use plimsoll_core::{ids::EnvironmentId, limits};

use super::{UsageError, UsageRequest, gathered::Gathered};
use crate::ops::port::ChangeError;

/// The requests that wait.
#[derive(Default)]
pub(super) struct Waiting {
    held: Gathered,
}

impl Waiting {
    pub(super) fn is_empty(&self) -> bool {
        self.held.usage.is_empty() && self.held.changes.is_empty() && self.held.settles.is_empty()
    }

    /// The usage among them.
    pub(super) fn usage(&self) -> &[UsageRequest] {
        &self.held.usage
    }

    /// Takes from `turn` what is for unsettled environments, and gives what waited long enough.
    pub(super) fn exchange(&mut self, turn: &mut Gathered, unsettled: &BTreeSet<EnvironmentId>) {
        if unsettled.is_empty() && self.is_empty() {
            return;
        }
        // What waited came first.
        let mut all = std::mem::take(&mut self.held);
        all.append(std::mem::take(turn));
        let replies = std::mem::take(&mut all.usage_replies);
        for (request, reply) in std::mem::take(&mut all.usage).into_iter().zip(replies) {
            if !unsettled.contains(&request.environment) {
                turn.events += request.events.len().max(1);
                turn.usage.push(request);
                turn.usage_replies.push(reply);
            } else if self.held.events >= limits::COMMIT_EVENTS {
                drop(reply.send(Err(UsageError::Busy)));
            } else {
                self.held.events += request.events.len().max(1);
                self.held.usage.push(request);
                self.held.usage_replies.push(reply);
            }
        }
        for (change, reply) in std::mem::take(&mut all.changes) {
            if !unsettled.contains(&change.environment) {
                turn.events += 1;
                turn.changes.push((change, reply));
            } else if self.held.events >= limits::COMMIT_EVENTS {
                drop(reply.send(Err(ChangeError::Busy)));
            } else {
                self.held.events += 1;
                self.held.changes.push((change, reply));
            }
        }
        for (environment, reply) in std::mem::take(&mut all.settles) {
            let place = if unsettled.contains(&environment) { &mut self.held } else { &mut *turn };
            place.settles.push((environment, reply));
        }
        turn.take_rest(all);
    }

    /// Answers all of them with "not now".
    pub(super) fn fail(&mut self, detail: &str) {
        self.held.fail(detail);
    }
}
