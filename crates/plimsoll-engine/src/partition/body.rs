//! The bodies of notifications in Plimsoll's own format.
//!
//! The documents inside are JSON already and are taken as they stand, but for an entitlement of
//! which something was to come.
//!
//! Not here: other wire formats (`delivery::formats`), who gets a notification (`notice`).

use std::borrow::Cow;

use plimsoll_core::{
    effect::Reset,
    entitlement::{EntitlementValue, period::Window},
    ids::{CustomerId, EntitlementId},
    line::Line,
    quantity::Quantity,
    rule::{self, Rule},
    time::Timestamp,
};
use serde::Serialize;
use serde_json::value::RawValue;

use super::{documents::Documents, memory::FoundCrossing};
use crate::{
    ingest::{event::EventReader, json::Scanner},
    ops::port::entitlement_at,
};

#[derive(Serialize)]
struct Body<D> {
    id: String,
    r#type: &'static str,
    timestamp: String,
    data: D,
}

/// The resources that every notification about an entitlement shows.
#[derive(Serialize)]
struct Resources<'a> {
    customer: Cow<'a, RawValue>,
    feature: Cow<'a, RawValue>,
    entitlement: Cow<'a, RawValue>,
}

#[derive(Serialize)]
struct CrossingData<'a> {
    #[serde(flatten)]
    resources: Resources<'a>,
    line: LineView<'a>,
    value: ValueView,
    previous_usage: String,
    cause: &'static str,
    edge: &'static str,
    window: WindowView,
    late: bool,
    rule: RuleView<'a>,
    crossed_by: Option<EventView<'a>>,
}

#[derive(Serialize)]
struct LineView<'a> {
    kind: &'static str,
    value: String,
    level: String,
    /// The multiple, or the upper bound of the tier.
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<String>,
    /// How many multiples were passed at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<GroupView<'a>>,
}

#[derive(Serialize)]
struct GroupView<'a> {
    key: &'a str,
    value: &'a str,
}

#[derive(Serialize)]
struct ResetData<'a> {
    #[serde(flatten)]
    resources: Resources<'a>,
    value: ValueView,
    window: WindowView,
    previous: ValueView,
    previous_window: WindowView,
    cause: &'static str,
    skipped: u64,
    rule: Option<RuleView<'a>>,
}

#[derive(Serialize)]
struct ValueView {
    usage: String,
    limit: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    soft_limit: Option<String>,
    balance: Option<String>,
    overage: String,
}

#[derive(Serialize)]
struct WindowView {
    from: String,
    to: String,
}

#[derive(Serialize)]
struct RuleView<'a> {
    id: String,
    name: Cow<'a, RawValue>,
}

#[derive(serde::Deserialize)]
struct RuleName<'a> {
    #[serde(borrow)]
    name: &'a RawValue,
}

#[derive(Serialize)]
struct EventView<'a> {
    source: Cow<'a, str>,
    id: Cow<'a, str>,
    subject: Cow<'a, str>,
    time: String,
}

/// That a line was crossed.
pub(super) fn of_crossing(found: &FoundCrossing, feature: &[u8], documents: &Documents) -> Vec<u8> {
    let crossing = &found.crossing;
    let identity = &crossing.identity;
    let data = CrossingData {
        resources: resources(
            crossing.customer,
            identity.entitlement,
            feature,
            documents,
            crossing.at,
        ),
        line: LineView::of(
            &crossing.line,
            crossing.level,
            (identity.step, crossing.count),
            identity.group.as_deref(),
        ),
        value: ValueView::of(&crossing.value),
        previous_usage: crossing.previous_usage.to_string(),
        cause: crossing.cause.name(),
        edge: identity.edge.name(),
        window: WindowView::of(crossing.value.window),
        late: crossing.late,
        rule: RuleView::of(&crossing.rule),
        crossed_by: found.crossed_by.as_deref().and_then(|it| event_view(it, crossing.at)),
    };
    to_json(&Body {
        id: crossing.notification_id().to_string(),
        r#type: crossing.rule.kind.notification_type(),
        timestamp: crossing.at.to_string(),
        data,
    })
}

/// That a new window has begun.
pub(super) fn of_reset(
    reset: &Reset,
    rule: Option<&Rule>,
    feature: &[u8],
    documents: &Documents,
) -> Vec<u8> {
    let data = ResetData {
        resources: resources(reset.customer, reset.entitlement, feature, documents, reset.at),
        value: ValueView::of(&reset.opened),
        window: WindowView::of(reset.opened.window),
        previous: ValueView::of(&reset.closed),
        previous_window: WindowView::of(reset.closed.window),
        cause: reset.cause.name(),
        skipped: reset.skipped,
        rule: rule.map(RuleView::of),
    };
    to_json(&Body {
        id: reset.notification_id(rule.map(|it| it.id)).to_string(),
        r#type: rule::RESET,
        timestamp: reset.at.to_string(),
        data,
    })
}

fn to_json(body: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(body).expect("strings and JSON make JSON")
}

fn resources<'a>(
    customer: CustomerId,
    entitlement: EntitlementId,
    feature: &'a [u8],
    documents: &'a Documents,
    at: Timestamp,
) -> Resources<'a> {
    let stored = documents.get(&entitlement.to_string());
    Resources {
        customer: raw(documents.get(&customer.to_string())),
        feature: raw(feature),
        entitlement: entitlement_at(stored, at).map_or_else(
            || raw(stored),
            |json| RawValue::from_string(json).map_or_else(|_| raw(stored), Cow::Owned),
        ),
    }
}

impl<'a> LineView<'a> {
    fn of(
        line: &'a Line,
        level: Quantity,
        (step, count): (Option<Quantity>, u64),
        group: Option<&'a str>,
    ) -> Self {
        Self {
            kind: line.kind.name(),
            value: line.value.to_string(),
            level: level.to_string(),
            step: step.map(|it| it.to_string()),
            count: (line.kind == plimsoll_core::line::LineKind::Every).then_some(count),
            group: line
                .group
                .as_ref()
                .zip(group)
                .map(|(line, value)| GroupView { key: &line.key, value }),
        }
    }
}

impl ValueView {
    fn of(value: &EntitlementValue) -> Self {
        Self {
            usage: value.usage.to_string(),
            limit: value.limit.map(|it| it.to_string()),
            soft_limit: value.soft_limit.map(|it| it.to_string()),
            balance: value.balance.map(|it| it.to_string()),
            overage: value.overage.to_string(),
        }
    }
}

impl WindowView {
    fn of(window: Window) -> Self {
        Self { from: window.from.to_string(), to: window.to.to_string() }
    }
}

impl<'a> RuleView<'a> {
    fn of(rule: &'a Rule) -> Self {
        let name = serde_json::from_slice::<RuleName<'_>>(&rule.document)
            .map_or_else(|_| raw(b"null"), |it| Cow::Borrowed(it.name));
        Self { id: rule.id.to_string(), name }
    }
}

fn raw(json: &[u8]) -> Cow<'_, RawValue> {
    serde_json::from_slice::<&RawValue>(json)
        .map_or_else(|_| Cow::Owned(RawValue::NULL.to_owned()), Cow::Borrowed)
}

fn event_view(raw: &str, stamp: Timestamp) -> Option<EventView<'_>> {
    let mut scanner = Scanner::new(raw);
    let event = EventReader::default().read(&mut scanner).ok()?.ok()?;
    let time = event.time.unwrap_or(stamp).to_string();
    Some(EventView { source: event.source, id: event.id, subject: event.subject, time })
}
