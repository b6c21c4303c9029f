//! Every refusal of a request names its code and its field, and changes nothing.

use serde_json::{Value, json};

use super::world::{World, channel_of, refusal, tokens};

/// A request, and the code and field that it is refused with.
type Case = (&'static str, &'static str, Value, &'static str, &'static str);

async fn check(world: &World, cases: Vec<Case>) {
    let before = world.live.items("/audit?limit=1000").await.len();
    for (method, path, body, code, field) in cases {
        let text = body.to_string();
        let result = world.live.send(method, path, text.as_bytes(), None).await;
        assert_eq!(refusal(result), (code, field.to_owned()), "{method} {path} {text}");
    }
    let after = world.live.items("/audit?limit=1000").await.len();
    assert_eq!(before, after, "a refused request leaves no trace");
}

#[tokio::test]
async fn of_meters() {
    let world = World::new().await;
    tokens(&world.live).await;
    let with = |change: Value| {
        let mut body = json!({"key": "m", "event_type": "t", "aggregation": "count"});
        body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        body
    };
    let path = "/meters";
    check(
        &world,
        vec![
            ("POST", path, json!({}), "missing_field", "key"),
            ("POST", path, json!({"key": "m"}), "missing_field", "event_type"),
            ("POST", path, with(json!({"color": 1})), "unknown_field", "color"),
            ("POST", path, with(json!({"key": 7})), "invalid_field", "key"),
            ("POST", path, with(json!({"key": ""})), "invalid_key", "key"),
            ("POST", path, with(json!({"key": "a/b"})), "invalid_key", "key"),
            ("POST", path, with(json!({"key": "tokens"})), "key_in_use", "key"),
            ("POST", path, with(json!({"name": ""})), "invalid_field", "name"),
            ("POST", path, with(json!({"name": "a\nb"})), "invalid_character", "name"),
            ("POST", path, with(json!({"name": "a\0b"})), "invalid_character", "name"),
            ("POST", path, with(json!({"event_type": " "})), "invalid_field", "event_type"),
            (
                "POST",
                path,
                with(json!({"aggregation": "median"})),
                "unknown_aggregation",
                "aggregation",
            ),
            (
                "POST",
                path,
                with(json!({"aggregation": "sum"})),
                "value_property_required",
                "value_property",
            ),
            (
                "POST",
                path,
                with(json!({"value_property": "$.a"})),
                "value_property_not_allowed",
                "value_property",
            ),
            (
                "POST",
                path,
                with(json!({"aggregation": "sum", "value_property": "$.a[0]"})),
                "invalid_value_property",
                "value_property",
            ),
            ("POST", path, with(json!({"metadata": {"a": 1}})), "invalid_field", "metadata.a"),
            (
                "POST",
                path,
                with(json!({"metadata": {"a": "x".repeat(2000)}})),
                "invalid_metadata",
                "metadata.a",
            ),
            ("PATCH", "/meters/none", json!({"name": "x"}), "not_found", ""),
            ("PATCH", "/meters/tokens", json!({"key": "x"}), "field_immutable", "key"),
            (
                "PATCH",
                "/meters/tokens",
                json!({"aggregation": "sum"}),
                "field_immutable",
                "aggregation",
            ),
            (
                "PATCH",
                "/meters/tokens",
                json!({"event_type": "x"}),
                "field_immutable",
                "event_type",
            ),
            ("PATCH", "/meters/tokens", json!({"name": null}), "invalid_field", "name"),
            ("DELETE", "/meters/tokens", json!({}), "meter_in_use", ""),
            ("DELETE", "/meters/none", json!({}), "not_found", ""),
            ("GET", "/meters/mtr_01ARZ3NDEKTSV4RRFFQ69G5FAV", json!({}), "not_found", ""),
            ("GET", "/meters?limit=0", json!({}), "invalid_parameter", "limit"),
            ("GET", "/meters?limit=1001", json!({}), "invalid_parameter", "limit"),
            ("GET", "/meters?cursor=bm90IGFuIGlk", json!({}), "invalid_cursor", "cursor"),
        ],
    )
    .await;
}

#[tokio::test]
async fn of_features_and_entitlements() {
    let world = World::new().await;
    tokens(&world.live).await;
    let post = |path, body| world.live.post(path, body);
    post("/features", json!({"key": "sso", "type": "boolean"})).await.unwrap();
    post("/features", json!({"key": "seats", "type": "static", "value": 5})).await.unwrap();
    post("/customers", json!({"key": "acme"})).await.unwrap();
    let month = json!({"interval": "month"});
    let tokens = json!({"feature": "tokens", "type": "metered", "usage_period": month});
    post("/customers/acme/entitlements", tokens.clone()).await.unwrap();
    let features = "/features";
    let entitlements = "/customers/acme/entitlements";
    check(
        &world,
        vec![
            ("POST", features, json!({"key": "f", "type": "odd"}), "unknown_feature_type", "type"),
            ("POST", features, json!({"key": "f", "type": "metered"}), "missing_field", "meter"),
            (
                "POST",
                features,
                json!({"key": "f", "type": "metered", "meter": "none"}),
                "meter_not_found",
                "meter",
            ),
            (
                "POST",
                features,
                json!({"key": "f", "type": "boolean", "meter": "tokens"}),
                "invalid_field",
                "meter",
            ),
            ("POST", features, json!({"key": "f", "type": "static"}), "missing_field", "value"),
            ("PATCH", "/features/tokens", json!({"meter": "x"}), "field_immutable", "meter"),
            ("PATCH", "/features/sso", json!({"value": 1}), "invalid_field", "value"),
            ("DELETE", "/features/tokens", json!({}), "feature_in_use", ""),
            ("POST", entitlements, tokens.clone(), "entitlement_exists", "feature"),
            ("POST", "/customers/none/entitlements", tokens, "not_found", ""),
            (
                "POST",
                entitlements,
                json!({"feature": "none", "type": "boolean"}),
                "feature_not_found",
                "feature",
            ),
            (
                "POST",
                entitlements,
                json!({"feature": "sso", "type": "metered", "usage_period": month}),
                "entitlement_type_mismatch",
                "type",
            ),
            (
                "POST",
                entitlements,
                json!({"feature": "sso", "type": "boolean", "limit": "5"}),
                "invalid_field",
                "limit",
            ),
            (
                "POST",
                entitlements,
                json!({"feature": "sso", "type": "boolean", "value": 5}),
                "invalid_field",
                "value",
            ),
            (
                "PATCH",
                "/customers/acme/entitlements/tokens",
                json!({"limit": "-1"}),
                "invalid_field",
                "limit",
            ),
            (
                "PATCH",
                "/customers/acme/entitlements/tokens",
                json!({"limit": "NaN"}),
                "invalid_field",
                "limit",
            ),
            (
                "PATCH",
                "/customers/acme/entitlements/tokens",
                json!({"usage_period": month}),
                "field_immutable",
                "usage_period",
            ),
            ("GET", "/customers/acme/entitlements/sso/value", json!({}), "not_found", ""),
            ("DELETE", "/customers/acme/entitlements/sso", json!({}), "not_found", ""),
        ],
    )
    .await;
}

#[tokio::test]
async fn of_metered_entitlements() {
    let world = World::new().await;
    tokens(&world.live).await;
    world.live.post("/customers", json!({"key": "acme"})).await.unwrap();
    let path = "/customers/acme/entitlements";
    let with = |limit: Value, period: Value| json!({"feature": "tokens", "type": "metered", "limit": limit, "usage_period": period});
    let month = json!({"interval": "month"});
    check(
        &world,
        vec![
            ("POST", path, with(json!("-1"), month.clone()), "invalid_field", "limit"),
            ("POST", path, with(json!("NaN"), month.clone()), "invalid_field", "limit"),
            ("POST", path, with(json!(true), month.clone()), "invalid_field", "limit"),
            ("POST", path, with(json!("1e400"), month.clone()), "invalid_field", "limit"),
            ("POST", path, with(json!("5"), Value::Null), "missing_field", "usage_period"),
            ("POST", path, with(json!("5"), json!({})), "missing_field", "usage_period.interval"),
            (
                "POST",
                path,
                with(json!("5"), json!({"interval": "fortnight"})),
                "invalid_field",
                "usage_period.interval",
            ),
            (
                "POST",
                path,
                with(json!("5"), json!({"interval": "month", "anchor": "monday"})),
                "invalid_field",
                "usage_period.anchor",
            ),
            (
                "POST",
                path,
                with(json!("5"), json!({"interval": "month", "zone": "CET"})),
                "unknown_field",
                "usage_period.zone",
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn of_channels() {
    let world = World::new().await;
    channel_of(&world.live, "ops").await;
    let with = |change: Value| {
        let mut body = json!({"type": "webhook", "name": "n", "url": "https://example.com/"});
        body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        body
    };
    let url = |url: &str| with(json!({"url": url}));
    let path = "/channels";
    check(
        &world,
        vec![
            ("POST", path, with(json!({"type": "pager"})), "channel_type_not_available", "type"),
            ("POST", path, with(json!({"format": "konnect"})), "format_not_available", "format"),
            (
                "POST",
                path,
                with(json!({"event_types": ["all"]})),
                "unknown_event_type",
                "event_types[0]",
            ),
            (
                "POST",
                path,
                with(json!({"event_types": ["*", "*"]})),
                "invalid_field",
                "event_types[1]",
            ),
            ("POST", path, with(json!({"rate_limit": 0})), "invalid_field", "rate_limit"),
            ("POST", path, with(json!({"secret": "hunter2"})), "invalid_secret", "secret"),
            ("POST", path, url("http://127.0.0.1"), "url_address_not_allowed", "url"),
            ("POST", path, url("http://2130706433"), "url_address_not_allowed", "url"),
            ("POST", path, url("http://[::ffff:127.0.0.1]"), "url_address_not_allowed", "url"),
            ("POST", path, url("file:///etc/passwd"), "url_scheme_not_allowed", "url"),
            ("POST", path, url("https://u:p@example.com/"), "url_credentials_not_allowed", "url"),
            (
                "POST",
                path,
                with(json!({"headers": {"x-a": "b\r\nc: d"}})),
                "header_value_invalid",
                "headers.x-a",
            ),
            (
                "POST",
                path,
                with(json!({"headers": {"webhook-id": "x"}})),
                "header_name_reserved",
                "headers.webhook-id",
            ),
            (
                "POST",
                path,
                with(json!({"headers": {"X-A": "1", "x-a": "2"}})),
                "duplicate_field",
                "headers.x-a",
            ),
            ("PATCH", "/channels/none", json!({}), "not_found", ""),
        ],
    )
    .await;
}

#[tokio::test]
async fn of_rules() {
    let world = World::new().await;
    tokens(&world.live).await;
    let channel = channel_of(&world.live, "ops").await;
    let foreign = channel_of(&world.sandbox, "ops").await;
    let with = |change: Value| {
        let mut body = json!({"name": "r", "type": "entitlements.balance.threshold",
            "features": ["tokens"], "lines": [{"kind": "usage_percentage", "value": "80"}],
            "channels": [channel]});
        body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        body
    };
    let line = |value: &str| json!({"kind": "usage_percentage", "value": value});
    let lines = |lines: Vec<Value>| with(json!({"lines": lines}));
    let many = (1..=21).map(|it| line(&it.to_string())).collect();
    let limit = |change: Value| {
        let mut body = json!({"name": "r", "type": "entitlement.limit.warning",
            "channels": [channel]});
        body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        body
    };
    let path = "/rules";
    check(
        &world,
        vec![
            ("POST", path, with(json!({"type": "odd"})), "unknown_rule_type", "type"),
            ("POST", path, lines(vec![]), "lines_required", "lines"),
            ("POST", path, lines(many), "too_many_items", "lines"),
            ("POST", path, lines(vec![line("-5")]), "line_value_invalid", "lines[0].value"),
            (
                "POST",
                path,
                lines(vec![line("80"), line("0")]),
                "line_value_invalid",
                "lines[1].value",
            ),
            ("POST", path, lines(vec![line("80"), line("80.0")]), "duplicate_line", "lines[1]"),
            ("POST", path, lines(vec![line("many")]), "invalid_field", "lines[0].value"),
            (
                "POST",
                path,
                lines(vec![json!({"kind": "limit", "value": "80"})]),
                "invalid_field",
                "lines[0].kind",
            ),
            ("POST", path, limit(json!({"lines": [line("80")]})), "lines_not_allowed", "lines"),
            (
                "POST",
                path,
                limit(json!({"warning_percentage": "100"})),
                "invalid_warning_percentage",
                "warning_percentage",
            ),
            (
                "POST",
                path,
                with(json!({"warning_percentage": "80"})),
                "invalid_warning_percentage",
                "warning_percentage",
            ),
            ("POST", path, with(json!({"channels": []})), "missing_field", "channels"),
            (
                "POST",
                path,
                with(json!({"channels": [foreign]})),
                "channel_not_found",
                "channels[0]",
            ),
            (
                "POST",
                path,
                with(json!({"channels": [channel, "ops"]})),
                "channel_not_found",
                "channels[1]",
            ),
            ("POST", path, with(json!({"features": ["none"]})), "feature_not_found", "features[0]"),
            (
                "POST",
                path,
                with(json!({"customers": ["none"]})),
                "customer_not_found",
                "customers[0]",
            ),
            ("POST", path, with(json!({"hysteresis": "-1"})), "invalid_field", "hysteresis"),
            ("POST", path, with(json!({"notify_on": ["resolved"]})), "invalid_field", "notify_on"),
            ("POST", path, with(json!({"when_several": "all"})), "invalid_field", "when_several"),
        ],
    )
    .await;
}

#[tokio::test]
async fn of_keys_customers_and_queries() {
    let world = World::new().await;
    world.live.post("/customers", json!({"key": "acme", "subjects": ["a"]})).await.unwrap();
    let ntf = "/notifications/ntf_01ARZ3NDEKTSV4RRFFQ69G5FAV";
    let own = format!("/api-keys/{}", world.live.caller.key);
    check(
        &world,
        vec![
            ("POST", "/api-keys", json!({"name": "k", "scopes": []}), "invalid_field", "scopes"),
            (
                "POST",
                "/api-keys",
                json!({"name": "k", "scopes": ["root"]}),
                "invalid_field",
                "scopes[0]",
            ),
            (
                "POST",
                "/api-keys",
                json!({"name": "k", "scopes": ["read"], "expires_at": "2020-01-01T00:00:00Z"}),
                "invalid_field",
                "expires_at",
            ),
            ("DELETE", own.leak(), json!({}), "last_admin_key", ""),
            ("POST", "/customers", json!({"key": "acme"}), "key_in_use", "key"),
            (
                "POST",
                "/customers",
                json!({"key": "b", "subjects": ["x", "a"]}),
                "subject_in_use",
                "subjects[1]",
            ),
            (
                "POST",
                "/customers",
                json!({"key": "b", "subjects": ["x", "x"]}),
                "invalid_field",
                "subjects[1]",
            ),
            (
                "POST",
                "/customers",
                json!({"key": "b", "subjects": [""]}),
                "invalid_field",
                "subjects[0]",
            ),
            ("PATCH", "/customers/acme", json!({"key": "b"}), "field_immutable", "key"),
            ("PATCH", "/environment", json!({"name": "b"}), "field_immutable", "name"),
            (
                "PATCH",
                "/environment",
                json!({"unknown_subjects": "drop"}),
                "invalid_field",
                "unknown_subjects",
            ),
            ("GET", ntf, json!({}), "not_found", ""),
            ("GET", "/notifications?state=DONE", json!({}), "invalid_parameter", "state"),
            ("GET", "/notifications?type=odd", json!({}), "invalid_parameter", "type"),
            ("GET", "/notifications?rule=odd", json!({}), "invalid_parameter", "rule"),
            ("GET", "/notifications?customer=none", json!({}), "customer_not_found", "customer"),
        ],
    )
    .await;
}
