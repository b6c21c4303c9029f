//! Every kind of line and typed rule from the event to what is told, on all usage and on groups.

use serde_json::{Value, json};

use super::world::{World, request};

/// A customer `acme` with a limit of 100 tokens a month, which can be told apart by model.
async fn by_model() -> World {
    let world = World::start().await;
    let meter = json!({"aggregation": "sum", "value_property": "$.tokens",
        "group_by": {"model": "$.model", "region": "$.region"}});
    world.measure("tokens", &meter).await;
    world.customer("acme").await;
    world.entitle_to("acme", "tokens", &json!({"limit": "100"})).await;
    world
}

async fn uses(world: &mut World, tokens: i64, model: Option<&str>) {
    world.sends("acme", &json!({"tokens": tokens, "model": model})).await;
}

fn on(lines: &Value) -> Value {
    json!({"features": ["tokens"], "lines": lines})
}

#[tokio::test]
async fn a_line_on_one_group_value_watches_the_usage_with_it() {
    let mut world = by_model().await;
    let large = json!({"key": "model", "value": "large"});
    let lines = json!([
        {"kind": "usage_value", "value": "30", "group": large},
        {"kind": "usage_percentage", "value": "50", "group": large},
        {"kind": "every", "value": "20", "group": large},
    ]);
    world.watch(&on(&lines)).await;
    uses(&mut world, 90, Some("small")).await;
    uses(&mut world, 90, None).await;
    uses(&mut world, 29, Some("large")).await;
    assert_eq!(world.told().await, ["every 20 model=large step=20 count=1"]);
    uses(&mut world, 1, Some("large")).await;
    world.crash().await;
    uses(&mut world, 25, Some("large")).await;
    let expected = [
        "every 20 model=large step=20 count=1",
        "every 20 model=large step=40 count=1",
        "usage_percentage 50 model=large",
        "usage_value 30 model=large",
    ];
    assert_eq!(world.told().await, expected);
}

#[tokio::test]
async fn a_line_on_each_group_value_fires_for_each_by_itself() {
    let mut world = by_model().await;
    let each = json!({"key": "model"});
    let lines = json!([{"kind": "usage_value", "value": "30", "group": each},
        {"kind": "usage_value", "value": "80", "group": {"key": "region"}},
        {"kind": "usage_value", "value": "60"}]);
    world.watch(&on(&lines)).await;
    uses(&mut world, 29, Some("small")).await;
    uses(&mut world, 30, Some("large")).await;
    assert_eq!(world.told().await, ["usage_value 30 model=large"]);
    uses(&mut world, 1, Some("small")).await;
    uses(&mut world, 50, Some("large")).await;
    let expected = ["usage_value 30 model=large", "usage_value 30 model=small", "usage_value 60"];
    assert_eq!(world.told().await, expected);
    let all = world.notifications().await;
    let mut data = all.iter().map(|it| &it["payload"]["data"]);
    let of_large = data.find(|it| it["line"]["group"]["value"] == "large").unwrap();
    assert_eq!(of_large["value"]["usage"], "30", "what that group has used");
    assert_eq!(of_large["previous_usage"], "0");
}

#[tokio::test]
async fn row_3_every_tells_of_the_highest_multiple_and_how_many_were_passed() {
    let mut world = by_model().await;
    world.watch(&on(&json!([{"kind": "every", "value": "100"}]))).await;
    uses(&mut world, 99, None).await;
    assert_eq!(world.told().await, Vec::<String>::new());
    uses(&mut world, 151, None).await;
    assert_eq!(world.told().await, ["every 100 step=200 count=2"]);
    uses(&mut world, 50, None).await;
    world.crash().await;
    uses(&mut world, 1, None).await;
    let expected = ["every 100 step=200 count=2", "every 100 step=300 count=1"];
    assert_eq!(world.told().await, expected, "landing on a multiple tells once");
}

#[tokio::test]
async fn a_balance_falls_to_its_percentage() {
    let mut world = by_model().await;
    let lines = json!([{"kind": "balance_percentage", "value": "20"},
        {"kind": "balance_percentage", "value": "0"}]);
    world.watch(&on(&lines)).await;
    uses(&mut world, 79, None).await;
    assert_eq!(world.told().await, Vec::<String>::new());
    uses(&mut world, 1, None).await;
    assert_eq!(world.told().await, ["balance_percentage 20"]);
    uses(&mut world, 20, None).await;
    assert_eq!(world.told().await, ["balance_percentage 0", "balance_percentage 20"]);
}

#[tokio::test]
async fn row_10_what_is_no_longer_reached_is_told_where_the_rule_wants_it() {
    let mut world = by_model().await;
    let mut rule = on(&json!([{"kind": "usage_value", "value": "50"}]));
    rule["notify_on"] = json!(["crossed", "resolved"]);
    rule["hysteresis"] = json!("10");
    world.watch(&rule).await;
    for tokens in [60, -20, -1, 30] {
        uses(&mut world, tokens, None).await;
    }
    let expected = ["usage_value 50", "usage_value 50", "usage_value 50 resolved"];
    assert_eq!(world.told().await, expected, "40 is within the hysteresis, 39 is not");
    let all = world.notifications().await;
    assert!(all.iter().all(|it| it["deliveries"].as_array().unwrap().len() == 1), "{all:?}");
}

#[tokio::test]
async fn rules_about_the_limit_warn_and_tell_when_it_is_reached() {
    let mut world = by_model().await;
    for (kind, extra) in [
        ("entitlement.limit.warning", json!({})),
        ("entitlement.limit.warning", json!({"warning_percentage": "90"})),
        ("entitlement.limit.reached", json!({})),
    ] {
        let mut rule = json!({"type": kind});
        rule.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        world.watch(&rule).await;
    }
    let mut told = Vec::new();
    for tokens in [79, 1, 9, 1, 10] {
        uses(&mut world, tokens, None).await;
        told.push(world.notifications().await.len());
    }
    assert_eq!(told, [0, 1, 1, 2, 3]);
    let warning = "entitlement.limit.warning";
    assert_eq!(world.told().await, ["entitlement.limit.reached", warning, warning]);
}

#[tokio::test]
async fn a_line_that_gets_another_group_is_another_line() {
    let mut world = by_model().await;
    let line = |group: Option<&str>| match group {
        Some(value) => json!([{"kind": "usage_value", "value": "30",
            "group": {"key": "model", "value": value}}]),
        None => json!([{"kind": "usage_value", "value": "30"}]),
    };
    let rule = world.watch(&on(&line(None))).await;
    uses(&mut world, 40, Some("large")).await;
    let change = json!({"lines": line(Some("large"))});
    world.engine.ops.update_rule(&world.context(), &rule, request(&change)).await.unwrap();
    world.until_told(2).await;
    let expected = ["usage_value 30", "usage_value 30 model=large line_added"];
    assert_eq!(world.told().await, expected);
    let change = json!({"name": "another", "lines": line(Some("large"))});
    world.engine.ops.update_rule(&world.context(), &rule, request(&change)).await.unwrap();
    uses(&mut world, 1, Some("large")).await;
    assert_eq!(world.told().await, expected, "the same line has fired already");
}
