//! Commits that fail, whose outcome is unknown, or whose caller has gone: memory follows the store.

use std::{sync::Arc, time::Duration};

use plimsoll_engine::ops::problem::ProblemCode;
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::{
    partitions::Fault,
    world::{World, code, tokens},
};

fn meter(key: &str) -> Value {
    json!({"key": key, "event_type": "t", "aggregation": "count"})
}

async fn keys(world: &World) -> Vec<Value> {
    world.live.items("/meters").await.iter().map(|it| it["key"].clone()).collect()
}

#[tokio::test]
async fn memory_shows_what_the_store_holds() {
    // The fault of one change; what is listed then, and once another change has been made.
    let cases = [
        (Fault::Unavailable, json!([]), json!(["b"])),
        (Fault::UnknownLost, json!([]), json!(["b"])),
        (Fault::UnknownWritten, json!(["a"]), json!(["a", "b"])),
    ];
    for (fault, then, expected) in cases {
        let world = World::new().await;
        *world.partitions.fault.lock().unwrap() = Some(fault);
        let failed = world.live.post("/meters", meter("a")).await.unwrap_err();
        assert_eq!(failed.code, ProblemCode::Unavailable, "{fault:?}");
        assert!(failed.retry_after_s.is_some());
        assert_eq!(json!(keys(&world).await), then, "{fault:?}");
        world.live.post("/meters", meter("b")).await.unwrap();
        assert_eq!(json!(keys(&world).await), expected, "{fault:?}");
        let world = world.reopen().await;
        assert_eq!(json!(keys(&world).await), expected, "{fault:?}");
    }
}

#[tokio::test]
async fn a_change_by_another_node_is_seen_and_planned_upon() {
    let world = World::new().await;
    tokens(&world.live).await;
    // Another node over the same store: its own memory, and no news from the first.
    let other = super::world::beside(&world).await;
    other.patch("/meters/tokens", json!({"name": "theirs"})).await.unwrap();
    let patch = json!({"metadata": {"ours": "yes"}});
    let after = world.live.patch("/meters/tokens", patch).await.unwrap();
    assert_eq!(after["name"], "theirs", "nothing of theirs is lost");
    assert_eq!(after["metadata"], json!({"ours": "yes"}));
}

#[tokio::test]
async fn a_change_goes_on_when_its_caller_has_gone() {
    let world = World::new().await;
    let gate = Arc::new(Notify::new());
    *world.partitions.gate.lock().unwrap() = Some(Arc::clone(&gate));
    {
        let left = world.live.post("/meters", meter("m"));
        // The caller waits until the change waits at the gate, and leaves.
        let left = tokio::time::timeout(Duration::from_millis(50), left).await;
        assert!(left.is_err(), "the gate is closed");
    }
    *world.partitions.gate.lock().unwrap() = None;
    gate.notify_one();
    // The next change waits for its turn, so it comes after.
    let second = world.live.post("/meters", meter("m")).await;
    assert_eq!(code(second), Some(ProblemCode::KeyInUse));
    assert_eq!(json!(keys(&world).await), json!(["m"]));
}

#[tokio::test]
async fn customers_can_be_changed_by_many_at_once() {
    let world = World::new().await;
    world.live.post("/customers", json!({"key": "acme"})).await.unwrap();
    let patch = |name: &str| {
        let patch = json!({"metadata": {name: "1"}});
        let live = world.live.clone();
        async move { live.patch("/customers/acme", patch).await }
    };
    let (one, two, three) = tokio::join!(patch("a"), patch("b"), patch("c"));
    for result in [one, two, three] {
        result.unwrap();
    }
    let shown = world.live.get("/customers/acme").await.unwrap();
    assert_eq!(shown["metadata"], json!({"a": "1", "b": "1", "c": "1"}));
}
