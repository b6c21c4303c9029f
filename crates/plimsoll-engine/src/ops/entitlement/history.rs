//! What became of an entitlement: the windows that it went through, and how its grants burned.
//!
//! Not here: where it stands now (`value`), usage by hour and day.

use plimsoll_core::{
    archive, codec::Corrupt, entitlement::EntitlementValue as CoreValue, ids::GrantId,
    quantity::Quantity, state::ClosedWindow, time::Timestamp,
};
use plimsoll_store::archive::{self as rows, SegmentRow, WindowRow};
use serde::{Deserialize, Serialize};

use crate::ops::{
    Context, Ops,
    control::unreadable,
    entitlement::Entitlement,
    page::ListRequest,
    problem::{Problem, ProblemCode},
    scalar::{Time, as_text, as_text_or_null},
};

/// What part of a history is asked for.
#[derive(Debug, Clone, Copy, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct HistoryRequest {
    /// Windows and segments that end after this moment; all if absent.
    #[serde(default)]
    #[param(value_type = Option<String>)]
    pub from: Option<Time>,
    /// Windows and segments that begin before this moment; all if absent.
    #[serde(default)]
    #[param(value_type = Option<String>)]
    pub to: Option<Time>,
    /// Windows, and segments, at the most, 1 to 1000; 50 if absent.
    #[serde(default)]
    pub limit: Option<usize>,
}

/// What became of an entitlement, the oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct History {
    /// The usage windows in which there was usage, or that someone ended; and the current one.
    pub windows: Vec<UsageWindow>,
    /// Stretches of time in which the same grants burned. There are some only while there are
    /// grants.
    pub segments: Vec<Segment>,
    /// The `from` with which to go on; null if this is all.
    #[serde(with = "as_text_or_null")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_from: Option<Timestamp>,
}

/// What was used in one window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct UsageWindow {
    /// The first moment inside.
    #[serde(with = "as_text")]
    #[schema(value_type = String, format = DateTime)]
    pub from: Timestamp,
    /// The first moment after.
    #[serde(with = "as_text")]
    #[schema(value_type = String, format = DateTime)]
    pub to: Timestamp,
    /// What was used, late events included.
    #[serde(with = "as_text")]
    #[schema(value_type = String, example = "812")]
    pub usage: Quantity,
    /// The effective limit with which it closed; null was unlimited.
    #[serde(with = "as_text_or_null")]
    #[schema(value_type = Option<String>, example = "1000")]
    pub limit: Option<Quantity>,
    /// The effective soft limit with which it closed.
    #[serde(with = "as_text_or_null")]
    #[schema(value_type = Option<String>)]
    pub soft_limit: Option<Quantity>,
    /// What was left.
    #[serde(with = "as_text_or_null")]
    #[schema(value_type = Option<String>, example = "188")]
    pub balance: Option<Quantity>,
    /// What was used beyond the limit.
    #[serde(with = "as_text")]
    #[schema(value_type = String, example = "0")]
    pub overage: Quantity,
    /// Whether it is the current one.
    pub is_current: bool,
}

/// A stretch of time in which the same grants burned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Segment {
    /// Its first moment.
    #[serde(with = "as_text")]
    #[schema(value_type = String, format = DateTime)]
    pub from: Timestamp,
    /// The first moment after it; now, of the one that goes on.
    #[serde(with = "as_text")]
    #[schema(value_type = String, format = DateTime)]
    pub to: Timestamp,
    /// What was used in it.
    #[serde(with = "as_text")]
    #[schema(value_type = String, example = "60")]
    pub usage: Quantity,
    /// What had been used beyond everything at its end.
    #[serde(with = "as_text")]
    #[schema(value_type = String, example = "0")]
    pub overage: Quantity,
    /// What came from where.
    pub burned: Vec<BurnedGrant>,
}

/// What one grant, or the limit, gave in a segment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct BurnedGrant {
    /// The grant; null is the limit of the period.
    #[serde(with = "as_text_or_null")]
    #[schema(value_type = Option<String>)]
    pub grant: Option<GrantId>,
    /// What it had at the start.
    #[serde(with = "as_text")]
    #[schema(value_type = String, example = "100")]
    pub balance_at_start: Quantity,
    /// What was burned of it; below zero where corrections gave back more.
    #[serde(with = "as_text")]
    #[schema(value_type = String, example = "60")]
    pub burned: Quantity,
}

impl UsageWindow {
    fn of(value: &CoreValue, is_current: bool) -> Self {
        Self {
            from: value.window.from,
            to: value.window.to,
            usage: value.usage,
            limit: value.limit,
            soft_limit: value.soft_limit,
            balance: value.balance,
            overage: value.overage,
            is_current,
        }
    }

    fn closed(row: &WindowRow) -> Result<Self, Corrupt> {
        let window = ClosedWindow::decode(&row.payload, row.core_version)?;
        Ok(Self::of(&window.value(), false))
    }
}

impl From<archive::Segment> for Segment {
    fn from(it: archive::Segment) -> Self {
        let burned = it.burned.into_iter().map(|it| BurnedGrant {
            grant: it.grant,
            balance_at_start: it.balance_at_start,
            burned: it.burned,
        });
        let (from, to, usage, overage) = (it.from, it.to, it.usage, it.overage);
        Self { from, to, usage, overage, burned: burned.collect() }
    }
}

impl Segment {
    fn closed(row: &SegmentRow) -> Result<Self, Corrupt> {
        archive::Segment::decode(&row.payload, row.core_version).map(Self::from)
    }
}

impl History {
    /// At most `limit` of each, with where to go on.
    fn cut(mut windows: Vec<UsageWindow>, mut segments: Vec<Segment>, limit: usize) -> Self {
        let next_window = windows.get(limit).map(|it| it.from);
        let next_segment = segments.get(limit).map(|it| it.from);
        let next_from = next_window.into_iter().chain(next_segment).min();
        if let Some(next) = next_from {
            windows.retain(|it| it.from < next);
            segments.retain(|it| it.from < next);
        }
        Self { windows, segments, next_from }
    }
}

impl Ops {
    /// The windows that an entitlement went through, and how its grants burned.
    pub async fn entitlement_history(
        &self,
        context: &Context,
        customer: &str,
        name: &str,
        request: &HistoryRequest,
    ) -> Result<History, Problem> {
        let limit = ListRequest { limit: request.limit, cursor: None }.limit()?;
        let from = request.from.map_or(Timestamp::MIN, |it| it.0);
        let to = request.to.map_or(Timestamp::MAX, |it| it.0);
        if to <= from {
            let detail = "to comes after from";
            return Err(Problem::at(ProblemCode::InvalidParameter, "to", detail));
        }
        let customer = self.customer(context, customer).await?.document.id;
        let found = self.find_entitlement(context, customer, name).await?;
        let entitlement = found.entry.document;
        entitlement.check_metered()?;
        // What is current is read first: what closes meanwhile is then in the store as well.
        let (_, standing) = self.standing(context, customer, &entitlement).await?;
        let (mut windows, mut segments) =
            self.closed_history(&entitlement, (from, to), limit).await?;
        let window = standing.value.window;
        let is_open = |start: Timestamp, end: Timestamp| from < end && start < to;
        if is_open(window.from, window.to) && windows.iter().all(|it| it.from < window.from) {
            windows.push(UsageWindow::of(&standing.value, true));
        }
        let open = standing.segment.filter(|it| is_open(it.from, it.to));
        if let Some(open) = open.filter(|open| segments.iter().all(|it| it.from < open.from)) {
            segments.push(open.into());
        }
        Ok(History::cut(windows, segments, limit))
    }

    /// What the store has: one more of each than `limit`, if there are more.
    async fn closed_history(
        &self,
        entitlement: &Entitlement,
        (from, to): (Timestamp, Timestamp),
        limit: usize,
    ) -> Result<(Vec<UsageWindow>, Vec<Segment>), Problem> {
        let store = self.inner.deps.store.as_ref();
        let most = limit as u32 + 1;
        let windows = rows::windows_of(store, entitlement.id, from, to, most).await;
        let windows = windows.map_err(|it| unreadable(&it))?;
        let windows = windows.iter().map(UsageWindow::closed).collect::<Result<_, _>>();
        let segments = rows::segments_of(store, entitlement.id, from, to, most).await;
        let segments = segments.map_err(|it| unreadable(&it))?;
        let segments = segments.iter().map(Segment::closed).collect::<Result<_, _>>();
        let corrupt = |it: Corrupt| unreadable(&it);
        Ok((windows.map_err(corrupt)?, segments.map_err(corrupt)?))
    }
}
