//! Every answer that is no success is a problem document of one shape.

use axum::http::{Method, StatusCode};

use crate::{client::Answer, product::Product};

#[tokio::test(flavor = "multi_thread")]
async fn every_refusal_is_a_problem_document() {
    let product = Product::start().await;
    let client = product.live();
    let json = [("content-type", "application/json")];
    let text = [("content-type", "text/plain")];
    let cases = [
        (client.get("/nowhere").await, 404, "not_found", ""),
        (client.get("/v1/meters/nothing").await, 404, "not_found", ""),
        (client.get("/v1/meters/%00").await, 404, "not_found", ""),
        (client.get("/v1/meters/%ff").await, 404, "not_found", ""),
        (client.send(Method::PUT, "/v1/meters", &[], "").await, 405, "method_not_allowed", ""),
        (client.with_key(None).get("/v1/meters").await, 401, "unauthenticated", "authorization"),
        (
            client.send(Method::POST, "/v1/meters", &text, "x").await,
            415,
            "unsupported_media_type",
            "content-type",
        ),
        (client.send(Method::POST, "/v1/meters", &json, "{").await, 400, "malformed_json", ""),
        (client.get("/v1/meters?limt=1").await, 400, "invalid_parameter", "limt"),
    ];
    for (answer, status, code, field) in cases {
        check(&answer, status, code, field);
    }
    let answer = client.send(Method::PUT, "/v1/meters", &[], "").await;
    let mut allowed: Vec<_> = answer.header("allow").split(',').collect();
    allowed.sort_unstable();
    assert_eq!(allowed, ["GET", "HEAD", "POST"]);
    product.stop().await;
}

fn check(answer: &Answer, status: u16, code: &str, field: &str) {
    let document = answer.json();
    assert_eq!(answer.status, StatusCode::from_u16(status).expect("a status"), "{document}");
    assert_eq!(answer.header("content-type"), "application/problem+json");
    assert_eq!(document["status"], status);
    assert_eq!(document["code"], code, "{document}");
    assert_eq!(document["type"], format!("/docs/reference/errors/{code}"));
    assert!(document["title"].as_str().is_some_and(|it| !it.is_empty()));
    assert!(document["detail"].as_str().is_some_and(|it| !it.is_empty()));
    assert_eq!(answer.field(), field, "{document}");
}
