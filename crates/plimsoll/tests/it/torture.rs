//! `kill -9` at random moments under load: nothing accepted is lost, nothing is notified twice.
//!
//! Several clients send batches with known ids. Now and then the server is killed and started
//! again. A batch without an answer is sent again with the same ids until it has one. At the end
//! the server must agree with the ledger to the last token and the last line, and the receiver
//! must have seen every crossing, each under one id.
//!
//! `PLIMSOLL_TORTURE_ROUNDS` sets how often the server is killed; `bench/torture.sh` does it 1,000
//! times.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use crate::{
    database::{self, Database},
    http::Client,
    ledger::{self, Batch, Ledger},
    process::{Launch, Server},
    receiver::Receiver,
    saas, wait,
};

const CUSTOMERS: u64 = 12;
const SENDERS: u64 = 3;
const BATCH: u64 = 20;
const TOKENS_MAX: u64 = 9;
/// Lines on every customer: one each `LEVEL_STEP` tokens, so that they cross all the time.
const LEVELS: u64 = 400;
const LEVEL_STEP: u64 = 97;
const LINES_OF_RULE: usize = 20;
/// The server lives at most this long before it is killed.
const LIFE_MS: u64 = 200;

#[test]
fn killed_again_and_again_on_sqlite() {
    torture(&Launch::new(), rounds(50));
}

#[test]
fn killed_again_and_again_on_postgres() {
    let Some(database) = Database::create() else { return };
    torture(&Launch::on_postgres(&database.url()), rounds(20));
}

fn rounds(normally: u64) -> u64 {
    let asked = database::variable("PLIMSOLL_TORTURE_ROUNDS");
    asked.map_or(normally, |it| it.parse().expect("PLIMSOLL_TORTURE_ROUNDS is a number"))
}

fn torture(launch: &Launch, rounds: u64) {
    let seed = database::random();
    println!("seed {seed}, {rounds} rounds");
    let receiver = Receiver::start();
    let mut dice = Dice(seed);
    let levels: Vec<_> = (1..=LEVELS).map(|it| it * LEVEL_STEP).collect();

    let server = launch.start();
    set_up(&server.client(), &receiver, &levels);
    let mut load = Load::new(seed);
    load.run_and_kill(server, dice.below(LIFE_MS));
    for _ in 1..rounds {
        load.run_and_kill(launch.start(), dice.below(LIFE_MS));
    }

    let server = launch.start();
    let client = server.client();
    let ledger = load.finish(&client);
    ledger.check_everything_is_known(&client);
    ledger.check_usage(&client);
    check_notifications(&client, &receiver, &ledger, &levels);
    assert!(server.terminate().success());
    let events: usize = ledger.batches.iter().map(|it| it.events.len()).sum();
    println!("{events} events, {} crossings", ledger.crossings(&levels).len());
}

fn set_up(client: &Client, receiver: &Receiver, levels: &[u64]) {
    let channel = saas::set_up(client, receiver);
    for levels in levels.chunks(LINES_OF_RULE) {
        saas::draw_lines(client, &channel, "usage_value", levels);
    }
    for number in 0..CUSTOMERS {
        saas::add_customer(client, &customer(number), 1_000_000_000);
    }
}

fn customer(number: u64) -> String {
    format!("customer-{number}")
}

fn check_notifications(client: &Client, receiver: &Receiver, ledger: &Ledger, levels: &[u64]) {
    let expected = ledger.crossings(levels);
    assert!(!expected.is_empty(), "the load crosses lines");
    let notified = ledger::notified(client);
    let crossed: Vec<_> = notified.keys().collect();
    assert_eq!(crossed, expected.iter().collect::<Vec<_>>(), "lines crossed");
    for (crossing, ids) in &notified {
        assert_eq!(ids.len(), 1, "{crossing:?} was notified under {ids:?}");
    }
    let all = wait::within_deadline(|| {
        (ledger::arrived(&receiver.received()).len() >= expected.len()).then_some(())
    });
    let arrived = ledger::arrived(&receiver.received());
    if all.is_none() {
        let missing: Vec<_> = notified.iter().filter(|(it, _)| !arrived.contains_key(it)).collect();
        let first = missing[0].1.first().expect("an id");
        let notification = client.get(&format!("/v1/notifications/{first}"));
        panic!("{} of {} did not arrive: {notification:#}", missing.len(), expected.len());
    }
    assert_eq!(arrived, notified, "what arrived is what was notified, under the same ids");
}

/// The clients, and what they remember between two lives of the server.
struct Load {
    senders: Vec<Mutex<Sender>>,
    ledger: Mutex<Ledger>,
}

struct Sender {
    dice: Dice,
    sent: u64,
    name: u64,
    /// Sent, and not answered.
    unanswered: Option<Batch>,
}

impl Load {
    fn new(seed: u64) -> Self {
        let sender =
            |name| Sender { dice: Dice(seed ^ (name + 1)), sent: 0, name, unanswered: None };
        Self {
            senders: (0..SENDERS).map(|it| Mutex::new(sender(it))).collect(),
            ledger: Mutex::default(),
        }
    }

    /// Sends for `life_ms`; then the server is killed under the load.
    fn run_and_kill(&mut self, server: Server, life_ms: u64) {
        let stop = AtomicBool::new(false);
        let client = server.client();
        thread::scope(|scope| {
            for sender in &self.senders {
                let (stop, client, ledger) = (&stop, &client, &self.ledger);
                scope.spawn(move || {
                    let mut sender = sender.lock().expect("no sender panics");
                    while !stop.load(Ordering::SeqCst) && sender.send(client, ledger) {}
                });
            }
            wait::for_ms(life_ms);
            server.kill();
            stop.store(true, Ordering::SeqCst);
        });
    }

    /// Sends what was never answered, and gives the ledger.
    fn finish(self, client: &Client) -> Ledger {
        for sender in self.senders {
            let mut sender = sender.into_inner().expect("no sender panics");
            if sender.unanswered.is_some() {
                assert!(sender.send(client, &self.ledger), "the last server answers");
            }
        }
        self.ledger.into_inner().expect("no holder of this lock panics")
    }
}

impl Sender {
    /// Sends one batch; says whether the server can be asked again.
    fn send(&mut self, client: &Client, ledger: &Mutex<Ledger>) -> bool {
        let batch = self.unanswered.take().unwrap_or_else(|| self.batch());
        let answer = client.send("POST", "/v1/events", &batch.body());
        match answer {
            Ok(answer) if answer.status == 200 => {
                let mut ledger = ledger.lock().expect("no holder of this lock panics");
                ledger.note(batch, &answer.json());
                true
            }
            // The ids may be sent again: that is what these answers promise.
            Ok(answer) if answer.status == 503 || answer.status == 429 => {
                self.unanswered = Some(batch);
                true
            }
            Ok(answer) => panic!("{}: {}", answer.status, answer.json()),
            Err(_) => {
                self.unanswered = Some(batch);
                false
            }
        }
    }

    fn batch(&mut self) -> Batch {
        let mut events = Vec::new();
        for _ in 0..BATCH {
            self.sent += 1;
            let id = format!("{}-{}", self.name, self.sent);
            let customer = customer(self.dice.below(CUSTOMERS));
            events.push((id, customer, 1 + self.dice.below(TOKENS_MAX)));
        }
        Batch { events }
    }
}

/// Random numbers from a seed (SplitMix64), so that a failure can name its seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}
