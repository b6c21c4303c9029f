//! `plimsoll demo` as a stranger runs it: it must agree with its own recount, and say so.

use std::fmt::Write as _;

use crate::process::{plimsoll, run};

/// A trace as the real ones look: seven digits of a second, no line end after the last row.
fn trace(requests: u32) -> String {
    let mut text = String::from("TIMESTAMP,ContextTokens,GeneratedTokens");
    for number in 0..requests {
        let (minute, second) = (number / 60 % 60, number % 60);
        let (context, generated) = (100 + number * 7 % 900, 10 + number * 13 % 190);
        write!(text, "\n2023-11-16 18:{minute:02}:{second:02}.6805900,{context},{generated}")
            .expect("writing to a String cannot fail");
    }
    text
}

#[test]
fn the_product_and_the_recount_agree() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("trace.csv");
    std::fs::write(&file, trace(3_000)).unwrap();
    let output = run(plimsoll().args(["demo", "--speed", "max", "--trace"]).arg(&file));
    let (said, complained) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}\n{complained}");
    assert!(said.contains("every value, line and webhook agrees"), "{said}");
    // Lines were crossed at all, or agreeing would mean nothing.
    let row = said.lines().find(|line| line.contains("lines crossed  ")).expect("a table");
    let crossed: u32 = row.split_whitespace().last().unwrap().parse().unwrap();
    assert!(crossed > 50, "{said}");
    assert!(!said.contains('\u{1b}'), "escape sequences in a file");
}

#[test]
fn a_trace_that_is_none_is_refused_by_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("trace.csv");
    std::fs::write(&file, trace(2) + "\nyesterday,1,2").unwrap();
    let output = run(plimsoll().args(["demo", "--trace"]).arg(&file));
    assert_eq!(output.status.code(), Some(1));
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(complained.contains("line 4: expected a time such as"), "{complained}");
}
