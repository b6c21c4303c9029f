//! What an entitlement is summed from, and how that changes, now and later.

use plimsoll_engine::ops::page::ListRequest;
use serde_json::{Value, json};

use super::world::{Acme, DAY, NOW, refusal};

fn sources() -> Value {
    json!([
        {"type": "plan", "key": "pro", "limit": "300", "soft_limit": "200"},
        {"type": "addon", "key": "pack", "limit": 100, "quantity": 2},
        {"type": "subscription", "key": "deal", "limit": "50", "overrides": "pro"}
    ])
}

#[tokio::test]
async fn a_value_says_what_it_is_summed_from() {
    let acme = Acme::entitled(&json!({"sources": sources()})).await;
    let value = acme.value().await;
    assert_eq!((&value["limit"], &value["soft_limit"]), (&json!("250"), &Value::Null));
    let shown = json!([
        {"type": "plan", "key": "pro", "limit": "300", "soft_limit": "200", "quantity": 1,
            "overrides": null},
        {"type": "addon", "key": "pack", "limit": "100", "soft_limit": null, "quantity": 2,
            "overrides": null},
        {"type": "subscription", "key": "deal", "limit": "50", "soft_limit": null, "quantity": 1,
            "overrides": "pro"}
    ]);
    assert_eq!(value["sources"], shown);
    let entitlement = acme.entitlement().await;
    assert_eq!((&entitlement["limit"], &entitlement["sources"]), (&json!("250"), &shown));
    // Without the deal the plan counts again, with its soft limit.
    let without = json!({"sources": [sources()[0], sources()[1]]});
    let after = acme.patch(&without).await.unwrap();
    assert_eq!((&after["limit"], &after["soft_limit"]), (&json!("500"), &json!("400")));
}

#[tokio::test]
async fn a_plain_limit_is_a_source_of_the_customer() {
    let mut acme = Acme::entitled(&json!({"limit": 100, "soft_limit": 80})).await;
    let own = |limit: &str, soft: Value| {
        json!([{"type": "customer", "key": "customer",
        "limit": limit, "soft_limit": soft, "quantity": 1, "overrides": null}])
    };
    assert_eq!(acme.entitlement().await["sources"], own("100", json!("80")));
    acme.uses(90).await;
    let value = acme.value().await;
    assert_eq!((&value["soft_limit"], &value["has_access"]), (&json!("80"), &json!(true)));
    // What the request leaves out stays.
    acme.patch(&json!({"limit": 90})).await.unwrap();
    assert_eq!(acme.value().await["sources"], own("90", json!("80")));
    assert_eq!(acme.value().await["has_access"], false);
    acme.patch(&json!({"soft_limit": null})).await.unwrap();
    assert_eq!(acme.value().await["sources"], own("90", Value::Null));
    acme.patch(&json!({"limit": null})).await.unwrap();
    assert_eq!(acme.stands().await, "90/- - 0");
    acme.patch(&json!({"sources": sources()})).await.unwrap();
    assert_eq!(refusal(acme.patch(&json!({"limit": 5})).await), "invalid_field limit");
}

#[tokio::test]
async fn a_grant_adds_to_the_soft_limit_where_there_is_no_hard_one() {
    let mut acme = Acme::entitled(&json!({"soft_limit": 100})).await;
    acme.grant(&json!({"amount": 20})).await;
    acme.uses(110).await;
    let value = acme.value().await;
    assert_eq!((&value["limit"], &value["soft_limit"]), (&Value::Null, &json!("120")));
    assert_eq!((&value["balance"], &value["has_access"]), (&json!("10"), &json!(true)));
}

#[tokio::test]
async fn a_change_to_come_is_shown_and_takes_effect_at_its_time() {
    let mut acme = Acme::entitled(&json!({"limit": 100, "tiers": [{"up_to": 50}]})).await;
    acme.uses(90).await;
    let first = "2026-03-12T00:00:00Z";
    let second = "2026-03-14T00:00:00Z";
    // In whatever order they are asked for; each builds on what will be then.
    acme.patch(&json!({"limit": 70, "effective_at": first})).await.unwrap();
    let tiers = json!([{"up_to": "10"}, {"up_to": null}]);
    let after = acme.patch(&json!({"tiers": tiers, "effective_at": second})).await.unwrap();
    assert_eq!(after["limit"], "100");
    let to_come = after["scheduled_changes"].as_array().unwrap();
    let brief = |it: &Value| json!([it["effective_at"], it["limit"], it["tiers"]]);
    let old_tiers = json!([{"up_to": "50"}]);
    assert_eq!(brief(&to_come[0]), json!([first, "70", old_tiers]));
    assert_eq!(brief(&to_come[1]), json!([second, "70", tiers]));
    assert_eq!(acme.stands().await, "90/100 10 0");
    acme.until("2026-03-11T23:59:59.999Z");
    assert_eq!(acme.stands().await, "90/100 10 0");
    acme.until(first);
    assert_eq!(acme.stands().await, "90/70 0 20");
    let shown = acme.entitlement().await;
    assert_eq!((&shown["limit"], &shown["tiers"]), (&json!("70"), &old_tiers));
    assert_eq!(shown["scheduled_changes"].as_array().unwrap().len(), 1);
    // Another change leaves what is to come alone, and what has come as it is.
    let after = acme.patch(&json!({"metadata": {"a": "b"}})).await.unwrap();
    assert_eq!(after["limit"], "70");
    acme.world.crash().await;
    assert_eq!(acme.stands().await, "90/70 0 20");
    acme.until(second);
    let shown = acme.entitlement().await;
    assert_eq!((&shown["tiers"], &shown["scheduled_changes"]), (&tiers, &json!([])));
    let ops = &acme.world.engine.ops;
    let listed = ops.list_entitlements(&acme.context(), "acme", &ListRequest::default()).await;
    assert_eq!(serde_json::to_value(&listed.unwrap().items[0]).unwrap(), shown);
}

#[tokio::test]
async fn a_change_never_takes_effect_earlier() {
    let acme = Acme::entitled(&json!({"limit": 100})).await;
    acme.pass(DAY);
    let past = json!({"limit": 5, "effective_at": NOW});
    assert_eq!(refusal(acme.patch(&past).await), "time_in_past effective_at");
    let past = json!({"amount": 5, "effective_at": NOW});
    assert_eq!(refusal(acme.granted(&past).await), "time_in_past effective_at");
    let grant = acme.grant(&json!({"amount": 5})).await;
    let past = acme.void(&grant, &json!({"at": NOW})).await;
    assert_eq!(refusal(past), "time_in_past at");
    let now = acme.context().now.to_string();
    acme.patch(&json!({"limit": 5, "effective_at": now})).await.unwrap();
    assert_eq!(acme.stands().await, "0/10 10 0");
}

#[tokio::test]
async fn what_is_to_come_is_bounded() {
    let acme = Acme::entitled(&json!({"limit": 100})).await;
    let most = plimsoll_core::limits::ENTITLEMENT_SCHEDULED;
    for second in 0..most {
        let at = format!("2026-03-11T00:{:02}:{:02}Z", second / 60, second % 60);
        let made = match second % 2 {
            0 => acme.patch(&json!({"limit": 5, "effective_at": at})).await,
            _ => acme.reset(&json!({"effective_at": at})).await,
        };
        made.unwrap();
    }
    let at = "2026-03-12T00:00:00Z";
    let change = json!({"limit": 5, "effective_at": at});
    assert_eq!(refusal(acme.patch(&change).await), "resource_limit");
    assert_eq!(refusal(acme.reset(&json!({"effective_at": at})).await), "resource_limit");
    // What has come makes room.
    acme.pass(DAY);
    acme.patch(&change).await.unwrap();
}

#[tokio::test]
async fn grants_that_have_not_ended_are_bounded() {
    let acme = Acme::prepaid().await;
    let most = plimsoll_core::limits::ENTITLEMENT_GRANTS;
    let mut last = String::new();
    for _ in 0..most {
        last = acme.grant(&json!({"amount": 1})).await;
    }
    assert_eq!(refusal(acme.granted(&json!({"amount": 1})).await), "resource_limit");
    acme.void(&last, &json!({})).await.unwrap();
    acme.grant(&json!({"amount": 1})).await;
    assert_eq!(acme.stands().await, format!("0/{most} {most} 0"));
}
