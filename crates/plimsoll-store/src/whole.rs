//! Reads what is kept of everybody, page by page, in the order of the primary keys.
//!
//! For verification, which looks at every row once. A page is empty only at the end.
//!
//! Not here: what one customer or one list asks for (`archive`, `notification`, `delivery`).

use plimsoll_core::{
    ids::{ChannelId, CustomerId, EntitlementId, FeatureId, NotificationId, RuleId},
    metering::cell::{CellKey, CellScope, Resolution},
    time::Timestamp,
};

use crate::{
    archive::{CellRow, SegmentRow, WindowRow},
    multirow,
    row::{MalformedRow, Row},
    statement::Statement,
    store::{ReadError, Store},
    value::Value,
};

/// Rows of a page.
const PAGE: i64 = 1_000;
/// Notifications that one query looks up.
const LOOKUP: usize = 512;

/// A notification without its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotificationMark {
    /// The id.
    pub id: NotificationId,
    /// The hash of what happened.
    pub identity: bytes::Bytes,
    /// The type.
    pub r#type: String,
    /// `crossed`, `resolved`, or empty.
    pub edge: String,
    /// About whom.
    pub customer: Option<CustomerId>,
    /// About which feature.
    pub feature: Option<FeatureId>,
    /// The rule that fired.
    pub rule: Option<RuleId>,
    /// Why nothing was sent.
    pub reason: Option<String>,
    /// Its place in the order of its partition.
    pub ordinal: i64,
}

/// Closed windows of everybody after this one.
pub async fn windows(
    store: &dyn Store,
    after: Option<(EntitlementId, Timestamp)>,
) -> Result<Vec<WindowRow>, ReadError> {
    let sql = "SELECT entitlement, window_from, window_to, customer, core_version, payload \
        FROM closed_window WHERE (entitlement, window_from) > ($1, $2) \
        ORDER BY entitlement, window_from LIMIT $3";
    let (entitlement, from) = key_of(after);
    let params = vec![entitlement, from, PAGE.into()];
    let rows = store.query(Statement::new("whole.windows", sql, params)).await?;
    let window = |row: &Row| -> Result<_, MalformedRow> {
        Ok(WindowRow {
            entitlement: row.parse(0)?,
            from: row.get_time(1)?,
            to: row.get_time(2)?,
            customer: row.parse(3)?,
            core_version: row.get_int(4)?,
            payload: row.get_bytes(5)?.clone(),
        })
    };
    Ok(rows.iter().map(window).collect::<Result<_, _>>()?)
}

/// Segments of everybody after this one.
pub async fn segments(
    store: &dyn Store,
    after: Option<(EntitlementId, Timestamp)>,
) -> Result<Vec<SegmentRow>, ReadError> {
    let sql = "SELECT entitlement, from_at, to_at, core_version, payload FROM segment \
        WHERE (entitlement, from_at) > ($1, $2) ORDER BY entitlement, from_at LIMIT $3";
    let (entitlement, from) = key_of(after);
    let params = vec![entitlement, from, PAGE.into()];
    let rows = store.query(Statement::new("whole.segments", sql, params)).await?;
    let segment = |row: &Row| -> Result<_, MalformedRow> {
        Ok(SegmentRow {
            entitlement: row.parse(0)?,
            from: row.get_time(1)?,
            to: row.get_time(2)?,
            core_version: row.get_int(3)?,
            payload: row.get_bytes(4)?.clone(),
        })
    };
    Ok(rows.iter().map(segment).collect::<Result<_, _>>()?)
}

fn key_of(after: Option<(EntitlementId, Timestamp)>) -> (Value, Value) {
    match after {
        Some((entitlement, from)) => (Value::text_of(&entitlement), from.into()),
        // Before every key.
        None => ("".into(), i64::MIN.into()),
    }
}

/// Closed cells of all customers after this one.
pub async fn cells(store: &dyn Store, after: Option<CellKey>) -> Result<Vec<CellRow>, ReadError> {
    let sql = "SELECT meter, resolution, customer, from_at, core_version, payload FROM cell \
        WHERE (meter, resolution, customer, from_at) > ($1, $2, $3, $4) \
        ORDER BY meter, resolution, customer, from_at LIMIT $5";
    let mut params = match after {
        Some(CellKey { meter, scope: CellScope::Customer(customer), resolution, from }) => vec![
            Value::text_of(&meter),
            Value::Int(resolution.code()),
            Value::text_of(&customer),
            from.into(),
        ],
        _ => vec!["".into(), (-1_i64).into(), "".into(), i64::MIN.into()],
    };
    params.push(PAGE.into());
    let rows = store.query(Statement::new("whole.cells", sql, params)).await?;
    let cell = |row: &Row| cell_of(row, CellScope::Customer(row.parse(2)?));
    Ok(rows.iter().map(cell).collect::<Result<_, _>>()?)
}

/// Closed cells of the slices of one partition after this one.
pub async fn totals(
    store: &dyn Store,
    partition: u32,
    after: Option<CellKey>,
) -> Result<Vec<CellRow>, ReadError> {
    let sql = "SELECT meter, resolution, slice, from_at, core_version, payload FROM cell_total \
        WHERE partition = $1 AND (meter, resolution, from_at, slice) > ($2, $3, $4, $5) \
        ORDER BY meter, resolution, from_at, slice LIMIT $6";
    let mut params = vec![partition.into()];
    params.extend(match after {
        Some(CellKey { meter, scope: CellScope::Slice(slice), resolution, from }) => {
            [Value::text_of(&meter), resolution.code().into(), from.into(), slice.into()]
        }
        _ => ["".into(), (-1_i64).into(), i64::MIN.into(), (-1_i64).into()],
    });
    params.push(PAGE.into());
    let rows = store.query(Statement::new("whole.totals", sql, params)).await?;
    let cell = |row: &Row| cell_of(row, CellScope::Slice(row.get_u32(2)?));
    Ok(rows.iter().map(cell).collect::<Result<_, _>>()?)
}

fn cell_of(row: &Row, scope: CellScope) -> Result<CellRow, MalformedRow> {
    let resolution =
        if row.get_int(1)? == Resolution::Hour.code() { Resolution::Hour } else { Resolution::Day };
    let key = CellKey { meter: row.parse(0)?, scope, resolution, from: row.get_time(3)? };
    Ok(CellRow { key, core_version: row.get_int(4)?, payload: row.get_bytes(5)?.clone() })
}

const MARK: &str = "n.id, n.identity, n.type, n.edge, n.customer, n.feature, n.rule, n.reason, \
                    n.ordinal";

/// Notifications of everybody after this one.
pub async fn notifications(
    store: &dyn Store,
    after: Option<NotificationId>,
) -> Result<Vec<NotificationMark>, ReadError> {
    let sql = format!("SELECT {MARK} FROM notification n WHERE n.id > $1 ORDER BY n.id LIMIT $2");
    let after = after.map_or_else(|| "".into(), |it| Value::text_of(&it));
    let rows = store.query(Statement::new("whole.notifications", sql, vec![after, PAGE.into()]));
    Ok(rows.await?.iter().map(mark).collect::<Result<_, _>>()?)
}

/// Those of these notifications that there are, in no particular order.
pub async fn notifications_with(
    store: &dyn Store,
    ids: &[NotificationId],
) -> Result<Vec<NotificationMark>, ReadError> {
    let rest =
        format!("SELECT {MARK} FROM wanted CROSS JOIN notification n WHERE n.id = wanted.id");
    let mut found = Vec::new();
    for row in look_up(store, "whole.notifications_with", &rest, ids).await? {
        found.push(mark(&row)?);
    }
    Ok(found)
}

/// The frozen body of a notification.
pub async fn body_of(
    store: &dyn Store,
    id: NotificationId,
) -> Result<Option<bytes::Bytes>, ReadError> {
    let sql = "SELECT doc FROM notification WHERE id = $1";
    let rows = store.query(Statement::new("whole.body_of", sql, vec![Value::text_of(&id)])).await?;
    Ok(rows.first().map(|it| it.get_bytes(0).cloned()).transpose()?)
}

/// The channels to which there are deliveries of these notifications.
pub async fn delivered(
    store: &dyn Store,
    ids: &[NotificationId],
) -> Result<Vec<(NotificationId, ChannelId)>, ReadError> {
    let rest = "SELECT d.notification, d.channel FROM wanted \
        CROSS JOIN delivery d WHERE d.notification = wanted.id AND d.n = 1";
    let mut found = Vec::new();
    for row in look_up(store, "whole.delivered", rest, ids).await? {
        found.push((row.parse(0)?, row.parse(1)?));
    }
    Ok(found)
}

async fn look_up(
    store: &dyn Store,
    name: &'static str,
    rest: &str,
    ids: &[NotificationId],
) -> Result<Vec<Row>, ReadError> {
    let mut found = Vec::new();
    for ids in ids.chunks(LOOKUP) {
        let rows = ids.iter().map(|it| [Value::text_of(it)]).collect();
        for statement in multirow::with(name, "wanted (id)", ["TEXT"], rest, rows) {
            found.extend(store.query(statement).await?);
        }
    }
    Ok(found)
}

fn mark(row: &Row) -> Result<NotificationMark, MalformedRow> {
    Ok(NotificationMark {
        id: row.parse(0)?,
        identity: row.get_bytes(1)?.clone(),
        r#type: row.get_text(2)?.to_owned(),
        edge: row.get_text(3)?.to_owned(),
        customer: row.opt_parse(4)?,
        feature: row.opt_parse(5)?,
        rule: row.opt_parse(6)?,
        reason: row.opt_text(7)?.map(str::to_owned),
        ordinal: row.get_int(8)?,
    })
}
