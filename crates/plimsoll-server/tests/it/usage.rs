//! `/v1/usage`: rows, pages, CSV, and queries that cannot be answered.

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{client::Client, company, product::Product};

/// Sends `tokens` of `acme`, accepted now.
async fn used(client: &Client, tokens: &[u64]) {
    let events = tokens.iter().enumerate();
    let events: Vec<_> = events.map(|(id, it)| company::event(&id.to_string(), *it)).collect();
    let answer = client.post("/v1/events", &json!(events)).await;
    assert_eq!(answer.json()["accepted"], json!(tokens.len()), "{}", answer.json());
}

async fn items(client: &Client, query: &str) -> Vec<Value> {
    let answer = client.get(&format!("/v1/usage?{query}")).await;
    assert_eq!(answer.status, StatusCode::OK, "{query}: {}", answer.json());
    answer.json()["items"].as_array().expect("items").clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn usage_is_read_by_window_and_customer() {
    let product = Product::start().await;
    let client = product.live();
    company::set_up(&client).await;
    client.make("/v1/customers", &json!({"key": "idle", "name": "Idle", "subjects": []})).await;
    used(&client, &[7, 5]).await;

    let whole = client.get("/v1/usage?meter=tokens").await.json();
    assert_eq!(whole["items"][0]["value"], "12");
    assert_eq!((&whole["window"], &whole["next_cursor"]), (&Value::Null, &Value::Null));
    assert!(whole["meter"].as_str().is_some_and(|it| it.starts_with("mtr_")));
    assert_eq!(whole["items"][0]["to"], whole["to"]);

    let acme = client.get("/v1/customers/acme").await.json()["id"].clone();
    let by_customer = items(&client, "meter=tokens&group_by=customer&window=month").await;
    assert_eq!(by_customer.len(), 1);
    assert_eq!((&by_customer[0]["customer"], &by_customer[0]["value"]), (&acme, &json!("12")));
    // Minutes are of the last day, which may be of two months.
    let minutes = items(&client, "meter=tokens&group_by=customer&window=minute").await;
    let minutes = minutes.iter().map(|it| it["value"].as_str().unwrap_or_default());
    assert_eq!(minutes.map(|it| it.parse::<u64>().expect("a whole number")).sum::<u64>(), 12);

    let acme = acme.as_str().expect("an id").to_owned();
    for (customers, value) in
        [("acme", "12"), ("acme-prod", "12"), ("idle", "0"), ("idle,acme", "12"), (&acme, "12")]
    {
        let items = items(&client, &format!("meter=tokens&customers={customers}")).await;
        assert_eq!(items[0]["value"], value, "{customers}");
    }
    product.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_usage_add_up_to_the_whole() {
    let product = Product::start().await;
    let client = product.live();
    company::set_up(&client).await;
    used(&client, &[1]).await;
    let query = "meter=tokens&window=day&from=2026-01-01T00:00:00Z&to=2026-01-08T00:00:00Z";
    let whole = items(&client, &format!("{query}&limit=1000")).await;
    assert_eq!(whole.len(), 7);
    for limit in [1, 3, 7] {
        let (mut pages, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = client.get(&format!("/v1/usage?{query}&limit={limit}{cursor}")).await.json();
            pages.extend(page["items"].as_array().expect("items").clone());
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        assert_eq!(pages, whole, "{limit}");
    }
    product.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn usage_is_csv_for_those_who_ask_for_it() {
    let product = Product::start().await;
    let client = product.live();
    company::set_up(&client).await;
    let range = "from=2026-01-01T00:00:00Z&to=2026-01-01T03:00:00Z";
    let path = format!("/v1/usage?meter=tokens&window=hour&limit=2&{range}");
    let answer = client.send(Method::GET, &path, &[("accept", "text/csv")], "").await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.header("content-type"), "text/csv; charset=utf-8; header=present");
    let expected = "from,to,value\r\n\
        2026-01-01T00:00:00Z,2026-01-01T01:00:00Z,0\r\n\
        2026-01-01T01:00:00Z,2026-01-01T02:00:00Z,0\r\n";
    assert_eq!(answer.body, expected);
    let next = format!("{path}&cursor={}", answer.header("next-cursor"));
    let rest = client.send(Method::GET, &next, &[("accept", "text/csv")], "").await;
    assert_eq!(rest.body, "from,to,value\r\n2026-01-01T02:00:00Z,2026-01-01T03:00:00Z,0\r\n");
    assert!(!rest.headers.contains_key("next-cursor"));
    let by = format!("/v1/usage?meter=tokens&group_by=customer&{range}");
    let by = client.send(Method::GET, &by, &[("accept", "text/csv")], "").await;
    assert_eq!(by.body, "from,to,customer,value\r\n");
    product.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_answered_is_named() {
    let product = Product::start().await;
    let client = product.live();
    company::set_up(&client).await;
    let many = vec!["acme"; 1_001].join(",");
    let many = format!("customers={many}");
    let cases = [
        ("", "invalid_parameter", "meter"),
        ("meter=nothing", "meter_not_found", "meter"),
        ("meter=tokens&window=week", "invalid_parameter", "window"),
        ("meter=tokens&customers=nobody", "customer_not_found", "customers"),
        ("meter=tokens&customers=acme,,acme", "invalid_parameter", "customers"),
        (&format!("meter=tokens&{many}"), "too_many_items", "customers"),
        ("meter=tokens&group_by=model", "unknown_group_key", "group_by"),
        ("meter=tokens&filter[model]=x", "unknown_group_key", "filter[model]"),
        ("meter=tokens&filter=x", "invalid_parameter", "filter"),
        ("meter=tokens&from=yesterday", "invalid_parameter", "from"),
        ("meter=tokens&from=2026-01-01T00:30:00Z", "time_not_aligned", "from"),
        ("meter=tokens&to=2026-01-01T00:00:01Z", "time_not_aligned", "to"),
        ("meter=tokens&window=minute&to=2026-01-01T00:00:01Z", "time_not_aligned", "to"),
        ("meter=tokens&window=minute&from=2020-01-01T00:00:00Z", "minutes_too_old", "from"),
        ("meter=tokens&to=2020-01-01T00:00:00Z", "invalid_parameter", "to"),
        ("meter=tokens&window=hour&from=2020-01-01T00:00:00Z", "range_too_large", ""),
        ("meter=tokens&window=day&from=1970-01-01T00:00:00Z", "range_too_large", ""),
        ("meter=tokens&limit=0", "invalid_parameter", "limit"),
        ("meter=tokens&limit=1001", "invalid_parameter", "limit"),
        ("meter=tokens&cursor=nonsense", "invalid_cursor", "cursor"),
        ("meter=tokens&colour=red", "invalid_parameter", "colour"),
    ];
    for (query, code, field) in cases {
        let answer = client.get(&format!("/v1/usage?{query}")).await;
        let got = (answer.code(), answer.field());
        assert_eq!(got, (code.to_owned(), field.to_owned()), "{query}: {}", answer.json());
        assert!(answer.status.is_client_error(), "{query}");
    }
    product.stop().await;
}
