//! How grants burn, expire, recur and roll over: the behaviours that users of others know.

use serde_json::json;

use super::world::{Acme, DAY, HOUR, NOW, refusal};

#[tokio::test]
async fn without_grants_everything_is_overage() {
    let mut acme = Acme::prepaid().await;
    acme.uses(50).await;
    assert_eq!(acme.stands().await, "50/0 0 50");
    assert_eq!(acme.value().await["has_access"], false);
}

#[tokio::test]
async fn a_single_grant_is_what_can_be_used() {
    let mut acme = Acme::prepaid().await;
    acme.grant(&json!({"amount": 100})).await;
    assert_eq!(acme.value().await["has_access"], true);
    acme.uses(50).await;
    assert_eq!(acme.stands().await, "50/100 50 0");
    assert_eq!(acme.left().await, "50");
    acme.pass(1);
    assert_eq!(acme.segments().await, ["50 0: 0/0 50/100"]);
}

#[tokio::test]
async fn a_grant_in_the_future_has_no_balance_yet() {
    let acme = Acme::prepaid().await;
    acme.grant(&json!({"amount": 100, "effective_at": "2026-03-20T12:00:00Z"})).await;
    acme.until("2026-03-15T12:00:00Z");
    assert_eq!(acme.stands().await, "0/0 0 0");
    assert_eq!(acme.left().await, "(0)");
    acme.until("2026-03-20T11:59:59.999Z");
    assert_eq!(acme.left().await, "(0)");
    acme.until("2026-03-20T12:00:00Z");
    assert_eq!(acme.left().await, "100");
    assert_eq!(acme.stands().await, "0/100 100 0");
}

#[tokio::test]
async fn an_expired_grant_covers_nothing() {
    let mut acme = Acme::prepaid().await;
    acme.grant(&json!({"amount": 100, "expires_at": "2026-03-10T13:00:00Z"})).await;
    acme.pass(2 * HOUR);
    acme.uses(50).await;
    assert_eq!(acme.stands().await, "50/0 0 50");
    assert_eq!(acme.left().await, "(0)");
}

#[tokio::test]
async fn what_a_grant_covered_before_it_was_voided_stays_covered() {
    let mut acme = Acme::prepaid().await;
    let grant = acme.grant(&json!({"amount": 100})).await;
    acme.void(&grant, &json!({"at": "2026-03-10T13:00:00Z"})).await.unwrap();
    acme.until("2026-03-10T12:59:00Z");
    acme.uses(50).await;
    assert_eq!(acme.stands().await, "50/100 50 0");
    acme.until("2026-03-10T13:01:00Z");
    acme.uses(50).await;
    assert_eq!(acme.stands().await, "100/50 0 50");
    assert_eq!(acme.segments().await, ["50 0: 0/0 50/100", "50 50: 0/0"]);
}

#[tokio::test]
async fn a_grant_that_becomes_active_absorbs_the_overage_of_the_period() {
    let mut acme = Acme::prepaid().await;
    acme.grant(&json!({"amount": 100, "effective_at": "2026-03-11T12:00:00Z"})).await;
    acme.uses(25).await;
    assert_eq!(acme.stands().await, "25/0 0 25");
    acme.pass(DAY);
    assert_eq!(acme.stands().await, "25/100 75 0");
    acme.uses(25).await;
    assert_eq!(acme.stands().await, "50/100 50 0");
    acme.pass(1);
    assert_eq!(acme.segments().await, ["25 25: 0/0", "25 0: 0/0 50/100"]);
}

#[tokio::test]
async fn two_grants_are_used_up() {
    let mut acme = Acme::prepaid().await;
    acme.grant(&json!({"amount": 100})).await;
    acme.grant(&json!({"amount": 100})).await;
    acme.uses(200).await;
    assert_eq!(acme.left().await, "0 0");
    assert_eq!(acme.stands().await, "200/200 0 0");
}

/// Each grant is worth 100, and 120 are used: what is left says which one burned first.
#[tokio::test]
async fn grants_burn_in_their_order() {
    let later = "2026-05-01T00:00:00Z";
    let sooner = "2026-04-01T00:00:00Z";
    let cases = [
        ("priority", json!({"priority": 1}), json!({"priority": 2}), "0 80"),
        ("priority", json!({"priority": 2}), json!({"priority": 1}), "80 0"),
        ("expiry", json!({"expires_at": sooner}), json!({"expires_at": later}), "0 80"),
        ("expiry", json!({"expires_at": later}), json!({"expires_at": sooner}), "80 0"),
        ("expiry", json!({}), json!({"expires_at": later}), "80 0"),
        (
            "priority before expiry",
            json!({"priority": 1, "expires_at": later}),
            json!({"priority": 2, "expires_at": sooner}),
            "0 80",
        ),
        ("age", json!({}), json!({}), "0 80"),
    ];
    for (name, first, second, expected) in cases {
        let mut acme = Acme::prepaid().await;
        for mut grant in [first, second] {
            grant["amount"] = json!(100);
            acme.grant(&grant).await;
            acme.pass(1);
        }
        acme.uses(120).await;
        assert_eq!(acme.left().await, expected, "{name}");
    }
}

#[tokio::test]
async fn of_many_grants_the_one_that_expires_a_day_sooner_burns_first() {
    let mut acme = Acme::prepaid().await;
    for day in [2, 2, 2, 1, 2, 2] {
        let grant = json!({"amount": 100, "expires_at": format!("2026-06-0{day}T00:00:00Z")});
        acme.grant(&grant).await;
    }
    acme.uses(99).await;
    assert_eq!(acme.left().await, "100 100 100 1 100 100");
}

#[tokio::test]
async fn the_limit_burns_as_a_grant_that_ends_with_the_period() {
    let cases = [
        // limit_priority, priority of the grant, left of the grant after 120 of 100 + 100
        (json!(null), json!(null), "80"),
        (json!(null), json!(0), "0"),
        (json!(5), json!(4), "0"),
        (json!(5), json!(6), "80"),
    ];
    for (limit_priority, priority, expected) in cases {
        let terms = json!({"limit": 100, "limit_priority": limit_priority});
        let mut acme = Acme::entitled(&terms).await;
        acme.grant(&json!({"amount": 100, "priority": priority})).await;
        acme.uses(120).await;
        assert_eq!(acme.left().await, expected, "{limit_priority} {priority}");
        assert_eq!(acme.stands().await, "120/200 80 0");
    }
}

#[tokio::test]
async fn a_recurring_grant_absorbs_the_overage_of_the_day_before() {
    let mut acme = Acme::prepaid().await;
    acme.grant(&json!({"amount": 100, "recurrence": {"interval": "day"}})).await;
    acme.uses(120).await;
    assert_eq!(acme.stands().await, "120/100 0 20");
    acme.pass(DAY + HOUR);
    assert_eq!(acme.left().await, "80");
    assert_eq!(acme.stands().await, "120/200 80 0");
}

#[tokio::test]
async fn a_grant_recurs_at_its_anchor_to_the_millisecond_and_adds_nothing_up() {
    let mut acme = Acme::prepaid().await;
    acme.grant(&json!({"amount": 100, "priority": 2})).await;
    let anchor = "2026-03-12T00:00:00Z";
    acme.grant(&json!({"amount": 100, "effective_at": "2026-03-11T12:00:00Z",
        "recurrence": {"interval": "week", "anchor": anchor}}))
        .await;
    acme.uses(60).await;
    acme.pass(DAY);
    acme.uses(20).await;
    assert_eq!(acme.left().await, "40 80");
    acme.until("2026-03-11T23:59:59.999Z");
    assert_eq!(acme.left().await, "40 80");
    acme.until(anchor);
    assert_eq!(acme.left().await, "40 100");
    acme.pass(7 * DAY);
    assert_eq!(acme.left().await, "40 100");
}

#[tokio::test]
async fn a_recurrence_is_not_done_again_when_another_grant_becomes_active() {
    let mut acme = Acme::prepaid().await;
    acme.grant(&json!({"amount": 100, "recurrence": {"interval": "day"}})).await;
    acme.grant(&json!({"amount": 100, "priority": 9, "effective_at": "2026-03-10T18:00:00Z"}))
        .await;
    acme.uses(30).await;
    acme.until("2026-03-10T18:00:00Z");
    assert_eq!(acme.left().await, "70 100");
    acme.uses(20).await;
    assert_eq!(acme.left().await, "50 100");
}

/// What is left of 100 after 10 were used, when the period ends.
#[tokio::test]
async fn grants_roll_over_between_their_bounds() {
    let cases = [
        ("all of it unless said otherwise", json!({}), 10, "90"),
        ("at most max_rollover", json!({"max_rollover": 50}), 10, "50"),
        ("at least min_rollover", json!({"min_rollover": 30}), 95, "30"),
        ("nothing", json!({"max_rollover": 0}), 10, "0"),
        ("exactly", json!({"min_rollover": 50, "max_rollover": 50}), 100, "50"),
    ];
    for (name, mut grant, used, expected) in cases {
        let mut acme =
            Acme::entitled(&json!({"limit": "0", "usage_period": {"interval": "day"}})).await;
        grant["amount"] = json!(100);
        acme.grant(&grant).await;
        acme.uses(used).await;
        acme.until("2026-03-11T00:00:00Z");
        assert_eq!(acme.left().await, expected, "{name}");
        assert_eq!(acme.stands().await, format!("0/{expected} {expected} 0"), "{name}");
    }
}

#[tokio::test]
async fn a_recurrence_at_the_moment_of_a_reset_wins_over_the_rollover() {
    let mut acme =
        Acme::entitled(&json!({"limit": "0", "usage_period": {"interval": "day"}})).await;
    acme.grant(&json!({"amount": 100, "max_rollover": 10,
        "recurrence": {"interval": "day", "anchor": "2026-01-01T00:00:00Z"}}))
        .await;
    acme.uses(70).await;
    acme.until("2026-03-11T00:00:00Z");
    assert_eq!(acme.left().await, "100");
}

#[tokio::test]
async fn an_expiration_is_counted_from_when_the_grant_is_effective() {
    let acme = Acme::prepaid().await;
    let cases = [
        ("hour", 2, "2026-03-10T14:00:00Z"),
        ("day", 30, "2026-04-09T12:00:00Z"),
        ("week", 1, "2026-03-17T12:00:00Z"),
        ("month", 1, "2026-04-10T12:00:00Z"),
        ("year", 2, "2028-03-10T12:00:00Z"),
    ];
    for (duration, count, expected) in cases {
        let grant = json!({"amount": 1, "expiration": {"duration": duration, "count": count}});
        let made = acme.granted(&grant).await.unwrap();
        assert_eq!(made.expires_at.unwrap().to_string(), expected, "{duration}");
    }
    let grant = json!({"amount": 1, "effective_at": "2026-08-31T08:00:00+02:00",
        "expiration": {"duration": "month", "count": 6}});
    let made = acme.granted(&grant).await.unwrap();
    assert_eq!(made.effective_at.to_string(), "2026-08-31T06:00:00Z", "times are in UTC");
    assert_eq!(made.expires_at.unwrap().to_string(), "2027-02-28T06:00:00Z", "months clamp");
}

#[tokio::test]
async fn voiding_a_grant_twice_is_voiding_it_once() {
    let acme = Acme::prepaid().await;
    let grant = acme.grant(&json!({"amount": 100})).await;
    let later = json!({"at": "2026-03-12T00:00:00Z"});
    acme.void(&grant, &later).await.unwrap();
    acme.void(&grant, &later).await.unwrap();
    assert_eq!(acme.left().await, "100");
    let other = acme.void(&grant, &json!({"at": "2026-03-13T00:00:00Z"})).await;
    assert_eq!(refusal(other), "invalid_parameter at");
    acme.void(&grant, &json!({})).await.unwrap();
    acme.pass(1);
    acme.void(&grant, &json!({})).await.unwrap();
    assert_eq!(acme.left().await, "(0)");
    let ops = &acme.world.engine.ops;
    let shown = ops.get_grant(&acme.context(), "acme", "tokens", &grant).await.unwrap();
    assert_eq!(shown.grant.voided_at.unwrap().to_string(), NOW);
    let gone = acme.void("grt_01ARZ3NDEKTSV4RRFFQ69G5FAV", &json!({})).await;
    assert_eq!(refusal(gone), "not_found");
}

#[tokio::test]
async fn a_waiting_grant_can_be_voided_before_it_is_effective() {
    let acme = Acme::prepaid().await;
    let grant = json!({"amount": 100, "effective_at": "2026-03-12T00:00:00Z"});
    let grant = acme.grant(&grant).await;
    acme.void(&grant, &json!({})).await.unwrap();
    acme.pass(5 * DAY);
    assert_eq!(acme.left().await, "(0)");
    assert_eq!(acme.stands().await, "0/0 0 0");
}

#[tokio::test]
async fn a_restart_changes_nothing_about_grants() {
    let mut acme = Acme::entitled(&json!({"limit": "10"})).await;
    acme.grant(&json!({"amount": 100, "recurrence": {"interval": "day"}})).await;
    let second = acme.grant(&json!({"amount": 50, "priority": 3})).await;
    acme.void(&second, &json!({"at": "2026-03-12T00:00:00Z"})).await.unwrap();
    acme.uses(130).await;
    let before = (acme.stands().await, acme.left().await, acme.segments().await);
    acme.world.crash().await;
    assert_eq!((acme.stands().await, acme.left().await, acme.segments().await), before);
    acme.pass(2 * DAY);
    let before = (acme.stands().await, acme.left().await, acme.segments().await);
    acme.world.crash().await;
    assert_eq!((acme.stands().await, acme.left().await, acme.segments().await), before);
    assert_eq!(before.1, "100 (0)");
}

#[tokio::test]
async fn deleting_an_entitlement_deletes_its_grants() {
    let mut acme = Acme::prepaid().await;
    acme.grant(&json!({"amount": 100})).await;
    acme.uses(5).await;
    let ops = acme.world.engine.ops.clone();
    ops.delete_entitlement(&acme.context(), "acme", "tokens").await.unwrap();
    acme.entitle(&json!({"limit": "0"})).await.unwrap();
    assert_eq!(acme.left().await, "");
    acme.grant(&json!({"amount": 7})).await;
    assert_eq!(acme.stands().await, "0/7 7 0");
    let rows = || {
        plimsoll_store::resource::count(
            acme.world.store.as_ref(),
            acme.context().caller.environment,
            "grant",
        )
    };
    assert_eq!(rows().await.unwrap(), 1);
    ops.delete_customer(&acme.context(), "acme").await.unwrap();
    assert_eq!(rows().await.unwrap(), 0);
}
