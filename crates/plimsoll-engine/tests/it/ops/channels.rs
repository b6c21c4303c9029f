//! Channels: what is shown, what is sealed, and what the dispatcher gets.

use std::time::Duration;

use plimsoll_engine::delivery::dispatcher::ChannelEvents;
use serde_json::json;

use super::world::{World, channel_of, id};

#[tokio::test]
async fn a_secret_is_shown_once_and_sealed_at_rest() {
    let world = World::new().await;
    let body = json!({"type": "webhook", "name": "ops", "url": "https://example.com/hooks",
        "headers": {"Authorization": "Bearer hunter2", "X-Team": "blue"}});
    let made = world.live.post("/channels", body).await.unwrap();
    let secret = made["secret"].as_str().unwrap().to_owned();
    assert!(secret.starts_with("whsec_"), "{secret}");
    let shown = world.live.get(&format!("/channels/{}", id(&made))).await.unwrap();
    assert_eq!(shown.get("secret"), None);
    assert_eq!(shown["headers"], json!({"authorization": "***", "x-team": "blue"}));
    let stored = world.stored_text();
    assert!(stored.contains("https://example.com/hooks"));
    assert!(!stored.contains(&secret["whsec_".len()..]));
    assert!(!stored.contains("hunter2"));
    let world = world.reopen().await;
    let channel = world.channels.get(id(&made).parse().unwrap()).unwrap();
    let header = |name: &str| channel.headers.iter().find(|(it, _)| it == name).unwrap().1.clone();
    assert_eq!(header("authorization"), "Bearer hunter2");
    assert_eq!(channel.secrets.len(), 1);
    assert_eq!(channel.environment, world.live.environment());
}

#[tokio::test]
async fn a_supplied_secret_is_the_one_that_signs() {
    let world = World::new().await;
    let given = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let body = json!({"type": "webhook", "name": "n", "url": "https://example.com/",
        "secret": given});
    let made = world.live.post("/channels", body).await.unwrap();
    assert_eq!(made["secret"], given);
}

#[tokio::test]
async fn the_old_secret_signs_for_a_day_beside_the_new_one() {
    let world = World::new().await;
    let channel = channel_of(&world.live, "ops").await;
    let path = format!("/channels/{channel}/rotate-secret");
    let first = world.live.post(&path, json!({})).await.unwrap();
    assert!(first["secret"].as_str().unwrap().starts_with("whsec_"));
    let signing = |world: &World| {
        use plimsoll_engine::{delivery::signature::sign, deps::Clock as _};
        let channel = world.channels.get(channel.parse().unwrap()).unwrap();
        sign(&channel.secrets, world.clock.now(), "msg", "0", b"{}").split(' ').count()
    };
    assert_eq!(signing(&world), 2);
    world.clock.advance(Duration::from_hours(12));
    world.live.post(&path, json!({})).await.unwrap();
    assert_eq!(signing(&world), 3);
    world.clock.advance(Duration::from_hours(12));
    assert_eq!(signing(&world), 2, "the oldest has had its day");
    world.clock.advance(Duration::from_hours(12));
    assert_eq!(signing(&world), 1);
}

#[tokio::test]
async fn a_change_reaches_the_dispatcher_at_once() {
    let world = World::new().await;
    let channel = channel_of(&world.live, "ops").await;
    let path = format!("/channels/{channel}");
    let registered = || world.channels.get(channel.parse().unwrap());
    assert_eq!(registered().unwrap().url.as_str(), "https://example.com/hooks");
    let patch = json!({"url": "https://10.1.2.3/", "disabled": true, "rate_limit": 5,
        "headers": {"x-a": "1"}});
    world.live.patch(&path, patch).await.unwrap();
    let changed = registered().unwrap();
    assert_eq!(changed.url.as_str(), "https://10.1.2.3/", "an allowed network");
    assert!(changed.disabled);
    assert_eq!(changed.rate_limit.map(u32::from), Some(5));
    assert_eq!(changed.headers.len(), 1);
    let patch = json!({"disabled": false, "rate_limit": null, "headers": null});
    world.live.patch(&path, patch).await.unwrap();
    let changed = registered().unwrap();
    assert!(!changed.disabled && changed.rate_limit.is_none() && changed.headers.is_empty());
    world.live.delete(&path).await.unwrap();
    assert!(registered().is_none());
}

#[tokio::test]
async fn a_channel_whose_receiver_is_gone_is_disabled() {
    let world = World::new().await;
    let channel = channel_of(&world.live, "ops").await;
    world.ops.gone(channel.parse().unwrap()).await;
    let shown = world.live.get(&format!("/channels/{channel}")).await.unwrap();
    assert_eq!(shown["disabled"], true);
    assert!(world.channels.get(channel.parse().unwrap()).unwrap().disabled);
    let entry = &world.live.items("/audit").await[0];
    assert_eq!(
        (&entry["action"], &entry["actor"]),
        (&json!("channel.disable"), &json!("dispatcher"))
    );
}
