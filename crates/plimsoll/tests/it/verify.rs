//! `plimsoll verify`: silent about a store that is right, and by name about what was changed.

use std::process::Output;

use rusqlite::Connection;

use crate::{
    process::{self, Launch},
    receiver::Receiver,
    saas,
};

fn verify(launch: &Launch) -> Output {
    process::run(process::plimsoll().arg("verify").arg("--data-dir").arg(launch.data_dir()))
}

/// Verifies, and holds exit code and text against what is expected to be named.
fn check(launch: &Launch, named: &[&str]) {
    let output = verify(launch);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.success(), named.is_empty(), "{text}{complaint}");
    for name in named {
        assert!(text.contains(name), "{name} is not in: {text}{complaint}");
    }
    let count = format!("compared: {} differences", named.len());
    assert!(text.contains(&count), "{count} is not in: {text}");
}

fn database(launch: &Launch) -> Connection {
    Connection::open(launch.data_dir().join("plimsoll.db")).expect("the database opens")
}

/// Runs `change`, verifies, and runs `back`.
fn tamper(launch: &Launch, change: &str, back: &str, named: &[&str]) {
    database(launch).execute_batch(change).expect("the change is made");
    check(launch, named);
    database(launch).execute_batch(back).expect("the change is taken back");
    check(launch, &[]);
}

/// A server that told twice of a customer's usage, was stopped, killed and stopped again; what the
/// checkpoint held at the first stop is in the table `earlier`. Gives the id of a notification.
fn run_servers(launch: &Launch) -> String {
    let receiver = Receiver::start();
    let server = launch.start();
    let client = server.client();
    let channel = saas::set_up(&client, &receiver);
    saas::draw_lines(&client, &channel, "usage_percentage", &[50, 80]);
    saas::add_customer(&client, "acme", 100);
    client.post("/v1/events", &saas::event("1", "acme", 60));
    // A server that runs has the store for itself.
    assert!(!verify(launch).status.success());
    assert!(server.terminate().success());
    check(launch, &[]);

    database(launch)
        .execute_batch("CREATE TABLE earlier AS SELECT * FROM checkpoint WHERE slice > 0")
        .expect("a copy");
    let server = launch.start();
    server.client().post("/v1/events", &saas::event("2", "acme", 25));
    let notifications = server.client().list("/v1/notifications");
    assert_eq!(notifications.len(), 2);
    let id = saas::text(&notifications[0], "id");
    server.kill();
    check(launch, &[]);
    let server = launch.start();
    assert!(server.terminate().success());
    check(launch, &[]);
    id
}

#[test]
fn a_store_is_held_against_its_log() {
    let launch = Launch::new();
    let id = run_servers(&launch);
    tamper(
        &launch,
        &format!("UPDATE notification SET edge = 'resolved' WHERE id = '{id}'"),
        &format!("UPDATE notification SET edge = 'crossed' WHERE id = '{id}'"),
        &[&format!("notification {id}")],
    );
    tamper(
        &launch,
        "CREATE TABLE taken AS SELECT * FROM delivery; DELETE FROM delivery",
        "INSERT INTO delivery SELECT * FROM taken; DROP TABLE taken",
        &[&format!("notification {id}"), "delivery to "],
    );
    tamper(
        &launch,
        &format!(
            "CREATE TABLE taken AS SELECT * FROM notification WHERE id = '{id}';
             DELETE FROM notification WHERE id = '{id}'"
        ),
        "INSERT INTO notification SELECT * FROM taken; DROP TABLE taken",
        &[&format!("notification {id} (entitlements.balance.threshold): stored: missing")],
    );
    tamper(
        &launch,
        &format!(
            "INSERT INTO notification SELECT 'ntf_00000000000000000000000000', x'00', environment,
                 type, edge, customer, feature, rule, reason, created_at, ordinal, doc,
                 rule_snapshot FROM notification WHERE id = '{id}'"
        ),
        "DELETE FROM notification WHERE id = 'ntf_00000000000000000000000000'",
        &["notification ntf_00000000000000000000000000"],
    );
    // The value of the stop before, as if an update had been lost.
    tamper(
        &launch,
        "CREATE TABLE taken AS SELECT * FROM checkpoint;
         UPDATE checkpoint SET payload = (SELECT e.payload FROM earlier e
             WHERE e.partition = checkpoint.partition AND e.slice = checkpoint.slice)
         WHERE slice > 0",
        "DELETE FROM checkpoint; INSERT INTO checkpoint SELECT * FROM taken; DROP TABLE taken",
        &["slice 0 of the checkpoint", "usage 60 of 100"],
    );
}
