//! The store on PostgreSQL, for when one machine is not enough.
//!
//! A batch is one transaction on a pooled connection; its statements are sent without waiting for
//! each other, COMMIT only when all have answered. So the outcome is unknown only between sending
//! COMMIT and its answer; whatever fails before is certainly not committed, and is tried again on
//! a new connection when the old one was found dead.
//!
//! Not here: SQL of the typed modules.

mod address;
mod codec;
mod pool;
mod session;
mod tls;

use std::{path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::time::timeout;

use crate::{
    backup,
    postgres::{
        address::Address,
        pool::{Pool, Use},
        session::Trouble,
    },
    row::Row,
    statement::{Batch, Statement},
    store::{BackupError, CommitError, OpenError, QueryError, Refusal, Store},
};

/// How long a batch or a query may take before its connection is given up.
const DEADLINE: Duration = Duration::from_secs(30);
/// How often a batch or a query is tried, when nothing of it can have been committed.
const TRIES: u32 = 4;

/// A store on PostgreSQL.
#[derive(Debug)]
pub struct PostgresStore {
    pool: Pool,
}

impl PostgresStore {
    /// Opens the store in the database that `url` names, and brings its schema up to date.
    ///
    /// TLS is used as `sslmode` in the URL says: `disable` (also if it is absent), `prefer`,
    /// `require` (encrypted, not verified), `verify-ca` and `verify-full` (both verify chain and
    /// host name, against `sslrootcert` or what the machine trusts). At most `max_connections`
    /// connections are opened, and at least two are allowed.
    pub async fn open(url: &str, max_connections: usize) -> Result<Arc<dyn Store>, OpenError> {
        let address = Address::parse(url)?;
        let mut session = address.connect().await.map_err(database)?;
        session.migrate().await?;
        let pool = Pool::new(address, max_connections.max(2), session);
        Ok(Arc::new(Self { pool }))
    }

    /// Commits a batch, or says what is certain about it.
    async fn try_commit(&self, batch: &Batch) -> Result<Vec<Vec<Row>>, Trouble> {
        let purpose = if batch.lane.is_background() { Use::Background } else { Use::Foreground };
        let mut session = self.pool.take(purpose).await.map_err(Trouble::Unreachable)?;
        let executed = timeout(DEADLINE, session.execute(batch)).await;
        let rows = executed.unwrap_or_else(|_| Err(Trouble::Unreachable(late("a statement"))))?;
        let committed = timeout(DEADLINE, session.commit()).await;
        committed.unwrap_or_else(|_| Err(Trouble::Unknown(late("COMMIT"))))?;
        Ok(rows)
    }

    async fn try_query(&self, statement: &Statement) -> Result<Vec<Row>, Trouble> {
        let mut session = self.pool.take(Use::Foreground).await.map_err(Trouble::Unreachable)?;
        let answered = timeout(DEADLINE, session.query(statement)).await;
        answered.unwrap_or_else(|_| Err(Trouble::Unreachable(late("a query"))))
    }
}

#[async_trait]
impl Store for PostgresStore {
    async fn commit(&self, batch: Batch) -> Result<Vec<Vec<Row>>, CommitError> {
        if let Some(statement) = batch.statements.iter().find(|it| it.holds_nul()) {
            let refusal = Refusal::Invalid { detail: "a text holds U+0000".to_owned() };
            return Err(CommitError::Refused { statement: statement.name, refusal });
        }
        let mut tries = 0;
        loop {
            tries += 1;
            let trouble = match self.try_commit(&batch).await {
                Ok(rows) => {
                    self.pool.set_healthy(true);
                    return Ok(rows);
                }
                Err(trouble) => trouble,
            };
            match trouble {
                Trouble::Refused { statement, refusal } => {
                    return Err(CommitError::Refused { statement, refusal });
                }
                Trouble::Lost(_) if tries < TRIES => self.pool.forget_idle(),
                Trouble::Conflict(_) if tries < TRIES => {}
                Trouble::Lost(detail)
                | Trouble::Conflict(detail)
                | Trouble::Unreachable(detail) => {
                    self.pool.set_healthy(false);
                    return Err(CommitError::Unavailable { detail });
                }
                Trouble::Unknown(detail) => {
                    self.pool.set_healthy(false);
                    return Err(CommitError::Unknown { detail });
                }
            }
        }
    }

    async fn query(&self, statement: Statement) -> Result<Vec<Row>, QueryError> {
        let mut tries = 0;
        loop {
            tries += 1;
            match self.try_query(&statement).await {
                Ok(rows) => {
                    self.pool.set_healthy(true);
                    return Ok(rows);
                }
                Err(Trouble::Refused { statement, refusal }) => {
                    let detail = refusal.to_string();
                    return Err(QueryError::Invalid { statement, detail });
                }
                Err(Trouble::Lost(_)) if tries < TRIES => self.pool.forget_idle(),
                Err(Trouble::Conflict(_)) if tries < TRIES => {}
                Err(
                    Trouble::Lost(detail)
                    | Trouble::Conflict(detail)
                    | Trouble::Unreachable(detail)
                    | Trouble::Unknown(detail),
                ) => {
                    self.pool.set_healthy(false);
                    return Err(QueryError::Unavailable { detail });
                }
            }
        }
    }

    async fn backup(&self, to: &Path) -> Result<(), BackupError> {
        let unavailable = |detail| QueryError::Unavailable { detail };
        let session = self.pool.connect().await.map_err(unavailable)?;
        let snapshot = session.into_snapshot().await.map_err(unavailable)?;
        let result = backup::write(&snapshot, to).await;
        snapshot.close().await;
        result
    }

    async fn close(&self) {
        self.pool.close().await;
    }

    fn healthy(&self) -> bool {
        self.pool.healthy()
    }
}

fn database(detail: String) -> OpenError {
    OpenError::Database { detail }
}

fn late(request: &str) -> String {
    format!("no answer to {request} within {} s", DEADLINE.as_secs())
}
