//! Walks over one partition's log: both directions, going on, and what they may cost.

use std::{sync::Arc, time::Duration};

use plimsoll_core::{limits, time::Timestamp};
use plimsoll_engine::reads::{
    EventFilter, EventReader, LogScan, ScanBudget, ScanError, ScanRequest,
};
use plimsoll_store::{
    Batch, Lane, Statement, Store,
    log::stretch::{Direction, Place},
};
use serde_json::{Value, json};

use super::world::{World, event};

/// No bound.
const ENOUGH: ScanBudget = ScanBudget { rows: usize::MAX, bytes: usize::MAX };
const ROWS: i64 = 80;

/// Commits of two events each, of one customer: as many rows of one partition. Returns which.
async fn fill(world: &World) -> u32 {
    world.small_company(None).await;
    for row in 0..ROWS {
        let tokens = if row % 10 == 0 { json!("many") } else { json!(row) };
        let pair: Vec<Value> =
            ["a", "b"].map(|it| event(&format!("{it}{row}"), "acme", &tokens)).into();
        assert_eq!(world.send(&pair).await.unwrap().accepted, 2);
        world.clock.advance(Duration::from_hours(1));
    }
    let store: Arc<dyn Store> = world.store.clone();
    let (acme, reader) = (of_acme(world).await, EventReader::new(store, 2));
    let environment = world.context().environment();
    let page = reader.list(environment, &acme, None, 1, ENOUGH).await.unwrap();
    page.events[0].place.partition
}

async fn of_acme(world: &World) -> EventFilter {
    let acme = world.engine.ops.get_customer(&world.context(), "acme").await.unwrap();
    EventFilter { customer: Some(acme.id), ..EventFilter::default() }
}

/// The rows of a walk: where each stands and the ids of its events.
async fn walk(world: &World, request: ScanRequest) -> Vec<(Place, Vec<String>)> {
    let mut scan = LogScan::new(world.store.clone(), request);
    let mut rows = Vec::new();
    let mut budget = ENOUGH;
    while let Some(place) = scan.peek().await.unwrap() {
        let row = scan.next(&mut budget).await.unwrap().unwrap();
        assert_eq!(row.place, place);
        let id = |raw: &str| {
            let event: Value = serde_json::from_str(raw).unwrap();
            event["id"].as_str().unwrap().to_owned()
        };
        rows.push((place, row.events().map(|it| id(it.raw)).collect()));
    }
    assert!(scan.next(&mut budget).await.unwrap().is_none());
    assert_eq!(ENOUGH.rows - budget.rows, rows.len());
    rows
}

#[tokio::test]
async fn a_walk_goes_both_ways_and_goes_on_from_any_row() {
    let world = World::start().await;
    let partition = fill(&world).await;
    let request = |direction, after| ScanRequest {
        environment: world.context().environment(),
        partition,
        direction,
        after,
        filter: EventFilter::default(),
        with_reasons: false,
    };
    let forward = walk(&world, request(Direction::Forward, None)).await;
    let expected: Vec<Vec<String>> =
        (0..ROWS).map(|it| vec![format!("a{it}"), format!("b{it}")]).collect();
    assert_eq!(forward.iter().map(|(_, ids)| ids.clone()).collect::<Vec<_>>(), expected);
    let mut backward = walk(&world, request(Direction::Backward, None)).await;
    backward.reverse();
    assert_eq!(backward, forward);
    for at in [0, 1, 40, ROWS as usize - 1] {
        let place = Some(forward[at].0);
        let later = walk(&world, request(Direction::Forward, place)).await;
        assert_eq!(later, forward[at + 1..], "after row {at}");
        let mut earlier = walk(&world, request(Direction::Backward, place)).await;
        earlier.reverse();
        assert_eq!(earlier, forward[..at], "before row {at}");
    }
}

#[tokio::test]
async fn a_range_of_times_leaves_rows_outside_unread() {
    let world = World::start().await;
    let partition = fill(&world).await;
    let request = |filter| ScanRequest {
        environment: world.context().environment(),
        partition,
        direction: Direction::Forward,
        after: None,
        filter,
        with_reasons: false,
    };
    let all = walk(&world, request(EventFilter::default())).await;
    let stamp = |row: usize| Some(all[row].0.stamped_at);
    let from = EventFilter { from: stamp(50), ..EventFilter::default() };
    assert_eq!(walk(&world, request(from)).await, all[50..]);
    let lag_ms = limits::DEDUPE_WINDOW_MS + limits::STAMP_LAG_MS;
    let to = Some(stamp(30).unwrap().plus_ms(-lag_ms));
    let before = EventFilter { to, ..EventFilter::default() };
    let found = walk(&world, request(before)).await;
    assert_eq!(found.len(), 30, "later rows cannot hold an event of that time");
    assert!(found.iter().all(|(_, ids)| ids.is_empty()));
    let never = EventFilter { from: stamp(9), to: stamp(9), ..EventFilter::default() };
    assert_eq!(walk(&world, request(never)).await, []);
    let uncounted = EventFilter { counted: Some(false), ..EventFilter::default() };
    let found = walk(&world, request(uncounted)).await;
    assert_eq!(found.len(), ROWS as usize / 10, "other rows are not read");
    assert!(found.iter().all(|(_, ids)| ids.len() == 2));
}

#[tokio::test]
async fn a_page_ends_with_its_budget_and_the_next_goes_on() {
    let world = World::start().await;
    fill(&world).await;
    let reader = EventReader::new(world.store.clone(), 2);
    let environment = world.context().environment();
    let filter = EventFilter { id: Some("a3".to_owned()), ..EventFilter::default() };
    let all = reader.list(environment, &EventFilter::default(), None, 1000, ENOUGH).await.unwrap();
    assert_eq!((all.events.len(), all.last), (2 * ROWS as usize, None));
    let budgets = [
        ScanBudget { rows: 1, ..ENOUGH },
        ScanBudget { rows: 7, ..ENOUGH },
        ScanBudget { bytes: 1, ..ENOUGH },
        ScanBudget { rows: 0, bytes: 0 },
    ];
    for budget in budgets {
        for limit in [1, 3, 1000] {
            let (mut after, mut found, mut calls) = (None, Vec::new(), 0);
            loop {
                let none = EventFilter::default();
                let page = reader.list(environment, &none, after, limit, budget).await.unwrap();
                found.extend(page.events);
                calls += 1;
                assert!(calls < 10 * ROWS, "the list does not end");
                assert!(page.last.is_none_or(|last| after.is_none_or(|after| last < after)));
                after = page.last;
                if after.is_none() {
                    break;
                }
            }
            assert_eq!(found, all.events, "{budget:?} by {limit}");
            assert!(calls > ROWS / 10, "{budget:?} by {limit}: {calls} calls");
        }
        let first = reader.list(environment, &filter, None, 10, budget).await.unwrap();
        assert!(first.events.is_empty() && first.last.is_some(), "short, and more may follow");
    }
}

#[tokio::test]
async fn a_page_of_large_events_is_short() {
    let world = World::start().await;
    world.small_company(None).await;
    let large = |id: usize| {
        let mut event = event(&id.to_string(), "acme", &json!(1));
        event["note"] = json!("x".repeat(limits::EVENT_BYTES - 1024));
        event
    };
    let fit = limits::EVENTS_PAGE_BYTES / large(100).to_string().len();
    let events: Vec<Value> = (100..100 + 2 * fit).map(large).collect();
    assert_eq!(world.send(&events).await.unwrap().accepted, 2 * fit as u64);
    let reader = EventReader::new(world.store.clone(), 2);
    let (environment, all) = (world.context().environment(), EventFilter::default());
    let first = reader.list(environment, &all, None, 1000, ENOUGH).await.unwrap();
    assert_eq!(first.events.len(), fit);
    let second = reader.list(environment, &all, first.last, 1000, ENOUGH).await.unwrap();
    assert_eq!((second.events.len(), second.last), (fit, None));
}

#[tokio::test]
async fn a_row_that_cannot_be_read_is_an_error_with_its_place() {
    let world = World::start().await;
    let partition = fill(&world).await;
    let sql = "UPDATE log SET payload = $1 WHERE partition = $2 AND kind = 1";
    let params = vec![vec![5_u8, 0, 0, 0, 7].into(), partition.into()];
    let statements = vec![Statement::new("spoil", sql, params)];
    world.store.commit(Batch::new(Lane::Control, statements)).await.unwrap();
    let reader = EventReader::new(world.store.clone(), 2);
    let environment = world.context().environment();
    let none = EventFilter::default();
    let error = reader.list(environment, &none, None, 1, ENOUGH).await.unwrap_err();
    assert!(matches!(error, ScanError::Corrupt { partition: at, .. } if at == partition));
    let late = EventFilter { from: Some(Timestamp::MAX), ..none };
    assert!(reader.list(environment, &late, None, 1, ENOUGH).await.is_ok(), "nothing is read");
}
