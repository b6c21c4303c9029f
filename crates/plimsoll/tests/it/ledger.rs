//! What must be true, kept outside the program under test: what was answered 2xx, and what follows.
//!
//! The arithmetic is as naive as can be: sums, and every level at or below a sum.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::{http::Client, receiver::Received, saas};

/// A customer and the level of a line: what can cross once.
pub(crate) type Crossing = (String, u64);

/// Events that are sent together, and sent again with the same ids until there is an answer.
#[derive(Debug, Clone)]
pub(crate) struct Batch {
    /// Event id, customer, tokens.
    pub(crate) events: Vec<(String, String, u64)>,
}

impl Batch {
    pub(crate) fn body(&self) -> Vec<u8> {
        let events =
            self.events.iter().map(|(id, customer, tokens)| saas::event(id, customer, *tokens));
        Value::Array(events.collect()).to_string().into_bytes()
    }
}

/// Everything that was answered 2xx.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    usage: BTreeMap<String, u64>,
    pub(crate) batches: Vec<Batch>,
}

impl Ledger {
    /// Notes a batch whose answer was `answer`.
    pub(crate) fn note(&mut self, batch: Batch, answer: &Value) {
        let count = |field: &str| answer[field].as_u64().expect("a number");
        let stored = count("accepted") + count("duplicates");
        assert_eq!(stored, batch.events.len() as u64, "some events were rejected: {answer}");
        for (_, customer, tokens) in &batch.events {
            *self.usage.entry(customer.clone()).or_default() += tokens;
        }
        self.batches.push(batch);
    }

    /// Which of `levels` each customer must have crossed.
    pub(crate) fn crossings(&self, levels: &[u64]) -> BTreeSet<Crossing> {
        let of_customer = |(customer, used): (&String, &u64)| {
            let crossed: Vec<_> = levels.iter().filter(|it| *it <= used).collect();
            crossed.into_iter().map(|it| (customer.clone(), *it)).collect::<Vec<_>>()
        };
        self.usage.iter().flat_map(of_customer).collect()
    }

    /// Checks every customer's value.
    pub(crate) fn check_usage(&self, client: &Client) {
        for (customer, used) in &self.usage {
            assert_eq!(saas::usage(client, customer), used.to_string(), "usage of {customer}");
        }
    }

    /// Sends everything once more: nothing of it may be new.
    pub(crate) fn check_everything_is_known(&self, client: &Client) {
        for batch in &self.batches {
            let answer = client.send("POST", "/v1/events", &batch.body()).expect("an answer");
            assert_eq!(answer.status, 200);
            let accepted = &answer.json()["accepted"];
            assert_eq!(*accepted, 0, "events that had been answered were not stored");
        }
    }
}

/// What a notification's body says has crossed.
pub(crate) fn crossing(payload: &Value) -> Crossing {
    let data = &payload["data"];
    let customer = saas::text(&data["customer"], "key");
    let level = saas::text(&data["line"], "level").parse().expect("a whole number");
    (customer, level)
}

/// The ids under which each crossing was notified, according to the server.
pub(crate) fn notified(client: &Client) -> BTreeMap<Crossing, BTreeSet<String>> {
    let mut notified: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for notification in client.list("/v1/notifications") {
        let ids = notified.entry(crossing(&notification["payload"])).or_default();
        ids.insert(saas::text(&notification, "id"));
    }
    notified
}

/// The ids under which each crossing arrived at a receiver.
pub(crate) fn arrived(received: &[Received]) -> BTreeMap<Crossing, BTreeSet<String>> {
    let mut arrived: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for webhook in received {
        let ids = arrived.entry(crossing(&webhook.json())).or_default();
        ids.insert(webhook.header("webhook-id").to_owned());
    }
    arrived
}
