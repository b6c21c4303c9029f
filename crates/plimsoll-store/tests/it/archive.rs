//! What has closed: windows, cells, totals, segments. And the log from a time on.

use bytes::Bytes;
use plimsoll_core::{
    ids::{CustomerId, EntitlementId, MeterId},
    metering::cell::{CellKey, CellScope, Resolution},
};
use plimsoll_store::{
    archive::{self, CellRange, CellRow, SegmentRow, WindowRow},
    log::{
        self, LogRow,
        since::{self, Since},
    },
};

use crate::{
    sample::{at, commit, customer, log_row},
    world::World,
};

/// Moments of entitlements, and the places of the windows that hold them.
type FoundAt = (&'static [(u128, i64)], &'static [usize]);
/// Where to begin, the end, the limit, and what is found.
type FoundFrom<'a> = ((i64, u32, u32), i64, u32, &'a [&'a str]);

fn entitlement(n: u128) -> EntitlementId {
    EntitlementId::from_parts(1, n)
}

fn meter(n: u128) -> MeterId {
    MeterId::from_parts(1, n)
}

/// A window of an entitlement; what the core wrote is the text.
pub(crate) fn window(n: u128, from: i64, to: i64, text: &'static str) -> WindowRow {
    WindowRow {
        entitlement: entitlement(n),
        from: at(from),
        to: at(to),
        customer: customer(n),
        core_version: 2,
        payload: Bytes::from(text),
    }
}

/// A cell of meter 1; what the core wrote is the text.
pub(crate) fn cell(
    scope: CellScope,
    resolution: Resolution,
    from: i64,
    text: &'static str,
) -> CellRow {
    let key = CellKey { meter: meter(1), scope, resolution, from: at(from) };
    CellRow { key, core_version: 2, payload: Bytes::from(text) }
}

/// A segment of an entitlement.
pub(crate) fn segment(n: u128, from: i64, to: i64, text: &'static str) -> SegmentRow {
    SegmentRow {
        entitlement: entitlement(n),
        from: at(from),
        to: at(to),
        core_version: 2,
        payload: Bytes::from(text),
    }
}

fn of(n: u128) -> CellScope {
    CellScope::Customer(customer(n))
}

fn texts(rows: &[CellRow]) -> Vec<&str> {
    rows.iter().map(|it| std::str::from_utf8(&it.payload).unwrap()).collect()
}

fn sorted(rows: &[CellRow]) -> Vec<&str> {
    let mut texts = texts(rows);
    texts.sort_unstable();
    texts
}

pub(crate) async fn closed_windows_are_found_by_a_moment_in_them(world: &World) {
    let store = world.open().await;
    let rows = vec![
        window(1, 0, 10, "a"),
        window(1, 10, 20, "b"),
        window(1, 30, 40, "c"),
        window(2, 0, 100, "d"),
    ];
    commit(&*store, archive::put_windows(rows.clone())).await;
    let cases: [FoundAt; 6] = [
        (&[], &[]),
        (&[(1, 0)], &[0]),
        (&[(1, 9), (1, 10)], &[0, 1]),
        (&[(1, 20), (1, 29), (3, 5)], &[]),
        (&[(1, 39), (1, 30), (1, 35)], &[2]),
        (&[(2, 99), (1, 0), (2, 100)], &[0, 3]),
    ];
    for (moments, expected) in cases {
        let moments: Vec<_> = moments.iter().map(|(n, ms)| (entitlement(*n), at(*ms))).collect();
        let mut found = archive::windows_at(&*store, &moments).await.unwrap();
        found.sort_by_key(|it| (it.entitlement, it.from));
        let expected: Vec<_> = expected.iter().map(|it| rows[*it].clone()).collect();
        assert_eq!(found, expected, "{moments:?}");
    }
    let many: Vec<_> = (0..600).map(|it| (entitlement(1), at(it % 40))).collect();
    let found = archive::windows_at(&*store, &many).await.unwrap();
    assert!(rows[..3].iter().all(|it| found.contains(it)), "however many are asked for");

    let list = async |from, to, limit| {
        let rows = archive::windows_of(&*store, entitlement(1), at(from), at(to), limit).await;
        rows.unwrap().iter().map(|it| it.from.as_ms()).collect::<Vec<_>>()
    };
    assert_eq!(list(0, 100, 9).await, [0, 10, 30]);
    assert_eq!(list(0, 100, 2).await, [0, 10]);
    assert_eq!(list(10, 30, 9).await, [10]);
    assert_eq!(list(19, 31, 9).await, [10, 30]);

    commit(&*store, archive::put_windows(vec![window(1, 10, 19, "late")])).await;
    let found = archive::windows_at(&*store, &[(entitlement(1), at(10))]).await;
    assert_eq!(found, Ok(vec![window(1, 10, 19, "late")]), "in place of what was known");
    store.close().await;
}

pub(crate) async fn closed_cells_are_read_by_customer(world: &World) {
    use Resolution::{Day, Hour};
    let store = world.open().await;
    let rows = vec![
        cell(of(1), Hour, 0, "1h0"),
        cell(of(1), Hour, 10, "1h10"),
        cell(of(1), Day, 0, "1d0"),
        cell(of(2), Hour, 0, "2h0"),
        cell(of(3), Hour, 5, "3h5"),
        cell(of(3), Hour, 15, "3h15"),
    ];
    commit(&*store, archive::put_cells(0, rows)).await;
    let key = |n: u128, resolution, from| CellKey {
        meter: meter(1),
        scope: of(n),
        resolution,
        from: at(from),
    };
    let keys = [key(1, Hour, 0), key(1, Day, 0), key(1, Hour, 1), key(3, Hour, 15)];
    let found = archive::cells(&*store, 0, &keys).await.unwrap();
    assert_eq!(sorted(&found), ["1d0", "1h0", "3h15"]);
    assert!(found.iter().all(|it| it.core_version == 2 && keys.contains(&it.key)));

    let range = |begin: (u128, i64), last: u128, from, to| CellRange {
        meter: meter(1),
        resolution: Hour,
        begin: (customer(begin.0), at(begin.1)),
        last: customer(last),
        from: at(from),
        to: at(to),
    };
    let everybody = u128::MAX;
    let cases: [(CellRange, u32, &[&str]); 7] = [
        (range((0, 0), everybody, 0, 100), 9, &["1h0", "1h10", "2h0", "3h5", "3h15"]),
        (range((0, 0), everybody, 0, 100), 2, &["1h0", "1h10"]),
        (range((1, 1), everybody, 0, 100), 9, &["1h10", "2h0", "3h5", "3h15"]),
        (range((1, 10), 2, 0, 100), 9, &["1h10", "2h0"]),
        (range((2, 1), everybody, 0, 100), 9, &["3h5", "3h15"]),
        (range((0, 0), everybody, 5, 15), 9, &["1h10", "3h5"]),
        (range((3, 16), everybody, 0, 100), 9, &[]),
    ];
    for (range, limit, expected) in cases {
        let found = archive::cells_of_range(&*store, &range, limit).await.unwrap();
        assert_eq!(texts(&found), expected, "{range:?}");
    }
    let named: Vec<CustomerId> = [3, 1, 9].map(customer).to_vec();
    let found = archive::cells_of_customers(&*store, meter(1), Hour, &named, (at(5), at(15)))
        .await
        .unwrap();
    assert_eq!(sorted(&found), ["1h10", "3h5"]);
    let nobody = archive::cells_of_customers(&*store, meter(1), Hour, &[], (at(0), at(99))).await;
    assert_eq!(nobody, Ok(Vec::new()));
    let other = archive::cells_of_customers(&*store, meter(2), Hour, &named, (at(0), at(99))).await;
    assert_eq!(other, Ok(Vec::new()));

    commit(&*store, archive::put_cells(0, vec![cell(of(2), Hour, 0, "late")])).await;
    let found = archive::cells(&*store, 0, &[key(2, Hour, 0)]).await.unwrap();
    assert_eq!(texts(&found), ["late"], "in place of what was known");
    store.close().await;
}

pub(crate) async fn totals_are_read_by_time(world: &World) {
    use Resolution::{Day, Hour};
    let store = world.open().await;
    let slice = CellScope::Slice;
    let here = vec![
        cell(slice(0), Hour, 0, "p0s0h0"),
        cell(slice(1), Hour, 0, "p0s1h0"),
        cell(slice(0), Hour, 10, "p0s0h10"),
        cell(slice(0), Day, 0, "p0s0d0"),
    ];
    commit(&*store, archive::put_cells(0, here)).await;
    let there = vec![cell(slice(0), Hour, 0, "p1s0h0"), cell(slice(0), Hour, 20, "p1s0h20")];
    commit(&*store, archive::put_cells(1, there)).await;
    let key = CellKey { meter: meter(1), scope: slice(0), resolution: Hour, from: at(0) };
    for (partition, expected) in [(0, "p0s0h0"), (1, "p1s0h0")] {
        let found = archive::cells(&*store, partition, &[key]).await.unwrap();
        assert_eq!(texts(&found), [expected], "a slice is of one partition");
    }
    let all = ["p0s0h0", "p0s1h0", "p1s0h0", "p0s0h10", "p1s0h20"];
    let cases: [FoundFrom<'_>; 6] = [
        ((0, 0, 0), 100, 9, &all),
        ((0, 0, 0), 100, 2, &all[..2]),
        ((0, 0, 1), 100, 2, &all[1..3]),
        ((0, 1, 1), 100, 9, &all[3..]),
        ((1, 0, 0), 20, 9, &all[3..4]),
        ((21, 0, 0), 100, 9, &[]),
    ];
    for ((from, partition, slice), to, limit, expected) in cases {
        let begin = (at(from), partition, slice);
        let found = archive::totals(&*store, meter(1), Hour, begin, at(to), limit).await.unwrap();
        let rows: Vec<_> = found.iter().map(|it| it.1.clone()).collect();
        assert_eq!(texts(&rows), expected, "{begin:?}");
        for ((at, partition, slice), row) in &found {
            assert_eq!((row.key.scope, row.key.from), (CellScope::Slice(*slice), *at));
            assert!(texts(std::slice::from_ref(row))[0].starts_with(&format!("p{partition}s")));
        }
    }
    commit(&*store, archive::put_cells(1, vec![cell(slice(0), Hour, 20, "late")])).await;
    let found = archive::totals(&*store, meter(1), Hour, (at(20), 0, 0), at(99), 9).await.unwrap();
    assert_eq!(texts(&[found[0].1.clone()]), ["late"], "in place of what was known");
    store.close().await;
}

pub(crate) async fn segments_are_listed_by_time(world: &World) {
    let store = world.open().await;
    let rows = vec![segment(1, 0, 10, "a"), segment(1, 10, 30, "b"), segment(2, 0, 99, "c")];
    commit(&*store, archive::put_segments(rows.clone())).await;
    let list = async |from, to, limit| {
        archive::segments_of(&*store, entitlement(1), at(from), at(to), limit).await.unwrap()
    };
    assert_eq!(list(0, 99, 9).await, rows[..2]);
    assert_eq!(list(0, 99, 1).await, rows[..1]);
    assert_eq!(list(10, 99, 9).await, rows[1..2]);
    assert_eq!(list(0, 10, 9).await, rows[..1]);
    commit(&*store, archive::put_segments(vec![segment(1, 10, 20, "again")])).await;
    assert_eq!(list(15, 99, 9).await, [segment(1, 10, 20, "again")]);
    assert_eq!(list(20, 99, 9).await, []);
    store.close().await;
}

pub(crate) async fn the_log_is_read_from_a_time_on(world: &World) {
    let store = world.open().await;
    let row = |position, kind, stamped_at| LogRow {
        kind,
        stamped_at: at(stamped_at),
        ..log_row(1, position, vec![0; 100])
    };
    // The clocks of two environments, one far ahead; rows of kind 7 are always wanted.
    let rows = vec![
        row(1, 0, 10),
        row(2, 7, 5),
        row(3, 0, 90),
        row(4, 0, 20),
        row(5, 7, 6),
        row(6, 0, 30),
    ];
    commit(&*store, log::append(rows)).await;
    let since = |stamped_at| Since { partition: 1, always: 7, kind: 0, stamped_at: at(stamped_at) };
    for (stamped_at, first) in [(0, Some(1)), (11, Some(3)), (91, None)] {
        assert_eq!(since::first(&*store, &since(stamped_at)).await, Ok(first), "{stamped_at}");
    }
    let read = async |stamped_at, after, bytes| {
        let rows = since::read(&*store, &since(stamped_at), after, bytes).await.unwrap();
        rows.iter().map(|it| it.position).collect::<Vec<_>>()
    };
    assert_eq!(read(0, 0, 9_999).await, [1, 2, 3, 4, 5, 6]);
    assert_eq!(read(25, 0, 9_999).await, [2, 3, 5, 6]);
    assert_eq!(read(25, 2, 250).await, [3, 5]);
    assert_eq!(read(25, 2, 1).await, [3]);
    assert_eq!(read(25, 6, 1).await, [0_i64; 0]);
    store.close().await;
}
