//! Rules about files that tools write or read: the lock file's size, the two lists of clippy.
//!
//! Not here: licences and advisories of the packages (`deny.toml`).

use super::{Complaint, Tree};

/// The design's budget: on two cores the tree of dependencies is the cold build.
const PACKAGES_MAX: usize = 500;

/// Complains when the lock file has outgrown its budget.
pub(super) fn check_packages(tree: &Tree) -> Vec<Complaint> {
    let Some(lock) = tree.get("Cargo.lock") else {
        return Vec::new();
    };
    let packages = lock.lines().filter(|line| *line == "[[package]]").count();
    if packages <= PACKAGES_MAX {
        return Vec::new();
    }
    let message = format!("{packages} packages, at most {PACKAGES_MAX}: remove one first");
    vec![Complaint::file("Cargo.lock", message)]
}

/// Complains when a ban of the workspace is missing in the core, whose list replaces it.
pub(super) fn check_clippy_lists(tree: &Tree) -> Vec<Complaint> {
    const WORKSPACE: &str = "clippy.toml";
    const CORE: &str = "crates/plimsoll-core/clippy.toml";
    let (Some(workspace), Some(core)) = (tree.get(WORKSPACE), tree.get(CORE)) else {
        return Vec::new();
    };
    workspace
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .filter(|(_, line)| !core.lines().any(|it| it == *line))
        .map(|(index, _)| Complaint::line(WORKSPACE, index, format!("repeat this line in {CORE}")))
        .collect()
}
