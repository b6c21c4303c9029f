//! What is refused of entitlements, grants and resets, and what is recorded of them.
//!
//! Not here: what they do to usage (`entitlements`).

use plimsoll_core::entitlement::{
    EntitlementValue, Measure,
    period::{Interval, UsagePeriod},
};
use serde_json::{Value, json};

use super::{
    refusals::check,
    world::{User, World, id, tokens},
};

const TOKENS: &str = "/customers/a/entitlements/tokens";

/// Customer `a` with entitlements to `tokens`, summed, and to `sso`; a value for the first.
async fn entitled(world: &World) -> &User {
    let live = &world.live;
    tokens(live).await;
    live.post("/features", json!({"key": "sso", "type": "boolean"})).await.unwrap();
    live.post("/customers", json!({"key": "a"})).await.unwrap();
    let sso = json!({"feature": "sso", "type": "boolean"});
    live.post("/customers/a/entitlements", sso).await.unwrap();
    let tokens = json!({"feature": "tokens", "type": "metered", "limit": 10,
        "usage_period": {"interval": "month"}});
    let tokens = live.post("/customers/a/entitlements", tokens).await.unwrap();
    let period = UsagePeriod { interval: Interval::Month, anchor: None };
    let window = period.window_at(world.deps.clock.now());
    let measure = Measure { hard: Some("10".parse().unwrap()), soft: None, tiers: &[] };
    let value: EntitlementValue = measure.value("3".parse().unwrap(), window);
    world.partitions.values.lock().unwrap().insert(id(&tokens).parse().unwrap(), value);
    live
}

/// A table with its short words written out.
fn whole(table: &str) -> String {
    table
        .replace("<grants>", "<tokens>/grants")
        .replace("<tokens>", TOKENS)
        .replace("<all>", "/customers/a/entitlements")
        .replace("<day>", r#"{"duration": "day", "count": 1}"#)
        .replace("<p>", r#""type": "plan", "key": "p""#)
        .replace("<q>", r#""type": "addon", "key": "q""#)
}

#[tokio::test]
async fn of_sources_and_tiers() {
    let World { live, .. } = &World::new().await;
    tokens(live).await;
    live.post("/customers", json!({"key": "a"})).await.unwrap();
    let good = json!({"feature": "tokens", "type": "metered",
        "usage_period": {"interval": "month"}});
    let table = r#"
        POST <all> {"limit": 1, "sources": [{<p>}]} ->
            invalid_field sources
        POST <all> {"soft_limit": 1, "sources": []} -> invalid_field sources
        POST <all> {"sources": []} -> too_many_items sources
        POST <all> {"sources": [{"type": "gift", "key": "p"}]} ->
            invalid_field sources[0].type
        POST <all> {"sources": [{"type": "plan"}]} ->
            missing_field sources[0].key
        POST <all> {"sources": [{"type": "plan", "key": ""}]} ->
            invalid_key sources[0].key
        POST <all> {"sources": [{<p>, "limit": "-1"}]} ->
            invalid_field sources[0].limit
        POST <all> {"sources": [{<p>, "quantity": -1}]} ->
            invalid_field sources[0].quantity
        POST <all> {"sources": [{<p>, "color": 1}]} ->
            unknown_field sources[0].color
        POST <all> {"sources": [{<p>}, {<p>}]} ->
            invalid_source sources[1].key
        POST <all> {"sources": [{<p>, "overrides": "q"}]} ->
            invalid_source sources[0].overrides
        POST <all> {"sources": [{<p>, "overrides": "p"}]} ->
            invalid_source sources[0].overrides
        POST <all> {"sources": [{<p>, "overrides": "q"}, {<q>, "overrides": "p"}]} ->
            invalid_source sources[0].overrides
        POST <all> {"sources": [{<p>, "limit": "9e27", "quantity": 99}]} ->
            limit_overflow sources
        POST <all> {"soft_limit": "-1"} -> invalid_field soft_limit
        POST <all> {"tiers": [{"up_to": 0}]} -> invalid_tier tiers[0].up_to
        POST <all> {"tiers": [{"up_to": 5}, {"up_to": "5.0"}]} ->
            invalid_tier tiers[1].up_to
        POST <all> {"tiers": [{"up_to": null}, {"up_to": 5}]} ->
            invalid_tier tiers[0].up_to
        POST <all> {"tiers": [{"below": 5}]} -> unknown_field tiers[0].below
        POST <all> {"limit_priority": 256} -> invalid_field limit_priority
        POST <all> {"measure_usage_from": "birth"} ->
            invalid_field measure_usage_from
    "#;
    check(live, good.clone(), &whole(table)).await;
    let many: Vec<Value> = (0..101).map(|it| json!({"up_to": it + 1})).collect();
    let line = format!("POST /customers/a/entitlements {} ->", json!({ "tiers": many }));
    check(live, good.clone(), &format!("{line}\ntoo_many_items tiers")).await;
    let many: Vec<Value> =
        (0..101).map(|it| json!({"type": "addon", "key": it.to_string()})).collect();
    let line = format!("POST /customers/a/entitlements {} ->", json!({ "sources": many }));
    check(live, good, &format!("{line}\ntoo_many_items sources")).await;
}

#[tokio::test]
async fn of_changes() {
    let world = World::new().await;
    let live = entitled(&world).await;
    let table = r#"
        PATCH <all>/sso {"soft_limit": 1} -> invalid_field soft_limit
        PATCH <all>/sso {"tiers": null} -> invalid_field tiers
        PATCH <all>/sso {"preserve_overage_at_reset": true} ->
            invalid_field preserve_overage_at_reset
        PATCH <tokens> {"sources": null} -> invalid_field sources
        PATCH <tokens> {"limit": 1, "sources": []} -> invalid_field sources
        PATCH <tokens> {"limit_priority": 2} ->
            field_immutable limit_priority
        PATCH <tokens> {"measure_usage_from": "now"} ->
            field_immutable measure_usage_from
        PATCH <tokens> {"usage_period": {"anchor": null}} ->
            field_immutable usage_period
        PATCH <tokens> {"preserve_overage_at_reset": null} ->
            invalid_field preserve_overage_at_reset
        PATCH <tokens> {"effective_at": "2030-01-01T00:00:00Z"} ->
            invalid_field effective_at
        PATCH <tokens> {"limit": 1, "effective_at": "tomorrow"} ->
            invalid_field effective_at
        PATCH <tokens> {"limit": 1, "effective_at": "2020-01-01T00:00:00Z"} ->
            time_in_past effective_at
    "#;
    check(live, json!({}), &whole(table)).await;
}

#[tokio::test]
async fn of_grants_resets_and_histories() {
    let world = World::new().await;
    let live = entitled(&world).await;
    let table = r#"
        POST <all>/none/grants {} -> not_found
        POST <all>/sso/grants {} -> entitlement_not_metered
        POST <grants> {"amount": 0} -> invalid_field amount
        POST <grants> {"amount": "-1"} -> invalid_field amount
        POST <grants> {"priority": 256} -> invalid_field priority
        POST <grants> {"effective_at": "2020-01-01T00:00:00Z"} ->
            time_in_past effective_at
        POST <grants> {"expires_at": "2020-01-01T00:00:00Z"} ->
            invalid_field expires_at
        POST <grants> {"expires_at": "2099-01-01T00:00:00Z", "expiration": <day>} ->
            invalid_field expiration
        POST <grants> {"expiration": {"duration": "day", "count": 0}} ->
            invalid_field expiration.count
        POST <grants> {"expiration": {"duration": "day", "count": 1001}} ->
            invalid_field expiration.count
        POST <grants> {"expiration": {"duration": "decade", "count": 1}} ->
            invalid_field expiration.duration
        POST <grants> {"recurrence": {"interval": "never"}} ->
            invalid_field recurrence.interval
        POST <grants> {"recurrence": {"interval": "billing_cycle"}} ->
            invalid_field recurrence.interval
        POST <grants> {"min_rollover": -1} ->
            invalid_field min_rollover
        POST <grants> {"min_rollover": 6} ->
            invalid_field max_rollover
        POST <grants> {"min_rollover": 2, "max_rollover": 1} ->
            invalid_field max_rollover
        POST <grants> {"metadata": {"": "x"}} ->
            invalid_metadata metadata
        POST <grants> {"color": 1} -> unknown_field color
        GET <grants>/grt_01ARZ3NDEKTSV4RRFFQ69G5FAV -> not_found
        GET <grants>/first -> not_found
        DELETE <grants>/grt_01ARZ3NDEKTSV4RRFFQ69G5FAV -> not_found
        GET <grants>?limit=0 -> invalid_parameter limit
        GET <tokens>/history?limit=1001 -> invalid_parameter limit
        GET <tokens>/history?from=2026-02-01T00:00:00Z&to=2026-01-01T00:00:00Z ->
            invalid_parameter to
        GET /customers/none/access -> not_found
    "#;
    check(live, json!({"amount": 5}), &whole(table)).await;
    let table = r#"
        POST <all>/sso/reset {} -> entitlement_not_metered
        POST <tokens>/reset {"effective_at": "2020-01-01T00:00:00Z"} ->
            time_in_past effective_at
        POST <tokens>/reset {"retain_anchor": "yes"} ->
            invalid_field retain_anchor
        POST <tokens>/reset {"at": 1} -> unknown_field at
    "#;
    check(live, json!({}), &whole(table)).await;
}

#[tokio::test]
async fn every_change_leaves_an_audit_row() {
    let world = World::new().await;
    let live = entitled(&world).await;
    let grants = format!("{TOKENS}/grants");
    let grant = live.post(&grants, json!({"amount": 5})).await.unwrap();
    live.post(&format!("{TOKENS}/reset"), json!({"retain_anchor": false})).await.unwrap();
    live.patch(TOKENS, json!({"tiers": [{"up_to": null}]})).await.unwrap();
    let audit = live.items("/audit").await;
    let actions: Vec<_> = audit.iter().take(3).map(|it| &it["action"]).collect();
    assert_eq!(actions, ["entitlement.update", "entitlement.reset", "grant.create"]);
    assert_eq!(audit[2]["resource"], json!({"kind": "grant", "id": grant["id"]}));
    assert_eq!(audit[2]["after"]["max_rollover"], "5");
    let anchor = |it: &Value| it["usage_period"]["anchor"].clone();
    assert_eq!(anchor(&audit[1]["before"]), Value::Null);
    assert_eq!(anchor(&audit[1]["after"]), super::world::BEGIN);
}

/// A row that an older version wrote: without sources, tiers, priority and what is to come.
#[tokio::test]
async fn an_entitlement_of_an_older_version_is_read() {
    let world = World::new().await;
    let live = entitled(&world).await;
    let shown = live.get(TOKENS).await.unwrap();
    let mut old = shown.clone();
    for field in [
        "soft_limit",
        "sources",
        "tiers",
        "limit_priority",
        "preserve_overage_at_reset",
        "measure_usage_from",
        "scheduled_changes",
        "scheduled_resets",
    ] {
        assert!(old.as_object_mut().unwrap().remove(field).is_some(), "{field}");
    }
    let feature = live.get("/features/tokens").await.unwrap();
    let now = world.deps.clock.now();
    let (old, feature) = (old.to_string(), id(&feature));
    let update = plimsoll_store::resource::update(&id(&shown), 1, Some(&feature), old, now);
    let batch = plimsoll_store::Batch::new(plimsoll_store::Lane::Control, vec![update]);
    world.deps.store.commit(batch).await.unwrap();
    assert_eq!(live.get(TOKENS).await.unwrap(), shown);
    let after = live.patch(TOKENS, json!({"limit": 20})).await.unwrap();
    assert_eq!(after["sources"][0]["limit"], "20");
}
