//! `entitlements.reset`: told once a period, also when nobody uses anything.

use std::time::Duration;

use plimsoll_engine::deps::TaskGroup;
use serde_json::{Value, json};

use super::world::{World, request};
use crate::delivery::receiver::{Receiver, Reply};

const MONTH: Duration = Duration::from_hours(31 * 24);
const RESET: &str = "entitlements.reset";

/// A reset that was told: of whom, to which channels in the order of their ids, and the body.
struct Told {
    customer: String,
    channels: Vec<String>,
    data: Value,
}

/// The resets that were told, in the order of their customers.
async fn resets(world: &World) -> Vec<Told> {
    let text = |it: &Value| it.as_str().unwrap().to_owned();
    let all = world.notifications().await;
    let told = all.into_iter().filter(|it| it["type"] == RESET).map(|it| {
        let deliveries = it["deliveries"].as_array().unwrap();
        let channels = deliveries.iter().map(|it| text(&it["channel"])).collect();
        let data = it["payload"]["data"].clone();
        Told { customer: text(&data["customer"]["key"]), channels: sorted(channels), data }
    });
    let mut told: Vec<_> = told.collect();
    told.sort_by(|one, other| one.customer.cmp(&other.customer));
    told
}

fn sorted<T: Ord>(mut items: Vec<T>) -> Vec<T> {
    items.sort();
    items
}

/// Asks for a value, so that both partitions look at the clock.
async fn look(world: &World) {
    for customer in ["acme", "globex"] {
        assert_eq!(world.usage(customer).await, "0");
    }
}

#[tokio::test]
async fn a_reset_is_told_once_to_who_takes_it_directly_and_once_to_whom_a_rule_names() {
    let mut world = World::start().await;
    world.small_company(Some("100")).await;
    let by_name = world.channel_for(&[RESET]).await;
    let by_star = world.channel_for(&["*"]).await;
    let by_rule = world.channel_for(&[]).await;
    let by_both = world.channel_for(&["*", RESET]).await;
    world.channel_for(&[]).await;
    world.channel_for(&["entitlement.limit.reached"]).await;
    let rule = json!({"type": RESET, "features": ["tokens"], "customers": ["acme"],
        "channels": [by_rule, by_both]});
    world.watch(&rule).await;
    world.uses("acme", 60).await;
    world.clock.advance(MONTH);
    look(&world).await;
    world.crash().await;
    look(&world).await;
    let told = resets(&world).await;
    let got = told.iter().map(|it| (it.customer.as_str(), it.channels.clone()));
    let expected = [
        ("acme", sorted(vec![by_rule, by_both.clone()])),
        ("acme", sorted(vec![by_name.clone(), by_star.clone()])),
        ("globex", sorted(vec![by_name, by_star, by_both])),
    ];
    assert_eq!(sorted(got.collect()), sorted(expected.to_vec()));
}

#[tokio::test]
async fn a_reset_says_how_both_windows_stand() {
    let mut world = World::start().await;
    world.small_company(Some("100")).await;
    let channel = world.channel_for(&[]).await;
    world.watch(&json!({"type": RESET, "customers": ["acme"], "channels": [channel]})).await;
    world.uses("acme", 130).await;
    world.clock.advance(MONTH);
    look(&world).await;
    let told = resets(&world).await;
    assert_eq!(told.len(), 1);
    let data = &told[0].data;
    let value = |usage: &str, balance: &str, overage: &str| {
        json!({"usage": usage,
        "limit": "100", "balance": balance, "overage": overage})
    };
    assert_eq!(data["value"], value("0", "100", "0"));
    assert_eq!(data["previous"], value("130", "0", "30"));
    let window = |from: &str, to: &str| json!({"from": from, "to": to});
    assert_eq!(data["window"], window("2026-04-01T00:00:00Z", "2026-05-01T00:00:00Z"));
    assert_eq!(data["previous_window"], window("2026-03-01T00:00:00Z", "2026-04-01T00:00:00Z"));
    assert_eq!((&data["cause"], &data["skipped"]), (&json!("period"), &json!(0)));
    assert_eq!(data["rule"]["name"], "lines");
}

#[tokio::test]
async fn periods_missed_while_switched_off_are_one_reset() {
    let mut world = World::start().await;
    world.small_company(None).await;
    world.channel_for(&["*"]).await;
    world.engine.stop_without_store().await;
    world.clock.advance(4 * MONTH);
    world.crash().await;
    // Nobody asks for anything.
    world.until_told(2).await;
    let told = resets(&world).await;
    let skipped: Vec<_> =
        told.iter().map(|it| (it.customer.as_str(), &it.data["skipped"])).collect();
    assert_eq!(skipped, [("acme", &json!(3)), ("globex", &json!(3))]);
    world.crash().await;
    look(&world).await;
    assert_eq!(resets(&world).await.len(), 2);
    world.clock.advance(MONTH);
    look(&world).await;
    let told = resets(&world).await;
    assert_eq!(told.len(), 4);
    assert_eq!(told.iter().filter(|it| it.data["skipped"] == 0).count(), 2);
}

#[tokio::test]
async fn a_disabled_rule_records_the_reset_and_a_deleted_one_does_not() {
    let world = World::start().await;
    world.small_company(None).await;
    let channel = world.channel_for(&[]).await;
    let rule = json!({"type": RESET, "channels": [channel], "disabled": true});
    let rule = world.watch(&rule).await;
    world.clock.advance(MONTH);
    look(&world).await;
    let expected = "entitlements.reset period skipped=0 rule_disabled";
    assert_eq!(world.told().await, [expected, expected]);
    assert!(resets(&world).await.iter().all(|it| it.channels.is_empty()));
    let change = json!({"disabled": false, "name": "on"});
    world.engine.ops.update_rule(&world.context(), &rule, request(&change)).await.unwrap();
    world.clock.advance(MONTH);
    look(&world).await;
    let told = resets(&world).await;
    assert_eq!(told.iter().filter(|it| it.channels.len() == 1).count(), 2);
    world.engine.ops.delete_rule(&world.context(), &rule).await.unwrap();
    world.clock.advance(MONTH);
    look(&world).await;
    assert_eq!(resets(&world).await.len(), 4, "nobody wants to hear of them any more");
}

#[tokio::test]
async fn whoever_takes_resets_receives_one_webhook_a_customer_and_period() {
    let world = World::start().await;
    world.small_company(Some("100")).await;
    let outside = TaskGroup::new();
    let receiver = async || Receiver::start(&outside, Reply::ok()).await;
    let (by_name, by_star, by_rule) = (receiver().await, receiver().await, receiver().await);
    let takes_nothing = receiver().await;
    world.channel_at(&by_name.url(), &[RESET]).await;
    world.channel_at(&by_star.url(), &["*"]).await;
    world.channel_at(&takes_nothing.url(), &["entitlements.balance.threshold"]).await;
    // Taken directly and named by a rule, it is told by the rule alone.
    let named = world.channel_at(&by_rule.url(), &["*", RESET]).await;
    world.watch(&json!({"type": RESET, "channels": [named]})).await;
    let receivers = [&by_name, &by_star, &by_rule];
    for periods in 1..=3 {
        world.clock.advance(MONTH);
        look(&world).await;
        for receiver in receivers {
            receiver.wait_for(2 * periods).await;
        }
    }
    for receiver in receivers {
        let received = receiver.received();
        let bodies = received.iter().map(|it| serde_json::from_slice::<Value>(&it.body).unwrap());
        let whats = bodies.map(|it| {
            assert_eq!(it["type"], RESET);
            let text = |it: &Value| it.as_str().unwrap().to_owned();
            (text(&it["data"]["customer"]["key"]), text(&it["data"]["window"]["from"]))
        });
        let months = ["2026-04-01", "2026-05-01", "2026-06-01"];
        let expected = ["acme", "globex"]
            .into_iter()
            .flat_map(|customer| months.map(|it| (customer.to_owned(), format!("{it}T00:00:00Z"))));
        assert_eq!(sorted(whats.collect()), expected.collect::<Vec<_>>());
    }
    assert_eq!(takes_nothing.ids(), Vec::<String>::new());
    world.engine.stop_without_store().await;
    outside.stop().await;
}
