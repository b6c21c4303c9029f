//! What has closed: windows of entitlements, cells of usage, segments of burning.
//!
//! Not here: what is in them (`plimsoll-core`), when they close and change (the engine).

use bytes::Bytes;
use plimsoll_core::{
    ids::{CustomerId, EntitlementId, MeterId},
    metering::cell::{CellKey, CellScope, Resolution},
    time::Timestamp,
};

use crate::{
    multirow,
    row::{MalformedRow, Row},
    statement::Statement,
    store::{ReadError, Store},
    value::Value,
};

/// Windows or cells that one query looks up.
const LOOKUP: usize = 256;

/// A window of an entitlement that has closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WindowRow {
    /// Whose window.
    pub entitlement: EntitlementId,
    /// Its first moment.
    pub from: Timestamp,
    /// The first moment after it.
    pub to: Timestamp,
    /// Whose entitlement.
    pub customer: CustomerId,
    /// The version of the core that wrote it.
    pub core_version: i64,
    /// What the core wrote.
    pub payload: Bytes,
}

/// A cell that has closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CellRow {
    /// Which cell.
    pub key: CellKey,
    /// The version of the core that wrote it.
    pub core_version: i64,
    /// What the core wrote.
    pub payload: Bytes,
}

/// A stretch of burning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentRow {
    /// Whose grants.
    pub entitlement: EntitlementId,
    /// Its first moment.
    pub from: Timestamp,
    /// The first moment after it.
    pub to: Timestamp,
    /// The version of the core that wrote it.
    pub core_version: i64,
    /// What the core wrote.
    pub payload: Bytes,
}

const ON_WINDOW: &str = " ON CONFLICT (entitlement, window_from) DO UPDATE SET \
    window_to = excluded.window_to, core_version = excluded.core_version, \
    payload = excluded.payload";
const ON_CELL: &str = " ON CONFLICT (meter, resolution, customer, from_at) DO UPDATE SET \
    core_version = excluded.core_version, payload = excluded.payload";
const ON_TOTAL: &str = " ON CONFLICT (meter, resolution, from_at, partition, slice) DO UPDATE SET \
    core_version = excluded.core_version, payload = excluded.payload";
const ON_SEGMENT: &str = " ON CONFLICT (entitlement, from_at) DO UPDATE SET \
    to_at = excluded.to_at, core_version = excluded.core_version, payload = excluded.payload";

/// Writes windows, each in place of what was known of it.
pub fn put_windows(rows: Vec<WindowRow>) -> Vec<Statement> {
    let rows = rows
        .into_iter()
        .map(|it| {
            [
                Value::text_of(&it.entitlement),
                it.from.into(),
                it.to.into(),
                Value::text_of(&it.customer),
                it.core_version.into(),
                it.payload.into(),
            ]
        })
        .collect();
    let head = "INSERT INTO closed_window \
        (entitlement, window_from, window_to, customer, core_version, payload)";
    multirow::insert("archive.put_windows", head, ON_WINDOW, rows)
}

/// Writes the cells of one partition, each in place of what was known of it.
pub fn put_cells(partition: u32, rows: Vec<CellRow>) -> Vec<Statement> {
    let (mut cells, mut totals) = (Vec::new(), Vec::new());
    for CellRow { key, core_version, payload } in rows {
        let CellKey { meter, scope, resolution, from } = key;
        let (meter, resolution) = (Value::text_of(&meter), Value::Int(resolution.code()));
        let (version, payload) = (Value::Int(core_version), Value::Bytes(payload));
        match scope {
            CellScope::Customer(customer) => {
                let customer = Value::text_of(&customer);
                cells.push([meter, resolution, customer, from.into(), version, payload]);
            }
            CellScope::Slice(slice) => totals.push([
                meter,
                resolution,
                from.into(),
                partition.into(),
                slice.into(),
                version,
                payload,
            ]),
        }
    }
    let head = "INSERT INTO cell (meter, resolution, customer, from_at, core_version, payload)";
    let mut statements = multirow::insert("archive.put_cells", head, ON_CELL, cells);
    let head = "INSERT INTO cell_total \
        (meter, resolution, from_at, partition, slice, core_version, payload)";
    statements.extend(multirow::insert("archive.put_totals", head, ON_TOTAL, totals));
    statements
}

/// Writes segments.
pub fn put_segments(rows: Vec<SegmentRow>) -> Vec<Statement> {
    let rows = rows
        .into_iter()
        .map(|it| {
            [
                Value::text_of(&it.entitlement),
                it.from.into(),
                it.to.into(),
                it.core_version.into(),
                it.payload.into(),
            ]
        })
        .collect();
    let head = "INSERT INTO segment (entitlement, from_at, to_at, core_version, payload)";
    multirow::insert("archive.put_segments", head, ON_SEGMENT, rows)
}

/// Deletes windows.
pub fn delete_windows(windows: &[(EntitlementId, Timestamp)]) -> Vec<Statement> {
    let delete = |(entitlement, from): &(EntitlementId, Timestamp)| {
        let sql = "DELETE FROM closed_window WHERE entitlement = $1 AND window_from = $2";
        let params = vec![Value::text_of(entitlement), (*from).into()];
        Statement::new("archive.delete_window", sql, params)
    };
    windows.iter().map(delete).collect()
}

/// The windows that hold these moments, as far as there are any, each once.
pub async fn windows_at(
    store: &dyn Store,
    moments: &[(EntitlementId, Timestamp)],
) -> Result<Vec<WindowRow>, ReadError> {
    let mut found = Vec::new();
    for moments in moments.chunks(LOOKUP) {
        let rows =
            moments.iter().map(|(entitlement, at)| [Value::text_of(entitlement), (*at).into()]);
        let rest = "SELECT DISTINCT w.entitlement, w.window_from, w.window_to, w.customer, \
             w.core_version, w.payload FROM wanted \
             CROSS JOIN closed_window w WHERE w.entitlement = wanted.entitlement \
             AND w.window_from <= wanted.moment AND w.window_to > wanted.moment";
        let relation = "wanted (entitlement, moment)";
        let types = ["TEXT", "BIGINT"];
        let name = "archive.windows_at";
        for statement in multirow::with(name, relation, types, rest, rows.collect()) {
            for row in &store.query(statement).await? {
                found.push(window(row)?);
            }
        }
    }
    // Moments of one window may have been asked for by different statements.
    found.sort_unstable_by_key(|it| (it.entitlement, it.from));
    found.dedup_by_key(|it| (it.entitlement, it.from));
    Ok(found)
}

/// The closed windows of an entitlement that end after `from` and begin before `to`, the oldest
/// first, at most `limit`.
pub async fn windows_of(
    store: &dyn Store,
    entitlement: EntitlementId,
    from: Timestamp,
    to: Timestamp,
    limit: u32,
) -> Result<Vec<WindowRow>, ReadError> {
    let sql = "SELECT entitlement, window_from, window_to, customer, core_version, payload \
        FROM closed_window WHERE entitlement = $1 AND window_to > $2 AND window_from < $3 \
        ORDER BY window_from LIMIT $4";
    let params = vec![Value::text_of(&entitlement), from.into(), to.into(), limit.into()];
    let rows = store.query(Statement::new("archive.windows_of", sql, params)).await?;
    Ok(rows.iter().map(window).collect::<Result<_, _>>()?)
}

/// Those of these cells of one partition that there are, in no particular order.
pub async fn cells(
    store: &dyn Store,
    partition: u32,
    keys: &[CellKey],
) -> Result<Vec<CellRow>, ReadError> {
    let mut found = Vec::new();
    let (mut customers, mut slices) = (Vec::new(), Vec::new());
    for key in keys {
        let (meter, resolution) = (Value::text_of(&key.meter), Value::Int(key.resolution.code()));
        match key.scope {
            CellScope::Customer(customer) => {
                customers.push([meter, resolution, Value::text_of(&customer), key.from.into()]);
            }
            CellScope::Slice(slice) => {
                slices.push([meter, resolution, slice.into(), key.from.into()]);
            }
        }
    }
    let statements = multirow::with(
        "archive.cells",
        "wanted (meter, resolution, customer, from_at)",
        ["TEXT", "BIGINT", "TEXT", "BIGINT"],
        "SELECT c.meter, c.resolution, c.customer, c.from_at, c.core_version, c.payload \
         FROM wanted CROSS JOIN cell c \
         WHERE c.meter = wanted.meter AND c.resolution = wanted.resolution \
         AND c.customer = wanted.customer AND c.from_at = wanted.from_at",
        customers,
    );
    for statement in statements {
        for row in &store.query(statement).await? {
            found.push(customer_cell(row)?);
        }
    }
    let rest = format!(
        "SELECT c.meter, c.resolution, c.slice, c.from_at, c.core_version, c.payload \
         FROM wanted CROSS JOIN cell_total c WHERE c.meter = wanted.meter \
         AND c.resolution = wanted.resolution AND c.from_at = wanted.from_at \
         AND c.partition = {partition} AND c.slice = wanted.slice"
    );
    let statements = multirow::with(
        "archive.totals",
        "wanted (meter, resolution, slice, from_at)",
        ["TEXT", "BIGINT", "BIGINT", "BIGINT"],
        &rest,
        slices,
    );
    for statement in statements {
        for row in &store.query(statement).await? {
            found.push(slice_cell(row)?);
        }
    }
    Ok(found)
}

/// Closed cells of one length of a meter, of customers that follow each other.
#[derive(Debug, Clone)]
pub struct CellRange {
    /// The meter.
    pub meter: MeterId,
    /// Hours or days.
    pub resolution: Resolution,
    /// Where to begin, in the order of the answer: a customer, and a moment of it.
    pub begin: (CustomerId, Timestamp),
    /// The last customer.
    pub last: CustomerId,
    /// The first moment at which a cell may begin.
    pub from: Timestamp,
    /// The first moment at which none may begin any more.
    pub to: Timestamp,
}

/// The first closed cells of a range of customers, by customer and time, at most `limit`.
pub async fn cells_of_range(
    store: &dyn Store,
    range: &CellRange,
    limit: u32,
) -> Result<Vec<CellRow>, ReadError> {
    let sql = "SELECT meter, resolution, customer, from_at, core_version, payload FROM cell \
        WHERE meter = $1 AND resolution = $2 AND (customer, from_at) >= ($3, $4) \
        AND customer <= $5 AND from_at >= $6 AND from_at < $7 \
        ORDER BY customer, from_at LIMIT $8";
    let params = vec![
        Value::text_of(&range.meter),
        Value::Int(range.resolution.code()),
        Value::text_of(&range.begin.0),
        range.begin.1.into(),
        Value::text_of(&range.last),
        range.from.into(),
        range.to.into(),
        limit.into(),
    ];
    let rows = store.query(Statement::new("archive.cells_of_range", sql, params)).await?;
    Ok(rows.iter().map(customer_cell).collect::<Result<_, _>>()?)
}

/// The closed cells of these customers that begin at `from` or later and before `to`, in no
/// particular order. The caller bounds how many that can be.
pub async fn cells_of_customers(
    store: &dyn Store,
    meter: MeterId,
    resolution: Resolution,
    customers: &[CustomerId],
    (from, to): (Timestamp, Timestamp),
) -> Result<Vec<CellRow>, ReadError> {
    let rows = customers.iter().map(|customer| {
        let (meter, resolution) = (Value::text_of(&meter), Value::Int(resolution.code()));
        [meter, resolution, Value::text_of(customer), from.into(), to.into()]
    });
    let statements = multirow::with(
        "archive.cells_of_customers",
        "wanted (meter, resolution, customer, since, before)",
        ["TEXT", "BIGINT", "TEXT", "BIGINT", "BIGINT"],
        "SELECT c.meter, c.resolution, c.customer, c.from_at, c.core_version, c.payload \
         FROM wanted CROSS JOIN cell c \
         WHERE c.meter = wanted.meter AND c.resolution = wanted.resolution \
         AND c.customer = wanted.customer \
         AND c.from_at >= wanted.since AND c.from_at < wanted.before",
        rows.collect(),
    );
    let mut found = Vec::new();
    for statement in statements {
        for row in &store.query(statement).await? {
            found.push(customer_cell(row)?);
        }
    }
    Ok(found)
}

/// Where a total stands among those of its meter and length: its time, partition and slice.
pub type TotalPlace = (Timestamp, u32, u32);

/// The first closed totals of a meter that begin before `to`, of all slices of all partitions, in
/// the order of their places from `begin` on, at most `limit`.
pub async fn totals(
    store: &dyn Store,
    meter: MeterId,
    resolution: Resolution,
    begin: TotalPlace,
    to: Timestamp,
    limit: u32,
) -> Result<Vec<(TotalPlace, CellRow)>, ReadError> {
    let sql = "SELECT meter, resolution, slice, from_at, core_version, payload, partition \
        FROM cell_total WHERE meter = $1 AND resolution = $2 \
        AND (from_at, partition, slice) >= ($3, $4, $5) AND from_at < $6 \
        ORDER BY from_at, partition, slice LIMIT $7";
    let (from, partition, slice) = begin;
    let params = vec![
        Value::text_of(&meter),
        Value::Int(resolution.code()),
        from.into(),
        partition.into(),
        slice.into(),
        to.into(),
        limit.into(),
    ];
    let rows = store.query(Statement::new("archive.totals_between", sql, params)).await?;
    let totals = rows.iter().map(|row| {
        let place = (row.get_time(3)?, row.get_u32(6)?, row.get_u32(2)?);
        Ok((place, slice_cell(row)?))
    });
    Ok(totals.collect::<Result<_, MalformedRow>>()?)
}

/// The segments of an entitlement that end after `from` and begin before `to`, the oldest first.
pub async fn segments_of(
    store: &dyn Store,
    entitlement: EntitlementId,
    from: Timestamp,
    to: Timestamp,
    limit: u32,
) -> Result<Vec<SegmentRow>, ReadError> {
    let sql = "SELECT entitlement, from_at, to_at, core_version, payload FROM segment \
        WHERE entitlement = $1 AND to_at > $2 AND from_at < $3 ORDER BY from_at LIMIT $4";
    let params = vec![Value::text_of(&entitlement), from.into(), to.into(), limit.into()];
    let rows = store.query(Statement::new("archive.segments_of", sql, params)).await?;
    Ok(rows.iter().map(segment).collect::<Result<_, _>>()?)
}

fn window(row: &Row) -> Result<WindowRow, MalformedRow> {
    Ok(WindowRow {
        entitlement: row.parse(0)?,
        from: row.get_time(1)?,
        to: row.get_time(2)?,
        customer: row.parse(3)?,
        core_version: row.get_int(4)?,
        payload: row.get_bytes(5)?.clone(),
    })
}

fn customer_cell(row: &Row) -> Result<CellRow, MalformedRow> {
    cell(row, CellScope::Customer(row.parse(2)?))
}

fn slice_cell(row: &Row) -> Result<CellRow, MalformedRow> {
    cell(row, CellScope::Slice(row.get_u32(2)?))
}

fn cell(row: &Row, scope: CellScope) -> Result<CellRow, MalformedRow> {
    let resolution = if row.get_int(1)? == 0 { Resolution::Hour } else { Resolution::Day };
    let key = CellKey { meter: row.parse(0)?, scope, resolution, from: row.get_time(3)? };
    Ok(CellRow { key, core_version: row.get_int(4)?, payload: row.get_bytes(5)?.clone() })
}

fn segment(row: &Row) -> Result<SegmentRow, MalformedRow> {
    Ok(SegmentRow {
        entitlement: row.parse(0)?,
        from: row.get_time(1)?,
        to: row.get_time(2)?,
        core_version: row.get_int(3)?,
        payload: row.get_bytes(4)?.clone(),
    })
}
