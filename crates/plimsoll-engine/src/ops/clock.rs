//! The clock of a sandbox: it follows the machine until it is set, and then stands until it is set
//! again. What becomes due on the way happens in order, before the caller is answered.
//!
//! Not here: what becomes due (`plimsoll-core`), working it off (`partition`).

use std::{sync::Arc, time::Duration};

use plimsoll_core::{command::ControlCommand, ids::EnvironmentId, limits, time::Timestamp};
use serde::{Deserialize, Serialize};

use crate::{
    catalogue::index::Versioned,
    ops::{
        Context, Ops,
        environment::{Environment, EnvironmentKind},
        plan::{Answer, ControlPlan},
        port::ValueError,
        problem::{Problem, ProblemCode},
        scalar::{Time, as_text},
    },
};

/// What the clock of an environment shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Clock {
    /// The environment's time.
    #[serde(with = "as_text")]
    #[schema(value_type = String, format = DateTime, example = "2026-03-01T00:00:00Z")]
    pub now: Timestamp,
    /// Whether it was set, and so stands still; else it follows the machine's clock.
    pub is_set: bool,
}

/// Sets the clock.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetClock {
    /// What the clock shows from now on. Earlier than it shows now only in an environment without
    /// events.
    pub now: Time,
}

/// Moves the clock forward: `by` a time, or `to` one.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AdvanceClock {
    /// How far.
    #[serde(default)]
    pub by: Option<Advance>,
    /// Where to.
    #[serde(default)]
    pub to: Option<Time>,
}

/// How far a clock moves: months of the calendar first, then the rest. What is absent is zero.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Advance {
    /// Months of the calendar; the day is clamped to the end of a shorter month.
    #[schema(example = 1)]
    pub months: u32,
    /// Days of 24 hours.
    pub days: u32,
    /// Hours.
    pub hours: u32,
    /// Minutes.
    pub minutes: u32,
    /// Seconds.
    pub seconds: u32,
}

impl Advance {
    fn from(self, now: Timestamp) -> Timestamp {
        let seconds = i64::from(self.seconds)
            + 60 * i64::from(self.minutes)
            + 3_600 * i64::from(self.hours)
            + 86_400 * i64::from(self.days);
        now.plus_months(self.months).plus_ms(seconds * 1_000)
    }
}

/// Where a clock is to go, given what it shows.
type Aim = dyn Fn(Timestamp) -> Result<Timestamp, Problem> + Send + Sync;

impl Ops {
    /// What the clock of the caller's environment shows.
    pub fn clock(&self, context: &Context) -> Result<Clock, Problem> {
        let view = self.view(context)?;
        let is_set = view.environment.document.clock.is_some();
        Ok(Clock { now: view.environment.document.now(self.machine_now()), is_set })
    }

    /// Sets the clock of the caller's environment, and waits for everything due on the way.
    pub async fn set_clock(&self, context: &Context, request: SetClock) -> Result<Clock, Problem> {
        self.once(context, self.move_clock(context, &move |_| Ok(request.now.0))).await
    }

    /// Moves the clock of the caller's environment forward, and waits for everything due on the
    /// way.
    pub async fn advance_clock(
        &self,
        context: &Context,
        request: AdvanceClock,
    ) -> Result<Clock, Problem> {
        let aim = move |now: Timestamp| {
            let to = match (request.by, request.to) {
                (Some(by), None) => by.from(now),
                (None, Some(to)) => to.0,
                (Some(_), Some(_)) | (None, None) => {
                    return Err(Problem::invalid("by", "give either by or to"));
                }
            };
            if to < now {
                let detail = format!("the clock shows {now} already");
                return Err(Problem::at(ProblemCode::ClockBackwards, "to", detail));
            }
            Ok(to)
        };
        self.once(context, self.move_clock(context, &aim)).await
    }

    async fn move_clock(&self, context: &Context, aim: &Aim) -> Result<Clock, Problem> {
        let clock = self
            .control(context, |view, draft| {
                let Versioned { version, document: before } = view.environment.as_ref();
                if before.kind != EnvironmentKind::Sandbox {
                    let detail = "only the clock of a sandbox can be set";
                    return Err(Problem::new(ProblemCode::ClockNotSettable, detail));
                }
                let now = aim(before.now(draft.now))?;
                let after =
                    Environment { clock: Some(now), updated_at: draft.now, ..before.clone() };
                draft.update(*version, &after, None);
                draft.audit("clock.set", Some(before), Some(&after));
                let command = ControlCommand::SetClock { environment: draft.environment, now };
                let entry = Versioned { version: version + 1, document: after };
                Ok(ControlPlan::new(Answer::changed(Clock { now, is_set: true }))
                    .command(command)
                    .view(draft.environment, |it| it.environment = Arc::new(entry)))
            })
            .await?;
        self.settled(context.environment()).await?;
        Ok(clock)
    }

    /// Waits for what became due, but not for ever: it goes on without anybody waiting.
    async fn settled(&self, environment: EnvironmentId) -> Result<(), Problem> {
        let patience = Duration::from_millis(limits::CLOCK_SETTLE_TIMEOUT_MS);
        let settled = tokio::select! {
            settled = self.inner.partitions.settle(environment) => settled,
            () = self.inner.deps.clock.sleep(patience) => Err(ValueError::Busy),
        };
        settled.map_err(|error| {
            tracing::info!(%error, "a clock was set; what became due is still being worked off");
            let detail = "the clock is set, but what became due is still being worked off; set it \
                          to the same time to wait for that";
            Problem::new(ProblemCode::Unavailable, detail).retry_after(1)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_advance_takes_months_first() {
        let now: Timestamp = "2026-01-31T00:00:00Z".parse().unwrap();
        let by = Advance { months: 1, days: 1, hours: 2, minutes: 3, seconds: 4 };
        assert_eq!(by.from(now).to_string(), "2026-03-01T02:03:04Z");
        let most = u32::MAX;
        let by = Advance { months: 0, days: most, hours: most, minutes: most, seconds: most };
        assert_eq!(by.from(now), Timestamp::MAX);
    }
}
