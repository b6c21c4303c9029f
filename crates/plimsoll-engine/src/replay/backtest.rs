//! Back-tests: what a rule would have sent, had it always been there.
//!
//! The rule is put into the catalogue before the first row of each partition's log; the core does
//! the rest. Nothing is written, and nothing is kept but what the rule itself brings about.
//!
//! Not here: reading the rule from a request (`ops`).

use plimsoll_core::{
    command::ControlCommand,
    effect::{Effect, Reset},
    ids::{EnvironmentId, RuleId},
    limits,
    line::crossing::Crossing,
    rule::{Rule, RuleKind},
    time::Timestamp,
};
use plimsoll_store::{Store, log};

use super::{Replay, ReplayError, archive::ReplayArchive, begin, partition_count};
use crate::partition::rules_for;

/// What to try out.
#[derive(Debug, Clone)]
pub struct Trial {
    /// The rule; its id must be one that no log knows.
    pub rule: Rule,
    /// The first moment that counts, by the environment's clock.
    pub from: Timestamp,
    /// The first moment that does not count any more.
    pub to: Timestamp,
}

/// Something that the rule would have sent.
#[derive(Debug, Clone)]
pub enum Told {
    /// A line was crossed, or left.
    Crossing(Box<Crossing>),
    /// A window began.
    Reset(Box<Reset>),
}

/// What the rule would have sent.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// The first [`limits::BACKTEST_ITEMS`], by time.
    pub told: Vec<Told>,
    /// How many there are.
    pub count: u64,
    /// From when on the log is complete; nothing if it has its first row.
    pub complete_from: Option<Timestamp>,
}

impl Told {
    /// When, by the environment's clock.
    pub fn at(&self) -> Timestamp {
        match self {
            Self::Crossing(it) => it.at,
            Self::Reset(it) => it.at,
        }
    }
}

impl Trial {
    fn environment(&self) -> EnvironmentId {
        self.rule.environment
    }

    fn is_sent(&self, crossing: &Crossing) -> bool {
        crossing.rule.id == self.rule.id
            && crossing.suppression.is_none()
            && self.from <= crossing.at
            && crossing.at < self.to
    }
}

/// Replays the logs of all partitions with the rule in them.
pub async fn run(store: &dyn Store, trial: &Trial) -> Result<Outcome, ReplayError> {
    let mut outcome = Outcome::default();
    for partition in 0..partition_count(store).await? {
        replay(store, partition, trial, &mut outcome).await?;
        // Within a partition they come by time; the sort is stable.
        outcome.told.sort_by_key(Told::at);
        outcome.told.truncate(limits::BACKTEST_ITEMS);
    }
    Ok(outcome)
}

async fn replay(
    store: &dyn Store,
    partition: u32,
    trial: &Trial,
    outcome: &mut Outcome,
) -> Result<(), ReplayError> {
    let last = log::last_position(store, partition).await? as u64;
    let (state, start) = begin(store, partition).await?;
    outcome.complete_from = outcome.complete_from.max(start.base.map(|it| it.at));
    let archive = ReplayArchive::for_late_events(&state);
    let mut replay = Replay::from(partition, state, start.position, archive);
    replay.only_usage_of(trial.environment());
    let mut effects = Vec::new();
    replay.inject(ControlCommand::PutRule(trial.rule.clone()), &mut effects);
    let mut room = limits::BACKTEST_ITEMS;
    while replay.position < last {
        let rows = replay.next_rows(store).await?;
        if rows.is_empty() {
            break;
        }
        for row in rows.iter().take_while(|it| it.position as u64 <= last) {
            replay.apply(row, &mut effects)?;
            for told in effects.drain(..).filter_map(|it| told(it, trial, &replay)) {
                outcome.count += 1;
                if room > 0 {
                    room -= 1;
                    outcome.told.push(told);
                }
            }
            // Others have the thread between rows.
            tokio::task::yield_now().await;
        }
    }
    Ok(())
}

fn told(effect: Effect, trial: &Trial, replay: &Replay<ReplayArchive>) -> Option<Told> {
    match effect {
        Effect::Crossing(it) if trial.is_sent(&it) => Some(Told::Crossing(it)),
        Effect::Reset(it) if trial.rule.kind == RuleKind::Reset => {
            let is_told = trial.from <= it.at && it.at < trial.to;
            let concerns = |id: RuleId| {
                rules_for(replay.state.catalog(), &it).any(|rule| rule.id == id && !rule.disabled)
            };
            (is_told && concerns(trial.rule.id)).then_some(Told::Reset(it))
        }
        Effect::Crossing(_) | Effect::Reset(_) | Effect::Uncounted { .. } => None,
    }
}
