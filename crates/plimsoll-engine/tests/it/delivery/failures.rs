//! A store that fails: nothing is lost, nothing is sent twice.

use plimsoll_store::{
    Lane,
    delivery::DeliveryState,
    faulty::Fault::{self, CommitThenUnknown, FailBefore, LoseThenUnknown},
};

use super::{receiver::Reply, world::World};

/// Sends webhooks while the writes of their results fail like this.
async fn check(faults: &[Fault]) {
    let mut world = World::start().await;
    let receiver = world.receiver(Reply::ok()).await;
    let channel = world.channel(&receiver.url());
    for fault in faults {
        world.store.plan(Some(Lane::Attempts), *fault, 1);
    }
    let sent = world.send(channel, 100).await;
    world.all_reached(&sent, DeliveryState::Success).await;
    let more = world.send(channel, 10).await;
    world.all_reached(&more, DeliveryState::Success).await;
    assert_eq!(receiver.received().len(), 110, "{faults:?}: each is sent once");
    for it in sent.iter().chain(&more) {
        assert_eq!(world.attempts(it.delivery).await.len(), 1, "{faults:?}");
    }
    world.end().await;
}

#[tokio::test]
async fn results_that_cannot_be_written_are_written_later() {
    check(&[FailBefore]).await;
    check(&[FailBefore, FailBefore, FailBefore]).await;
    check(&[LoseThenUnknown]).await;
    check(&[CommitThenUnknown]).await;
    check(&[CommitThenUnknown, FailBefore, LoseThenUnknown, CommitThenUnknown]).await;
}

#[tokio::test]
async fn a_delivery_is_not_sent_again_while_its_result_cannot_be_written() {
    let mut world = World::start().await;
    let receiver = world.receiver(Reply::ok()).await;
    let channel = world.channel(&receiver.url());
    let warm = world.send(channel, 1).await;
    world.all_reached(&warm, DeliveryState::Success).await;
    world.store.plan(Some(Lane::Attempts), Fault::HoldBefore, 1);
    let sent = world.send(channel, 50).await;
    receiver.wait_for(51).await;
    world.store.wait_until_held(1).await;
    // The sweep looks for what nobody works on, and finds these: they are still held.
    world.offer(sent.clone());
    world.clock.skip(std::time::Duration::from_secs(30));
    let neighbour = world.receiver(Reply::ok()).await;
    let neighbouring = world.channel(&neighbour.url());
    world.send(neighbouring, 1).await;
    neighbour.wait_for(1).await;
    assert_eq!(receiver.received().len(), 51);
    world.store.release();
    world.all_reached(&sent, DeliveryState::Success).await;
    assert_eq!(receiver.received().len(), 51);
    world.end().await;
}

#[tokio::test]
async fn a_store_that_comes_back_is_read_again() {
    let mut world = World::asleep().await;
    let receiver = world.receiver(Reply::ok()).await;
    let channel = world.channel(&receiver.url());
    let sent = world.commit(channel, &[1, 2, 3]).await;
    world.store.set_unreachable(true);
    world.wake();
    for _ in 0..5 {
        tokio::task::yield_now().await;
        world.clock.skip(std::time::Duration::from_secs(2));
    }
    assert_eq!(receiver.received().len(), 0);
    world.store.set_unreachable(false);
    world.clock.skip(std::time::Duration::from_secs(2));
    world.all_reached(&sent, DeliveryState::Success).await;
    assert_eq!(receiver.received().len(), 3);
    world.end().await;
}

#[tokio::test]
async fn a_retry_waits_in_the_store_alone() {
    let mut world = World::start().await;
    let receiver = world.receiver(Reply::status(500, "", "")).await;
    let channel = world.channel(&receiver.url());
    world.store.plan(Some(Lane::Attempts), CommitThenUnknown, 1);
    let delivery = world.send_one(channel).await;
    world.attempted(delivery, 1).await;
    receiver.set(Reply::ok());
    world.skip_to_next_attempt(delivery).await;
    let row = world.reached(delivery, DeliveryState::Success).await;
    assert_eq!(row.attempts, 2);
    assert_eq!(receiver.received().len(), 2);
    world.end().await;
}
