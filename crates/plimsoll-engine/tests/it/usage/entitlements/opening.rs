//! Usage of the period before there was an entitlement to count it.

use serde_json::{Value, json};

use super::world::{Acme, DAY, HOUR, refusal};

/// A monthly period that began at this moment, counted from its start.
fn terms(anchor: &str) -> Value {
    json!({"limit": 100, "measure_usage_from": "period_start",
        "usage_period": {"interval": "month", "anchor": anchor}})
}

/// 1 token in the first hour after `NOW`, 2 in the next that is used, and so on in powers of two.
async fn used_for_days() -> Acme {
    let mut acme = Acme::unentitled().await;
    let times = [
        "2026-03-10T12:30:00Z",
        "2026-03-10T23:30:00Z",
        "2026-03-11T02:10:00Z",
        "2026-03-11T06:00:00Z",
        "2026-03-12T09:00:00Z",
        "2026-03-14T10:00:00Z",
        "2026-03-14T11:00:00Z",
    ];
    for (power, time) in times.iter().enumerate() {
        acme.until(time);
        acme.uses(1 << power).await;
    }
    acme
}

#[tokio::test]
async fn usage_since_the_start_of_the_period_counts() {
    let cases = [
        // The hour of the meter itself is not asked for: the meter was made inside of it.
        ("2026-03-10T13:00:00Z", 2 + 4 + 8 + 16 + 32 + 64),
        ("2026-03-11T00:00:00Z", 4 + 8 + 16 + 32 + 64),
        ("2026-03-11T02:00:00Z", 4 + 8 + 16 + 32 + 64),
        ("2026-03-11T03:00:00Z", 8 + 16 + 32 + 64),
        ("2026-03-12T10:00:00Z", 32 + 64),
        ("2026-03-14T00:00:00Z", 32 + 64),
        ("2026-03-14T11:00:00Z", 64),
    ];
    let mut acme = used_for_days().await;
    for (anchor, expected) in cases {
        acme.entitle(&terms(anchor)).await.unwrap();
        assert_eq!(acme.value().await["usage"], expected.to_string(), "{anchor}");
        acme.world.crash().await;
        assert_eq!(acme.value().await["usage"], expected.to_string(), "{anchor}");
        let ops = &acme.world.engine.ops;
        ops.delete_entitlement(&acme.context(), "acme", "tokens").await.unwrap();
    }
    acme.pass(HOUR);
    acme.entitle(&terms("2026-03-14T12:00:00Z")).await.unwrap();
    assert_eq!(acme.stands().await, "0/100 100 0", "there was none in this period");
}

#[tokio::test]
async fn late_events_before_and_after_are_counted_once() {
    let mut acme = used_for_days().await;
    let late = Some("2026-03-11T02:20:00Z");
    acme.used(1_000, late).await;
    acme.entitle(&terms("2026-03-11T00:00:00Z")).await.unwrap();
    assert_eq!(acme.value().await["usage"], "1124");
    acme.used(2_000, late).await;
    acme.uses(1).await;
    assert_eq!(acme.value().await["usage"], "3125");
}

#[tokio::test]
async fn lines_that_are_passed_at_the_opening_fire_because_it_was_made() {
    let acme = used_for_days().await;
    acme.world.rule(&["50", "200"], &json!({})).await;
    acme.entitle(&terms("2026-03-14T00:00:00Z")).await.unwrap();
    assert_eq!(acme.stands().await, "96/100 4 0");
    assert_eq!(acme.world.crossings().await, ["50 crossed entitlement_created"]);
}

#[tokio::test]
async fn without_it_nothing_counts_that_came_before() {
    let mut acme = used_for_days().await;
    let made = acme.entitle(&json!({"limit": 100})).await.unwrap();
    assert_eq!(made["measure_usage_from"], "now");
    assert_eq!(acme.stands().await, "0/100 100 0");
    acme.uses(3).await;
    assert_eq!(acme.stands().await, "3/100 97 0");
}

#[tokio::test]
async fn what_cannot_be_measured_is_refused() {
    let acme = used_for_days().await;
    let refused = "usage_not_measurable measure_usage_from";
    // Inside an hour; before the meter was made; for ever.
    for anchor in ["2026-03-12T10:00:01Z", "2026-03-10T12:00:00.001Z", "2026-03-10T11:00:00Z"] {
        assert_eq!(refusal(acme.entitle(&terms(anchor)).await), refused, "{anchor}");
    }
    let mut never = terms("2026-03-12T00:00:00Z");
    never["usage_period"] = json!({"interval": "never"});
    assert_eq!(refusal(acme.entitle(&never).await), refused);
    acme.pass(DAY);
    acme.entitle(&terms("2026-03-10T12:00:00Z")).await.unwrap();
    assert_eq!(acme.value().await["usage"], "127", "the meter is exactly as old");
}
