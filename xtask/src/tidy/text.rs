//! Rules that hold for one file at a time: size, header, marks left behind, whitespace.
//!
//! Not here: rules that need two files (`floors`, `documents`, `lock`).

use super::{Complaint, Tree, ends_in};

const FILE_LINES_MAX: usize = 700;
const LINE_CHARACTERS_MAX: usize = 100;

/// Words that say "not finished". Spelled in two halves, or this file would complain about itself.
const MARKS: [&str; 5] = [
    concat!("FIX", "ME"),
    concat!("XX", "X"),
    concat!("todo", "!"),
    concat!("unimplemented", "!"),
    concat!("#[ign", "ore"),
];

/// Beginnings of paths that exist on one machine only.
const MACHINE_PATHS: [&str; 3] =
    [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("../sha", "red")];

/// Files whose text others decide.
const FOREIGN: [&str; 2] = ["Cargo.lock", "LICENSE"];

/// Checks each file by itself.
pub(super) fn check(tree: &Tree) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for (path, content) in tree.iter() {
        if FOREIGN.contains(&path) {
            continue;
        }
        check_whitespace(path, content, &mut complaints);
        check_machine_paths(path, content, &mut complaints);
        if ends_in(path, "rs") {
            check_shape(path, content, &mut complaints);
            check_marks(path, content, &mut complaints);
        }
    }
    complaints
}

fn check_shape(path: &str, content: &str, complaints: &mut Vec<Complaint>) {
    let lines = content.lines().count();
    if lines > FILE_LINES_MAX {
        let message = format!("{lines} lines, at most {FILE_LINES_MAX}: split it by what it does");
        complaints.push(Complaint::file(path, message));
    }
    if !content.starts_with("//! ") {
        let message = "open the file with a `//!` header: why it exists and what is not in it";
        complaints.push(Complaint::file(path, message));
    }
    if path.ends_with("/mod.rs") {
        complaints.push(Complaint::file(path, "name it foo.rs beside the folder foo/"));
    }
    for (index, line) in content.lines().enumerate() {
        let characters = line.chars().count();
        if characters > LINE_CHARACTERS_MAX && !is_table_row(line) {
            let message = format!("{characters} characters, at most {LINE_CHARACTERS_MAX}");
            complaints.push(Complaint::line(path, index, message));
        }
    }
}

/// A row of a Markdown table cannot be broken.
fn is_table_row(line: &str) -> bool {
    let line = line.trim_start();
    line.starts_with("//! |") || line.starts_with("/// |")
}

fn check_marks(path: &str, content: &str, complaints: &mut Vec<Complaint>) {
    for (index, line) in content.lines().enumerate() {
        for mark in MARKS.iter().filter(|mark| has_word(line, mark)) {
            let message = format!("`{mark}`: finish it, or file an issue and say its number");
            complaints.push(Complaint::line(path, index, message));
        }
    }
}

fn check_whitespace(path: &str, content: &str, complaints: &mut Vec<Complaint>) {
    if !content.is_empty() && !content.ends_with('\n') {
        complaints.push(Complaint::file(path, "end the last line with a line end"));
    }
    for (index, line) in content.split('\n').enumerate() {
        if line.contains('\t') {
            complaints.push(Complaint::line(path, index, "a tab: use spaces"));
        }
        if line.ends_with([' ', '\r']) {
            complaints.push(Complaint::line(path, index, "white space at the end of the line"));
        }
    }
}

fn check_machine_paths(path: &str, content: &str, complaints: &mut Vec<Complaint>) {
    for (index, line) in content.lines().enumerate() {
        for prefix in MACHINE_PATHS.iter().filter(|prefix| line.contains(**prefix)) {
            let message = format!("`{prefix}…` exists on one machine only: name it otherwise");
            complaints.push(Complaint::line(path, index, message));
        }
    }
}

/// Whether `word` stands in `line` with no letter or digit beside it.
fn has_word(line: &str, word: &str) -> bool {
    let is_part = |character: Option<char>| {
        character.is_some_and(|it| it.is_ascii_alphanumeric() || it == '_')
    };
    line.match_indices(word).any(|(start, found)| {
        let (before, rest) = line.split_at(start);
        let after = rest.strip_prefix(found).and_then(|rest| rest.chars().next());
        let ends_open = !word.ends_with(|it: char| it.is_ascii_alphanumeric());
        !is_part(before.chars().next_back()) && (ends_open || !is_part(after))
    })
}
