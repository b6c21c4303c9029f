//! Back-tests: what a rule would have sent is what the same rule did send.

use plimsoll_engine::ops::{problem::Problem, rule::backtest::BacktestRule};
use serde_json::{Value, json};

use super::world::{World, event, request};

impl World {
    async fn backtest(&self, rule: &Value, from: &str, to: &str) -> Result<Value, Problem> {
        let trial: BacktestRule = request(&json!({"rule": rule, "from": from, "to": to}));
        let told = self.engine.ops.backtest_rule(&self.context(), trial).await?;
        Ok(serde_json::to_value(told).unwrap())
    }
}

fn rule(channel: &str, lines: &[&str]) -> Value {
    let lines: Vec<_> =
        lines.iter().map(|it| json!({"kind": "usage_percentage", "value": it})).collect();
    json!({"name": "tried", "type": "entitlements.balance.threshold", "features": ["tokens"],
        "lines": lines, "channels": [channel], "notify_on": ["crossed", "resolved"]})
}

/// What a notification and an item of a back-test have in common.
fn in_short(at: &Value, customer: &Value, data: &Value) -> String {
    let word = |it: &Value| it.as_str().map_or_else(|| it.to_string(), str::to_owned);
    let parts = [
        at,
        customer,
        &data["line"]["value"],
        &data["line"]["level"],
        &data["edge"],
        &data["cause"],
        &data["value"]["usage"],
        &data["late"],
    ];
    parts.map(word).join(" ")
}

#[tokio::test]
async fn a_back_test_tells_what_the_same_rule_told() {
    let mut world = World::start().await;
    world.small_company(Some("100")).await;
    let channel = world.channel(None).await;
    let lines = ["20", "50", "80"];
    let live = rule(&channel, &lines);
    world.engine.ops.create_rule(&world.context(), request(&live)).await.unwrap();
    // Another rule on the same log is not told of.
    world.rule(&["10"], &json!({"channels": [channel]})).await;
    for (customer, tokens) in
        [("acme", 30), ("globex", 55), ("acme", 40), ("acme", -60), ("acme", 75), ("globex", 30)]
    {
        world.uses(customer, tokens).await;
    }
    // Into the window that is about to close, after it has.
    world.clock.advance(std::time::Duration::from_hours(30 * 24));
    world.uses("acme", 25).await;
    let mut late = event("late", "globex", &json!(70));
    late["time"] = json!("2026-03-20T00:00:00Z");
    assert_eq!(world.send(&[late]).await.unwrap().accepted, 1);

    let mut told: Vec<String> = world
        .notifications()
        .await
        .iter()
        .filter(|it| it["payload"]["data"]["rule"]["name"] == "tried")
        .map(|it| {
            let data = &it["payload"]["data"];
            in_short(&it["created_at"], &data["customer"]["id"], data)
        })
        .collect();
    told.sort();
    assert!(told.len() > 8, "{told:#?}");
    assert!(told.iter().any(|it| it.contains("resolved")));

    let (from, to) = ("2026-03-01T00:00:00Z", "2027-01-01T00:00:00Z");
    let before = world.notifications().await.len();
    let found = world.backtest(&live, from, to).await.unwrap();
    let items = found["items"].as_array().unwrap();
    let mut tried: Vec<String> =
        items.iter().map(|it| in_short(&it["at"], &it["customer"], it)).collect();
    tried.sort();
    assert_eq!(tried, told);
    assert_eq!(found["count"], told.len());
    assert_eq!(found["complete"], true);
    assert_eq!(items[0]["feature"], "tokens");
    // No side effects.
    assert_eq!(world.notifications().await.len(), before);

    // Only what happened between the dates.
    let march = world.backtest(&live, from, "2026-04-01T00:00:00Z").await.unwrap();
    let in_march = told.iter().filter(|it| it.starts_with("2026-03")).count();
    assert_eq!(
        (march["count"].as_u64().unwrap() as usize, in_march < told.len()),
        (in_march, true)
    );
    // A rule that was disabled is tried out as if it were not; a wrong one is refused.
    let mut disabled = live.clone();
    disabled["disabled"] = json!(true);
    assert_eq!(world.backtest(&disabled, from, to).await.unwrap()["count"], told.len());
    let refused = world.backtest(&live, to, from).await.unwrap_err();
    assert_eq!((refused.code.as_str(), refused.field.as_deref()), ("invalid_field", Some("to")));
}
