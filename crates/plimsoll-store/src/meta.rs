//! What is said once about a whole store: its id, how many partitions it has, who made it.
//!
//! Not here: the version of the schema (`migrate` keeps a table of its own).

use crate::{
    statement::Statement,
    store::{QueryError, ReadError, Store},
};

/// The name of the statement that inserts. A key that exists is refused under it as unique.
pub const INSERT: &str = "meta.insert";

/// The key of the store's id.
pub const STORE_ID: &str = "store_id";
/// The key of the number of partitions, fixed when the store is made.
pub const PARTITIONS: &str = "partitions";
/// The key of the time when the store was made.
pub const CREATED_AT: &str = "created_at";
/// The key of the version of the core that wrote last.
pub const CORE_VERSION: &str = "core_version";

/// Says something for the first time.
pub fn insert(key: &str, value: &str) -> Statement {
    Statement::new(
        INSERT,
        "INSERT INTO meta (key, value) VALUES ($1, $2)",
        vec![key.into(), value.into()],
    )
}

/// Says something, in place of what was said.
pub fn put(key: &str, value: &str) -> Statement {
    Statement::new(
        "meta.put",
        "INSERT INTO meta (key, value) VALUES ($1, $2) \
         ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        vec![key.into(), value.into()],
    )
}

/// Takes back what was said.
pub fn delete(key: &str) -> Statement {
    Statement::new("meta.delete", "DELETE FROM meta WHERE key = $1", vec![key.into()])
}

/// What was said.
pub async fn get(store: &dyn Store, key: &str) -> Result<Option<String>, ReadError> {
    let rows = store
        .query(Statement::new(
            "meta.get",
            "SELECT value FROM meta WHERE key = $1",
            vec![key.into()],
        ))
        .await?;
    Ok(rows.first().map(|it| it.get_text(0).map(str::to_owned)).transpose()?)
}

/// Asks the database whether it answers.
pub async fn ping(store: &dyn Store) -> Result<(), QueryError> {
    let statement = Statement::new("meta.ping", "SELECT count(*) FROM control_head", Vec::new());
    store.query(statement).await.map(drop)
}
