//! Commits that fail or whose outcome is unknown: nothing is promised, shown or fired ahead of the
//! disk, and sending the same ids again puts everything right.

use std::sync::Arc;

use plimsoll_engine::ingest::IngestError;
use plimsoll_store::{Lane, faulty::Fault};
use serde_json::json;

use super::world::{World, event};

/// Whether what a fault hit is on the disk.
async fn check_fault(fault: Fault, is_kept: bool) {
    let world = World::start().await;
    world.small_company(Some("100")).await;
    world.rule(&["50"], &json!({})).await;
    world.until_ready().await;
    let events = [event("a", "acme", &json!(30)), event("b", "acme", &json!(30))];
    world.store.plan(Some(Lane::Log), fault, 1);
    let outcome = world.send(&events).await;
    assert_eq!(outcome, Err(IngestError::RetrySameIds), "{fault:?}");
    world.until_ready().await;
    let (usage, crossings): (_, &[&str]) =
        if is_kept { ("60", &["50 crossed usage"]) } else { ("0", &[]) };
    assert_eq!(world.usage("acme").await, usage, "{fault:?}");
    assert_eq!(world.crossings().await, crossings, "{fault:?}");

    let again = world.send(&events).await.unwrap();
    let expected = if is_kept { (0, 2) } else { (2, 0) };
    assert_eq!((again.accepted, again.duplicates), expected, "{fault:?}");
    assert_eq!(world.usage("acme").await, "60", "{fault:?}");
    assert_eq!(world.crossings().await, ["50 crossed usage"], "{fault:?}");
}

#[tokio::test]
async fn a_commit_that_fails_leaves_nothing() {
    check_fault(Fault::FailBefore, false).await;
}

#[tokio::test]
async fn a_commit_of_unknown_outcome_that_was_made_is_found() {
    check_fault(Fault::CommitThenUnknown, true).await;
}

#[tokio::test]
async fn a_commit_of_unknown_outcome_that_was_not_made_is_not_believed() {
    check_fault(Fault::LoseThenUnknown, false).await;
}

#[tokio::test]
async fn a_duplicate_is_not_acknowledged_before_its_original_is_durable() {
    let world = Arc::new(World::start().await);
    world.small_company(Some("100")).await;
    world.until_ready().await;
    let events = [event("a", "acme", &json!(1))];
    world.store.plan(Some(Lane::Log), Fault::HoldAnswer, 1);
    let original = {
        let (world, events) = (world.clone(), events.clone());
        spawn(async move { world.send(&events).await })
    };
    world.store.wait_until_held(1).await;
    let duplicate = {
        let (world, events) = (world.clone(), events.clone());
        spawn(async move { world.send(&events).await })
    };
    let read = {
        let world = world.clone();
        spawn(async move { world.usage("acme").await })
    };
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
    assert!(!original.is_finished() && !duplicate.is_finished() && !read.is_finished());
    world.store.release();
    assert_eq!(original.await.unwrap().unwrap().accepted, 1);
    assert_eq!(duplicate.await.unwrap().unwrap().duplicates, 1);
    assert_eq!(read.await.unwrap(), "1");
}

#[tokio::test]
async fn a_customer_whose_making_and_deleting_nobody_was_told_of_stays_deleted() {
    let world = World::start().await;
    world.until_ready().await;
    let events = [event("a", "stranger", &json!(1))];
    world.store.plan(Some(Lane::Log), Fault::CommitThenUnknown, 1);
    assert_eq!(world.send(&events).await, Err(IngestError::RetrySameIds));
    world.until_ready().await;
    world.store.plan(Some(Lane::Log), Fault::CommitThenUnknown, 1);
    let deleted = world.engine.ops.delete_customer(&world.context(), "stranger").await;
    assert!(deleted.is_err(), "its outcome is unknown");
    world.until_ready().await;
    let again = world.send(&events).await.unwrap();
    let rejected: Vec<&str> = again.rejected.iter().map(|it| &*it.code).collect();
    assert_eq!((again.accepted, rejected), (0, vec!["customer_deleted"]));
}

#[tokio::test]
async fn a_database_that_is_away_comes_back() {
    let mut world = World::start().await;
    world.small_company(None).await;
    world.uses("acme", 1).await;
    world.store.set_unreachable(true);
    let event = [event("x", "acme", &json!(1))];
    assert_eq!(world.send(&event).await, Err(IngestError::RetrySameIds));
    assert_eq!(world.send(&event).await, Err(IngestError::RetrySameIds));
    assert!(!world.engine.is_ready().await);
    world.store.set_unreachable(false);
    world.until_ready().await;
    assert_eq!(world.send(&event).await.unwrap().accepted, 1);
    assert_eq!(world.usage("acme").await, "2");
}

#[tokio::test]
async fn a_clean_stop_leaves_no_tail() {
    let mut world = World::start().await;
    world.small_company(Some("100")).await;
    world.rule(&["50"], &json!({})).await;
    world.uses("acme", 60).await;
    world.engine.stop_without_store().await;
    for partition in 0..2 {
        let store = &*world.store;
        let last = plimsoll_store::log::last_position(store, partition).await.unwrap();
        let slices =
            plimsoll_store::checkpoint::read(store, partition, None, usize::MAX).await.unwrap();
        assert_eq!(slices.first().map_or(0, |it| it.position), last, "partition {partition}");
    }
    world.crash().await;
    world.uses("acme", 1).await;
    assert_eq!(world.usage("acme").await, "61");
    assert_eq!(world.crossings().await, ["50 crossed usage"]);
}

#[expect(clippy::disallowed_methods, reason = "the test awaits what it spawns")]
fn spawn<T: Send + 'static>(
    task: impl Future<Output = T> + Send + 'static,
) -> tokio::task::JoinHandle<T> {
    tokio::spawn(task)
}
