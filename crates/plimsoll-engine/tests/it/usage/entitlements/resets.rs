//! Resets, by time and by hand, and what they leave.

use serde_json::{Value, json};

use super::world::{Acme, DAY, NOW, refusal};

async fn period(acme: &Acme) -> String {
    let period = acme.value().await["period"].clone();
    format!("{} {}", period["from"].as_str().unwrap(), period["to"].as_str().unwrap())
}

#[tokio::test]
async fn a_reset_now_begins_at_zero_and_the_period_ends_when_it_would_have() {
    let mut acme = Acme::entitled(&json!({"limit": 100})).await;
    acme.uses(60).await;
    acme.pass(DAY);
    let after = acme.reset(&json!({})).await.unwrap();
    assert_eq!(after["usage_period"], json!({"interval": "year"}));
    assert_eq!(acme.stands().await, "0/100 100 0");
    assert_eq!(period(&acme).await, "2026-03-11T12:00:00Z 2027-01-01T00:00:00Z");
    assert_eq!(acme.value().await["resets_at"], "2027-01-01T00:00:00Z");
}

#[tokio::test]
async fn without_its_anchor_a_whole_period_begins_with_the_reset() {
    let mut acme =
        Acme::entitled(&json!({"limit": 100, "usage_period": {"interval": "month"}})).await;
    acme.uses(60).await;
    let after = acme.reset(&json!({"retain_anchor": false})).await.unwrap();
    assert_eq!(after["usage_period"], json!({"interval": "month", "anchor": NOW}));
    assert_eq!(period(&acme).await, "2026-03-10T12:00:00Z 2026-04-10T12:00:00Z");
    acme.pass(1);
    // What else changes leaves the anchor where it is.
    acme.patch(&json!({"limit": 200})).await.unwrap();
    assert_eq!(period(&acme).await, "2026-03-10T12:00:00Z 2026-04-10T12:00:00Z");
    acme.world.crash().await;
    acme.until("2026-04-10T12:00:00Z");
    assert_eq!(period(&acme).await, "2026-04-10T12:00:00Z 2026-05-10T12:00:00Z");
}

#[tokio::test]
async fn a_reset_to_come_is_shown_and_happens_at_its_time() {
    let mut acme =
        Acme::entitled(&json!({"limit": 100, "usage_period": {"interval": "month"}})).await;
    acme.uses(60).await;
    let at = "2026-03-12T12:00:00Z";
    let after = acme.reset(&json!({"effective_at": at, "retain_anchor": false})).await.unwrap();
    let scheduled = json!([{"effective_at": at, "retain_anchor": false, "preserve_overage": null}]);
    assert_eq!(after["scheduled_resets"], scheduled);
    assert_eq!(acme.value().await["resets_at"], at);
    assert_eq!(acme.stands().await, "60/100 40 0");
    acme.world.crash().await;
    acme.until(at);
    assert_eq!(acme.stands().await, "0/100 100 0");
    let shown = acme.entitlement().await;
    assert_eq!(shown["scheduled_resets"], json!([]));
    assert_eq!(shown["usage_period"]["anchor"], at);
    assert_eq!(period(&acme).await, "2026-03-12T12:00:00Z 2026-04-12T12:00:00Z");
}

/// 110 were used of a grant of 100: what the reset leaves, and what counts then.
#[tokio::test]
async fn overage_is_dropped_at_a_reset_unless_it_is_to_be_preserved() {
    let cases = [
        (json!(null), json!(null), "0/50 50 0"),
        (json!(true), json!(null), "10/50 40 0"),
        (json!(null), json!(true), "10/50 40 0"),
        (json!(true), json!(false), "0/50 50 0"),
    ];
    for (of_entitlement, of_reset, expected) in cases {
        let terms = json!({"limit": "0", "preserve_overage_at_reset": of_entitlement});
        let mut acme = Acme::entitled(&terms).await;
        acme.grant(&json!({"amount": 100, "min_rollover": 50, "max_rollover": 50})).await;
        acme.uses(110).await;
        acme.pass(DAY);
        acme.reset(&json!({"preserve_overage": of_reset})).await.unwrap();
        assert_eq!(acme.stands().await, expected, "{of_entitlement} {of_reset}");
    }
}

#[tokio::test]
async fn a_changed_mind_about_overage_counts_at_the_next_reset() {
    let terms = json!({"limit": 100, "usage_period": {"interval": "day"}});
    let mut acme = Acme::entitled(&terms).await;
    acme.uses(130).await;
    acme.patch(&json!({"preserve_overage_at_reset": true})).await.unwrap();
    acme.pass(DAY);
    assert_eq!(acme.stands().await, "30/100 70 0");
    acme.patch(&json!({"preserve_overage_at_reset": false})).await.unwrap();
    acme.uses(100).await;
    acme.pass(DAY);
    assert_eq!(acme.stands().await, "0/100 100 0");
}

#[tokio::test]
async fn a_window_has_at_least_a_millisecond() {
    let acme = Acme::entitled(&json!({"limit": 100})).await;
    acme.pass(1);
    acme.reset(&json!({})).await.unwrap();
    let too_soon = "reset_too_soon effective_at";
    assert_eq!(refusal(acme.reset(&json!({})).await), too_soon);
    let now = acme.context().now.to_string();
    assert_eq!(refusal(acme.reset(&json!({"effective_at": now})).await), too_soon);
    acme.pass(1);
    let past = acme.reset(&json!({"effective_at": now})).await;
    assert_eq!(refusal(past), "time_in_past effective_at");
    acme.reset(&json!({})).await.unwrap();
}

#[tokio::test]
async fn at_the_very_moment_of_a_reset_nothing_is_used() {
    let terms = json!({"limit": 100, "usage_period": {"interval": "day"}});
    let mut acme = Acme::entitled(&terms).await;
    acme.uses(60).await;
    acme.until("2026-03-10T23:59:59.999Z");
    assert_eq!(acme.stands().await, "60/100 40 0");
    acme.until("2026-03-11T00:00:00Z");
    assert_eq!(acme.stands().await, "0/100 100 0");
    assert_eq!(period(&acme).await, "2026-03-11T00:00:00Z 2026-03-12T00:00:00Z");
}

#[tokio::test]
async fn periods_by_the_calendar_and_from_an_anchor() {
    let anchor = "2025-11-30T12:00:00Z";
    let cases: [(Value, &str); 9] = [
        (json!({"interval": "hour"}), "2026-03-10T12:00:00Z 2026-03-10T13:00:00Z"),
        (json!({"interval": "week"}), "2026-03-09T00:00:00Z 2026-03-16T00:00:00Z"),
        (json!({"interval": "quarter"}), "2026-01-01T00:00:00Z 2026-04-01T00:00:00Z"),
        (
            json!({"interval": "quarter", "anchor": anchor}),
            "2026-02-28T12:00:00Z 2026-05-30T12:00:00Z",
        ),
        (json!({"interval": "half_year"}), "2026-01-01T00:00:00Z 2026-07-01T00:00:00Z"),
        (
            json!({"interval": "half_year", "anchor": anchor}),
            "2025-11-30T12:00:00Z 2026-05-30T12:00:00Z",
        ),
        (json!({"interval": "billing_cycle"}), "2026-03-01T00:00:00Z 2026-04-01T00:00:00Z"),
        (
            json!({"interval": "billing_cycle", "anchor": anchor}),
            "2026-02-28T12:00:00Z 2026-03-30T12:00:00Z",
        ),
        (json!({"interval": "never"}), "0001-01-01T00:00:00Z 9999-12-30T21:59:59.999Z"),
    ];
    let acme = Acme::unentitled().await;
    for (usage_period, expected) in cases {
        acme.entitle(&json!({"usage_period": usage_period})).await.unwrap();
        assert_eq!(period(&acme).await, expected, "{usage_period}");
        let ops = &acme.world.engine.ops;
        ops.delete_entitlement(&acme.context(), "acme", "tokens").await.unwrap();
    }
}

#[tokio::test]
async fn a_period_that_never_ends_is_reset_by_hand_alone() {
    let terms = json!({"limit": 100, "usage_period": {"interval": "never"}});
    let mut acme = Acme::entitled(&terms).await;
    acme.uses(60).await;
    acme.pass(3_000 * DAY);
    assert_eq!(acme.stands().await, "60/100 40 0");
    assert_eq!(acme.value().await["resets_at"], Value::Null);
    acme.reset(&json!({"retain_anchor": false})).await.unwrap();
    assert_eq!(acme.stands().await, "0/100 100 0");
    assert_eq!(acme.value().await["resets_at"], Value::Null);
    acme.uses(7).await;
    acme.pass(3_000 * DAY);
    assert_eq!(acme.stands().await, "7/100 93 0");
}

#[tokio::test]
async fn of_a_billing_cycle_the_anchor_may_change_and_of_nothing_else() {
    let cycle = json!({"interval": "billing_cycle"});
    let mut acme = Acme::entitled(&json!({"limit": 100, "usage_period": cycle})).await;
    acme.uses(60).await;
    let anchor = json!({"usage_period": {"anchor": "2026-01-20T00:00:00Z"}});
    let after = acme.patch(&anchor).await.unwrap();
    assert_eq!(after["usage_period"]["anchor"], "2026-01-20T00:00:00Z");
    assert_eq!(acme.stands().await, "60/100 40 0");
    assert_eq!(period(&acme).await, "2026-03-01T00:00:00Z 2026-03-20T00:00:00Z");
    acme.until("2026-03-20T00:00:00Z");
    assert_eq!(period(&acme).await, "2026-03-20T00:00:00Z 2026-04-20T00:00:00Z");
    let other = acme.patch(&json!({"usage_period": {"interval": "month"}})).await;
    assert_eq!(refusal(other), "field_immutable usage_period.interval");
}
