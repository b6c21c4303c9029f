//! The document and the router agree.

use std::collections::BTreeSet;

use axum::http::{Method, StatusCode};
use plimsoll_server::{document, endpoints};
use serde_json::Value;

use crate::product::Product;

#[tokio::test(flavor = "multi_thread")]
async fn every_route_of_the_document_is_served_and_takes_no_other_method() {
    let product = Product::start().await;
    let client = product.live();
    let documented: BTreeSet<_> = endpoints(&document())
        .into_iter()
        .map(|(method, path)| (method.to_string(), path))
        .collect();
    assert!(documented.len() > 40, "{} routes", documented.len());
    let paths: BTreeSet<_> = documented.iter().map(|(_, path)| path).collect();
    for path in paths {
        for method in [Method::GET, Method::PUT, Method::POST, Method::PATCH, Method::DELETE] {
            let answer = client.send(method.clone(), &path.replace(['{', '}'], "_"), &[], "").await;
            let served = answer.status != StatusCode::METHOD_NOT_ALLOWED;
            let is_documented = documented.contains(&(method.to_string(), path.clone()));
            assert_eq!(served, is_documented, "{method} {path}");
        }
    }
    product.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_is_complete_and_says_what_all_routes_share() {
    let product = Product::start().await;
    let served = product.live().with_key(None).get("/openapi.json").await.json();
    assert!(served["openapi"].as_str().is_some_and(|it| it.starts_with("3.1")));
    let mut ids = BTreeSet::new();
    for (path, item) in served["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("operations") {
            let id = operation["operationId"].as_str().expect("an operation id");
            assert!(ids.insert(id.to_owned()), "{id} twice");
            assert!(operation["summary"].is_string(), "{method} {path}");
            let problem = &operation["responses"]["default"]["content"]["application/problem+json"];
            assert_eq!(problem["schema"]["$ref"], "#/components/schemas/Problem", "{path}");
            let takes_key = names(&operation["parameters"]).contains("idempotency-key");
            let changes = method != "get" && path != "/v1/events";
            assert_eq!(takes_key, changes, "{method} {path}");
            assert_eq!(operation["security"].is_array(), path.starts_with("/v1/"), "{path}");
        }
    }
    check_references(&served, &served["components"]["schemas"]);
    product.stop().await;
}

/// A change of the API shows in a change of this file.
#[test]
fn the_document_is_as_written_down() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/openapi.json");
    let text = serde_json::to_string_pretty(&document()).expect("the document is JSON") + "\n";
    if text != std::fs::read_to_string(file).unwrap_or_default() {
        let actual = std::env::temp_dir().join("plimsoll-openapi.json");
        std::fs::write(&actual, &text).expect("a temporary file");
        panic!("the API has changed: compare {} with {file}, and copy it", actual.display());
    }
}

fn names(parameters: &Value) -> BTreeSet<&str> {
    let parameters = parameters.as_array().map(Vec::as_slice).unwrap_or_default();
    parameters.iter().filter_map(|it| it["name"].as_str()).collect()
}

/// Every `$ref` leads to a schema that is there.
fn check_references(value: &Value, schemas: &Value) {
    match value {
        Value::Object(fields) => {
            if let Some(reference) = fields.get("$ref").and_then(Value::as_str) {
                let name = reference.strip_prefix("#/components/schemas/").expect("a schema");
                assert!(schemas[name].is_object(), "no schema {name}");
            }
            fields.values().for_each(|it| check_references(it, schemas));
        }
        Value::Array(items) => items.iter().for_each(|it| check_references(it, schemas)),
        _ => {}
    }
}
