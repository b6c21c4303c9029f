//! Starting, being stopped, starting again.

use std::{fs, io::ErrorKind, os::unix::fs::PermissionsExt};

use crate::{
    load::{Load, NotStored},
    process::{self, KEY, Launch},
    receiver::Receiver,
    saas, wait,
};

#[test]
fn an_empty_folder_gives_an_address_and_the_first_keys_once() {
    let launch = Launch::new();
    let without_key = |command: &mut std::process::Command| {
        command.env_remove("PLIMSOLL_BOOTSTRAP_KEY");
    };
    let server = launch.start_with(without_key);
    let written = fs::read_to_string(launch.data_dir().join("address")).expect("an address file");
    assert_eq!(written.trim(), server.address.to_string());
    assert_ne!(server.address.port(), 0);

    let printed = server.printed();
    let key_of = |environment: &str| {
        let begin = format!("api key ({environment}): ");
        let line = printed.lines().find_map(|it| it.strip_prefix(&begin));
        line.unwrap_or_else(|| panic!("no key of {environment} in: {printed}")).to_owned()
    };
    for (environment, prefix) in [("live", "plm_live_"), ("sandbox", "plm_test_")] {
        let key = key_of(environment);
        assert!(key.starts_with(prefix), "{key}");
        server.client_with(&key).get("/v1/meters");
        assert!(!server.logged().contains(&key), "a key in the log");
    }
    assert!(server.terminate().success());
    assert!(!launch.data_dir().join("address").exists(), "nobody listens there any more");

    let again = launch.start_with(without_key);
    assert!(!again.printed().contains("api key"), "{}", again.printed());
    again.client_with(&key_of("live")).get("/v1/meters");
}

#[test]
fn secrets_at_rest_are_for_the_owner_only() {
    let launch = Launch::new();
    let server = launch.start();
    let key = fs::metadata(launch.data_dir().join("master.key")).expect("a master key");
    assert_eq!(key.permissions().mode() & 0o777, 0o600);
    drop(server);
}

#[test]
fn a_lost_master_key_stops_the_start_and_gets_no_substitute() {
    let launch = Launch::new();
    let key = launch.data_dir().join("master.key");
    assert!(launch.start().terminate().success());
    let kept = fs::read(&key).expect("a master key");
    fs::remove_file(&key).expect("a file to lose");
    let mut command = process::plimsoll();
    command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(launch.data_dir());
    let refused = process::run(&mut command);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(said.contains("there is no master key file"), "{said}");
    assert!(!key.exists(), "whoever puts the right one back overwrites nothing");
    fs::write(&key, kept).expect("a file to put back");
    drop(launch.start());
}

#[test]
fn a_second_process_is_refused_while_the_first_lives() {
    let launch = Launch::new();
    let mut server = launch.start();
    let mut second = process::plimsoll();
    second.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(launch.data_dir());
    let refused = process::run(&mut second);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success());
    assert!(said.contains("is in use by another plimsoll process"), "{said}");
    assert!(server.is_running());
    let address = fs::read_to_string(launch.data_dir().join("address")).expect("an address file");
    assert_eq!(address.trim(), server.address.to_string(), "the second has not touched it");
}

#[test]
fn everything_is_still_there_after_a_stop_and_after_a_kill() {
    let launch = Launch::new();
    let receiver = Receiver::start();
    let server = launch.start();
    saas::set_up(&server.client(), &receiver);
    saas::add_customer(&server.client(), "acme", 1_000);
    let meters = server.client().get("/v1/meters");
    server.client().post("/v1/events", &saas::event("1", "acme", 7));
    assert!(server.terminate().success());

    let server = launch.start();
    assert_eq!(server.client().get("/v1/meters"), meters);
    assert_eq!(saas::usage(&server.client(), "acme"), "7");
    server.client().post("/v1/events", &saas::event("2", "acme", 5));
    server.kill();

    let server = launch.start();
    assert_eq!(saas::usage(&server.client(), "acme"), "12");
    let answer = server.client().post("/v1/events", &saas::event("1", "acme", 7));
    assert_eq!(answer["duplicates"], 1);
}

#[test]
fn a_stop_under_load_answers_what_it_has_taken_and_loses_nothing() {
    let launch = Launch::new();
    let server = launch.start();
    let client = server.client();
    saas::set_up(&client, &Receiver::start());
    saas::add_customer(&client, "acme", 1_000_000_000);
    let mut load = Load::default();
    let ended = std::thread::scope(|scope| {
        let sending = scope.spawn(|| {
            loop {
                if let Err(ended) = load.send(&client) {
                    return ended;
                }
            }
        });
        wait::for_ms(300);
        assert!(server.terminate().success());
        sending.join().expect("the load does not panic")
    });
    // The last connection was refused or reset; a request that had been read would have ended in
    // silence, with a part of its answer or none.
    let NotStored::NoAnswer(error) = ended else { panic!("{ended:?}") };
    assert_ne!(error.kind(), ErrorKind::UnexpectedEof, "{error}");

    let server = launch.start();
    assert!(!load.ledger.batches.is_empty());
    load.ledger.check_usage(&server.client());
    load.ledger.check_everything_is_known(&server.client());
}

#[test]
fn clients_that_hang_up_leave_memory_and_store_agreeing() {
    let launch = Launch::new();
    let server = launch.start();
    let client = server.client();
    let meter = |number: u32| {
        let key = format!("meter-{number}");
        let meter = serde_json::json!({
            "key": key, "name": "x", "event_type": "x", "aggregation": "count",
        });
        meter.to_string().into_bytes()
    };
    for number in 0..30 {
        client.send_and_hang_up("POST", "/v1/meters", &meter(number));
    }
    // Each was made or was not: asked for once more, it is there.
    for number in 0..30 {
        let answer = client.send("POST", "/v1/meters", &meter(number)).expect("an answer");
        assert!([201, 409].contains(&answer.status), "{}", answer.json());
        client.get(&format!("/v1/meters/meter-{number}"));
    }
    let meters = client.list("/v1/meters");
    assert_eq!(meters.len(), 30);
    assert!(server.terminate().success());
    assert_eq!(launch.start().client().list("/v1/meters"), meters);
}

#[test]
fn the_bootstrap_key_opens_the_environment_that_its_prefix_names() {
    for (key, kind) in [(KEY, "live"), ("plm_test_0123456789abcdef", "sandbox")] {
        let launch = Launch::new();
        let server = launch.start_with(|command| {
            command.env("PLIMSOLL_BOOTSTRAP_KEY", key);
        });
        let environment = server.client_with(key).get("/v1/environment");
        assert_eq!(environment["kind"], kind, "{environment}");
        assert!(!server.logged().contains(key), "a key in the log");
        // A store that is not empty has its keys: another bootstrap key opens nothing.
        assert!(server.terminate().success());
        let other = "plm_live_another_bootstrap_key";
        let server = launch.start_with(|command| {
            command.env("PLIMSOLL_BOOTSTRAP_KEY", other);
        });
        let answer = server.client_with(other).send("GET", "/v1/meters", &[]).expect("an answer");
        assert_eq!(answer.status, 401);
    }
}

#[test]
fn an_environment_made_by_hand_has_its_own_key() {
    let launch = Launch::new();
    assert!(launch.start().terminate().success());
    let mut create = process::plimsoll();
    create.args(["environment", "create", "staging", "--kind", "sandbox", "--data-dir"]);
    let created = process::run(create.arg(launch.data_dir()));
    let printed = String::from_utf8_lossy(&created.stdout).into_owned();
    assert!(created.status.success(), "{}", String::from_utf8_lossy(&created.stderr));
    let key = printed.trim().strip_prefix("api key (staging): ").expect("a key");
    assert!(key.starts_with("plm_test_"), "{printed}");
    let server = launch.start();
    assert_eq!(server.client_with(key).get("/v1/environment")["name"], "staging");
}
