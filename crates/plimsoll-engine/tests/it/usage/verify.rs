//! Verification: what an engine stores is what its log gives, whatever happened to it.

use std::time::Duration;

use plimsoll_core::limits;
use plimsoll_engine::replay::verify::{self, Verified};
use plimsoll_store::{Batch, Lane, Statement, Store as _};
use serde_json::json;

use super::world::{World, event};

impl World {
    pub(super) async fn verified(&self) -> Verified {
        verify::verify(&*self.store, None).await.unwrap()
    }

    async fn run(&self, sql: &'static str) {
        let statement = Statement::new("test.tamper", sql, Vec::new());
        self.store.commit(Batch::new(Lane::Control, vec![statement])).await.unwrap();
    }
}

/// Usage in several windows, late events, corrections, duplicates, a crash, and rules that change.
async fn eventful() -> World {
    let mut world = World::start().await;
    world.small_company(Some("100")).await;
    let channel = world.channel(None).await;
    world.rule(&["20", "50"], &json!({"channels": [channel]})).await;
    world.rule(&["30"], &json!({"channels": [channel], "disabled": true})).await;
    for (customer, tokens) in [("acme", 30), ("globex", 55), ("acme", 40), ("acme", -60)] {
        world.uses(customer, tokens).await;
    }
    world.crash().await;
    world.uses("acme", 75).await;
    world.clock.advance(Duration::from_hours(30 * 24));
    world.uses("acme", 25).await;
    let mut late = event("late", "globex", &json!(7));
    late["time"] = json!("2026-03-20T00:00:00Z");
    world.send(&[late]).await.unwrap();
    world.rule(&["90"], &json!({"channels": [channel]})).await;
    world.uses("unknown", 3).await;
    world.engine.stop_without_store().await;
    world
}

#[tokio::test]
async fn what_is_stored_is_what_the_log_gives() {
    let world = eventful().await;
    let verified = world.verified().await;
    assert_eq!(verified.differences, []);
    assert_eq!((verified.total, verified.events, verified.entitlements), (0, 8, 2));
    let told = world.notifications().await;
    assert_eq!(verified.notifications, told.len() as u64);
    assert!(told.iter().any(|it| it["type"] == "entitlements.reset"));
    assert!(told.iter().any(|it| it["reason"] == "rule_disabled"));
}

#[tokio::test]
async fn each_kind_of_damage_is_named() {
    // What is done, how many differences that makes at least, and what is named.
    let cases: [(&'static str, &str); 9] = [
        ("DELETE FROM closed_window", "closed window of ent_"),
        ("UPDATE closed_window SET window_to = window_to", ""),
        ("UPDATE cell SET from_at = from_at + 3600000", "hour 2026-"),
        ("DELETE FROM cell_total", "of slice 0"),
        ("UPDATE notification SET reason = 'rule_disabled'", "notification ntf_"),
        ("DELETE FROM delivery", "delivery to chn_"),
        (
            "UPDATE notification SET identity = CAST(x'00' || substr(identity, 2) AS BLOB)",
            "another identity",
        ),
        (
            "UPDATE notification SET type = 'other' WHERE type = 'entitlements.reset'",
            "(entitlements.reset)",
        ),
        ("DELETE FROM notification WHERE edge = 'crossed'", "stored: missing"),
    ];
    let world = eventful().await;
    for (damage, named) in cases {
        world.run("CREATE TABLE kept_w AS SELECT * FROM closed_window").await;
        world.run("CREATE TABLE kept_c AS SELECT * FROM cell").await;
        world.run("CREATE TABLE kept_t AS SELECT * FROM cell_total").await;
        world.run("CREATE TABLE kept_n AS SELECT * FROM notification").await;
        world.run("CREATE TABLE kept_d AS SELECT * FROM delivery").await;
        world.run(damage).await;
        let verified = world.verified().await;
        let texts: Vec<_> = verified.differences.iter().map(ToString::to_string).collect();
        assert_eq!(verified.total == 0, named.is_empty(), "{damage}: {texts:?}");
        assert!(
            named.is_empty() || texts.iter().any(|it| it.contains(named)),
            "{damage}: {texts:?}"
        );
        assert!(texts.len() <= limits::VERIFY_DIFFERENCES);
        for table in ["closed_window", "cell", "cell_total", "notification", "delivery"] {
            world.put_back(table).await;
        }
        assert_eq!(world.verified().await.total, 0, "after {damage}");
    }
}

impl World {
    async fn put_back(&self, table: &str) {
        let kept = match table {
            "closed_window" => "kept_w",
            "cell" => "kept_c",
            "cell_total" => "kept_t",
            "notification" => "kept_n",
            _ => "kept_d",
        };
        let statements = [
            format!("DELETE FROM {table}"),
            format!("INSERT INTO {table} SELECT * FROM {kept}"),
            format!("DROP TABLE {kept}"),
        ];
        let statements = statements.map(|sql| Statement::new("test.put_back", sql, Vec::new()));
        self.store.commit(Batch::new(Lane::Control, statements.to_vec())).await.unwrap();
    }
}
