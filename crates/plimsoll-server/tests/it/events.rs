//! `POST /v1/events`: the modes, the answers, what counts and what does not.

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    client::{Answer, Client},
    company::{self, event},
    product::Product,
};

#[tokio::test(flavor = "multi_thread")]
async fn every_mode_is_taken() {
    let product = Product::start().await;
    let client = product.live();
    company::set_up(&client).await;
    let one = event("1", 1).to_string();
    let several = json!([event("2", 10), event("3", 100)]).to_string();
    let cases = [
        ("application/json", one.clone(), 1),
        ("application/json; charset=utf-8", several.clone(), 2),
        ("application/cloudevents+json", event("4", 1_000).to_string(), 1),
        ("application/cloudevents-batch+json", json!([event("5", 10_000)]).to_string(), 1),
    ];
    for (content_type, body, accepted) in cases {
        let answer = post(&client, content_type, &body).await;
        assert_eq!(answer.status, StatusCode::OK, "{content_type}: {:?}", answer.body);
        assert_eq!(answer.json()["accepted"], accepted, "{content_type}");
    }
    let binary = [
        ("ce-specversion", "1.0"),
        ("ce-id", "6"),
        ("ce-source", "/it"),
        ("ce-type", "llm.request"),
        ("ce-subject", "acme%2Dprod"),
        ("content-type", "application/json"),
    ];
    let answer = client.send(Method::POST, "/v1/events", &binary, r#"{"tokens":100000}"#).await;
    assert_eq!(answer.json()["accepted"], 1, "{:?}", answer.body);
    assert_eq!(company::usage(&client).await, "111111");

    // A mode that says one and sends the other.
    for (content_type, body) in [
        ("application/cloudevents+json", several.as_str()),
        ("application/cloudevents-batch+json", one.as_str()),
    ] {
        let answer = post(&client, content_type, body).await;
        assert!(answer.status.is_client_error(), "{content_type}: {:?}", answer.body);
    }
    product.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_batch_wrong_is_half_a_batch_stored() {
    let product = Product::start().await;
    let client = product.live();
    company::set_up(&client).await;
    let with = |id: &str, field: &str, value: Value| {
        let mut event = event(id, 1);
        event[field] = value;
        event
    };
    let batch = json!([
        event("1", 1),
        with("2", "time", json!("2020-01-01T00:00:00Z")),
        with("3", "time", json!("2999-01-01T00:00:00Z")),
        with("4", "time", json!("yesterday")),
        with("5", "source", json!(7)),
        with("6", "data", json!({"tokens": "NaN"})),
        with("7", "data", json!({"tokens": "2"})),
        with("8", "data", json!({"tokens": {}})),
        with("9", "data", Value::Null),
        event("1", 1),
        7,
    ]);
    let answer = client.post("/v1/events", &batch).await;
    let document = answer.json();
    assert_eq!(answer.status, StatusCode::OK, "{document}");
    let rejected: Vec<_> = document["rejected"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|it| (it["index"].as_u64().expect("a number"), it["code"].as_str().expect("a code")))
        .collect();
    let expected = [
        (1, "event_time_too_old"),
        (2, "event_time_in_future"),
        (3, "event_time_invalid"),
        (4, "attribute_not_a_string"),
        (10, "event_not_an_object"),
    ];
    assert_eq!(rejected, expected, "{document}");
    assert_eq!(document["duplicates"], 1, "{document}");
    // What is stored and moves no meter is accepted: 6, 8 and 9 are uncounted.
    assert_eq!(document["accepted"], 5, "{document}");
    assert_eq!(company::usage(&client).await, "3");
    product.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_accepted_is_a_problem_with_the_same_list() {
    let product = Product::start().await;
    let client = product.live();
    company::set_up(&client).await;
    let answer = client.post("/v1/events", &json!([7, {"id": "1"}])).await;
    let document = answer.json();
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(answer.header("content-type"), "application/problem+json");
    assert_eq!(document["code"], "nothing_accepted");
    assert_eq!(document["rejected"].as_array().map(Vec::len), Some(2));
    assert_eq!(document["accepted"], 0);

    client.post("/v1/events", &event("1", 1)).await;
    let again = client.post("/v1/events", &event("1", 1)).await;
    assert_eq!(again.status, StatusCode::OK, "a duplicate is no failure");
    assert_eq!(again.json(), json!({"accepted": 0, "duplicates": 1, "rejected": []}));
    product.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_wrong_as_a_whole_stores_nothing() {
    let product = Product::start().await;
    let client = product.live();
    company::set_up(&client).await;
    let many: Vec<_> = (0..10_001).map(|it| event(&format!("many-{it}"), 1)).collect();
    let twice = event("1", 1).to_string().replacen('{', r#"{"id":"2","#, 1);
    let surrogate = event("1", 1).to_string().replace("acme-prod", "\\ud800");
    let nul = event("1", 1).to_string().replace("acme-prod", "a\\u0000b");
    let deep = event("1", 1)
        .to_string()
        .replace(r#"{"tokens":1}"#, &format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000)));
    let huge = format!("[{}]", " ".repeat(50_000_000));
    let cases = [
        ("malformed", r#"[{"id":"#.to_owned(), 400, "malformed_json"),
        ("behind the end", event("1", 1).to_string() + "x", 400, "malformed_json"),
        ("no JSON", "id=1".to_owned(), 400, "malformed_json"),
        ("empty", String::new(), 400, "malformed_json"),
        ("nested deeply", deep, 400, "malformed_json"),
        ("a batch of none", "[]".to_owned(), 422, "event_malformed"),
        ("10,001 events", Value::Array(many).to_string(), 413, "too_many_events"),
        ("50 MB", huge, 413, "body_too_large"),
        ("a text", "\"x\"".to_owned(), 422, "nothing_accepted"),
        ("an attribute twice", twice, 422, "nothing_accepted"),
        ("a lone surrogate", surrogate, 422, "nothing_accepted"),
        ("NUL", nul, 422, "nothing_accepted"),
    ];
    for (name, body, status, code) in cases {
        let answer = post(&client, "application/json", &body).await;
        let got = (answer.status.as_u16(), answer.code());
        assert_eq!(got, (status, code.to_owned()), "{name}: {:?}", answer.body);
    }
    let utf16 = [("content-type", "application/json")];
    let answer = client.send(Method::POST, "/v1/events", &utf16, &b"\xff\xfe{\x00}\x00"[..]).await;
    assert!(answer.status.is_client_error());
    assert_eq!(company::usage(&client).await, "0", "nothing half done");
    assert_eq!(client.get("/healthz").await.status, StatusCode::OK);
    product.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_subject_becomes_a_customer_or_is_refused() {
    let product = Product::start().await;
    let client = product.live();
    company::set_up(&client).await;
    let of = |id: &str, subject: &str| {
        let mut event = event(id, 5);
        event["subject"] = json!(subject);
        event
    };
    let answer = client.post("/v1/events", &of("1", "newcomer")).await;
    assert_eq!(answer.json()["accepted"], 1);
    assert_eq!(client.get("/v1/customers/newcomer").await.status, StatusCode::OK);
    let settings = json!({"unknown_subjects": "reject"});
    let answer = client.json(Method::PATCH, "/v1/environment", &settings).await;
    assert_eq!(answer.status, StatusCode::OK, "{:?}", answer.body);
    let answer = client.post("/v1/events", &of("2", "stranger")).await;
    assert_eq!(answer.json()["rejected"][0]["code"], "unknown_subject");
    product.stop().await;
}

async fn post(client: &Client, content_type: &str, body: &str) -> Answer {
    let headers = [("content-type", content_type)];
    client.send(Method::POST, "/v1/events", &headers, body.to_owned()).await
}
