//! What is there after a store was closed and opened again, and which stores are not opened.

use plimsoll_store::{OpenError, Statement, log, meta};

use crate::{
    sample::{commit, log_row},
    world::World,
};

pub(crate) async fn what_was_committed_is_there_after_reopening(world: &World) {
    for position in 1..=3 {
        let store = world.open().await;
        commit(&*store, log::append(vec![log_row(1, position, "payload")])).await;
        assert_eq!(log::last_position(&*store, 1).await, Ok(position));
        store.close().await;
    }
    let store = world.open().await;
    assert_eq!(log::read(&*store, 1, 0, 1_000).await.unwrap().len(), 3);
    store.close().await;
}

/// What opening says after `statement` has changed the store.
async fn opening_after(world: &World, statement: Statement) -> OpenError {
    let store = world.open().await;
    commit(&*store, [statement]).await;
    store.close().await;
    world.try_open().await.unwrap_err()
}

pub(crate) async fn a_newer_store_is_refused(world: &World) {
    let newer = Statement::new(
        "newer",
        "INSERT INTO schema_migration (version, name, checksum) VALUES (99, 'x', 'y')",
        Vec::new(),
    );
    let refused = opening_after(world, newer).await;
    assert!(matches!(refused, OpenError::Newer { store: 99, known: 2.. }), "{refused}");
}

pub(crate) async fn an_altered_migration_is_refused(world: &World) {
    let sql = "UPDATE schema_migration SET checksum = 'x'";
    let refused = opening_after(world, Statement::new("alter", sql, Vec::new())).await;
    assert!(matches!(refused, OpenError::Altered { version: 1 }), "{refused}");
}

pub(crate) async fn a_half_restored_store_is_refused(world: &World) {
    let refused = opening_after(world, meta::insert("unfinished_restore", "1")).await;
    assert!(matches!(refused, OpenError::HalfRestored), "{refused}");
}
