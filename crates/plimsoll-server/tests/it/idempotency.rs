//! `Idempotency-Key`: the same change once, however often it is asked for.

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    client::{Answer, Client},
    company,
    product::Product,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_repetition_gets_the_first_answer_and_changes_nothing() {
    let product = Product::start().await;
    let client = product.live();
    let first = post(&client, "/v1/meters", &company::meter(), "once").await;
    assert_eq!(first.status, StatusCode::CREATED);
    assert_eq!(first.header("idempotent-replayed"), "");
    let again = post(&client, "/v1/meters", &company::meter(), "once").await;
    assert_eq!(again.status, StatusCode::CREATED);
    assert_eq!(again.header("idempotent-replayed"), "true");
    assert_eq!(again.json(), first.json());
    // Without the key, or with another one, the change is asked for anew.
    assert_eq!(client.post("/v1/meters", &company::meter()).await.code(), "key_in_use");
    let other = post(&client, "/v1/meters", &company::meter(), "twice").await;
    assert_eq!(other.code(), "key_in_use");
    let audit = client.get("/v1/audit").await.json();
    let made = audit["items"].as_array().expect("items").iter();
    assert_eq!(made.filter(|it| it["action"] == "meter.create").count(), 1);
    product.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_request_under_the_same_key_is_refused() {
    let product = Product::start().await;
    let client = product.live();
    post(&client, "/v1/meters", &company::meter(), "k").await;
    let mut other = company::meter();
    other["name"] = json!("Other");
    let answer = post(&client, "/v1/meters", &other, "k").await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(answer.code(), "idempotency_key_reused");
    // Keys of another route and of another environment are others.
    let feature = post(&client, "/v1/features", &company::feature(), "k").await;
    assert_eq!(feature.status, StatusCode::CREATED, "{:?}", feature.body);
    let elsewhere = post(&product.sandbox(), "/v1/meters", &other, "k").await;
    assert_eq!(elsewhere.status, StatusCode::CREATED, "{:?}", elsewhere.body);
    product.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kept_answer_leaves_secrets_out() {
    let product = Product::start().await;
    let client = product.live();
    let first = post(&client, "/v1/channels", &company::channel(), "k").await.json();
    assert!(first["secret"].as_str().is_some_and(|it| it.starts_with("whsec_")));
    let again = post(&client, "/v1/channels", &company::channel(), "k").await.json();
    assert_eq!(again["id"], first["id"]);
    assert!(again["secret"].is_null(), "{again}");
    product.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_at_once_one_makes_the_change() {
    let product = Product::start().await;
    let client = product.live();
    let mut asked = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let client = client.clone();
        asked.spawn(async move { post(&client, "/v1/meters", &company::meter(), "k").await });
    }
    let mut made = 0;
    while let Some(answer) = asked.join_next().await {
        let answer = answer.expect("no panic");
        match answer.status {
            StatusCode::CREATED => {
                made += usize::from(answer.header("idempotent-replayed").is_empty());
            }
            _ => assert_eq!(answer.code(), "idempotency_in_flight", "{:?}", answer.body),
        }
    }
    assert_eq!(made, 1);
    product.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_none_is_refused() {
    let product = Product::start().await;
    let client = product.live();
    for key in ["", &"x".repeat(256)] {
        let answer = post(&client, "/v1/meters", &company::meter(), key).await;
        assert_eq!(answer.code(), "invalid_idempotency_key", "{key}");
    }
    product.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_can_be_repeated() {
    let product = Product::start().await;
    let client = product.live();
    client.make("/v1/meters", &company::meter()).await;
    for replayed in ["", "true"] {
        let headers = [("idempotency-key", "k")];
        let answer = client.send(Method::DELETE, "/v1/meters/tokens", &headers, "").await;
        assert_eq!(answer.status, StatusCode::NO_CONTENT);
        assert_eq!(answer.header("idempotent-replayed"), replayed);
        assert!(answer.body.is_empty());
    }
    product.stop().await;
}

async fn post(client: &Client, path: &str, document: &Value, key: &str) -> Answer {
    let headers = [("content-type", "application/json"), ("idempotency-key", key)];
    client.send(Method::POST, path, &headers, document.to_string()).await
}
