//! What happened, as lines: hashed always, kept when somebody wants to read them.
//!
//! Two runs of one seed are the same if their digests are: every answer, every commit and every
//! moment is in a line.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use plimsoll_engine::deps::Clock as _;
use sha2::{Digest as _, Sha256};

use crate::clock::VirtualClock;

/// The record of one simulation. Clones write to the same record.
#[derive(Debug, Clone)]
pub struct Trace {
    clock: VirtualClock,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug)]
struct Shared {
    hasher: Sha256,
    /// Absent if nobody wants to read them.
    lines: Option<Vec<String>>,
}

impl Trace {
    /// An empty record; `keep` its lines.
    pub fn new(clock: &VirtualClock, keep: bool) -> Self {
        let shared = Shared { hasher: Sha256::new(), lines: keep.then(Vec::new) };
        Self { clock: clock.clone(), shared: Arc::new(Mutex::new(shared)) }
    }

    /// Adds a line with the time at which it is said.
    pub fn note(&self, what: impl std::fmt::Display) {
        let elapsed_us = self.clock.elapsed().as_micros();
        let line = format!("{:>14.3} ms {} {what}", elapsed_us as f64 / 1e3, self.clock.now());
        let mut shared = self.lock();
        shared.hasher.update(&line);
        shared.hasher.update(b"\n");
        if let Some(lines) = &mut shared.lines {
            lines.push(line);
        }
    }

    /// Adds bytes that nobody reads.
    pub fn absorb(&self, bytes: &[u8]) {
        let mut shared = self.lock();
        shared.hasher.update((bytes.len() as u64).to_le_bytes());
        shared.hasher.update(bytes);
    }

    /// The digest of everything up to now, in hexadecimal.
    pub fn digest(&self) -> String {
        let digest = self.lock().hasher.clone().finalize();
        digest.iter().fold(String::with_capacity(64), |mut text, it| {
            text.push_str(&format!("{it:02x}"));
            text
        })
    }

    /// Takes out the lines that were kept.
    pub fn take_lines(&self) -> Vec<String> {
        self.lock().lines.take().unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
