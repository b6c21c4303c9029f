//! `plimsoll rules backtest`: asks the running server and prints what the rule would have sent.

use serde_json::json;

use crate::{
    process::{self, KEY, Launch},
    receiver::Receiver,
    saas,
};

#[test]
fn a_rule_is_tried_out_from_the_command_line() {
    let receiver = Receiver::start();
    let launch = Launch::new();
    let server = launch.start();
    let client = server.client();
    let channel = saas::set_up(&client, &receiver);
    saas::add_customer(&client, "acme", 100);
    client.post("/v1/events", &saas::event("1", "acme", 60));
    client.post("/v1/events", &saas::event("2", "acme", 25));
    let rule = json!({
        "name": "tried", "type": "entitlements.balance.threshold", "channels": [channel.id],
        "lines": [{"kind": "usage_percentage", "value": "50"},
            {"kind": "usage_value", "value": "80"}],
    });
    let file = launch.file("rule.json");
    std::fs::write(&file, rule.to_string()).expect("a file");
    let backtest = |to: &str| {
        let mut command = process::plimsoll();
        command.args(["rules", "backtest", "--from", "2020-01-01T00:00:00Z", "--to", to, "--rule"]);
        command.arg(&file).arg("--data-dir").arg(launch.data_dir());
        let output = process::run(command.env("PLIMSOLL_API_KEY", KEY));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.success(), text + &String::from_utf8_lossy(&output.stderr))
    };
    let (succeeded, text) = backtest("2100-01-01T00:00:00Z");
    assert!(succeeded, "{text}");
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    assert!(lines[0].ends_with("tokens usage_percentage 50 crossed usage 60 (usage)"), "{text}");
    assert!(lines[1].ends_with("tokens usage_value 80 crossed usage 85 (usage)"), "{text}");
    assert_eq!(lines[2], "2 notifications");
    assert!(client.list("/v1/notifications").is_empty());

    let (_, text) = backtest("2020-02-01T00:00:00Z");
    assert_eq!(text, "0 notifications\n");
    let (succeeded, text) = backtest("2019-01-01T00:00:00Z");
    assert!(!succeeded && text.contains("invalid_field"), "{text}");
    assert!(server.terminate().success());
    let (succeeded, text) = backtest("2100-01-01T00:00:00Z");
    assert!(!succeeded && text.contains("no server runs on"), "{text}");
}
