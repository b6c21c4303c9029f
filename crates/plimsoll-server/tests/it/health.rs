//! What the people who run the server ask.

use axum::http::{Method, StatusCode};

use crate::product::Product;

#[tokio::test(flavor = "multi_thread")]
async fn health_and_numbers_need_no_key() {
    let product = Product::start().await;
    let anyone = product.live().with_key(None);
    assert_eq!(anyone.get("/healthz").await.status, StatusCode::OK);
    assert_eq!(anyone.get("/readyz").await.status, StatusCode::OK);
    anyone.send(Method::from_bytes(b"BREW").expect("a method"), "/v1/meters", &[], "").await;
    let metrics = anyone.get("/metrics").await;
    let text = String::from_utf8_lossy(&metrics.body).into_owned();
    for part in [
        r#"plimsoll_http_requests_total{method="GET",path="/healthz",status="200"}"#,
        r#"plimsoll_http_requests_total{method="other",path="/v1/meters",status="405"}"#,
        r#"plimsoll_http_request_duration_seconds_bucket{method="GET",path="/readyz",le="0.001"}"#,
    ] {
        assert!(text.contains(part), "no {part} in:\n{text}");
    }
    product.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_carries_a_request_id() {
    let product = Product::start().await;
    let client = product.live();
    for path in ["/healthz", "/v1/meters", "/nothing"] {
        assert!(!client.get(path).await.header("x-request-id").is_empty(), "{path}");
    }
    let chosen = [("x-request-id", "mine-7")];
    let answer = client.send(Method::GET, "/healthz", &chosen, "").await;
    assert_eq!(answer.header("x-request-id"), "mine-7");
    let odd = [("x-request-id", "two words")];
    let answer = client.send(Method::GET, "/healthz", &odd, "").await;
    assert_ne!(answer.header("x-request-id"), "two words");
    product.stop().await;
}
