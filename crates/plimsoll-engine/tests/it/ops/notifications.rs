//! Notifications: found by what they are about, shown with what became of them, sent again.

use bytes::Bytes;
use plimsoll_core::{
    ids::{ChannelId, CustomerId, DeliveryId, FeatureId, NotificationId, RuleId},
    time::Timestamp,
};
use plimsoll_engine::ops::problem::ProblemCode;
use plimsoll_store::{
    Batch, Lane,
    attempt::AttemptRow,
    attempt::{self, AttemptResult},
    delivery::{self, DeliveryRow, DeliveryState},
    notification::{self, NotificationRow},
};
use serde_json::{Value, json};

use super::world::{User, World, channel_of, code, id};

/// Something that happened in minute `minute` of the test's day.
struct Happened {
    minute: i64,
    kind: &'static str,
    customer: CustomerId,
    rule: RuleId,
    channel: ChannelId,
    state: DeliveryState,
}

const FEATURE: FeatureId = FeatureId::from_parts(1, 1);
const ACME: CustomerId = CustomerId::from_parts(1, 1);
const RULE: RuleId = RuleId::from_parts(1, 1);

fn at(minute: i64) -> Timestamp {
    let begin: Timestamp = "2026-03-01T00:00:00Z".parse().unwrap();
    begin.plus_ms(minute * 60_000)
}

async fn happen(world: &World, user: &User, it: &Happened) -> NotificationId {
    let time = at(it.minute);
    let ms = time.as_ms() as u64;
    let id = NotificationId::from_parts(ms, 1);
    let delivery = DeliveryId::from_parts(ms, 1);
    let attempted = it.state != DeliveryState::Pending;
    let mut statements = notification::insert(vec![NotificationRow {
        id,
        identity: Bytes::from(id.to_string()),
        environment: user.environment(),
        r#type: it.kind.to_owned(),
        edge: "crossed".to_owned(),
        customer: Some(it.customer),
        feature: Some(FEATURE),
        rule: Some(it.rule),
        reason: None,
        created_at: time,
        ordinal: it.minute,
        doc: Bytes::from(format!(r#"{{"id":"{id}","n":1.50}}"#)),
        rule_snapshot: Some(Bytes::from_static(br#"{"name":"then"}"#)),
    }]);
    statements.extend(delivery::insert(vec![DeliveryRow {
        id: delivery,
        notification: id,
        environment: user.environment(),
        channel: it.channel,
        customer: Some(it.customer),
        n: 1,
        state: DeliveryState::Pending,
        attempts: 0,
        next_attempt_at: Some(time),
        ordinal: it.minute,
        format: "plimsoll@1".to_owned(),
        error: None,
        created_at: time,
        updated_at: time,
    }]));
    if attempted {
        statements.extend(attempt::record(vec![AttemptResult {
            attempt: AttemptRow {
                delivery,
                n: 1,
                at: time,
                status: Some(200),
                duration_ms: 3,
                error: None,
                response_body: Some(Bytes::from_static(b"ok \xff")),
            },
            state: it.state,
            next_attempt_at: None,
            updated_at: time,
        }]));
    }
    world.deps.store.commit(Batch::new(Lane::Log, statements)).await.unwrap();
    id
}

const THRESHOLD: &str = "entitlements.balance.threshold";
const REACHED: &str = "entitlement.limit.reached";

#[tokio::test]
async fn they_are_found_by_what_they_are_about() {
    let world = World::new().await;
    let user = &world.live;
    let one: ChannelId = channel_of(user, "one").await.parse().unwrap();
    let two: ChannelId = channel_of(user, "two").await.parse().unwrap();
    let other = CustomerId::from_parts(1, 2);
    let rule = RuleId::from_parts(1, 2);
    let success = DeliveryState::Success;
    let all = [
        Happened {
            minute: 0,
            kind: THRESHOLD,
            customer: ACME,
            rule: RULE,
            channel: one,
            state: success,
        },
        Happened { minute: 1, kind: REACHED, customer: ACME, rule, channel: two, state: success },
        Happened {
            minute: 2,
            kind: THRESHOLD,
            customer: other,
            rule: RULE,
            channel: two,
            state: DeliveryState::Pending,
        },
    ];
    let mut ids = Vec::new();
    for it in &all {
        ids.push(happen(&world, user, it).await.to_string());
    }
    let cases = [
        (String::new(), vec![2, 1, 0]),
        (format!("customer={ACME}"), vec![1, 0]),
        (format!("feature={FEATURE}"), vec![2, 1, 0]),
        (format!("type={REACHED}"), vec![1]),
        (format!("rule={RULE}&customer={ACME}"), vec![0]),
        (format!("channel={two}"), vec![2, 1]),
        (format!("channel={two}&state=PENDING"), vec![2]),
        ("state=SUCCESS".to_owned(), vec![1, 0]),
        (format!("from={}", at(1)), vec![2, 1]),
        (format!("to={}", at(1)), vec![0]),
        ("limit=2".to_owned(), vec![2, 1]),
    ];
    for (query, expected) in cases {
        let found: Vec<_> =
            user.items(&format!("/notifications?{query}")).await.iter().map(id).collect();
        let expected: Vec<_> = expected.into_iter().map(|it: usize| ids[it].clone()).collect();
        assert_eq!(found, expected, "{query}");
    }
    assert!(world.sandbox.items("/notifications").await.is_empty());
    let foreign = world.sandbox.get(&format!("/notifications/{}", ids[0])).await;
    assert_eq!(code(foreign), Some(ProblemCode::NotFound));
}

#[tokio::test]
async fn one_is_shown_with_its_deliveries_and_attempts() {
    let world = World::new().await;
    let channel: ChannelId = channel_of(&world.live, "ops").await.parse().unwrap();
    let happened = Happened {
        minute: 0,
        kind: THRESHOLD,
        customer: ACME,
        rule: RULE,
        channel,
        state: DeliveryState::Success,
    };
    let ntf = happen(&world, &world.live, &happened).await;
    let shown = world.live.get(&format!("/notifications/{ntf}")).await.unwrap();
    assert_eq!(shown["type"], THRESHOLD);
    assert_eq!(shown["rule"], json!({"name": "then"}));
    assert_eq!(shown["payload"], json!({"id": ntf.to_string(), "n": 1.50}));
    assert_eq!(shown["created_at"], "2026-03-01T00:00:00Z");
    let delivery = &shown["deliveries"][0];
    assert_eq!((&delivery["state"], &delivery["n"]), (&json!("SUCCESS"), &json!(1)));
    assert_eq!(delivery["channel"], channel.to_string());
    let attempt = json!({"at": "2026-03-01T00:00:00Z", "status": 200, "duration_ms": 3,
        "error": null, "response_body": "ok \u{fffd}"});
    assert_eq!(delivery["attempts"], json!([attempt]));
}

#[tokio::test]
async fn one_can_be_sent_again() {
    let world = World::new().await;
    let user = &world.live;
    let old = channel_of(user, "old").await;
    let new = channel_of(user, "new").await;
    let happened = Happened {
        minute: 0,
        kind: THRESHOLD,
        customer: ACME,
        rule: RULE,
        channel: old.parse().unwrap(),
        state: DeliveryState::Success,
    };
    let ntf = happen(&world, user, &happened).await;
    let path = format!("/notifications/{ntf}/resend");
    let deliveries = |shown: &Value| {
        let deliveries = shown["deliveries"].as_array().unwrap().clone();
        let part = |it: &Value| {
            let text = |name: &str| it[name].as_str().unwrap().to_owned();
            (text("channel"), it["n"].as_u64().unwrap(), text("state"))
        };
        let mut parts: Vec<_> = deliveries.iter().map(part).collect();
        parts.sort();
        parts
    };
    let expected = |mut parts: Vec<(&str, u64, &str)>| {
        parts.sort_unstable();
        let own = |(channel, n, state): (&str, _, &str)| (channel.to_owned(), n, state.to_owned());
        parts.into_iter().map(own).collect::<Vec<_>>()
    };
    let shown = user.post(&path, json!({})).await.unwrap();
    let mut all = vec![(old.as_str(), 1, "SUCCESS"), (old.as_str(), 2, "PENDING")];
    assert_eq!(deliveries(&shown), expected(all.clone()));
    let shown = user.post(&path, json!({"channel": new})).await.unwrap();
    all.push((&new, 1, "PENDING"));
    assert_eq!(deliveries(&shown), expected(all.clone()));
    user.patch(&format!("/channels/{new}"), json!({"disabled": true})).await.unwrap();
    let shown = user.post(&path, json!({"channel": new})).await.unwrap();
    all.push((&new, 2, "FAILED"));
    assert_eq!(deliveries(&shown), expected(all));

    let offered = world.offered.0.lock().unwrap();
    let body = format!(r#"{{"id":"{ntf}","n":1.50}}"#);
    let offered: Vec<_> =
        offered.iter().map(|(it, body)| (it.channel.to_string(), it.n, body.clone())).collect();
    assert_eq!(offered, [(old, 2, Bytes::from(body.clone())), (new, 1, Bytes::from(body))]);
}

#[tokio::test]
async fn what_went_nowhere_needs_a_channel_to_be_sent_again() {
    let world = World::new().await;
    let gone = ChannelId::from_parts(1, 1);
    let happened = Happened {
        minute: 0,
        kind: THRESHOLD,
        customer: ACME,
        rule: RULE,
        channel: gone,
        state: DeliveryState::Failed,
    };
    let ntf = happen(&world, &world.live, &happened).await;
    let path = format!("/notifications/{ntf}/resend");
    assert_eq!(code(world.live.post(&path, json!({})).await), Some(ProblemCode::MissingField));
    let foreign = channel_of(&world.sandbox, "n").await;
    let refused = world.live.post(&path, json!({"channel": foreign})).await;
    assert_eq!(code(refused), Some(ProblemCode::ChannelNotFound));
}
