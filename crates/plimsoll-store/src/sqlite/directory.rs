//! The directory that holds the database, locked so that one process at a time owns it.
//!
//! Not here: what is in the database.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io,
    path::{Path, PathBuf},
};

use crate::store::OpenError;

/// A locked directory. The lock is held until [`Directory::unlock`] or the end of the process,
/// however that ends.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    lock: File,
}

impl Directory {
    /// Makes the directory if it does not exist, and locks it.
    pub(super) fn lock(path: &Path) -> Result<Self, OpenError> {
        let name = || path.display().to_string();
        let failed = |source: io::Error| OpenError::Directory { directory: name(), source };
        make(path).map_err(failed)?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path.join("lock"))
            .map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), lock }),
            Err(TryLockError::WouldBlock) => Err(OpenError::Locked { directory: name() }),
            Err(TryLockError::Error(source)) => Err(failed(source)),
        }
    }

    /// The database file.
    pub(super) fn database(&self) -> PathBuf {
        database_in(&self.path)
    }

    /// Lets another process have the directory.
    pub(super) fn unlock(&self) {
        if let Err(error) = self.lock.unlock() {
            tracing::warn!(%error, "the data directory stays locked until the process ends");
        }
    }
}

/// The database file of the directory at `path`, locked or not.
pub(super) fn database_in(path: &Path) -> PathBuf {
    path.join("plimsoll.db")
}

/// Makes the directory, readable by nobody else: keys and usage are in it.
fn make(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}
