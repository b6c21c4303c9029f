//! What a workload needs before it can be measured: meters, features, customers, rules, a channel.
//!
//! Not here: usage.

use std::{net::SocketAddr, sync::Arc};

use serde_json::{Value, json};

use crate::{
    Failure,
    client::{self, Connection},
    machine,
    product::KEY,
};

/// Notifications on one page: as many as the API gives.
const PAGE: usize = 1_000;
/// Connections that make customers side by side, so that their commits share an fsync.
const CUSTOMER_CONNECTIONS: u32 = 64;

/// Speaks JSON with the product, one request at a time.
#[derive(Debug)]
pub(crate) struct Api {
    connection: Connection,
}

impl Api {
    /// Connects to the product at `address`.
    pub(crate) async fn open(address: SocketAddr) -> Result<Self, Failure> {
        Ok(Self { connection: Connection::open(address).await? })
    }

    /// Posts `body`; everything but a 2xx is a failure.
    pub(crate) async fn post(&mut self, path: &str, body: &Value) -> Result<Value, Failure> {
        self.send("POST", path, &body.to_string()).await
    }

    /// The first failed attempt of each notification that needed more than one.
    ///
    /// A receiver that always answers 200 should see none.
    pub(crate) async fn failed_attempts(&mut self) -> Result<Vec<Value>, Failure> {
        let mut failed = Vec::new();
        let mut cursor = String::new();
        loop {
            let path = format!("/v1/notifications?limit={PAGE}{cursor}");
            let page = self.send("GET", &path, "").await?;
            for delivery in page["items"].as_array().into_iter().flatten() {
                let attempts = delivery["deliveries"][0]["attempts"].as_array();
                failed
                    .extend(attempts.filter(|it| it.len() > 1).and_then(|it| it.first()).cloned());
            }
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return Ok(failed),
            }
        }
    }

    async fn send(&mut self, method: &str, path: &str, body: &str) -> Result<Value, Failure> {
        let request = client::request(method, path, KEY, body.as_bytes());
        let answer = self.connection.exchange(&request).await?;
        let text = String::from_utf8_lossy(answer.body);
        if !(200..300).contains(&answer.status) {
            return Err(format!("{method} {path} {body} gave {}: {text}", answer.status).into());
        }
        Ok(serde_json::from_str(&text)?)
    }

    /// A meter that sums `$.tokens` of `event_type`, and a feature of the same `key` on it.
    pub(crate) async fn meter_and_feature(
        &mut self,
        key: &str,
        event_type: &str,
    ) -> Result<(), Failure> {
        let meter = json!({
            "key": key, "name": key, "event_type": event_type,
            "aggregation": "sum", "value_property": "$.tokens",
        });
        self.post("/v1/meters", &meter).await?;
        let feature = json!({"key": key, "name": key, "type": "metered", "meter": key});
        self.post("/v1/features", &feature).await?;
        Ok(())
    }

    /// A webhook channel to `url`; returns its id.
    pub(crate) async fn channel(&mut self, name: &str, url: &str) -> Result<String, Failure> {
        let channel = json!({"type": "webhook", "name": name, "url": url, "event_types": ["*"]});
        let made = self.post("/v1/channels", &channel).await?;
        Ok(made["id"].as_str().ok_or("a channel has an id")?.to_owned())
    }

    /// A rule on `feature` with lines of one kind, for one customer or for all.
    pub(crate) async fn rule(
        &mut self,
        feature: &str,
        kind: &str,
        levels: &[u32],
        channel: &str,
        customer: Option<&str>,
    ) -> Result<(), Failure> {
        let lines: Vec<Value> =
            levels.iter().map(|it| json!({"kind": kind, "value": it.to_string()})).collect();
        let mut rule = json!({
            "name": format!("lines on {feature}"), "type": "entitlements.balance.threshold",
            "features": [feature], "lines": lines, "channels": [channel],
        });
        if let Some(customer) = customer {
            rule["customers"] = json!([customer]);
        }
        self.post("/v1/rules", &rule).await?;
        Ok(())
    }
}

/// Makes the customers `<prefix>-0` … with one monthly entitlement each.
///
/// Each has its key as its only subject. `limit` as in the API: `None` is unlimited.
pub(crate) async fn customers(
    address: SocketAddr,
    prefix: &str,
    count: u32,
    feature: &str,
    limit: Option<u64>,
) -> Result<(), Failure> {
    let made = Made { are_new: true, entitlement: entitlement(feature, limit) };
    make(address, prefix, count, made).await
}

/// Gives each of these customers one more monthly entitlement.
pub(crate) async fn entitlements(
    address: SocketAddr,
    prefix: &str,
    count: u32,
    feature: &str,
    limit: Option<u64>,
) -> Result<(), Failure> {
    let made = Made { are_new: false, entitlement: entitlement(feature, limit) };
    make(address, prefix, count, made).await
}

/// What is made for each customer.
struct Made {
    /// Whether the customer itself is to be made.
    are_new: bool,
    entitlement: Value,
}

async fn make(address: SocketAddr, prefix: &str, count: u32, made: Made) -> Result<(), Failure> {
    let made = Arc::new(made);
    let mut makers = Vec::new();
    for first in 0..CUSTOMER_CONNECTIONS.min(count) {
        let (prefix, made) = (prefix.to_owned(), Arc::clone(&made));
        makers.push(machine::spawn(async move {
            let mut api = Api::open(address).await?;
            for number in (first..count).step_by(CUSTOMER_CONNECTIONS as usize) {
                let key = subject(&prefix, number);
                if made.are_new {
                    let customer = json!({"key": key, "name": key, "subjects": [key]});
                    api.post("/v1/customers", &customer).await?;
                }
                api.post(&format!("/v1/customers/{key}/entitlements"), &made.entitlement).await?;
            }
            Ok::<(), Failure>(())
        }));
    }
    for maker in makers {
        maker.await??;
    }
    Ok(())
}

fn entitlement(feature: &str, limit: Option<u64>) -> Value {
    let mut entitlement = json!({
        "feature": feature, "type": "metered", "usage_period": {"interval": "month"},
    });
    if let Some(limit) = limit {
        entitlement["limit"] = json!(limit.to_string());
    }
    entitlement
}

/// The key and only subject of a customer.
pub(crate) fn subject(prefix: &str, number: u32) -> String {
    format!("{prefix}-{number:06}")
}
