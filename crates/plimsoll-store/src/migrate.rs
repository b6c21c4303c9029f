//! Migrations of the schema: which exist, and which a store still needs.
//!
//! A migration is one text that both backends run, in one transaction with the row that records
//! it. A store that has a migration which this program does not know was written by a newer one
//! and is refused; so is one whose migration had another text.
//!
//! Not here: how a backend runs a text (`sqlite`, `postgres`).

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use crate::{
    row::{MalformedRow, Row},
    statement::Statement,
    store::OpenError,
};

/// One step of the schema.
#[derive(Debug)]
pub(crate) struct Migration {
    /// Its number; the first is 1, and there are no gaps.
    pub(crate) version: i64,
    /// The file's name.
    pub(crate) name: &'static str,
    /// What it does.
    pub(crate) sql: &'static str,
}

/// Every migration, in order. A released one is never edited.
#[rustfmt::skip]
pub(crate) const MIGRATIONS: &[Migration] = &[
    migration(1, "0001_begin", include_str!("../migrations/0001_begin.sql")),
    migration(2, "0002_archive", include_str!("../migrations/0002_archive.sql")),
    migration(3, "0003_uncounted", include_str!("../migrations/0003_uncounted.sql")),
    migration(4, "0004_dedupe", include_str!("../migrations/0004_dedupe.sql")),
    migration(5, "0005_base", include_str!("../migrations/0005_base.sql")),
];

const fn migration(version: i64, name: &'static str, sql: &'static str) -> Migration {
    Migration { version, name, sql }
}

/// Makes the table that records what was applied.
pub(crate) const CREATE_TABLE: &str = "CREATE TABLE IF NOT EXISTS schema_migration (\
    version BIGINT NOT NULL PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL)";

/// The key in `meta` that stands while a restore runs.
pub(crate) const UNFINISHED_RESTORE: &str = "unfinished_restore";

/// A migration that a store has.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Applied {
    version: i64,
    checksum: String,
}

/// The newest version that this program knows.
pub(crate) fn newest() -> i64 {
    MIGRATIONS.last().map_or(0, |it| it.version)
}

/// Reads what was applied.
pub(crate) fn select_applied() -> Statement {
    let sql = "SELECT version, checksum FROM schema_migration ORDER BY version";
    Statement::new("migrate.select_applied", sql, Vec::new())
}

/// The migrations that a store with these rows of [`select_applied`] still needs, in order.
pub(crate) fn pending_after(rows: &[Row]) -> Result<&'static [Migration], OpenError> {
    let applied: Result<Vec<_>, MalformedRow> = rows
        .iter()
        .map(|row| Ok(Applied { version: row.get_int(0)?, checksum: row.get_text(1)?.to_owned() }))
        .collect();
    let applied = applied.map_err(|it| OpenError::Database { detail: it.to_string() })?;
    pending(MIGRATIONS, &applied)
}

/// Gives a row if a restore into this store began and did not finish.
pub(crate) fn select_unfinished_restore() -> Statement {
    let sql = "SELECT value FROM meta WHERE key = $1";
    Statement::new("migrate.select_unfinished_restore", sql, vec![UNFINISHED_RESTORE.into()])
}

fn pending<'a>(
    migrations: &'a [Migration],
    applied: &[Applied],
) -> Result<&'a [Migration], OpenError> {
    if let Some(newer) = applied.get(migrations.len()..).and_then(<[_]>::last) {
        let known = migrations.last().map_or(0, |it| it.version);
        return Err(OpenError::Newer { store: newer.version, known });
    }
    for (migration, applied) in migrations.iter().zip(applied) {
        if applied.version != migration.version || applied.checksum != migration.checksum() {
            return Err(OpenError::Altered { version: applied.version });
        }
    }
    Ok(&migrations[applied.len()..])
}

impl Migration {
    /// Records that it was applied.
    pub(crate) fn record(&self) -> Statement {
        Statement::new(
            "migrate.record",
            "INSERT INTO schema_migration (version, name, checksum) VALUES ($1, $2, $3)",
            vec![self.version.into(), self.name.into(), self.checksum().into()],
        )
    }

    fn checksum(&self) -> String {
        let mut hex = String::with_capacity(64);
        for byte in Sha256::digest(self.sql) {
            write!(hex, "{byte:02x}").expect("writing to a string does not fail");
        }
        hex
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Migration = Migration { version: 1, name: "one", sql: "SELECT 1" };
    const TWO: Migration = Migration { version: 2, name: "two", sql: "SELECT 2" };

    fn applied(migrations: &[Migration]) -> Vec<Applied> {
        migrations
            .iter()
            .map(|it| Applied { version: it.version, checksum: it.checksum() })
            .collect()
    }

    #[test]
    fn a_store_gets_what_it_lacks_and_is_refused_if_it_is_ahead() {
        let versions = |known: &[Migration], has: &[Migration]| match pending(known, &applied(has))
        {
            Ok(it) => Ok(it.iter().map(|it| it.version).collect::<Vec<_>>()),
            Err(error) => Err(error.to_string()),
        };
        assert_eq!(versions(&[ONE, TWO], &[]), Ok(vec![1, 2]));
        assert_eq!(versions(&[ONE, TWO], &[ONE]), Ok(vec![2]));
        assert_eq!(versions(&[ONE, TWO], &[ONE, TWO]), Ok(vec![]));
        let newer = versions(&[ONE], &[ONE, TWO]).unwrap_err();
        assert!(newer.contains("schema version 2"), "{newer}");
        let altered = Migration { sql: "SELECT 3", ..ONE };
        let altered = versions(&[ONE, TWO], &[altered]).unwrap_err();
        assert!(altered.contains("migration 1"), "{altered}");
    }

    #[test]
    fn versions_have_no_gaps() {
        for (index, migration) in MIGRATIONS.iter().enumerate() {
            assert_eq!(migration.version, index as i64 + 1, "{}", migration.name);
            assert!(migration.name.starts_with(&format!("{:04}_", migration.version)));
        }
        assert_eq!(newest(), MIGRATIONS.len() as i64);
    }
}
