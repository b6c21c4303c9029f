//! Everything that a customer may use, at once.

use plimsoll_engine::ops::page::ListRequest;
use serde_json::{Value, json};

use super::world::{Acme, request, shown};

async fn access(acme: &Acme, list: &ListRequest) -> Value {
    let ops = &acme.world.engine.ops;
    shown(ops.customer_access(&acme.context(), "acme", list).await).unwrap()
}

#[tokio::test]
async fn access_shows_every_entitlement_with_its_value() {
    let mut acme = Acme::entitled(&json!({"limit": 100})).await;
    let (ops, context) = (acme.world.engine.ops.clone(), acme.context());
    for feature in [
        json!({"key": "sso", "type": "boolean"}),
        json!({"key": "seats", "type": "static", "value": {"max": 5}}),
    ] {
        ops.create_feature(&context, request(&feature)).await.unwrap();
        let entitlement = json!({"feature": feature["key"], "type": feature["type"]});
        ops.create_entitlement(&context, "acme", request(&entitlement)).await.unwrap();
    }
    acme.grant(&json!({"amount": 20})).await;
    acme.uses(120).await;
    let page = access(&acme, &ListRequest::default()).await;
    assert_eq!(page["next_cursor"], Value::Null);
    let items = page["items"].as_array().unwrap();
    let features: Vec<_> = items.iter().map(|it| (&it["feature"], &it["has_access"])).collect();
    let (yes, no) = (json!(true), json!(false));
    let expected = [(&json!("tokens"), &no), (&json!("sso"), &yes), (&json!("seats"), &yes)];
    assert_eq!(features, expected);
    let mut tokens = items[0].clone();
    let mut value = acme.value().await;
    // The same as one by one, but for where it comes from.
    for name in ["sources", "grants"] {
        assert!(value.as_object_mut().unwrap().remove(name).is_some());
    }
    for name in ["feature", "entitlement", "type"] {
        assert!(tokens.as_object_mut().unwrap().remove(name).is_some_and(|it| it.is_string()));
    }
    assert_eq!(tokens, value);
    assert_eq!(items[2]["value"], json!({"max": 5}));
    assert_eq!(items[1]["type"], "boolean");
}

#[tokio::test]
async fn access_comes_in_pages() {
    let acme = Acme::entitled(&json!({"limit": 100})).await;
    let (ops, context) = (&acme.world.engine.ops, acme.context());
    for key in ["a", "b", "c", "d"] {
        let feature = json!({"key": key, "type": "boolean"});
        ops.create_feature(&context, request(&feature)).await.unwrap();
        let entitlement = json!({"feature": key, "type": "boolean"});
        ops.create_entitlement(&context, "acme", request(&entitlement)).await.unwrap();
    }
    let (mut cursor, mut seen) = (None, Vec::new());
    loop {
        let page = access(&acme, &ListRequest { limit: Some(2), cursor }).await;
        let items = page["items"].as_array().unwrap();
        seen.extend(items.iter().map(|it| it["feature"].as_str().unwrap().to_owned()));
        cursor = page["next_cursor"].as_str().map(str::to_owned);
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(seen, ["tokens", "a", "b", "c", "d"]);
}
