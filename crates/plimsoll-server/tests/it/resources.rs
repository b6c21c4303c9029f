//! Each resource's life over HTTP: made, shown, listed, changed, deleted, and all of it audited.

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{client::Client, company, product::Product};

#[tokio::test(flavor = "multi_thread")]
async fn every_resource_can_be_made_shown_changed_and_deleted() {
    let product = Product::start().await;
    let client = product.live();
    let rename = json!({"name": "Renamed"});
    client.make("/v1/meters", &company::meter()).await;
    client.make("/v1/features", &company::feature()).await;
    let channel = client.make("/v1/channels", &company::channel()).await;
    let rule = client.make("/v1/rules", &company::rule(&company::id(&channel))).await;
    client.make("/v1/customers", &company::customer()).await;
    client.make("/v1/customers/acme/entitlements", &company::entitlement()).await;

    let entitlement = "/v1/customers/acme/entitlements/tokens";
    change(&client, entitlement, &json!({"limit": "2000"}), "limit", &json!("2000")).await;
    change(&client, entitlement, &json!({"limit": null}), "limit", &Value::Null).await;
    let rule = format!("/v1/rules/{}", company::id(&rule));
    let channel = format!("/v1/channels/{}", company::id(&channel));
    for path in [&rule, &channel, "/v1/customers/acme", "/v1/features/tokens", "/v1/meters/tokens"]
    {
        change(&client, path, &rename, "name", &json!("Renamed")).await;
    }
    // Those that use others first.
    let paths = [
        entitlement,
        &rule,
        &channel,
        "/v1/customers/acme",
        "/v1/features/tokens",
        "/v1/meters/tokens",
    ];
    for path in paths {
        let answer = client.send(Method::DELETE, path, &[], "").await;
        assert_eq!(answer.status, StatusCode::NO_CONTENT, "{path}: {:?}", answer.body);
        assert_eq!(client.get(path).await.status, StatusCode::NOT_FOUND, "{path}");
        let again = client.send(Method::DELETE, path, &[], "").await;
        assert_eq!(again.status, StatusCode::NOT_FOUND, "{path}");
    }
    check_audit(&client).await;
    product.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn meters_and_rules_show_all_that_they_were_made_with() {
    let product = Product::start().await;
    let client = product.live();
    let meter = json!({"key": "peak", "event_type": "load", "aggregation": "max",
        "value_property": "$.load", "bucket": "15min", "group_by": {"host": "$.host"},
        "filters": [{"property": "$.kind", "values": ["cpu", "gpu"]}]});
    client.make("/v1/meters", &meter).await;
    let meter_shown = client.get("/v1/meters/peak").await.json();
    contains(&meter_shown, &meter);
    assert_eq!(meter_shown["multiplier"], Value::Null);
    client.make("/v1/features", &json!({"key": "peak", "type": "metered", "meter": "peak"})).await;
    let channel = company::id(&client.make("/v1/channels", &company::channel()).await);
    let threshold = json!({"name": "r", "type": "entitlements.balance.threshold",
        "features": ["peak"], "channels": [channel], "hysteresis": "2",
        "notify_on": ["crossed", "resolved"]});
    let lines = [
        json!({"kind": "every", "value": "10"}),
        json!({"kind": "balance_percentage", "value": "5"}),
        json!({"kind": "usage_value", "value": "7", "group": {"key": "host"}}),
        json!({"kind": "usage_value", "value": "7", "group": {"key": "host", "value": "a"}}),
    ];
    let mut rule = threshold.clone();
    rule["lines"] = json!(lines);
    let made = company::id(&client.make("/v1/rules", &rule).await);
    let shown = client.get(&format!("/v1/rules/{made}")).await.json();
    contains(&shown, &threshold);
    for (shown, line) in shown["lines"].as_array().expect("lines").iter().zip(&lines) {
        contains(shown, line);
    }
    for (kind, warning) in [
        ("entitlement.soft_limit.warning", json!("80")),
        ("entitlement.tier_limit.warning", json!("75")),
        ("entitlement.tier_limit.reached", Value::Null),
        ("entitlements.reset", Value::Null),
    ] {
        let rule = json!({"name": "r", "type": kind, "channels": [channel]});
        let shown = client.make("/v1/rules", &rule).await;
        contains(&shown, &rule);
        assert_eq!(shown["warning_percentage"], warning, "{kind}");
    }
    product.stop().await;
}

/// Every field of `expected` stands in `document` as it is.
fn contains(document: &Value, expected: &Value) {
    for (field, value) in expected.as_object().expect("an object") {
        assert_eq!(&document[field], value, "{field} of {document}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_shown_when_it_is_made_and_never_again() {
    let product = Product::start().await;
    let client = product.live();
    let made = client.make("/v1/channels", &company::channel()).await;
    let path = format!("/v1/channels/{}", company::id(&made));
    let shown = client.get(&path).await;
    assert!(shown.json()["secret"].is_null());
    let rotated = client.post(&format!("{path}/rotate-secret"), &json!({})).await;
    assert_eq!(rotated.status, StatusCode::OK, "{:?}", rotated.body);
    assert_ne!(rotated.json()["secret"], made["secret"]);
    let secrets = [made["secret"].clone(), rotated.json()["secret"].clone()];
    for list in ["/v1/channels", "/v1/audit"] {
        let text = String::from_utf8_lossy(&client.get(list).await.body).into_owned();
        for secret in secrets.iter().filter_map(Value::as_str) {
            assert!(!text.contains(secret), "a secret in {list}");
        }
    }
    product.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_says_what_is_left() {
    let product = Product::start().await;
    let client = product.live();
    company::set_up(&client).await;
    client.post("/v1/events", &company::event("1", 812)).await;
    let value = client.get("/v1/customers/acme/entitlements/tokens/value").await.json();
    let expected = json!({
        "has_access": true, "usage": "812", "limit": "1000", "balance": "188", "overage": "0",
        "usage_percentage": "81.2",
    });
    for (field, expected) in expected.as_object().expect("an object") {
        assert_eq!(value[field], *expected, "{field} in {value}");
    }
    assert!(value["period"]["from"].is_string() && value["period"]["to"].is_string(), "{value}");
    product.stop().await;
}

async fn change(client: &Client, path: &str, patch: &Value, field: &str, expected: &Value) {
    let answer = client.json(Method::PATCH, path, patch).await;
    assert_eq!(answer.status, StatusCode::OK, "{path}: {:?}", answer.body);
    let shown = client.get(path).await.json();
    assert_eq!(shown, answer.json(), "{path}");
    assert_eq!(shown[field], *expected, "{path}");
}

async fn check_audit(client: &Client) {
    let audit = client.get("/v1/audit?limit=1000").await.json();
    let items = audit["items"].as_array().expect("items");
    for kind in ["meter", "feature", "channel", "rule", "customer", "entitlement"] {
        for action in ["create", "update", "delete"] {
            let name = format!("{kind}.{action}");
            let entry = items.iter().find(|it| it["action"] == name);
            let entry = entry.expect(&name);
            assert_eq!(entry["before"].is_null(), action == "create", "{entry}");
            assert_eq!(entry["after"].is_null(), action == "delete", "{entry}");
        }
    }
}
