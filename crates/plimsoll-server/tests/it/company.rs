//! The resources that most tests need: a meter, a feature, a customer, a channel, a rule.

use serde_json::{Value, json};

use crate::client::Client;

pub(crate) fn meter() -> Value {
    json!({
        "key": "tokens", "name": "Tokens", "event_type": "llm.request",
        "aggregation": "sum", "value_property": "$.tokens",
    })
}

pub(crate) fn feature() -> Value {
    json!({"key": "tokens", "name": "Tokens", "type": "metered", "meter": "tokens"})
}

pub(crate) fn customer() -> Value {
    json!({"key": "acme", "name": "Acme", "subjects": ["acme-prod"]})
}

pub(crate) fn entitlement() -> Value {
    json!({
        "feature": "tokens", "type": "metered", "limit": "1000",
        "usage_period": {"interval": "year"},
    })
}

pub(crate) fn channel() -> Value {
    json!({
        "type": "webhook", "name": "ops", "url": "https://example.com/hook",
        "event_types": ["*"], "headers": {"authorization": "Bearer x"},
    })
}

pub(crate) fn rule(channel: &str) -> Value {
    json!({
        "name": "80 and 100", "type": "entitlements.balance.threshold", "features": ["tokens"],
        "lines": [
            {"kind": "usage_percentage", "value": "80"},
            {"kind": "usage_percentage", "value": "100"},
        ],
        "channels": [channel],
    })
}

pub(crate) fn event(id: &str, tokens: u64) -> Value {
    json!({
        "specversion": "1.0", "id": id, "source": "/it", "type": "llm.request",
        "subject": "acme-prod", "data": {"tokens": tokens},
    })
}

/// What [`set_up`] made and the server named.
#[derive(Debug)]
pub(crate) struct Company {
    pub(crate) channel: String,
    pub(crate) rule: String,
}

/// Makes one of each.
pub(crate) async fn set_up(client: &Client) -> Company {
    client.make("/v1/meters", &meter()).await;
    client.make("/v1/features", &feature()).await;
    client.make("/v1/customers", &customer()).await;
    let channel = id(&client.make("/v1/channels", &channel()).await);
    let rule = id(&client.make("/v1/rules", &rule(&channel)).await);
    client.make("/v1/customers/acme/entitlements", &entitlement()).await;
    Company { channel, rule }
}

pub(crate) fn id(document: &Value) -> String {
    document["id"].as_str().expect("an id").to_owned()
}

/// What `acme` has used.
pub(crate) async fn usage(client: &Client) -> String {
    let value = client.get("/v1/customers/acme/entitlements/tokens/value").await.json();
    value["usage"].as_str().expect("a usage").to_owned()
}
