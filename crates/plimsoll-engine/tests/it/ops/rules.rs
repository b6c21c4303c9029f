//! Rules: what they become for the core, which lines keep their ids, what they hold on to.

use plimsoll_core::{
    command::ControlCommand,
    line::LineKind,
    rule::{Rule, RuleKind, WhenSeveral},
};
use plimsoll_engine::ops::problem::ProblemCode;
use serde_json::{Value, json};

use super::world::{World, channel_of, code, id, tokens};

fn last_rule(world: &World) -> Rule {
    let commands = world.partitions.control.lock().unwrap();
    let rules = commands.iter().rev().filter_map(|it| match it {
        ControlCommand::PutRule(rule) => Some(rule.clone()),
        _ => None,
    });
    rules.take(1).next().unwrap()
}

fn threshold(channel: &str, lines: &Value) -> Value {
    json!({"name": "r", "type": "entitlements.balance.threshold", "features": ["tokens"],
        "lines": lines, "channels": [channel]})
}

fn line_ids(rule: &Value) -> Vec<String> {
    rule["lines"].as_array().unwrap().iter().map(id).collect()
}

#[tokio::test]
async fn the_core_gets_what_the_document_says() {
    let world = World::new().await;
    tokens(&world.live).await;
    let customer = world.live.post("/customers", json!({"key": "acme"})).await.unwrap();
    let channel = channel_of(&world.live, "ops").await;
    let body = json!({"name": "r", "type": "entitlements.balance.threshold",
        "features": ["tokens"], "customers": ["acme"], "channels": [channel],
        "lines": [{"kind": "usage_value", "value": 5}, {"kind": "balance_value", "value": "7"}],
        "when_several": "highest", "notify_on": ["resolved", "crossed"], "hysteresis": "2.50",
        "evaluate_on_create": false, "disabled": true});
    let shown = world.live.post("/rules", body).await.unwrap();
    assert_eq!(shown["features"], json!(["tokens"]));
    assert_eq!(shown["customers"], json!([id(&customer)]));
    assert_eq!(shown["hysteresis"], "2.5");
    assert_eq!(shown["notify_on"], json!(["crossed", "resolved"]));
    let rule = last_rule(&world);
    assert_eq!(rule.id.to_string(), id(&shown));
    assert_eq!(rule.kind, RuleKind::BalanceThreshold);
    assert_eq!(rule.customers[0].to_string(), id(&customer));
    assert_eq!(rule.channels[0].to_string(), channel);
    assert_eq!(rule.when_several, WhenSeveral::Highest);
    assert!(rule.sends_resolved && !rule.evaluate_on_create && rule.disabled);
    let lines: Vec<_> = rule.lines.iter().map(|it| (it.kind, it.value.to_string())).collect();
    let expected = [(LineKind::UsageValue, "5"), (LineKind::BalanceValue, "7")];
    assert_eq!(lines, expected.map(|(kind, value)| (kind, value.to_owned())));
    let document: Value = serde_json::from_slice(&rule.document).unwrap();
    assert_eq!(document, shown, "notifications show the rule as the API does");
}

#[tokio::test]
async fn a_line_keeps_its_id_while_its_kind_and_value_stay() {
    let world = World::new().await;
    tokens(&world.live).await;
    let channel = channel_of(&world.live, "ops").await;
    let at = |value: &str| json!({"kind": "usage_percentage", "value": value});
    let rule = threshold(&channel, &json!([at("80"), at("100")]));
    let rule = world.live.post("/rules", rule).await.unwrap();
    let path = format!("/rules/{}", id(&rule));
    let before = line_ids(&rule);

    let renamed = world.live.patch(&path, json!({"name": "other"})).await.unwrap();
    assert_eq!(line_ids(&renamed), before);
    // What was got can be sent back.
    let lines = renamed["lines"].clone();
    let same = world.live.patch(&path, json!({"lines": lines})).await.unwrap();
    assert_eq!(line_ids(&same), before);

    let patch = json!({"lines": [at("100.0"), at("90")]});
    let changed = world.live.patch(&path, patch).await.unwrap();
    assert_eq!(line_ids(&changed)[0], before[1], "the same line in another place");
    let added_again = json!({"lines": [at("80"), at("100")]});
    let again = world.live.patch(&path, added_again).await.unwrap();
    assert_ne!(line_ids(&again)[0], before[0], "a line that was gone is a new one");
    assert_eq!(line_ids(&again)[1], before[1]);
}

#[tokio::test]
async fn a_rule_about_the_limit_has_one_line_that_is_not_shown() {
    let world = World::new().await;
    let channel = channel_of(&world.live, "ops").await;
    let body = |kind: &str| json!({"name": "r", "type": kind, "channels": [channel]});
    let shown = world.live.post("/rules", body("entitlement.limit.reached")).await.unwrap();
    assert_eq!(shown.get("lines"), None);
    assert_eq!(shown.get("warning_percentage"), None);
    let line = last_rule(&world).lines[0].clone();
    assert_eq!((line.kind, line.value.to_string()), (LineKind::Limit, "100".to_owned()));

    let shown = world.live.post("/rules", body("entitlement.limit.warning")).await.unwrap();
    assert_eq!(shown["warning_percentage"], "80");
    let path = format!("/rules/{}", id(&shown));
    let before = last_rule(&world).lines[0].clone();
    world.live.patch(&path, json!({"warning_percentage": "80.0"})).await.unwrap();
    assert_eq!(last_rule(&world).lines[0], before, "the same level is the same line");
    world.live.patch(&path, json!({"warning_percentage": "90"})).await.unwrap();
    let after = last_rule(&world).lines[0].clone();
    assert_eq!(after.value.to_string(), "90");
    assert_ne!(after.id, before.id);
}

#[tokio::test]
async fn what_a_rule_names_cannot_be_deleted() {
    let world = World::new().await;
    tokens(&world.live).await;
    let channel = channel_of(&world.live, "ops").await;
    let rule = threshold(&channel, &json!([{"kind": "usage_value", "value": "1"}]));
    let rule = world.live.post("/rules", rule).await.unwrap();
    let refused = world.live.delete(&format!("/channels/{channel}")).await.unwrap_err();
    assert_eq!(refused.code, ProblemCode::ChannelInUse);
    assert!(refused.detail.contains("\"r\""), "{}", refused.detail);
    let refused = world.live.delete("/features/tokens").await;
    assert_eq!(code(refused), Some(ProblemCode::FeatureInUse));
    world.live.delete(&format!("/rules/{}", id(&rule))).await.unwrap();
    world.live.delete(&format!("/channels/{channel}")).await.unwrap();
    world.live.delete("/features/tokens").await.unwrap();
}
