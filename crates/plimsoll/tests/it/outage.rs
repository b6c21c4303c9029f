//! The disk is full, the database is gone: 503, and then it works again, without a restart.

use std::process::Command;

use crate::{
    database::Database,
    http::Client,
    ledger::{Batch, Ledger},
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
    let mut load = Load::new();
    wait::until("the disk is full", || load.send(&client).is_err().then_some(()));
    let refused = load.send(&client).expect_err("the disk is still full");
    assert!(["retry_same_ids", "unavailable"].contains(&refused.as_str()), "{refused}");
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
    let mut load = Load::new();
    load.send(&client).expect("the database is there");

    database.allow_connections(false);
    database.disconnect_all();
    let refused = load.send(&client).expect_err("the database is gone");
    assert!(["retry_same_ids", "unavailable"].contains(&refused.as_str()), "{refused}");
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
    let mut load = Load::new();
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

fn limit_files(server: &Server, bytes: &str) {
    let pid = server.id().to_string();
    let limit = format!("--fsize={bytes}:unlimited");
    let status = Command::new("prlimit").args(["--pid", &pid, &limit]).status();
    assert!(status.expect("prlimit(1)").success());
}

/// Batches one after the other, each with the same ids until it is answered.
struct Load {
    ledger: Ledger,
    sent: u64,
    unanswered: Option<Batch>,
}

impl Load {
    fn new() -> Self {
        Self { ledger: Ledger::default(), sent: 0, unanswered: None }
    }

    /// Sends a batch; the code of the problem if it is not stored.
    fn send(&mut self, client: &Client) -> Result<(), String> {
        let batch = self.unanswered.take().unwrap_or_else(|| self.batch());
        let answer = client.send("POST", "/v1/events", &batch.body()).expect("an answer");
        if answer.status == 200 {
            self.ledger.note(batch, &answer.json());
            return Ok(());
        }
        assert_eq!(answer.status, 503, "{}", answer.json());
        self.unanswered = Some(batch);
        Err(saas::text(&answer.json(), "code"))
    }

    fn batch(&mut self) -> Batch {
        let mut events = Vec::new();
        for _ in 0..500 {
            self.sent += 1;
            events.push((format!("event-{}", self.sent), "acme".to_owned(), 1));
        }
        Batch { events }
    }
}
