//! A request with an idempotency key is done once, whatever happens.

use std::time::Duration;

use plimsoll_engine::ops::{
    Begun,
    problem::{Problem, ProblemCode},
};
use serde_json::{Value, json};

use super::{
    partitions::Fault,
    world::{User, World, code},
};

/// What the server does with a request that carries an idempotency key.
async fn keyed(user: &User, key: &str, path: &str, body: &Value) -> Result<(u16, Value), Problem> {
    let text = body.to_string();
    let route = format!("POST {path}");
    match user.ops.begin(&user.caller, &route, path, key, text.as_bytes()).await? {
        Begun::Fresh(token) => {
            let answer = user.send("POST", path, text.as_bytes(), Some(token)).await?;
            Ok((0, answer))
        }
        Begun::Replay { status, body } => Ok((status, serde_json::from_slice(&body).unwrap())),
    }
}

fn meter(key: &str) -> Value {
    json!({"key": key, "event_type": "t", "aggregation": "count"})
}

#[tokio::test]
async fn a_repetition_gets_the_first_answer_even_after_a_restart() {
    let world = World::new().await;
    let (status, first) = keyed(&world.live, "k", "/meters", &meter("m")).await.unwrap();
    assert_eq!(status, 0, "the first one is done");
    let world = world.reopen().await;
    let (status, second) = keyed(&world.live, "k", "/meters", &meter("m")).await.unwrap();
    assert_eq!((status, &second), (201, &first));
    assert_eq!(world.live.items("/meters").await.len(), 1);

    let reused = keyed(&world.live, "k", "/meters", &meter("n")).await;
    assert_eq!(code(reused), Some(ProblemCode::IdempotencyKeyReused));
    keyed(&world.live, "k", "/customers", &json!({"key": "c"})).await.unwrap();
    keyed(&world.sandbox, "k", "/meters", &meter("n")).await.unwrap();
}

#[tokio::test]
async fn every_kind_of_change_is_recorded() {
    let world = World::new().await;
    super::world::tokens(&world.live).await;
    let channel = json!({"type": "webhook", "name": "n", "url": "https://example.com/"});
    let entitlement = json!({"feature": "tokens", "type": "metered",
        "usage_period": {"interval": "day"}});
    let cases = [
        ("/customers", json!({"key": "acme", "subjects": ["s"]})),
        ("/customers/acme/entitlements", entitlement),
        ("/channels", channel),
        ("/api-keys", json!({"name": "k", "scopes": ["read"]})),
    ];
    let mut secrets = Vec::new();
    for (path, body) in cases {
        let before = world.live.items(path).await.len();
        let (_, mut first) = keyed(&world.live, "k", path, &body).await.unwrap();
        let (status, second) = keyed(&world.live, "k", path, &body).await.unwrap();
        for name in ["secret", "token"] {
            secrets.extend(first.as_object_mut().unwrap().remove(name));
        }
        assert_eq!((status, second), (201, first), "{path}");
        assert_eq!(world.live.items(path).await.len(), before + 1, "{path}");
    }
    assert_eq!(secrets.len(), 2);
    let stored = world.stored_text();
    for secret in secrets {
        assert!(!stored.contains(secret.as_str().unwrap()), "answers are kept without secrets");
    }
}

#[tokio::test]
async fn a_refusal_is_repeated_and_trouble_is_not() {
    let world = World::new().await;
    let bad = json!({"key": "m", "event_type": "t", "aggregation": "odd"});
    let first = keyed(&world.live, "k", "/meters", &bad).await.unwrap_err();
    let second = keyed(&world.live, "k", "/meters", &bad).await.unwrap_err();
    assert_eq!(first, second);

    *world.partitions.fault.lock().unwrap() = Some(Fault::Unavailable);
    let down = keyed(&world.live, "k2", "/meters", &meter("m")).await;
    assert_eq!(code(down), Some(ProblemCode::Unavailable));
    let (status, _) = keyed(&world.live, "k2", "/meters", &meter("m")).await.unwrap();
    assert_eq!(status, 0, "it is done now");
}

#[tokio::test]
async fn an_answer_that_was_lost_is_found() {
    let world = World::new().await;
    *world.partitions.fault.lock().unwrap() = Some(Fault::UnknownWritten);
    let unknown = keyed(&world.live, "k", "/meters", &meter("m")).await;
    assert_eq!(code(unknown), Some(ProblemCode::Unavailable));
    let (status, found) = keyed(&world.live, "k", "/meters", &meter("m")).await.unwrap();
    assert_eq!((status, &found["key"]), (201, &json!("m")));
}

#[tokio::test]
async fn of_two_at_once_one_waits() {
    let world = World::new().await;
    let begin = || world.ops.begin(&world.live.caller, "POST /x", "/x", "k", b"{}");
    let Begun::Fresh(token) = begin().await.unwrap() else { panic!("nothing was done yet") };
    let second = begin().await.unwrap_err();
    assert_eq!(second.code, ProblemCode::IdempotencyInFlight);
    assert!(second.retry_after_s.is_some());
    drop(token);
    assert!(matches!(begin().await, Ok(Begun::Fresh(_))), "the first one did nothing");
}

#[tokio::test]
async fn after_35_days_a_key_is_forgotten() {
    let world = World::new().await;
    keyed(&world.live, "k", "/meters", &meter("m")).await.unwrap();
    world.clock.advance(Duration::from_hours(34 * 24));
    let reused = keyed(&world.live, "k", "/meters", &meter("n")).await;
    assert_eq!(code(reused), Some(ProblemCode::IdempotencyKeyReused));
    world.clock.advance(Duration::from_hours(2 * 24));
    let (status, _) = keyed(&world.live, "k", "/meters", &meter("n")).await.unwrap();
    assert_eq!(status, 0);
}
