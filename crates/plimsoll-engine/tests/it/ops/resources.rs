//! Resources are made, read by key and id, listed in pages, changed, deleted, and still there after
//! a restart; and nobody sees those of another environment.

use plimsoll_core::{
    entitlement::{Measure, period::Window},
    time::Timestamp,
};
use serde_json::{Value, json};

use super::world::{World, channel_of, code, id, tokens};
use plimsoll_engine::ops::problem::ProblemCode;

/// One of each kind; where each can be read.
async fn one_of_each(world: &World) -> Vec<(&'static str, String)> {
    let live = &world.live;
    tokens(live).await;
    let customer = json!({"key": "acme", "name": "Acme", "subjects": ["acme-prod"]});
    live.post("/customers", customer).await.unwrap();
    let entitlement = json!({"feature": "tokens", "type": "metered", "limit": "1000",
        "usage_period": {"interval": "month"}});
    live.post("/customers/acme/entitlements", entitlement).await.unwrap();
    let channel = channel_of(live, "ops").await;
    let rule = json!({"name": "80 and 100", "type": "entitlements.balance.threshold",
        "features": ["tokens"], "channels": [channel],
        "lines": [{"kind": "usage_percentage", "value": "80"}]});
    let rule = id(&live.post("/rules", rule).await.unwrap());
    let key = json!({"name": "reader", "scopes": ["read"]});
    let key = id(&live.post("/api-keys", key).await.unwrap());
    vec![
        ("/meters", "tokens".to_owned()),
        ("/features", "tokens".to_owned()),
        ("/customers", "acme".to_owned()),
        ("/customers/acme/entitlements", "tokens".to_owned()),
        ("/channels", channel),
        ("/rules", rule),
        ("/api-keys", key),
    ]
}

#[tokio::test]
async fn what_was_made_is_there_by_key_and_id_and_after_a_restart() {
    let world = World::new().await;
    let all = one_of_each(&world).await;
    let mut before = Vec::new();
    for (path, name) in &all {
        let document = world.live.get(&format!("{path}/{name}")).await.unwrap();
        let by_id = world.live.get(&format!("{path}/{}", id(&document))).await.unwrap();
        assert_eq!(document, by_id, "{path}");
        let items = world.live.items(path).await;
        assert!(items.contains(&document), "{path} lists {items:?}");
        before.push(document);
    }
    let world = world.reopen().await;
    for ((path, name), before) in all.iter().zip(before) {
        assert_eq!(world.live.get(&format!("{path}/{name}")).await.unwrap(), before, "{path}");
        assert!(world.live.items(path).await.contains(&before), "{path}");
    }
}

#[tokio::test]
async fn nobody_sees_another_environment() {
    let world = World::new().await;
    let all = one_of_each(&world).await;
    for (path, name) in &all {
        let document = world.live.get(&format!("{path}/{name}")).await.unwrap();
        for name in [name, &id(&document)] {
            let path = format!("{path}/{name}");
            let body = json!({}).to_string();
            let methods = if path.starts_with("/api-keys") {
                &["GET", "DELETE"][..]
            } else {
                &["GET", "PATCH", "DELETE"]
            };
            for method in methods {
                let result = world.sandbox.send(method, &path, body.as_bytes(), None).await;
                assert_eq!(code(result), Some(ProblemCode::NotFound), "{method} {path}");
            }
        }
        if *path != "/customers/acme/entitlements" {
            let items = world.sandbox.items(path).await;
            assert!(!items.contains(&document), "{path} lists {items:?}");
        }
    }
    let audit = world.sandbox.items("/audit").await;
    assert!(audit.iter().all(|it| it["action"] != "meter.create"), "{audit:?}");
}

#[tokio::test]
async fn lists_come_in_pages() {
    let world = World::new().await;
    for number in 0..7 {
        let meter = json!({"key": format!("m{number}"), "event_type": "t", "aggregation": "count"});
        world.live.post("/meters", meter).await.unwrap();
        world.live.post("/customers", json!({"key": format!("c{number}")})).await.unwrap();
    }
    for path in ["/meters", "/customers", "/audit"] {
        let all = world.live.items(&format!("{path}?limit=1000")).await;
        let mut read = Vec::new();
        let mut cursor = String::new();
        loop {
            let page = world.live.get(&format!("{path}?limit=3{cursor}")).await.unwrap();
            let items = page["items"].as_array().unwrap();
            assert!(items.len() <= 3, "{path}");
            read.extend(items.clone());
            let Some(next) = page["next_cursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        assert_eq!(read, all, "{path}");
    }
}

#[tokio::test]
async fn a_patch_changes_what_it_names() {
    let world = World::new().await;
    let meter = json!({"key": "m", "name": "old", "event_type": "t", "aggregation": "count",
        "metadata": {"a": "1", "b": "2"}});
    let before = world.live.post("/meters", meter).await.unwrap();
    world.clock.advance(std::time::Duration::from_mins(1));
    let patch = json!({"metadata": {"a": null, "c": "3"}});
    let after = world.live.patch("/meters/m", patch).await.unwrap();
    assert_eq!(after["name"], "old");
    assert_eq!(after["metadata"], json!({"b": "2", "c": "3"}));
    assert_eq!(after["created_at"], before["created_at"]);
    assert_eq!(after["updated_at"], "2026-03-01T12:01:00Z");
    let after = world.live.patch("/meters/m", json!({"metadata": null})).await.unwrap();
    assert_eq!(after["metadata"], json!({}));
}

#[tokio::test]
async fn a_deleted_key_can_be_used_again() {
    let world = World::new().await;
    tokens(&world.live).await;
    world.live.delete("/features/tokens").await.unwrap();
    world.live.delete("/meters/tokens").await.unwrap();
    assert_eq!(code(world.live.get("/meters/tokens").await), Some(ProblemCode::NotFound));
    assert!(world.live.items("/meters").await.is_empty());
    tokens(&world.live).await;
    let world = world.reopen().await;
    assert_eq!(world.live.items("/meters").await.len(), 1);
}

#[tokio::test]
async fn the_audit_trail_says_who_changed_what() {
    let world = World::new().await;
    tokens(&world.live).await;
    world.live.patch("/meters/tokens", json!({"name": "T"})).await.unwrap();
    let entry = &world.live.items("/audit").await[0];
    assert_eq!(entry["action"], "meter.update");
    assert_eq!(entry["actor"], world.live.caller.key.to_string());
    assert_eq!(entry["resource"]["kind"], "meter");
    assert_eq!(entry["before"]["name"], "Tokens");
    assert_eq!(entry["after"]["name"], "T");
    assert_eq!(entry["at"], super::world::BEGIN);
}

#[tokio::test]
async fn values_are_shown_by_the_type_of_the_entitlement() {
    let world = World::new().await;
    tokens(&world.live).await;
    let live = &world.live;
    live.post("/features", json!({"key": "sso", "type": "boolean"})).await.unwrap();
    live.post("/features", json!({"key": "seats", "type": "static", "value": 5})).await.unwrap();
    live.post("/customers", json!({"key": "acme"})).await.unwrap();
    let path = "/customers/acme/entitlements";
    let metered = json!({"feature": "tokens", "type": "metered", "limit": 1000,
        "usage_period": {"interval": "month"}});
    let metered = live.post(path, metered).await.unwrap();
    assert_eq!(metered["limit"], "1000");
    live.post(path, json!({"feature": "sso", "type": "boolean"})).await.unwrap();
    live.post(path, json!({"feature": "seats", "type": "static"})).await.unwrap();

    let time = |text: &str| text.parse::<Timestamp>().unwrap();
    let window = Window { from: time("2026-03-01T00:00:00Z"), to: time("2026-04-01T00:00:00Z") };
    let limit = Some("1000".parse().unwrap());
    let value = Measure { hard: limit, soft: None, tiers: &[] }
        .value("812.3456789".parse().unwrap(), window);
    let entitlement = id(&metered).parse().unwrap();
    world.partitions.values.lock().unwrap().insert(entitlement, value);
    let expected: [(&str, Value); 3] = [
        (
            "tokens",
            json!({"has_access": true, "usage": "812.3456789", "limit": "1000",
                "balance": "187.6543211", "overage": "0", "usage_percentage": "81.2346",
                "period": {"from": "2026-03-01T00:00:00Z", "to": "2026-04-01T00:00:00Z"}}),
        ),
        ("sso", json!({"has_access": true})),
        ("seats", json!({"has_access": true, "value": 5})),
    ];
    for (feature, expected) in expected {
        let value = live.get(&format!("{path}/{feature}/value")).await.unwrap();
        assert_eq!(value, expected, "{feature}");
    }
    live.patch(&format!("{path}/seats"), json!({"value": 9})).await.unwrap();
    let value = live.get(&format!("{path}/seats/value")).await.unwrap();
    assert_eq!(value["value"], 9, "an entitlement's own value comes first");
    let unlimited = live.patch(&format!("{path}/tokens"), json!({"limit": null})).await.unwrap();
    assert_eq!(unlimited["limit"], Value::Null);
}
