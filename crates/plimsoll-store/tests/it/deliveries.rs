//! Behaviours of notifications, deliveries and attempts.

use plimsoll_store::{
    Batch, Lane, Store,
    attempt::{self, AttemptResult},
    delivery::{self, DeliveryRow, DeliveryState, OpenChannel},
    notification::{self, NotificationFilter, NotificationRow},
};

use crate::{
    sample::{
        at, channel, commit, customer, delivery, delivery_id, environment, feature, notification,
        notification_id, refused_as_unique, result, rule, try_commit,
    },
    world::World,
};

/// Notifications made at 1 to `count`, each with a delivery of that number.
async fn fill(store: &dyn Store, count: i64) {
    commit(store, notification::insert((1..=count).map(notification).collect())).await;
    let deliveries = (1..=count).map(|it| delivery(it as u128, it)).collect();
    commit(store, delivery::insert(deliveries)).await;
}

async fn record(store: &dyn Store, results: Vec<AttemptResult>) {
    store.commit(Batch::new(Lane::Attempts, attempt::record(results))).await.unwrap();
}

async fn get(store: &dyn Store, n: u128) -> DeliveryRow {
    delivery::get(store, delivery_id(n)).await.unwrap().unwrap()
}

pub(crate) async fn an_identity_is_notified_once(world: &World) {
    let store = world.open().await;
    let silent = NotificationRow {
        customer: None,
        feature: None,
        rule: None,
        reason: Some("rule_disabled".to_owned()),
        rule_snapshot: None,
        ..notification(1)
    };
    commit(&*store, notification::insert(vec![silent.clone()])).await;
    let same = NotificationRow { identity: silent.identity.clone(), ..notification(2) };
    let refused = try_commit(&*store, notification::insert(vec![notification(3), same])).await;
    assert_eq!(refused_as_unique(refused), notification::INSERT);
    let found = notification::get(&*store, environment(1), silent.id).await;
    assert_eq!(found, Ok(Some(silent.clone())));
    assert_eq!(notification::get(&*store, environment(2), silent.id).await, Ok(None));
    assert_eq!(notification::get(&*store, environment(1), notification_id(3)).await, Ok(None));
    store.close().await;
}

pub(crate) async fn notifications_are_listed_by_every_filter(world: &World) {
    let store = world.open().await;
    let rows = vec![
        notification(1),
        NotificationRow { customer: Some(customer(2)), ..notification(2) },
        NotificationRow { feature: Some(feature(2)), rule: Some(rule(2)), ..notification(3) },
        NotificationRow { r#type: "entitlements.reset".to_owned(), ..notification(4) },
        NotificationRow { environment: environment(2), ..notification(5) },
    ];
    commit(&*store, notification::insert(rows)).await;
    let deliveries = vec![
        DeliveryRow { channel: channel(2), state: DeliveryState::Failed, ..delivery(1, 1) },
        DeliveryRow { state: DeliveryState::Success, ..delivery(2, 1) },
        DeliveryRow { state: DeliveryState::Failed, ..delivery(3, 3) },
    ];
    commit(&*store, delivery::insert(deliveries)).await;

    let all = NotificationFilter::newest(environment(1), 50);
    let cases: [(NotificationFilter, &[i64]); 13] = [
        (all.clone(), &[4, 3, 2, 1]),
        (NotificationFilter { limit: 2, ..all.clone() }, &[4, 3]),
        (NotificationFilter { after: Some(notification_id(3)), ..all.clone() }, &[2, 1]),
        (NotificationFilter { customer: Some(customer(2)), ..all.clone() }, &[2]),
        (NotificationFilter { feature: Some(feature(2)), ..all.clone() }, &[3]),
        (NotificationFilter { rule: Some(rule(1)), ..all.clone() }, &[4, 2, 1]),
        (NotificationFilter { r#type: Some("entitlements.reset".to_owned()), ..all.clone() }, &[4]),
        (NotificationFilter { from: Some(at(2)), to: Some(at(4)), ..all.clone() }, &[3, 2]),
        (NotificationFilter { channel: Some(channel(1)), ..all.clone() }, &[3, 1]),
        (NotificationFilter { state: Some(DeliveryState::Failed), ..all.clone() }, &[3, 1]),
        (
            NotificationFilter {
                channel: Some(channel(1)),
                state: Some(DeliveryState::Failed),
                ..all.clone()
            },
            &[3],
        ),
        (NotificationFilter { environment: environment(2), ..all.clone() }, &[5]),
        (NotificationFilter { environment: environment(3), ..all.clone() }, &[]),
    ];
    for (filter, expected) in cases {
        let found = notification::list(&*store, &filter).await.unwrap();
        let made: Vec<_> = found.iter().map(|it| it.created_at.as_ms()).collect();
        assert_eq!(made, expected, "{filter:?}");
    }
    store.close().await;
}

pub(crate) async fn what_is_due_comes_in_order(world: &World) {
    let store = world.open().await;
    fill(&*store, 5).await;
    // Due later than those made after it, and on another channel.
    commit(&*store, notification::insert(vec![notification(6), notification(7)])).await;
    let others = vec![
        DeliveryRow { next_attempt_at: Some(at(3)), ordinal: -1, ..delivery(6, 6) },
        DeliveryRow { channel: channel(2), next_attempt_at: Some(at(40)), ..delivery(7, 7) },
    ];
    commit(&*store, delivery::insert(others)).await;

    let due = async |n, now, after, limit| {
        let found = delivery::due(&*store, channel(n), at(now), after, limit).await.unwrap();
        found.iter().map(|it| it.delivery.ordinal).collect::<Vec<_>>()
    };
    assert_eq!(due(1, 4, None, 50).await, [1, 2, -1, 3, 4]);
    assert_eq!(due(1, 100, None, 2).await, [1, 2]);
    let place = get(&*store, 6).await.place();
    assert_eq!(due(1, 100, place, 50).await, [3, 4, 5]);
    assert_eq!(due(2, 39, None, 50).await, [0_i64; 0]);
    let found = delivery::due(&*store, channel(2), at(40), None, 1).await.unwrap();
    assert_eq!(found[0].body, notification(7).doc);
    assert_eq!(found[0].delivery, get(&*store, 7).await);

    assert_eq!(delivery::earliest(&*store, channel(1)).await, Ok(Some(at(1))));
    assert_eq!(delivery::earliest(&*store, channel(3)).await, Ok(None));
    let open = |n, ms| OpenChannel { channel: channel(n), next_attempt_at: at(ms) };
    assert_eq!(delivery::open_channels(&*store).await, Ok(vec![open(1, 1), open(2, 40)]));
    record(&*store, vec![result(7, 1, None)]).await;
    assert_eq!(delivery::open_channels(&*store).await, Ok(vec![open(1, 1)]));
    store.close().await;
}

pub(crate) async fn results_of_many_attempts_are_one_batch(world: &World) {
    let store = world.open().await;
    fill(&*store, 300).await;
    assert_eq!(delivery::open_channels(&*store).await.unwrap().len(), 1);
    let results = (1..=300).map(|n| result(n, 1, (n % 2 == 0).then_some(1_000))).collect();
    record(&*store, results).await;
    record(&*store, vec![result(2, 2, None)]).await;

    let again = attempt::record(vec![result(4, 2, None), result(6, 1, None)]);
    assert_eq!(refused_as_unique(try_commit(&*store, again).await), attempt::INSERT);

    let newest = NotificationFilter::newest(environment(1), 300);
    let rows = notification::list(&*store, &newest).await.unwrap();
    let details = notification::details(&*store, rows).await.unwrap();
    assert_eq!(details.len(), 300);
    for detail in details {
        let [delivery] = &detail.deliveries[..] else { panic!("{detail:?}") };
        let (row, n) = (&delivery.delivery, detail.notification.ordinal);
        let expected = match n {
            2 => (DeliveryState::Success, 2, None, None),
            n if n % 2 == 0 => (DeliveryState::Sending, 1, Some(at(1_000)), Some("status")),
            _ => (DeliveryState::Success, 1, None, None),
        };
        let found = (row.state, row.attempts, row.next_attempt_at, row.error.as_deref());
        assert_eq!(found, expected, "{n}");
        assert_eq!(row.updated_at, at(600));
        assert_eq!(delivery.attempts[0], result(n as u128, 1, (n % 2 == 0).then_some(0)).attempt);
        assert_eq!(delivery.attempts.len(), if n == 2 { 2 } else { 1 });
    }
    store.close().await;
}

pub(crate) async fn a_final_delivery_is_changed_only_by_success(world: &World) {
    let store = world.open().await;
    fill(&*store, 2).await;
    commit(&*store, [delivery::fail_open(channel(1), "channel_disabled", at(5), 10)]).await;
    record(&*store, vec![result(1, 1, Some(1_000)), result(2, 1, None)]).await;
    let (first, second) = (get(&*store, 1).await, get(&*store, 2).await);
    assert_eq!((first.state, first.next_attempt_at), (DeliveryState::Failed, None));
    assert_eq!(first.error.as_deref(), Some("channel_disabled"));
    assert_eq!((second.state, second.attempts), (DeliveryState::Success, 1));
    // What the receiver answered is listed all the same.
    let attempts = attempt::of_deliveries(&*store, &[delivery_id(1)]).await.unwrap();
    assert_eq!(attempts[&delivery_id(1)], [result(1, 1, Some(1_000)).attempt]);
    store.close().await;
}

pub(crate) async fn a_disabled_channel_fails_what_is_open(world: &World) {
    let store = world.open().await;
    fill(&*store, 5).await;
    record(&*store, vec![result(1, 1, None)]).await;
    let other = DeliveryRow { channel: channel(2), n: 1, ..delivery(9, 1) };
    commit(&*store, delivery::insert(vec![other])).await;
    for failed in [3, 1, 0] {
        let fail = delivery::fail_open(channel(1), "channel_disabled", at(700), 3);
        assert_eq!(commit(&*store, [fail]).await[0].len(), failed);
    }
    assert_eq!(get(&*store, 1).await.state, DeliveryState::Success);
    assert_eq!(get(&*store, 5).await.state, DeliveryState::Failed);
    assert_eq!(get(&*store, 5).await.updated_at, at(700));
    assert_eq!(get(&*store, 9).await.state, DeliveryState::Pending);
    store.close().await;
}

pub(crate) async fn a_delivery_is_numbered_once_a_channel(world: &World) {
    let store = world.open().await;
    fill(&*store, 1).await;
    let again = |n| DeliveryRow { n, ..delivery(2, 1) };
    let refused = try_commit(&*store, delivery::insert(vec![again(1)])).await;
    assert_eq!(refused_as_unique(refused), delivery::INSERT);
    commit(&*store, delivery::insert(vec![again(2)])).await;
    let rows = delivery::of_notification(&*store, notification_id(1)).await.unwrap();
    assert_eq!(rows, [delivery(1, 1), again(2)]);
    store.close().await;
}
