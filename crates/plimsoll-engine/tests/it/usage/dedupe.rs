//! Events that come again after what is remembered of them has been sealed in the store.

use std::time::Duration;

use plimsoll_core::limits;
use serde_json::json;

use super::world::{World, event};

const DAY: Duration = Duration::from_hours(24);
const WINDOW: Duration = Duration::from_millis(limits::DEDUPE_WINDOW_MS as u64);

/// Sends two events of `acme` again: both must be accepted, or both duplicates.
async fn send_again(world: &World, are_new: bool) {
    let events = [event("a", "acme", &json!(30)), event("b", "acme", &json!(30))];
    let answer = world.send(&events).await.unwrap();
    let expected = if are_new { (2, 0) } else { (0, 2) };
    assert_eq!((answer.accepted, answer.duplicates), expected);
}

#[tokio::test]
async fn a_sealed_event_is_a_duplicate_for_a_window_whatever_happens() {
    let mut world = World::start().await;
    world.small_company(Some("100")).await;
    send_again(&world, true).await;
    // A clean stop seals everything; what is known after it comes from the store alone.
    world.engine.stop_without_store().await;
    world.crash().await;
    send_again(&world, false).await;
    world.crash().await;
    world.clock.advance(WINDOW);
    send_again(&world, false).await;
    world.uses("acme", 1).await;
    world.clock.advance(DAY);
    send_again(&world, true).await;
    send_again(&world, false).await;
}

#[tokio::test]
async fn an_event_that_was_not_sealed_comes_back_from_the_log() {
    let mut world = World::start().await;
    world.small_company(Some("100")).await;
    send_again(&world, true).await;
    for _ in 0..3 {
        world.crash().await;
        send_again(&world, false).await;
    }
    assert_eq!(world.usage("acme").await, "60");
}
