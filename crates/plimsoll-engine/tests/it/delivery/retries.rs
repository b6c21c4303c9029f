//! When a failed delivery is tried again, and what that does to its channel.

use std::time::Duration;

use plimsoll_core::{delivery::schedule::WAITS_MS, limits};
use plimsoll_store::delivery::DeliveryState;

use super::{receiver::Reply, world::World};

const DAY_S: i64 = 24 * 60 * 60;

#[tokio::test]
async fn a_receiver_that_recovers_gets_the_same_webhook() {
    let mut world = World::start().await;
    let receiver = world.receiver(Reply::status(500, "", "no")).await;
    let channel = world.channel(&receiver.url());
    let delivery = world.send_one(channel).await;
    let row = world.attempted(delivery, 1).await;
    assert_eq!(row.state, DeliveryState::Sending);
    receiver.set(Reply::ok());
    world.skip_to_next_attempt(delivery).await;
    let row = world.reached(delivery, DeliveryState::Success).await;
    assert_eq!((row.attempts, row.next_attempt_at), (2, None));
    let received = receiver.received();
    assert_eq!(received.len(), 2);
    assert_eq!(received[0].header("webhook-id"), received[1].header("webhook-id"));
    assert_eq!(received[0].body, received[1].body);
    assert_ne!(received[0].header("webhook-timestamp"), received[1].header("webhook-timestamp"));
    assert_ne!(received[0].header("webhook-signature"), received[1].header("webhook-signature"));
    world.end().await;
}

#[tokio::test]
async fn attempts_follow_the_schedule_to_its_end() {
    let mut world = World::start().await;
    let receiver = world.receiver(Reply::status(500, "", "no")).await;
    let channel = world.channel(&receiver.url());
    let delivery = world.send_one(channel).await;
    for attempts in 1..limits::DELIVERY_ATTEMPTS {
        let row = world.attempted(delivery, attempts).await;
        assert_eq!((row.state, row.attempts), (DeliveryState::Sending, attempts));
        let wait_ms = row.next_attempt_at.unwrap().ms_since(row.updated_at);
        let planned_ms = WAITS_MS[attempts as usize];
        let range = planned_ms * 8 / 10..=planned_ms * 12 / 10;
        assert!(range.contains(&wait_ms), "{wait_ms} after {attempts} attempts");
        world.skip_to_next_attempt(delivery).await;
    }
    let row = world.reached(delivery, DeliveryState::Failed).await;
    assert_eq!((row.attempts, row.next_attempt_at), (10, None));
    let numbers: Vec<_> = world.attempts(delivery).await.iter().map(|it| it.n).collect();
    assert_eq!(numbers, (1..=10).collect::<Vec<_>>());
    assert_eq!(receiver.received().len(), 10);
    world.end().await;
}

/// Checks the wait after an answer with this `Retry-After`; `None` stands for the schedule's own.
async fn check_retry_after(status: u16, value: &str, expected_s: Option<i64>) {
    let mut world = World::start().await;
    let headers = format!("retry-after: {value}\r\n");
    let receiver = world.receiver(Reply::status(status, &headers, "")).await;
    let channel = world.channel(&receiver.url());
    let delivery = world.send_one(channel).await;
    let row = world.attempted(delivery, 1).await;
    let wait_ms = row.next_attempt_at.unwrap().ms_since(row.updated_at);
    let range = match expected_s {
        None => 4_000..=6_000,
        Some(seconds) => (seconds - 2) * 1_000..=seconds * 1_000,
    };
    assert!(range.contains(&wait_ms), "{status} {value}: {wait_ms}");
    world.end().await;
}

#[tokio::test]
async fn retry_after_is_honoured_within_reason() {
    check_retry_after(429, "120", Some(120)).await;
    check_retry_after(503, "120.6", Some(121)).await;
    check_retry_after(502, "1", None).await;
    check_retry_after(504, "99999999999", Some(DAY_S)).await;
    check_retry_after(500, "120", None).await;
    for garbage in ["inf", "-1", "NaN", "1e300", "soon", ""] {
        check_retry_after(503, garbage, None).await;
    }
    check_retry_after(503, "Sun, 06 Nov 1994 08:49:37 GMT", None).await;
    check_retry_after(503, "Fri, 31 Dec 9999 23:59:59 GMT", Some(DAY_S)).await;
}

#[tokio::test]
async fn a_throttling_receiver_is_left_alone_for_as_long_as_it_asks() {
    let mut world = World::start().await;
    let receiver = world.receiver(Reply::status(429, "retry-after: 100\r\n", "")).await;
    let channel = world.channel(&receiver.url());
    let first = world.send_one(channel).await;
    world.attempted(first, 1).await;
    let others = world.send(channel, 50).await;
    receiver.set(Reply::ok());
    world.clock.skip(Duration::from_secs(90));
    // Another channel works meanwhile, which shows that time has passed for all of them.
    let neighbour = world.receiver(Reply::ok()).await;
    let neighbouring = world.channel(&neighbour.url());
    let sent = world.send(neighbouring, 1).await;
    world.all_reached(&sent, DeliveryState::Success).await;
    assert_eq!(receiver.received().len(), 1);
    world.clock.skip(Duration::from_secs(20));
    world.all_reached(&others, DeliveryState::Success).await;
    world.reached(first, DeliveryState::Success).await;
    world.end().await;
}

#[tokio::test]
async fn an_unreachable_receiver_is_probed_and_then_served_in_order() {
    let mut world = World::start().await;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let channel = world.channel(&format!("http://{address}/"));
    let customers: Vec<_> = (0..1_000).collect();
    let sent = world.commit(channel, &customers).await;
    world.offer(sent.clone());
    let row = world.attempted(sent[0].delivery, 1).await;
    assert_eq!(row.error.as_deref(), Some("refused"));
    // The breaker opens: most have had no attempt.
    let pending = world.row(sent[999].delivery).await;
    assert_eq!((pending.state, pending.attempts), (DeliveryState::Pending, 0));
    let other = world.receiver(Reply::ok()).await;
    world.put(super::world::channel(channel, other.url().parse().unwrap()));
    world.clock.skip(Duration::from_secs(10));
    world.all_reached(&sent, DeliveryState::Success).await;
    world.end().await;
}
