//! Histories of a partition's identities over a real store, against a map that forgets nothing.

use std::{
    collections::{BTreeMap, HashMap},
    hash::Hasher,
    sync::Arc,
};

use plimsoll_core::{
    limits,
    time::{DAY_MS, Timestamp},
};
use plimsoll_store::{Batch, Lane, SqliteStore, Statement, Store, dedupe as table};
use siphasher::sip128::{Hasher128, SipHasher13};
use tempfile::TempDir;

use super::{Dedupe, entry::Day, segment::Segment};

mod history;

const PARTITION: u32 = 3;
/// 2026-03-10T12:00:00Z
const START: Timestamp = Timestamp::from_ms(1_773_144_000_000);

/// The hash of event number `n`.
fn identity(n: u64) -> u128 {
    let mut hasher = SipHasher13::new();
    hasher.write_u64(n);
    hasher.finish128().as_u128()
}

/// A partition's identities, its store, and as much of its log as recovery needs.
struct World {
    store: Arc<dyn Store>,
    bound: usize,
    now: Timestamp,
    dedupe: Dedupe,
    /// The identities of each row of the log.
    log: BTreeMap<u64, Vec<u128>>,
    position: u64,
    head: u64,
    _directory: TempDir,
}

impl World {
    async fn start(bound: usize) -> Self {
        let directory = TempDir::new().unwrap();
        let store = SqliteStore::open(directory.path()).await.unwrap();
        let dedupe = Dedupe::load(&*store, PARTITION, bound, START).await.unwrap();
        Self {
            store,
            bound,
            now: START,
            dedupe,
            log: BTreeMap::new(),
            position: 0,
            head: 0,
            _directory: directory,
        }
    }

    async fn commit(&self, statements: Vec<Statement>) {
        self.store.commit(Batch::new(Lane::Checkpoint, statements)).await.unwrap();
    }

    /// One turn of the owner up to the commit: which of these are new, and what is to be written.
    async fn apply(&mut self, identities: &[u128]) -> (Vec<bool>, Vec<Statement>) {
        self.dedupe.set_time(self.now);
        self.dedupe.make_room(&*self.store, identities.len(), self.position).await.unwrap();
        self.dedupe.look_up(&*self.store, identities.iter().copied()).await.unwrap();
        let new: Vec<bool> = identities.iter().map(|it| self.dedupe.insert(*it)).collect();
        let accepted = identities.iter().zip(&new).filter(|(_, new)| **new).map(|(it, _)| *it);
        self.position += 1;
        self.log.insert(self.position, accepted.collect());
        let stretch = self.dedupe.read_stretch(&*self.store).await.unwrap();
        (new, self.dedupe.step(stretch, self.position))
    }

    async fn take(&mut self, identities: &[u128]) -> Vec<bool> {
        let (new, statements) = self.apply(identities).await;
        self.commit(statements).await;
        self.assert_bounded();
        new
    }

    async fn step(&mut self) {
        self.dedupe.set_time(self.now);
        let stretch = self.dedupe.read_stretch(&*self.store).await.unwrap();
        let statements = self.dedupe.step(stretch, self.position);
        self.commit(statements).await;
        self.assert_bounded();
    }

    async fn settle(&mut self) {
        while self.dedupe.is_working() {
            self.step().await;
        }
    }

    /// A round of the checkpoint, to its end.
    async fn checkpoint(&mut self) {
        let position = self.position;
        self.dedupe.want_sealed(position);
        while !self.dedupe.is_sealed_through(position) {
            self.step().await;
        }
        self.head = position;
        self.log = self.log.split_off(&(position + 1));
    }

    /// Loses the memory and rebuilds it. Gives the identities that came from the log.
    async fn recover(&mut self) -> Vec<u128> {
        let store = &*self.store;
        self.dedupe = Dedupe::load(store, PARTITION, self.bound, self.now).await.unwrap();
        let sealed = self.dedupe.sealed_through().max(self.head);
        let mut replayed = Vec::new();
        let mut position = self.head;
        for (of_row, identities) in &self.log {
            self.dedupe.make_room_for_row(&*self.store, position).await.unwrap();
            if *of_row > sealed {
                for identity in identities {
                    self.dedupe.insert(*identity);
                    replayed.push(*identity);
                }
            }
            position = *of_row;
        }
        self.assert_bounded();
        replayed
    }

    fn assert_bounded(&self) {
        let bytes = self.dedupe.bytes();
        assert!(bytes <= self.bound, "{bytes} bytes of {}", self.bound);
    }

    async fn rows(&self, sql: &'static str) -> i64 {
        let rows = self.store.query(Statement::new("test.rows", sql, Vec::new())).await.unwrap();
        rows[0].get_int(0).unwrap()
    }
}

#[tokio::test]
async fn an_identity_is_new_once_in_a_window() {
    let mut world = World::start(1 << 20).await;
    assert_eq!(world.take(&[identity(1), identity(1), identity(2)]).await, [true, false, true]);
    world.now = START.plus_ms(limits::DEDUPE_WINDOW_MS);
    assert_eq!(world.take(&[identity(1)]).await, [false]);
    world.now = world.now.plus_ms(DAY_MS);
    assert_eq!(world.take(&[identity(1), identity(1)]).await, [true, false]);
}

#[tokio::test]
async fn what_is_sealed_expires_by_the_machine_s_clock_and_is_deleted() {
    let mut world = World::start(1 << 20).await;
    world.take(&[identity(1)]).await;
    world.checkpoint().await;
    world.now = START.plus_ms(limits::DEDUPE_WINDOW_MS);
    assert_eq!(world.take(&[identity(1)]).await, [false]);
    // A clock that was set back forgets nothing.
    world.now = START.plus_ms(-400 * DAY_MS);
    assert_eq!(world.take(&[identity(1)]).await, [false]);
    world.now = START.plus_ms(limits::DEDUPE_WINDOW_MS + DAY_MS);
    assert_eq!(world.take(&[identity(1)]).await, [true]);
    world.settle().await;
    assert_eq!(world.dedupe.segments.len(), 0);
    for table in ["dedupe_segment", "dedupe_block", "dedupe_filter"] {
        let sql = match table {
            "dedupe_segment" => "SELECT count(*) FROM dedupe_segment",
            "dedupe_block" => "SELECT count(*) FROM dedupe_block",
            _ => "SELECT count(*) FROM dedupe_filter",
        };
        assert_eq!(world.rows(sql).await, 0, "{table}");
    }
}

#[tokio::test]
async fn a_start_reads_filters_and_no_identities() {
    let mut world = World::start(1 << 20).await;
    let identities: Vec<u128> = (0..20_000).map(identity).collect();
    for batch in identities.chunks(1_000) {
        world.take(batch).await;
    }
    world.checkpoint().await;
    world.settle().await;
    assert_eq!(world.recover().await, []);
    assert_eq!((world.dedupe.active.len(), world.dedupe.bytes() < 100_000), (0, true));
    let again = world.take(&identities[..2_000]).await;
    assert!(again.iter().all(|it| !it));
}

#[tokio::test]
async fn a_lost_filter_is_not_missed() {
    let mut world = World::start(1 << 20).await;
    world.take(&[identity(1)]).await;
    world.checkpoint().await;
    world.commit(vec![Statement::new("test", "DELETE FROM dedupe_filter", Vec::new())]).await;
    world.recover().await;
    assert_eq!(world.take(&[identity(1), identity(2)]).await, [false, true]);
}

#[tokio::test]
async fn segments_of_the_first_schema_are_sealed_again() {
    let mut world = World::start(1 << 17).await;
    let segment = |number: i64, identities: std::ops::Range<u64>, sealed_at: Timestamp| {
        let hashes: Vec<u8> = identities.flat_map(|it| identity(it).to_le_bytes()).collect();
        Statement::new(
            "test.unsorted",
            "INSERT INTO dedupe (partition, segment, first_position, last_position, sealed_at, \
             hashes) VALUES ($1, $2, 1, $3, $4, $5)",
            vec![
                PARTITION.into(),
                number.into(),
                (number * 10).into(),
                sealed_at.into(),
                hashes.into(),
            ],
        )
    };
    let expired = START.plus_ms(-limits::DEDUPE_WINDOW_MS - DAY_MS);
    let on_the_last_day = START.plus_ms(-limits::DEDUPE_WINDOW_MS);
    world
        .commit(vec![
            segment(1, 0..100, expired),
            segment(2, 100..200, on_the_last_day),
            segment(3, 200..2_000, START),
        ])
        .await;
    world.recover().await;
    assert_eq!(world.dedupe.sealed_through(), 30);
    assert_eq!(world.rows("SELECT count(*) FROM dedupe").await, 0);
    for again in 0..2 {
        let old: Vec<u128> = (100..2_000).map(identity).collect();
        for batch in old.chunks(200) {
            assert!(world.take(batch).await.iter().all(|it| !it), "start {again}");
        }
        world.recover().await;
    }
    assert_eq!(world.take(&[identity(0), identity(2_000)]).await, [true, true]);
}

#[tokio::test]
async fn millions_of_identities_stay_within_the_bound() {
    const COUNT: u64 = 5_200_000;
    const BATCH: u64 = 20_000;
    const BOUND: usize = 15 << 19;
    let mut world = World::start(BOUND).await;
    let mut most = 0;
    for first in (0..COUNT).step_by(BATCH as usize) {
        let batch: Vec<u128> = (first..first + BATCH).map(identity).collect();
        assert!(world.take(&batch).await.iter().all(|it| *it), "a new one was called a duplicate");
        most = most.max(world.dedupe.bytes());
        world.log.clear();
    }
    world.checkpoint().await;
    world.settle().await;
    assert!(most > BOUND / 4 * 3, "the bound was not put to the test: {most}");
    assert!(world.dedupe.segments.iter().any(|it| it.absent_filters() > 0));
    assert!(world.dedupe.segments.len() <= 21, "{}", world.dedupe.segments.len());
    let mut sample: Vec<u128> = (0..COUNT).step_by(701).map(identity).collect();
    sample.extend((COUNT..COUNT + 1_000).map(identity));
    let new = world.take(&sample).await;
    let old = sample.len() - 1_000;
    assert!(new[..old].iter().all(|it| !it), "a duplicate was taken for new");
    assert!(new[old..].iter().all(|it| *it), "a new one was called a duplicate");
}
