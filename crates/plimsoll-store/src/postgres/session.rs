//! One connection to PostgreSQL, with the statements prepared on it.
//!
//! Not here: which connection is used when (`pool`).

use std::{collections::HashMap, fmt, pin::Pin, task::Poll};

use async_trait::async_trait;
use futures_util::{TryStreamExt, future::poll_fn, pin_mut};
use tokio::{sync::Mutex, task::JoinHandle};
use tokio_postgres::{Client, error::SqlState};

use crate::{
    backup::Snapshot,
    migrate,
    postgres::codec::{self, Param},
    row::Row,
    statement::{Batch, Statement},
    store::{OpenError, QueryError, Refusal},
};

/// Prepared statements kept by a connection; when there are more, all are forgotten.
const PREPARED_STATEMENTS: usize = 256;

/// The advisory lock under which one process at a time migrates a database ("plimsoll").
const MIGRATION_LOCK: &str = "SELECT pg_advisory_xact_lock(8100118887211826284)";

/// What every connection is set to. A commit must be durable whatever the database's default is,
/// but a stronger setting (`remote_apply`) is left alone.
const SETTINGS: &str = "\
    SELECT CASE WHEN current_setting('synchronous_commit') IN ('off', 'local') \
        THEN set_config('synchronous_commit', 'on', false) END; \
    SET client_min_messages = warning; \
    SET idle_in_transaction_session_timeout = '60s'; \
    SET jit = off";

/// What migration texts cannot say, because SQLite does not know it. Payloads and hashes are
/// compressed or random already; deliveries are updated several times.
const STORAGE: &str = "\
    ALTER TABLE log ALTER COLUMN payload SET STORAGE EXTERNAL; \
    ALTER TABLE checkpoint ALTER COLUMN payload SET STORAGE EXTERNAL; \
    ALTER TABLE dedupe ALTER COLUMN hashes SET STORAGE EXTERNAL; \
    ALTER TABLE dedupe_block ALTER COLUMN identities SET STORAGE EXTERNAL; \
    ALTER TABLE dedupe_filter ALTER COLUMN cells SET STORAGE EXTERNAL; \
    ALTER TABLE delivery SET (fillfactor = 80)";

/// A connection.
pub(super) struct Session {
    client: Client,
    /// Moves bytes between the client and the socket; ends when the client is gone. Taken by
    /// whoever waits for that.
    driver: Option<JoinHandle<()>>,
    prepared: HashMap<String, tokio_postgres::Statement>,
    /// Whether the connection is outside of any transaction, with no answer outstanding.
    idle: bool,
}

/// A connection inside a transaction that sees one moment.
#[derive(Debug)]
pub(super) struct SnapshotSession(Mutex<Session>);

/// Why something did not work, and what is certain about it.
#[derive(Debug)]
pub(super) enum Trouble {
    /// A statement was refused.
    Refused { statement: &'static str, refusal: Refusal },
    /// The connection was lost before COMMIT was sent. A new one may do.
    Lost(String),
    /// Another transaction was in the way: a deadlock. Trying again helps.
    Conflict(String),
    /// The database cannot do it now. Nothing was committed.
    Unreachable(String),
    /// COMMIT was sent, and there was no answer that says what came of it.
    Unknown(String),
}

/// What a statement gave: its rows, and how many it inserted, updated or deleted.
type Outcome = (Vec<Row>, u64);
type Running<'a, T> = Pin<Box<dyn Future<Output = Result<T, tokio_postgres::Error>> + Send + 'a>>;

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("idle", &self.idle).finish_non_exhaustive()
    }
}

impl Drop for Session {
    /// A connection in the middle of something is cut, so that nobody waits for its answer.
    fn drop(&mut self) {
        if let Some(driver) = &self.driver
            && !self.idle
        {
            driver.abort();
        }
    }
}

impl Session {
    /// A session on a new connection, set up.
    pub(super) async fn begin(client: Client, driver: JoinHandle<()>) -> Result<Self, String> {
        let prepared = HashMap::new();
        let mut session = Self { client, driver: Some(driver), prepared, idle: false };
        session.client.batch_execute(SETTINGS).await.map_err(|it| describe(&it))?;
        session.idle = true;
        Ok(session)
    }

    /// Whether another one may use it: it is alive and outside of any transaction.
    pub(super) fn is_usable(&self) -> bool {
        self.idle && !self.client.is_closed()
    }

    /// Says farewell to the server and waits until the connection is closed.
    pub(super) async fn close(mut self) {
        let driver = self.driver.take();
        drop(self);
        if let Some(driver) = driver
            && let Err(error) = driver.await
        {
            tracing::debug!(%error, "a connection to the database ended badly");
        }
    }

    /// Opens a transaction and runs the statements of a batch in it. If one is refused or fails,
    /// the transaction is rolled back; otherwise it is left open for [`Session::commit`].
    pub(super) async fn execute(&mut self, batch: &Batch) -> Result<Vec<Vec<Row>>, Trouble> {
        self.idle = false;
        if let Err(trouble) = self.prepare(&batch.statements).await {
            self.idle = true;
            return Err(trouble);
        }
        let result = self.run(&batch.statements).await;
        if result.is_err() {
            // If this fails, the connection stays busy and is cut: the server rolls back.
            self.idle = self.client.batch_execute("ROLLBACK").await.is_ok();
        }
        result
    }

    /// Commits the open transaction.
    pub(super) async fn commit(&mut self) -> Result<(), Trouble> {
        let result = self.client.batch_execute("COMMIT").await;
        // An answer of any kind means that the transaction is over.
        self.idle = match &result {
            Ok(()) => true,
            Err(error) => error.as_db_error().is_some(),
        };
        result.map_err(|error| match error.code() {
            Some(&SqlState::T_R_SERIALIZATION_FAILURE | &SqlState::T_R_DEADLOCK_DETECTED) => {
                Trouble::Conflict(describe(&error))
            }
            // The server is going down; it may have committed first.
            Some(code) if class(code) == "57" || class(code) == "08" => {
                Trouble::Unknown(describe(&error))
            }
            Some(_) => Trouble::Unreachable(describe(&error)),
            None => Trouble::Unknown(describe(&error)),
        })
    }

    /// Runs one statement outside of a batch.
    pub(super) async fn query(&mut self, statement: &Statement) -> Result<Vec<Row>, Trouble> {
        self.idle = false;
        let result = self.prepare_and_run(statement).await;
        // A single statement is its own transaction: it is over with its answer.
        self.idle = true;
        result
    }

    /// Brings the schema up to date, in one transaction.
    pub(super) async fn migrate(&mut self) -> Result<(), OpenError> {
        self.idle = false;
        let migrated = self.try_migrate().await;
        let ended = self.client.batch_execute(if migrated.is_ok() { "COMMIT" } else { "ROLLBACK" });
        let ended = ended.await.map_err(|it| OpenError::Database { detail: describe(&it) });
        migrated?;
        ended?;
        self.idle = true;
        Ok(())
    }

    /// Makes it see the store as it is now, whatever is committed later.
    pub(super) async fn into_snapshot(self) -> Result<SnapshotSession, String> {
        // The transaction takes its snapshot with the first query, and waits for a slow disk.
        let begin = "SET idle_in_transaction_session_timeout = 0; \
                     BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; \
                     SELECT count(*) FROM control_head";
        self.client.batch_execute(begin).await.map_err(|it| describe(&it))?;
        Ok(SnapshotSession(Mutex::new(self)))
    }

    async fn try_migrate(&mut self) -> Result<(), OpenError> {
        let database = |detail| OpenError::Database { detail };
        let failed =
            |error: tokio_postgres::Error| OpenError::Database { detail: describe(&error) };
        let refused = |trouble: Trouble| OpenError::Database { detail: trouble.into_detail() };
        self.client.batch_execute("BEGIN").await.map_err(failed)?;
        let encoding = self.client.query_one("SHOW server_encoding", &[]).await.map_err(failed)?;
        let encoding: String = encoding.try_get(0).map_err(failed)?;
        if encoding != "UTF8" {
            return Err(database(format!("its encoding is {encoding}, UTF8 is needed")));
        }
        self.client.batch_execute(MIGRATION_LOCK).await.map_err(failed)?;
        self.client.batch_execute(migrate::CREATE_TABLE).await.map_err(failed)?;
        let applied = self.prepare_and_run(&migrate::select_applied()).await.map_err(refused)?;
        let pending = migrate::pending_after(&applied)?;
        for migration in pending {
            self.client.batch_execute(migration.sql).await.map_err(failed)?;
            self.prepare_and_run(&migration.record()).await.map_err(refused)?;
            tracing::info!(migration = migration.name, "the schema was migrated");
        }
        if !pending.is_empty() {
            self.client.batch_execute(STORAGE).await.map_err(failed)?;
        }
        let unfinished = migrate::select_unfinished_restore();
        if self.prepare_and_run(&unfinished).await.map_err(refused)?.is_empty() {
            Ok(())
        } else {
            Err(OpenError::HalfRestored)
        }
    }

    async fn prepare_and_run(&mut self, statement: &Statement) -> Result<Vec<Row>, Trouble> {
        self.prepare(std::slice::from_ref(statement)).await?;
        let outcome = run_one(&self.client, self.prepared_for(statement), statement).await;
        outcome.map(|(rows, _)| rows).map_err(|error| trouble_of(statement.name, &error))
    }

    /// Sends BEGIN and all statements at once, then reads the answers in order.
    async fn run(&self, statements: &[Statement]) -> Result<Vec<Vec<Row>>, Trouble> {
        let mut running: Vec<Running<'_, Outcome>> = Vec::with_capacity(statements.len() + 1);
        running.push(Box::pin(async {
            self.client.batch_execute("BEGIN ISOLATION LEVEL READ COMMITTED").await?;
            Ok((Vec::new(), 0))
        }));
        for statement in statements {
            let prepared = self.prepared_for(statement);
            running.push(Box::pin(run_one(&self.client, prepared, statement)));
        }
        let mut answers = Answers::send(running).await;
        if let Err(error) = answers.next().await {
            return Err(trouble_of("begin", &error));
        }
        let mut results = Vec::with_capacity(statements.len());
        for statement in statements {
            let outcome = answers.next().await;
            let (rows, affected) = outcome.map_err(|error| trouble_of(statement.name, &error))?;
            statement.expect.check(&rows, affected).map_err(|found| Trouble::Refused {
                statement: statement.name,
                refusal: Refusal::Expectation { found },
            })?;
            results.push(rows);
        }
        Ok(results)
    }

    /// Prepares what is not prepared yet, all at once.
    async fn prepare(&mut self, statements: &[Statement]) -> Result<(), Trouble> {
        if self.prepared.len() > PREPARED_STATEMENTS {
            self.prepared.clear();
        }
        let mut missing: Vec<&Statement> = Vec::new();
        for statement in statements {
            let text = &statement.sql;
            let known = self.prepared.contains_key(text.as_ref());
            if !known && missing.iter().all(|it| it.sql != *text) {
                missing.push(statement);
            }
        }
        let preparing: Vec<Running<'_, _>> = missing
            .iter()
            .map(|it| Box::pin(self.client.prepare(&it.sql)) as Running<'_, _>)
            .collect();
        let mut answers = Answers::send(preparing).await;
        let mut prepared = Vec::with_capacity(missing.len());
        for statement in &missing {
            let answer = answers.next().await.map_err(|it| trouble_of(statement.name, &it))?;
            prepared.push((statement.sql.to_string(), answer));
        }
        drop(answers);
        self.prepared.extend(prepared);
        Ok(())
    }

    fn prepared_for(&self, statement: &Statement) -> &tokio_postgres::Statement {
        self.prepared.get(statement.sql.as_ref()).expect("prepare was called for the statement")
    }
}

#[async_trait]
impl Snapshot for SnapshotSession {
    async fn query(&self, statement: Statement) -> Result<Vec<Row>, QueryError> {
        let result = self.0.lock().await.query(&statement).await;
        result.map_err(|trouble| QueryError::Unavailable { detail: trouble.into_detail() })
    }
}

impl SnapshotSession {
    /// Ends the transaction with its connection.
    pub(super) async fn close(self) {
        self.0.into_inner().close().await;
    }
}

impl Trouble {
    fn into_detail(self) -> String {
        match self {
            Self::Refused { statement, refusal } => format!("{statement} was refused: {refusal}"),
            Self::Lost(detail)
            | Self::Conflict(detail)
            | Self::Unreachable(detail)
            | Self::Unknown(detail) => detail,
        }
    }
}

/// Requests that were sent one after the other, and whose answers come in that order.
struct Answers<'a, T>(std::vec::IntoIter<(Running<'a, T>, Option<Answered<T>>)>);

type Answered<T> = Result<T, tokio_postgres::Error>;

impl<'a, T> Answers<'a, T> {
    /// Sends all requests: the client puts one on the wire when its future is first polled.
    async fn send(requests: Vec<Running<'a, T>>) -> Self {
        let mut sent = Vec::with_capacity(requests.len());
        for mut request in requests {
            let answer = poll_fn(|context| match request.as_mut().poll(context) {
                Poll::Ready(answer) => Poll::Ready(Some(answer)),
                Poll::Pending => Poll::Ready(None),
            });
            let answer = answer.await;
            sent.push((request, answer));
        }
        Self(sent.into_iter())
    }

    /// Waits for the next answer. There must be one.
    async fn next(&mut self) -> Answered<T> {
        let (request, answer) = self.0.next().expect("as many answers are read as requests sent");
        match answer {
            Some(answer) => answer,
            None => request.await,
        }
    }
}

async fn run_one(
    client: &Client,
    prepared: &tokio_postgres::Statement,
    statement: &Statement,
) -> Answered<Outcome> {
    let stream = client.query_raw(prepared, statement.params.iter().map(Param)).await?;
    pin_mut!(stream);
    let mut rows = Vec::new();
    while let Some(row) = stream.try_next().await? {
        rows.push(codec::read(&row)?);
    }
    Ok((rows, stream.rows_affected().unwrap_or(0)))
}

/// What an error before COMMIT means.
fn trouble_of(statement: &'static str, error: &tokio_postgres::Error) -> Trouble {
    let detail = describe(error);
    let Some(code) = error.code() else {
        // Without an answer of the server it is the connection, or a parameter or a column of a
        // type that the store does not use.
        return if error.is_closed() || is_io(error) {
            Trouble::Lost(detail)
        } else {
            Trouble::Refused { statement, refusal: Refusal::Invalid { detail } }
        };
    };
    match (code, class(code)) {
        (&SqlState::UNIQUE_VIOLATION, _) => {
            Trouble::Refused { statement, refusal: Refusal::Unique }
        }
        (&SqlState::T_R_SERIALIZATION_FAILURE | &SqlState::T_R_DEADLOCK_DETECTED, _) => {
            Trouble::Conflict(detail)
        }
        (&SqlState::QUERY_CANCELED | &SqlState::READ_ONLY_SQL_TRANSACTION, _) => {
            Trouble::Unreachable(detail)
        }
        (_, "57" | "08") => Trouble::Lost(detail),
        // Out of resources, not in the right state, broken.
        (_, "53" | "55" | "58" | "XX") => Trouble::Unreachable(detail),
        _ => Trouble::Refused { statement, refusal: Refusal::Invalid { detail } },
    }
}

/// The first two characters of a code: what kind of error it is.
fn class(code: &SqlState) -> &str {
    code.code().get(..2).unwrap_or_default()
}

fn is_io(error: &tokio_postgres::Error) -> bool {
    let source = std::error::Error::source(error);
    source.and_then(|it| it.downcast_ref::<std::io::Error>()).is_some()
}

/// The error with its cause, which its own text leaves out.
pub(super) fn describe(error: &tokio_postgres::Error) -> String {
    match (error.as_db_error(), std::error::Error::source(error)) {
        (Some(it), _) => format!("{} ({})", it.message(), it.code().code()),
        (None, Some(source)) => format!("{error}: {source}"),
        (None, None) => error.to_string(),
    }
}
