//! Row 11 of the truth table: a late event changes the window that it belongs to, and no other.

use std::time::Duration;

use serde_json::json;

use super::world::World;

const IN_MARCH: Option<&str> = Some("2026-03-20T08:00:00Z");

/// `acme` used 70 of 100 tokens in March and 5 in April. It is the 9th of April.
async fn in_april() -> World {
    let mut world = World::start().await;
    let meter = json!({"aggregation": "sum", "value_property": "$.tokens",
        "group_by": {"model": "$.model"}});
    world.measure("tokens", &meter).await;
    world.customer("acme").await;
    world.entitle_to("acme", "tokens", &json!({"limit": "100"})).await;
    let lines = json!([{"kind": "usage_percentage", "value": "80"},
        {"kind": "every", "value": "50"},
        {"kind": "usage_value", "value": "20", "group": {"key": "model"}}]);
    world.watch(&json!({"lines": lines})).await;
    world.sends("acme", &json!({"tokens": 70})).await;
    world.clock.advance(Duration::from_hours(30 * 24));
    world.sends("acme", &json!({"tokens": 5})).await;
    assert_eq!(world.told().await, ["every 50 step=50 count=1"]);
    world
}

#[tokio::test]
async fn row_11_a_late_event_crosses_lines_in_its_window_and_leaves_the_present_alone() {
    let mut world = in_april().await;
    world.sends_at("acme", IN_MARCH, &json!({"tokens": 9, "model": "large"})).await;
    assert_eq!(world.told().await.len(), 1, "79 is below all lines");
    world.sends_at("acme", IN_MARCH, &json!({"tokens": 21, "model": "large"})).await;
    let expected = [
        "every 50 step=100 count=1 late",
        "every 50 step=50 count=1",
        "usage_percentage 80 late",
        "usage_value 20 model=large late",
    ];
    assert_eq!(world.told().await, expected);
    let all = world.notifications().await;
    let late = all.iter().find(|it| it["payload"]["data"]["line"]["kind"] == "usage_percentage");
    let data = &late.unwrap()["payload"]["data"];
    assert_eq!(data["late"], true);
    assert_eq!(data["window"]["from"], "2026-03-01T00:00:00Z");
    assert_eq!(data["window"]["to"], "2026-04-01T00:00:00Z");
    assert_eq!(data["value"]["usage"], "100");
    assert_eq!(data["previous_usage"], "79");
    assert_eq!(data["crossed_by"]["time"], "2026-03-20T08:00:00Z");
    assert_eq!(world.usage_of("acme", "tokens").await, "5");
    // The lines of April have not fired: they do when April comes to them.
    world.sends("acme", &json!({"tokens": 76})).await;
    let expected = [
        "every 50 step=100 count=1 late",
        "every 50 step=50 count=1",
        "every 50 step=50 count=1",
        "usage_percentage 80",
        "usage_percentage 80 late",
        "usage_value 20 model=large late",
    ];
    assert_eq!(world.told().await, expected);
}

#[tokio::test]
async fn row_11_the_window_is_found_again_after_a_restart() {
    let mut world = in_april().await;
    world.crash().await;
    world.sends_at("acme", IN_MARCH, &json!({"tokens": 10})).await;
    let expected = ["every 50 step=50 count=1", "usage_percentage 80 late"];
    assert_eq!(world.told().await, expected);
    world.crash().await;
    // What the late event did is not undone by the replay, nor done twice.
    world.sends_at("acme", IN_MARCH, &json!({"tokens": 19})).await;
    assert_eq!(world.told().await, expected, "99 is no multiple of 50");
    world.sends_at("acme", IN_MARCH, &json!({"tokens": 1})).await;
    let expected =
        ["every 50 step=100 count=1 late", "every 50 step=50 count=1", "usage_percentage 80 late"];
    assert_eq!(world.told().await, expected);
    assert_eq!(world.usage_of("acme", "tokens").await, "5");
}

#[tokio::test]
async fn row_11_newer_limits_and_rules_do_not_apply_to_what_has_closed() {
    let mut world = in_april().await;
    let limit = super::world::request(&json!({"limit": "1000"}));
    let (ops, context) = (world.engine.ops.clone(), world.context());
    ops.update_entitlement(&context, "acme", "tokens", limit).await.unwrap();
    world.watch(&json!({"lines": [{"kind": "usage_value", "value": "75"}]})).await;
    world.sends_at("acme", IN_MARCH, &json!({"tokens": 10})).await;
    let expected = ["every 50 step=50 count=1", "usage_percentage 80 late"];
    assert_eq!(world.told().await, expected);
}

#[tokio::test]
async fn row_11_a_late_correction_resolves_late() {
    let mut world = in_april().await;
    world.sends_at("acme", IN_MARCH, &json!({"tokens": 10})).await;
    world.sends_at("acme", IN_MARCH, &json!({"tokens": -1})).await;
    let expected = [
        "every 50 step=50 count=1",
        "usage_percentage 80 late",
        "usage_percentage 80 resolved late resolved_not_wanted",
    ];
    assert_eq!(world.told().await, expected);
}

#[tokio::test]
async fn an_event_of_a_window_in_which_nothing_was_used_counts_there() {
    let mut world = World::start().await;
    world.small_company(Some("100")).await;
    world.watch(&json!({"lines": [{"kind": "usage_percentage", "value": "80"}]})).await;
    world.clock.advance(Duration::from_hours(30 * 24));
    assert_eq!(world.usage("acme").await, "0");
    world.sends_at("acme", IN_MARCH, &json!({"tokens": 85})).await;
    assert_eq!(world.told().await, ["usage_percentage 80 late"]);
    assert_eq!(world.usage("acme").await, "0");
}
