//! Each check must be able to fail: for every rule a tree that breaks it and one that keeps it.

use super::{Tree, check};

/// A tree of `files` must give exactly the complaints whose text contains these, in this order.
#[track_caller]
fn expect(files: &[(&str, &str)], complaints: &[&str]) {
    let mut tree = Tree::default();
    for (path, content) in files {
        tree.insert(path, content);
    }
    let found: Vec<String> = check(&tree).iter().map(ToString::to_string).collect();
    assert_eq!(found.len(), complaints.len(), "found {found:#?}");
    for (found, expected) in found.iter().zip(complaints) {
        assert!(found.contains(expected), "expected {expected:?} in {found:?}");
    }
}

fn source(body: &str) -> String {
    format!("//! A header.\n{body}\n")
}

#[test]
fn a_good_file_gives_no_complaint() {
    expect(&[("crates/plimsoll-core/src/lib.rs", &source("fn main() {}"))], &[]);
}

#[test]
fn one_file() {
    let long_file = source(&"x;\n".repeat(700));
    let long_line = source(&"é".repeat(101));
    let cases: &[(&str, &str, &str)] = &[
        ("a.rs", &long_file, "702 lines, at most 700"),
        ("a.rs", &long_line, "a.rs:2: 101 characters"),
        ("a.rs", "fn main() {}\n", "open the file with a `//!` header"),
        ("a/mod.rs", &source(""), "name it foo.rs"),
        ("a.rs", &source(concat!("// FIX", "ME later")), "a.rs:2: `FIX"),
        ("a.rs", &source(concat!("todo", "!()")), "`todo"),
        ("a.rs", &source(concat!("#[ign", "ore = \"slow\"]")), "finish it"),
        ("a.md", "a\tb\n", "a.md:1: a tab"),
        ("a.md", "a \n", "white space at the end"),
        ("a.md", "a\r\n", "white space at the end"),
        ("a.md", "a", "end the last line"),
        ("a.md", concat!("see /wo", "rk/main\n"), "one machine only"),
    ];
    for (path, content, complaint) in cases {
        expect(&[(path, content)], &[complaint]);
    }
    expect(&[("a.rs", &source(&"é".repeat(100)))], &[]);
    expect(&[("a.rs", &source(&format!("/// | {} |", "é".repeat(100))))], &[]);
    expect(&[("a.rs", &source(concat!("let fooXX", "Xbar;")))], &[]);
    expect(&[("LICENSE", "\ttext ")], &[]);
}

#[test]
fn manifests() {
    let manifest = |dependency: &str| format!("[dependencies]\n{dependency}.workspace = true\n");
    let cases: &[(&str, &str, Option<&str>)] = &[
        ("crates/plimsoll-core", "jiff", None),
        ("crates/plimsoll-core", "tokio", Some("Cargo.toml:2: the core must not depend on tokio")),
        ("crates/plimsoll-core", "plimsoll-store", Some("imports go down only")),
        ("crates/plimsoll-store", "plimsoll-core", None),
        ("crates/plimsoll-store", "plimsoll-engine", Some("imports go down only")),
        ("crates/plimsoll-engine", "plimsoll-server", Some("imports go down only")),
        ("crates/plimsoll", "plimsoll-server", None),
        ("bench", "plimsoll-core", None),
        ("sim", "plimsoll-engine", None),
        ("sim", "plimsoll-server", Some("over HTTP")),
        ("bench", "plimsoll-engine", Some("over HTTP")),
        ("xtask", "plimsoll-core", Some("over HTTP")),
    ];
    for (folder, dependency, complaint) in cases {
        let path = format!("{folder}/Cargo.toml");
        expect(&[(&path, &manifest(dependency))], complaint.as_slice());
    }
    let table = "[dependencies.tokio]\nversion = \"1\"\n";
    expect(&[("crates/plimsoll-core/Cargo.toml", table)], &["must not depend on tokio"]);
    let test_only =
        "[dev-dependencies]\ntokio = \"1\"\n[dev-dependencies.serde]\nversion = \"1\"\n";
    expect(&[("crates/plimsoll-core/Cargo.toml", test_only)], &[]);
}

#[test]
fn imports() {
    let cases: &[(&str, &str, Option<&str>)] = &[
        ("crates/plimsoll-core/src/a.rs", "async fn a() {}", Some("a.rs:2: `async fn`")),
        ("crates/plimsoll-core/src/a.rs", "let a: f64 = 1.0;", Some("quantities are exact")),
        ("crates/plimsoll-core/src/a.rs", "// never an async fn here", None),
        ("crates/plimsoll-core/src/a/tests.rs", "let a: f64 = 1.0;", None),
        ("crates/plimsoll-engine/src/delivery/lane.rs", "use crate::ops::Ops;", Some("is told")),
        ("crates/plimsoll-engine/src/delivery.rs", "use crate::ops::Ops;", Some("is told")),
        (
            "crates/plimsoll-engine/src/delivery/lane.rs",
            "use crate::{\n    deps::Clock,\n    ops::{page, rule::Rule},\n};",
            Some("lane.rs:2: `crate::ops`"),
        ),
        ("crates/plimsoll-engine/src/delivery.rs", "let a = crate::ops::a();", Some("is told")),
        ("crates/plimsoll-engine/src/ops/rules.rs", "use crate::delivery::channels::X;", None),
        ("crates/plimsoll-engine/src/partition.rs", "use crate::ops::Ops;", Some("call the")),
        ("crates/plimsoll-engine/src/partition.rs", "use crate::{deps, ops::port::X};", None),
        ("crates/plimsoll-engine/src/partition.rs", "use crate::ops::portal;", Some("call the")),
        ("crates/plimsoll-server/src/api/v1.rs", "use plimsoll_store::Store;", Some("ops")),
        ("crates/plimsoll-server/src/console.rs", "use crate::api::v1;", Some("siblings")),
        ("crates/plimsoll/src/assemble.rs", "use plimsoll_store::SqliteStore;", None),
    ];
    for (path, line, complaint) in cases {
        expect(&[(path, &source(line))], complaint.as_slice());
    }
}

#[test]
fn documents() {
    let architecture = ("ARCHITECTURE.md", "`xtask/src/main.rs`, `xtask/`, `/v1/events`, `a::b`\n");
    let program = source("");
    expect(&[architecture, ("xtask/src/main.rs", &program)], &[]);
    expect(&[architecture], &["`xtask/src/main.rs` does not exist", "`xtask/` does not exist"]);
    let mention = source(concat!("/// Why: (doc", "s/adr/0001-why.md)."));
    expect(&[("a.rs", &mention), ("docs/adr/0001-why.md", "why\n")], &[]);
    expect(&[("a.rs", &mention)], &["a.rs:2: docs/adr/0001-why.md does not exist"]);
    let page = ("docs/a/b.md", "[up](../c.md#part) [out](https://example.com) [here](#part)\n");
    expect(&[page, ("docs/c.md", "c\n")], &[]);
    expect(&[page], &["docs/a/b.md:1: the link to ../c.md leads nowhere"]);
}

#[test]
fn problem_pages() {
    let body = source("SubjectInUse =\n    \"subject_in_use\", 409, \"The subject is another's\";");
    let problems = ("crates/plimsoll-engine/src/ops/problem.rs", body.as_str());
    let page = ("docs/reference/errors/subject_in_use.md", "# subject_in_use\n");
    let stray = ("docs/reference/errors/gone.md", "# gone\n");
    expect(&[problems, page], &[]);
    expect(&[problems], &["problem.rs:3: the code subject_in_use has no page"]);
    expect(&[problems, page, stray], &["there is no code gone"]);
}

#[test]
fn lock_file_and_clippy_lists() {
    expect(&[("Cargo.lock", &"[[package]]\n".repeat(500))], &[]);
    expect(&[("Cargo.lock", &"[[package]]\n".repeat(501))], &["501 packages, at most 500"]);
    let workspace = ("clippy.toml", "# why\na = 1\nb = 2\n");
    expect(&[workspace, ("crates/plimsoll-core/clippy.toml", "a = 1\nb = 2\nc = 3\n")], &[]);
    expect(
        &[workspace, ("crates/plimsoll-core/clippy.toml", "a = 1\n")],
        &["clippy.toml:3: repeat this line"],
    );
}
