//! The audit trail: who changed what, before and after.
//!
//! Not here: who writes it (`ops` in the engine, in the transaction of the change).

use plimsoll_core::{
    ids::{AuditId, EnvironmentId},
    time::Timestamp,
};

use crate::{
    multirow,
    row::{MalformedRow, Row},
    statement::Statement,
    store::{ReadError, Store},
    value::Value,
};

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRow {
    /// The id; its time is `at`.
    pub id: AuditId,
    /// In which environment.
    pub environment: EnvironmentId,
    /// When.
    pub at: Timestamp,
    /// Who: the id of an API key, or a name such as `cli`.
    pub actor: String,
    /// What was done, such as `meter.create`.
    pub action: String,
    /// The kind of the resource.
    pub resource_kind: String,
    /// The id of the resource.
    pub resource_id: String,
    /// The document before; absent for a creation.
    pub before: Option<String>,
    /// The document after; absent for a deletion.
    pub after: Option<String>,
}

const COLUMNS: &str =
    "id, environment, at, actor, action, resource_kind, resource_id, before, after";

/// Inserts rows of the trail.
pub fn insert(rows: Vec<AuditRow>) -> Vec<Statement> {
    let rows = rows
        .into_iter()
        .map(|it| {
            [
                Value::text_of(&it.id),
                Value::text_of(&it.environment),
                it.at.into(),
                it.actor.into(),
                it.action.into(),
                it.resource_kind.into(),
                it.resource_id.into(),
                it.before.into(),
                it.after.into(),
            ]
        })
        .collect();
    multirow::insert("audit.insert", &format!("INSERT INTO audit ({COLUMNS})"), "", rows)
}

/// At most `limit` rows of an environment that come after this one (`None`: from the newest), the
/// newest first; only of one resource, if it is named.
pub async fn list(
    store: &dyn Store,
    environment: EnvironmentId,
    resource_id: Option<&str>,
    after: Option<AuditId>,
    limit: u32,
) -> Result<Vec<AuditRow>, ReadError> {
    let mut sql = format!("SELECT {COLUMNS} FROM audit WHERE environment = $1");
    let mut params = vec![Value::text_of(&environment)];
    if let Some(resource_id) = resource_id {
        params.push(resource_id.into());
        sql += &format!(" AND resource_id = ${}", params.len());
    }
    if let Some(after) = after {
        params.push(Value::text_of(&after));
        sql += &format!(" AND id < ${}", params.len());
    }
    params.push(limit.into());
    sql += &format!(" ORDER BY id DESC LIMIT ${}", params.len());
    let rows = store.query(Statement::new("audit.list", sql, params)).await?;
    Ok(rows.iter().map(from_row).collect::<Result<_, _>>()?)
}

fn from_row(row: &Row) -> Result<AuditRow, MalformedRow> {
    Ok(AuditRow {
        id: row.parse(0)?,
        environment: row.parse(1)?,
        at: row.get_time(2)?,
        actor: row.get_text(3)?.to_owned(),
        action: row.get_text(4)?.to_owned(),
        resource_kind: row.get_text(5)?.to_owned(),
        resource_id: row.get_text(6)?.to_owned(),
        before: row.opt_text(7)?.map(str::to_owned),
        after: row.opt_text(8)?.map(str::to_owned),
    })
}
