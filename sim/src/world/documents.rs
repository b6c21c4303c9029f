//! What requests carry: entitlements, resets, grants and rules, drawn by the dice.
//!
//! Not here: which request comes (`world`), usage.

use plimsoll_core::time::Timestamp;
use serde_json::{Value, json};

use super::{FEATURES, HOUR_MS, World};

/// Moments at which periods may begin, where they do not follow the calendar.
const ANCHORS: [&str; 6] = [
    "2026-01-31T08:00:00Z",
    "2026-03-31T23:30:00Z",
    "2025-12-29T12:15:00Z",
    "2024-02-29T00:00:00Z",
    "2026-03-10T15:00:00Z",
    "2027-05-30T06:45:00Z",
];

/// Entitlements, and what happens to them.
impl World {
    fn amount(&mut self) -> Value {
        json!((self.dice.between(1, 40) * 10).to_string())
    }

    fn limit(&mut self) -> Value {
        match self.dice.below(12) {
            0 => Value::Null,
            1 => json!("0"),
            _ => self.amount(),
        }
    }

    /// How much an entitlement allows, into its document or a change of it.
    fn allow(&mut self, document: &mut Value) {
        match self.dice.below(10) {
            0 | 1 => document["sources"] = self.sources(),
            2 => (document["limit"], document["soft_limit"]) = (self.limit(), self.limit()),
            _ => document["limit"] = self.limit(),
        }
    }

    /// What a limit is summed from, where one thing may replace another.
    fn sources(&mut self) -> Value {
        let mut sources = vec![json!({"type": "plan", "key": "plan", "limit": self.limit()})];
        if self.dice.percent(30) {
            sources[0]["soft_limit"] = self.amount();
        }
        if self.dice.percent(60) {
            sources.push(json!({"type": "addon", "key": "addon", "limit": self.amount(),
                "quantity": self.dice.below(4)}));
        }
        if self.dice.percent(40) {
            sources.push(json!({"type": "subscription", "key": "own", "limit": self.amount(),
                "overrides": "plan"}));
        }
        if self.dice.percent(20) {
            // Where there is no addon that it could replace, it is refused.
            sources.push(json!({"type": "customer", "key": "agreed", "limit": self.limit(),
                "overrides": "addon"}));
        }
        sources.into()
    }

    fn tiers(&mut self) -> Value {
        let mut bound = 0;
        let mut tiers: Vec<Value> = Vec::new();
        for _ in 0..self.dice.between(1, 3) {
            bound += self.dice.between(1, 12) * 10;
            tiers.push(json!({"up_to": bound.to_string()}));
        }
        if self.dice.percent(50) {
            tiers.push(json!({"up_to": null}));
        }
        tiers.into()
    }

    pub(super) fn entitlement(&mut self, feature: &str) -> Value {
        const INTERVALS: [&str; 9] =
            ["hour", "hour", "day", "day", "month", "month", "month", "week", "never"];
        let interval = *self.dice.pick(&INTERVALS).unwrap_or(&"month");
        let preserves = self.dice.percent(20);
        let mut document = json!({"feature": feature, "type": "metered",
            "usage_period": {"interval": interval}, "preserve_overage_at_reset": preserves});
        if self.dice.percent(35) {
            document["usage_period"]["anchor"] = json!(self.dice.pick(&ANCHORS));
        }
        self.allow(&mut document);
        if self.dice.percent(35) {
            document["tiers"] = self.tiers();
        }
        document
    }

    pub(super) fn entitlement_change(&mut self, now_ms: i64) -> Value {
        let mut change = json!({});
        match self.dice.below(6) {
            0 => change["tiers"] = if self.dice.percent(30) { Value::Null } else { self.tiers() },
            1 => {
                change["tiers"] = self.tiers();
                self.allow(&mut change);
            }
            _ => self.allow(&mut change),
        }
        if self.dice.percent(15) {
            change["effective_at"] = self.later(now_ms);
        }
        change
    }

    /// A reset, of a customer whose anchors may move or not.
    pub(super) fn reset(&mut self, now_ms: i64, may_move: bool) -> Value {
        let mut reset = json!({});
        if self.dice.percent(40) {
            reset["effective_at"] = self.later(now_ms);
        }
        if self.dice.percent(30) {
            reset["preserve_overage"] = json!(self.dice.percent(50));
        }
        if may_move && self.dice.percent(70) {
            reset["retain_anchor"] = json!(false);
            // At the very moment at which a window begins a reset does nothing (ADR 12), so the
            // anchor stays; the document says that it moved (seed 20413 without this condition).
            if reset["effective_at"].is_string() {
                reset["effective_at"] = self.some_time(now_ms);
            }
        }
        reset
    }

    pub(super) fn grant(&mut self, now_ms: i64) -> Value {
        let mut grant = json!({"amount": (self.dice.between(1, 20) * 10).to_string()});
        if self.dice.percent(30) {
            grant["priority"] = json!(self.dice.below(3));
        }
        if self.dice.percent(30) {
            grant["effective_at"] = self.later(now_ms);
        }
        if self.dice.percent(50) {
            let duration = *self.dice.pick(&["hour", "hour", "day"]).unwrap_or(&"hour");
            grant["expiration"] = json!({"duration": duration, "count": self.dice.between(1, 5)});
        }
        if self.dice.percent(35) {
            let interval = *self.dice.pick(&["hour", "hour", "day", "month"]).unwrap_or(&"hour");
            grant["recurrence"] = json!({"interval": interval});
            if self.dice.percent(40) {
                grant["recurrence"]["anchor"] = json!(self.dice.pick(&ANCHORS));
            }
        }
        if self.dice.percent(40) {
            grant["max_rollover"] = json!((self.dice.below(10) * 10).to_string());
        }
        if self.dice.percent(20) {
            (grant["min_rollover"], grant["max_rollover"]) = (json!("20"), json!("60"));
        }
        grant
    }

    /// When a grant is voided.
    pub(super) fn void(&mut self, now_ms: i64) -> Value {
        if self.dice.percent(30) { json!({"at": self.later(now_ms)}) } else { json!({}) }
    }

    /// A moment within the next hours. Every third is a whole hour, at which more happens.
    fn later(&mut self, now_ms: i64) -> Value {
        if self.dice.percent(65) {
            return self.some_time(now_ms);
        }
        let hours = self.dice.between(1, 5) as i64;
        let ms = now_ms - now_ms.rem_euclid(HOUR_MS) + hours * HOUR_MS;
        json!(Timestamp::from_ms(ms).to_string())
    }

    /// A moment within the next hours at which nothing else happens.
    fn some_time(&mut self, now_ms: i64) -> Value {
        let ms = now_ms + self.dice.below(5 * HOUR_MS as u64) as i64;
        json!(Timestamp::from_ms(ms).to_string())
    }

    pub(super) fn advance(&mut self) -> Value {
        match self.dice.below(8) {
            0 => json!({"months": 1}),
            1 => json!({"days": self.dice.between(1, 3)}),
            2 | 3 => json!({"seconds": self.dice.between(0, 90)}),
            _ => json!({"hours": self.dice.between(1, 5), "minutes": self.dice.below(60)}),
        }
    }
}

/// Rules.
impl World {
    fn lines(&mut self) -> Value {
        let mut lines: Vec<Value> = Vec::new();
        for _ in 0..self.dice.between(1, 4) {
            let (kind, value) = match self.dice.below(8) {
                0 => ("usage_value", self.dice.between(1, 30) * 10),
                1 => ("balance_value", self.dice.between(0, 8) * 10),
                2 => ("balance_percentage", self.dice.between(0, 10) * 10),
                3 => ("every", self.dice.between(1, 12) * 10),
                _ => ("usage_percentage", self.dice.between(1, 12) * 10),
            };
            let mut line = json!({"kind": kind, "value": value.to_string()});
            // A balance is what all usage leaves.
            if !kind.starts_with("balance") && self.dice.percent(35) {
                line["group"] = self.group();
            }
            if !lines.contains(&line) {
                lines.push(line);
            }
        }
        lines.into()
    }

    fn group(&mut self) -> Value {
        let mut group = json!({"key": self.dice.pick(&["model", "model", "region"])});
        if self.dice.percent(50) {
            group["value"] = json!(self.dice.pick(&["a", "b", "1"]));
        }
        group
    }

    pub(super) fn rule(&mut self) -> Value {
        let mut rule = json!({"name": format!("rule {}", self.number()),
            "channels": self.rule_channels()});
        match self.dice.below(12) {
            0 | 1 => rule["type"] = json!("entitlements.reset"),
            2..=4 => {
                let of =
                    *self.dice.pick(&["limit", "soft_limit", "tier_limit"]).unwrap_or(&"limit");
                rule["type"] = json!(format!("entitlement.{of}.reached"));
                if self.dice.percent(50) {
                    rule["type"] = json!(format!("entitlement.{of}.warning"));
                    rule["warning_percentage"] = json!(self.dice.between(1, 99).to_string());
                }
            }
            _ => {
                rule["type"] = json!("entitlements.balance.threshold");
                rule["lines"] = self.lines();
            }
        }
        for _ in 0..self.dice.below(4) {
            self.vary(&mut rule);
        }
        rule
    }

    fn rule_channels(&mut self) -> Value {
        let count = if self.dice.percent(40) { 2 } else { 1 };
        self.channels.iter().take(count).cloned().collect()
    }

    pub(super) fn rule_change(&mut self) -> Value {
        let mut change = json!({});
        for _ in 0..self.dice.between(1, 3) {
            if self.dice.percent(25) {
                change["lines"] = self.lines();
            } else {
                self.vary(&mut change);
            }
        }
        change
    }

    fn vary(&mut self, rule: &mut Value) {
        let customer = self.customer().map(|(key, _)| key);
        let feature = self.dice.pick(&FEATURES).copied();
        let is = self.dice.percent(50);
        match self.dice.below(8) {
            0 => rule["disabled"] = json!(is),
            1 => rule["disabled"] = json!(false),
            2 => rule["evaluate_on_create"] = json!(is),
            3 => {
                rule["notify_on"] =
                    if is { json!(["crossed", "resolved"]) } else { json!(["crossed"]) }
            }
            4 => rule["when_several"] = if is { json!("highest") } else { json!("each") },
            5 => rule["hysteresis"] = json!((self.dice.below(3) * 5).to_string()),
            6 => rule["customers"] = customer.filter(|_| is).into_iter().collect(),
            _ => rule["features"] = feature.filter(|_| is).into_iter().collect(),
        }
    }
}
