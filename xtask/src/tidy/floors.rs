//! The import floors: which crate may name which, and which module may name its siblings.
//!
//! `plimsoll → server → engine → store → core`, downward only. Manifests hold the floors between
//! crates; inside a crate the compiler knows no floors, so the paths in the sources are read.
//!
//! Not here: what is public between crates; the compiler checks that.

use super::{Complaint, Tree};

/// The crates from the ground up. A crate may depend on those before it.
const FLOORS: [&str; 5] =
    ["plimsoll-core", "plimsoll-store", "plimsoll-engine", "plimsoll-server", "plimsoll"];

/// Crates beside the building, and what of it they may depend on.
const OUTSIDE: [(&str, &[&str]); 3] = [
    ("bench", &["plimsoll-core"]),
    ("sim", &["plimsoll-core", "plimsoll-store", "plimsoll-engine"]),
    ("xtask", &[]),
];

/// What the core must not depend on: it would bring IO, a clock, randomness or wire formats.
const FOREIGN_TO_CORE: [&str; 14] = [
    "tokio",
    "async-trait",
    "futures",
    "serde",
    "serde_json",
    "sonic-rs",
    "rand",
    "getrandom",
    "hyper",
    "axum",
    "rusqlite",
    "tokio-postgres",
    "tracing",
    "metrics",
];

/// `text` must not stand in code below `folder`, unless it goes on as one of `except` does.
struct Ban {
    folder: &'static str,
    text: &'static str,
    except: &'static [&'static str],
    instead: &'static str,
}

const CORE: &str = "crates/plimsoll-core/src/";
const ENGINE: &str = "crates/plimsoll-engine/src/";
const CATALOGUE: &str = "crates/plimsoll-engine/src/catalogue/";
const DELIVERY: &str = "crates/plimsoll-engine/src/delivery/";
const INGEST: &str = "crates/plimsoll-engine/src/ingest/";
const OPS: &str = "crates/plimsoll-engine/src/ops/";
const PARTITION: &str = "crates/plimsoll-engine/src/partition/";
const READS: &str = "crates/plimsoll-engine/src/reads/";

const BANS: [Ban; 24] = [
    ban(CORE, "async fn", "the core decides; the engine waits"),
    ban(CORE, "tokio::", "the core decides; the engine waits"),
    ban(CORE, "std::collections::HashMap", "BTreeMap has an order"),
    ban(CORE, "std::collections::HashSet", "BTreeSet has an order"),
    ban(CORE, ": f64", "quantities are exact: quantity::Quantity"),
    ban(CORE, "as f64", "quantities are exact: quantity::Quantity"),
    ban(ENGINE, "rusqlite::", "SQL lives in the store"),
    ban(ENGINE, "tokio_postgres::", "SQL lives in the store"),
    ban(CATALOGUE, "crate::delivery", "the catalogue is read by others, it drives nothing"),
    ban(CATALOGUE, "crate::ingest", "the catalogue is read by others, it drives nothing"),
    ban(CATALOGUE, "crate::partition", "the catalogue is read by others, it drives nothing"),
    ban(DELIVERY, "crate::catalogue", "delivery is told by ChannelRegistry, it does not ask"),
    ban(DELIVERY, "crate::ingest", "they meet in the store"),
    ban(DELIVERY, "crate::ops", "delivery is told by ChannelRegistry, it does not ask"),
    ban(DELIVERY, "crate::partition", "they meet in the store"),
    ban(INGEST, "crate::delivery", "they meet in the store"),
    ban(OPS, "crate::ingest", "they meet in ops::port::PartitionPort"),
    ban(OPS, "crate::partition", "they meet in ops::port::PartitionPort"),
    ban(PARTITION, "crate::catalogue", "what a partition depends on is on its log"),
    ban(READS, "crate::ops", "operations call reads, which know no caller"),
    Ban {
        folder: PARTITION,
        text: "crate::ops",
        // Provisional customers are made in the transaction of the usage that names them.
        except: &["::port::", "::customer::"],
        instead: "operations call the partition, through ops::port",
    },
    ban("crates/plimsoll-server/src/", "plimsoll_store", "call plimsoll_engine::ops"),
    ban("crates/plimsoll-server/src/api/", "crate::console", "api and console are siblings"),
    ban("crates/plimsoll-server/src/console/", "crate::api", "api and console are siblings"),
];

const fn ban(folder: &'static str, text: &'static str, instead: &'static str) -> Ban {
    Ban { folder, text, except: &[], instead }
}

impl Ban {
    fn is_broken_by(&self, code: &str) -> bool {
        code.match_indices(self.text).any(|(start, text)| {
            let rest = &code[start + text.len()..];
            !self.except.iter().any(|it| rest.starts_with(it))
        })
    }
}

/// Reads every manifest and complains about dependencies that go up or leave the core impure.
pub(super) fn check_manifests(tree: &Tree) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for (path, content) in tree.iter() {
        let Some(folder) = path.strip_suffix("/Cargo.toml") else {
            continue;
        };
        let name = folder.rsplit('/').next().unwrap_or(folder);
        for (index, dependency) in dependencies(content) {
            if let Some(message) = forbidden(name, dependency) {
                complaints.push(Complaint::line(path, index, message));
            }
        }
    }
    complaints
}

fn forbidden(name: &str, dependency: &str) -> Option<String> {
    if name == "plimsoll-core" && FOREIGN_TO_CORE.contains(&dependency) {
        return Some(format!("the core must not depend on {dependency}"));
    }
    let height = FLOORS.iter().position(|it| *it == dependency)?;
    if let Some(own) = FLOORS.iter().position(|it| *it == name) {
        return (height >= own).then(|| format!("{name} → {dependency}: imports go down only"));
    }
    match OUTSIDE.iter().find(|(it, _)| *it == name) {
        Some((_, allowed)) if allowed.contains(&dependency) => None,
        _ => Some(format!("{name} talks to the product over HTTP, not by importing {dependency}")),
    }
}

/// The names in the sections of normal and build dependencies, with the index of their line.
///
/// Tests may look down from anywhere, so dev-dependencies are free.
fn dependencies(manifest: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut inside = false;
    for (index, line) in manifest.lines().enumerate() {
        let line = line.trim();
        if let Some(section) = line.strip_prefix('[') {
            let section = section.trim_end_matches(']');
            inside = section.ends_with("dependencies") && !section.ends_with("dev-dependencies");
            if let Some((table, name)) = section.rsplit_once("dependencies.")
                && !table.ends_with("dev-")
            {
                found.push((index, name));
            }
        } else if inside && !line.is_empty() && !line.starts_with('#') {
            let end = line.find(['.', ' ', '=']).unwrap_or(line.len());
            found.push((index, line.split_at(end).0));
        }
    }
    found
}

/// Reads every source and complains about paths that its place must not name.
pub(super) fn check_imports(tree: &Tree) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for (path, content) in tree.ending_in("rs") {
        let bans: Vec<&Ban> = BANS.iter().filter(|ban| stands_below(path, ban.folder)).collect();
        if bans.is_empty() {
            continue;
        }
        for (index, code) in statements(content) {
            for ban in bans.iter().filter(|ban| code.iter().any(|code| ban.is_broken_by(code))) {
                let message = format!("`{}` does not belong here: {}", ban.text, ban.instead);
                complaints.push(Complaint::line(path, index, message));
            }
        }
    }
    complaints
}

/// The code of a file without comments: each line by itself, but a `use` whole and as full paths.
fn statements(content: &str) -> Vec<(usize, Vec<String>)> {
    let mut found = Vec::new();
    let mut import: Option<(usize, String)> = None;
    for (index, line) in content.lines().enumerate() {
        let code = line.split("//").next().unwrap_or_default().trim();
        let begins = ["use ", "pub use ", "pub(crate) use ", "pub(super) use "]
            .iter()
            .find_map(|start| code.strip_prefix(start));
        match (&mut import, begins) {
            (Some((_, text)), _) => text.push_str(code),
            (None, Some(rest)) => import = Some((index, rest.to_owned())),
            (None, None) => found.push((index, vec![code.to_owned()])),
        }
        if let Some((start, text)) = import.take_if(|(_, text)| text.ends_with(';')) {
            found.push((start, full_paths(text.trim_end_matches(';'))));
        }
    }
    found
}

/// `a::{b, c::{d, e}}` as `a::b`, `a::c::d`, `a::c::e`.
fn full_paths(tree: &str) -> Vec<String> {
    let Some((prefix, group)) = tree.split_once('{') else {
        return vec![tree.trim().to_owned()];
    };
    let group = group.trim_end().strip_suffix('}').unwrap_or(group);
    let mut depth = 0;
    let branches = group.split(|it: char| {
        match it {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        it == ',' && depth == 0
    });
    branches
        .flat_map(full_paths)
        .filter(|branch| !branch.is_empty())
        .map(|branch| format!("{}{branch}", prefix.trim()))
        .collect()
}

/// `foo/bar.rs` stands below `foo/`, and so does `foo.rs` itself; tests may look anywhere.
fn stands_below(path: &str, folder: &str) -> bool {
    let is_test = path.ends_with("/tests.rs") || path.contains("/tests/");
    let own_file =
        path.strip_suffix(".rs").is_some_and(|stem| stem == folder.trim_end_matches('/'));
    !is_test && (path.starts_with(folder) || own_file)
}
