//! Grants, resets, access and history over HTTP.
//!
//! Not here: what they do to usage and lines (the engine's tests).

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{client::Client, company, product::Product};

const TOKENS: &str = "/v1/customers/acme/entitlements/tokens";

async fn entitled(client: &Client) {
    company::set_up(client).await;
    client.post("/v1/events", &company::event("1", 400)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_is_made_shown_listed_and_voided() {
    let product = Product::start().await;
    let client = product.live();
    entitled(&client).await;
    let grants = format!("{TOKENS}/grants");
    let request = json!({"amount": 50, "expiration": {"duration": "day", "count": 1},
        "recurrence": {"interval": "hour"}, "metadata": {"order": "7"}});
    let made = client.make(&grants, &request).await;
    assert_eq!((&made["amount"], &made["max_rollover"]), (&json!("50"), &json!("50")));
    assert_eq!((&made["priority"], &made["metadata"]["order"]), (&json!(1), &json!("7")));
    assert_eq!(made["recurrence"]["anchor"], made["effective_at"]);
    let path = format!("{grants}/{}", company::id(&made));
    let shown = client.get(&path).await.json();
    // It ends sooner than the period, so it burns before the limit.
    assert_eq!((&shown["balance"], &shown["is_active"]), (&json!("50"), &json!(true)));
    client.post("/v1/events", &company::event("2", 20)).await;
    let shown = client.get(&path).await.json();
    assert_eq!(shown["balance"], "30");
    let page = client.get(&grants).await.json();
    assert_eq!(page, json!({"items": [shown], "next_cursor": null}));
    let value = client.get(&format!("{TOKENS}/value")).await.json();
    assert_eq!(value["limit"], "1050");
    assert_eq!(value["grants"], json!([{"id": made["id"], "balance": "30", "is_active": true}]));
    for _ in 0..2 {
        let voided = client.send(Method::DELETE, &path, &[], "").await;
        assert_eq!(voided.status, StatusCode::NO_CONTENT, "{:?}", voided.body);
    }
    let shown = client.get(&path).await.json();
    assert_eq!((&shown["balance"], &shown["is_active"]), (&json!("0"), &json!(false)));
    assert!(shown["voided_at"].is_string(), "{shown}");
    let value = client.get(&format!("{TOKENS}/value")).await.json();
    assert_eq!((&value["limit"], &value["grants"]), (&json!("1020"), &json!([])));
    product.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_is_made_once_under_one_idempotency_key() {
    let product = Product::start().await;
    let client = product.live();
    entitled(&client).await;
    let grants = format!("{TOKENS}/grants");
    let key = [("idempotency-key", "once"), ("content-type", "application/json")];
    let text = json!({"amount": 50}).to_string();
    let first = client.send(Method::POST, &grants, &key, text.clone()).await;
    let again = client.send(Method::POST, &grants, &key, text).await;
    assert_eq!(first.status, StatusCode::CREATED, "{:?}", first.body);
    assert_eq!(again.header("idempotent-replayed"), "true");
    assert_eq!(first.json(), again.json());
    let page = client.get(&grants).await.json();
    assert_eq!(page["items"].as_array().map(Vec::len), Some(1));
    // The time of a void is part of the request.
    let path = format!("{grants}/{}", company::id(&first.json()));
    let at = format!("{path}?at=2999-01-01T00:00:00Z");
    assert_eq!(client.send(Method::DELETE, &at, &key, "").await.status, StatusCode::NO_CONTENT);
    assert_eq!(client.send(Method::DELETE, &path, &key, "").await.code(), "idempotency_key_reused");
    product.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_begins_a_window_that_the_history_shows() {
    let product = Product::start().await;
    let client = product.live();
    entitled(&client).await;
    let reset = client.post(&format!("{TOKENS}/reset"), &json!({"retain_anchor": false})).await;
    assert_eq!(reset.status, StatusCode::OK, "{:?}", reset.body);
    assert!(reset.json()["usage_period"]["anchor"].is_string());
    client.post("/v1/events", &company::event("2", 7)).await;
    let history = client.get(&format!("{TOKENS}/history")).await.json();
    let windows = history["windows"].as_array().expect("windows");
    let usage: Vec<_> = windows.iter().map(|it| (&it["usage"], &it["is_current"])).collect();
    assert_eq!(usage, [(&json!("400"), &json!(false)), (&json!("7"), &json!(true))]);
    assert_eq!((&history["segments"], &history["next_from"]), (&json!([]), &Value::Null));
    let part = client.get(&format!("{TOKENS}/history?limit=1")).await.json();
    assert_eq!(part["next_from"], windows[1]["from"]);
    for (query, field) in [("limit=0", "limit"), ("from=now", "from"), ("till=x", "till")] {
        let answer = client.get(&format!("{TOKENS}/history?{query}")).await;
        assert_eq!(answer.code(), "invalid_parameter", "{query}");
        assert_eq!(answer.json()["field"], field, "{query}");
    }
    product.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn access_shows_everything_at_once() {
    let product = Product::start().await;
    let client = product.live();
    entitled(&client).await;
    let sso = json!({"key": "sso", "name": "SSO", "type": "boolean"});
    client.make("/v1/features", &sso).await;
    let sso = json!({"feature": "sso", "type": "boolean"});
    client.make("/v1/customers/acme/entitlements", &sso).await;
    let page = client.get("/v1/customers/acme/access").await.json();
    let shown: Vec<_> = page["items"].as_array().expect("items").iter().collect();
    assert_eq!(shown.len(), 2);
    assert_eq!((&shown[0]["feature"], &shown[0]["usage"]), (&json!("tokens"), &json!("400")));
    assert_eq!((&shown[1]["feature"], &shown[1]["has_access"]), (&json!("sso"), &json!(true)));
    let none = client.get("/v1/customers/nobody/access").await;
    assert_eq!(none.status, StatusCode::NOT_FOUND);
    product.stop().await;
}
