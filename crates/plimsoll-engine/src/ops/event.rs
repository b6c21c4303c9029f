//! Usage events as they were accepted: read, newest first.
//!
//! Not here: accepting them (`ingest`), finding them on the log (`reads`).

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use plimsoll_core::{ids::CustomerId, limits, time::Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{
    catalogue::EnvironmentView,
    ops::{
        Context, Ops,
        control::unreadable,
        page::ListRequest,
        problem::{Problem, ProblemCode},
        scalar::{Time, as_text, as_text_or_null},
    },
    reads::{EventFilter, EventPlace, ListedEvent, ScanBudget, ScanError},
};

/// A usage event that was accepted, and what became of it.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct AcceptedEvent {
    /// The event as it was sent, extension attributes included.
    #[schema(value_type = serde_json::Value)]
    pub event: Box<RawValue>,
    /// The id of the customer that its subject was when it was accepted.
    #[serde(with = "as_text")]
    #[schema(value_type = String, example = "cus_01K0000000000000000000000A")]
    pub customer: CustomerId,
    /// Its effective time: its own `time`, or `accepted_at` if it names none or a later one.
    #[serde(with = "as_text")]
    #[schema(value_type = String, format = DateTime)]
    pub time: Timestamp,
    /// When it was accepted, by the environment's clock.
    #[serde(with = "as_text")]
    #[schema(value_type = String, format = DateTime)]
    pub accepted_at: Timestamp,
    /// Whether every meter of its type counted it; true, too, if there is no such meter.
    pub counted: bool,
    /// The meters that could not count it, and why; absent if it was counted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub uncounted: Vec<UncountedBy>,
}

/// One page of accepted events.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct AcceptedEvents {
    /// The events, the newest first.
    pub items: Vec<AcceptedEvent>,
    /// What to ask for the next page with; null at the end.
    pub next_cursor: Option<String>,
    /// Events that were accepted before this may have been pruned; null if none ever was.
    #[serde(with = "as_text_or_null")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub complete_from: Option<Timestamp>,
}

/// A meter that could not count an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct UncountedBy {
    /// The meter's key, or its id if it has been deleted.
    #[schema(example = "tokens")]
    pub meter: String,
    /// Why, as a stable code.
    #[schema(example = "value_missing")]
    pub code: String,
}

/// Which events to list, the newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct EventQuery {
    /// Only of this customer, by key or id.
    #[serde(default)]
    pub customer: Option<String>,
    /// Only of this `type`.
    #[serde(default)]
    pub r#type: Option<String>,
    /// Only with this `subject`.
    #[serde(default)]
    pub subject: Option<String>,
    /// Only from this `source`.
    #[serde(default)]
    pub source: Option<String>,
    /// Only with this `id`.
    #[serde(default)]
    pub id: Option<String>,
    /// Only those whose effective time is this or later.
    #[serde(default)]
    #[param(value_type = Option<String>, format = DateTime)]
    pub from: Option<Time>,
    /// Only those whose effective time is before this.
    #[serde(default)]
    #[param(value_type = Option<String>, format = DateTime)]
    pub to: Option<Time>,
    /// `true`: only those that every meter of their type counted; `false`: only those that a
    /// meter could not count.
    #[serde(default)]
    pub counted: Option<bool>,
    /// Events of the page at the most, 1 to 1000; 50 if absent.
    #[serde(default)]
    pub limit: Option<usize>,
    /// The `next_cursor` of the page before.
    #[serde(default)]
    pub cursor: Option<String>,
}

impl Ops {
    /// Accepted events, the newest first.
    ///
    /// A page may be short, or empty, although more follow: what one request reads is bounded.
    pub async fn list_events(
        &self,
        context: &Context,
        query: &EventQuery,
    ) -> Result<AcceptedEvents, Problem> {
        let page = ListRequest { limit: query.limit, cursor: query.cursor.clone() };
        let limit = page.limit()?;
        let after = query.cursor.as_deref().map(read_cursor).transpose()?;
        let filter = self.event_filter(context, query).await?;
        let events = &self.inner.events;
        let budget = ScanBudget::default();
        let found = events.list(context.environment(), &filter, after, limit, budget).await;
        let found = found.map_err(|it| unscannable(&it))?;
        let view = self.view(context)?;
        let items = found.events.into_iter().map(|it| AcceptedEvent::of(it, &view));
        let items = items.collect::<Result<_, _>>()?;
        let complete_from = events.complete_from().await.map_err(|it| unreadable(&it))?;
        Ok(AcceptedEvents { items, next_cursor: found.last.map(write_cursor), complete_from })
    }

    async fn event_filter(
        &self,
        context: &Context,
        query: &EventQuery,
    ) -> Result<EventFilter, Problem> {
        let customer = match &query.customer {
            Some(name) => Some(self.filter_customer(context, name).await?),
            None => None,
        };
        Ok(EventFilter {
            customer,
            event_type: attribute("type", query.r#type.as_deref())?,
            subject: attribute("subject", query.subject.as_deref())?,
            source: attribute("source", query.source.as_deref())?,
            id: attribute("id", query.id.as_deref())?,
            from: query.from.map(|it| it.0),
            to: query.to.map(|it| it.0),
            counted: query.counted,
        })
    }
}

impl AcceptedEvent {
    fn of(listed: ListedEvent, view: &EnvironmentView) -> Result<Self, Problem> {
        let uncounted = listed.uncounted.into_iter().map(|it| {
            let meter = view.meters.get(it.meter);
            let meter = meter.map_or_else(|| it.meter.to_string(), |it| it.document.key.clone());
            UncountedBy { meter, code: it.code }
        });
        let uncounted: Vec<_> = uncounted.collect();
        Ok(Self {
            event: RawValue::from_string(listed.raw).map_err(|it| unreadable(&it))?,
            customer: listed.customer,
            time: listed.time,
            accepted_at: listed.place.stamped_at,
            counted: uncounted.is_empty(),
            uncounted,
        })
    }
}

/// An attribute that an event can have; what it cannot have would be searched for in vain.
fn attribute(name: &str, text: Option<&str>) -> Result<Option<String>, Problem> {
    let bound = limits::EVENT_ATTRIBUTE_BYTES;
    match text {
        Some(text) if text.is_empty() || text.len() > bound => {
            let detail = format!("{name} has 1 to {bound} bytes");
            Err(Problem::at(ProblemCode::InvalidParameter, name, detail))
        }
        text => Ok(text.map(str::to_owned)),
    }
}

/// A cursor is the place of the last event that was shown.
fn write_cursor(place: EventPlace) -> String {
    let EventPlace { stamped_at, partition, position, index } = place;
    URL_SAFE_NO_PAD.encode(format!("{}.{partition}.{position}.{index}", stamped_at.as_ms()))
}

fn read_cursor(cursor: &str) -> Result<EventPlace, Problem> {
    let place = URL_SAFE_NO_PAD.decode(cursor).ok().and_then(|bytes| {
        let text = String::from_utf8(bytes).ok()?;
        let mut parts = text.split('.');
        let place = EventPlace {
            stamped_at: Timestamp::from_ms(parts.next()?.parse().ok()?),
            partition: parts.next()?.parse().ok()?,
            position: parts.next()?.parse().ok()?,
            index: parts.next()?.parse().ok()?,
        };
        parts.next().is_none().then_some(place)
    });
    place.ok_or_else(|| {
        let detail = "the cursor is not the next_cursor of a page of events";
        Problem::at(ProblemCode::InvalidCursor, "cursor", detail)
    })
}

fn unscannable(error: &ScanError) -> Problem {
    match error {
        ScanError::Read(error) => unreadable(error),
        ScanError::Corrupt { .. } => {
            tracing::error!(%error, "a row of the log cannot be read");
            Problem::new(ProblemCode::Internal, "a row of the log cannot be read")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_read_back_and_nothing_else_is_one() {
        let stamped_at = Timestamp::from_ms(-1);
        let place = EventPlace { stamped_at, partition: 3, position: i64::MAX, index: u32::MAX };
        assert_eq!(read_cursor(&write_cursor(place)), Ok(place));
        let wrong = ["", "1", "1.2.3", "1.2.3.4.5", "1.-2.3.4", "a.2.3.4", "1.2.3.", "é"];
        for text in wrong {
            let error = read_cursor(&URL_SAFE_NO_PAD.encode(text)).unwrap_err();
            assert_eq!(error.code, ProblemCode::InvalidCursor, "{text}");
        }
        assert!(read_cursor("1.2.3.4").is_err());
    }
}
