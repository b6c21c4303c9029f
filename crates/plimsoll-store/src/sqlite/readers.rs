//! Threads that answer queries, each on a connection of its own.
//!
//! Not here: writes. The connections are opened read-only.

use std::{
    collections::VecDeque,
    path::Path,
    sync::{Arc, Condvar, Mutex, MutexGuard},
    thread::{self, JoinHandle},
};

use async_trait::async_trait;
use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::{
    backup::Snapshot,
    row::Row,
    sqlite::{
        connection::{self, Failure},
        directory::Directory,
    },
    statement::Statement,
    store::QueryError,
};

/// Queries that may wait; more are answered `Unavailable`.
const WAITING_QUERIES: usize = 65_536;

type Answer = Result<Vec<Row>, QueryError>;

/// Threads that read.
#[derive(Debug)]
pub(super) struct Readers {
    queue: Arc<Queue>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Debug, Default)]
struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<(Statement, oneshot::Sender<Answer>)>,
    closed: bool,
}

impl Readers {
    /// Starts so many threads.
    pub(super) fn start(directory: &Directory, count: usize) -> Result<Self, String> {
        let connections: Result<Vec<_>, _> =
            (0..count).map(|_| connection::open_reader(&directory.database())).collect();
        Self::start_on(connections.map_err(|it| it.to_string())?)
    }

    /// Starts one thread that sees the store as it is now, whatever is committed later.
    pub(super) fn snapshot(database: &Path) -> Result<Self, String> {
        let begin = || {
            let connection = connection::open_reader(database)?;
            // The transaction takes its snapshot with the first read.
            connection.execute_batch("BEGIN; SELECT count(*) FROM control_head;")?;
            rusqlite::Result::Ok(connection)
        };
        Self::start_on(vec![begin().map_err(|it: rusqlite::Error| it.to_string())?])
    }

    fn start_on(connections: Vec<Connection>) -> Result<Self, String> {
        let queue = Arc::new(Queue::default());
        let mut threads = Vec::with_capacity(connections.len());
        for connection in connections {
            let queue = Arc::clone(&queue);
            let builder = thread::Builder::new().name("sqlite-reader".to_owned());
            let started = builder.spawn(move || serve(&connection, &queue));
            threads.push(started.map_err(|it| it.to_string())?);
        }
        Ok(Self { queue, threads: Mutex::new(threads) })
    }

    /// Runs a query on the first thread that is free.
    pub(super) async fn query(&self, statement: Statement) -> Answer {
        let unavailable = |detail: &str| QueryError::Unavailable { detail: detail.to_owned() };
        let (answer, receiver) = oneshot::channel();
        {
            let mut state = self.queue.state();
            if state.closed {
                return Err(unavailable("the store is closed"));
            }
            if state.waiting.len() >= WAITING_QUERIES {
                return Err(unavailable("too many queries wait"));
            }
            state.waiting.push_back((statement, answer));
        }
        self.queue.changed.notify_one();
        receiver.await.unwrap_or_else(|_| Err(unavailable("a reader has stopped")))
    }

    /// Takes nothing more. The threads end when they have answered what waits.
    pub(super) fn stop(&self) {
        self.queue.state().closed = true;
        self.queue.changed.notify_all();
    }

    /// Stops, and waits until the threads have ended.
    pub(super) async fn close(&self) {
        self.stop();
        let threads: Vec<_> =
            self.threads.lock().expect("no holder of this lock panics").drain(..).collect();
        let joined = super::blocking(move || threads.into_iter().all(|it| it.join().is_ok())).await;
        if joined != Ok(true) {
            tracing::error!("a reader of the store had panicked");
        }
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.stop();
    }
}

#[async_trait]
impl Snapshot for Readers {
    async fn query(&self, statement: Statement) -> Answer {
        Self::query(self, statement).await
    }
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
    }

    fn take(&self) -> Option<(Statement, oneshot::Sender<Answer>)> {
        let mut state = self.state();
        loop {
            if let Some(next) = state.waiting.pop_front() {
                return Some(next);
            }
            if state.closed {
                return None;
            }
            state = self.changed.wait(state).expect("no holder of this lock panics");
        }
    }
}

fn serve(connection: &Connection, queue: &Queue) {
    while let Some((statement, answer)) = queue.take() {
        let result = connection::run(connection, &statement);
        let result = result.map(|it| it.rows).map_err(|error| match connection::classify(&error) {
            Failure::Full(detail) | Failure::Broken(detail) => QueryError::Unavailable { detail },
            Failure::Unique => {
                QueryError::Invalid { statement: statement.name, detail: error.to_string() }
            }
            Failure::Invalid(detail) => QueryError::Invalid { statement: statement.name, detail },
        });
        // Whoever asked may have gone.
        drop(answer.send(result));
    }
}
