//! What only SQLite can show: the directory, the lanes of the one writer, the disk.

use futures_util::future::{join, join_all};
use plimsoll_store::{
    Batch, CommitError, Lane, OpenError, SqliteStore, Statement, backup, log, meta,
};

use crate::{
    sample::{commit, log_row, try_commit},
    world::World,
};

#[tokio::test]
async fn a_directory_is_opened_once() {
    let world = World::sqlite();
    let store = world.open().await;
    let refused = world.try_open().await;
    assert!(matches!(refused, Err(OpenError::Locked { .. })), "{refused:?}");
    commit(&*store, [meta::insert("a", "1")]).await;
    store.close().await;
    world.open().await.close().await;
}

/// `plimsoll backup` is a process of its own beside the one that serves.
#[tokio::test]
async fn a_directory_is_backed_up_while_it_is_open() {
    let world = World::sqlite();
    let store = world.open().await;
    commit(&*store, [meta::insert("a", "1")]).await;
    let file = world.path().join("backup");
    SqliteStore::back_up(&world.data_directory(), &file).await.unwrap();
    commit(&*store, [meta::insert("b", "1")]).await;
    store.close().await;

    let target = World::sqlite();
    let restored = target.open().await;
    backup::restore(&*restored, &file).await.unwrap();
    assert_eq!(meta::get(&*restored, "a").await, Ok(Some("1".to_owned())));
    assert_eq!(meta::get(&*restored, "b").await, Ok(None));
    restored.close().await;
}

#[tokio::test]
async fn a_directory_that_cannot_be_made_is_refused() {
    let world = World::sqlite();
    let file = world.path().join("file");
    std::fs::write(&file, "").unwrap();
    let refused = SqliteStore::open(&file.join("data")).await;
    assert!(matches!(refused, Err(OpenError::Directory { .. })), "{refused:?}");
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused() {
    let world = World::sqlite();
    std::fs::create_dir(world.data_directory()).unwrap();
    std::fs::write(world.data_directory().join("plimsoll.db"), [7; 9_000]).unwrap();
    let refused = world.try_open().await;
    assert!(matches!(refused, Err(OpenError::Database { .. })), "{refused:?}");
}

/// Each batch notes how many were committed before it.
#[tokio::test]
async fn the_writer_serves_lanes_in_order() {
    let world = World::sqlite();
    let store = world.open().await;
    let busy = "WITH RECURSIVE c (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 500000) \
                SELECT count(*) FROM c";
    let busy = Batch::new(Lane::Log, vec![Statement::new("busy", busy, Vec::new())]);
    let note = |lane: Lane| {
        let sql = "INSERT INTO meta (key, value) SELECT $1, CAST(count(*) AS TEXT) FROM meta";
        Batch::new(lane, vec![Statement::new("note", sql, vec![format!("{lane:?}").into()])])
    };
    let mut batches = vec![busy];
    batches.extend(Lane::ALL.into_iter().rev().map(note));
    for answer in join_all(batches.into_iter().map(|it| store.commit(it))).await {
        answer.unwrap();
    }
    for (place, lane) in Lane::ALL.into_iter().enumerate() {
        let noted = meta::get(&*store, &format!("{lane:?}")).await.unwrap();
        assert_eq!(noted, Some(place.to_string()), "{lane:?}");
    }
    store.close().await;
}

fn set_page_limit(pages: u32) -> Statement {
    Statement::new("limit", format!("PRAGMA max_page_count = {pages}"), Vec::new())
}

#[tokio::test]
async fn a_full_disk_is_unavailable_until_there_is_room() {
    let world = World::sqlite();
    let store = world.open().await;
    commit(&*store, [meta::insert("a", "1"), set_page_limit(1)]).await;
    for _ in 0..3 {
        let full = try_commit(&*store, log::append(vec![log_row(1, 1, vec![0; 1 << 20])])).await;
        assert!(matches!(full, Err(CommitError::Unavailable { .. })), "{full:?}");
    }
    assert_eq!(meta::get(&*store, "a").await, Ok(Some("1".to_owned())));
    assert_eq!(log::last_position(&*store, 1).await, Ok(0));
    commit(&*store, [set_page_limit(1_000_000)]).await;
    commit(&*store, log::append(vec![log_row(1, 1, vec![0; 1 << 20])])).await;
    assert_eq!(log::last_position(&*store, 1).await, Ok(1));
    store.close().await;
    assert!(!store.healthy());
}

#[tokio::test]
async fn a_batch_too_large_for_the_disk_fails_alone() {
    let world = World::sqlite();
    let store = world.open().await;
    commit(&*store, [meta::insert("a", "1"), set_page_limit(200)]).await;
    let small = |n| log::append(vec![log_row(2, n, vec![0; 100])]);
    let large = log::append(vec![log_row(1, 1, vec![0; 8 << 20])]);
    let smalls = join_all((1..=20).map(|it| try_commit(&*store, small(it))));
    let (large, smalls) = join(try_commit(&*store, large), smalls).await;
    assert!(matches!(large, Err(CommitError::Unavailable { .. })), "{large:?}");
    assert!(smalls.iter().all(Result::is_ok), "{smalls:?}");
    assert_eq!(log::last_position(&*store, 2).await, Ok(20));
    store.close().await;
}

/// The write-ahead log is moved into the file beside the writer, and begun anew.
#[tokio::test]
async fn the_write_ahead_log_stays_short() {
    let world = World::sqlite();
    let store = world.open().await;
    let wal = world.data_directory().join("plimsoll.db-wal");
    let mut longest = 0;
    for position in 1..=200 {
        commit(&*store, log::append(vec![log_row(1, position, vec![0; 1 << 20])])).await;
        longest = longest.max(std::fs::metadata(&wal).unwrap().len());
    }
    assert!(longest < 150 << 20, "{longest} bytes after 200 MiB of rows");
    assert_eq!(log::last_position(&*store, 1).await, Ok(200));
    store.close().await;
}
