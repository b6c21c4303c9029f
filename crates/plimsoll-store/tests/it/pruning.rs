//! Bases and marks, which stand in for pruned rows, and the reads that look at everything once.

use plimsoll_core::{
    ids::{EntitlementId, MeterId},
    metering::cell::{CellKey, CellScope, Resolution},
};
use plimsoll_store::{
    archive::{self, CellRow, SegmentRow, WindowRow},
    base::{self, Base, Mark},
    checkpoint::{self, CheckpointRow},
    delivery, log, notification, whole,
};

use crate::{
    sample::{
        at, commit, customer, delivery as delivery_row, log_row, notification as told,
        notification_id,
    },
    world::World,
};

fn slice(slice: u32, position: i64) -> CheckpointRow {
    CheckpointRow {
        partition: 1,
        slice,
        position,
        core_version: 1,
        payload: vec![slice as u8; 50].into(),
    }
}

pub(crate) async fn a_base_counts_once_it_has_its_head(world: &World) {
    let store = world.open().await;
    assert_eq!(log::first_position(&*store, 1).await, Ok(None));
    commit(&*store, log::append((4..=6).map(|it| log_row(1, it, "row")).collect())).await;
    assert_eq!(log::first_position(&*store, 1).await, Ok(Some(4)));
    assert_eq!(checkpoint::head_position(&*store, 1).await, Ok(None));
    commit(&*store, checkpoint::put(vec![slice(1, 9), slice(0, 8)])).await;
    assert_eq!(checkpoint::head_position(&*store, 1).await, Ok(Some(8)));

    let old = Base { position: 3, at: at(30), stamped_at: at(35) };
    let new = Base { position: 5, at: at(50), stamped_at: at(55) };
    for (base, rows) in [(old, vec![1, 2, 0]), (new, vec![1])] {
        for number in rows {
            commit(&*store, base::put(base, slice(number, base.position))).await;
        }
    }
    assert_eq!(base::newest(&*store, 1).await, Ok(Some(old)));
    assert_eq!(base::newest(&*store, 2).await, Ok(None));
    let all = base::read(&*store, 1, 3, None, 1_000).await;
    assert_eq!(all, Ok(vec![slice(0, 3), slice(1, 3), slice(2, 3)]));
    assert_eq!(base::read(&*store, 1, 3, Some(0), 1).await, Ok(vec![slice(1, 3)]));
    commit(&*store, base::put(new, slice(0, 5))).await;
    assert_eq!(base::newest(&*store, 1).await, Ok(Some(new)));
    commit(&*store, [base::delete_others(1, 5)]).await;
    assert_eq!(base::read(&*store, 1, 3, None, 1_000).await, Ok(vec![]));
    assert_eq!(base::newest(&*store, 1).await, Ok(Some(new)));
    store.close().await;
}

pub(crate) async fn a_mark_keeps_its_first_time(world: &World) {
    let store = world.open().await;
    let marks = [(3, 30), (5, 50), (5, 60), (7, 70)];
    let marks = marks.map(|(position, ms)| Mark { position, at: at(ms) });
    commit(&*store, marks.map(|it| base::put_mark(1, it))).await;
    assert_eq!(base::marks(&*store, 1).await, Ok(vec![marks[0], marks[1], marks[3]]));
    commit(&*store, [base::delete_marks_through(1, 5)]).await;
    assert_eq!(base::marks(&*store, 1).await, Ok(vec![marks[3]]));
    store.close().await;
}

pub(crate) async fn everything_is_read_once_in_order(world: &World) {
    let store = world.open().await;
    let entitlement = EntitlementId::from_bits;
    let payload = || vec![1_u8].into();
    let window = |n: u128, from: i64| WindowRow {
        entitlement: entitlement(n),
        from: at(from),
        to: at(from + 10),
        customer: customer(n),
        core_version: 1,
        payload: payload(),
    };
    // More than a page of them.
    let windows: Vec<_> = (1..=3).flat_map(|n| (0..400).map(move |it| (n, it * 10))).collect();
    let windows: Vec<_> = windows.into_iter().map(|(n, from)| window(n, from)).collect();
    commit(&*store, archive::put_windows(windows.clone())).await;
    let first = whole::windows(&*store, None).await.unwrap();
    let last = first.last().map(|it| (it.entitlement, it.from));
    let second = whole::windows(&*store, last).await.unwrap();
    assert_eq!([first, second].concat(), windows);
    commit(&*store, archive::delete_windows(&[(entitlement(1), at(0))])).await;
    assert_eq!(whole::windows(&*store, None).await.unwrap()[0], windows[1]);

    let segment = |n| SegmentRow {
        entitlement: entitlement(n),
        from: at(1),
        to: at(2),
        core_version: 1,
        payload: payload(),
    };
    commit(&*store, archive::put_segments(vec![segment(2), segment(1)])).await;
    assert_eq!(whole::segments(&*store, None).await, Ok(vec![segment(1), segment(2)]));
    let rest = whole::segments(&*store, Some((entitlement(1), at(1)))).await;
    assert_eq!(rest, Ok(vec![segment(2)]));

    let cell = |scope, resolution, ms| {
        let key = CellKey { meter: MeterId::from_bits(1), scope, resolution, from: at(ms) };
        CellRow { key, core_version: 1, payload: payload() }
    };
    let of = |n| CellScope::Customer(customer(n));
    let cells = vec![
        cell(of(1), Resolution::Hour, 5),
        cell(of(2), Resolution::Hour, 1),
        cell(of(1), Resolution::Day, 1),
    ];
    let totals = vec![
        cell(CellScope::Slice(1), Resolution::Hour, 1),
        cell(CellScope::Slice(0), Resolution::Hour, 2),
    ];
    commit(&*store, archive::put_cells(3, [cells.clone(), totals.clone()].concat())).await;
    assert_eq!(whole::cells(&*store, None).await, Ok(cells.clone()));
    assert_eq!(whole::cells(&*store, Some(cells[1].key)).await, Ok(vec![cells[2].clone()]));
    assert_eq!(whole::totals(&*store, 3, None).await, Ok(totals.clone()));
    let rest = whole::totals(&*store, 3, Some(totals[0].key)).await;
    assert_eq!(rest, Ok(vec![totals[1].clone()]));
    assert_eq!(whole::totals(&*store, 4, None).await, Ok(vec![]));
    store.close().await;
}

pub(crate) async fn notifications_are_read_without_their_bodies(world: &World) {
    let store = world.open().await;
    commit(&*store, notification::insert(vec![told(1), told(2), told(3)])).await;
    commit(&*store, delivery::insert(vec![delivery_row(1, 2)])).await;
    let all = whole::notifications(&*store, None).await.unwrap();
    let ids: Vec<_> = all.iter().map(|it| it.id).collect();
    assert_eq!(ids, [1, 2, 3].map(notification_id));
    assert_eq!((&all[1].identity, all[1].ordinal), (&told(2).identity, told(2).ordinal));
    assert_eq!(whole::notifications(&*store, Some(ids[1])).await, Ok(vec![all[2].clone()]));
    let found = whole::notifications_with(&*store, &[ids[2], notification_id(9)]).await;
    assert_eq!(found, Ok(vec![all[2].clone()]));
    assert_eq!(
        whole::delivered(&*store, &ids).await,
        Ok(vec![(ids[1], delivery_row(1, 2).channel)])
    );
    assert_eq!(whole::body_of(&*store, ids[0]).await, Ok(Some(told(1).doc)));
    assert_eq!(whole::body_of(&*store, notification_id(9)).await, Ok(None));
    store.close().await;
}
