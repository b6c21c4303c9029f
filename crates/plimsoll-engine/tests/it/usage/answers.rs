//! What the answer says of each event (design 5.1), and what is refused as a whole.

use bytes::Bytes;
use plimsoll_core::{limits, time::Timestamp};
use plimsoll_engine::ingest::{IngestError, Mode};
use serde_json::{Value, json};

use super::world::{START_MS, World, event, request};

fn with(mut event: Value, name: &str, value: Value) -> Value {
    event[name] = value;
    event
}

fn at(offset_ms: i64) -> Value {
    json!(Timestamp::from_ms(START_MS + offset_ms).to_string())
}

#[tokio::test]
async fn half_a_batch_may_be_wrong() {
    let world = World::start().await;
    world.small_company(Some("1000")).await;
    let good = |id: &str| event(id, "acme", &json!(5));
    let hour = limits::EVENT_TIME_AHEAD_MS;
    let events = [
        good("1"),
        with(good("2"), "time", at(hour + 1)),
        with(good("3"), "time", at(hour)),
        with(good("4"), "time", at(-limits::DEDUPE_WINDOW_MS - 1)),
        with(good("5"), "id", json!(5)),
        json!("no event"),
        good("1"),
        with(good("6"), "specversion", json!("0.3")),
    ];
    let answer = world.send(&events).await.unwrap();
    let codes: Vec<(u32, &str)> =
        answer.rejected.iter().map(|it| (it.index, it.code.as_ref())).collect();
    let expected = [
        (1, "event_time_in_future"),
        (3, "event_time_too_old"),
        (4, "attribute_not_a_string"),
        (5, "event_not_an_object"),
        (7, "specversion_unsupported"),
    ];
    assert_eq!(codes, expected);
    assert_eq!((answer.accepted, answer.duplicates), (2, 1));
    assert_eq!(world.usage("acme").await, "10");
}

#[tokio::test]
async fn what_cannot_be_counted_is_stored_and_moves_nothing() {
    let mut world = World::start().await;
    world.small_company(Some("1000")).await;
    for tokens in [json!("NaN"), json!("many"), json!(null), json!([1]), json!({}), json!(true)] {
        let event = world.event("acme", &tokens);
        let answer = world.send(&[event]).await.unwrap();
        assert_eq!((answer.accepted, answer.rejected.len()), (1, 0), "{tokens}");
    }
    let body = r#"{"specversion":"1.0","id":"e400","source":"test","type":"llm.request",
        "subject":"acme","data":{"tokens":1e400}}"#;
    let environment = world.context().environment();
    let ingest = &world.engine.ingest;
    let answer = ingest.accept(environment, Bytes::from(body), Mode::Single).await.unwrap();
    assert_eq!(answer.accepted, 1);
    world.uses("acme", 7).await;
    assert_eq!(world.usage("acme").await, "7");
}

/// Whether an error is the expected one.
type Judge<'a> = &'a dyn Fn(&IngestError) -> bool;

#[tokio::test]
async fn bodies_that_are_refused_as_a_whole() {
    let world = World::start().await;
    let environment = world.context().environment();
    let one = event("1", "acme", &json!(1)).to_string();
    let many = format!("[{}]", vec![one.as_str(); limits::BATCH_EVENTS + 1].join(","));
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let malformed = |it: &IngestError| matches!(it, IngestError::Malformed { .. });
    let refused: [(&str, Bytes, Mode, Judge<'_>); 9] = [
        ("nothing", Bytes::new(), Mode::Either, &malformed),
        ("no event", Bytes::from("[]"), Mode::Either, &|it| *it == IngestError::Empty),
        ("too many", Bytes::from(many), Mode::Either, &|it| *it == IngestError::TooMany),
        ("half", Bytes::from(one[..40].to_owned()), Mode::Either, &malformed),
        ("more behind", Bytes::from(format!("{one} {one}")), Mode::Either, &malformed),
        ("no UTF-8", Bytes::from(&b"[\"\xff\"]"[..]), Mode::Either, &malformed),
        ("nested", Bytes::from(deep), Mode::Either, &malformed),
        ("array as single", Bytes::from(format!("[{one}]")), Mode::Single, &malformed),
        ("single as array", Bytes::from(one.clone()), Mode::Batch, &malformed),
    ];
    for (name, body, mode, is_expected) in refused {
        let error = world.engine.ingest.accept(environment, body, mode).await.unwrap_err();
        assert!(is_expected(&error), "{name}: {error:?}");
    }
    // A body that is refused leaves nothing behind: its id is still new.
    let body = Bytes::from(one);
    let answer = world.engine.ingest.accept(environment, body, Mode::Single).await.unwrap();
    assert_eq!(answer.accepted, 1);
}

#[tokio::test]
async fn unknown_subjects_become_customers_or_are_rejected() {
    let mut world = World::start().await;
    world.small_company(None).await;
    let events = [world.event("newcomer", &json!(3)), world.event("newcomer", &json!(4))];
    assert_eq!(world.send(&events).await.unwrap().accepted, 2);
    let customer = world.engine.ops.get_customer(&world.context(), "newcomer").await.unwrap();
    assert!(customer.provisional);

    let taken = json!({"key": "renamed", "name": "New Inc.", "subjects": ["newcomer"]});
    let taken = world.engine.ops.create_customer(&world.context(), request(&taken)).await.unwrap();
    assert_eq!(taken.id, customer.id);

    let setting = json!({"unknown_subjects": "reject"});
    let setting = request(&setting);
    world.engine.ops.update_environment(&world.context(), setting).await.unwrap();
    let event = world.event("stranger", &json!(1));
    let answer = world.send(&[event]).await.unwrap();
    assert_eq!(answer.rejected[0].code, "unknown_subject");
}

#[tokio::test]
async fn a_deleted_customer_uses_nothing_more() {
    let mut world = World::start().await;
    world.small_company(None).await;
    world.uses("acme", 1).await;
    world.engine.ops.delete_customer(&world.context(), "acme").await.unwrap();
    let events = [world.event("acme", &json!(1)), world.event("globex", &json!(1))];
    let answer = world.send(&events).await.unwrap();
    assert_eq!(answer.accepted, 1);
    assert_eq!(answer.rejected[0].code, "customer_deleted");
}

#[tokio::test]
async fn the_same_new_subject_in_many_requests_is_one_customer() {
    let mut world = World::start().await;
    world.small_company(None).await;
    let events: Vec<Value> = (0..20).map(|_| world.event("flood", &json!(1))).collect();
    let requests = events.iter().map(|it| world.send(std::slice::from_ref(it)));
    let answers = futures_util::future::join_all(requests).await;
    let accepted: u64 = answers.into_iter().map(|it| it.unwrap().accepted).sum();
    assert_eq!(accepted, 20);
    world.entitle("flood", None).await;
    world.uses("flood", 5).await;
    assert_eq!(world.usage("flood").await, "5");
}
