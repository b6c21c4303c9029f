//! Whatever was accepted, in whatever order: every query gives what the recount gives.

use std::collections::{BTreeMap, BTreeSet};

use plimsoll_core::{
    entitlement::period::Window,
    ids::CustomerId,
    time::{DAY_MS, Timestamp},
};
use serde_json::{Value, json};

use super::{
    super::{Step, UsageQuery},
    recount::{Fact, recount},
    world::{World, at, customer, event, names, values},
};

const HOUR_MS: i64 = 3_600_000;
const CUSTOMERS: u64 = 9;

/// Numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    fn one_in(&mut self, bound: u64) -> bool {
        self.below(bound) == 0
    }
}

/// What was sent, and what of it counts.
struct History {
    dice: Dice,
    now: Timestamp,
    facts: Vec<Fact>,
    sent: Vec<(CustomerId, Value)>,
    times: BTreeSet<Timestamp>,
}

impl History {
    /// An event that is new, a little or very late, or has no time of its own.
    fn next(&mut self) -> (CustomerId, Value) {
        let dice = &mut self.dice;
        let ago_ms = match dice.below(10) {
            0 => dice.below(31 * DAY_MS as u64),
            1 | 2 => dice.below(30 * HOUR_MS as u64),
            _ => dice.below(2 * HOUR_MS as u64),
        };
        // Of two values at one moment any may be the latest: so there are none.
        let mut time = self.now.plus_ms(-(ago_ms as i64));
        while !self.times.insert(time) {
            time = time.plus_ms(-1);
        }
        let whose = customer(dice.below(CUSTOMERS));
        let models = ["small", "large", "huge"];
        let group = |dice: &mut Dice, of: &[&str]| {
            (!dice.one_in(6)).then(|| Box::<str>::from(of[dice.below(of.len() as u64) as usize]))
        };
        let groups = [group(dice, &models), group(dice, &["eu", "us"])];
        let value = (!dice.one_in(8)).then(|| dice.below(40) as i64 - 10);
        let mut data = json!({});
        for (name, text) in ["model", "region"].iter().zip(&groups) {
            if let Some(text) = text {
                data[*name] = json!(text);
            }
        }
        if let Some(value) = value {
            data["v"] = if dice.one_in(2) { json!(value) } else { json!(value.to_string()) };
        }
        let event = event(&self.sent.len().to_string(), Some(time), &data);
        self.facts.push(Fact { customer: whose, time, value, groups });
        self.sent.push((whose, event.clone()));
        (whose, event)
    }

    fn query(&mut self, world: &World) -> UsageQuery {
        let dice = &mut self.dice;
        let steps = [Step::Hour, Step::Day, Step::Month, Step::Whole, Step::Minute];
        let step = steps[dice.below(5) as usize];
        let grain_ms = step.grain_ms();
        let present = self.now.plus_ms(-self.now.as_ms().rem_euclid(grain_ms)).plus_ms(grain_ms);
        let (length_ms, back_ms) = match step {
            Step::Minute => (20 * HOUR_MS, 3 * HOUR_MS),
            Step::Hour => (4 * DAY_MS, 9 * DAY_MS),
            _ => (40 * DAY_MS, 9 * DAY_MS),
        };
        let mut of = |ms: i64| dice.below((ms / grain_ms) as u64) as i64 * grain_ms;
        let back_ms = of(back_ms);
        let length_ms = of(length_ms) + grain_ms;
        // Half of the ranges hold the present.
        let to = present.plus_ms(if dice.one_in(2) { 0 } else { -back_ms });
        let range = Window { from: to.plus_ms(-length_ms), to };
        let some =
            |dice: &mut Dice| (0..CUSTOMERS).filter(|_| dice.one_in(2)).map(customer).collect();
        let filter = |dice: &mut Dice| match dice.below(3) {
            0 => vec![(0, names(&["small", "huge"]))],
            1 => vec![(0, names(&["large", "small"])), (1, names(&["eu"]))],
            _ => Vec::new(),
        };
        UsageQuery {
            meter: std::sync::Arc::clone(&world.meters[dice.below(11) as usize]),
            customers: if dice.one_in(3) { Some(some(dice)) } else { None },
            by_customer: dice.one_in(2),
            by: (0..2).filter(|_| dice.one_in(3)).rev().collect(),
            filters: filter(dice),
            step,
            range,
            now: self.now,
            after: None,
            limit: if dice.one_in(2) { 1_000 } else { 3 + dice.below(30) as usize },
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_query_gives_what_a_recount_gives() {
    for seed in [11, 12] {
        a_history(seed).await;
    }
}

async fn a_history(seed: u64) {
    let mut world = World::start("2026-01-20T09:00:00Z").await;
    let (dice, now) = (Dice(seed * 0x9e37_79b9), at("2026-01-20T09:00:00Z"));
    let mut history =
        History { dice, now, facts: Vec::new(), sent: Vec::new(), times: BTreeSet::new() };
    let mut compared = BTreeMap::new();
    for round in 0..40 {
        let step_ms = history.dice.below(30 * HOUR_MS as u64) as i64;
        history.now = history.now.plus_ms(step_ms);
        world.clock.set(history.now);
        let batch: Vec<_> = (0..=history.dice.below(25)).map(|_| history.next()).collect();
        assert_eq!(world.send(&batch).await.accepted, batch.len() as u64);
        let place = history.dice.below(history.sent.len() as u64) as usize;
        let again = history.sent[place..history.sent.len().min(place + 3)].to_vec();
        // What is older than the dedupe window would not come this far.
        assert_eq!(world.send(&again).await.accepted, 0, "seed {seed}");
        if round % 9 == 8 {
            world.restart(history.dice.one_in(2)).await;
        }
        for _ in 0..8 {
            let query = history.query(&world);
            let expected = recount(&history.facts, &query);
            let got = world.all(&query).await;
            *compared.entry((query.step.grain_ms(), query.by_customer)).or_insert(0) += got.len();
            assert_eq!(got, expected, "seed {seed}, round {round}: {query:?}");
        }
    }
    assert!(compared.values().all(|it| *it > 100), "{compared:?}");
}

/// The totals of a slice give up where there are too many groups; customers' cells do not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_groups_are_told_apart_by_customer() {
    let world = World::start("2026-03-10T12:00:00Z").await;
    let pair: Vec<u64> =
        (0..).filter(|it| world.partitions.of(customer(*it)) == 0).take(2).collect();
    let mut events = Vec::new();
    for model in 0..600 {
        for (place, number) in pair.iter().enumerate() {
            let data = json!({"v": 1, "model": format!("{place}-{model}")});
            events.push((customer(*number), event(&model.to_string(), None, &data)));
        }
    }
    for chunk in events.chunks(300) {
        world.send(chunk).await;
    }
    let (from, to) = ("2026-03-10T00:00:00Z", "2026-03-10T13:00:00Z");
    let whole = world.query(1, Step::Whole, from, to);
    assert_eq!(values(Ok(world.all(&whole).await)), ["1200"]);
    let grouped = UsageQuery { by: vec![0], ..whole.clone() };
    assert_eq!(world.all(&grouped).await.len(), 1_200);
    let filters = vec![(0, names(&["0-7", "1-599", "1-600"]))];
    assert_eq!(values(Ok(world.all(&UsageQuery { filters, ..whole }).await)), ["2"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_deleted_customer_used_stays() {
    let world = World::start("2026-03-09T23:30:00Z").await;
    let one = customer(1);
    for (id, now) in [("a", "2026-03-09T23:30:00Z"), ("b", "2026-03-10T10:30:00Z")] {
        world.clock.set(at(now));
        world.send(&[(one, event(id, None, &json!({"v": 3})))]).await;
    }
    world.delete(one).await;
    world.clock.set(at("2026-03-12T10:30:00Z"));
    for (step, expected) in [(Step::Day, ["3", "3"]), (Step::Hour, ["3", "3"])] {
        let query = world.query(1, step, "2026-03-09T00:00:00Z", "2026-03-12T00:00:00Z");
        let query = UsageQuery { by_customer: true, ..query };
        assert_eq!(values(Ok(world.all(&query).await)), expected, "{step:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_nothing_was_used_there_is_zero_or_nothing() {
    let world = World::start("2026-03-10T12:00:00Z").await;
    let query =
        |meter, step| world.query(meter, step, "2026-03-08T00:00:00Z", "2026-03-10T13:00:00Z");
    let sum = query(1, Step::Day);
    assert_eq!(values(Ok(world.all(&sum).await)), ["0", "0", "0"]);
    assert_eq!(values(Ok(world.all(&query(5, Step::Whole)).await)), ["null"]);
    let by_customer = UsageQuery { by_customer: true, ..sum.clone() };
    assert_eq!(world.all(&by_customer).await, []);
    let by_model = UsageQuery { by: vec![0], ..sum };
    assert_eq!(world.all(&by_model).await, []);
}
