//! Keeps the write-ahead log short without making a commit wait for it.
//!
//! SQLite would move pages from the WAL into the file inside some commit. Here a thread of its own
//! does that beside the writer. Under steady load it never sees the end of the WAL, which can be
//! begun anew only when all of it was moved; so when the thread has moved the bulk, the writer
//! moves the small rest between two commits. When commits are faster than the disk, the writer
//! waits for the thread.
//!
//! Not here: durability. A commit is durable when the WAL is synced, moved or not.

use std::{
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use rusqlite::Connection;

use crate::sqlite::{connection, directory::Directory};

/// Pages in the WAL at which the thread begins to move them: 32 MiB.
const MOVE_PAGES: u32 = 4 * 1024;
/// Pages in the WAL at which the writer waits for the thread: 128 MiB.
const WAIT_PAGES: u32 = 4 * MOVE_PAGES;
/// How long the writer waits at the most.
const WAIT: Duration = Duration::from_secs(5);

/// How long the WAL is, and what is to be done about it. Shared by writer and thread.
#[derive(Debug, Default)]
pub(super) struct Gauge {
    /// Pages in the WAL after the last commit.
    pages: AtomicU32,
    /// The bulk is moved; the writer is to move the rest.
    finish: AtomicBool,
    /// Pages at which to try again, when a reader kept the WAL from being moved.
    next_at: AtomicU32,
    work: Mutex<Work>,
    changed: Condvar,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Work {
    #[default]
    Idle,
    Move,
    Stop,
}

/// The running thread.
#[derive(Debug)]
pub(super) struct Upkeep {
    gauge: Arc<Gauge>,
    thread: JoinHandle<()>,
}

impl Gauge {
    /// Learns the length of the WAL from each commit on this connection.
    pub(super) fn watch(self: &Arc<Self>, connection: &mut Connection) -> rusqlite::Result<()> {
        let gauge = Arc::clone(self);
        connection.wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, pages: i32| {
            gauge.pages.store(pages.unsigned_abs(), Ordering::Relaxed);
            Ok(())
        }))
    }

    /// Called by the writer after each commit, when it is not in a transaction.
    pub(super) fn after_commit(&self, connection: &Connection) {
        let pages = self.pages.load(Ordering::Relaxed);
        let next_at = self.next_at.load(Ordering::Relaxed);
        let overdue = pages >= WAIT_PAGES.max(next_at);
        if overdue {
            self.wait_until_moved();
        }
        if self.finish.swap(false, Ordering::AcqRel) || overdue {
            match move_pages(connection) {
                // The next commit begins the WAL anew.
                Ok(true) => self.next_at.store(0, Ordering::Relaxed),
                Ok(false) => self.next_at.store(pages.saturating_mul(2), Ordering::Relaxed),
                Err(error) => {
                    tracing::warn!(%error, "the write-ahead log could not be moved");
                    self.next_at.store(pages.saturating_mul(2), Ordering::Relaxed);
                }
            }
            self.pages.store(0, Ordering::Relaxed);
        } else if pages >= MOVE_PAGES.max(next_at) {
            self.tell(Work::Move);
        }
    }

    fn tell(&self, work: Work) {
        let mut current = self.work.lock().expect("no holder of this lock panics");
        if *current != Work::Stop && *current != work {
            *current = work;
            self.changed.notify_all();
        }
    }

    /// Waits for something to do. It stays in place, so that it is not ordered twice meanwhile.
    fn next(&self) -> Work {
        let mut current = self.work.lock().expect("no holder of this lock panics");
        while *current == Work::Idle {
            current = self.changed.wait(current).expect("no holder of this lock panics");
        }
        *current
    }

    fn done(&self) {
        let mut current = self.work.lock().expect("no holder of this lock panics");
        if *current == Work::Move {
            *current = Work::Idle;
            self.changed.notify_all();
        }
    }

    fn wait_until_moved(&self) {
        let current = self.work.lock().expect("no holder of this lock panics");
        let waited = self.changed.wait_timeout_while(current, WAIT, |it| *it == Work::Move);
        drop(waited.expect("no holder of this lock panics"));
    }
}

impl Upkeep {
    /// Starts the thread.
    pub(super) fn start(directory: &Directory) -> Result<Self, String> {
        let gauge = Arc::new(Gauge::default());
        let connection =
            connection::open_mover(&directory.database()).map_err(|it| it.to_string())?;
        let shared = Arc::clone(&gauge);
        let builder = thread::Builder::new().name("sqlite-wal".to_owned());
        let thread = builder.spawn(move || run(&connection, &shared));
        Ok(Self { gauge, thread: thread.map_err(|it| it.to_string())? })
    }

    pub(super) fn gauge(&self) -> Arc<Gauge> {
        Arc::clone(&self.gauge)
    }

    /// Stops the thread and waits for it.
    pub(super) fn stop(self) {
        self.gauge.tell(Work::Stop);
        if self.thread.join().is_err() {
            tracing::error!("the thread that moves the write-ahead log had panicked");
        }
    }
}

fn run(connection: &Connection, gauge: &Gauge) {
    while gauge.next() == Work::Move {
        match move_pages(connection) {
            Ok(_) => gauge.finish.store(true, Ordering::Release),
            Err(error) => tracing::warn!(%error, "the write-ahead log could not be moved"),
        }
        gauge.done();
    }
}

/// Moves what can be moved without waiting for anybody. Returns whether that was all.
fn move_pages(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| {
        let (busy, pages, moved): (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        Ok(busy == 0 && pages == moved)
    })
}
