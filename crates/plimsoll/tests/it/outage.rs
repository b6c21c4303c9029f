//! The disk is full, the database is gone: 503, and then it works again, without a restart.

use std::process::Command;

use crate::{
    database::Database,
    load::{Load, NotStored},
    process::{Launch, Server},
    receiver::Receiver,
    saas, wait,
};

/// Bytes that a file of the full disk can have.
const FILE_BYTES: u64 = 6 << 20;

#[test]
fn a_full_disk_is_a_503_until_there_is_room() {
    let launch = Launch::new();
    let receiver = Receiver::start();
    // A file that reaches its limit is what a full disk looks like, if the signal is ignored.
    let mut server = launch.start_through(|program| {
        let mut shell = Command::new("sh");
        shell.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""]).arg(program);
        shell
    });
    let client = server.client();
    let channel = saas::set_up(&client, &receiver);
    saas::draw_lines(&client, &channel, "usage_value", &[10]);
    saas::add_customer(&client, "acme", 1_000_000_000);

    limit_files(&server, &FILE_BYTES.to_string());
    let mut load = Load::default();
    wait::until("the disk is full", || load.send(&client).is_err().then_some(()));
    check_refused(&load.send(&client));
    assert!(server.is_running());
    load.ledger.check_usage(&client);

    limit_files(&server, "unlimited");
    works_again(load, &server, &receiver);
}

#[test]
fn a_database_that_goes_and_comes_back_is_a_503_meanwhile() {
    let Some(database) = Database::create() else { return };
    let launch = Launch::on_postgres(&database.url());
    let receiver = Receiver::start();
    let mut server = launch.start();
    let client = server.client();
    let channel = saas::set_up(&client, &receiver);
    saas::draw_lines(&client, &channel, "usage_value", &[10]);
    saas::add_customer(&client, "acme", 1_000_000_000);
    let mut load = Load::default();
    load.send(&client).expect("the database is there");

    database.allow_connections(false);
    database.disconnect_all();
    check_refused(&load.send(&client));
    wait::until("the server is not ready", || {
        let answer = client.send("GET", "/readyz", &[]).expect("an answer");
        (answer.status == 503).then_some(())
    });
    assert_eq!(client.send("GET", "/healthz", &[]).expect("an answer").status, 200);
    assert!(server.is_running());

    database.allow_connections(true);
    works_again(load, &server, &receiver);
}

#[test]
fn connections_that_break_under_load_lose_and_double_nothing() {
    let Some(database) = Database::create() else { return };
    let launch = Launch::on_postgres(&database.url());
    let receiver = Receiver::start();
    let server = launch.start();
    let client = server.client();
    saas::set_up(&client, &receiver);
    saas::add_customer(&client, "acme", 1_000_000_000);
    let mut load = Load::default();
    for _ in 0..10 {
        std::thread::scope(|scope| {
            scope.spawn(|| database.disconnect_all());
            for _ in 0..5 {
                wait::until("it is stored", || load.send(&client).ok());
            }
        });
    }
    load.ledger.check_usage(&client);
    load.ledger.check_everything_is_known(&client);
}

/// What was not stored can be stored now, what was stored is, and webhooks arrive.
fn works_again(mut load: Load, server: &Server, receiver: &Receiver) {
    let client = server.client();
    wait::until("events are stored again", || load.send(&client).ok());
    wait::until("the server is ready", || {
        let answer = client.send("GET", "/readyz", &[]).expect("an answer");
        (answer.status == 200).then_some(())
    });
    load.ledger.check_usage(&client);
    load.ledger.check_everything_is_known(&client);
    saas::add_customer(&client, "late", 100);
    client.post("/v1/events", &saas::event("late-1", "late", 10));
    wait::until("the webhook", || {
        let late = |it: &crate::receiver::Received| it.json()["data"]["customer"]["key"] == "late";
        receiver.received().iter().any(late).then_some(())
    });
}

/// The answer says that the same ids may be sent again.
fn check_refused(outcome: &Result<(), NotStored>) {
    match outcome {
        Err(NotStored::Refused(code)) => assert_eq!(code, "retry_same_ids"),
        other => panic!("{other:?}"),
    }
}

fn limit_files(server: &Server, bytes: &str) {
    let pid = server.id().to_string();
    let limit = format!("--fsize={bytes}:unlimited");
    let status = Command::new("prlimit").args(["--pid", &pid, &limit]).status();
    assert!(status.expect("prlimit(1)").success());
}
