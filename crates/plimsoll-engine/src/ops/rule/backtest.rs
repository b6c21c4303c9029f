//! What a rule would have sent between two dates: the request and its answer.
//!
//! Not here: finding it out (`replay::backtest`).

use plimsoll_core::{
    effect::Reset,
    entitlement::EntitlementValue,
    ids::{CustomerId, FeatureId, LineId, RuleId},
    limits,
    line::crossing::Crossing,
    quantity::Quantity,
    rule,
    time::Timestamp,
};
use serde::{Deserialize, Serialize};

use crate::{
    catalogue::EnvironmentView,
    ops::{
        Context, Ops,
        control::unavailable,
        problem::{Problem, ProblemCode},
        rule::{CreateRule, StoredRule, checks::Surroundings},
        scalar::{Time, as_text, as_text_or_null},
    },
    replay::{
        ReplayError,
        backtest::{self, Outcome, Told, Trial},
    },
};

/// A rule to be tried out on what has happened.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BacktestRule {
    /// The rule, as it would be made. `disabled` is not looked at.
    pub rule: CreateRule,
    /// The first moment that counts, by the environment's clock.
    pub from: Time,
    /// The first moment that does not count any more.
    pub to: Time,
}

/// What a rule would have sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Backtest {
    /// The first thousand of what it would have sent, by time.
    pub items: Vec<BacktestItem>,
    /// How many there are, those beyond the items included.
    pub count: u64,
    /// The first moment that counted.
    #[serde(with = "as_text")]
    #[schema(value_type = String, format = DateTime)]
    pub from: Timestamp,
    /// The first moment that did not count any more.
    #[serde(with = "as_text")]
    #[schema(value_type = String, format = DateTime)]
    pub to: Timestamp,
    /// Whether everything since `from` is still on the log.
    pub complete: bool,
    /// From when on the log is complete; null if nothing was pruned yet.
    #[serde(with = "as_text_or_null")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub complete_from: Option<Timestamp>,
}

/// A notification that the rule would have made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct BacktestItem {
    /// When, by the environment's clock.
    #[serde(with = "as_text")]
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// The type of the notification.
    pub r#type: String,
    /// About whom.
    #[serde(with = "as_text")]
    #[schema(value_type = String)]
    pub customer: CustomerId,
    /// The key of the feature; its id if it has been deleted.
    pub feature: String,
    /// The line; null for a reset.
    pub line: Option<BacktestLine>,
    /// `crossed` or `resolved`; null for a reset.
    pub edge: Option<String>,
    /// What it was worth after that.
    pub value: BacktestValue,
    /// Why.
    pub cause: String,
    /// Whether it happened in a window that had closed.
    pub late: bool,
}

/// The line that was crossed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct BacktestLine {
    /// What the value is measured on.
    pub kind: String,
    /// The level as the rule says it.
    #[serde(with = "as_text")]
    #[schema(value_type = String)]
    pub value: Quantity,
    /// Where it stood: 80 percent of 1000 is 800.
    #[serde(with = "as_text")]
    #[schema(value_type = String)]
    pub level: Quantity,
    /// How many multiples were passed at once.
    pub count: u64,
    /// The group-by value whose usage crossed, of a line on groups.
    pub group: Option<String>,
}

/// Where an entitlement stood.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct BacktestValue {
    /// What was used in the window.
    #[serde(with = "as_text")]
    #[schema(value_type = String)]
    pub usage: Quantity,
    /// The hard limit; null without one.
    #[serde(with = "as_text_or_null")]
    #[schema(value_type = Option<String>)]
    pub limit: Option<Quantity>,
    /// What was left; null without a limit.
    #[serde(with = "as_text_or_null")]
    #[schema(value_type = Option<String>)]
    pub balance: Option<Quantity>,
}

impl Ops {
    /// What a rule would have sent, had it always been there. It reads the log and changes nothing.
    pub async fn backtest_rule(
        &self,
        context: &Context,
        request: BacktestRule,
    ) -> Result<Backtest, Problem> {
        let (from, to) = (request.from.0, request.to.0);
        if from >= to {
            return Err(Problem::invalid("to", "to must be later than from"));
        }
        let Ok(_permit) = self.inner.backtests.try_acquire() else {
            let detail = "another back-test is running";
            return Err(Problem::new(ProblemCode::TooManyRequests, detail).retry_after(5));
        };
        let customers = self.find_customers(context, &request.rule.customers).await?;
        let view = self.view(context)?;
        let mint_line = || self.mint(LineId::from_parts);
        let around =
            Surroundings { view: &view, customers, mint_line: &mint_line, now: context.now };
        let id = self.mint(RuleId::from_parts);
        let stored: StoredRule = request.rule.into_stored(id, around)?;
        let mut rule = stored.to_core(context.environment());
        rule.disabled = false;
        let trial = Trial { rule, from, to };
        let outcome = backtest::run(&*self.inner.deps.store, &trial).await;
        Ok(Backtest::of(outcome.map_err(|it| problem_of(&it))?, &trial, &view))
    }
}

fn problem_of(error: &ReplayError) -> Problem {
    match error {
        ReplayError::Pruned => {
            let detail = "the log was pruned meanwhile; try again";
            Problem::new(ProblemCode::Unavailable, detail).retry_after(1)
        }
        ReplayError::Read(error) => {
            tracing::warn!(%error, "the log could not be read");
            unavailable()
        }
        error => {
            tracing::error!(%error, "the log could not be replayed");
            Problem::new(ProblemCode::Internal, "the log could not be replayed")
        }
    }
}

impl Backtest {
    fn of(outcome: Outcome, trial: &Trial, view: &EnvironmentView) -> Self {
        let Outcome { told, count, complete_from } = outcome;
        debug_assert!(told.len() <= limits::BACKTEST_ITEMS);
        let items = told.iter().map(|it| match it {
            Told::Crossing(it) => of_crossing(it, view),
            Told::Reset(it) => of_reset(it, view),
        });
        Self {
            items: items.collect(),
            count,
            from: trial.from,
            to: trial.to,
            complete: complete_from.is_none_or(|it| it <= trial.from),
            complete_from,
        }
    }
}

fn feature_key(view: &EnvironmentView, id: FeatureId) -> String {
    view.features.get(id).map_or_else(|| id.to_string(), |it| it.document.key.clone())
}

fn of_crossing(crossing: &Crossing, view: &EnvironmentView) -> BacktestItem {
    BacktestItem {
        at: crossing.at,
        r#type: crossing.rule.kind.notification_type().to_owned(),
        customer: crossing.customer,
        feature: feature_key(view, crossing.feature),
        line: Some(BacktestLine {
            kind: crossing.line.kind.name().to_owned(),
            value: crossing.line.value,
            level: crossing.level,
            count: crossing.count,
            group: crossing.identity.group.as_deref().map(str::to_owned),
        }),
        edge: Some(crossing.identity.edge.name().to_owned()),
        value: BacktestValue::of(&crossing.value),
        cause: crossing.cause.name().to_owned(),
        late: crossing.late,
    }
}

fn of_reset(reset: &Reset, view: &EnvironmentView) -> BacktestItem {
    BacktestItem {
        at: reset.at,
        r#type: rule::RESET.to_owned(),
        customer: reset.customer,
        feature: feature_key(view, reset.feature),
        line: None,
        edge: None,
        value: BacktestValue::of(&reset.opened),
        cause: reset.cause.name().to_owned(),
        late: false,
    }
}

impl BacktestValue {
    fn of(value: &EntitlementValue) -> Self {
        Self { usage: value.usage, limit: value.limit, balance: value.balance }
    }
}
