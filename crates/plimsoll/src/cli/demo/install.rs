//! Puts the company of the scenario on the server: meters, features, channels, rules, customers.
//!
//! Rules come before entitlements, so that every line watches from the first token on.
//!
//! Not here: usage (`replay`).

use plimsoll_core::time::Timestamp;
use serde_json::{Value, json};

use super::{
    Failure,
    api::Api,
    receiver::Receiver,
    scenario::{CHANNELS, Customer, EVENT_TYPE, Feature, LineKind, RULES, Rule, Scenario},
};

/// Makes everything that has to exist before the first event.
///
/// Usage periods begin at `window_start`, which is not after the first event's time.
pub(super) async fn install(
    api: &Api,
    receiver: &Receiver,
    scenario: &Scenario,
    window_start: Timestamp,
) -> Result<(), Failure> {
    for feature in Feature::ALL {
        install_feature(api, feature).await?;
    }
    let mut channels = Vec::new();
    for name in CHANNELS {
        channels.push(install_channel(api, receiver, name).await?);
    }
    for rule in &RULES {
        api.post("/v1/rules", &rule_document(rule, &channels)).await?;
    }
    for customer in &scenario.customers {
        install_customer(api, customer, window_start).await?;
    }
    Ok(())
}

async fn install_feature(api: &Api, feature: Feature) -> Result<(), Failure> {
    let (name, aggregation, value_property) = match feature {
        Feature::InputTokens => ("Input tokens", "sum", Some("$.context_tokens")),
        Feature::OutputTokens => ("Output tokens", "sum", Some("$.generated_tokens")),
        Feature::Requests => ("Requests", "count", None),
    };
    let key = feature.key();
    let mut meter = json!({
        "key": key, "name": name, "event_type": EVENT_TYPE, "aggregation": aggregation,
    });
    if let Some(path) = value_property {
        meter["value_property"] = json!(path);
    }
    api.post("/v1/meters", &meter).await?;
    let document = json!({"key": key, "name": name, "type": "metered", "meter": key});
    api.post("/v1/features", &document).await?;
    Ok(())
}

/// Makes the channel and tells the receiver its secret; returns its id.
async fn install_channel(api: &Api, receiver: &Receiver, name: &str) -> Result<String, Failure> {
    let channel = json!({
        "type": "webhook", "name": name, "url": receiver.url(name), "event_types": ["*"],
    });
    let made = api.post("/v1/channels", &channel).await?;
    let text = |field: &'static str| {
        made[field].as_str().map(str::to_owned).ok_or(Failure::MissingField { field })
    };
    receiver.expect_signatures_of(name, &text("secret")?)?;
    text("id")
}

fn rule_document(rule: &Rule, channels: &[String]) -> Value {
    let features: Vec<&str> = rule.features.iter().map(|it| it.key()).collect();
    let channels: Vec<&String> = rule.channels.iter().filter_map(|it| channels.get(*it)).collect();
    let mut document = json!({
        "name": rule.name, "type": rule.notification_type,
        "features": features, "channels": channels,
    });
    let mut lines = Vec::new();
    for line in rule.lines {
        // Typed rules have one line, which is not named; a warning says where it stands.
        if line.kind != LineKind::Limit {
            lines.push(json!({"kind": line.kind.key(), "value": line.value.to_string()}));
        } else if rule.notification_type.ends_with(".warning") {
            document["warning_percentage"] = json!(line.value.to_string());
        }
    }
    if !lines.is_empty() {
        document["lines"] = json!(lines);
    }
    document
}

async fn install_customer(
    api: &Api,
    customer: &Customer,
    window_start: Timestamp,
) -> Result<(), Failure> {
    let document =
        json!({"key": customer.key, "name": customer.name, "subjects": customer.subjects});
    api.post("/v1/customers", &document).await?;
    for (feature, limit) in Feature::ALL.into_iter().zip(customer.limits) {
        let mut entitlement = json!({
            "feature": feature.key(), "type": "metered",
            "usage_period": {"interval": customer.interval, "anchor": window_start.to_string()},
        });
        if let Some(limit) = limit {
            entitlement["limit"] = json!(limit.to_string());
        }
        let path = format!("/v1/customers/{}/entitlements", customer.key);
        api.post(&path, &entitlement).await?;
    }
    Ok(())
}
