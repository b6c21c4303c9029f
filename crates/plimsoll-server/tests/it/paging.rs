//! Lists come in pages: complete, in order, without repetition, whatever the page's size.

use axum::http::StatusCode;
use serde_json::json;

use crate::{client::Client, product::Product};

#[tokio::test(flavor = "multi_thread")]
async fn pages_add_up_to_the_whole_list() {
    let product = Product::start().await;
    let client = product.live();
    for number in 0..7 {
        let key = format!("customer-{number}");
        client.make("/v1/customers", &json!({"key": key, "name": key, "subjects": []})).await;
        let feature = json!({"key": format!("feature-{number}"), "name": "x", "type": "boolean"});
        client.make("/v1/features", &feature).await;
    }
    for list in ["customers", "features", "audit"] {
        let whole = keys(&client, list, 1_000).await;
        assert!(whole.len() >= 7, "{list}");
        for limit in [1, 2, 3, 7, 8] {
            assert_eq!(keys(&client, list, limit).await, whole, "{list} by {limit}");
        }
    }
    product.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_page_is_refused_by_name() {
    let product = Product::start().await;
    let client = product.live();
    let cases = [
        ("limit=0", "invalid_parameter", "limit"),
        ("limit=1001", "invalid_parameter", "limit"),
        ("limit=ten", "invalid_parameter", "limit"),
        ("limit=1&limit=2", "invalid_parameter", "limit"),
        ("cursor=nonsense", "invalid_cursor", "cursor"),
        ("cursor=%00", "invalid_parameter", "cursor"),
        ("page=2", "invalid_parameter", "page"),
    ];
    for list in ["meters", "customers", "audit", "notifications", "api-keys", "events"] {
        for (query, code, field) in cases {
            let answer = client.get(&format!("/v1/{list}?{query}")).await;
            let got = (answer.status, answer.code(), answer.field());
            let expected = (StatusCode::BAD_REQUEST, code.to_owned(), field.to_owned());
            assert_eq!(got, expected, "{list} {query}");
        }
    }
    product.stop().await;
}

async fn keys(client: &Client, list: &str, limit: usize) -> Vec<String> {
    let mut keys = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = client.get(&format!("/v1/{list}?limit={limit}{cursor}")).await.json();
        let items = page["items"].as_array().expect("items");
        assert!(items.len() <= limit);
        keys.extend(items.iter().map(|it| it["id"].as_str().expect("an id").to_owned()));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return keys,
        }
    }
}
