//! Meters: what they become for the core, and what is refused of what they measure.

use std::collections::BTreeMap;

use plimsoll_core::{
    catalog::meter::{Aggregation, Meter},
    command::ControlCommand,
    metering::bucket::Bucket,
};
use serde_json::{Value, json};

use super::{
    refusals::check,
    world::{World, id, tokens},
};

/// A meter that is good but for what a test lays over it.
fn counting() -> Value {
    json!({"key": "m", "event_type": "t", "aggregation": "count"})
}

fn last_meter(world: &World) -> Meter {
    let commands = world.partitions.control.lock().unwrap();
    let mut meters = commands.iter().rev().filter_map(|it| match it {
        ControlCommand::PutMeter(meter) => Some(meter.clone()),
        _ => None,
    });
    meters.next().unwrap()
}

#[tokio::test]
async fn the_core_gets_the_aggregation_that_the_document_says() {
    let world = World::new().await;
    let value = "$.v".parse::<plimsoll_core::catalog::meter::ValuePath>().unwrap();
    let path = || value.clone();
    let multiplier = "0.25".parse().unwrap();
    let cases = [
        (r#"{"aggregation": "count"}"#, Aggregation::Count),
        (r#"{"aggregation": "sum"}"#, Aggregation::Sum { value: path() }),
        (r#"{"aggregation": "avg"}"#, Aggregation::Average { value: path() }),
        (r#"{"aggregation": "min"}"#, Aggregation::Min { value: path() }),
        (r#"{"aggregation": "max"}"#, Aggregation::Max { value: path() }),
        (r#"{"aggregation": "latest"}"#, Aggregation::Latest { value: path() }),
        (r#"{"aggregation": "unique_count"}"#, Aggregation::UniqueCount { value: path() }),
        (r#"{"aggregation": "weighted_sum"}"#, Aggregation::WeightedSum { value: path() }),
        (
            r#"{"aggregation": "sum_with_multiplier", "multiplier": 0.250}"#,
            Aggregation::SumWithMultiplier { value: path(), multiplier },
        ),
        (
            r#"{"aggregation": "sum", "bucket": "15min"}"#,
            Aggregation::BucketedSum { value: path(), bucket: Bucket::Minutes15 },
        ),
        (
            r#"{"aggregation": "max", "bucket": "month"}"#,
            Aggregation::BucketedMax { value: path(), bucket: Bucket::Month },
        ),
    ];
    for (index, (document, expected)) in cases.into_iter().enumerate() {
        let mut body: Value = serde_json::from_str(document).unwrap();
        body["key"] = json!(format!("m{index}"));
        body["event_type"] = json!("t");
        if expected != Aggregation::Count {
            body["value_property"] = json!("$.v");
        }
        let shown = world.live.post("/meters", body).await.unwrap();
        assert_eq!(last_meter(&world).aggregation, expected, "{shown}");
        assert_eq!(last_meter(&world).id.to_string(), id(&shown));
    }
    let before = world.live.items("/meters").await;
    let world = world.reopen().await;
    assert_eq!(world.live.items("/meters").await, before);
}

#[tokio::test]
async fn group_keys_stand_in_the_order_of_their_names() {
    let world = World::new().await;
    let mut body = counting();
    body["group_by"] = json!({"region": "$.region", "model": "$['the.model']", "A-1_b.c": "$.x"});
    body["filters"] = json!([{"property": "$.b", "values": ["2", "1"]},
        {"property": "$.a", "values": [""]}]);
    let shown = world.live.post("/meters", body.clone()).await.unwrap();
    assert_eq!(shown["group_by"], body["group_by"]);
    assert_eq!(shown["filters"], body["filters"]);
    let meter = last_meter(&world);
    let names: Vec<&str> = meter.group_by.iter().map(|it| &*it.name).collect();
    assert_eq!(names, ["A-1_b.c", "model", "region"]);
    assert_eq!(meter.group_by[1].path, "$['the.model']".parse().unwrap());
    assert_eq!(meter.filters[0].path, "$.b".parse().unwrap());
    let values: Vec<&str> = meter.filters[0].values.iter().map(AsRef::as_ref).collect();
    assert_eq!(values, ["2", "1"]);
    // Another name changes nothing of what it measures, and does not bother the partitions.
    let renamed = world.live.patch("/meters/m", json!({"name": "other"})).await.unwrap();
    assert_eq!(renamed["group_by"], shown["group_by"]);
    assert_eq!(last_meter(&world), meter);
}

#[tokio::test]
async fn fields_that_do_not_go_with_the_aggregation_are_refused() {
    let World { live, .. } = &World::new().await;
    tokens(live).await;
    let table = r#"
        POST /meters {"aggregation": "latest"} -> value_property_required value_property
        POST /meters {"multiplier": "2"} -> multiplier_not_allowed multiplier
        POST /meters {"bucket": "hour"} -> bucket_not_allowed bucket
        PATCH /meters/tokens {"multiplier": "2"} -> field_immutable multiplier
        PATCH /meters/tokens {"bucket": "day"} -> field_immutable bucket
        PATCH /meters/tokens {"group_by": {}} -> field_immutable group_by
        PATCH /meters/tokens {"filters": []} -> field_immutable filters
    "#;
    check(live, counting(), table).await;
    let good = json!({"key": "m", "event_type": "t", "aggregation": "sum_with_multiplier",
        "value_property": "$.a", "multiplier": "2"});
    let table = r#"
        POST /meters {"multiplier": null} -> multiplier_required multiplier
        POST /meters {"multiplier": "0"} -> invalid_multiplier multiplier
        POST /meters {"multiplier": -1} -> invalid_multiplier multiplier
        POST /meters {"multiplier": "many"} -> invalid_field multiplier
        POST /meters {"bucket": "day"} -> bucket_not_allowed bucket
        POST /meters {"aggregation": "sum"} -> multiplier_not_allowed multiplier
        POST /meters {"aggregation": "max", "multiplier": null, "bucket": "year"} ->
            unknown_bucket bucket
    "#;
    check(live, good, table).await;
}

#[tokio::test]
async fn group_keys_without_name_or_path_are_refused() {
    let World { live, .. } = &World::new().await;
    let table = r#"
        POST /meters {"group_by": ["$.a"]} -> invalid_field group_by
        POST /meters {"group_by": {"a": 1}} -> invalid_field group_by.a
        POST /meters {"group_by": {"": "$.a"}} -> invalid_group_by group_by.
        POST /meters {"group_by": {"a b": "$.a"}} -> invalid_group_by group_by.a b
        POST /meters {"group_by": {"LONG": "$.a"}} -> invalid_group_by group_by.LONG
        POST /meters {"group_by": {"a": "a"}} -> invalid_group_by group_by.a
        POST /meters {"group_by": {"a": "$.a[0]"}} -> invalid_group_by group_by.a
        POST /meters {"group_by": NINE} -> too_many_items group_by
    "#;
    let nine: BTreeMap<_, _> = (0..9).map(|it| (format!("k{it}"), "$.a")).collect();
    let table = table.replace("LONG", &"k".repeat(65)).replace("NINE", &json!(nine).to_string());
    check(live, counting(), &table).await;
}

#[tokio::test]
async fn filters_that_cannot_be_applied_are_refused() {
    let World { live, .. } = &World::new().await;
    let table = r#"
        POST /meters {"filters": {"$.a": ["b"]}} -> invalid_field filters
        POST /meters {"filters": [{"values": ["b"]}]} -> missing_field filters[0].property
        POST /meters {"filters": [{"property": "$.a"}]} -> missing_field filters[0].values
        POST /meters {"filters": [{"property": "$.a", "values": ["b"], "not": true}]} ->
            unknown_field filters[0].not
        POST /meters {"filters": [{"property": "a", "values": ["b"]}]} ->
            invalid_filter filters[0].property
        POST /meters {"filters": [{"property": "$.a", "values": []}]} ->
            invalid_filter filters[0].values
        POST /meters {"filters": [{"property": "$.a", "values": [7]}]} ->
            invalid_field filters[0].values[0]
        POST /meters {"filters": [{"property": "$.a", "values": ["b", "b"]}]} ->
            invalid_filter filters[0].values[1]
        POST /meters {"filters": [{"property": "$.a", "values": ["VALUE"]}]} ->
            invalid_filter filters[0].values[0]
        POST /meters {"filters": [{"property": "$.a", "values": VALUES}]} ->
            too_many_items filters[0].values
        POST /meters {"filters": [{"property": "$.a", "values": ["b"]},
            {"property": "$['a']", "values": ["c"]}]} -> invalid_filter filters[1].property
        POST /meters {"filters": CONDITIONS} -> too_many_items filters
    "#;
    let values: Vec<_> = (0..101).map(|it| it.to_string()).collect();
    let condition = |it: u32| json!({"property": format!("$.p{it}"), "values": ["b"]});
    let conditions: Vec<_> = (0..9).map(condition).collect();
    let table = table
        .replace("VALUES", &json!(values).to_string())
        .replace("VALUE", &"v".repeat(257))
        .replace("CONDITIONS", &json!(conditions).to_string());
    check(live, counting(), &table).await;
}

#[tokio::test]
async fn a_right_to_what_cannot_be_limited_is_refused() {
    let World { live, .. } = &World::new().await;
    live.post("/customers", json!({"key": "a"})).await.unwrap();
    for aggregation in ["avg", "min", "weighted_sum"] {
        let meter = json!({"key": aggregation, "event_type": "t", "aggregation": aggregation,
            "value_property": "$.v"});
        live.post("/meters", meter).await.unwrap();
        let feature = json!({"key": aggregation, "type": "metered", "meter": aggregation});
        live.post("/features", feature).await.unwrap();
    }
    let table = r#"
        POST /customers/a/entitlements {"feature": "avg"} -> aggregation_not_limitable feature
        POST /customers/a/entitlements {"feature": "min"} -> aggregation_not_limitable feature
        POST /customers/a/entitlements {"feature": "weighted_sum"} ->
            aggregation_not_limitable feature
    "#;
    check(live, json!({"type": "metered", "usage_period": {"interval": "month"}}), table).await;
}
