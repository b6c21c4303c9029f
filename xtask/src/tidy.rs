//! What rustfmt and clippy cannot check, as functions from a tree of texts to complaints.
//!
//! A check never touches the file system: it sees a [`Tree`], so that its test can hand it a tree
//! of two files which breaks one rule. Every complaint says what to do instead.
//!
//! Not here: style that rustfmt fixes and lints that clippy has (`rustfmt.toml`, `clippy.toml`).

use std::{collections::BTreeMap, fmt, fs, io, path::Path};

mod documents;
mod floors;
mod lock;
mod text;

#[cfg(test)]
mod tests;

/// Folders that hold no text of ours.
const SKIPPED_FOLDERS: [&str; 4] = [".git", "target", "plimsoll-data", "node_modules"];

/// A file larger than this is data, not text that someone reads.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// Every text file of the repository: path from the root with `/`, and content.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    files: BTreeMap<String, String>,
}

impl Tree {
    /// Reads everything below `root` that is UTF-8.
    pub(crate) fn load(root: &Path) -> io::Result<Self> {
        let mut tree = Self::default();
        let mut pending = vec![root.to_path_buf()];
        while let Some(folder) = pending.pop() {
            for entry in fs::read_dir(&folder)? {
                let entry = entry?;
                let name = entry.file_name().to_string_lossy().into_owned();
                let kind = entry.file_type()?;
                if kind.is_dir() && !SKIPPED_FOLDERS.contains(&name.as_str()) {
                    pending.push(entry.path());
                } else if kind.is_file() && entry.metadata()?.len() <= FILE_BYTES_MAX {
                    tree.load_file(root, &entry.path())?;
                }
            }
        }
        Ok(tree)
    }

    fn load_file(&mut self, root: &Path, path: &Path) -> io::Result<()> {
        let Ok(content) = String::from_utf8(fs::read(path)?) else {
            return Ok(());
        };
        if let Ok(relative) = path.strip_prefix(root) {
            self.insert(&relative.to_string_lossy().replace('\\', "/"), &content);
        }
        Ok(())
    }

    /// Adds one file, replacing what had the same path.
    pub(crate) fn insert(&mut self, path: &str, content: &str) {
        self.files.insert(path.to_owned(), content.to_owned());
    }

    /// How many files there are.
    pub(crate) fn len(&self) -> usize {
        self.files.len()
    }

    fn get(&self, path: &str) -> Option<&str> {
        self.files.get(path).map(String::as_str)
    }

    fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files.iter().map(|(path, content)| (path.as_str(), content.as_str()))
    }

    /// The files whose name ends in a dot and `ending`.
    fn ending_in(&self, ending: &str) -> impl Iterator<Item = (&str, &str)> {
        self.iter().filter(move |(path, _)| ends_in(path, ending))
    }

    /// Whether `path` is a file, or a folder with a file in it.
    fn has(&self, path: &str) -> bool {
        let path = path.trim_end_matches('/');
        let folder = format!("{path}/");
        self.files.contains_key(path)
            || self
                .files
                .range(folder.clone()..)
                .next()
                .is_some_and(|(first, _)| first.starts_with(&folder))
    }
}

fn ends_in(path: &str, ending: &str) -> bool {
    Path::new(path).extension().is_some_and(|it| it == ending)
}

/// One broken rule at one place.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Complaint {
    path: String,
    line: Option<usize>,
    message: String,
}

impl Complaint {
    fn file(path: &str, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line: None, message: message.into() }
    }

    /// `index` counts from 0, as `enumerate` does.
    fn line(path: &str, index: usize, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line: Some(index + 1), message: message.into() }
    }
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.path, self.message),
            None => write!(f, "{}: {}", self.path, self.message),
        }
    }
}

/// Runs every check.
pub(crate) fn check(tree: &Tree) -> Vec<Complaint> {
    let checks = [
        text::check,
        floors::check_manifests,
        floors::check_imports,
        documents::check_architecture,
        documents::check_mentions,
        documents::check_problem_pages,
        documents::check_links,
        lock::check_packages,
        lock::check_clippy_lists,
    ];
    checks.iter().flat_map(|check| check(tree)).collect()
}
