//! Requests that cannot be done: each is a 4xx with a code and the field's name.

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{client::Client, company, product::Product};

/// A document with one field set to something wrong.
fn with(mut document: Value, pointer: &str, value: Value) -> Value {
    match document.pointer_mut(pointer) {
        Some(place) => *place = value,
        None => document[pointer.trim_start_matches('/')] = value,
    }
    document
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_fields_are_named() {
    let product = Product::start().await;
    let client = product.live();
    let company = company::set_up(&client).await;
    client.make("/v1/features", &with(company::feature(), "/key", json!("spare"))).await;
    let before = everything(&client).await;
    let entitlement = || with(company::entitlement(), "/feature", json!("spare"));
    let meter = || with(company::meter(), "/key", json!("other"));
    let feature = || with(company::feature(), "/key", json!("other"));
    let customer = || json!({"key": "other", "name": "Other", "subjects": []});
    let rule = || company::rule(&company.channel);
    let entitlements = "/v1/customers/acme/entitlements";
    let cases = [
        ("/v1/meters", with(meter(), "/aggregation", json!("median")), "aggregation"),
        ("/v1/meters", with(meter(), "/value_property", json!("tokens")), "value_property"),
        ("/v1/meters", with(meter(), "/value_property", Value::Null), "value_property"),
        ("/v1/meters", with(meter(), "/multiplier", json!("2")), "multiplier"),
        ("/v1/meters", with(meter(), "/bucket", json!("fortnight")), "bucket"),
        ("/v1/meters", with(meter(), "/group_by", json!({"a b": "$.a"})), "group_by.a b"),
        ("/v1/meters", with(meter(), "/group_by", json!(["$.a"])), "group_by"),
        (
            "/v1/meters",
            with(meter(), "/filters", json!([{"property": "$.a", "values": []}])),
            "filters[0].values",
        ),
        ("/v1/meters", with(meter(), "/key", json!("a/b")), "key"),
        ("/v1/meters", with(meter(), "/key", json!("x".repeat(257))), "key"),
        ("/v1/meters", with(meter(), "/key", json!(7)), "key"),
        ("/v1/meters", with(meter(), "/name", json!("a\u{0}b")), "name"),
        ("/v1/meters", with(meter(), "/colour", json!("red")), "colour"),
        ("/v1/meters", company::meter(), "key"),
        ("/v1/features", with(feature(), "/meter", json!("nothing")), "meter"),
        ("/v1/features", with(feature(), "/type", json!("magic")), "type"),
        ("/v1/customers", with(customer(), "/subjects", json!(["acme-prod"])), "subjects[0]"),
        ("/v1/customers", with(customer(), "/metadata", json!({"a": 1})), "metadata.a"),
        (entitlements, with(entitlement(), "/feature", json!("nothing")), "feature"),
        (entitlements, with(entitlement(), "/limit", json!("lots")), "limit"),
        (entitlements, with(entitlement(), "/limit", json!("-1")), "limit"),
        (
            entitlements,
            with(entitlement(), "/usage_period/interval", json!("fortnight")),
            "usage_period.interval",
        ),
        (entitlements, company::entitlement(), "feature"),
        ("/v1/rules", with(rule(), "/lines/0/value", json!("-5")), "lines[0].value"),
        ("/v1/rules", with(rule(), "/lines/1/value", json!("80")), "lines[1]"),
        ("/v1/rules", with(rule(), "/lines/1/kind", json!("vibes")), "lines[1].kind"),
        ("/v1/rules", with(rule(), "/lines", json!([])), "lines"),
        (
            "/v1/rules",
            with(rule(), "/lines/1", json!({"kind": "every", "value": 5, "group": {"key": "a"}})),
            "lines[1].group.key",
        ),
        (
            "/v1/rules",
            with(rule(), "/lines/1", json!({"kind": "every", "value": 5, "group": {"by": "a"}})),
            "lines[1].group.by",
        ),
        ("/v1/rules", with(rule(), "/type", json!("entitlements.reset")), "lines"),
        ("/v1/rules", with(rule(), "/channels/0", json!("chn_x")), "channels[0]"),
        ("/v1/rules", with(rule(), "/features/0", json!("nothing")), "features[0]"),
        ("/v1/rules", with(rule(), "/type", json!("some.thing")), "type"),
        ("/v1/api-keys", json!({"name": "x", "scopes": ["root"]}), "scopes[0]"),
        ("/v1/api-keys", json!({"name": "x", "scopes": []}), "scopes"),
        ("/v1/api-keys", json!({"scopes": ["read"]}), "name"),
    ];
    for (path, document, field) in cases {
        refused(&client, path, &document, field).await;
    }
    assert_eq!(everything(&client).await, before, "nothing half done");
    product.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn destinations_and_headers_that_reach_inside_are_refused() {
    let product = Product::start().await;
    let client = product.live();
    let urls = [
        "http://127.0.0.1",
        "http://127.1:80/x",
        "http://2130706433",
        "http://0x7f000001/",
        "http://0177.0.0.1/",
        "http://[::1]/",
        "http://[::ffff:127.0.0.1]",
        "http://[64:ff9b::7f00:1]/",
        "http://169.254.169.254/latest/meta-data",
        "http://10.0.0.1/",
        "http://0.0.0.0/",
        "http://localhost/",
        "file:///etc/passwd",
        "gopher://example.com/",
        "https://user:password@example.com/",
        "example.com",
        "",
    ];
    for url in urls {
        refused(&client, "/v1/channels", &with(company::channel(), "/url", json!(url)), "url")
            .await;
    }
    let headers = [
        ("x-a", "b\r\nx-c: d"),
        ("x-a", "b\nc"),
        ("x a", "b"),
        ("x-a\r\nx-c", "b"),
        ("host", "example.com"),
        ("content-length", "7"),
        ("transfer-encoding", "chunked"),
        ("webhook-signature", "v1,x"),
    ];
    for (name, value) in headers {
        let document = with(company::channel(), "/headers", json!({name: value}));
        let answer = client.post("/v1/channels", &document).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{name}: {value}");
        assert!(answer.field().starts_with("headers"), "{name}: {value}: {}", answer.json());
    }
    assert_eq!(client.get("/v1/channels").await.json()["items"], json!([]));
    product.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_no_document_is_refused() {
    let product = Product::start().await;
    let client = product.live();
    let deep = format!(r#"{{"name":{}1{}}}"#, "[".repeat(200), "]".repeat(200));
    let large = format!(r#"{{"name":"{}"}}"#, "x".repeat(2_000_000));
    let cases = [
        (String::new(), "missing_field"),
        ("{".to_owned(), "malformed_json"),
        ("[]".to_owned(), "malformed_json"),
        ("null".to_owned(), "malformed_json"),
        (r#"{"name":"a"} x"#.to_owned(), "malformed_json"),
        (r#"{"name":"a","name":"b"}"#.to_owned(), "duplicate_field"),
        (r#"{"name":"\ud800"}"#.to_owned(), "invalid_character"),
        (r#"{"name":"a\u0000"}"#.to_owned(), "invalid_character"),
        (deep, "json_too_deep"),
        (large, "body_too_large"),
    ];
    let headers = [("content-type", "application/json")];
    for (body, code) in cases {
        let start: String = body.chars().take(40).collect();
        let answer = client.send(Method::POST, "/v1/meters", &headers, body).await;
        assert_eq!(answer.code(), code, "{start}");
    }
    assert_eq!(client.get("/v1/meters").await.json()["items"], json!([]));
    product.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_use_is_not_deleted() {
    let product = Product::start().await;
    let client = product.live();
    let company = company::set_up(&client).await;
    let cases = [
        ("/v1/meters/tokens".to_owned(), "meter_in_use", "tokens"),
        ("/v1/features/tokens".to_owned(), "feature_in_use", ""),
        (format!("/v1/channels/{}", company.channel), "channel_in_use", "80 and 100"),
    ];
    for (path, code, named) in cases {
        let answer = client.send(Method::DELETE, &path, &[], "").await;
        assert_eq!((answer.status, answer.code()), (StatusCode::CONFLICT, code.to_owned()));
        let detail = answer.json()["detail"].as_str().unwrap_or_default().to_owned();
        assert!(detail.contains(named), "{detail}");
    }
    product.stop().await;
}

/// A 4xx that names the field and has a code of its own.
async fn refused(client: &Client, path: &str, document: &Value, field: &str) {
    let answer = client.post(path, document).await;
    assert!(answer.status.is_client_error(), "{path} {document}: {:?}", answer.body);
    assert_eq!(answer.field(), field, "{path} {document}: {}", answer.json());
    assert!(!answer.code().is_empty(), "{path} {document}");
}

async fn everything(client: &Client) -> Vec<Value> {
    let mut lists = Vec::new();
    for list in ["meters", "features", "customers", "channels", "rules", "api-keys", "audit"] {
        lists.push(client.get(&format!("/v1/{list}")).await.json());
    }
    lists
}
