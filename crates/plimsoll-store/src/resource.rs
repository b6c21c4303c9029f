//! Resources of the control plane: environments, keys, meters, features, customers, …
//!
//! Each is one row with the JSON document that the API shows. A deleted resource stays as a row,
//! outside of every list, and its key is free again.
//!
//! Not here: what a document holds and who may change it (`ops` in the engine).

use plimsoll_core::{ids::EnvironmentId, time::Timestamp};

use crate::{
    multirow,
    row::{MalformedRow, Row},
    statement::{Expect, Statement},
    store::{ReadError, Store},
    value::Value,
};

/// The name of the statement that inserts. A key that is taken is refused under it as unique.
pub const INSERT: &str = "resource.insert";
/// The name of the statement that updates. A version that has moved is refused under it.
pub const UPDATE: &str = "resource.update";
/// The name of the statement that deletes. A version that has moved is refused under it.
pub const DELETE: &str = "resource.delete";

/// The name of the statement that holds. A resource that is gone is refused under it.
pub const HOLD: &str = "resource.hold";
/// The name of the statement that refuses a batch while a key is named.
pub const UNNAMED: &str = "resource.unnamed";

/// Ids that one query looks up.
const LOOKUP_IDS: usize = 512;

/// One resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceRow {
    /// The id in its text form; its prefix agrees with `kind`.
    pub id: String,
    /// The environment that it belongs to; of an environment, itself.
    pub environment: EnvironmentId,
    /// What it is: `meter`, `customer`, ….
    pub kind: String,
    /// The key by which it can be addressed; of an API key, the hash of its secret.
    pub key: Option<String>,
    /// The id of the resource that it is a part of; of an entitlement, the customer.
    pub parent: Option<String>,
    /// 1 when made, one more with each update.
    pub version: i64,
    /// The JSON document.
    pub doc: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// When it was deleted.
    pub deleted_at: Option<Timestamp>,
}

/// Which way a list runs. Ids begin with their time, so this is by age.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// The newest first.
    NewestFirst,
    /// The oldest first.
    OldestFirst,
}

/// A page of a list of resources that are not deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceList<'a> {
    /// Of which environment.
    pub environment: EnvironmentId,
    /// Of which kind.
    pub kind: &'a str,
    /// Only parts of this resource.
    pub parent: Option<&'a str>,
    /// Which way.
    pub order: Order,
    /// Only what comes after this id, in that order.
    pub after: Option<&'a str>,
    /// At most so many.
    pub limit: u32,
}

const COLUMNS: &str =
    "id, environment, kind, key, parent, version, doc, created_at, updated_at, deleted_at";

/// Inserts resources.
pub fn insert(rows: Vec<ResourceRow>) -> Vec<Statement> {
    let rows = rows
        .into_iter()
        .map(|it| {
            [
                it.id.into(),
                Value::text_of(&it.environment),
                it.kind.into(),
                it.key.into(),
                it.parent.into(),
                it.version.into(),
                it.doc.into(),
                it.created_at.into(),
                it.updated_at.into(),
                it.deleted_at.into(),
            ]
        })
        .collect();
    multirow::insert(INSERT, &format!("INSERT INTO resource ({COLUMNS})"), "", rows)
}

/// Inserts resources that are part of nothing; one whose key is taken gets none.
pub fn insert_yielding_keys(rows: Vec<ResourceRow>) -> Vec<Statement> {
    let rows = rows
        .into_iter()
        .map(|it| {
            [
                it.id.into(),
                Value::text_of(&it.environment),
                it.kind.into(),
                it.key.into(),
                it.version.into(),
                it.doc.into(),
                it.created_at.into(),
                it.updated_at.into(),
            ]
        })
        .collect();
    let types = ["TEXT", "TEXT", "TEXT", "TEXT", "BIGINT", "TEXT", "BIGINT", "BIGINT"];
    let rest = format!(
        "INSERT INTO resource ({COLUMNS}) SELECT id, environment, kind, \
         CASE WHEN EXISTS (SELECT 1 FROM resource AS other \
         WHERE other.environment = made.environment AND other.kind = made.kind \
         AND other.key = made.key AND coalesce(other.parent, '') = '' \
         AND other.deleted_at IS NULL) THEN NULL ELSE key END, \
         NULL, version, doc, created_at, updated_at, CAST(NULL AS BIGINT) FROM made"
    );
    multirow::with(
        INSERT,
        "made (id, environment, kind, key, version, doc, created_at, updated_at)",
        types,
        &rest,
        rows,
    )
}

/// Replaces key and document of the resource `id`, if it is not deleted and has still `version`.
/// Afterwards it has the next version.
pub fn update(
    id: &str,
    version: i64,
    key: Option<&str>,
    doc: String,
    updated_at: Timestamp,
) -> Statement {
    Statement::new(
        UPDATE,
        "UPDATE resource SET key = $3, doc = $4, updated_at = $5, version = version + 1 \
         WHERE id = $1 AND version = $2 AND deleted_at IS NULL",
        vec![id.into(), version.into(), key.into(), doc.into(), updated_at.into()],
    )
    .expecting(Expect::RowsAffected(1))
}

/// Marks the resource `id` as deleted, if it is not yet and has still `version`.
pub fn delete(id: &str, version: i64, deleted_at: Timestamp) -> Statement {
    Statement::new(
        DELETE,
        "UPDATE resource SET deleted_at = $3, updated_at = $3, version = version + 1 \
         WHERE id = $1 AND version = $2 AND deleted_at IS NULL",
        vec![id.into(), version.into(), deleted_at.into()],
    )
    .expecting(Expect::RowsAffected(1))
}

/// Marks every part of `parent` of this kind as deleted.
pub fn delete_children(parent: &str, kind: &str, deleted_at: Timestamp) -> Statement {
    Statement::new(
        "resource.delete_children",
        "UPDATE resource SET deleted_at = $3, updated_at = $3, version = version + 1 \
         WHERE parent = $1 AND kind = $2 AND deleted_at IS NULL",
        vec![parent.into(), kind.into(), deleted_at.into()],
    )
}

/// Marks every part of this kind of every part of `parent` as deleted. Put it before the statement
/// that deletes the parts in between.
pub fn delete_grandchildren(
    parent: &str,
    between: &str,
    kind: &str,
    deleted_at: Timestamp,
) -> Statement {
    Statement::new(
        "resource.delete_grandchildren",
        "UPDATE resource SET deleted_at = $4, updated_at = $4, version = version + 1 \
         WHERE kind = $3 AND deleted_at IS NULL AND parent IN (SELECT id FROM resource \
         WHERE parent = $1 AND kind = $2 AND deleted_at IS NULL)",
        vec![parent.into(), between.into(), kind.into(), deleted_at.into()],
    )
}

/// Refuses its batch under the name [`HOLD`] if the resource `id` is deleted, and keeps others from
/// deleting it until the batch is committed.
pub fn hold(id: &str) -> Statement {
    Statement::new(
        HOLD,
        "UPDATE resource SET version = version WHERE id = $1 AND deleted_at IS NULL",
        vec![id.into()],
    )
    .expecting(Expect::RowsAffected(1))
}

/// Refuses its batch under the name [`UNNAMED`] while a resource of this kind has this key, of
/// whatever parent. Put it after the statement that deletes what the key names, so that a
/// [`hold`] of another batch has been waited for.
pub fn unnamed(environment: EnvironmentId, kind: &str, key: &str) -> Statement {
    Statement::new(
        UNNAMED,
        "SELECT count(*) FROM (SELECT id FROM resource WHERE environment = $1 AND kind = $2 \
         AND key = $3 AND deleted_at IS NULL LIMIT 1) AS named",
        vec![Value::text_of(&environment), kind.into(), key.into()],
    )
    .expecting(Expect::Row(vec![Value::Int(0)]))
}

/// Whether a resource of this kind has this key, of whatever parent.
pub async fn is_named(
    store: &dyn Store,
    environment: EnvironmentId,
    kind: &str,
    key: &str,
) -> Result<bool, ReadError> {
    let rows = store.query(unnamed(environment, kind, key)).await?;
    Ok(rows.first().map_or(Ok(0), |it| it.get_int(0))? > 0)
}

/// The resource with this id, deleted or not.
pub async fn get(store: &dyn Store, id: &str) -> Result<Option<ResourceRow>, ReadError> {
    let sql = format!("SELECT {COLUMNS} FROM resource WHERE id = $1");
    let rows = store.query(Statement::new("resource.get", sql, vec![id.into()])).await?;
    Ok(rows.first().map(from_row).transpose()?)
}

/// The resources with these ids, deleted or not, in no particular order.
pub async fn get_many(store: &dyn Store, ids: &[String]) -> Result<Vec<ResourceRow>, ReadError> {
    let mut found = Vec::with_capacity(ids.len());
    for ids in ids.chunks(LOOKUP_IDS) {
        let (members, params) = multirow::members(1, ids);
        let sql = format!("SELECT {COLUMNS} FROM resource WHERE id IN {members}");
        let rows = store.query(Statement::new("resource.get_many", sql, params)).await?;
        for row in &rows {
            found.push(from_row(row)?);
        }
    }
    Ok(found)
}

/// The resource with this key that is not deleted. `parent` is `None` for what is part of nothing.
pub async fn get_by_key(
    store: &dyn Store,
    environment: EnvironmentId,
    kind: &str,
    parent: Option<&str>,
    key: &str,
) -> Result<Option<ResourceRow>, ReadError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM resource WHERE environment = $1 AND kind = $2 \
         AND coalesce(parent, '') = $3 AND key = $4 AND deleted_at IS NULL"
    );
    let params = vec![
        Value::text_of(&environment),
        kind.into(),
        parent.unwrap_or_default().into(),
        key.into(),
    ];
    let rows = store.query(Statement::new("resource.get_by_key", sql, params)).await?;
    Ok(rows.first().map(from_row).transpose()?)
}

/// One page of resources that are not deleted.
pub async fn list(
    store: &dyn Store,
    list: &ResourceList<'_>,
) -> Result<Vec<ResourceRow>, ReadError> {
    let (comparison, direction) = match list.order {
        Order::NewestFirst => ("<", "DESC"),
        Order::OldestFirst => (">", "ASC"),
    };
    // Parts are found by their parent. As an expression, the environment cannot tempt a planner
    // without statistics to walk all of its resources instead.
    let environment = match list.parent {
        None => "environment",
        Some(_) => "coalesce(environment, '')",
    };
    let mut sql = format!(
        "SELECT {COLUMNS} FROM resource WHERE {environment} = $1 AND kind = $2 \
         AND deleted_at IS NULL"
    );
    let mut params = vec![Value::text_of(&list.environment), list.kind.into()];
    if let Some(parent) = list.parent {
        params.push(parent.into());
        sql += &format!(" AND parent = ${}", params.len());
    }
    if let Some(after) = list.after {
        params.push(after.into());
        sql += &format!(" AND id {comparison} ${}", params.len());
    }
    params.push(list.limit.into());
    sql += &format!(" ORDER BY id {direction} LIMIT ${}", params.len());
    let rows = store.query(Statement::new("resource.list", sql, params)).await?;
    Ok(rows.iter().map(from_row).collect::<Result<_, _>>()?)
}

/// Every environment that is not deleted, the oldest first.
pub async fn environments(store: &dyn Store) -> Result<Vec<ResourceRow>, ReadError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM resource WHERE kind = 'environment' AND deleted_at IS NULL \
         ORDER BY id"
    );
    let rows = store.query(Statement::new("resource.environments", sql, Vec::new())).await?;
    Ok(rows.iter().map(from_row).collect::<Result<_, _>>()?)
}

/// How many resources of a kind an environment has, deleted ones left out.
pub async fn count(
    store: &dyn Store,
    environment: EnvironmentId,
    kind: &str,
) -> Result<i64, ReadError> {
    let rows = store
        .query(Statement::new(
            "resource.count",
            "SELECT count(*) FROM resource \
             WHERE environment = $1 AND kind = $2 AND deleted_at IS NULL",
            vec![Value::text_of(&environment), kind.into()],
        ))
        .await?;
    Ok(rows.first().map_or(Ok(0), |it| it.get_int(0))?)
}

/// At most `limit` ids of deleted resources of a kind after this one (`None`: from the first), in
/// all environments, by id.
pub async fn deleted_ids(
    store: &dyn Store,
    kind: &str,
    after: Option<&str>,
    limit: u32,
) -> Result<Vec<String>, ReadError> {
    let rows = store
        .query(Statement::new(
            "resource.deleted_ids",
            "SELECT id FROM resource WHERE kind = $1 AND deleted_at IS NOT NULL AND id > $2 \
             ORDER BY id LIMIT $3",
            vec![kind.into(), after.unwrap_or_default().into(), limit.into()],
        ))
        .await?;
    Ok(rows.iter().map(|it| it.get_text(0).map(str::to_owned)).collect::<Result<_, _>>()?)
}

fn from_row(row: &Row) -> Result<ResourceRow, MalformedRow> {
    Ok(ResourceRow {
        id: row.get_text(0)?.to_owned(),
        environment: row.parse(1)?,
        kind: row.get_text(2)?.to_owned(),
        key: row.opt_text(3)?.map(str::to_owned),
        parent: row.opt_text(4)?.map(str::to_owned),
        version: row.get_int(5)?,
        doc: row.get_text(6)?.to_owned(),
        created_at: row.get_time(7)?,
        updated_at: row.get_time(8)?,
        deleted_at: row.opt_time(9)?,
    })
}
