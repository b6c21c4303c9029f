//! The matrix: every route × {no key, a wrong key, the key of the other environment, each scope}.

use axum::http::{Method, StatusCode};
use plimsoll_server::{document, endpoints};
use serde_json::json;

use crate::{client::Client, company, product::Product};

/// Which scopes beside `admin` open a route; `None` if it needs no key.
fn opened_by(method: &Method, path: &str) -> Option<&'static [&'static str]> {
    match (method, path) {
        (_, "/healthz" | "/readyz" | "/metrics" | "/openapi.json") => None,
        (&Method::POST, "/v1/events") => Some(&["ingest"]),
        (
            _,
            "/v1/customers/{customer}/entitlements/{feature}/value"
            | "/v1/customers/{customer}/access",
        ) => Some(&["read", "check"]),
        (&Method::GET, _) | (&Method::POST, "/v1/rules/backtest") => Some(&["read"]),
        _ => Some(&[]),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_opens_to_its_scopes_only() {
    let product = Product::start().await;
    let admin = product.live();
    let company = company::set_up(&admin).await;
    let mut keys = vec![];
    for scope in ["admin", "read", "ingest", "check"] {
        let request = json!({"name": scope, "scopes": [scope]});
        let key = admin.make("/v1/api-keys", &request).await;
        keys.push((scope, key["token"].as_str().expect("a token").to_owned()));
    }

    for (method, path) in endpoints(&document()) {
        let target = target(&path, &company);
        let scopes = opened_by(&method, &path);
        for key in [None, Some("plm_live_unknown_unknown_unknown"), Some("nonsense")] {
            let answer = ask(&admin.with_key(key), &method, &target).await;
            let expected = if scopes.is_none() { answer.0 } else { StatusCode::UNAUTHORIZED };
            assert_eq!(answer.0, expected, "{method} {path} with {key:?}");
            assert_ne!(answer.0, StatusCode::INTERNAL_SERVER_ERROR, "{method} {path}");
        }
        let Some(scopes) = scopes else { continue };
        for (scope, key) in &keys {
            let (status, code) = ask(&admin.with_key(Some(key)), &method, &target).await;
            let opens = *scope == "admin" || scopes.contains(scope);
            let refused = status == StatusCode::FORBIDDEN && code == "insufficient_scope";
            assert_eq!(refused, !opens, "{method} {path} with scope {scope}: {status} {code}");
            assert!(status.as_u16() < 500, "{method} {path} with scope {scope}: {status}");
        }
    }
    product.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_of_the_other_environment_sees_and_changes_nothing() {
    let product = Product::start().await;
    let live = product.live();
    let company = company::set_up(&live).await;
    live.post("/v1/events", &company::event("1", 900)).await;
    let notifications = live.get("/v1/notifications").await.json();
    assert_eq!(notifications["items"].as_array().map(Vec::len), Some(1));
    let notification = company::id(&notifications["items"][0]);
    let other = product.sandbox();

    let keys = live.get("/v1/api-keys").await.json();
    let api_key = company::id(&keys["items"][0]);

    for (method, path) in endpoints(&document()) {
        if !path.contains('{') {
            continue;
        }
        let target = target(&path, &company).replace("ntf_0", &notification);
        let target = target.replace("key_0", &api_key);
        let document = if path.ends_with("/entitlements") && method == Method::POST {
            company::entitlement()
        } else if path.ends_with("/grants") && method == Method::POST {
            json!({"amount": "1"})
        } else {
            json!({})
        };
        let body = if method == Method::GET { String::new() } else { document.to_string() };
        let headers = [("content-type", "application/json")];
        let answer = other.send(method.clone(), &target, &headers, body).await;
        // Whatever the route is for, the resource is not there.
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{method} {path}: {:?}", answer.body);
    }
    for list in ["meters", "features", "customers", "channels", "rules", "notifications"] {
        let items = other.get(&format!("/v1/{list}")).await.json();
        assert_eq!(items["items"], json!([]), "{list}");
    }
    assert_eq!(company::usage(&live).await, "900");
    let channels = json!({
        "name": "x", "type": "entitlements.balance.threshold",
        "lines": [{"kind": "usage_value", "value": "1"}], "channels": [company.channel],
    });
    let answer = other.post("/v1/rules", &channels).await;
    assert_eq!((answer.code(), answer.field()), pair("channel_not_found", "channels[0]"));
    product.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_key_opens_nothing_from_then_on() {
    let product = Product::start().await;
    let admin = product.live();
    let made = admin.make("/v1/api-keys", &json!({"name": "x", "scopes": ["read"]})).await;
    let reader = admin.with_key(made["token"].as_str());
    assert_eq!(reader.get("/v1/meters").await.status, StatusCode::OK);
    let shown = admin.get(&format!("/v1/api-keys/{}", company::id(&made))).await;
    assert!(shown.json()["token"].is_null(), "a token is shown once");
    let path = format!("/v1/api-keys/{}", company::id(&made));
    assert_eq!(admin.send(Method::DELETE, &path, &[], "").await.status, StatusCode::NO_CONTENT);
    let answer = reader.get("/v1/meters").await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert_eq!(answer.header("www-authenticate"), "Bearer");
    product.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_has_expired_says_so() {
    let product = Product::start().await;
    let past = json!({"name": "x", "scopes": ["read"], "expires_at": "2020-01-01T00:00:00Z"});
    let answer = product.live().post("/v1/api-keys", &past).await;
    assert_eq!((answer.code(), answer.field()), pair("invalid_field", "expires_at"));
    product.stop().await;
}

fn pair(code: &str, field: &str) -> (String, String) {
    (code.to_owned(), field.to_owned())
}

/// The path with names of things that exist.
fn target(path: &str, company: &company::Company) -> String {
    path.replace("{meter}", "tokens")
        .replace("{feature}", "tokens")
        .replace("{customer}", "acme")
        .replace("{channel}", &company.channel)
        .replace("{rule}", &company.rule)
        .replace("{notification}", "ntf_0")
        .replace("{api_key}", "key_0")
}

/// A request that is refused by its body, if by nothing else: the matrix changes nothing.
async fn ask(client: &Client, method: &Method, target: &str) -> (StatusCode, String) {
    let harmless = *method == Method::GET || *method == Method::DELETE;
    let target = if *method == Method::DELETE { missing(target) } else { target.to_owned() };
    let body = if harmless { "" } else { "[" };
    let headers = [("content-type", "application/json")];
    let answer = client.send(method.clone(), &target, &headers, body).await;
    (answer.status, answer.code())
}

/// The path with its last name replaced by one of nothing.
fn missing(target: &str) -> String {
    let (folder, _) = target.rsplit_once('/').expect("a path");
    format!("{folder}/missing")
}
