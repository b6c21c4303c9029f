//! Rows of the truth table (design 5.3) that need more than the core: dedupe, crashes, channels.

use serde_json::{Value, json};

use super::world::{World, event, request};

#[tokio::test]
async fn a_crossing_says_which_event_crossed() {
    let mut world = World::start().await;
    world.small_company(Some("1000")).await;
    world.rule(&["80", "100"], &json!({})).await;
    world.uses("acme", 790).await;
    let crossing = with_time(event("the-one", "acme", &json!(22)));
    assert_eq!(world.send(&[crossing]).await.unwrap().accepted, 1);
    let all = world.notifications().await;
    assert_eq!(all.len(), 1);
    let data = &all[0]["payload"]["data"];
    assert_eq!(all[0]["payload"]["timestamp"], "2026-03-10T12:00:00Z");
    assert_eq!(
        data["crossed_by"],
        json!({"source": "test", "id": "the-one", "subject": "acme",
        "time": "2026-03-10T11:59:00Z"})
    );
    assert_eq!(
        data["value"],
        json!({"usage": "812", "limit": "1000", "balance": "188",
        "overage": "0"})
    );
    assert_eq!(data["line"], json!({"kind": "usage_percentage", "value": "80", "level": "800"}));
    assert_eq!(data["previous_usage"], "790");
    assert_eq!(
        data["window"],
        json!({"from": "2026-03-01T00:00:00Z",
        "to": "2026-04-01T00:00:00Z"})
    );
    for (field, value) in [
        ("/customer/key", "acme"),
        ("/feature/key", "tokens"),
        ("/entitlement/limit", "1000"),
        ("/rule/name", "lines"),
        ("/cause", "usage"),
    ] {
        assert_eq!(data.pointer(field).and_then(Value::as_str), Some(value), "{field}");
    }
}

fn with_time(mut event: Value) -> Value {
    event["time"] = json!("2026-03-10T11:59:00Z");
    event
}

#[tokio::test]
async fn row_14_a_duplicate_event_does_nothing() {
    let world = World::start().await;
    world.small_company(Some("100")).await;
    world.rule(&["50"], &json!({})).await;
    let once = event("a", "acme", &json!(30));
    let twice = with_time(event("a", "acme", &json!(999)));
    let answer = world.send(&[once.clone(), twice.clone(), once]).await.unwrap();
    assert_eq!((answer.accepted, answer.duplicates), (1, 2));
    let again = world.send(&[twice]).await.unwrap();
    assert_eq!((again.accepted, again.duplicates), (0, 1));
    assert_eq!(world.usage("acme").await, "30");
    assert_eq!(world.crossings().await, Vec::<String>::new());
    // The same id of another customer is another event.
    let other = world.send(&[event("a", "globex", &json!(60))]).await.unwrap();
    assert_eq!(other.accepted, 1);
    assert_eq!(world.crossings().await, ["50 crossed usage"]);
}

#[tokio::test]
async fn row_15_after_a_crash_the_same_notifications_exist_once() {
    let mut world = World::start().await;
    world.small_company(Some("100")).await;
    world.rule(&["50", "80"], &json!({})).await;
    let events = [event("a", "acme", &json!(55)), event("b", "globex", &json!(10))];
    world.send(&events).await.unwrap();
    world.crash().await;
    assert_eq!(world.usage("acme").await, "55");
    assert_eq!(world.send(&events).await.unwrap().duplicates, 2);
    world.uses("acme", 30).await;
    world.crash().await;
    assert_eq!(world.usage("acme").await, "85");
    assert_eq!(world.crossings().await, ["50 crossed usage", "80 crossed usage"]);
}

#[tokio::test]
async fn row_16_a_disabled_rule_records_and_sends_nothing() {
    let mut world = World::start().await;
    world.small_company(Some("100")).await;
    let rule = world.rule(&["50"], &json!({"disabled": true})).await;
    world.uses("acme", 60).await;
    let all = world.notifications().await;
    assert_eq!(all[0]["reason"], "rule_disabled");
    assert_eq!(all[0]["deliveries"], json!([]));
    let change = json!({"disabled": false});
    world.engine.ops.update_rule(&world.context(), &rule, request(&change)).await.unwrap();
    world.uses("globex", 1).await;
    world.until_told(2).await;
    let expected = ["50 crossed rule_enabled", "50 crossed usage rule_disabled"];
    assert_eq!(world.crossings().await, expected);
}

#[tokio::test]
async fn row_17_a_disabled_channel_fails_without_an_attempt() {
    let mut world = World::start().await;
    world.small_company(Some("100")).await;
    let channel = world.channel(None).await;
    world.rule(&["50"], &json!({"channels": [channel]})).await;
    let change = json!({"disabled": true});
    world.engine.ops.update_channel(&world.context(), &channel, request(&change)).await.unwrap();
    world.uses("acme", 60).await;
    let deliveries = &world.notifications().await[0]["deliveries"];
    assert_eq!(deliveries[0]["state"], "FAILED");
    assert_eq!(deliveries[0]["error"], "channel_disabled");
    assert_eq!(deliveries[0]["attempts"], json!([]));
}

#[tokio::test]
async fn row_9_a_rule_that_is_made_late_fires_for_those_who_are_past_it() {
    let mut world = World::start().await;
    world.small_company(Some("100")).await;
    world.uses("acme", 60).await;
    world.rule(&["50"], &json!({})).await;
    world.until_told(1).await;
    assert_eq!(world.crossings().await, ["50 crossed rule_created"]);
    world.rule(&["40"], &json!({"evaluate_on_create": false})).await;
    world.uses("acme", 1).await;
    assert_eq!(world.crossings().await, ["50 crossed rule_created"]);
}

#[tokio::test]
async fn rows_6_to_8_a_changed_limit_moves_the_lines() {
    let mut world = World::start().await;
    world.small_company(Some("100")).await;
    world.rule(&["80"], &json!({})).await;
    world.uses("acme", 90).await;
    let limit = |limit: &str| request(&json!({"limit": limit}));
    let (ops, context) = (world.engine.ops.clone(), world.context());
    ops.update_entitlement(&context, "acme", "tokens", limit("200")).await.unwrap();
    ops.update_entitlement(&context, "acme", "tokens", limit("110")).await.unwrap();
    let expected = [
        "80 crossed limit_changed",
        "80 crossed usage",
        "80 resolved limit_changed resolved_not_wanted",
    ];
    assert_eq!(world.crossings().await, expected);
}

#[tokio::test]
async fn row_5_a_new_period_arms_every_line() {
    let mut world = World::start().await;
    world.small_company(Some("100")).await;
    let channel = world.channel_for(&[]).await;
    world.rule(&["80"], &json!({"channels": [channel]})).await;
    world.uses("acme", 90).await;
    world.clock.advance(std::time::Duration::from_hours(30 * 24));
    assert_eq!(world.usage("acme").await, "0");
    world.uses("acme", 85).await;
    assert_eq!(world.crossings().await, ["80 crossed usage", "80 crossed usage"]);
}

#[tokio::test]
async fn row_1_a_balance_that_comes_down_to_exactly_nothing_fires() {
    let mut world = World::start().await;
    world.small_company(Some("100")).await;
    let lines = json!({"lines": [{"kind": "balance_value", "value": "0"}]});
    world.rule(&[], &lines).await;
    world.uses("acme", 99).await;
    assert_eq!(world.crossings().await, Vec::<String>::new());
    world.uses("acme", 1).await;
    world.uses("acme", 1).await;
    assert_eq!(world.crossings().await, ["0 crossed usage"]);
}
