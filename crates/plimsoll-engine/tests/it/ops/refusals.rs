//! Every refusal of a request names its code and its field, and changes nothing.
//!
//! A table has one request a line: method, path, body, `->`, code, field; what follows the arrow
//! may stand on the next line. The body of a POST is laid over a good one, so that a line shows
//! only what is wrong.

use serde_json::{Value, json};

use super::world::{User, World, channel_of, refusal, tokens};

pub(super) async fn check(user: &User, good: Value, table: &str) {
    let before = user.items("/audit?limit=1000").await.len();
    let mut lines = table.lines().map(str::trim).filter(|it| !it.is_empty());
    while let Some(line) = lines.next() {
        let (request, expected) = match line.strip_suffix(" ->") {
            Some(request) => (request, lines.next().unwrap()),
            None => line.split_once(" -> ").unwrap(),
        };
        let mut words = request.splitn(3, ' ');
        let (method, path) = (words.next().unwrap(), words.next().unwrap());
        let mut body = if method == "POST" { good.clone() } else { json!({}) };
        let given: Value = serde_json::from_str(words.next().unwrap_or("{}")).unwrap();
        body.as_object_mut().unwrap().extend(given.as_object().unwrap().clone());
        let result = user.send(method, path, body.to_string().as_bytes(), None).await;
        let (code, field) = refusal(result);
        assert_eq!(format!("{code} {field}").trim_end(), expected, "{line}");
    }
    let after = user.items("/audit?limit=1000").await.len();
    assert_eq!(before, after, "a refused request leaves no trace");
}

#[tokio::test]
async fn of_meters() {
    let World { live, .. } = &World::new().await;
    tokens(live).await;
    let missing = r#"
        POST /meters {} -> missing_field key
        POST /meters {"key": "m"} -> missing_field event_type
    "#;
    check(live, json!({}), missing).await;
    let good = json!({"key": "m", "event_type": "t", "aggregation": "count"});
    let table = r#"
        POST /meters {"color": 1} -> unknown_field color
        POST /meters {"key": 7} -> invalid_field key
        POST /meters {"key": ""} -> invalid_key key
        POST /meters {"key": "a/b"} -> invalid_key key
        POST /meters {"key": "tokens"} -> key_in_use key
        POST /meters {"name": ""} -> invalid_field name
        POST /meters {"name": "a\nb"} -> invalid_character name
        POST /meters {"name": "a\u0000b"} -> invalid_character name
        POST /meters {"event_type": " "} -> invalid_field event_type
        POST /meters {"aggregation": "median"} -> unknown_aggregation aggregation
        POST /meters {"aggregation": "sum"} -> value_property_required value_property
        POST /meters {"value_property": "$.a"} -> value_property_not_allowed value_property
        POST /meters {"aggregation": "sum", "value_property": "a"} ->
            invalid_value_property value_property
        POST /meters {"aggregation": "sum", "value_property": "$.a[0]"} ->
            invalid_value_property value_property
        POST /meters {"metadata": {"a": 1}} -> invalid_field metadata.a
        POST /meters {"metadata": {"": "x"}} -> invalid_metadata metadata
        PATCH /meters/none {"name": "x"} -> not_found
        PATCH /meters/tokens {"key": "x"} -> field_immutable key
        PATCH /meters/tokens {"aggregation": "sum"} -> field_immutable aggregation
        PATCH /meters/tokens {"event_type": "x"} -> field_immutable event_type
        PATCH /meters/tokens {"value_property": null} -> field_immutable value_property
        PATCH /meters/tokens {"name": null} -> invalid_field name
        DELETE /meters/tokens -> meter_in_use
        DELETE /meters/none -> not_found
        GET /meters/mtr_01ARZ3NDEKTSV4RRFFQ69G5FAV -> not_found
        GET /meters?limit=0 -> invalid_parameter limit
        GET /meters?limit=1001 -> invalid_parameter limit
        GET /meters?cursor=bm90IGFuIGlk -> invalid_cursor cursor
    "#;
    check(live, good, table).await;
}

#[tokio::test]
async fn of_features() {
    let World { live, .. } = &World::new().await;
    tokens(live).await;
    live.post("/features", json!({"key": "sso", "type": "boolean"})).await.unwrap();
    let table = r#"
        POST /features {"type": "odd"} -> unknown_feature_type type
        POST /features {"type": "metered"} -> missing_field meter
        POST /features {"type": "metered", "meter": "none"} -> meter_not_found meter
        POST /features {"meter": "tokens"} -> invalid_field meter
        POST /features {"type": "static"} -> missing_field value
        POST /features {"value": 1} -> invalid_field value
        POST /features {"key": "sso"} -> key_in_use key
        PATCH /features/tokens {"meter": "x"} -> field_immutable meter
        PATCH /features/sso {"type": "static"} -> field_immutable type
        PATCH /features/sso {"value": 1} -> invalid_field value
        DELETE /features/none -> not_found
    "#;
    check(live, json!({"key": "f", "type": "boolean"}), table).await;
}

#[tokio::test]
async fn of_entitlements() {
    let World { live, .. } = &World::new().await;
    tokens(live).await;
    live.post("/features", json!({"key": "sso", "type": "boolean"})).await.unwrap();
    live.post("/customers", json!({"key": "a"})).await.unwrap();
    let good = json!({"feature": "tokens", "type": "metered",
        "usage_period": {"interval": "month"}});
    let table = r#"
        POST /customers/none/entitlements {} -> not_found
        POST /customers/a/entitlements {"feature": "none"} -> feature_not_found feature
        POST /customers/a/entitlements {"feature": "sso"} -> entitlement_type_mismatch type
        POST /customers/a/entitlements {"type": "odd"} -> unknown_feature_type type
        POST /customers/a/entitlements {"limit": "-1"} -> invalid_field limit
        POST /customers/a/entitlements {"limit": "NaN"} -> invalid_field limit
        POST /customers/a/entitlements {"limit": true} -> invalid_field limit
        POST /customers/a/entitlements {"limit": "1e400"} -> invalid_field limit
        POST /customers/a/entitlements {"value": 5} -> invalid_field value
        POST /customers/a/entitlements {"usage_period": null} -> missing_field usage_period
        POST /customers/a/entitlements {"usage_period": {}} -> missing_field usage_period.interval
        POST /customers/a/entitlements {"usage_period": {"interval": "fortnight"}} ->
            invalid_field usage_period.interval
        POST /customers/a/entitlements {"usage_period": {"interval": "day", "anchor": "monday"}} ->
            invalid_field usage_period.anchor
        POST /customers/a/entitlements {"usage_period": {"interval": "day", "zone": "CET"}} ->
            unknown_field usage_period.zone
        GET /customers/a/entitlements/tokens/value -> not_found
        DELETE /customers/a/entitlements/tokens -> not_found
    "#;
    check(live, good.clone(), table).await;

    live.post("/customers/a/entitlements", good.clone()).await.unwrap();
    let boolean = r#"
        POST /customers/a/entitlements {"limit": "5"} -> invalid_field limit
        POST /customers/a/entitlements {"usage_period": {"interval": "day"}} ->
            invalid_field usage_period
    "#;
    check(live, json!({"feature": "sso", "type": "boolean"}), boolean).await;
    let table = r#"
        POST /customers/a/entitlements {} -> entitlement_exists feature
        PATCH /customers/a/entitlements/tokens {"limit": "-1"} -> invalid_field limit
        PATCH /customers/a/entitlements/tokens {"limit": "NaN"} -> invalid_field limit
        PATCH /customers/a/entitlements/tokens {"value": 1} -> invalid_field value
        PATCH /customers/a/entitlements/tokens {"usage_period": {}} -> field_immutable usage_period
        DELETE /features/tokens -> feature_in_use
    "#;
    check(live, good, table).await;
}

#[tokio::test]
async fn of_channels() {
    let World { live, .. } = &World::new().await;
    let good = json!({"type": "webhook", "name": "n", "url": "https://example.com/"});
    let table = r#"
        POST /channels {"type": "pager"} -> channel_type_not_available type
        POST /channels {"format": "konnect"} -> format_not_available format
        POST /channels {"event_types": ["all"]} -> unknown_event_type event_types[0]
        POST /channels {"event_types": ["*", "*"]} -> invalid_field event_types[1]
        POST /channels {"rate_limit": 0} -> invalid_field rate_limit
        POST /channels {"secret": "hunter2"} -> invalid_secret secret
        POST /channels {"url": "http://127.0.0.1"} -> url_address_not_allowed url
        POST /channels {"url": "http://2130706433"} -> url_address_not_allowed url
        POST /channels {"url": "http://[::ffff:127.0.0.1]"} -> url_address_not_allowed url
        POST /channels {"url": "file:///etc/passwd"} -> url_scheme_not_allowed url
        POST /channels {"url": "https://u:p@example.com/"} -> url_credentials_not_allowed url
        POST /channels {"headers": {"x-a": "b\r\nc: d"}} -> header_value_invalid headers.x-a
        POST /channels {"headers": {"webhook-id": "x"}} -> header_name_reserved headers.webhook-id
        POST /channels {"headers": {"X-A": "1", "x-a": "2"}} -> duplicate_field headers.x-a
        PATCH /channels/none -> not_found
        DELETE /channels/chn_01ARZ3NDEKTSV4RRFFQ69G5FAV -> not_found
    "#;
    check(live, good, table).await;
    let channel = channel_of(live, "ops").await;
    let table = r#"
        PATCH /channels/CHANNEL {"secret": "x"} -> field_immutable secret
        PATCH /channels/CHANNEL {"type": "webhook"} -> field_immutable type
        PATCH /channels/CHANNEL {"url": null} -> invalid_field url
        PATCH /channels/CHANNEL {"url": "http://127.0.0.1/"} -> url_address_not_allowed url
        PATCH /channels/CHANNEL {"format": "schematic"} -> format_not_available format
        PATCH /channels/CHANNEL {"headers": {"host": "x"}} -> header_name_reserved headers.host
        POST /channels/CHANNEL/rotate-secret {"secret": "whsec_"} -> invalid_secret secret
    "#;
    check(live, json!({}), &table.replace("CHANNEL", &channel)).await;
}

#[tokio::test]
async fn of_rules() {
    let World { live, sandbox, .. } = &World::new().await;
    tokens(live).await;
    let channel = channel_of(live, "ops").await;
    let foreign = channel_of(sandbox, "ops").await;
    let line = |value: u32| json!({"kind": "usage_percentage", "value": value});
    let good = json!({"name": "r", "type": "entitlements.balance.threshold",
        "features": ["tokens"], "lines": [line(80)], "channels": [channel]});
    let table = r#"
        POST /rules {"type": "odd"} -> unknown_rule_type type
        POST /rules {"lines": []} -> lines_required lines
        POST /rules {"lines": MANY} -> too_many_items lines
        POST /rules {"lines": [{"kind": "usage_value"}]} -> missing_field lines[0].value
        POST /rules {"lines": [{"kind": "limit", "value": "80"}]} -> invalid_field lines[0].kind
        POST /rules {"lines": [{"kind": "usage_value", "value": "-5"}]} ->
            line_value_invalid lines[0].value
        POST /rules {"lines": [{"kind": "usage_value", "value": 0}]} ->
            line_value_invalid lines[0].value
        POST /rules {"lines": [{"kind": "balance_value", "value": "-1"}]} ->
            line_value_invalid lines[0].value
        POST /rules {"lines": [{"kind": "usage_value", "value": "many"}]} ->
            invalid_field lines[0].value
        POST /rules {"lines": [LINE, {"kind": "usage_percentage", "value": "80.0"}]} ->
            duplicate_line lines[1]
        POST /rules {"warning_percentage": "80"} -> invalid_warning_percentage warning_percentage
        POST /rules {"channels": []} -> missing_field channels
        POST /rules {"channels": ["FOREIGN"]} -> channel_not_found channels[0]
        POST /rules {"channels": ["CHANNEL", "ops"]} -> channel_not_found channels[1]
        POST /rules {"channels": ["CHANNEL", "CHANNEL"]} -> invalid_field channels[1]
        POST /rules {"features": ["none"]} -> feature_not_found features[0]
        POST /rules {"customers": ["none"]} -> customer_not_found customers[0]
        POST /rules {"hysteresis": "-1"} -> invalid_field hysteresis
        POST /rules {"notify_on": ["resolved"]} -> invalid_field notify_on
        POST /rules {"notify_on": []} -> invalid_field notify_on
        POST /rules {"when_several": "all"} -> invalid_field when_several
    "#;
    let many: Vec<_> = (1..=21).map(line).collect();
    let table = table
        .replace("MANY", &json!(many).to_string())
        .replace("LINE", &line(80).to_string())
        .replace("CHANNEL", &channel)
        .replace("FOREIGN", &foreign);
    check(live, good, &table).await;

    let good = json!({"name": "r", "type": "entitlement.limit.warning", "channels": [channel]});
    let table = r#"
        POST /rules {"lines": [LINE]} -> lines_not_allowed lines
        POST /rules {"warning_percentage": "100"} -> invalid_warning_percentage warning_percentage
        POST /rules {"warning_percentage": 0} -> invalid_warning_percentage warning_percentage
        PATCH /rules/rul_01ARZ3NDEKTSV4RRFFQ69G5FAV {"name": "x"} -> not_found
    "#;
    check(live, good, &table.replace("LINE", &line(80).to_string())).await;
}

#[tokio::test]
async fn of_customers() {
    let World { live, .. } = &World::new().await;
    live.post("/customers", json!({"key": "acme", "subjects": ["a"]})).await.unwrap();
    let table = r#"
        POST /customers {"key": "acme"} -> key_in_use key
        POST /customers {"subjects": ["x", "a"]} -> subject_in_use subjects[1]
        POST /customers {"subjects": ["x", "x"]} -> invalid_field subjects[1]
        POST /customers {"subjects": [""]} -> invalid_field subjects[0]
        POST /customers {"key": "cus_01ARZ3NDEKTSV4RRFFQ69G5FAV"} -> invalid_key key
        PATCH /customers/acme {"key": "b"} -> field_immutable key
        PATCH /customers/acme {"name": ""} -> invalid_field name
        PATCH /customers/none {"name": "x"} -> not_found
        DELETE /customers/none -> not_found
        GET /customers/a -> not_found
    "#;
    check(live, json!({"key": "b"}), table).await;
}

#[tokio::test]
async fn of_keys_settings_and_queries() {
    let World { live, .. } = &World::new().await;
    let table = r#"
        POST /api-keys {"scopes": []} -> invalid_field scopes
        POST /api-keys {"scopes": ["root"]} -> invalid_field scopes[0]
        POST /api-keys {"expires_at": "2020-01-01T00:00:00Z"} -> invalid_field expires_at
        POST /api-keys {"expires_at": "tomorrow"} -> invalid_field expires_at
        DELETE /api-keys/OWN -> last_admin_key
        PATCH /environment {"name": "b"} -> field_immutable name
        PATCH /environment {"unknown_subjects": "drop"} -> invalid_field unknown_subjects
        GET /notifications/ntf_01ARZ3NDEKTSV4RRFFQ69G5FAV -> not_found
        GET /notifications?state=DONE -> invalid_parameter state
        GET /notifications?type=odd -> invalid_parameter type
        GET /notifications?rule=odd -> invalid_parameter rule
        GET /notifications?customer=none -> customer_not_found customer
        GET /notifications?feature=none -> feature_not_found feature
    "#;
    let own = live.caller.key.to_string();
    check(live, json!({"name": "k", "scopes": ["read"]}), &table.replace("OWN", &own)).await;
}
