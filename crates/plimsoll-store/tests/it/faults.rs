//! The test double does what it is told, once each.

use futures_util::future::join;
use plimsoll_store::{
    Batch, CommitError, Lane, Store,
    faulty::{Fault, FaultyStore},
    meta,
};

use crate::world::World;

async fn put(store: &FaultyStore, lane: Lane, value: &str) -> Result<(), CommitError> {
    store.commit(Batch::new(lane, vec![meta::put("a", value)])).await.map(drop)
}

async fn get(store: &FaultyStore) -> Option<String> {
    meta::get(store, "a").await.unwrap()
}

#[tokio::test]
async fn a_planned_fault_happens_once_to_its_lane() {
    let world = World::sqlite();
    let store = FaultyStore::new(world.open().await);
    let cases = [
        (Fault::FailBefore, false, None),
        (Fault::LoseThenUnknown, true, None),
        (Fault::CommitThenUnknown, true, Some("1")),
    ];
    for (fault, unknown, stored) in cases {
        store.commit(Batch::new(Lane::Pruning, vec![meta::delete("a")])).await.unwrap();
        store.plan(Some(Lane::Log), fault, 1);
        let answer = put(&store, Lane::Log, "1").await;
        assert_eq!(matches!(answer, Err(CommitError::Unknown { .. })), unknown, "{fault:?}");
        assert!(answer.is_err(), "{fault:?}");
        assert_eq!(get(&store).await.as_deref(), stored, "{fault:?}");
        put(&store, Lane::Log, "2").await.unwrap();
    }
    store.plan(Some(Lane::Control), Fault::FailBefore, 2);
    put(&store, Lane::Log, "3").await.unwrap();
    put(&store, Lane::Control, "4").await.unwrap_err();
    store.clear_plan();
    put(&store, Lane::Control, "5").await.unwrap();
    store.set_unreachable(true);
    assert!(!store.healthy());
    put(&store, Lane::Log, "6").await.unwrap_err();
    store.set_unreachable(false);
    assert_eq!(get(&store).await.as_deref(), Some("5"));
    store.close().await;
}

#[tokio::test]
async fn a_held_batch_waits_until_it_is_released() {
    let world = World::sqlite();
    let store = FaultyStore::new(world.open().await);
    for (fault, stored_while_held) in [(Fault::HoldBefore, false), (Fault::HoldAnswer, true)] {
        store.commit(Batch::new(Lane::Log, vec![meta::delete("a")])).await.unwrap();
        store.plan(None, fault, 1);
        let watching = async {
            store.wait_until_held(1).await;
            let stored = get(&store).await;
            store.release();
            stored
        };
        let (answer, stored) = join(put(&store, Lane::Log, "1"), watching).await;
        answer.unwrap();
        assert_eq!(stored.is_some(), stored_while_held, "{fault:?}");
        assert_eq!(store.held(), 0);
    }
    store.close().await;
}
