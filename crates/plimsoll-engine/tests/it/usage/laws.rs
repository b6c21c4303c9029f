//! Laws that hold for any history: the engine's totals and crossings are those of a naive count of
//! what it acknowledged, in any batching, with duplicates, failing commits and crashes between.

use std::collections::{BTreeMap, BTreeSet};

use plimsoll_engine::ingest::IngestError;
use plimsoll_store::{Lane, faulty::Fault};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::world::{World, event};

const LIMIT: i64 = 1_000;
const LINES: [i64; 3] = [25, 50, 100];

/// One step of a history.
#[derive(Debug, Clone)]
enum Step {
    /// Sends these events in one request: id, customer, tokens.
    Send(Vec<(u8, bool, u8)>),
    /// The next commit goes wrong in this way.
    Fault(Fault),
    /// The process is killed and started again.
    Crash,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let events = prop::collection::vec((any::<u8>(), any::<bool>(), any::<u8>()), 1..12);
    let fault = prop::sample::select(vec![
        Fault::FailBefore,
        Fault::CommitThenUnknown,
        Fault::LoseThenUnknown,
    ]);
    let step = prop_oneof![
        8 => events.prop_map(Step::Send),
        2 => fault.prop_map(Step::Fault),
        1 => Just(Step::Crash),
    ];
    prop::collection::vec(step, 1..12)
}

/// What was acknowledged, counted by hand.
#[derive(Default)]
struct Naive {
    seen: BTreeSet<(u8, bool)>,
    totals: BTreeMap<bool, i64>,
    crossed: BTreeSet<(bool, i64)>,
}

impl Naive {
    fn count(&mut self, id: u8, customer: bool, tokens: i64) {
        if !self.seen.insert((id, customer)) {
            return;
        }
        let total = self.totals.entry(customer).or_default();
        *total += tokens;
        for line in LINES {
            if *total * 100 >= line * LIMIT {
                self.crossed.insert((customer, line));
            }
        }
    }
}

fn name(customer: bool) -> &'static str {
    if customer { "acme" } else { "globex" }
}

async fn live(steps: Vec<Step>) -> Result<(), TestCaseError> {
    let mut world = World::start().await;
    world.small_company(Some(&LIMIT.to_string())).await;
    world.rule(&["25", "50", "100"], &json!({})).await;
    world.until_ready().await;
    let mut naive = Naive::default();
    for step in steps {
        match step {
            Step::Crash => world.crash().await,
            Step::Fault(fault) => world.store.plan(Some(Lane::Log), fault, 1),
            Step::Send(events) => {
                let bodies: Vec<Value> = events
                    .iter()
                    .map(|(id, customer, tokens)| {
                        event(&id.to_string(), name(*customer), &json!(tokens))
                    })
                    .collect();
                // Whoever gets no answer sends the same again, until there is one.
                while let Err(error) = world.send(&bodies).await {
                    prop_assert_eq!(error, IngestError::RetrySameIds);
                    world.until_ready().await;
                }
                for (id, customer, tokens) in events {
                    naive.count(id, customer, i64::from(tokens));
                }
            }
        }
    }
    world.store.clear_plan();
    for customer in [true, false] {
        let total = naive.totals.get(&customer).copied().unwrap_or_default();
        prop_assert_eq!(world.usage(name(customer)).await, total.to_string());
    }
    let crossed: Vec<(String, String)> = world
        .notifications()
        .await
        .iter()
        .map(|it| {
            let data = &it["payload"]["data"];
            let text = |it: &Value| it.as_str().unwrap_or_default().to_owned();
            (text(&data["customer"]["key"]), text(&data["line"]["value"]))
        })
        .collect();
    let expected: BTreeSet<(String, String)> = naive
        .crossed
        .iter()
        .map(|(customer, line)| (name(*customer).to_owned(), line.to_string()))
        .collect();
    prop_assert_eq!(crossed.len(), expected.len(), "each once: {:?}", crossed);
    prop_assert_eq!(crossed.into_iter().collect::<BTreeSet<_>>(), expected);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 40,
        max_shrink_iters: 200,
        ..ProptestConfig::default()
    })]

    #[test]
    fn totals_and_crossings_are_those_of_a_naive_count(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(live(steps))?;
    }
}
