//! Rules: what they become for the core, which lines keep their ids, what they hold on to, and what
//! is refused of lines and groups.

use plimsoll_core::{
    command::ControlCommand,
    line::{LineGroup, LineKind},
    rule::{Rule, RuleKind, WhenSeveral},
};
use plimsoll_engine::ops::problem::ProblemCode;
use serde_json::{Value, json};

use super::{
    refusals::check,
    world::{User, World, channel_of, code, id, tokens},
};

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

/// A feature `calls` that can be told apart by model.
async fn calls(user: &User) {
    let meter = json!({"key": "calls", "event_type": "t", "aggregation": "count",
        "group_by": {"model": "$.model"}});
    user.post("/meters", meter).await.unwrap();
    let feature = json!({"key": "calls", "type": "metered", "meter": "calls"});
    user.post("/features", feature).await.unwrap();
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
async fn each_type_of_rule_becomes_its_own_for_the_core() {
    let world = World::new().await;
    let channel = channel_of(&world.live, "ops").await;
    let cases = [
        ("entitlement.limit.warning", RuleKind::LimitWarning, Some((LineKind::Limit, "80"))),
        ("entitlement.limit.reached", RuleKind::LimitReached, Some((LineKind::Limit, "100"))),
        (
            "entitlement.soft_limit.warning",
            RuleKind::SoftLimitWarning,
            Some((LineKind::SoftLimit, "80")),
        ),
        (
            "entitlement.soft_limit.reached",
            RuleKind::SoftLimitReached,
            Some((LineKind::SoftLimit, "100")),
        ),
        (
            "entitlement.tier_limit.warning",
            RuleKind::TierLimitWarning,
            Some((LineKind::TierLimit, "75")),
        ),
        (
            "entitlement.tier_limit.reached",
            RuleKind::TierLimitReached,
            Some((LineKind::TierLimit, "100")),
        ),
        ("entitlements.reset", RuleKind::Reset, None),
    ];
    for (r#type, kind, line) in cases {
        let body = json!({"name": "r", "type": r#type, "channels": [channel]});
        let shown = world.live.post("/rules", body).await.unwrap();
        assert_eq!(shown["type"], r#type);
        let rule = last_rule(&world);
        assert_eq!(rule.kind, kind);
        let lines = rule.lines.iter().map(|it| (it.kind, it.value.to_string()));
        let expected = line.map(|(kind, value)| (kind, value.to_owned()));
        assert_eq!(lines.collect::<Vec<_>>(), Vec::from_iter(expected), "{shown}");
    }
    let all = world.live.items("/rules").await;
    let world = world.reopen().await;
    assert_eq!(world.live.items("/rules").await, all);
}

#[tokio::test]
async fn a_line_on_a_group_is_another_line_than_one_on_all_usage() {
    let world = World::new().await;
    calls(&world.live).await;
    let channel = channel_of(&world.live, "ops").await;
    let line = |group: Value| json!({"kind": "every", "value": "10", "group": group});
    let lines = json!([
        line(Value::Null),
        line(json!({"key": "model"})),
        line(json!({"key": "model", "value": "a"})),
        line(json!({"key": "model", "value": "b"}))
    ]);
    let rule = json!({"name": "r", "type": "entitlements.balance.threshold",
        "features": ["calls"], "lines": lines, "channels": [channel]});
    let rule = world.live.post("/rules", rule).await.unwrap();
    assert_eq!(rule["lines"][0].get("group"), None);
    assert_eq!(rule["lines"][1]["group"], json!({"key": "model"}));
    let groups = last_rule(&world).lines.into_iter().map(|it| it.group);
    let group =
        |value: Option<&str>| LineGroup { key: "model".into(), value: value.map(Into::into) };
    let expected = [None, Some(group(None)), Some(group(Some("a"))), Some(group(Some("b")))];
    assert_eq!(groups.collect::<Vec<_>>(), expected);

    let before = line_ids(&rule);
    let mut lines = rule["lines"].clone();
    lines[3]["group"]["value"] = json!("c");
    lines.as_array_mut().unwrap().swap(0, 2);
    let patch = json!({"lines": lines});
    let rule = world.live.patch(&format!("/rules/{}", id(&rule)), patch).await.unwrap();
    let after = line_ids(&rule);
    assert_eq!(after[..3], [before[2].clone(), before[1].clone(), before[0].clone()]);
    assert!(!before.contains(&after[3]), "another group is another line");
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

#[tokio::test]
async fn lines_and_groups_that_mean_nothing_are_refused() {
    let World { live, .. } = &World::new().await;
    tokens(live).await;
    calls(live).await;
    let channel = channel_of(live, "ops").await;
    let line = json!({"kind": "usage_percentage", "value": 80});
    let good = json!({"name": "r", "type": "entitlements.balance.threshold",
        "features": ["tokens", "calls"], "lines": [line], "channels": [channel]});
    let table = r#"
        POST /rules {"lines": [{"kind": "every", "value": "0"}]} ->
            line_value_invalid lines[0].value
        POST /rules {"lines": [{"kind": "balance_percentage", "value": "-1"}]} ->
            line_value_invalid lines[0].value
        POST /rules {"lines": [{"kind": "balance_percentage", "value": "100.1"}]} ->
            line_value_invalid lines[0].value
        POST /rules {"lines": [{"kind": "usage_value", "value": 1, "group": "model"}]} ->
            invalid_field lines[0].group
        POST /rules {"lines": [{"kind": "usage_value", "value": 1, "group": {}}]} ->
            missing_field lines[0].group.key
        POST /rules {"lines": [{"kind": "usage_value", "value": 1, "group": {"key": ""}}]} ->
            invalid_group lines[0].group.key
        POST /rules {"lines": [{"kind": "usage_value", "value": 1,
            "group": {"key": "model", "value": "LONG"}}]} -> invalid_group lines[0].group.value
        POST /rules {"lines": [{"kind": "usage_value", "value": 1,
            "group": {"key": "model", "values": []}}]} -> unknown_field lines[0].group.values
        POST /rules {"lines": [{"kind": "balance_value", "value": 1, "group": {"key": "model"}}]} ->
            group_not_allowed lines[0].group
        POST /rules {"lines": [{"kind": "balance_percentage", "value": 1,
            "group": {"key": "model"}}]} -> group_not_allowed lines[0].group
        POST /rules {"lines": [LINE, {"kind": "every", "value": 1, "group": {"key": "color"}}]} ->
            group_key_not_found lines[1].group.key
        POST /rules {"lines": [LINE, {"kind": "every", "value": 1, "group": {"key": "model"}},
            {"kind": "every", "value": "1.0", "group": {"key": "model", "value": null}}]} ->
            duplicate_line lines[2]
    "#;
    let table = table.replace("LONG", &"v".repeat(257)).replace("LINE", &line.to_string());
    check(live, good, &table).await;
}

#[tokio::test]
async fn what_a_type_of_rule_does_not_have_is_refused() {
    let World { live, .. } = &World::new().await;
    let channel = channel_of(live, "ops").await;
    let line = json!({"kind": "usage_percentage", "value": 80});
    let table = r#"
        POST /rules {"type": "entitlement.soft_limit.warning", "lines": [LINE]} ->
            lines_not_allowed lines
        POST /rules {"type": "entitlement.tier_limit.warning", "warning_percentage": "100"} ->
            invalid_warning_percentage warning_percentage
        POST /rules {"type": "entitlement.soft_limit.reached", "warning_percentage": "80"} ->
            invalid_warning_percentage warning_percentage
        POST /rules {"type": "entitlement.tier_limit.reached", "warning_percentage": "80"} ->
            invalid_warning_percentage warning_percentage
        POST /rules {"type": "entitlements.reset", "lines": [LINE]} -> lines_not_allowed lines
        POST /rules {"type": "entitlements.reset", "warning_percentage": "80"} ->
            invalid_warning_percentage warning_percentage
        POST /rules {"type": "entitlements.reset", "hysteresis": 1} -> invalid_field hysteresis
        POST /rules {"type": "entitlements.reset", "notify_on": ["crossed", "resolved"]} ->
            invalid_field notify_on
    "#;
    let good = json!({"name": "r", "channels": [channel]});
    check(live, good, &table.replace("LINE", &line.to_string())).await;
}

#[tokio::test]
async fn a_change_that_leaves_a_group_without_its_key_is_refused() {
    let World { live, .. } = &World::new().await;
    tokens(live).await;
    calls(live).await;
    let channel = channel_of(live, "ops").await;
    let line = json!({"kind": "every", "value": 1, "group": {"key": "model"}});
    let rule = json!({"name": "r", "type": "entitlements.balance.threshold", "lines": [line],
        "features": ["calls"], "channels": [channel]});
    let rule = live.post("/rules", rule).await.unwrap();
    let table = r#"
        PATCH /rules/RULE {"features": ["tokens"]} -> group_key_not_found lines[0].group.key
        PATCH /rules/RULE {"lines": [{"kind": "every", "value": 1, "group": {"key": "color"}}]} ->
            group_key_not_found lines[0].group.key
    "#;
    check(live, json!({}), &table.replace("RULE", rule["id"].as_str().unwrap())).await;
    // Where all features are watched, one with the key may still come.
    let patch = json!({"features": null,
        "lines": [{"kind": "every", "value": 1, "group": {"key": "color"}}]});
    let after = live.patch(&format!("/rules/{}", rule["id"].as_str().unwrap()), patch).await;
    assert_eq!(after.unwrap()["lines"][0]["group"], json!({"key": "color"}));
}
