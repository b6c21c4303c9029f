//! What every simulation begins with: meters, features, channels, two customers and two rules.

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
        for feature in &FEATURES[..4] {
            let entitlement = json!({"feature": feature, "type": "metered", "limit": "200",
                "usage_period": {"interval": "day"}});
            ops.create_entitlement(context, key, request(&entitlement)?).await?;
        }
    }
    for (name, value) in [("near", "50"), ("there", "100")] {
        let rule = json!({"name": name, "type": "entitlements.balance.threshold",
            "lines": [{"kind": "usage_percentage", "value": value}], "channels": channels,
            "notify_on": ["crossed", "resolved"]});
        ops.create_rule(context, request(&rule)?).await?;
    }
    Ok(channels)
}

fn request<T: DeserializeOwned>(document: &Value) -> Result<T, Problem> {
    parse_request(document.to_string().as_bytes())
}
