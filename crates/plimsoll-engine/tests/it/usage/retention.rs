//! Retention: what is old goes, and everything that is read afterwards still comes out right.

use std::time::Duration;

use plimsoll_core::{ids::EntitlementId, time::Timestamp};
use plimsoll_engine::{
    deps::Clock as _,
    ops::{event::EventQuery, rule::backtest::BacktestRule},
    retention::{self, RetentionError},
};
use plimsoll_store::{Lane, archive, base, faulty::Fault, log};
use serde_json::json;

use super::world::{World, event, request};

const DAY: Duration = Duration::from_hours(24);
const KEEP_MS: i64 = 90 * 24 * 60 * 60 * 1000;

impl World {
    async fn prune(&self) -> Result<u64, RetentionError> {
        retention::prune(&*self.store, self.clock.now(), KEEP_MS).await
    }

    /// Stops the engine, which leaves a checkpoint without a tail, and starts another one.
    async fn restart(&mut self) {
        self.engine.stop_without_store().await;
        self.crash().await;
    }

    /// First and last position of each partition's log.
    async fn log_ends(&self) -> Vec<(Option<i64>, i64)> {
        let mut ends = Vec::new();
        for partition in 0..2 {
            let first = log::first_position(&*self.store, partition).await.unwrap();
            let last = log::last_position(&*self.store, partition).await.unwrap();
            ends.push((first, last));
        }
        ends
    }

    async fn closed_windows(&self, entitlement: EntitlementId) -> usize {
        let (from, to) = (Timestamp::MIN, Timestamp::MAX);
        archive::windows_of(&*self.store, entitlement, from, to, 100).await.unwrap().len()
    }

    async fn entitlement(&self, customer: &str) -> EntitlementId {
        let ops = &self.engine.ops;
        let found = ops.get_entitlement(&self.context(), customer, "tokens").await.unwrap();
        found.id
    }
}

/// Two customers who use something, and rules that tell of it; then a day passes.
async fn a_first_day() -> World {
    let mut world = World::start().await;
    world.small_company(Some("100")).await;
    let channel = world.channel(None).await;
    world.rule(&["20", "50"], &json!({"channels": [channel]})).await;
    world.uses("acme", 30).await;
    world.uses("globex", 60).await;
    assert_eq!(world.prune().await.unwrap(), 0);
    world.clock.advance(DAY);
    world
}

#[tokio::test]
async fn what_is_old_goes_and_the_rest_still_verifies() {
    let mut world = a_first_day().await;
    let ends = world.log_ends().await;
    world.uses("acme", 5).await;
    // Ninety days later the first day is old, the days after are not.
    world.clock.advance(DAY * 90);
    world.uses("globex", 60).await;
    world.uses("acme", 4).await;
    world.restart().await;
    let acme = world.entitlement("acme").await;
    assert_eq!(world.closed_windows(acme).await, 1);
    let pruned = world.prune().await.unwrap();
    assert_eq!(pruned, ends.iter().map(|it| it.1 as u64).sum::<u64>());
    let left = world.log_ends().await;
    // Both customers may live in one partition; then nothing is left of the other's log.
    assert!(left.iter().any(|it| it.0.is_some()));
    for ((first, _), (_, was)) in left.into_iter().zip(ends) {
        assert!(first.is_none_or(|it| it == was + 1), "{first:?} after {was}");
    }
    // A second pass finds nothing more.
    assert_eq!(world.prune().await.unwrap(), 0);

    let verified = world.verified().await;
    assert_eq!(verified.differences, []);
    assert_eq!(verified.complete_from, Some("2026-03-10T12:00:00Z".parse().unwrap()));
    world.restart().await;
    assert_eq!((world.usage("acme").await, world.usage("globex").await), ("4".into(), "60".into()));
    world.uses("acme", 17).await;
    let mut late = event("late", "globex", &json!(50));
    late["time"] = json!("2026-05-31T00:00:00Z");
    world.send(&[late]).await.unwrap();
    world.engine.stop_without_store().await;
    let verified = world.verified().await;
    assert_eq!(verified.differences, []);
    assert!(verified.notifications >= 3, "{verified:?}");
}

#[tokio::test]
async fn listing_events_says_since_when_it_is_complete() {
    let mut world = a_first_day().await;
    let query = EventQuery::default();
    let whole = world.engine.ops.list_events(&world.context(), &query).await.unwrap();
    assert_eq!((whole.items.len(), whole.complete_from), (2, None));
    world.clock.advance(DAY * 90);
    world.uses("acme", 45).await;
    world.restart().await;
    world.prune().await.unwrap();
    let pruned = world.engine.ops.list_events(&world.context(), &query).await.unwrap();
    let expected = Some("2026-03-10T12:00:00Z".parse().unwrap());
    assert_eq!((pruned.items.len(), pruned.complete_from), (1, expected));
}

#[tokio::test]
async fn a_back_test_says_from_when_on_it_knows() {
    let mut world = a_first_day().await;
    world.clock.advance(DAY * 90);
    world.uses("acme", 45).await;
    world.restart().await;
    world.prune().await.unwrap();
    let channel = world.channel(None).await;
    let rule = json!({"name": "tried", "type": "entitlements.balance.threshold",
        "features": ["tokens"], "channels": [channel],
        "lines": [{"kind": "usage_percentage", "value": "40"}]});
    for (from, complete) in [("2026-03-01T00:00:00Z", false), ("2026-03-11T00:00:00Z", true)] {
        let trial: BacktestRule =
            request(&json!({"rule": rule, "from": from, "to": "2027-01-01T00:00:00Z"}));
        let told = world.engine.ops.backtest_rule(&world.context(), trial).await.unwrap();
        assert_eq!(told.complete, complete, "{from}");
        assert_eq!(told.complete_from, Some("2026-03-10T12:00:00Z".parse().unwrap()));
        let april: Timestamp = "2026-04-01T00:00:00Z".parse().unwrap();
        let june = told.items.iter().filter(|it| it.at > april);
        let june: Vec<_> = june.map(|it| it.value.usage.to_string()).collect();
        assert_eq!(june, ["45"]);
    }
}

#[tokio::test]
async fn nothing_goes_before_the_checkpoint_has_it() {
    let mut world = a_first_day().await;
    world.clock.advance(DAY * 90);
    // No checkpoint was written yet: a start would need every row.
    let before = world.log_ends().await;
    assert_eq!(world.prune().await.unwrap(), 0);
    assert_eq!(world.log_ends().await, before);
    world.restart().await;
    assert!(world.prune().await.unwrap() > 0);
}

#[tokio::test]
async fn a_pass_that_fails_anywhere_leaves_a_log_that_can_be_read() {
    let mut world = a_first_day().await;
    world.clock.advance(DAY * 90);
    world.uses("acme", 5).await;
    world.engine.stop_without_store().await;
    let mut failures = 0;
    // Each pass gets one commit further than the one before.
    for commits in 0.. {
        world.store.plan(Some(Lane::Pruning), Fault::Pass, commits);
        world.store.plan(Some(Lane::Pruning), Fault::FailBefore, 1);
        let pruned = world.prune().await;
        world.store.clear_plan();
        assert_eq!(world.verified().await.differences, [], "after {commits} commits");
        if pruned.is_ok() {
            break;
        }
        failures += 1;
    }
    assert!(failures > 4, "{failures}");
    for partition in 0..2 {
        assert!(base::newest(&*world.store, partition).await.unwrap().is_some());
    }
    world.crash().await;
    assert_eq!(world.usage("acme").await, "5");
}
