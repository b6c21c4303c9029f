//! Lines that fire, or are left, because of grants, limits and resets, and what they say why.

use serde_json::json;

use super::world::{Acme, DAY, HOUR};

/// What was crossed once everything that is due has been done.
async fn crossings(acme: &Acme) -> Vec<String> {
    acme.stands().await;
    acme.world.crossings().await
}

/// 20 used of a grant of 100 that can end, and one of 10 that stays: 18 %, and 66 % without it.
async fn almost_empty(ending: &serde_json::Value) -> (Acme, String) {
    let mut acme = Acme::prepaid().await;
    acme.world.rule(&["50"], &json!({})).await;
    let mut grant = json!({"amount": 100, "priority": 0});
    for (name, value) in ending.as_object().unwrap() {
        grant[name] = value.clone();
    }
    let grant = acme.grant(&grant).await;
    acme.grant(&json!({"amount": 10})).await;
    acme.uses(20).await;
    assert_eq!(acme.stands().await, "20/110 90 0");
    assert_eq!(crossings(&acme).await, Vec::<String>::new());
    (acme, grant)
}

#[tokio::test]
async fn a_line_fires_when_a_grant_expires() {
    let (acme, _) = almost_empty(&json!({"expires_at": "2026-03-10T13:00:00Z"})).await;
    acme.pass(HOUR);
    assert_eq!(acme.stands().await, "20/30 10 0");
    assert_eq!(crossings(&acme).await, ["50 crossed grant_expired"]);
}

#[tokio::test]
async fn a_line_fires_when_a_grant_is_voided() {
    let (acme, grant) = almost_empty(&json!({})).await;
    acme.void(&grant, &json!({})).await.unwrap();
    assert_eq!(crossings(&acme).await, ["50 crossed grant_voided"]);
}

#[tokio::test]
async fn a_line_fires_when_a_void_to_come_has_come_also_after_a_restart() {
    let (mut acme, grant) = almost_empty(&json!({})).await;
    acme.void(&grant, &json!({"at": "2026-03-10T13:00:00Z"})).await.unwrap();
    assert_eq!(crossings(&acme).await, Vec::<String>::new());
    acme.world.crash().await;
    acme.pass(HOUR);
    assert_eq!(crossings(&acme).await, ["50 crossed grant_voided"]);
    acme.world.crash().await;
    assert_eq!(crossings(&acme).await, ["50 crossed grant_voided"]);
}

#[tokio::test]
async fn a_line_is_left_when_a_grant_becomes_active_and_can_be_crossed_again() {
    let mut acme = Acme::entitled(&json!({"limit": 100})).await;
    acme.world.rule(&["50"], &json!({"notify_on": ["crossed", "resolved"]})).await;
    acme.grant(&json!({"amount": 100, "effective_at": "2026-03-10T13:00:00Z"})).await;
    acme.uses(60).await;
    acme.pass(HOUR);
    let expected = ["50 crossed usage", "50 resolved grant_active"];
    assert_eq!(crossings(&acme).await, expected);
    acme.uses(60).await;
    let expected = ["50 crossed usage", "50 crossed usage", "50 resolved grant_active"];
    assert_eq!(crossings(&acme).await, expected);
}

#[tokio::test]
async fn a_line_is_left_when_a_grant_recurs() {
    let mut acme = Acme::prepaid().await;
    acme.world.rule(&["70"], &json!({"notify_on": ["crossed", "resolved"]})).await;
    acme.grant(&json!({"amount": 100, "recurrence": {"interval": "day"}})).await;
    acme.uses(80).await;
    acme.pass(DAY);
    assert_eq!(acme.stands().await, "80/180 100 0");
    assert_eq!(crossings(&acme).await, ["70 crossed usage", "70 resolved grant_recurred"]);
}

#[tokio::test]
async fn a_line_fires_when_a_lower_limit_has_its_time() {
    let mut acme = Acme::entitled(&json!({"limit": 100})).await;
    acme.world.rule(&["80"], &json!({})).await;
    acme.uses(60).await;
    let change = json!({"limit": 70, "effective_at": "2026-03-10T13:00:00Z"});
    acme.patch(&change).await.unwrap();
    assert_eq!(crossings(&acme).await, Vec::<String>::new());
    acme.pass(HOUR);
    assert_eq!(crossings(&acme).await, ["80 crossed limit_changed"]);
    // The notification shows the entitlement as it was at that moment.
    let shown = acme.world.notifications().await[0]["payload"]["data"]["entitlement"].clone();
    assert_eq!((&shown["limit"], &shown["scheduled_changes"]), (&json!("70"), &json!([])));
    assert_eq!(shown, acme.entitlement().await);
}

#[tokio::test]
async fn overage_that_is_carried_into_a_window_crosses_lines_there() {
    let mut acme = Acme::entitled(&json!({"limit": 100})).await;
    acme.world.rule(&["20"], &json!({})).await;
    acme.uses(130).await;
    acme.pass(HOUR);
    acme.reset(&json!({"preserve_overage": true})).await.unwrap();
    assert_eq!(acme.stands().await, "30/100 70 0");
    let expected = ["20 crossed reset", "20 crossed usage"];
    assert_eq!(crossings(&acme).await, expected);
    acme.pass(HOUR);
    acme.reset(&json!({})).await.unwrap();
    acme.uses(25).await;
    let expected = ["20 crossed reset", "20 crossed usage", "20 crossed usage"];
    assert_eq!(crossings(&acme).await, expected, "every line is armed again");
}
