//! The smallest company that sells usage: one meter, one feature, one channel.

use serde_json::{Value, json};

use crate::{http::Client, receiver::Receiver};

pub(crate) const EVENT_TYPE: &str = "llm.request";

/// The channel that a company was set up with.
#[derive(Debug)]
pub(crate) struct Channel {
    pub(crate) id: String,
    pub(crate) secret: String,
}

/// Makes the meter and the feature `tokens`, and a channel to `receiver`.
pub(crate) fn set_up(client: &Client, receiver: &Receiver) -> Channel {
    client.post(
        "/v1/meters",
        &json!({
            "key": "tokens", "name": "Tokens", "event_type": EVENT_TYPE,
            "aggregation": "sum", "value_property": "$.tokens",
        }),
    );
    client.post(
        "/v1/features",
        &json!({"key": "tokens", "name": "Tokens", "type": "metered", "meter": "tokens"}),
    );
    let channel = client.post(
        "/v1/channels",
        &json!({
            "type": "webhook", "name": "ops", "url": receiver.url(), "event_types": ["*"],
            "headers": {"x-tenant": "one"},
        }),
    );
    Channel { id: text(&channel, "id"), secret: text(&channel, "secret") }
}

/// Makes a rule that draws lines of `kind` at `values` on everyone's tokens.
pub(crate) fn draw_lines(client: &Client, channel: &Channel, kind: &str, values: &[u64]) -> String {
    let lines: Vec<_> =
        values.iter().map(|it| json!({"kind": kind, "value": it.to_string()})).collect();
    let rule = client.post(
        "/v1/rules",
        &json!({
            "name": format!("{kind} from {}", values[0]), "type": "entitlements.balance.threshold",
            "features": ["tokens"], "lines": lines, "channels": [channel.id],
        }),
    );
    text(&rule, "id")
}

/// Makes a customer with the subject `<key>-prod` and a yearly limit.
pub(crate) fn add_customer(client: &Client, key: &str, limit: u64) {
    let subjects = [subject(key)];
    client.post("/v1/customers", &json!({"key": key, "name": key, "subjects": subjects}));
    client.post(
        &format!("/v1/customers/{key}/entitlements"),
        &json!({
            "feature": "tokens", "type": "metered", "limit": limit.to_string(),
            "usage_period": {"interval": "year"},
        }),
    );
}

/// What the events of the customer `key` carry.
pub(crate) fn subject(key: &str) -> String {
    format!("{key}-prod")
}

/// An event of `tokens` tokens.
pub(crate) fn event(id: &str, customer: &str, tokens: u64) -> Value {
    json!({
        "specversion": "1.0", "id": id, "source": "/it", "type": EVENT_TYPE,
        "subject": subject(customer), "data": {"tokens": tokens},
    })
}

/// What the customer has used in the current period.
pub(crate) fn usage(client: &Client, customer: &str) -> String {
    let path = format!("/v1/customers/{customer}/entitlements/tokens/value");
    text(&client.get(&path), "usage")
}

/// A text field of a document.
pub(crate) fn text(document: &Value, field: &str) -> String {
    let value = document[field].as_str();
    value.unwrap_or_else(|| panic!("a text {field} in {document}")).to_owned()
}
