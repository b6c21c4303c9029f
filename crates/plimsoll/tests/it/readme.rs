//! The quick start of the README, run as it stands there: what it shows is what comes out.
//!
//! Only addresses and the key are replaced, because a test cannot have fixed ones.

use std::process::{Command, Stdio};

use crate::{
    process::{KEY, Launch},
    receiver::Receiver,
    wait,
};

const README: &str = include_str!("../../../../README.md");
const ADDRESS: &str = "127.0.0.1:8787";
const RECEIVER: &str = "http://127.0.0.1:9000/";

/// What stands between fences of this language in the quick start.
fn blocks(language: &str) -> Vec<&'static str> {
    let start = README.find("## Quick start").expect("a quick start");
    let end = README.find("## Settings").expect("settings after it");
    README[start..end]
        .split(&format!("```{language}\n"))
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .collect()
}

#[test]
fn the_quick_start_does_what_it_shows() {
    let server = Launch::new().start();
    let receiver = Receiver::start();
    let shell: Vec<&str> = blocks("sh").into_iter().filter(|it| !it.contains("cargo")).collect();
    let mut script = format!("set -eu\n{}", shell.join("\n"))
        .replace(ADDRESS, &server.address.to_string())
        .replace(RECEIVER, &receiver.url());
    let shown = README.split("export KEY=").nth(1).and_then(|it| it.lines().next());
    script = script.replace(shown.expect("a key is exported"), KEY);
    let output = Command::new("bash").args(["-c", &script]).stdin(Stdio::null()).output();
    let output = output.expect("bash starts");
    let printed = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{printed}\n{complained}");

    let outputs = blocks("json");
    let answers = outputs.first().expect("the answers are shown");
    for line in answers.lines() {
        // The period is that of the month in which the README was written.
        let beginning = line.split('…').next().unwrap_or(line);
        assert!(printed.contains(beginning), "no {beginning} in {printed}");
    }
    let webhook = wait::until("the webhook", || receiver.received().into_iter().next());
    let data = &webhook.json()["data"];
    assert_eq!(data["customer"]["key"], "acme");
    assert_eq!(data["crossed_by"]["id"], "2");
    let shown = outputs.get(1).expect("the webhook is shown");
    for part in [&data["line"], &data["value"], &data["previous_usage"], &data["cause"]] {
        assert!(shown.contains(&part.to_string()), "no {part} in {shown}");
    }
}
