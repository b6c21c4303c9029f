//! More to set up than the small company: meters of every kind, lines of every kind, events with
//! data and times of their own; and short words for what was told.
//!
//! Not here: the engine and its clock (`world`).

use std::time::Duration;

use serde_json::{Value, json};

use super::world::{PATIENCE, World, request};

impl World {
    /// A meter and a metered feature of the same key. The meter measures events of the type
    /// `llm.request`.
    pub(super) async fn measure(&self, key: &str, meter: &Value) {
        let mut document = json!({"key": key, "event_type": "llm.request"});
        lay_over(&mut document, meter);
        let (ops, context) = (&self.engine.ops, self.context());
        ops.create_meter(&context, request(&document)).await.unwrap();
        let feature = json!({"key": key, "type": "metered", "meter": key});
        ops.create_feature(&context, request(&feature)).await.unwrap();
    }

    /// A customer with one subject of the same name.
    pub(super) async fn customer(&self, key: &str) {
        let customer = json!({"key": key, "subjects": [key]});
        self.engine.ops.create_customer(&self.context(), request(&customer)).await.unwrap();
    }

    /// A right to a feature by the month, unless `extra` says otherwise.
    pub(super) async fn entitle_to(&self, customer: &str, feature: &str, extra: &Value) {
        let mut document = json!({"feature": feature, "type": "metered",
            "usage_period": {"interval": "month"}});
        lay_over(&mut document, extra);
        let ops = &self.engine.ops;
        ops.create_entitlement(&self.context(), customer, request(&document)).await.unwrap();
    }

    /// A rule with lines of its own, unless `document` names another type. Its channel takes
    /// nothing directly.
    pub(super) async fn watch(&self, document: &Value) -> String {
        let mut rule = json!({"name": "lines", "type": "entitlements.balance.threshold"});
        lay_over(&mut rule, document);
        if rule.get("channels").is_none() {
            rule["channels"] = json!([self.channel_for(&[]).await]);
        }
        let made = self.engine.ops.create_rule(&self.context(), request(&rule)).await.unwrap();
        made.id.to_string()
    }

    /// A channel that takes these types directly. Nobody listens behind it.
    pub(super) async fn channel_for(&self, event_types: &[&str]) -> String {
        self.channel_at("http://127.0.0.1:50009/", event_types).await
    }

    /// A channel that takes these types directly, at this address.
    pub(super) async fn channel_at(&self, url: &str, event_types: &[&str]) -> String {
        let channel = json!({"type": "webhook", "name": "ops", "url": url,
            "event_types": event_types});
        let made = self.engine.ops.create_channel(&self.context(), request(&channel)).await;
        made.unwrap().channel.id.to_string()
    }

    /// Sends one event with this data, which is accepted.
    pub(super) async fn sends(&mut self, subject: &str, data: &Value) {
        self.sends_at(subject, None, data).await;
    }

    /// As [`World::sends`], with a time that the event itself says.
    pub(super) async fn sends_at(&mut self, subject: &str, time: Option<&str>, data: &Value) {
        let mut event = self.event(subject, &Value::Null);
        event["data"] = data.clone();
        if let Some(time) = time {
            event["time"] = json!(time);
        }
        let answer = self.send(&[event]).await.unwrap();
        assert_eq!((answer.accepted, answer.rejected), (1, vec![]));
    }

    /// Where a customer stands with a feature.
    pub(super) async fn stands(&self, customer: &str, feature: &str) -> Value {
        let ops = &self.engine.ops;
        let value = ops.entitlement_value(&self.context(), customer, feature).await.unwrap();
        serde_json::to_value(value).unwrap()
    }

    /// The usage of a feature.
    pub(super) async fn usage_of(&self, customer: &str, feature: &str) -> String {
        let value = self.stands(customer, feature).await;
        value["usage"].as_str().unwrap().to_owned()
    }

    /// Waits until so many notifications exist: what the catalogue or time makes due is worked off
    /// between usage.
    #[expect(clippy::disallowed_methods, reason = "looking again takes a pause between looks")]
    pub(super) async fn until_told(&self, count: usize) {
        let started = std::time::Instant::now();
        while self.notifications().await.len() < count {
            assert!(started.elapsed() < PATIENCE, "{:#?}", self.told().await);
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// What was told, in short and sorted.
    pub(super) async fn told(&self) -> Vec<String> {
        let mut all: Vec<String> = self.notifications().await.iter().map(short).collect();
        all.sort();
        all
    }
}

/// A notification in short: `usage_value 50 model=large`, with step, count, edge, cause, lateness
/// and reason where they are not the usual; its type, if it is not about lines of a rule's own.
fn short(notification: &Value) -> String {
    let data = &notification["payload"]["data"];
    let word = |it: &Value| it.as_str().unwrap_or_default().to_owned();
    let line = &data["line"];
    let mut words = Vec::new();
    let r#type = word(&notification["type"]);
    if r#type == "entitlements.balance.threshold" {
        words.extend([word(&line["kind"]), word(&line["value"])]);
    } else {
        words.push(r#type);
    }
    if let Some(group) = line.get("group") {
        words.push(format!("{}={}", word(&group["key"]), word(&group["value"])));
    }
    words.extend(line["step"].as_str().map(|it| format!("step={it}")));
    words.extend(line["count"].as_u64().map(|it| format!("count={it}")));
    words.extend(data["edge"].as_str().filter(|it| *it != "crossed").map(str::to_owned));
    words.extend(data["cause"].as_str().filter(|it| *it != "usage").map(str::to_owned));
    words.extend(data["skipped"].as_u64().map(|it| format!("skipped={it}")));
    words.extend((data["late"] == json!(true)).then(|| "late".to_owned()));
    words.extend(notification["reason"].as_str().map(str::to_owned));
    words.join(" ")
}

fn lay_over(document: &mut Value, extra: &Value) {
    let extra = extra.as_object().unwrap().clone();
    document.as_object_mut().unwrap().extend(extra);
}
