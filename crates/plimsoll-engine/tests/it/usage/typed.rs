//! Rules about soft limits and tiers, from the event to what is told.

use serde_json::{Value, json};

use super::world::{World, request};

/// A customer `acme` with these terms for tokens, and a rule of each of these types.
async fn with(terms: &Value, types: &[&str]) -> World {
    let world = World::start().await;
    world.measure("tokens", &json!({"aggregation": "sum", "value_property": "$.tokens"})).await;
    world.customer("acme").await;
    world.entitle_to("acme", "tokens", terms).await;
    for r#type in types {
        world.watch(&json!({"type": r#type, "features": ["tokens"]})).await;
    }
    world
}

/// What is told after each of these amounts, without what was told before.
async fn check(world: &mut World, steps: &[(i64, &[&str])]) {
    let mut before: Vec<String> = world.told().await;
    for (tokens, expected) in steps {
        world.sends("acme", &json!({"tokens": tokens})).await;
        let after = world.told().await;
        let mut new = after.clone();
        for told in &before {
            new.remove(new.iter().position(|it| it == told).unwrap());
        }
        assert_eq!(new, *expected, "after {tokens} more of {after:?}");
        before = after;
    }
}

const SOFT_WARNING: &str = "entitlement.soft_limit.warning";
const SOFT_REACHED: &str = "entitlement.soft_limit.reached";
const TIER_WARNING: &str = "entitlement.tier_limit.warning";
const TIER_REACHED: &str = "entitlement.tier_limit.reached";

#[tokio::test]
async fn a_soft_limit_warns_at_80_percent_and_tells_when_it_is_reached() {
    let terms = json!({"limit": "1000", "soft_limit": "50"});
    let types = [SOFT_WARNING, SOFT_REACHED, "entitlement.limit.reached"];
    let mut world = with(&terms, &types).await;
    check(&mut world, &[(39, &[]), (1, &[SOFT_WARNING]), (9, &[])]).await;
    world.crash().await;
    check(&mut world, &[(1, &[SOFT_REACHED]), (500, &[]), (450, &["entitlement.limit.reached"])])
        .await;
    assert_eq!(world.stands("acme", "tokens").await["has_access"], false);
}

#[tokio::test]
async fn a_soft_limit_alone_takes_no_access_away() {
    let mut world = with(&json!({"soft_limit": "50"}), &[SOFT_REACHED]).await;
    world.watch(&json!({"type": SOFT_WARNING, "warning_percentage": "50"})).await;
    check(&mut world, &[(24, &[]), (1, &[SOFT_WARNING]), (100, &[SOFT_REACHED])]).await;
    assert_eq!(world.stands("acme", "tokens").await["has_access"], true);
}

#[tokio::test]
async fn each_finite_tier_warns_at_75_percent_but_never_below_itself() {
    let tiers = json!([{"up_to": "100"}, {"up_to": "120"}, {"up_to": "1000"}, {"up_to": null}]);
    let mut world = with(&json!({"tiers": tiers}), &[TIER_WARNING, TIER_REACHED]).await;
    let told = |r#type: &str, step: &str| format!("{type} step={step}");
    let (first, second) = (told(TIER_WARNING, "100"), told(TIER_REACHED, "100"));
    let (third, fourth) = (told(TIER_WARNING, "120"), told(TIER_REACHED, "120"));
    check(
        &mut world,
        &[
            (74, &[]),
            (1, &[&first]),
            (24, &[]),
            (1, &[&second, &third]),
            (19, &[]),
            (1, &[&fourth]),
        ],
    )
    .await;
    world.crash().await;
    let (fifth, sixth) = (told(TIER_WARNING, "1000"), told(TIER_REACHED, "1000"));
    check(&mut world, &[(629, &[]), (1, &[&fifth]), (5_000, &[&sixth]), (5_000, &[])]).await;
}

#[tokio::test]
async fn one_event_over_several_tiers_tells_of_each() {
    let tiers = json!([{"up_to": "10"}, {"up_to": "20"}, {"up_to": "30"}]);
    let mut world = with(&json!({"tiers": tiers}), &[TIER_REACHED]).await;
    let told = ["10", "20"].map(|it| format!("{TIER_REACHED} step={it}"));
    check(&mut world, &[(25, &[&told[0], &told[1]]), (4, &[])]).await;
}

#[tokio::test]
async fn row_8_a_lowered_soft_limit_is_reached_with_that_as_its_cause() {
    let mut world = with(&json!({"soft_limit": "50"}), &[SOFT_REACHED]).await;
    check(&mut world, &[(40, &[])]).await;
    let change = request(&json!({"soft_limit": "30"}));
    let (ops, context) = (world.engine.ops.clone(), world.context());
    ops.update_entitlement(&context, "acme", "tokens", change).await.unwrap();
    assert_eq!(world.told().await, [format!("{SOFT_REACHED} limit_changed")]);
}
