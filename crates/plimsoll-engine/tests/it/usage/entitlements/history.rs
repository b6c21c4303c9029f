//! The windows that an entitlement went through, and the segments in which its grants burned.

use plimsoll_engine::ops::entitlement::{History, HistoryRequest};
use serde_json::json;

use super::world::{Acme, DAY, refusal, shown};

/// Each window as `day usage/limit`, the current one with a star.
fn windows(history: &History) -> Vec<String> {
    let shown = history.windows.iter().map(|it| {
        let day = it.from.to_string()[8..10].to_owned();
        let limit = it.limit.map_or_else(|| "-".to_owned(), |it| it.to_string());
        let star = if it.is_current { "*" } else { "" };
        format!("{day} {}/{limit}{star}", it.usage)
    });
    shown.collect()
}

async fn daily() -> Acme {
    Acme::entitled(&json!({"limit": 100, "usage_period": {"interval": "day"}})).await
}

#[tokio::test]
async fn windows_keep_what_they_closed_with() {
    let mut acme = daily().await;
    acme.uses(10).await;
    acme.pass(DAY);
    acme.uses(20).await;
    acme.patch(&json!({"limit": 300})).await.unwrap();
    // A day without usage leaves no window behind.
    acme.pass(2 * DAY);
    acme.uses(30).await;
    let expected = ["10 10/100", "11 20/300", "13 30/300*"];
    assert_eq!(windows(&acme.history(&json!({})).await), expected);
    // A late event changes the window that it belongs to, and leaves it its limit.
    acme.used(5, Some("2026-03-10T20:00:00Z")).await;
    let expected = ["10 15/100", "11 20/300", "13 30/300*"];
    assert_eq!(windows(&acme.history(&json!({})).await), expected);
    acme.world.crash().await;
    assert_eq!(windows(&acme.history(&json!({})).await), expected);
}

#[tokio::test]
async fn a_history_is_read_in_parts() {
    let mut acme = daily().await;
    for used in 1..=5 {
        acme.uses(used).await;
        acme.pass(DAY);
    }
    let first = acme.history(&json!({"limit": 2})).await;
    assert_eq!(windows(&first), ["10 1/100", "11 2/100"]);
    let next = first.next_from.unwrap().to_string();
    let second = acme.history(&json!({"limit": 3, "from": next})).await;
    assert_eq!(windows(&second), ["12 3/100", "13 4/100", "14 5/100"]);
    let next = second.next_from.unwrap().to_string();
    let last = acme.history(&json!({"limit": 3, "from": next})).await;
    assert_eq!(windows(&last), ["15 0/100*"]);
    assert_eq!(last.next_from, None);
    let range = json!({"from": "2026-03-11T06:00:00Z", "to": "2026-03-13T00:00:00Z"});
    assert_eq!(windows(&acme.history(&range).await), ["11 2/100", "12 3/100"]);
}

#[tokio::test]
async fn segments_say_what_burned_from_where() {
    let mut acme = daily().await;
    acme.pass(60);
    acme.grant(&json!({"amount": 50, "max_rollover": 20})).await;
    acme.uses(110).await;
    acme.until("2026-03-11T06:00:00Z");
    acme.uses(10).await;
    // The limit comes first; a line is `usage overage: burned of what there was`.
    let before_the_reset = "110 0: 100/100 10/50";
    assert_eq!(acme.segments().await, [before_the_reset, "10 0: 10/100 0/20"]);
    acme.reset(&json!({})).await.unwrap();
    acme.pass(60);
    acme.uses(1).await;
    let segments = [before_the_reset, "10 0: 10/100 0/20", "1 0: 1/100 0/20"];
    assert_eq!(acme.segments().await, segments);
    acme.world.crash().await;
    assert_eq!(acme.segments().await, segments);
    let expected = ["10 110/150", "11 10/120", "11 1/120*"];
    assert_eq!(windows(&acme.history(&json!({})).await), expected);
    let tail = acme.history(&json!({"from": "2026-03-11T06:00:30Z"})).await;
    assert_eq!((tail.windows.len(), tail.segments.len()), (1, 1));
}

#[tokio::test]
async fn a_segment_that_is_cut_off_is_where_the_next_part_begins() {
    let mut acme = Acme::prepaid().await;
    for _ in 0..4 {
        acme.grant(&json!({"amount": 10})).await;
        acme.uses(1).await;
        acme.pass(60);
    }
    let (mut from, mut seen) = (None, Vec::new());
    loop {
        let part = acme.history(&json!({"limit": 2, "from": from})).await;
        assert!(part.segments.len() <= 2);
        seen.extend(part.segments);
        match part.next_from {
            Some(next) => from = Some(next.to_string()),
            None => break,
        }
    }
    assert_eq!(seen, acme.history(&json!({})).await.segments);
    assert_eq!(seen.len(), 4);
}

#[tokio::test]
async fn a_history_of_what_is_not_metered_is_refused() {
    let acme = Acme::unentitled().await;
    let (ops, context) = (&acme.world.engine.ops, acme.context());
    let feature = json!({"key": "sso", "type": "boolean"});
    ops.create_feature(&context, super::world::request(&feature)).await.unwrap();
    let entitlement = json!({"feature": "sso", "type": "boolean"});
    let entitlement = super::world::request(&entitlement);
    ops.create_entitlement(&context, "acme", entitlement).await.unwrap();
    let history =
        ops.entitlement_history(&context, "acme", "sso", &HistoryRequest::default()).await;
    assert_eq!(refusal(shown(history)), "entitlement_not_metered");
    let reset = super::world::request(&json!({}));
    let reset = ops.reset_entitlement(&context, "acme", "sso", reset).await;
    assert_eq!(refusal(reset), "entitlement_not_metered");
    let grant = super::world::request(&json!({"amount": 1}));
    let grant = ops.create_grant(&context, "acme", "sso", grant).await;
    assert_eq!(refusal(grant), "entitlement_not_metered");
}
