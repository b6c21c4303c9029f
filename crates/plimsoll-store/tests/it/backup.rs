//! Backups while commits go on, and restores into either backend.

use std::{
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
};

use bytes::Bytes;
use futures_util::future::join;
use plimsoll_core::metering::cell::{CellScope, Resolution};
use plimsoll_store::{
    BackupError, Statement, Store, archive, attempt,
    backup::{self, RestoreError},
    base::{self, Base, Mark},
    checkpoint::{self, CheckpointRow},
    control,
    dedupe::{self, Kind},
    delivery,
    idempotency::{self, IdempotencyRow},
    log, meta, notification, resource,
    subject::{self, SubjectRow},
    uncounted,
};

use crate::{
    archive::{cell, segment as burning, window},
    sample::{
        at, audit_row, commit, customer, delivery, environment, log_row, notification, piece,
        resource, result, segment, uncounted_row, unsorted_segment,
    },
    world::World,
};

/// Writes a row into every table.
async fn fill_every_table(store: &dyn Store) {
    let mut statements = vec![meta::insert(meta::STORE_ID, "sto"), meta::insert("é", "ü")];
    statements.extend(log::append((1..=40).map(|it| log_row(1, it, vec![0; 50_000])).collect()));
    statements.extend(uncounted::insert(vec![uncounted_row(1, 7, 70)]));
    statements.extend(control::append(at(1), Bytes::from_static(b"\0")));
    statements.extend(checkpoint::put(vec![checkpoint_at(7)]));
    let base = Base { position: 7, at: at(1), stamped_at: at(2) };
    statements.extend(base::put(base, checkpoint_at(7)));
    statements.push(base::put_mark(1, Mark { position: 7, at: at(1) }));
    statements.push(unsorted_segment(1, -3, 16));
    statements.push(dedupe::begin(&segment(1, 5)));
    for kind in [Kind::Block, Kind::Filter] {
        statements.extend(dedupe::put_pieces(kind, 1, vec![piece(5, 0), piece(5, 7)]));
    }
    let rows = (0..300).map(|it| resource(&format!("mtr_{it}"), "meter", None)).collect();
    statements.extend(resource::insert(rows));
    statements.extend(subject::insert(vec![SubjectRow {
        environment: environment(1),
        subject: "acme".to_owned(),
        customer: customer(1),
    }]));
    statements.extend(notification::insert((1..=3).map(notification).collect()));
    statements.extend(delivery::insert((1..=3).map(|it| delivery(it, it as i64)).collect()));
    statements.extend(attempt::record(vec![result(1, 1, None), result(2, 1, Some(9))]));
    statements.push(idempotency::insert(IdempotencyRow {
        environment: environment(1),
        route: "POST /v1/meters".to_owned(),
        key: "k".to_owned(),
        body_hash: Bytes::from_static(&[1; 32]),
        status: 201,
        response: Bytes::new(),
        created_at: at(1),
    }));
    statements.extend(plimsoll_store::audit::insert(vec![audit_row(1, "mtr_1")]));
    statements.extend(archive::put_windows(vec![window(1, 0, 9, "w"), window(1, 9, 20, "w")]));
    let whose = [CellScope::Customer(customer(1)), CellScope::Slice(4)];
    let cells = whose.map(|it| cell(it, Resolution::Day, 0, "c"));
    statements.extend(archive::put_cells(1, cells.to_vec()));
    statements.extend(archive::put_segments(vec![burning(1, 0, 9, "s")]));
    commit(store, statements).await;
}

fn checkpoint_at(position: i64) -> CheckpointRow {
    let payload = Bytes::from(vec![1; 1_000]);
    CheckpointRow { partition: 1, slice: 0, position, core_version: 1, payload }
}

async fn write_backup(store: &dyn Store, world: &World, name: &str) -> PathBuf {
    let file = world.path().join(name);
    store.backup(&file).await.unwrap();
    file
}

pub(crate) async fn every_table_is_restored(world: &World) {
    let store = world.open().await;
    fill_every_table(&*store).await;
    let file = write_backup(&*store, world, "first").await;
    store.close().await;
    let bytes = std::fs::read(&file).unwrap();
    for target in [Some(world.another().await), world.other_backend().await].into_iter().flatten() {
        let restored = target.open().await;
        let summary = backup::restore(&*restored, &file).await.unwrap();
        assert_eq!(
            summary.rows,
            2 + 40 + 1 + 1 + 1 + 2 + 1 + 5 + 1 + 300 + 1 + 3 + 3 + 2 + 1 + 1 + 2 + 2 + 1
        );
        // The order of rows and the cut of pages are those of the primary key, so a backup of what
        // was restored is the same file.
        let again = write_backup(&*restored, &target, "second").await;
        assert!(std::fs::read(again).unwrap() == bytes, "{target:?}");
        restored.close().await;
        let reopened = target.open().await;
        assert_eq!(control::head(&*reopened).await, Ok(1));
        commit(&*reopened, control::append(at(2), Bytes::new())).await;
        reopened.close().await;
    }
}

/// Every commit writes a log row and a checkpoint of the same position: a backup that mixes two
/// moments would show it.
pub(crate) async fn a_backup_is_consistent_while_commits_go_on(world: &World) {
    let store = world.open().await;
    fill_every_table(&*store).await;
    let (done, mut position) = (AtomicBool::new(false), 40);
    let writing = async {
        while !done.load(Ordering::Acquire) {
            position += 1;
            let mut statements = log::append(vec![log_row(1, position, vec![1; 10_000])]);
            statements.extend(checkpoint::put(vec![checkpoint_at(position)]));
            commit(&*store, statements).await;
        }
    };
    let backing_up = async {
        let mut files = Vec::new();
        for round in 0..4 {
            files.push(write_backup(&*store, world, &format!("backup {round}")).await);
        }
        done.store(true, Ordering::Release);
        files
    };
    let ((), files) = join(writing, backing_up).await;
    store.close().await;
    assert!(position > 44, "commits went on: {position}");

    let mut last = 0;
    for file in files {
        let target = World::sqlite();
        let restored = target.open().await;
        backup::restore(&*restored, &file).await.unwrap();
        let position = log::last_position(&*restored, 1).await.unwrap();
        let slices = checkpoint::read(&*restored, 1, None, 10_000).await.unwrap();
        assert!(position == slices[0].position || position == 40, "{position}");
        assert!(position >= last);
        last = position;
        restored.close().await;
    }
}

pub(crate) async fn a_backup_never_overwrites(world: &World) {
    let store = world.open().await;
    let file = write_backup(&*store, world, "backup").await;
    let before = std::fs::read(&file).unwrap();
    let refused = store.backup(&file).await;
    assert!(matches!(refused, Err(BackupError::Exists { .. })), "{refused:?}");
    assert_eq!(std::fs::read(&file).unwrap(), before);
    let nowhere = store.backup(&world.path().join("nowhere").join("backup")).await;
    assert!(matches!(nowhere, Err(BackupError::File { .. })), "{nowhere:?}");
    let left: Vec<_> = std::fs::read_dir(world.path()).unwrap().map(|it| it.unwrap()).collect();
    assert!(left.iter().all(|it| !it.path().to_string_lossy().ends_with(".partial")), "{left:?}");
    store.close().await;
}

pub(crate) async fn a_damaged_backup_restores_nothing(world: &World) {
    let store = world.open().await;
    fill_every_table(&*store).await;
    let file = write_backup(&*store, world, "backup").await;
    store.close().await;
    let whole = std::fs::read(&file).unwrap();
    let flipped = |place: usize| {
        let mut bytes = whole.clone();
        bytes[place] ^= 1;
        bytes
    };
    let damaged = [
        Vec::new(),
        b"something else entirely".to_vec(),
        whole[..whole.len() - 1].to_vec(),
        whole[..whole.len() / 2].to_vec(),
        flipped(0),
        flipped(20),
        flipped(whole.len() / 2),
        flipped(whole.len() - 1),
    ];
    let target = world.another().await;
    let empty = target.open().await;
    for (case, bytes) in damaged.into_iter().enumerate() {
        let file = target.path().join(case.to_string());
        std::fs::write(&file, bytes).unwrap();
        let refused = backup::restore(&*empty, &file).await;
        assert!(matches!(refused, Err(RestoreError::Damaged { .. })), "{case}: {refused:?}");
    }
    let missing = backup::restore(&*empty, &target.path().join("missing")).await;
    assert!(matches!(missing, Err(RestoreError::File { .. })), "{missing:?}");
    // Nothing was written: the whole one still goes in.
    backup::restore(&*empty, &file).await.unwrap();
    empty.close().await;
}

pub(crate) async fn only_an_empty_store_is_restored_into(world: &World) {
    let store = world.open().await;
    let file = write_backup(&*store, world, "backup").await;
    commit(&*store, control::append(at(1), Bytes::new())).await;
    let refused = backup::restore(&*store, &file).await;
    assert!(matches!(refused, Err(RestoreError::NotEmpty { table: "control_head" })));
    commit(&*store, [meta::insert("a", "1")]).await;
    let refused = backup::restore(&*store, &file).await;
    assert!(matches!(refused, Err(RestoreError::NotEmpty { table: "meta" })), "{refused:?}");
    let head = Statement::new("head", "SELECT seq FROM control_head", Vec::new());
    assert_eq!(store.query(head).await.unwrap().len(), 1);
    store.close().await;
}
