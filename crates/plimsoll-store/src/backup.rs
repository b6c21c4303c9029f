//! Backup into one portable file, and restore from it into either backend.
//!
//! The rows of every table are read through one snapshot, page by page, while commits go on. The
//! file is complete or absent: it is written beside its name and renamed when it is on disk.
//! A restore checks the whole file first, wants an empty store of the same schema, and marks the
//! store while it runs, so that a half-restored one is refused when it is opened.
//!
//! Not here: how a backend takes a snapshot (`sqlite`, `postgres`).

mod file;
pub(crate) mod tables;

use std::path::Path;

use async_trait::async_trait;

use crate::{
    backup::{
        file::{Frame, Reader, Writer},
        tables::{TABLES, Table},
    },
    meta, migrate, multirow,
    row::Row,
    statement::{Batch, Lane, Statement},
    store::{BackupError, CommitError, QueryError, ReadError, Store},
    value::Value,
};

/// Rows of the first page of a table.
const FIRST_PAGE_ROWS: u32 = 16;
/// Rows of a page at the most.
const PAGE_ROWS: u32 = 4_096;
/// A page below this makes the next one larger, one above four times this makes it smaller.
const PAGE_BYTES: usize = 1 << 20;

/// A store as it was at one moment.
#[async_trait]
pub(crate) trait Snapshot: Send + Sync {
    /// Runs one SELECT over that moment's state.
    async fn query(&self, statement: Statement) -> Result<Vec<Row>, QueryError>;
}

/// What was restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restored {
    /// Rows of all tables.
    pub rows: u64,
}

/// Why nothing, or not everything, was restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The file cannot be read.
    #[error("{file} cannot be read: {source}")]
    File {
        /// Which file.
        file: String,
        /// What the machine said.
        source: std::io::Error,
    },
    /// The file is no backup, or not as it was written. Nothing was restored.
    #[error("{file} is not a whole backup: {detail}")]
    Damaged {
        /// Which file.
        file: String,
        /// What is wrong with it.
        detail: String,
    },
    /// The backup is of another schema. Nothing was restored.
    #[error(
        "the backup has schema version {backup}, and this program has version {known}; restore \
         with the plimsoll that wrote it"
    )]
    Schema {
        /// The version of the backup.
        backup: i64,
        /// The version of this program.
        known: i64,
    },
    /// The store holds something. Nothing was restored.
    #[error("the store is not empty: table {table} has rows; restore into a new one")]
    NotEmpty {
        /// The first table that has rows.
        table: &'static str,
    },
    /// The store could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The store could not be written. What was restored so far stays, marked as unfinished.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

/// Writes all that `snapshot` shows to the new file `to`.
pub(crate) async fn write(snapshot: &dyn Snapshot, to: &Path) -> Result<(), BackupError> {
    let mut writer = Writer::create(to.to_owned()).await?;
    let result = write_tables(snapshot, &mut writer).await;
    match result {
        Ok(()) => writer.finish().await,
        Err(error) => {
            writer.discard().await;
            Err(error)
        }
    }
}

async fn write_tables(snapshot: &dyn Snapshot, writer: &mut Writer) -> Result<(), BackupError> {
    writer.write(Frame::Schema(migrate::newest())).await?;
    for table in TABLES {
        writer.write(Frame::Table(table.name.to_owned())).await?;
        let mut after = None;
        let mut limit = FIRST_PAGE_ROWS;
        loop {
            let rows = snapshot.query(table.page(after.as_deref(), limit)).await?;
            after = rows.last().map(|it| table.key_of(it));
            if after.is_none() {
                break;
            }
            let bytes: usize = rows.iter().flat_map(Row::values).map(Value::weight).sum();
            limit = next_limit(limit, bytes);
            writer.write(Frame::Rows(rows)).await?;
        }
    }
    Ok(())
}

const fn next_limit(limit: u32, bytes: usize) -> u32 {
    if bytes < PAGE_BYTES && limit < PAGE_ROWS {
        limit * 2
    } else if bytes > 4 * PAGE_BYTES && limit > 1 {
        limit / 2
    } else {
        limit
    }
}

/// Restores the backup `from` into `store`, which must be empty.
pub async fn restore(store: &dyn Store, from: &Path) -> Result<Restored, RestoreError> {
    let (backup, known) = (file::verify(from.to_owned()).await?, migrate::newest());
    if backup != known {
        return Err(RestoreError::Schema { backup, known });
    }
    refuse_if_not_empty(store).await?;
    let begin = vec![
        meta::insert(migrate::UNFINISHED_RESTORE, "1"),
        Statement::new("backup.clear_control_head", "DELETE FROM control_head", Vec::new()),
    ];
    store.commit(Batch::new(Lane::Control, begin)).await?;
    let restored = restore_rows(store, from).await?;
    let end = vec![meta::delete(migrate::UNFINISHED_RESTORE)];
    store.commit(Batch::new(Lane::Control, end)).await?;
    Ok(restored)
}

async fn refuse_if_not_empty(store: &dyn Store) -> Result<(), RestoreError> {
    for table in TABLES {
        let rows = store.query(table.first_row()).await.map_err(ReadError::from)?;
        if !rows.is_empty() {
            return Err(RestoreError::NotEmpty { table: table.name });
        }
    }
    Ok(())
}

async fn restore_rows(store: &dyn Store, from: &Path) -> Result<Restored, RestoreError> {
    let mut reader = Reader::open(from.to_owned());
    let mut restored = Restored { rows: 0 };
    let mut table: Option<&Table> = None;
    while let Some(frame) = reader.next().await? {
        match frame {
            Frame::Schema(_) => {}
            Frame::Table(name) => {
                let found = TABLES.iter().find(|it| it.name == name);
                table = Some(found.ok_or_else(|| damaged(from, format!("no table {name}")))?);
            }
            Frame::Rows(rows) => {
                let table = table.ok_or_else(|| damaged(from, "rows of no table".to_owned()))?;
                restored.rows += rows.len() as u64;
                store.commit(Batch::new(Lane::Log, insert(table, rows))).await?;
            }
        }
    }
    Ok(restored)
}

fn insert(table: &Table, rows: Vec<Row>) -> Vec<Statement> {
    let values = rows.into_iter().flat_map(Row::into_values).collect();
    let head = format!("INSERT INTO {} ({})", table.name, table.columns.join(", "));
    multirow::insert_flat("backup.insert", &head, "", table.columns.len(), values)
}

fn damaged(file: &Path, detail: String) -> RestoreError {
    RestoreError::Damaged { file: file.display().to_string(), detail }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_grow_while_they_are_small_and_shrink_when_they_are_large() {
        let cases = [
            (16, 0, 32),
            (PAGE_ROWS, 0, PAGE_ROWS),
            (16, PAGE_BYTES, 16),
            (16, 4 * PAGE_BYTES + 1, 8),
            (1, 64 * PAGE_BYTES, 1),
        ];
        for (limit, bytes, expected) in cases {
            assert_eq!(next_limit(limit, bytes), expected, "{limit} rows, {bytes} bytes");
        }
    }
}
