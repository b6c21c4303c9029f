//! Usage in, a line crossed, a signed webhook out: on both backends, verified by others' code.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use serde_json::json;

use crate::{
    database::Database,
    process::Launch,
    receiver::{Received, Receiver},
    saas, wait,
};

#[test]
fn a_crossing_is_a_signed_webhook_on_sqlite() {
    usage_becomes_a_webhook(&Launch::new());
}

#[test]
fn a_crossing_is_a_signed_webhook_on_postgres() {
    let Some(database) = Database::create() else { return };
    usage_becomes_a_webhook(&Launch::on_postgres(&database.url()));
}

fn usage_becomes_a_webhook(launch: &Launch) {
    let receiver = Receiver::start();
    let server = launch.start();
    let client = server.client();
    let channel = saas::set_up(&client, &receiver);
    let rule = saas::draw_lines(&client, &channel, "usage_percentage", &[80, 100]);
    saas::add_customer(&client, "acme", 1_000);

    client.post("/v1/events", &saas::event("1", "acme", 790));
    let answer = client.post("/v1/events", &saas::event("2", "acme", 22));
    assert_eq!(answer, json!({"accepted": 1, "duplicates": 0, "rejected": []}));
    let webhook = wait::until("the webhook", || receiver.received().first().cloned());

    let body = webhook.json();
    let data = &body["data"];
    assert_eq!(webhook.header("webhook-id"), body["id"]);
    assert_eq!(webhook.header("x-tenant"), "one");
    assert_eq!(body["type"], "entitlements.balance.threshold");
    assert_eq!(data["customer"]["key"], "acme");
    assert_eq!(data["feature"]["key"], "tokens");
    assert_eq!(data["line"]["kind"], "usage_percentage");
    assert_eq!(data["line"]["value"], "80");
    assert_eq!(data["line"]["level"], "800");
    let value = json!({"usage": "812", "limit": "1000", "balance": "188", "overage": "0"});
    for (field, expected) in value.as_object().expect("an object") {
        assert_eq!(data["value"][field], *expected, "{field}");
    }
    assert_eq!(data["previous_usage"], "790");
    assert_eq!(data["cause"], "usage");
    assert_eq!(data["late"], false);
    assert_eq!(data["rule"]["id"], json!(rule));
    assert_eq!(data["crossed_by"]["id"], "2");
    assert_eq!(data["crossed_by"]["source"], "/it");
    verify(&channel.secret, &webhook);
    check_notification(&client, &channel, &saas::text(&body, "id"));
}

/// The notification as the API shows it, once its delivery has been written down.
fn check_notification(client: &crate::http::Client, channel: &saas::Channel, id: &str) {
    let path = format!("/v1/notifications/{id}");
    let notification = wait::until("the delivery is final", || {
        let notification = client.get(&path);
        (notification["deliveries"][0]["state"] == "SUCCESS").then_some(notification)
    });
    let delivery = &notification["deliveries"][0];
    assert_eq!(delivery["channel"], json!(channel.id));
    assert!(delivery["next_attempt_at"].is_null());
    let attempt = &delivery["attempts"][0];
    assert_eq!(attempt["status"], 200);
    assert_eq!(attempt["response_body"], "ok");
    assert!(attempt["error"].is_null());
    assert!(attempt["duration_ms"].is_u64());
}

/// Checks the signature by the reference libraries of Standard Webhooks.
fn verify(secret: &str, webhook: &Received) {
    let rust = standardwebhooks::Webhook::new(secret).expect("a secret");
    let mut headers = http_headers(webhook);
    rust.verify(&webhook.body, &headers).expect("the signature is right");
    headers.insert("webhook-id", "ntf_other".parse().expect("a header"));
    rust.verify(&webhook.body, &headers).expect_err("the signature covers the id");
    verify_by_python(secret, webhook);
}

fn http_headers(webhook: &Received) -> hyper::HeaderMap {
    let mut headers = hyper::HeaderMap::new();
    for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
        headers.insert(name, webhook.header(name).parse().expect("a header"));
    }
    headers
}

/// The same by the library on PyPI, where python3 has it.
fn verify_by_python(secret: &str, webhook: &Received) {
    const SCRIPT: &str = "
import json, sys
try:
    from standardwebhooks import Webhook
except ImportError:
    sys.exit(77)
message = json.load(sys.stdin)
Webhook(message['secret']).verify(message['body'], message['headers'])
";
    let message = json!({
        "secret": secret,
        "headers": webhook.headers,
        "body": String::from_utf8_lossy(&webhook.body),
    });
    let python = Command::new("python3")
        .args(["-c", SCRIPT])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut python) = python else {
        println!("SKIPPED: no python3");
        return;
    };
    let mut stdin = python.stdin.take().expect("a pipe");
    stdin.write_all(message.to_string().as_bytes()).expect("python reads");
    drop(stdin);
    let output = python.wait_with_output().expect("python ends");
    match output.status.code() {
        Some(77) => println!("SKIPPED: python3 has no standardwebhooks"),
        code => assert_eq!(code, Some(0), "{}", String::from_utf8_lossy(&output.stderr)),
    }
}

#[test]
fn what_a_stopped_server_left_is_sent_by_the_next() {
    let launch = Launch::new();
    let receiver = Receiver::start();
    receiver.answer_with(500);
    let server = launch.start();
    let client = server.client();
    let channel = saas::set_up(&client, &receiver);
    saas::draw_lines(&client, &channel, "usage_value", &[10]);
    saas::add_customer(&client, "acme", 1_000);
    client.post("/v1/events", &saas::event("1", "acme", 10));
    wait::until("the first attempt", || (!receiver.received().is_empty()).then_some(()));
    server.kill();

    receiver.answer_with(200);
    let server = launch.start();
    let notification = wait::until("the delivery succeeds", || {
        let notification = server.client().list("/v1/notifications").remove(0);
        (notification["deliveries"][0]["state"] == "SUCCESS").then_some(notification)
    });
    let received = receiver.received();
    let first = received.first().expect("an attempt");
    let last = received.last().expect("an attempt");
    assert_eq!(first.header("webhook-id"), saas::text(&notification, "id"));
    assert_eq!(last.header("webhook-id"), first.header("webhook-id"));
    assert_eq!(last.body, first.body, "a retry sends the same bytes");
}
