//! Documents that name things of the code: they must not outlive them.
//!
//! Not here: whether the prose is true. Only names are checked.

use super::{Complaint, Tree, ends_in};

const ARCHITECTURE: &str = "ARCHITECTURE.md";
const PROBLEMS: &str = "crates/plimsoll-engine/src/ops/problem.rs";
const PAGES: &str = "docs/reference/errors/";

/// Complains about a path in ARCHITECTURE.md that is not in the tree.
///
/// A path is what stands in backticks, has a `/` or a file's ending, and no space or placeholder.
pub(super) fn check_architecture(tree: &Tree) -> Vec<Complaint> {
    let Some(content) = tree.get(ARCHITECTURE) else {
        return Vec::new();
    };
    let mut complaints = Vec::new();
    for (index, line) in content.lines().enumerate() {
        for name in line.split('`').skip(1).step_by(2).filter(|name| is_path(name)) {
            if !tree.has(name) {
                let message = format!("`{name}` does not exist: correct the name or remove it");
                complaints.push(Complaint::line(ARCHITECTURE, index, message));
            }
        }
    }
    complaints
}

fn is_path(name: &str) -> bool {
    let plain = |it: char| it.is_ascii_alphanumeric() || "/._-".contains(it);
    let looks = name.contains('/') || ["rs", "toml", "md"].iter().any(|it| ends_in(name, it));
    looks && !name.starts_with('/') && name.chars().all(plain)
}

/// Complains about a page that a comment in the code names and that does not exist.
pub(super) fn check_mentions(tree: &Tree) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for (path, content) in tree.ending_in("rs") {
        for (index, line) in content.lines().enumerate() {
            let Some((_, comment)) = line.split_once("//") else { continue };
            let ends_word = |it: char| !(it.is_ascii_alphanumeric() || "/._-".contains(it));
            for word in comment.split(ends_word).filter(|word| word.starts_with("docs/")) {
                if ends_in(word, "md") && !tree.has(word) {
                    let message = format!("{word} does not exist: write it, or name another");
                    complaints.push(Complaint::line(path, index, message));
                }
            }
        }
    }
    complaints
}

/// Complains about a problem code without a page, and a page without a code.
pub(super) fn check_problem_pages(tree: &Tree) -> Vec<Complaint> {
    let Some(source) = tree.get(PROBLEMS) else {
        return Vec::new();
    };
    let codes = problem_codes(source);
    let mut complaints = Vec::new();
    for (index, code) in &codes {
        let page = format!("{PAGES}{code}.md");
        if tree.get(&page).is_none() {
            let message = format!("the code {code} has no page: write {page}");
            complaints.push(Complaint::line(PROBLEMS, *index, message));
        }
    }
    for (path, _) in tree.iter() {
        let Some(page) = path.strip_prefix(PAGES) else {
            continue;
        };
        let code = page.trim_end_matches(".md");
        if code != "README" && !codes.iter().any(|(_, it)| *it == code) {
            complaints.push(Complaint::file(path, format!("there is no code {code}: remove it")));
        }
    }
    complaints
}

/// The stable codes: the table of `Variant = "code", status, "title";`, however it is broken.
fn problem_codes(source: &str) -> Vec<(usize, &str)> {
    let is_code = |text: &str| {
        text.chars().all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == '_')
    };
    let is_status = |rest: &str| {
        rest.strip_prefix(", ").is_some_and(|rest| rest.starts_with(|it: char| it.is_ascii_digit()))
    };
    source
        .lines()
        .enumerate()
        .filter_map(|(index, line)| {
            let (_, rest) = line.split_once('"')?;
            let (code, after) = rest.split_once('"')?;
            (is_code(code) && is_status(after)).then_some((index, code))
        })
        .collect()
}

/// Complains about a relative link of a Markdown page whose target does not exist.
pub(super) fn check_links(tree: &Tree) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for (path, content) in tree.ending_in("md") {
        for (index, line) in content.lines().enumerate() {
            for target in links(line) {
                if !tree.has(&resolve(path, target)) {
                    let message = format!("the link to {target} leads nowhere");
                    complaints.push(Complaint::line(path, index, message));
                }
            }
        }
    }
    complaints
}

/// The targets of `[text](target)` in a line that lie in this repository, without their fragment.
fn links(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| {
        let target = rest.split(')').next()?;
        let target = target.split('#').next()?;
        (!target.is_empty() && !target.contains(':') && !target.contains(' ')).then_some(target)
    })
}

/// The path from the root that `target` means in the file at `path`.
fn resolve(path: &str, target: &str) -> String {
    let mut parts: Vec<&str> = path.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}
