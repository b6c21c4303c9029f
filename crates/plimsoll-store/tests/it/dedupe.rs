//! Behaviours of the tables of sealed identities.

use bytes::Bytes;
use plimsoll_store::dedupe::{
    self, Kind, SegmentRow, SegmentState,
    unsorted::{self, UnsortedRow},
};

use crate::{
    sample::{at, commit, piece, refused_as_unique, segment, try_commit, unsorted_segment},
    world::World,
};

pub(crate) async fn segments_come_and_go(world: &World) {
    let store = world.open().await;
    let building = SegmentRow { state: SegmentState::Building, ..segment(1, 2) };
    commit(&*store, [segment(1, 3), building, segment(2, 2)].iter().map(dedupe::begin)).await;
    let live = SegmentRow { identities: 39, ..segment(1, 2) };
    let dead = SegmentRow { state: SegmentState::Dead, ..segment(1, 3) };
    commit(&*store, [dedupe::update(&live), dedupe::update(&dead)]).await;
    assert_eq!(dedupe::segments(&*store, 1).await, Ok(vec![live, dead.clone()]));
    commit(&*store, [dedupe::delete(1, 2)]).await;
    assert_eq!(dedupe::segments(&*store, 1).await, Ok(vec![dead]));
    assert_eq!(dedupe::segments(&*store, 2).await, Ok(vec![segment(2, 2)]));
    store.close().await;
}

pub(crate) async fn a_number_is_used_once(world: &World) {
    let store = world.open().await;
    commit(&*store, [dedupe::begin(&segment(1, 2))]).await;
    let again = try_commit(&*store, [dedupe::begin(&segment(1, 2))]).await;
    assert_eq!(refused_as_unique(again), dedupe::BEGIN);
    store.close().await;
}

pub(crate) async fn pieces_are_found_by_place_and_read_in_order(world: &World) {
    let store = world.open().await;
    for kind in [Kind::Block, Kind::Filter] {
        let all: Vec<_> = (0..300).map(|place| piece(1, place)).collect();
        commit(&*store, dedupe::put_pieces(kind, 1, all.clone())).await;
        commit(&*store, dedupe::put_pieces(kind, 1, vec![piece(2, 0), piece(2, 9)])).await;
        commit(&*store, dedupe::put_pieces(kind, 2, vec![piece(1, 0)])).await;

        let range = dedupe::read_pieces(&*store, kind, 1, 1, (10, 13)).await;
        assert_eq!(range, Ok(all[10..13].to_vec()));
        let places = [(2, 9), (1, 299), (1, 300), (3, 0), (2, 0)];
        let mut found = dedupe::find_pieces(&*store, kind, 1, &places).await.unwrap();
        found.sort_by_key(|it| (it.segment, it.place));
        assert_eq!(found, [piece(1, 299), piece(2, 0), piece(2, 9)]);
        let places: Vec<_> = (0..300).map(|place| (1, place)).collect();
        let mut found = dedupe::find_pieces(&*store, kind, 1, &places).await.unwrap();
        found.sort_by_key(|it| it.place);
        assert_eq!(found, all);

        commit(&*store, [dedupe::delete_pieces(kind, 1, 1, (1, 300))]).await;
        assert_eq!(dedupe::read_pieces(&*store, kind, 1, 1, (0, 400)).await, Ok(all[..1].to_vec()));
        let other = dedupe::read_pieces(&*store, kind, 1, 2, (0, 400)).await;
        assert_eq!(other, Ok(vec![piece(2, 0), piece(2, 9)]));
    }
    store.close().await;
}

pub(crate) async fn segments_of_the_first_schema_are_still_read(world: &World) {
    let store = world.open().await;
    commit(&*store, (0..4).map(|it| unsorted_segment(1, it, 100))).await;
    commit(&*store, [unsorted_segment(2, 0, 100)]).await;
    let row = |segment: i64| UnsortedRow {
        segment,
        last_position: segment * 10,
        sealed_at: at(segment * 100),
        hashes: Bytes::from(vec![segment as u8; 100]),
    };
    let all: Vec<_> = (0..4).map(row).collect();
    assert_eq!(unsorted::read(&*store, 1, None, 10_000).await, Ok(all.clone()));
    assert_eq!(unsorted::read(&*store, 1, Some(0), 200).await, Ok(all[1..3].to_vec()));
    commit(&*store, [unsorted::delete_all(1)]).await;
    assert_eq!(unsorted::read(&*store, 1, None, 10_000).await, Ok(Vec::new()));
    assert_eq!(unsorted::read(&*store, 2, None, 10_000).await, Ok(all[..1].to_vec()));
    store.close().await;
}
