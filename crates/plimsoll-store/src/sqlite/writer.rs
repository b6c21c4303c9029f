//! The thread that writes: group commit on the only connection that may.
//!
//! A group of batches is one SQLite transaction; each batch is a savepoint inside it, so that a
//! refused one harms no other. When the machine fails inside a group, the group is rolled back
//! and its batches are tried one by one, so that a batch too large for the disk fails alone.
//!
//! Not here: which batches form a group (`lanes`), moving the WAL into the file (`wal`).

use std::{
    path::PathBuf,
    sync::Arc,
    thread::{self, JoinHandle},
};

use rusqlite::Connection;

use crate::{
    row::Row,
    sqlite::{
        batch::{self, Undone},
        connection::{self, Failure},
        directory::Directory,
        lanes::{Answer, Lanes, Waiting},
        wal::Gauge,
    },
    statement::Batch,
    store::CommitError,
};

/// The running thread.
#[derive(Debug)]
pub(super) struct Writer(JoinHandle<()>);

struct Thread {
    connection: Connection,
    path: PathBuf,
    lanes: Arc<Lanes>,
    gauge: Arc<Gauge>,
}

/// Why a whole group was rolled back.
enum Aborted {
    /// Nothing of it is in the file.
    Certainly(String),
    /// The machine failed while it was made durable.
    Perhaps(String),
}

impl Writer {
    /// Starts the thread on its connection.
    pub(super) fn start(
        connection: Connection,
        directory: &Directory,
        lanes: &Arc<Lanes>,
        gauge: Arc<Gauge>,
    ) -> Result<Self, String> {
        let mut thread =
            Thread { connection, path: directory.database(), lanes: Arc::clone(lanes), gauge };
        let builder = thread::Builder::new().name("sqlite-writer".to_owned());
        let started = builder.spawn(move || thread.serve_all());
        Ok(Self(started.map_err(|it| it.to_string())?))
    }

    /// Waits until everything that was handed over is written. The queue must be closed.
    pub(super) fn join(self) {
        if self.0.join().is_err() {
            tracing::error!("the writer of the store had panicked");
        }
    }
}

impl Drop for Thread {
    /// However the thread ends, nobody waits for it any longer.
    fn drop(&mut self) {
        self.lanes.abandon();
    }
}

impl Thread {
    fn serve_all(&mut self) {
        self.watch_wal();
        let lanes = Arc::clone(&self.lanes);
        while let Some(group) = lanes.take() {
            self.serve(group);
            self.gauge.after_commit(&self.connection);
        }
    }

    /// Commits a group and answers everyone in it.
    fn serve(&mut self, group: Vec<Waiting>) {
        let batches: Vec<_> = group.iter().map(|it| &it.batch).collect();
        let answers = match self.commit(&batches) {
            Ok(answers) => answers,
            Err(Aborted::Certainly(_)) if group.len() > 1 => {
                batches.iter().map(|it| self.commit_alone(it)).collect()
            }
            Err(aborted) => {
                let error = Self::note(aborted);
                group.iter().map(|_| Err(error.clone())).collect()
            }
        };
        for (waiting, answer) in group.into_iter().zip(answers) {
            // Whoever asked may have gone; the batch is committed all the same.
            drop(waiting.answer.send(answer));
        }
    }

    fn commit_alone(&mut self, batch: &Batch) -> Answer {
        match self.commit(&[batch]) {
            Ok(mut answers) => answers.pop().expect("one batch has one answer"),
            Err(aborted) => Err(Self::note(aborted)),
        }
    }

    fn note(aborted: Aborted) -> CommitError {
        let (Aborted::Certainly(detail) | Aborted::Perhaps(detail)) = &aborted;
        tracing::error!(detail, "the store could not commit");
        match aborted {
            Aborted::Certainly(detail) => CommitError::Unavailable { detail },
            Aborted::Perhaps(detail) => CommitError::Unknown { detail },
        }
    }

    /// Commits batches in one transaction. Some may be refused; if all are, nothing is written.
    fn commit(&mut self, batches: &[&Batch]) -> Result<Vec<Answer>, Aborted> {
        let result = self.try_commit(batches);
        if result.is_err() {
            self.recover();
        }
        result
    }

    fn try_commit(&self, batches: &[&Batch]) -> Result<Vec<Answer>, Aborted> {
        let certainly = |error: rusqlite::Error| Aborted::Certainly(error.to_string());
        self.execute("BEGIN IMMEDIATE").map_err(certainly)?;
        let mut answers = Vec::with_capacity(batches.len());
        for batch in batches {
            // One that is alone needs none: if it is refused, all of the transaction goes.
            let done = match batches {
                [alone] => batch::run(&self.connection, alone),
                _ => self.run_in_savepoint(batch),
            };
            answers.push(match done {
                Ok(rows) => Ok(rows),
                Err(Undone::Refused(error)) => Err(error),
                Err(Undone::Failed(detail)) => return Err(Aborted::Certainly(detail)),
            });
        }
        if answers.iter().all(Result::is_err) {
            self.execute("ROLLBACK").map_err(certainly)?;
            return Ok(answers);
        }
        match self.execute("COMMIT") {
            Ok(()) => Ok(answers),
            Err(error) => Err(match connection::classify(&error) {
                // A full disk is met while pages are written, before the mark that commits them.
                Failure::Full(detail) => Aborted::Certainly(detail),
                Failure::Broken(detail) | Failure::Invalid(detail) => Aborted::Perhaps(detail),
                Failure::Unique => Aborted::Perhaps(error.to_string()),
            }),
        }
    }

    fn run_in_savepoint(&self, batch: &Batch) -> Result<Vec<Vec<Row>>, Undone> {
        let failed = |error: rusqlite::Error| Undone::Failed(error.to_string());
        self.execute("SAVEPOINT batch").map_err(failed)?;
        let result = batch::run(&self.connection, batch);
        if let Err(Undone::Refused(_)) = &result {
            self.execute("ROLLBACK TO batch").map_err(failed)?;
        }
        self.execute("RELEASE batch").map_err(failed)?;
        result
    }

    fn execute(&self, sql: &'static str) -> rusqlite::Result<()> {
        self.connection.prepare_cached(sql)?.raw_execute().map(drop)
    }

    /// Ends what is left of a transaction; makes a new connection if this one cannot.
    fn recover(&mut self) {
        if self.connection.is_autocommit() {
            return;
        }
        let Err(error) = self.execute("ROLLBACK") else { return };
        tracing::warn!(%error, "the store could not roll back and opens its file again");
        match connection::open_writer(&self.path) {
            Ok(connection) => {
                self.connection = connection;
                self.watch_wal();
            }
            // The next batch fails at BEGIN and comes here again.
            Err(error) => tracing::error!(%error, "the store could not open its file"),
        }
    }

    fn watch_wal(&mut self) {
        if let Err(error) = self.gauge.watch(&mut self.connection) {
            tracing::warn!(%error, "the size of the write-ahead log is not known");
        }
    }
}
