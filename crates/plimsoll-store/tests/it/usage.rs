//! Behaviours of the log as it is read by time, and of what is uncounted in it.

use plimsoll_store::{
    Store,
    log::{
        self, LogRow,
        stretch::{self, Direction, Head, Place, Stretch},
    },
    uncounted::{self, UncountedRow},
};

use crate::{
    sample::{at, commit, environment, log_row, uncounted_row},
    world::World,
};

const USAGE: u32 = 1;

fn place(ms: i64, position: i64) -> Place {
    Place { stamped_at: at(ms), position }
}

/// Rows of one partition: two environments with clocks of their own, and what is no usage.
async fn fill(store: &dyn Store) {
    let row = |position, ms, kind| LogRow {
        stamped_at: at(ms),
        kind,
        ..log_row(1, position, vec![0; position as usize])
    };
    let rows = vec![
        row(1, 10, USAGE),
        row(2, 900, USAGE),
        row(3, 10, USAGE),
        row(4, 15, 2),
        row(5, 20, USAGE),
        row(6, 910, USAGE),
        row(7, 30, USAGE),
    ];
    commit(store, log::append(rows)).await;
    let elsewhere = LogRow { kind: USAGE, stamped_at: at(20), ..log_row(2, 1, vec![0; 9]) };
    commit(store, log::append(vec![elsewhere])).await;
}

fn positions(heads: &[Head]) -> Vec<i64> {
    heads.iter().map(|it| it.place.position).collect()
}

pub(crate) async fn usage_is_read_by_stamp_from_either_end(world: &World) {
    let store = world.open().await;
    fill(&*store).await;
    let (first, last) = (Place::FIRST, Place::LAST);
    let (forward, backward) = (Direction::Forward, Direction::Backward);
    let cases: [(Place, Place, Direction, u32, &[i64]); 9] = [
        (first, last, forward, 9, &[1, 3, 5, 7, 2, 6]),
        (first, last, backward, 9, &[6, 2, 7, 5, 3, 1]),
        (first, last, forward, 2, &[1, 3]),
        (first, last, backward, 2, &[6, 2]),
        (place(10, 2), last, forward, 2, &[3, 5]),
        (place(10, 3), place(30, 7), forward, 9, &[3, 5]),
        (place(20, i64::MIN), place(900, i64::MIN), backward, 9, &[7, 5]),
        (first, place(10, i64::MAX), backward, 9, &[3, 1]),
        (place(31, 0), place(900, 2), forward, 9, &[]),
    ];
    for (from, before, direction, limit, expected) in cases {
        let stretch = Stretch { partition: 1, kind: USAGE, from, before };
        let found = stretch::heads(&*store, &stretch, direction, limit).await.unwrap();
        assert_eq!(positions(&found), expected, "{from:?} {before:?} {direction:?} {limit}");
        assert!(found.iter().all(|it| it.payload_bytes == it.place.position as usize));
    }
    let rows = stretch::rows(&*store, 1, &[7, 2, 99, 5]).await.unwrap();
    let found: Vec<_> = rows.iter().map(|it| (it.position, it.payload.len())).collect();
    assert_eq!(found, [(2, 2), (5, 5), (7, 7)]);
    assert_eq!(stretch::rows(&*store, 1, &[]).await, Ok(Vec::new()));
    store.close().await;
}

pub(crate) async fn uncounted_events_are_found_beside_their_log_rows(world: &World) {
    let store = world.open().await;
    fill(&*store).await;
    let other = UncountedRow { environment: environment(2), ..uncounted_row(1, 2, 900) };
    let rows = vec![
        uncounted_row(1, 1, 10),
        other.clone(),
        uncounted_row(1, 5, 20),
        uncounted_row(1, 7, 30),
        // Its log row is gone.
        uncounted_row(1, 8, 40),
        uncounted_row(2, 1, 20),
    ];
    commit(&*store, uncounted::insert(rows.clone())).await;
    let heads = async |environment, range, direction, limit| {
        let store = &*store;
        let heads = uncounted::heads(store, environment, 1, range, direction, limit).await;
        let heads = heads.unwrap();
        assert!(heads.iter().all(|it| it.payload_bytes == it.place.position as usize));
        positions(&heads)
    };
    let all = (Place::FIRST, Place::LAST);
    assert_eq!(heads(environment(1), all, Direction::Backward, 9).await, [7, 5, 1]);
    assert_eq!(heads(environment(1), all, Direction::Forward, 2).await, [1, 5]);
    assert_eq!(heads(environment(2), all, Direction::Forward, 9).await, [2]);
    let middle = (place(10, 2), place(30, 7));
    assert_eq!(heads(environment(1), middle, Direction::Backward, 9).await, [5]);

    let found = uncounted::rows(&*store, 1, &[5, 3, 2]).await;
    assert_eq!(found, Ok(vec![other, rows[2].clone()]));
    commit(&*store, [uncounted::delete_through(1, 5)]).await;
    assert_eq!(uncounted::rows(&*store, 1, &[1, 2, 5]).await, Ok(Vec::new()));
    assert_eq!(heads(environment(1), all, Direction::Backward, 9).await, [7]);
    assert_eq!(uncounted::rows(&*store, 2, &[1]).await, Ok(vec![rows[5].clone()]));
    store.close().await;
}
