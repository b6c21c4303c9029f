//! What was used when, by whom: names, defaults and bounds of a request, and its answer.
//!
//! Not here: adding it up (`reads::usage`), CSV (`plimsoll-server`).

use std::collections::BTreeSet;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use plimsoll_core::{
    catalog::meter as core,
    codec::{Corrupt, Reader, Writer},
    entitlement::period::{Interval, UsagePeriod, Window},
    ids::{CustomerId, MeterId},
    key::looks_like_id,
    limits,
    quantity::Quantity,
    time::Timestamp,
};
use serde::{Deserialize, Serialize, Serializer, ser::SerializeMap};

use crate::{
    catalogue::subjects::Resolution,
    ops::{
        Context, Ops,
        control::unreadable,
        page::ListRequest,
        problem::{Problem, ProblemCode},
        scalar::{Time, as_text, as_text_or_null},
    },
    reads::usage::{GroupFilter, RowKey, Step, UsageError, UsageQuery, UsageRow, open::NotNow},
};

/// The name in `group_by` that stands for the customer.
const CUSTOMER: &str = "customer";
/// After how many seconds a busy partition may be asked again.
const BUSY_RETRY_S: u32 = 1;

/// What usage is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct UsageRequest {
    /// The meter, by key or id.
    pub meter: String,
    /// Only these customers, by key, id or subject, separated by commas; everybody if absent.
    #[serde(default)]
    pub customers: Option<String>,
    /// What has rows of its own: `customer`, or group-by keys of the meter, separated by commas.
    #[serde(default)]
    pub group_by: Option<String>,
    /// `minute`, `hour`, `day` or `month`: each has rows of its own. If absent, the range has.
    #[serde(default)]
    pub window: Option<String>,
    /// The first moment, a whole hour, or a whole minute for `window=minute`; the start of the
    /// month if absent.
    #[serde(default)]
    #[param(value_type = Option<String>, format = DateTime)]
    pub from: Option<Time>,
    /// The first moment after the range, likewise whole; the end of the present hour or minute if
    /// absent.
    #[serde(default)]
    #[param(value_type = Option<String>, format = DateTime)]
    pub to: Option<Time>,
    /// Rows of the page, 1 to 1000; 50 if absent.
    #[serde(default)]
    pub limit: Option<usize>,
    /// The `next_cursor` of the page before.
    #[serde(default)]
    pub cursor: Option<String>,
    /// Only usage with these values: a group-by key of the meter, and values separated by commas.
    /// All keys must fit, each with one of its values. In a query `filter[key]=a,b`.
    #[serde(skip)]
    #[param(ignore)]
    pub filters: Vec<(String, String)>,
}

/// What was used, in rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Usage {
    /// The id of the meter.
    #[serde(with = "as_text")]
    #[schema(value_type = String, example = "mtr_01K0000000000000000000000A")]
    pub meter: MeterId,
    /// The first moment of the range.
    #[serde(with = "as_text")]
    #[schema(value_type = String, format = DateTime)]
    pub from: Timestamp,
    /// The first moment after the range.
    #[serde(with = "as_text")]
    #[schema(value_type = String, format = DateTime)]
    pub to: Timestamp,
    /// How long the time of one row is; null if it is the range.
    #[schema(example = "day")]
    pub window: Option<String>,
    /// The group-by keys that rows are told apart by.
    #[serde(skip)]
    pub groups: Vec<String>,
    /// Whether rows are told apart by customer.
    #[serde(skip)]
    pub by_customer: bool,
    /// The rows, by customer, time and group.
    pub items: Vec<UsageItem>,
    /// Where the next page begins; null on the last page.
    pub next_cursor: Option<String>,
}

/// What was used in one window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct UsageItem {
    /// The first moment of the window, inside the range.
    #[serde(with = "as_text")]
    #[schema(value_type = String, format = DateTime)]
    pub from: Timestamp,
    /// The first moment after it.
    #[serde(with = "as_text")]
    #[schema(value_type = String, format = DateTime)]
    pub to: Timestamp,
    /// The value; null where there is none, as the least of no values.
    #[serde(with = "as_text_or_null")]
    #[schema(value_type = Option<String>, example = "1234.5")]
    pub value: Option<Quantity>,
    /// The customer's id, with `group_by=customer`.
    #[serde(skip_serializing_if = "Option::is_none", with = "as_text_or_null")]
    #[schema(value_type = Option<String>, example = "cus_01K0000000000000000000000A")]
    pub customer: Option<CustomerId>,
    /// The values of the group-by keys that were asked for; null where events have none.
    #[serde(skip_serializing_if = "Groups::is_empty")]
    #[schema(value_type = Option<BTreeMap<String, Option<String>>>)]
    pub group: Groups,
}

/// Group-by keys and their values, in the order in which they were asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Groups(pub Vec<(String, Option<Box<str>>)>);

impl Groups {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Groups {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in &self.0 {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

impl Ops {
    /// What was used in a range of time.
    pub async fn usage(&self, context: &Context, request: UsageRequest) -> Result<Usage, Problem> {
        let page = ListRequest { limit: request.limit, cursor: None };
        let limit = page.limit()?;
        let meter = self.usage_meter(context, &request.meter)?;
        let step = read_window(request.window.as_deref())?;
        let usage = &self.inner.usage;
        let now = usage.clock(context.environment()).await.map_err(|it| unanswered(&it))?;
        let range = read_range(step, request.from, request.to, now)?;
        let (by_customer, by) = read_group_by(&meter, request.group_by.as_deref())?;
        let filters = read_filters(&meter, &request.filters)?;
        let customers = match &request.customers {
            Some(names) => Some(self.usage_customers(context, names).await?),
            None => None,
        };
        let after = request.cursor.as_deref();
        let after = after.map(|it| read_cursor(it, by_customer, by.len())).transpose()?;
        let name = |place: &usize| meter.group_by.get(*place).map(|it| it.name.to_string());
        let groups: Vec<String> = by.iter().filter_map(name).collect();
        let id = meter.id;
        let meter = meter.into();
        let query = UsageQuery {
            meter,
            customers,
            by_customer,
            by,
            filters,
            step,
            range,
            now,
            after,
            limit,
        };
        let found = usage.read(&query).await.map_err(|it| unanswered(&it))?;
        Ok(Usage {
            meter: id,
            from: range.from,
            to: range.to,
            window: request.window,
            by_customer,
            items: found.rows.into_iter().map(|it| UsageItem::of(it, &groups)).collect(),
            groups,
            next_cursor: found.next.as_ref().map(write_cursor),
        })
    }

    /// What the rules depend on of the meter with this key or id.
    fn usage_meter(&self, context: &Context, name: &str) -> Result<core::Meter, Problem> {
        let view = self.view(context)?;
        let meter = view.meters.find(name).ok_or_else(|| {
            let detail = format!("there is no meter {name:?}");
            Problem::at(ProblemCode::MeterNotFound, "meter", detail)
        })?;
        meter.document.to_core(context.environment())
    }

    async fn usage_customers(
        &self,
        context: &Context,
        names: &str,
    ) -> Result<BTreeSet<CustomerId>, Problem> {
        let mut customers = BTreeSet::new();
        for name in read_names("customers", names)? {
            customers.insert(self.usage_customer(context, name).await?);
        }
        Ok(customers)
    }

    /// By id even a deleted customer can be asked for: what it used stays.
    async fn usage_customer(&self, context: &Context, name: &str) -> Result<CustomerId, Problem> {
        let nobody = || {
            let detail = format!("there is no customer {name:?}");
            Problem::at(ProblemCode::CustomerNotFound, "customers", detail)
        };
        if looks_like_id(name) {
            return name.parse().map_err(|_| nobody());
        }
        if let Some(found) = self.find_customer(context, name).await? {
            return Ok(found.document.id);
        }
        let subjects = self.inner.catalogue.subjects();
        match subjects.resolve(context.environment(), name) {
            Some(Resolution::Known { customer } | Resolution::Deleted { customer }) => Ok(customer),
            Some(Resolution::Reserved { .. }) | None => Err(nobody()),
        }
    }
}

impl UsageItem {
    fn of(row: UsageRow, groups: &[String]) -> Self {
        let group = groups.iter().cloned().zip(row.group).collect();
        Self {
            from: row.window.from,
            to: row.window.to,
            value: row.value,
            customer: row.customer,
            group: Groups(group),
        }
    }
}

fn read_window(name: Option<&str>) -> Result<Step, Problem> {
    Ok(match name {
        None => Step::Whole,
        Some("minute") => Step::Minute,
        Some("hour") => Step::Hour,
        Some("day") => Step::Day,
        Some("month") => Step::Month,
        Some(other) => {
            let detail =
                format!("{other:?} is not a window; there are minute, hour, day and month");
            return Err(Problem::at(ProblemCode::InvalidParameter, "window", detail));
        }
    })
}

/// The range that is asked for, or that of the present month as far as there is usage.
fn read_range(
    step: Step,
    from: Option<Time>,
    to: Option<Time>,
    now: Timestamp,
) -> Result<Window, Problem> {
    let grain_ms = step.grain_ms();
    let whole = |name: &str, time: Timestamp| {
        if time.as_ms().rem_euclid(grain_ms) == 0 {
            return Ok(time);
        }
        let length = if step == Step::Minute { "minute" } else { "hour" };
        let detail = format!("{name} is not the start of a whole {length} in UTC");
        Err(Problem::at(ProblemCode::TimeNotAligned, name, detail))
    };
    let present = now.plus_ms(-now.as_ms().rem_euclid(grain_ms));
    let to = to.map_or_else(|| Ok(present.plus_ms(grain_ms)), |it| whole("to", it.0))?;
    let from = match from {
        Some(from) => whole("from", from.0)?,
        None if step == Step::Minute => {
            let day = present.plus_ms(grain_ms - limits::USAGE_MINUTES_MS);
            month_of(now).max(day)
        }
        None => month_of(now),
    };
    if from >= to {
        let detail = "to is not after from";
        return Err(Problem::at(ProblemCode::InvalidParameter, "to", detail));
    }
    if step == Step::Minute && now.ms_since(from) > limits::USAGE_MINUTES_MS {
        let detail = "minutes are counted for the last 24 hours; ask for hours";
        return Err(Problem::at(ProblemCode::MinutesTooOld, "from", detail));
    }
    Ok(Window { from, to })
}

fn month_of(time: Timestamp) -> Timestamp {
    UsagePeriod { interval: Interval::Month, anchor: None }.window_at(time).from
}

/// Whether rows are by customer, and the places of the group-by keys that they are by.
fn read_group_by(meter: &core::Meter, names: Option<&str>) -> Result<(bool, Vec<usize>), Problem> {
    let (mut by_customer, mut by) = (false, Vec::new());
    for name in names.map_or(Ok(Vec::new()), |it| read_names("group_by", it))? {
        if name == CUSTOMER {
            by_customer = true;
            continue;
        }
        let place = place_of(meter, name, "group_by")?;
        if !by.contains(&place) {
            by.push(place);
        }
    }
    Ok((by_customer, by))
}

fn read_filters(
    meter: &core::Meter,
    filters: &[(String, String)],
) -> Result<Vec<GroupFilter>, Problem> {
    let mut read: Vec<GroupFilter> = Vec::new();
    for (name, values) in filters {
        let parameter = format!("filter[{name}]");
        let place = place_of(meter, name, &parameter)?;
        let values = read_names(&parameter, values)?.into_iter().map(Box::from);
        match read.iter_mut().find(|it| it.0 == place) {
            Some((_, known)) => known.extend(values),
            None => read.push((place, values.collect())),
        }
    }
    Ok(read)
}

fn place_of(meter: &core::Meter, name: &str, parameter: &str) -> Result<usize, Problem> {
    meter.group_by.iter().position(|it| *it.name == *name).ok_or_else(|| {
        let detail = format!("the meter has no group-by key {name:?}");
        Problem::at(ProblemCode::UnknownGroupKey, parameter, detail)
    })
}

/// What stands between commas.
fn read_names<'a>(parameter: &str, text: &'a str) -> Result<Vec<&'a str>, Problem> {
    let names: Vec<_> = text.split(',').take(limits::USAGE_NAMES + 1).collect();
    if names.len() > limits::USAGE_NAMES {
        let detail = format!("{parameter} names more than {}", limits::USAGE_NAMES);
        return Err(Problem::at(ProblemCode::TooManyItems, parameter, detail));
    }
    if names.contains(&"") {
        let detail = format!("{parameter} is a list, separated by commas, without empty parts");
        return Err(Problem::at(ProblemCode::InvalidParameter, parameter, detail));
    }
    Ok(names)
}

/// A cursor is the key of the last row that was shown.
fn write_cursor(key: &RowKey) -> String {
    let mut writer = Writer::new();
    writer.option(key.customer, |writer, it| writer.bits(it.bits()));
    writer.time(key.from);
    writer.list(key.group.iter(), |writer, it| writer.option(it.as_deref(), Writer::text));
    URL_SAFE_NO_PAD.encode(writer.into_bytes())
}

/// Reads a cursor of a list whose rows are by customer or not, and by so many group-by keys.
fn read_cursor(cursor: &str, by_customer: bool, keys: usize) -> Result<RowKey, Problem> {
    let read = |bytes: &[u8]| -> Result<RowKey, Corrupt> {
        let mut reader = Reader::new(bytes);
        let key = RowKey {
            customer: reader.option(|it| it.bits().map(CustomerId::from_bits))?,
            from: reader.time()?,
            group: reader.list(|it| it.option(|it| it.text().map(Box::from)))?,
        };
        reader.finish()?;
        Ok(key)
    };
    let key = URL_SAFE_NO_PAD.decode(cursor).ok().and_then(|it| read(&it).ok());
    let key = key.filter(|it| it.customer.is_some() == by_customer && it.group.len() == keys);
    key.ok_or_else(|| {
        let detail = "the cursor is not the next_cursor of a page of this query";
        Problem::at(ProblemCode::InvalidCursor, "cursor", detail)
    })
}

fn unanswered(error: &UsageError) -> Problem {
    match error {
        UsageError::Read(error) => unreadable(error),
        UsageError::NotNow(NotNow::Busy) => {
            Problem::new(ProblemCode::TooManyRequests, error.to_string()).retry_after(BUSY_RETRY_S)
        }
        UsageError::NotNow(NotNow::Unavailable { .. }) => {
            Problem::new(ProblemCode::Unavailable, error.to_string())
        }
        UsageError::Corrupt(error) => {
            tracing::error!(%error, "stored usage cannot be read");
            Problem::new(ProblemCode::Internal, "stored usage cannot be read")
        }
        UsageError::TooLarge(detail) => Problem::new(ProblemCode::RangeTooLarge, *detail),
        UsageError::OutOfRange => Problem::new(ProblemCode::UsageOutOfRange, error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_read_back_and_nothing_else_is_one() {
        let key = RowKey {
            customer: Some(CustomerId::from_parts(1, 2)),
            from: Timestamp::from_ms(-1),
            group: vec![None, Some("é".into())],
        };
        let cursor = write_cursor(&key);
        assert_eq!(read_cursor(&cursor, true, 2), Ok(key));
        let longer = format!("{cursor}AA");
        let wrong = [
            ("", true, 2),
            ("%%", true, 2),
            (&cursor, false, 2),
            (&cursor, true, 1),
            (&longer, true, 2),
        ];
        for (text, by_customer, keys) in wrong {
            let error = read_cursor(text, by_customer, keys).unwrap_err();
            assert_eq!(error.code, ProblemCode::InvalidCursor, "{text}");
        }
    }

    #[test]
    fn ranges_are_whole_and_begin_with_the_month() {
        const NONE: &str = "0001-01-01T00:00:00Z";
        let now = "2026-03-10T12:34:56Z".parse().unwrap();
        let time = |text: &str| Some(Time(text.parse().unwrap()));
        let of = |step, from: &str, to: &str| {
            let range = read_range(
                step,
                time(from).filter(|_| from != NONE),
                time(to).filter(|_| to != NONE),
                now,
            );
            range.map_or_else(
                |it| format!("{} {}", it.code, it.field.unwrap_or_default()),
                |it| format!("{} {}", it.from, it.to),
            )
        };
        let cases = [
            (Step::Day, NONE, NONE, "2026-03-01T00:00:00Z 2026-03-10T13:00:00Z"),
            (Step::Minute, NONE, NONE, "2026-03-09T12:35:00Z 2026-03-10T12:35:00Z"),
            (Step::Hour, "2026-03-10T05:30:00Z", NONE, "time_not_aligned from"),
            (Step::Whole, NONE, "2026-03-10T05:00:00.001Z", "time_not_aligned to"),
            (
                Step::Minute,
                "2026-03-10T05:30:00Z",
                NONE,
                "2026-03-10T05:30:00Z 2026-03-10T12:35:00Z",
            ),
            (Step::Minute, "2026-03-09T12:34:00Z", NONE, "minutes_too_old from"),
            (Step::Day, "2026-03-10T05:00:00Z", "2026-03-10T05:00:00Z", "invalid_parameter to"),
            (Step::Day, "2026-04-01T00:00:00Z", NONE, "invalid_parameter to"),
            (
                Step::Month,
                "2025-12-31T23:00:00+01:00",
                "2026-02-01T00:00:00Z",
                "2025-12-31T22:00:00Z 2026-02-01T00:00:00Z",
            ),
        ];
        for (step, from, to, expected) in cases {
            assert_eq!(of(step, from, to), expected, "{step:?} {from} {to}");
        }
    }
}
