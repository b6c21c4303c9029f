//! The clock of a sandbox: what becomes due on the way happens, in order and once.

use std::{cell::Cell, time::Duration};

use plimsoll_core::time::Timestamp;
use plimsoll_engine::ops::{
    clock::{AdvanceClock, SetClock},
    notification::NotificationQuery,
    problem::Problem,
};
use serde_json::{Value, json};

use super::world::{World, event, request};

impl World {
    async fn set(&self, now: &str) -> Result<String, Problem> {
        let set: SetClock = request(&json!({"now": now}));
        self.engine.ops.set_clock(&self.context(), set).await.map(|it| it.now.to_string())
    }

    async fn advance(&self, advance: Value) -> Result<String, Problem> {
        let advance: AdvanceClock = request(&advance);
        let moved = self.engine.ops.advance_clock(&self.context(), advance).await;
        moved.map(|it| it.now.to_string())
    }

    /// What the environment's clock shows, and whether it was set.
    fn shown(&self) -> (String, bool) {
        let clock = self.engine.ops.clock(&self.context()).unwrap();
        (clock.now.to_string(), clock.is_set)
    }

    /// Meter, feature and `customers`, each with a daily limit of 100.
    async fn daily_company(&self, customers: &[&str]) {
        let ops = &self.engine.ops;
        let context = self.context();
        let meter = json!({"key": "tokens", "name": "Tokens", "event_type": "llm.request",
            "aggregation": "sum", "value_property": "$.tokens"});
        ops.create_meter(&context, request(&meter)).await.unwrap();
        let feature = json!({"key": "tokens", "name": "Tokens", "type": "metered",
            "meter": "tokens"});
        ops.create_feature(&context, request(&feature)).await.unwrap();
        for key in customers {
            let customer = json!({"key": key, "name": key, "subjects": [key]});
            ops.create_customer(&context, request(&customer)).await.unwrap();
            self.entitle_for(key, Some("100"), "day").await;
        }
    }

    /// Every reset, the oldest first: when, of whom, the window that closed, how much was used in
    /// it, and how many were skipped.
    async fn resets(&self) -> Vec<String> {
        let all = self.notifications().await;
        let resets = all.iter().filter(|it| it["type"] == "entitlements.reset");
        let resets = resets.map(|it| {
            let data = &it["payload"]["data"];
            let text = |it: &Value| it.as_str().map_or_else(|| it.to_string(), str::to_owned);
            let time = text(&it["created_at"]);
            format!(
                "{time} {} {} {}",
                text(&data["customer"]["key"]),
                text(&data["previous"]["usage"]),
                text(&data["skipped"])
            )
        });
        resets.collect()
    }
}

fn code(result: Result<String, Problem>) -> &'static str {
    result.map_or_else(|it| it.code.as_str(), |_| "")
}

#[tokio::test]
async fn every_reset_on_the_way_happens_by_itself_and_in_order() {
    let mut world = World::start_sandbox().await;
    world.daily_company(&["acme"]).await;
    world.channel(None).await;
    world.set("2026-03-10T18:00:00Z").await.unwrap();
    world.uses("acme", 30).await;
    assert_eq!(world.resets().await, Vec::<String>::new());

    let moved = world.advance(json!({"by": {"days": 3, "hours": 1}})).await.unwrap();
    assert_eq!(moved, "2026-03-13T19:00:00Z");
    assert_eq!(
        world.resets().await,
        [
            "2026-03-11T00:00:00Z acme 30 0",
            "2026-03-12T00:00:00Z acme 0 0",
            "2026-03-13T00:00:00Z acme 0 0",
        ]
    );
    assert_eq!(world.usage("acme").await, "0");
    world.uses("acme", 5).await;
    assert_eq!(world.usage("acme").await, "5");
}

#[tokio::test]
async fn more_than_one_turn_of_resets_is_worked_off_before_what_comes_after_it() {
    let mut world = World::start_sandbox().await;
    world.daily_company(&["acme"]).await;
    world.channel(None).await;
    // A reset a day for more than three years: more than a turn works off.
    let moved = world.advance(json!({"to": "2029-08-01T00:00:00Z"})).await.unwrap();
    assert_eq!(moved, "2029-08-01T00:00:00Z");
    world.uses("acme", 7).await;
    assert_eq!(world.usage("acme").await, "7");
    let resets = world.all_resets().await;
    let days: Vec<i64> = resets.windows(2).map(|it| it[1].ms_since(it[0]) / 86_400_000).collect();
    assert_eq!(resets.len(), 1_240);
    assert!(days.iter().all(|it| *it == 1), "{days:?}");
}

#[tokio::test]
async fn the_clock_does_not_go_back_over_what_was_told() {
    let mut world = World::start_sandbox().await;
    world.daily_company(&["acme"]).await;
    let channel = world.channel(None).await;
    world
        .rule(&["80"], &json!({"channels": [channel], "type": "entitlements.reset", "lines": []}))
        .await;
    assert_eq!(world.set("2026-03-01T00:00:00Z").await.unwrap(), "2026-03-01T00:00:00Z");
    assert_eq!(code(world.set("2026-03-03T00:00:00Z").await), "");
    assert_eq!(code(world.set("2026-03-01T00:00:00Z").await), "clock_backwards");
    assert_eq!(code(world.set("2026-03-04T00:00:00Z").await), "");
    world.uses("acme", 40).await;
    assert_eq!(world.usage("acme").await, "40");
}

#[tokio::test]
async fn the_clock_goes_back_only_without_events() {
    let mut world = World::start_sandbox().await;
    world.daily_company(&["acme"]).await;
    assert_eq!(world.shown(), ("2026-03-10T12:00:00Z".to_owned(), false));
    assert_eq!(world.set("2020-01-01T00:00:00Z").await.unwrap(), "2020-01-01T00:00:00Z");
    assert_eq!(world.shown(), ("2020-01-01T00:00:00Z".to_owned(), true));
    // Of the past as the machine sees it, but of the environment's present.
    let mut past = event("past", "acme", &json!(4));
    past["time"] = json!("2019-12-31T23:00:00Z");
    let mut future = event("future", "acme", &json!(4));
    future["time"] = json!("2020-01-01T02:00:00Z");
    let answer = world.send(&[past, future]).await.unwrap();
    let codes: Vec<_> = answer.rejected.iter().map(|it| it.code.as_ref()).collect();
    assert_eq!((answer.accepted, codes), (1, vec!["event_time_in_future"]));
    world.uses("acme", 40).await;

    assert_eq!(code(world.set("2019-12-31T00:00:00Z").await), "clock_backwards");
    assert_eq!(code(world.advance(json!({"to": "2019-12-31T00:00:00Z"})).await), "clock_backwards");
    assert_eq!(code(world.advance(json!({})).await), "invalid_field");
    assert_eq!(code(world.set("2020-01-01T00:00:00Z").await), "");
    assert_eq!(world.usage("acme").await, "40");
    // Another event of the same day: the machine's clock does not matter.
    world.clock.advance(Duration::from_hours(48));
    world.uses("acme", 2).await;
    assert_eq!(world.usage("acme").await, "42");
}

#[tokio::test]
async fn a_clock_that_was_set_stands_after_a_restart() {
    let mut world = World::start_sandbox().await;
    world.daily_company(&["acme", "globex"]).await;
    world.channel(None).await;
    world.set("2026-05-01T00:00:00Z").await.unwrap();
    world.uses("acme", 9).await;
    let resets = world.resets().await;
    world.crash().await;
    world.clock.advance(Duration::from_hours(100 * 24));
    assert_eq!(world.shown(), ("2026-05-01T00:00:00Z".to_owned(), true));
    assert_eq!(world.usage("acme").await, "9");
    assert_eq!(world.resets().await, resets);
    world.advance(json!({"by": {"months": 1}})).await.unwrap();
    let all = world.resets().await;
    assert_eq!(all.len(), resets.len() + 2 * 31);
    let of_acme = all.iter().filter(|it| it.contains(" acme 9 "));
    assert_eq!(of_acme.collect::<Vec<_>>(), ["2026-05-02T00:00:00Z acme 9 0"]);
}

#[tokio::test]
async fn a_live_environment_follows_the_machine() {
    let world = World::start().await;
    assert_eq!(code(world.set("2030-01-01T00:00:00Z").await), "clock_not_settable");
    assert_eq!(world.shown(), ("2026-03-10T12:00:00Z".to_owned(), false));
    world.clock.advance(Duration::from_hours(1));
    assert_eq!(world.shown(), ("2026-03-10T13:00:00Z".to_owned(), false));
}

impl World {
    /// When each reset happened, the oldest first, of however many there are.
    async fn all_resets(&self) -> Vec<Timestamp> {
        let mut times = Vec::new();
        let mut cursor = None;
        loop {
            let query =
                NotificationQuery { limit: Some(1000), cursor, ..NotificationQuery::default() };
            let page = self.engine.ops.list_notifications(&self.context(), &query).await.unwrap();
            let page = serde_json::to_value(page).unwrap();
            let items = page["items"].as_array().unwrap();
            let at =
                |it: &Value| -> Timestamp { it["created_at"].as_str().unwrap().parse().unwrap() };
            times.extend(items.iter().map(at));
            match page["next_cursor"].as_str() {
                Some(next) => cursor = Some(next.to_owned()),
                None => break,
            }
        }
        times.reverse();
        times
    }
}

#[tokio::test]
async fn a_duplicate_that_waits_for_the_clock_is_still_one() {
    let mut world = World::start_sandbox().await;
    world.daily_company(&["acme"]).await;
    let events = [event("a", "acme", &json!(1))];
    assert_eq!(world.send(&events).await.unwrap().accepted, 1);
    // Afterwards the event is known from the store only.
    world.engine.stop_without_store().await;
    world.crash().await;
    let is_moved = Cell::new(false);
    let moving = async {
        world.advance(json!({"by": {"days": 400}})).await.unwrap();
        is_moved.set(true);
    };
    // One of them comes when the clock is set and much is due, and waits for many turns.
    let sending = async {
        while !is_moved.get() {
            let again = world.send(&events).await.unwrap();
            assert_eq!((again.accepted, again.duplicates), (0, 1));
        }
    };
    futures_util::future::join(moving, sending).await;
}
