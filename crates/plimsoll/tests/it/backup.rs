//! `plimsoll backup` beside a running server, `plimsoll restore` into a new store.

use std::{fs, process::Command};

use crate::{
    database::Database,
    process::{self, Launch},
    receiver::Receiver,
    saas,
};

#[test]
fn a_backup_of_sqlite_restores_into_sqlite() {
    round_trip(&Launch::new(), &Launch::new(), &[], &[]);
}

#[test]
fn a_backup_of_sqlite_restores_into_postgres_and_back() {
    let (Some(first), Some(second)) = (Database::create(), Database::create()) else { return };
    let (first, second) = (first.url(), second.url());
    let into = ["--database-url", &first];
    round_trip(&Launch::new(), &Launch::on_postgres(&first), &[], &into);
    let from = ["--database-url", second.as_str()];
    round_trip(&Launch::on_postgres(&second), &Launch::new(), &from, &[]);
}

fn round_trip(source: &Launch, target: &Launch, from: &[&str], into: &[&str]) {
    let receiver = Receiver::start();
    let server = source.start();
    let client = server.client();
    let channel = saas::set_up(&client, &receiver);
    saas::draw_lines(&client, &channel, "usage_percentage", &[80]);
    saas::add_customer(&client, "acme", 100);
    client.post("/v1/events", &saas::event("1", "acme", 85));

    let file = source.file("plimsoll.backup");
    succeed(
        process::plimsoll()
            .arg("backup")
            .arg(&file)
            .args(from)
            .arg("--data-dir")
            .arg(source.data_dir()),
    );
    // Twice would overwrite it.
    let mut again = process::plimsoll();
    again.arg("backup").arg(&file).args(from).arg("--data-dir").arg(source.data_dir());
    assert!(!process::run(&mut again).status.success());
    // What comes after the backup is not in it.
    client.post("/v1/events", &saas::event("2", "acme", 1));
    let notifications = client.list("/v1/notifications");
    assert!(server.terminate().success());

    succeed(
        process::plimsoll()
            .arg("restore")
            .arg(&file)
            .args(into)
            .arg("--data-dir")
            .arg(target.data_dir()),
    );
    let key = source.data_dir().join("master.key");
    fs::copy(key, target.data_dir().join("master.key")).expect("the master key is copied");
    let server = target.start();
    let client = server.client();
    assert_eq!(saas::usage(&client, "acme"), "85");
    let restored = client.list("/v1/notifications");
    assert_eq!(ids(&restored), ids(&notifications));
    assert_eq!(client.post("/v1/events", &saas::event("1", "acme", 85))["duplicates"], 1);
    assert_eq!(client.post("/v1/events", &saas::event("2", "acme", 1))["accepted"], 1);
}

fn succeed(command: &mut Command) {
    let output = process::run(command);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn ids(documents: &[serde_json::Value]) -> Vec<String> {
    documents.iter().map(|it| saas::text(it, "id")).collect()
}
