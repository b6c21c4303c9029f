//! A customer `acme` with an entitlement to `tokens`, and short words for what happens to it.

use std::time::Duration;

use plimsoll_core::time::Timestamp;
use plimsoll_engine::ops::{
    Context,
    entitlement::{History, HistoryRequest},
    grant::Grant,
    page::ListRequest,
    problem::Problem,
};
use serde_json::{Value, json};

pub(super) use crate::usage::world::request;
use crate::usage::world::{World, event};

/// 2026-03-10T12:00:00Z, where the clock begins.
pub(super) const NOW: &str = "2026-03-10T12:00:00Z";
pub(super) const HOUR: u64 = 3_600;
pub(super) const DAY: u64 = 24 * HOUR;

pub(super) struct Acme {
    pub(super) world: World,
    sent: u64,
}

impl Acme {
    /// `terms` are laid over a metered entitlement with a yearly period.
    pub(super) async fn entitled(terms: &Value) -> Self {
        let acme = Self::unentitled().await;
        acme.entitle(terms).await.unwrap();
        acme
    }

    /// With an entitlement that allows nothing but what grants allow.
    pub(super) async fn prepaid() -> Self {
        Self::entitled(&json!({"limit": "0"})).await
    }

    pub(super) async fn unentitled() -> Self {
        let world = World::start().await;
        world.until_ready().await;
        let (ops, context) = (&world.engine.ops, world.context());
        let meter = json!({"key": "tokens", "event_type": "llm.request", "aggregation": "sum",
            "value_property": "$.tokens"});
        ops.create_meter(&context, request(&meter)).await.unwrap();
        let feature = json!({"key": "tokens", "type": "metered", "meter": "tokens"});
        ops.create_feature(&context, request(&feature)).await.unwrap();
        let customer = json!({"key": "acme", "subjects": ["acme"]});
        ops.create_customer(&context, request(&customer)).await.unwrap();
        Self { world, sent: 0 }
    }

    pub(super) fn context(&self) -> Context {
        self.world.context()
    }

    pub(super) async fn entitle(&self, terms: &Value) -> Result<Value, Problem> {
        let mut entitlement = json!({"feature": "tokens", "type": "metered",
            "usage_period": {"interval": "year"}});
        for (name, value) in terms.as_object().unwrap() {
            entitlement[name] = value.clone();
        }
        let ops = &self.world.engine.ops;
        shown(ops.create_entitlement(&self.context(), "acme", request(&entitlement)).await)
    }

    pub(super) async fn patch(&self, change: &Value) -> Result<Value, Problem> {
        let ops = &self.world.engine.ops;
        let change = request(change);
        shown(ops.update_entitlement(&self.context(), "acme", "tokens", change).await)
    }

    pub(super) async fn entitlement(&self) -> Value {
        let ops = &self.world.engine.ops;
        shown(ops.get_entitlement(&self.context(), "acme", "tokens").await).unwrap()
    }

    /// Puts a grant in; its id.
    pub(super) async fn grant(&self, grant: &Value) -> String {
        self.granted(grant).await.unwrap().id.to_string()
    }

    pub(super) async fn granted(&self, grant: &Value) -> Result<Grant, Problem> {
        let ops = &self.world.engine.ops;
        ops.create_grant(&self.context(), "acme", "tokens", request(grant)).await
    }

    pub(super) async fn void(&self, grant: &str, query: &Value) -> Result<(), Problem> {
        let ops = &self.world.engine.ops;
        let query = serde_json::from_value(query.clone()).unwrap();
        ops.void_grant(&self.context(), "acme", "tokens", grant, query).await
    }

    pub(super) async fn reset(&self, how: &Value) -> Result<Value, Problem> {
        let ops = &self.world.engine.ops;
        shown(ops.reset_entitlement(&self.context(), "acme", "tokens", request(how)).await)
    }

    /// Uses so many tokens now.
    pub(super) async fn uses(&mut self, tokens: i64) {
        self.used(tokens, None).await;
    }

    /// Used so many tokens at this time.
    pub(super) async fn used(&mut self, tokens: i64, at: Option<&str>) {
        self.sent += 1;
        let mut event = event(&format!("e{}", self.sent), "acme", &json!(tokens));
        if let Some(at) = at {
            event["time"] = json!(at);
        }
        let answer = self.world.send(&[event]).await.unwrap();
        assert_eq!((answer.accepted, answer.rejected), (1, vec![]));
    }

    pub(super) fn pass(&self, seconds: u64) {
        self.world.clock.advance(Duration::from_secs(seconds));
    }

    /// Moves the clock on to this time.
    pub(super) fn until(&self, time: &str) {
        let to: Timestamp = time.parse().unwrap();
        let ahead = to.ms_since(self.context().now);
        self.world.clock.advance(Duration::from_millis(u64::try_from(ahead).unwrap()));
    }

    pub(super) async fn value(&self) -> Value {
        let ops = &self.world.engine.ops;
        shown(ops.entitlement_value(&self.context(), "acme", "tokens").await).unwrap()
    }

    /// `usage/limit balance overage`, limit and balance `-` where there are none.
    pub(super) async fn stands(&self) -> String {
        let value = self.value().await;
        let word = |name: &str| value[name].as_str().unwrap_or("-").to_owned();
        format!("{}/{} {} {}", word("usage"), word("limit"), word("balance"), word("overage"))
    }

    /// What is left of each grant, the oldest first; those that cannot be used in brackets.
    pub(super) async fn left(&self) -> String {
        let ops = &self.world.engine.ops;
        let page =
            ops.list_grants(&self.context(), "acme", "tokens", &ListRequest::default()).await;
        let shown = page.unwrap().items.into_iter().map(|it| {
            if it.is_active { it.balance.to_string() } else { format!("({})", it.balance) }
        });
        shown.collect::<Vec<_>>().join(" ")
    }

    pub(super) async fn history(&self, query: &Value) -> History {
        let request: HistoryRequest = serde_json::from_value(query.clone()).unwrap();
        let ops = &self.world.engine.ops;
        ops.entitlement_history(&self.context(), "acme", "tokens", &request).await.unwrap()
    }

    /// Each segment as `usage overage: burned of balance, …`; the limit's part first.
    pub(super) async fn segments(&self) -> Vec<String> {
        let segments = self.history(&json!({})).await.segments;
        let shown = segments.iter().map(|it| {
            let burned =
                it.burned.iter().map(|it| format!("{}/{}", it.burned, it.balance_at_start));
            format!("{} {}: {}", it.usage, it.overage, burned.collect::<Vec<_>>().join(" "))
        });
        shown.collect()
    }
}

pub(super) fn shown<T: serde::Serialize>(result: Result<T, Problem>) -> Result<Value, Problem> {
    result.map(|it| serde_json::to_value(it).unwrap())
}

/// Code and field of a refusal.
pub(super) fn refusal<T: std::fmt::Debug>(result: Result<T, Problem>) -> String {
    let problem = result.unwrap_err();
    format!("{} {}", problem.code, problem.field.unwrap_or_default()).trim_end().to_owned()
}
