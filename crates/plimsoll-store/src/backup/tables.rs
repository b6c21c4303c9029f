//! The tables that a backup holds, with their columns and primary keys.
//!
//! A test compares this list with the schema of a migrated store, so that no migration
//! can add a table or a column that backups miss. Left out is `schema_migration`: the store that a
//! backup is restored into has its own.
//!
//! Not here: the schema itself (`migrations/`).

use crate::{row::Row, statement::Statement, value::Value};

/// One table. Its primary key is made of its first `key` columns.
#[derive(Debug)]
pub(crate) struct Table {
    /// Its name.
    pub(crate) name: &'static str,
    /// Its columns, those of the primary key first.
    pub(crate) columns: &'static [&'static str],
    key: usize,
}

/// Every table that is backed up.
#[rustfmt::skip]
pub(crate) const TABLES: &[Table] = &[
    table("meta", 1, &["key", "value"]),
    table("log", 2, &["partition", "position", "stamped_at", "core_version", "kind", "codec",
        "payload"]),
    table("uncounted", 2, &["partition", "position", "environment", "stamped_at", "payload"]),
    table("checkpoint", 2, &["partition", "slice", "position", "core_version", "payload"]),
    table("base", 3, &["partition", "position", "slice", "at", "stamped_at", "core_version",
        "payload"]),
    table("log_mark", 2, &["partition", "position", "at"]),
    table("control_head", 1, &["id", "seq"]),
    table("control", 1, &["seq", "at", "command"]),
    table("dedupe", 2, &["partition", "segment", "first_position", "last_position", "sealed_at",
        "hashes"]),
    table("dedupe_segment", 2, &["partition", "segment", "state", "block_bits", "identities",
        "last_position", "oldest_at", "newest_at"]),
    table("dedupe_block", 3, &["partition", "segment", "block", "identities"]),
    table("dedupe_filter", 3, &["partition", "segment", "shard", "cells"]),
    table("resource", 1, &["id", "environment", "kind", "key", "parent", "version", "doc",
        "created_at", "updated_at", "deleted_at"]),
    table("subject", 2, &["environment", "subject", "customer"]),
    table("notification", 1, &["id", "identity", "environment", "type", "edge", "customer",
        "feature", "rule", "reason", "created_at", "ordinal", "doc", "rule_snapshot"]),
    table("delivery", 1, &["id", "notification", "environment", "channel", "customer", "n",
        "state", "attempts", "next_attempt_at", "ordinal", "format", "error", "created_at",
        "updated_at"]),
    table("attempt", 2, &["delivery", "n", "at", "status", "duration_ms", "error",
        "response_body"]),
    table("idempotency", 3, &["environment", "route", "key", "body_hash", "status", "response",
        "created_at"]),
    table("closed_window", 2, &["entitlement", "window_from", "window_to", "customer",
        "core_version", "payload"]),
    table("cell", 4, &["meter", "resolution", "customer", "from_at", "core_version", "payload"]),
    table("cell_total", 5, &["meter", "resolution", "from_at", "partition", "slice",
        "core_version", "payload"]),
    table("segment", 2, &["entitlement", "from_at", "to_at", "core_version", "payload"]),
    table("audit", 1, &["id", "environment", "at", "actor", "action", "resource_kind",
        "resource_id", "before", "after"]),
];

const fn table(name: &'static str, key: usize, columns: &'static [&'static str]) -> Table {
    Table { name, columns, key }
}

impl Table {
    /// Reads at most `limit` rows after the one with this primary key, in its order.
    pub(crate) fn page(&self, after: Option<&[Value]>, limit: u32) -> Statement {
        let (columns, key) = (self.columns.join(", "), self.columns[..self.key].join(", "));
        let mut params = after.map(<[_]>::to_vec).unwrap_or_default();
        let condition = if params.is_empty() {
            String::new()
        } else {
            let places: Vec<_> = (1..=params.len()).map(|it| format!("${it}")).collect();
            format!(" WHERE ({key}) > ({})", places.join(", "))
        };
        params.push(limit.into());
        let sql = format!(
            "SELECT {columns} FROM {}{condition} ORDER BY {key} LIMIT ${}",
            self.name,
            params.len(),
        );
        Statement::new("backup.page", sql, params)
    }

    /// The primary key of a row of [`Table::page`].
    pub(crate) fn key_of(&self, row: &Row) -> Vec<Value> {
        row.values()[..self.key].to_vec()
    }

    /// Reads one row if the table holds anything that a migration has not put there.
    pub(crate) fn first_row(&self) -> Statement {
        let condition = if self.name == "control_head" { " WHERE seq > 0" } else { "" };
        let sql = format!("SELECT 1 FROM {}{condition} LIMIT 1", self.name);
        Statement::new("backup.first_row", sql, Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;
    use crate::migrate::MIGRATIONS;

    /// The columns of a table as the migrations have made it, and those of its primary key.
    fn columns_of(connection: &Connection, table: &str) -> (Vec<String>, Vec<String>) {
        let select = |condition: &str| -> Vec<String> {
            let sql = format!("SELECT name FROM pragma_table_info('{table}') {condition}");
            let mut statement = connection.prepare(&sql).unwrap();
            let names = statement.query_map([], |row| row.get(0)).unwrap();
            names.collect::<Result<_, _>>().unwrap()
        };
        (select("ORDER BY cid"), select("WHERE pk > 0 ORDER BY pk"))
    }

    #[test]
    fn every_table_and_column_of_the_schema_is_backed_up() {
        let connection = Connection::open_in_memory().unwrap();
        for migration in MIGRATIONS {
            connection.execute_batch(migration.sql).unwrap();
        }
        let sql = "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name";
        let mut statement = connection.prepare(sql).unwrap();
        let names = statement.query_map([], |row| row.get(0)).unwrap();
        let in_schema: Vec<String> = names.collect::<Result<_, _>>().unwrap();
        let mut backed_up: Vec<_> = TABLES.iter().map(|it| it.name).collect();
        backed_up.sort_unstable();
        assert_eq!(backed_up, in_schema);
        for table in TABLES {
            let (columns, key) = columns_of(&connection, table.name);
            assert_eq!(table.columns, columns, "{}", table.name);
            assert_eq!(table.columns[..table.key], key, "{}", table.name);
        }
    }
}
