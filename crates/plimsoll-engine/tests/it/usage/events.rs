//! The list of accepted events: complete, exact, newest first, whatever fails, however it is cut.

use std::time::Duration;

use bytes::Bytes;
use plimsoll_core::{limits, time::Timestamp};
use plimsoll_engine::{
    ingest::{IngestError, Mode},
    ops::{Context, event::EventQuery, page::Page, problem::ProblemCode},
};
use plimsoll_store::{Lane, faulty::Fault};
use serde_json::{Value, json};

use super::world::{START_MS, World, event};

/// More pages than any list here has.
const MOST_PAGES: usize = 500;

/// So many that they are on both partitions, but for one history in a thousand.
const SUBJECTS: [&str; 11] = [
    "acme",
    "globex",
    "hooli",
    "initech",
    "umbrella",
    "cyberdyne",
    "wonka",
    "stark",
    "wayne",
    "tyrell",
    "soylent",
];

/// What a test knows of an event that it sent, the oldest first.
#[derive(Debug, Clone)]
struct Sent {
    event: Value,
    stamp_ms: i64,
    time_ms: i64,
    counted: bool,
}

impl Sent {
    fn is(&self, attribute: &str, value: &str) -> bool {
        self.event[attribute] == value
    }
}

/// Sends batches of one customer each at distinct times, so that their order is known: of several
/// types and sources, on time, late and ahead, counted and not.
async fn history(world: &World) -> Vec<Sent> {
    world.small_company(Some("1000000")).await;
    let mut all = Vec::new();
    let mut now_ms = START_MS;
    for batch in 0..40_i64 {
        let step = Duration::from_mins(1 + (batch as u64 * 7) % 300);
        world.clock.advance(step);
        now_ms += step.as_millis() as i64;
        let mut sent = Vec::new();
        for n in 0..=(batch % 4) {
            let subject = SUBJECTS[batch as usize % SUBJECTS.len()];
            let counted = (batch + n) % 3 != 0;
            let tokens = if counted { json!(n) } else { json!("many") };
            let mut event = event(&format!("{batch}-{n}"), subject, &tokens);
            event["source"] = json!(["eu", "us"][n as usize % 2]);
            event["region"] = json!({"zone": [batch, "é\n"]});
            if batch % 6 == 5 {
                event["type"] = json!("nobody.measures");
            }
            let offset_ms = [0, -3_600_000, 1_800_000, -limits::DEDUPE_WINDOW_MS][n as usize];
            if n > 0 {
                event["time"] = json!(Timestamp::from_ms(now_ms + offset_ms).to_string());
            }
            let counted = counted || batch % 6 == 5;
            let time_ms = now_ms + offset_ms.min(0);
            sent.push(Sent { event, stamp_ms: now_ms, time_ms, counted });
        }
        let events: Vec<Value> = sent.iter().map(|it| it.event.clone()).collect();
        assert_eq!(world.send(&events).await.unwrap().accepted, sent.len() as u64);
        all.extend(sent);
    }
    all
}

async fn page(world: &World, context: &Context, query: &EventQuery) -> Page<Value> {
    let page = world.engine.ops.list_events(context, query).await.unwrap();
    serde_json::from_value(serde_json::to_value(page).unwrap()).unwrap()
}

/// Everything that a query gives, page by page.
async fn list(world: &World, query: EventQuery) -> Vec<Value> {
    let context = world.context();
    let (mut query, mut items) = (query, Vec::new());
    for _ in 0..MOST_PAGES {
        let page = page(world, &context, &query).await;
        assert!(page.items.len() <= query.limit.unwrap_or(limits::PAGE_DEFAULT));
        items.extend(page.items);
        match page.next_cursor {
            Some(cursor) => query.cursor = Some(cursor),
            None => return items,
        }
    }
    panic!("the list does not end");
}

fn ids(items: &[Value]) -> Vec<&str> {
    items.iter().map(|it| it["event"]["id"].as_str().unwrap()).collect()
}

/// A query of these parameters.
fn query(parameters: &Value) -> EventQuery {
    serde_json::from_value(parameters.clone()).unwrap()
}

/// Whether an event is expected in a list.
type Judge<'a> = &'a dyn Fn(&Sent) -> bool;

#[tokio::test]
async fn every_filter_gives_what_was_sent_in_pages_of_any_size() {
    let world = World::start().await;
    let sent = history(&world).await;
    let globex = world.engine.ops.get_customer(&world.context(), "globex").await.unwrap();
    let middle_ms = sent[sent.len() / 2].stamp_ms;
    let start = Timestamp::from_ms(START_MS).to_string();
    let middle = Timestamp::from_ms(middle_ms).to_string();
    let late = |it: &Sent| it.time_ms < START_MS;
    let cases: [(Value, Judge<'_>); 14] = [
        (json!({}), &|_| true),
        (json!({"customer": "acme"}), &|it| it.is("subject", "acme")),
        (json!({"customer": globex.id.to_string()}), &|it| it.is("subject", "globex")),
        (json!({"type": "nobody.measures"}), &|it| it.is("type", "nobody.measures")),
        (json!({"subject": "hooli"}), &|it| it.is("subject", "hooli")),
        (json!({"source": "us"}), &|it| it.is("source", "us")),
        (json!({"id": "7-2"}), &|it| it.is("id", "7-2")),
        (json!({"id": "7-9"}), &|_| false),
        (json!({"from": middle}), &|it| it.time_ms >= middle_ms),
        (json!({"to": middle}), &|it| it.time_ms < middle_ms),
        (json!({"from": start, "to": start}), &|_| false),
        (json!({"counted": true}), &|it| it.counted),
        (json!({"counted": false}), &|it| !it.counted),
        (json!({"counted": false, "customer": "initech", "to": start}), &|it| {
            !it.counted && it.is("subject", "initech") && late(it)
        }),
    ];
    let mut empty = 0;
    for (parameters, wanted) in cases {
        let expected: Vec<&Sent> = sent.iter().rev().filter(|it| wanted(it)).collect();
        let expected_ids: Vec<_> =
            expected.iter().map(|it| it.event["id"].as_str().unwrap()).collect();
        for limit in [1, 3, 1000] {
            let query = EventQuery { limit: Some(limit), ..query(&parameters) };
            let items = list(&world, query).await;
            assert_eq!(ids(&items), expected_ids, "{parameters} by {limit}");
            for (item, sent) in items.iter().zip(&expected) {
                check(item, sent);
            }
        }
        empty += u32::from(expected.is_empty());
    }
    assert_eq!(empty, 2, "the others find something");
}

/// Everything that is said of one event.
#[track_caller]
fn check(item: &Value, sent: &Sent) {
    let at = |ms| Timestamp::from_ms(ms).to_string();
    assert_eq!(item["event"], sent.event);
    assert_eq!(item["accepted_at"], at(sent.stamp_ms), "{item}");
    assert_eq!(item["time"], at(sent.time_ms), "{item}");
    assert!(item["customer"].as_str().unwrap().starts_with("cus_"), "{item}");
    assert_eq!(item["counted"], sent.counted, "{item}");
    let reasons = json!([{"meter": "tokens", "code": "value_not_numeric"}]);
    let expected = if sent.counted { None } else { Some(&reasons) };
    assert_eq!(item.get("uncounted"), expected, "{item}");
}

#[tokio::test]
async fn pages_go_on_where_they_ended_while_events_arrive() {
    let mut world = World::start().await;
    let sent = history(&world).await;
    for counted in [None, Some(true), Some(false)] {
        let mut query = EventQuery { limit: Some(7), counted, ..EventQuery::default() };
        let mut found = Vec::new();
        let before = list(&world, query.clone()).await;
        for pages in 0.. {
            assert!(pages < MOST_PAGES, "the list does not end");
            let page = page(&world, &world.context(), &query).await;
            found.extend(page.items);
            for subject in ["acme", "globex", "initech"] {
                // At the very moment of the newest event that has been shown, and later.
                let events =
                    [world.event(subject, &json!(1)), world.event(subject, &json!("many"))];
                assert_eq!(world.send(&events).await.unwrap().accepted, 2);
                world.clock.advance(Duration::from_millis(1));
            }
            let Some(cursor) = page.next_cursor else { break };
            query.cursor = Some(cursor);
        }
        assert_eq!(ids(&found), ids(&before), "counted: {counted:?}");
        assert!(found.len() > 14 && before.len() >= sent.len() / 5, "{}", before.len());
    }
}

#[tokio::test]
async fn one_moment_on_several_partitions_is_cut_anywhere() {
    let mut world = World::start().await;
    for _ in 0..3 {
        let events: Vec<Value> = SUBJECTS.iter().map(|it| world.event(it, &json!(1))).collect();
        assert_eq!(world.send(&events).await.unwrap().accepted, SUBJECTS.len() as u64);
    }
    let whole = list(&world, query(&json!({"limit": 1000}))).await;
    let mut sorted = ids(&whole);
    sorted.sort_unstable();
    sorted.dedup();
    assert_eq!(sorted.len(), 3 * SUBJECTS.len());
    for limit in 1..=whole.len() {
        let items = list(&world, query(&json!({"limit": limit}))).await;
        assert_eq!(ids(&items), ids(&whole), "by {limit}");
    }
}

/// Whether a commit that failed like this is in the list, before and after it is sent again.
async fn check_fault(fault: Fault, is_kept: bool) {
    let mut world = World::start().await;
    world.small_company(None).await;
    world.until_ready().await;
    let events = [
        event("good", "acme", &json!(1)),
        event("bad", "acme", &json!("many")),
        event("worse", "globex", &json!(null)),
    ];
    let uncounted = || query(&json!({"counted": false}));
    // Both customers may be on one partition; one commit each if they are not.
    world.store.plan(Some(Lane::Log), fault, 2);
    assert_eq!(world.send(&events).await, Err(IngestError::RetrySameIds), "{fault:?}");
    world.store.clear_plan();
    world.until_ready().await;
    let sorted = |items: &[Value]| {
        let mut ids: Vec<String> = ids(items).into_iter().map(str::to_owned).collect();
        ids.sort();
        ids
    };
    let (all, bad): (&[&str], &[&str]) =
        if is_kept { (&["bad", "good", "worse"], &["bad", "worse"]) } else { (&[], &[]) };
    assert_eq!(sorted(&list(&world, EventQuery::default()).await), all, "{fault:?}");
    assert_eq!(sorted(&list(&world, uncounted()).await), bad, "{fault:?}");
    world.send(&events).await.unwrap();
    world.crash().await;
    let items = list(&world, EventQuery::default()).await;
    assert_eq!(sorted(&items), ["bad", "good", "worse"], "{fault:?}");
    assert_eq!(sorted(&list(&world, uncounted()).await), ["bad", "worse"], "{fault:?}");
}

#[tokio::test]
async fn a_commit_that_fails_is_not_listed() {
    check_fault(Fault::FailBefore, false).await;
}

#[tokio::test]
async fn a_commit_of_unknown_outcome_is_listed_once_if_it_was_made() {
    check_fault(Fault::CommitThenUnknown, true).await;
}

#[tokio::test]
async fn a_commit_of_unknown_outcome_that_was_not_made_is_not_listed() {
    check_fault(Fault::LoseThenUnknown, false).await;
}

#[tokio::test]
async fn an_environment_sees_its_own_events_only() {
    let world = World::start().await;
    let sent = history(&world).await;
    let caller = world.engine.ops.authenticate(&world.sandbox).unwrap();
    let sandbox = Context { caller, ..world.context() };
    let all = EventQuery { limit: Some(1000), ..EventQuery::default() };
    let acme = world.engine.ops.get_customer(&world.context(), "acme").await.unwrap();
    assert_eq!(page(&world, &sandbox, &all).await.items, Vec::<Value>::new());
    let body = Bytes::from(event("other", "acme", &json!("many")).to_string());
    let answer = world.engine.ingest.accept(sandbox.environment(), body, Mode::Single).await;
    assert_eq!(answer.unwrap().accepted, 1);
    for counted in [None, Some(true)] {
        let query = EventQuery { counted, ..all.clone() };
        // No meter of the sandbox measures it.
        assert_eq!(ids(&page(&world, &sandbox, &query).await.items), ["other"]);
    }
    let of_acme = EventQuery { customer: Some(acme.id.to_string()), ..all.clone() };
    assert_eq!(page(&world, &sandbox, &of_acme).await.items, Vec::<Value>::new());
    let uncounted = EventQuery { counted: Some(false), ..all.clone() };
    assert_eq!(page(&world, &sandbox, &uncounted).await.items, Vec::<Value>::new());
    assert_eq!(list(&world, all).await.len(), sent.len());
}

#[tokio::test]
async fn a_meter_is_named_by_its_key_while_it_exists() {
    let mut world = World::start().await;
    let meter = json!({"key": "calls", "name": "Calls", "event_type": "call",
        "aggregation": "sum", "value_property": "$.calls"});
    let meter = super::world::request(&meter);
    let ops = world.engine.ops.clone();
    let meter = ops.create_meter(&world.context(), meter).await.unwrap();
    let mut event = world.event("acme", &json!(1));
    event["type"] = json!("call");
    world.send(&[event]).await.unwrap();
    let named = async || {
        let items = list(&world, EventQuery::default()).await;
        assert_eq!(items[0]["uncounted"][0]["code"], "value_missing");
        items[0]["uncounted"][0]["meter"].as_str().unwrap().to_owned()
    };
    assert_eq!(named().await, "calls");
    ops.delete_meter(&world.context(), "calls").await.unwrap();
    assert_eq!(named().await, meter.id.to_string());
}

#[tokio::test]
async fn a_customer_that_nobody_knows_is_refused_by_key_and_empty_by_id() {
    let world = World::start().await;
    world.small_company(None).await;
    let of = |customer: &str| query(&json!({"customer": customer}));
    let refused = world.engine.ops.list_events(&world.context(), &of("nobody")).await;
    assert_eq!(refused.unwrap_err().code, ProblemCode::CustomerNotFound);
    let stranger = "cus_01K0000000000000000000000A";
    assert_eq!(list(&world, of(stranger)).await, Vec::<Value>::new());
}
