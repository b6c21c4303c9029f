//! `GET /v1/events`: what an item says, which parameters there are, and which are refused.

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::{
    client::Client,
    company::{self, event},
    product::Product,
};

async fn ids(client: &Client, query: &str) -> Vec<String> {
    let answer = client.get(&format!("/v1/events?{query}")).await;
    assert_eq!(answer.status, StatusCode::OK, "{query}: {:?}", answer.body);
    let page = answer.json();
    let items = page["items"].as_array().expect("items");
    items.iter().map(|it| it["event"]["id"].as_str().expect("an id").to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_shown_as_it_was_sent() {
    let product = Product::start().await;
    let client = product.live();
    company::set_up(&client).await;
    let mut sent = event("1", 7);
    sent["time"] = json!("2999-01-01T00:00:00Z");
    assert_eq!(client.post("/v1/events", &sent).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    let mut sent = event("1", 7);
    sent["region"] = json!("eu");
    sent["data"] = json!({"tokens": {"count": 1}, "text": "ü\"\n"});
    client.post("/v1/events", &sent).await;
    client.post("/v1/events", &sent).await;
    let page = client.get("/v1/events").await.json();
    let customer = company::id(&client.get("/v1/customers/acme").await.json());
    let accepted_at = page["items"][0]["accepted_at"].clone();
    let expected = json!({"next_cursor": null, "complete_from": null, "items": [{
        "event": sent,
        "customer": customer,
        "time": accepted_at,
        "accepted_at": accepted_at,
        "counted": false,
        "uncounted": [{"meter": "tokens", "code": "value_not_numeric"}],
    }]});
    assert_eq!(page, expected);
    assert!(accepted_at.as_str().is_some_and(|it| it.ends_with('Z')));
    client.post("/v1/events", &event("2", 7)).await;
    let page = client.get("/v1/events?limit=1").await.json();
    assert_eq!(page["items"][0]["counted"], true, "{page}");
    assert_eq!(page["items"][0].get("uncounted"), None, "{page}");
    assert!(page["next_cursor"].is_string(), "{page}");
    product.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_choose_events() {
    let product = Product::start().await;
    let client = product.live();
    company::set_up(&client).await;
    let mut events: Vec<Value> = (1..=4).map(|it| event(&it.to_string(), 1)).collect();
    events[0]["time"] = json!("2020-01-01T00:00:00Z");
    events[1]["subject"] = json!("new comer");
    events[2]["type"] = json!("other");
    events[3]["data"] = json!(null);
    for event in &events {
        client.post("/v1/events", event).await;
    }
    let customer = company::id(&client.get("/v1/customers/acme").await.json());
    let cases: [(String, &[&str]); 14] = [
        (String::new(), &["4", "3", "2"]),
        ("customer=acme".to_owned(), &["4", "3"]),
        (format!("customer={customer}"), &["4", "3"]),
        ("customer=new%20comer".to_owned(), &["2"]),
        ("type=other".to_owned(), &["3"]),
        ("subject=new+comer".to_owned(), &["2"]),
        ("source=%2Fit".to_owned(), &["4", "3", "2"]),
        ("id=3".to_owned(), &["3"]),
        ("counted=true".to_owned(), &["3", "2"]),
        ("counted=false".to_owned(), &["4"]),
        ("counted=false&customer=new%20comer".to_owned(), &[]),
        ("from=2999-01-01T00:00:00Z".to_owned(), &[]),
        ("from=2020-01-01T00:00:00Z&to=2999-01-01T00:00:00Z&limit=2".to_owned(), &["4", "3"]),
        ("to=2020-01-01T00:00:00Z".to_owned(), &[]),
    ];
    for (query, expected) in cases {
        assert_eq!(ids(&client, &query).await, expected, "{query}");
    }
    assert_eq!(ids(&product.sandbox(), "").await, Vec::<String>::new());
    product.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_parameter_is_refused_by_name() {
    let product = Product::start().await;
    let client = product.live();
    let long = format!("subject={}", "x".repeat(1_025));
    let cases = [
        ("customer=nobody", 422, "customer_not_found", "customer"),
        ("customer=mtr_01K0000000000000000000000A", 400, "invalid_parameter", "customer"),
        ("counted=maybe", 400, "invalid_parameter", "counted"),
        ("counted=", 400, "invalid_parameter", "counted"),
        ("from=yesterday", 400, "invalid_parameter", "from"),
        ("to=2026-01-01", 400, "invalid_parameter", "to"),
        ("type=", 400, "invalid_parameter", "type"),
        ("id=", 400, "invalid_parameter", "id"),
        ("source=", 400, "invalid_parameter", "source"),
        (long.as_str(), 400, "invalid_parameter", "subject"),
        ("limit=1001", 400, "invalid_parameter", "limit"),
        ("meter=tokens", 400, "invalid_parameter", "meter"),
        ("type=a&type=b", 400, "invalid_parameter", "type"),
        ("cursor=MS4yLjM", 400, "invalid_cursor", "cursor"),
        ("cursor=", 400, "invalid_cursor", "cursor"),
    ];
    for (query, status, code, field) in cases {
        let answer = client.get(&format!("/v1/events?{query}")).await;
        let got = (answer.status.as_u16(), answer.code(), answer.field());
        assert_eq!(got, (status, code.to_owned(), field.to_owned()), "{query}");
    }
    product.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_add_up_to_all_events() {
    let product = Product::start().await;
    let client = product.live();
    company::set_up(&client).await;
    for batch in 0..6 {
        let mut events: Vec<Value> = (0..3).map(|it| event(&format!("{batch}-{it}"), it)).collect();
        for (event, subject) in events.iter_mut().zip(["acme-prod", "b", "c"]) {
            event["subject"] = json!(subject);
        }
        client.post("/v1/events", &json!(events)).await;
    }
    let whole = ids(&client, "limit=1000").await;
    assert_eq!(whole.len(), 18);
    for limit in [1, 5, 17, 18, 19] {
        let (mut found, mut cursor) = (Vec::new(), String::new());
        loop {
            let query = format!("limit={limit}{cursor}");
            found.extend(ids(&client, &query).await);
            let page = client.get(&format!("/v1/events?{query}")).await.json();
            let Some(next) = page["next_cursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        assert_eq!(found, whole, "by {limit}");
    }
    product.stop().await;
}
