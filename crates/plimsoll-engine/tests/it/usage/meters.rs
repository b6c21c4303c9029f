//! Every aggregation from the event to the entitlement's value, and which events a meter measures.

use std::time::Duration;

use serde_json::{Value, json};

use super::world::World;

/// A customer `acme` with an unlimited right to what this meter measures, made a day ago.
async fn measured_by(meter: &Value) -> World {
    let world = World::start().await;
    world.measure("it", meter).await;
    world.customer("acme").await;
    world.entitle_to("acme", "it", &json!({})).await;
    world.clock.advance(Duration::from_hours(24));
    world
}

/// Usage after events with these values; `9@11:05` has its time on the 11th of March, today.
async fn check(meter: Value, values: &[&str], usage: &str) {
    let mut world = measured_by(&meter).await;
    for value in values {
        let (value, time) = match value.split_once('@') {
            Some((value, time)) => (value, Some(format!("2026-03-11T{time}:00Z"))),
            None => (*value, None),
        };
        let value: Value = serde_json::from_str(value).unwrap();
        world.sends_at("acme", time.as_deref(), &json!({"v": value})).await;
    }
    assert_eq!(world.usage_of("acme", "it").await, usage, "{meter} {values:?}");
    world.crash().await;
    assert_eq!(world.usage_of("acme", "it").await, usage, "{meter} after a restart");
}

#[tokio::test]
async fn each_aggregation_comes_to_its_value() {
    let of = |aggregation: &str| json!({"aggregation": aggregation, "value_property": "$.v"});
    check(json!({"aggregation": "count"}), &["1", "null", "\"x\""], "3").await;
    check(of("sum"), &["5", "-2", "\"4.5\"", "null", "\"many\""], "7.5").await;
    check(of("max"), &["3", "9.25", "4"], "9.25").await;
    check(of("latest"), &["5@09:00", "7@08:00"], "5").await;
    check(of("latest"), &["5@09:00", "7@10:00", "6@10:00"], "6").await;
    check(of("unique_count"), &["\"a\"", "\"b\"", "\"a\"", "7", "\"7\"", "{}"], "3").await;
    let mut multiplied = of("sum_with_multiplier");
    multiplied["multiplier"] = json!("0.5");
    check(multiplied, &["10", "3"], "6.5").await;
}

#[tokio::test]
async fn buckets_add_up_to_the_value() {
    let of = |aggregation: &str, bucket: &str| {
        json!({"aggregation": aggregation,
        "value_property": "$.v", "bucket": bucket})
    };
    let values = ["4@10:05", "9@10:10", "2@11:00", "5@10:59"];
    check(of("sum", "hour"), &values, "20").await;
    check(of("max", "hour"), &values, "11").await;
    check(of("max", "30min"), &values, "16").await;
    check(of("max", "day"), &values, "9").await;
}

#[tokio::test]
async fn a_meter_measures_what_passes_all_its_filters() {
    let filters = json!([{"property": "$.model", "values": ["small", "large"]},
        {"property": "$['paid']", "values": ["true"]}]);
    let meter = json!({"aggregation": "sum", "value_property": "$.v", "filters": filters});
    let mut world = measured_by(&meter).await;
    let events = [
        json!({"v": 1, "model": "small", "paid": true}),
        json!({"v": 2, "model": "large", "paid": "true"}),
        json!({"v": 4, "model": "large", "paid": false}),
        json!({"v": 8, "model": "other", "paid": true}),
        json!({"v": 16, "paid": true}),
        json!({"v": 32}),
    ];
    for event in &events {
        world.sends("acme", event).await;
    }
    assert_eq!(world.usage_of("acme", "it").await, "3");
}

#[tokio::test]
async fn meters_on_one_event_do_not_disturb_each_other() {
    let mut world = measured_by(&json!({"aggregation": "count"})).await;
    let meter = json!({"aggregation": "max", "value_property": "$.v"});
    world.measure("peak", &meter).await;
    world.entitle_to("acme", "peak", &json!({})).await;
    for value in [3, 8, 5] {
        world.sends("acme", &json!({"v": value})).await;
    }
    assert_eq!(world.usage_of("acme", "it").await, "3");
    assert_eq!(world.usage_of("acme", "peak").await, "8");
}
