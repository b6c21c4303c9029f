//! What every simulation begins with: meters, features, channels, two customers and some rules.

use plimsoll_engine::{
    engine::Engine,
    ops::{Context, problem::Problem, request::parse_request},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{FEATURES, METERS};
use crate::receiver::{FLAKY_PORT, HEALTHY_PORT};

/// Makes it all, in calm weather, and gives the ids of the channels: the healthy one first.
pub async fn make(engine: &Engine, context: &Context) -> Result<Vec<String>, Problem> {
    let ops = &engine.ops;
    let sum = json!({"key": "tokens", "name": "Tokens", "event_type": "llm.request",
        "aggregation": "sum", "value_property": "$.tokens",
        "group_by": {"model": "$.model", "region": "$.region"}});
    let count = json!({"key": "calls", "name": "Calls", "event_type": "llm.request",
        "aggregation": "count", "group_by": {"model": "$.model"}});
    let most = json!({"key": "peak", "name": "Peak", "event_type": "llm.request",
        "aggregation": "max", "value_property": "$.tokens"});
    let different = json!({"key": "kinds", "name": "Kinds", "event_type": "llm.request",
        "aggregation": "unique_count", "value_property": "$.tokens",
        "group_by": {"model": "$.model"}});
    for meter in [sum, count, most, different] {
        ops.create_meter(context, request(&meter)?).await?;
    }
    for (feature, meter) in FEATURES.into_iter().zip(METERS) {
        let feature = json!({"key": feature, "name": feature, "type": "metered", "meter": meter});
        ops.create_feature(context, request(&feature)?).await?;
    }
    let mut channels = Vec::new();
    for port in [HEALTHY_PORT, FLAKY_PORT] {
        let channel = json!({"type": "webhook", "name": port.to_string(),
            "url": format!("http://127.0.0.1:{port}/hook"), "event_types": ["*"]});
        let made = ops.create_channel(context, request(&channel)?).await?;
        channels.push(made.channel.id.to_string());
    }
    for key in ["c0", "c1"] {
        let customer = json!({"key": key, "subjects": [format!("{key}-0")]});
        ops.create_customer(context, request(&customer)?).await?;
        for entitlement in entitlements() {
            ops.create_entitlement(context, key, request(&entitlement)?).await?;
        }
        let grant = json!({"amount": "60", "recurrence": {"interval": "hour"},
            "min_rollover": "10", "max_rollover": "30"});
        ops.create_grant(context, key, "tokens", request(&grant)?).await?;
    }
    for mut rule in rules() {
        rule["channels"] = json!(channels);
        rule["notify_on"] = json!(["crossed", "resolved"]);
        ops.create_rule(context, request(&rule)?).await?;
    }
    Ok(channels)
}

/// What both customers are entitled to.
fn entitlements() -> [Value; 4] {
    let of = |feature: &str, period: Value| {
        let metered = "metered";
        json!({"feature": feature, "type": metered, "usage_period": period})
    };
    let mut tokens = of("tokens", json!({"interval": "day"}));
    tokens["limit"] = json!("200");
    let mut seats = of("seats", json!({"interval": "month", "anchor": "2026-01-31T08:00:00Z"}));
    seats["tiers"] = json!([{"up_to": "40"}, {"up_to": "100"}, {"up_to": null}]);
    let mut calls = of("calls", json!({"interval": "day"}));
    calls["sources"] = json!([{"type": "plan", "key": "plan", "limit": "100"},
        {"type": "addon", "key": "addon", "limit": "2", "quantity": 3},
        {"type": "subscription", "key": "own", "limit": "4", "overrides": "plan"}]);
    let mut peak = of("peak", json!({"interval": "hour", "anchor": "2026-03-10T12:20:00Z"}));
    (peak["limit"], peak["soft_limit"]) = (json!("200"), json!("30"));
    [tokens, seats, calls, peak]
}

/// Rules about everybody and everything.
fn rules() -> [Value; 5] {
    let threshold = "entitlements.balance.threshold";
    let on_usage = |value: &str| json!([{"kind": "usage_percentage", "value": value}]);
    [
        json!({"name": "near", "type": threshold, "lines": on_usage("50")}),
        json!({"name": "there", "type": threshold, "lines": on_usage("100")}),
        json!({"name": "tiers", "type": "entitlement.tier_limit.warning"}),
        json!({"name": "soft", "type": "entitlement.soft_limit.reached"}),
        json!({"name": "groups", "type": threshold, "lines": [
            {"kind": "usage_value", "value": "30", "group": {"key": "model"}}]}),
    ]
}

fn request<T: DeserializeOwned>(document: &Value) -> Result<T, Problem> {
    parse_request(document.to_string().as_bytes())
}
