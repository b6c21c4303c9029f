//! API keys and environments: who gets in, what they may do, when it ends.

use std::time::Duration;

use plimsoll_engine::ops::{
    BootstrapError, Scope, environment::EnvironmentKind, problem::ProblemCode,
};
use serde_json::json;

use super::{
    clock::StandingClock,
    world::{BEGIN, World, code, id, open},
};

#[tokio::test]
async fn a_new_store_gets_two_environments_once() {
    let world = World::new().await;
    assert!(world.live.token.starts_with("plm_live_"));
    assert!(world.sandbox.token.starts_with("plm_test_"));
    assert_ne!(world.live.environment(), world.sandbox.environment());
    assert_eq!(world.live.get("/environment").await.unwrap()["name"], "live");
    assert_eq!(world.sandbox.get("/environment").await.unwrap()["kind"], "sandbox");
    assert!(world.ops.bootstrap(None).await.unwrap().is_none());
    let world = world.reopen().await;
    assert!(world.ops.bootstrap(None).await.unwrap().is_none());
}

#[tokio::test]
async fn a_given_key_is_that_of_the_environment_it_names() {
    let cases = [
        ("plm_live_0123456789abcdef", Ok("live")),
        ("plm_test_0123456789abcdef", Ok("sandbox")),
        ("plm_prod_0123456789abcdef", Err(())),
        ("plm_live_short", Err(())),
        ("plm_live_0123456789abcde ", Err(())),
        ("", Err(())),
    ];
    for (key, expected) in cases {
        let directory = tempfile::tempdir().unwrap();
        let clock = StandingClock::at(BEGIN).into();
        let opened = open(directory.path(), &clock).await;
        let keys = opened.ops.bootstrap(Some(key)).await;
        let Ok(name) = expected else {
            assert!(matches!(keys, Err(BootstrapError::InvalidKey)), "{key}");
            continue;
        };
        let keys = keys.unwrap().unwrap();
        let made = [keys.live, keys.sandbox].map(|it| (it.environment.name, it.token));
        assert_eq!(made.iter().find(|(_, token)| token == key).unwrap().0, name);
        assert!(opened.ops.authenticate(key).is_ok());
    }
}

#[tokio::test]
async fn more_environments_can_be_made() {
    let world = World::new().await;
    let made = world.ops.create_environment("staging", EnvironmentKind::Sandbox).await.unwrap();
    assert!(made.token.starts_with("plm_test_"));
    let again = world.ops.create_environment("staging", EnvironmentKind::Live).await;
    assert_eq!(code(again), Some(ProblemCode::KeyInUse));
    let world = world.reopen().await;
    let caller = world.ops.authenticate(&made.token).unwrap();
    assert_eq!(caller.environment, made.environment.id);
    let patch = json!({"unknown_subjects": "reject"});
    let changed = world.live.patch("/environment", patch).await.unwrap();
    let world = world.reopen().await;
    assert_eq!(world.live.get("/environment").await.unwrap(), changed);
    assert_eq!(changed["unknown_subjects"], "reject");
}

#[tokio::test]
async fn a_key_allows_what_its_scopes_say() {
    let world = World::new().await;
    let cases = [
        (json!(["admin"]), [true, true, true, true]),
        (json!(["read"]), [false, true, false, false]),
        (json!(["check", "ingest", "ingest"]), [false, false, true, true]),
    ];
    for (scopes, allowed) in cases {
        let body = json!({"name": "k", "scopes": scopes});
        let made = world.live.post("/api-keys", body).await.unwrap();
        let caller = world.ops.authenticate(made["token"].as_str().unwrap()).unwrap();
        let all = [Scope::Admin, Scope::Read, Scope::Ingest, Scope::Check];
        let got = all.map(|it| caller.require(it).is_ok());
        assert_eq!(got, allowed, "{scopes}");
    }
}

#[tokio::test]
async fn a_token_is_shown_once_and_kept_nowhere() {
    let world = World::new().await;
    let made =
        world.live.post("/api-keys", json!({"name": "k", "scopes": ["read"]})).await.unwrap();
    let token = made["token"].as_str().unwrap().to_owned();
    assert!(token.starts_with("plm_live_") && token.len() > 50, "{token}");
    let shown = world.live.get(&format!("/api-keys/{}", id(&made))).await.unwrap();
    assert_eq!(shown.get("token"), None);
    assert_eq!(shown["hint"], token[..13]);
    let stored = world.stored_text();
    assert!(stored.contains(&id(&made)));
    assert!(!stored.contains(&token[9..]));
}

#[tokio::test]
async fn a_revoked_or_expired_key_works_no_longer() {
    let world = World::new().await;
    let make = |expires_at| {
        let body = json!({"name": "k", "scopes": ["admin"], "expires_at": expires_at});
        world.live.post("/api-keys", body)
    };
    let expiring = make(json!("2026-03-01T13:00:00Z")).await.unwrap();
    let revoked = make(json!(null)).await.unwrap();
    let authenticate = |world: &World, made: &serde_json::Value| {
        code(world.ops.authenticate(made["token"].as_str().unwrap()))
    };
    assert_eq!(authenticate(&world, &expiring), None);
    assert_eq!(authenticate(&world, &revoked), None);
    world.live.delete(&format!("/api-keys/{}", id(&revoked))).await.unwrap();
    assert_eq!(authenticate(&world, &revoked), Some(ProblemCode::Unauthenticated));
    world.clock.advance(Duration::from_hours(1));
    assert_eq!(authenticate(&world, &expiring), Some(ProblemCode::KeyExpired));
    let world = world.reopen().await;
    assert_eq!(authenticate(&world, &revoked), Some(ProblemCode::Unauthenticated));
    assert_eq!(authenticate(&world, &expiring), Some(ProblemCode::KeyExpired));
    assert_eq!(code(world.ops.authenticate("plm_live_")), Some(ProblemCode::Unauthenticated));
}
