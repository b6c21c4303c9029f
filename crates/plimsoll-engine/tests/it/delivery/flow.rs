//! From the offer to the receiver: content, order, restart, bounds.

use hyper::HeaderMap;
use plimsoll_core::limits;
use plimsoll_engine::delivery::{channels::Channel, guard::vet_header, signature::Secret};
use plimsoll_store::delivery::DeliveryState;
use standardwebhooks::Webhook;

use super::{
    receiver::Reply,
    world::{SECRET, World, channel},
};

#[tokio::test]
async fn a_webhook_is_signed_and_recorded() {
    let mut world = World::start().await;
    let receiver = world.receiver(Reply::ok()).await;
    let id = world.channel(&receiver.url());
    let sent = world.send(id, 1).await.remove(0);
    let row = world.reached(sent.delivery, DeliveryState::Success).await;
    assert_eq!((row.attempts, row.next_attempt_at, row.error), (1, None, None));
    let attempts = world.attempts(sent.delivery).await;
    assert_eq!(attempts.len(), 1);
    assert_eq!((attempts[0].n, attempts[0].status, &attempts[0].error), (1, Some(200), &None));
    assert_eq!(attempts[0].response_body.as_deref(), Some(&b"ok"[..]));

    let request = receiver.received().remove(0);
    assert_eq!(request.line, "POST /hook?x=1 HTTP/1.1");
    assert_eq!(request.body, sent.body);
    assert_eq!(request.header("host"), receiver.address.to_string());
    assert_eq!(request.header("content-type"), "application/json");
    assert_eq!(request.header("user-agent"), concat!("Plimsoll/", env!("CARGO_PKG_VERSION")));
    assert_eq!(request.header("webhook-id"), sent.notification.to_string());
    assert_eq!(request.header("accept-encoding"), "");
    assert_eq!(request.headers.len(), 7, "{:?}", request.headers);
    let headers: HeaderMap = ["webhook-id", "webhook-timestamp", "webhook-signature"]
        .into_iter()
        .map(|name| (name.parse().unwrap(), request.header(name).parse().unwrap()))
        .collect();
    Webhook::new(SECRET).unwrap().verify(&request.body, &headers).unwrap();
    world.end().await;
}

#[tokio::test]
async fn custom_headers_and_every_secret_are_used() {
    let mut world = World::start().await;
    let receiver = world.receiver(Reply::ok()).await;
    let id = world.channel(&receiver.url());
    let plain = channel(id, receiver.url().parse().unwrap());
    world.put(Channel {
        headers: vec![vet_header("authorization", "Bearer x").unwrap()],
        secrets: vec![
            Secret::parse("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD", None).unwrap(),
            Secret::parse(SECRET, None).unwrap(),
        ],
        ..plain
    });
    let delivery = world.send_one(id).await;
    world.reached(delivery, DeliveryState::Success).await;
    let request = receiver.received().remove(0);
    assert_eq!(request.header("authorization"), "Bearer x");
    assert_eq!(request.header("webhook-signature").split(' ').count(), 2);
    world.end().await;
}

#[tokio::test]
async fn first_attempts_of_a_customer_start_in_order() {
    let mut world = World::start().await;
    let receiver = world.receiver(Reply::ok()).await;
    let id = world.channel(&receiver.url());
    let customers: Vec<_> = (0..300).map(|it| it % 3).collect();
    let sent = world.commit(id, &customers).await;
    world.offer(sent.clone());
    receiver.wait_for(300).await;
    let arrived = receiver.ids();
    for customer in 0..3 {
        let of_customer: Vec<_> = sent
            .iter()
            .zip(&customers)
            .filter(|(_, it)| **it == customer)
            .map(|(it, _)| it.notification.to_string())
            .collect();
        let got: Vec<_> = arrived.iter().filter(|it| of_customer.contains(it)).cloned().collect();
        assert_eq!(got, of_customer);
    }
    world.end().await;
}

#[tokio::test]
async fn connections_are_used_again() {
    let mut world = World::start().await;
    let receiver = world.receiver(Reply::ok()).await;
    let id = world.channel(&receiver.url());
    for _ in 0..20 {
        let delivery = world.send_one(id).await;
        world.reached(delivery, DeliveryState::Success).await;
    }
    assert_eq!(receiver.received().last().unwrap().connection, 0);
    world.end().await;
}

#[tokio::test]
async fn a_connection_that_the_receiver_closed_costs_no_attempt() {
    let mut world = World::start().await;
    let reply = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".to_vec();
    let receiver = world.receiver(Reply::WriteAndClose(reply)).await;
    let id = world.channel(&receiver.url());
    for _ in 0..20 {
        let delivery = world.send_one(id).await;
        let row = world.reached(delivery, DeliveryState::Success).await;
        assert_eq!(row.attempts, 1);
    }
    assert_eq!(receiver.received().len(), 20);
    world.end().await;
}

#[tokio::test]
async fn a_restart_picks_up_what_is_open() {
    let mut world = World::asleep().await;
    let receiver = world.receiver(Reply::status(500, "", "")).await;
    let id = world.channel(&receiver.url());
    let never_offered = world.commit(id, &[1, 2, 3]).await;
    world.wake();
    for it in &never_offered {
        world.reached(it.delivery, DeliveryState::Sending).await;
    }
    world.sleep().await;
    receiver.set(Reply::ok());
    world.skip_to_next_attempt(never_offered[0].delivery).await;
    world.clock.skip(std::time::Duration::from_secs(3));
    world.wake();
    world.all_reached(&never_offered, DeliveryState::Success).await;
    assert_eq!(receiver.received().len(), 6);
    world.end().await;
}

#[tokio::test]
async fn what_does_not_fit_into_memory_waits_in_the_store_and_keeps_its_order() {
    let mut world = World::start().await;
    let receiver = world.receiver(Reply::Hold).await;
    let id = world.channel(&receiver.url());
    let count = 3 * limits::LANE_QUEUE;
    let mut sent = Vec::new();
    for _ in 0..6 {
        let part = world.commit(id, &vec![7; count / 6]).await;
        world.offer(part.clone());
        sent.extend(part);
    }
    receiver.wait_for(limits::LANE_CONCURRENCY).await;
    receiver.set(Reply::ok());
    receiver.wait_for(count).await;
    world.all_reached(&sent, DeliveryState::Success).await;
    let expected: Vec<_> = sent.iter().map(|it| it.notification.to_string()).collect();
    let arrived = receiver.ids();
    assert_eq!(arrived.len(), expected.len(), "each is sent once");
    assert!(arrived == expected, "in order");
    world.end().await;
}

#[tokio::test]
async fn an_offer_that_the_lane_found_by_itself_is_sent_once() {
    let mut world = World::start().await;
    let receiver = world.receiver(Reply::ok()).await;
    let id = world.channel(&receiver.url());
    let sent = world.commit(id, &[1, 2, 3]).await;
    world.sleep().await;
    world.wake();
    world.all_reached(&sent, DeliveryState::Success).await;
    world.offer(sent.clone());
    let last = world.send(id, 1).await;
    world.all_reached(&last, DeliveryState::Success).await;
    assert_eq!(receiver.received().len(), 4);
    world.end().await;
}

#[tokio::test]
async fn dead_receivers_cost_the_others_nothing() {
    let mut world = World::start().await;
    let dead = world.receiver(Reply::Hold).await;
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    for _ in 0..100 {
        let id = world.channel(&dead.url());
        world.send(id, limits::LANE_CONCURRENCY).await;
        let id = world.channel(&format!("http://{closed}/"));
        world.send(id, limits::LANE_CONCURRENCY).await;
    }
    // More are held than all lanes may have in flight together.
    dead.wait_for(limits::DISPATCH_CONCURRENCY).await;
    let alive = world.receiver(Reply::ok()).await;
    let id = world.channel(&alive.url());
    let sent = world.send(id, 100).await;
    world.all_reached(&sent, DeliveryState::Success).await;
    dead.set(Reply::ok());
    world.end().await;
}

#[tokio::test]
async fn deliveries_of_a_disabled_or_deleted_channel_fail() {
    let mut world = World::start().await;
    let receiver = world.receiver(Reply::Hold).await;
    let disabled = world.channel(&receiver.url());
    let deleted = world.channel(&receiver.url());
    let mut sent = world.send(disabled, 100).await;
    sent.extend(world.send(deleted, 100).await);
    receiver.wait_for(2 * limits::LANE_CONCURRENCY).await;
    let plain = channel(disabled, receiver.url().parse().unwrap());
    world.put(Channel { disabled: true, ..plain });
    world.channels.remove(deleted);
    for it in &sent {
        let row = world.reached(it.delivery, DeliveryState::Failed).await;
        assert_eq!(row.error.as_deref(), Some("channel_disabled"));
    }
    // What was under way arrived after all: that is not hidden.
    receiver.set(Reply::ok());
    let arrived = receiver.ids();
    for it in sent.iter().filter(|it| arrived.contains(&it.notification.to_string())) {
        world.reached(it.delivery, DeliveryState::Success).await;
    }
    assert_eq!(arrived.len(), 2 * limits::LANE_CONCURRENCY);
    // One that is made in spite of it fails as well, a moment later.
    let late = world.send_one(disabled).await;
    world.clock.skip(std::time::Duration::from_secs(2));
    world.reached(late, DeliveryState::Failed).await;
    // Enabled again, the channel takes new ones.
    world.put(channel(disabled, receiver.url().parse().unwrap()));
    let again = world.send(disabled, 1).await;
    world.all_reached(&again, DeliveryState::Success).await;
    world.end().await;
}

#[tokio::test]
async fn a_channel_may_become_known_a_moment_after_its_first_delivery() {
    let mut world = World::start().await;
    let receiver = world.receiver(Reply::ok()).await;
    let id = world.channel(&receiver.url());
    world.channels.remove(id);
    let unknown = world.send_one(id).await;
    tokio::task::yield_now().await;
    world.put(channel(id, receiver.url().parse().unwrap()));
    world.reached(unknown, DeliveryState::Success).await;
    // The same for one that is enabled.
    let plain = channel(id, receiver.url().parse().unwrap());
    world.put(Channel { disabled: true, ..plain });
    let failing = world.send_one(id).await;
    world.clock.skip(std::time::Duration::from_secs(2));
    world.reached(failing, DeliveryState::Failed).await;
    let disabled = world.send_one(id).await;
    tokio::task::yield_now().await;
    world.put(channel(id, receiver.url().parse().unwrap()));
    world.reached(disabled, DeliveryState::Success).await;
    world.end().await;
}

#[tokio::test]
async fn a_stop_lets_requests_finish_and_writes_their_results() {
    let mut world = World::start().await;
    let receiver = world.receiver(Reply::Hold).await;
    let id = world.channel(&receiver.url());
    let sent = world.send(id, 2 * limits::LANE_CONCURRENCY).await;
    receiver.wait_for(limits::LANE_CONCURRENCY).await;
    let released = receiver.clone();
    tokio::join!(world.sleep(), async {
        tokio::task::yield_now().await;
        released.set(Reply::ok());
    });
    let mut states = Vec::new();
    for it in &sent {
        states.push(world.row(it.delivery).await.state);
    }
    let (done, rest) = states.split_at(limits::LANE_CONCURRENCY);
    assert!(done.iter().all(|it| *it == DeliveryState::Success), "{done:?}");
    assert!(rest.iter().all(|it| *it == DeliveryState::Pending), "{rest:?}");
    world.end().await;
}
