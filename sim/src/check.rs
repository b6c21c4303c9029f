//! Compares what is durable, what the engine answers and what receivers took with the naive model.
//!
//! The log is read once, row by row, as it grows. At any moment, a crash included, the
//! notifications in the store must be those that the rows of the log give: they commit together.
//!
//! Not here: what a log means (`model`), replaying it through the core (`replay`).

use std::collections::BTreeMap;

use futures_util::FutureExt as _;
use plimsoll_core::{
    ids::{EntitlementId, EnvironmentId, MeterId},
    limits,
};
use plimsoll_engine::{engine::Engine, ops::Context};
use plimsoll_store::{
    MemoryStore, ReadError,
    delivery::DeliveryState,
    log,
    notification::{self, NotificationDetail, NotificationFilter, NotificationRow},
    resource,
};
use serde_json::Value;

use crate::{
    ledger::EventKey,
    log::{Allowed, Counts, Fact, Limits, amount, read},
    model::{self, Amount, Base, Expected, Partition, What, sheet::Came},
    receiver::Receivers,
    run::Tally,
};

/// Bytes that one read of the log brings at the most.
const PAGE_BYTES: usize = 16 << 20;
/// An ordinal is the position of the log row, and in its lower bits the place among its notices.
const ORDINAL_BITS: u32 = 20;

/// What is wrong, each as a sentence.
pub type Findings = Vec<String>;

/// The log of every partition as far as it was read, and what it comes to.
#[derive(Debug)]
pub struct Books {
    partitions: Vec<Partition>,
    positions: Vec<i64>,
    /// How often each event is in the log.
    pub logged: BTreeMap<EventKey, u32>,
    /// Notifications of each partition that were compared, and found right.
    compared: Vec<usize>,
    /// The channels that each notification goes to, by its id.
    pub destinations: BTreeMap<String, Vec<String>>,
}

/// The output of a future over a store in memory, which never waits.
pub fn at_once<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("a store in memory answers at once")
}

impl Books {
    /// Nothing read yet, of so many partitions.
    pub fn new(partitions: u32) -> Self {
        let count = partitions as usize;
        Self {
            partitions: (0..count).map(|_| Partition::default()).collect(),
            positions: vec![0; count],
            logged: BTreeMap::new(),
            compared: vec![0; count],
            destinations: BTreeMap::new(),
        }
    }

    /// These channels take resets directly.
    pub fn set_takers(&mut self, channels: &[String]) {
        for it in &mut self.partitions {
            it.catalogue.takers = channels.to_vec();
            it.catalogue.takers.sort();
        }
    }

    /// Counts the notifications that must exist, by what they are about, and what moved anchors.
    pub fn count(&self, tally: &mut Tally) {
        for it in self.partitions.iter().flat_map(|it| &it.expected) {
            tally.recurred += u64::from(it.cause == "grant_recurred");
            match &it.what {
                What::Reset { .. } => tally.resets += 1,
                What::Line { kind, group, is_late, .. } => {
                    tally.late += u64::from(*is_late);
                    tally.groups += u64::from(group.is_some());
                    tally.multiples += u64::from(*kind == "every");
                    tally.tiers += u64::from(*kind == "tier_limit");
                }
            }
        }
        tally.anchors = self.partitions.iter().map(|it| it.moved_anchors).sum();
    }

    /// The meters, how their values are put together, and by which keys they are told apart.
    pub fn meters(&self) -> BTreeMap<MeterId, (Counts, Vec<String>)> {
        self.partitions.iter().flat_map(Partition::meters).collect()
    }

    /// What came for a meter, by customer and hour.
    pub fn used(&self, meter: MeterId) -> Vec<(String, i64, Vec<Came>)> {
        let all = self.partitions.iter().flat_map(|it| &it.used);
        let own = all.filter(|(key, _)| key.0 == meter);
        own.map(|((_, customer, hour), it)| (customer.to_string(), *hour, it.clone())).collect()
    }

    /// Entitlements to which something should have happened by themselves by now.
    pub fn overdue(&self, now_ms: i64) -> Findings {
        self.partitions.iter().flat_map(|it| it.overdue(now_ms)).collect()
    }

    /// Reads what was appended since the last time.
    pub fn catch_up(&mut self, database: &MemoryStore) -> Findings {
        let mut findings = Findings::new();
        for partition in 0..self.partitions.len() {
            if let Err(finding) = self.catch_up_one(database, partition) {
                findings.push(format!("partition {partition}: {finding}"));
            }
        }
        findings
    }

    fn catch_up_one(&mut self, database: &MemoryStore, partition: usize) -> Result<(), String> {
        loop {
            let after = self.positions[partition];
            let rows = at_once(log::read(database, partition as u32, after, PAGE_BYTES));
            let rows = rows.map_err(|it| it.to_string())?;
            if rows.is_empty() {
                return Ok(());
            }
            for row in rows {
                if row.position != self.positions[partition] + 1 {
                    return Err(format!("position {} is out of its turn", row.position));
                }
                self.positions[partition] = row.position;
                let logged = read(&row)?;
                if let Fact::Usage { events, .. } = &logged.fact {
                    for it in events {
                        let key = (it.subject.clone(), it.id.clone());
                        *self.logged.entry(key).or_default() += 1;
                    }
                }
                self.partitions[partition].apply(&logged);
                if let Some(finding) = self.partitions[partition].findings.pop() {
                    return Err(finding);
                }
            }
        }
    }

    /// Compares the notifications in the store with those that must be there. What was found
    /// right before is only counted.
    pub fn compare_notifications(&mut self, notifications: &[NotificationRow]) -> Findings {
        let mut by_partition: Vec<Vec<&NotificationRow>> = vec![vec![]; self.partitions.len()];
        let mut findings = Findings::new();
        for row in notifications {
            let owner =
                row.customer.and_then(|it| self.partitions.iter().position(|p| p.knows(it)));
            match owner {
                Some(partition) => by_partition[partition].push(row),
                None => findings.push(format!("{} is about nobody of the log", row.id)),
            }
        }
        for (partition, mut found) in by_partition.into_iter().enumerate() {
            found.sort_by_key(|it| it.ordinal);
            let expected = &self.partitions[partition].expected;
            let compared = &mut self.compared[partition];
            for index in *compared..expected.len().max(found.len()) {
                let (found, expected) = (found.get(index).copied(), expected.get(index));
                if let Some(finding) = difference(found, expected) {
                    findings.push(format!("partition {partition}, notice {index}: {finding}"));
                    break;
                }
                if let (Some(found), Some(expected)) = (found, expected) {
                    self.destinations.insert(found.id.to_string(), expected.channels.clone());
                }
            }
            if found.len() < *compared {
                findings.push(format!("partition {partition}: a notification is gone"));
            }
            *compared = expected.len();
        }
        findings
    }

    /// Every entitlement of the model, by the text of its customer.
    pub fn entitlements(&self) -> Vec<(String, EntitlementId)> {
        let all = self.partitions.iter().flat_map(Partition::entitlements);
        all.map(|(customer, entitlement)| (customer.to_string(), entitlement)).collect()
    }

    /// Whether every partition has a customer, so that each can be made to append something.
    pub fn have_customers_everywhere(&self) -> bool {
        self.partitions.iter().all(Partition::has_customers)
    }

    fn value(&self, entitlement: EntitlementId, now_ms: i64) -> Option<model::Value> {
        self.partitions.iter().find_map(|it| it.value(entitlement, now_ms))
    }

    /// Compares the values that the engine answers, and the documents in the store.
    pub async fn compare_values(
        &mut self,
        engine: &Engine,
        context: &Context,
        database: &MemoryStore,
        now_ms: impl Fn() -> i64,
    ) -> Findings {
        let mut findings = Findings::new();
        for (customer, entitlement) in self.entitlements() {
            let before = self.value(entitlement, now_ms());
            let name = entitlement.to_string();
            let answer = engine.ops.entitlement_value(context, &customer, &name).await;
            // A partition may just have learned that a clock was set.
            findings.extend(self.catch_up(database));
            let after = self.value(entitlement, now_ms());
            let answered = match &answer {
                Ok(value) => serde_json::to_value(value).unwrap_or_default(),
                Err(problem) => {
                    findings.push(format!("the value of {name} cannot be read: {problem}"));
                    continue;
                }
            };
            // A window may end between the question and the answer.
            let answered = value_in(&answered);
            if answered != before && answered != after {
                findings.push(format!("{name} of {customer} is {answered:?}, must be {before:?}"));
            }
            let base = self.partitions.iter().find_map(|it| it.base(entitlement, now_ms()));
            findings.extend(document_difference(database, &name, base.as_ref()));
        }
        findings
    }
}

fn value_in(json: &Value) -> Option<model::Value> {
    let usage = amount(json["usage"].as_str()?)?;
    let limits = limits_in(json);
    let window = (ms(&json["period"]["from"])?, ms(&json["period"]["to"])?);
    let grants = json["grants"].as_array()?.iter().map(|it| {
        let id = it["id"].as_str()?.to_owned();
        Some((id, amount(it["balance"].as_str()?)?, it["is_active"].as_bool()?))
    });
    let grants = grants.collect::<Option<_>>()?;
    let left = limits.whole().map(|it| (it - usage).max(0));
    (json["balance"].as_str().and_then(amount) == left).then_some(())?;
    Some(model::Value { usage, limits, window, grants })
}

fn limits_in(json: &Value) -> Limits {
    let limit = |name: &str| json[name].as_str().and_then(amount);
    Limits { hard: limit("limit"), soft: limit("soft_limit") }
}

/// The document of an entitlement commits with the row of the log that says the same.
fn document_difference(
    database: &MemoryStore,
    name: &str,
    expected: Option<&Base>,
) -> Option<String> {
    let row = at_once(resource::get(database, name)).ok().flatten();
    let document = row.filter(|it| it.deleted_at.is_none()).map(|it| it.doc);
    let json: Value = serde_json::from_str(&document.unwrap_or_default()).unwrap_or_default();
    let found = expected.and_then(|it| base_in(&json, it.at_ms));
    (json.is_null() || expected != found.as_ref())
        .then(|| format!("the document of {name} says {json}, the log {expected:?}"))
}

/// What a document says of an entitlement at a moment: what was to come may have come. Nothing if
/// its limits are not what its sources come to.
fn base_in(json: &Value, at_ms: i64) -> Option<Base> {
    let list = |it: &Value| it.as_array().cloned().unwrap_or_default();
    let is_due = |it: &Value| ms(&it["effective_at"]).is_some_and(|it| it <= at_ms);
    let changes = list(&json["scheduled_changes"]);
    let last = changes.iter().rfind(|it| is_due(it)).unwrap_or(json);
    let tiers = list(&last["tiers"]);
    let tiers = tiers.iter().filter_map(|it| amount(it["up_to"].as_str()?)).collect();
    let resets = list(&json["scheduled_resets"]);
    let moves = resets.iter().rfind(|it| is_due(it) && it["retain_anchor"] == false);
    let anchor = moves.map_or(&json["usage_period"]["anchor"], |it| &it["effective_at"]);
    let limits = sum(&list(&last["sources"]));
    let allowed = Allowed { limits, tiers };
    (limits == limits_in(last)).then_some(Base { allowed, anchor_ms: ms(anchor), at_ms })
}

/// What sources come to: those that no other one replaces, each as often as it is there.
fn sum(sources: &[Value]) -> Limits {
    let is_replaced = |key: &Value| sources.iter().any(|it| it["overrides"] == *key);
    let counted: Vec<&Value> = sources.iter().filter(|it| !is_replaced(&it["key"])).collect();
    let mut limits = Limits { hard: Some(0), soft: Some(0) };
    for it in &counted {
        let Limits { hard, soft } = limits_in(it);
        let times = Amount::from(it["quantity"].as_u64().unwrap_or(1));
        limits.hard = limits.hard.zip(hard).map(|(sum, own)| sum + own * times);
        limits.soft = limits.soft.zip(soft.or(hard)).map(|(sum, own)| sum + own * times);
    }
    // Where none has a soft limit, there is none.
    limits.soft = limits.soft.filter(|_| counted.iter().any(|it| !it["soft_limit"].is_null()));
    limits
}

fn ms(json: &Value) -> Option<i64> {
    json.as_str()?.parse().ok().map(|it: jiff::Timestamp| it.as_millisecond())
}

/// Every notification of an environment.
pub fn notifications(
    database: &MemoryStore,
    environment: EnvironmentId,
) -> Result<Vec<NotificationRow>, ReadError> {
    let filter = NotificationFilter {
        environment,
        customer: None,
        feature: None,
        r#type: None,
        rule: None,
        channel: None,
        state: None,
        from: None,
        to: None,
        after: None,
        limit: u32::MAX,
    };
    at_once(notification::list(database, &filter))
}

fn difference(found: Option<&NotificationRow>, expected: Option<&Expected>) -> Option<String> {
    match (found, expected) {
        (Some(row), Some(expected)) => {
            let found = expected_of(row, expected);
            (found.as_ref() != Some(expected))
                .then(|| format!("stored is {found:?}, must be {expected:?}"))
        }
        (Some(row), None) => {
            Some(format!("{} must not be there: {}", row.id, String::from_utf8_lossy(&row.doc)))
        }
        (None, Some(expected)) => Some(format!("it is missing: {expected:?}")),
        (None, None) => None,
    }
}

/// What a stored notification says. Words are taken from `known` where they are the same.
fn expected_of(row: &NotificationRow, known: &Expected) -> Option<Expected> {
    let json: Value = serde_json::from_slice(&row.doc).ok()?;
    let data = &json["data"];
    let word = |text: Option<&str>, known: &'static str| {
        if text == Some(known) { known } else { "another one" }
    };
    let is_reset = json["type"] == "entitlements.reset";
    let (what, before) = if is_reset {
        let what = What::Reset {
            skipped: data["skipped"].as_i64()?,
            closed_from_ms: ms(&data["previous_window"]["from"])?,
            closed_limits: limits_in(&data["previous"]),
        };
        (what, &data["previous"]["usage"])
    } else {
        let kind = match &known.what {
            What::Line { kind, .. } => word(data["line"]["kind"].as_str(), kind),
            What::Reset { .. } => "another one",
        };
        let line = &data["line"];
        let text = |it: &Value| it.as_str().map(str::to_owned);
        let what = What::Line {
            kind,
            value: amount(line["value"].as_str()?)?,
            level: amount(line["level"].as_str()?)?,
            step: line["step"].as_str().and_then(amount),
            count: line["count"].as_i64(),
            group: text(&line["group"]["key"]).zip(text(&line["group"]["value"])),
            event: data["crossed_by"]["id"].as_str().map(str::to_owned),
            is_late: data["late"].as_bool()?,
        };
        (what, &data["previous_usage"])
    };
    Some(Expected {
        position: row.ordinal >> ORDINAL_BITS,
        rule: data["rule"]["id"].as_str().map(str::to_owned),
        customer: row.customer?.to_string(),
        entitlement: data["entitlement"]["id"].as_str()?.to_owned(),
        what,
        window_from_ms: ms(&data["window"]["from"])?,
        edge: word(Some(&row.edge), known.edge),
        cause: word(data["cause"].as_str(), known.cause),
        reason: row.reason.as_deref().map(|it| word(Some(it), known.reason.unwrap_or("none"))),
        at_ms: row.created_at.as_ms(),
        before: amount(before.as_str()?)?,
        usage: amount(data["value"]["usage"].as_str()?)?,
        limits: limits_in(&data["value"]),
        channels: known.channels.clone(),
    })
}

/// What is wrong with the deliveries of these notifications, and with what receivers took.
/// If the `healthy` channel is named, everything must have come there.
pub fn compare_deliveries(
    database: &MemoryStore,
    rows: Vec<NotificationRow>,
    receivers: &Receivers,
    destinations: &BTreeMap<String, Vec<String>>,
    healthy: Option<&str>,
) -> Findings {
    let details = match at_once(notification::details(database, rows)) {
        Ok(details) => details,
        Err(error) => return vec![error.to_string()],
    };
    let mut findings = Findings::new();
    let known: Vec<String> = details.iter().map(|it| it.notification.id.to_string()).collect();
    for id in receivers.ids().iter().filter(|it| !known.contains(it)) {
        findings.push(format!("{id} was sent and is not in the store"));
    }
    for detail in &details {
        let id = detail.notification.id;
        for body in receivers.taken(&id.to_string()) {
            if body != detail.notification.doc {
                findings.push(format!("{id} was sent with other bytes than it was made with"));
            }
        }
        let mut to: Vec<String> =
            detail.deliveries.iter().map(|it| it.delivery.channel.to_string()).collect();
        to.sort();
        let mut must = destinations.get(&id.to_string()).cloned().unwrap_or_default();
        must.sort();
        if to != must {
            findings.push(format!("{id} goes to {to:?}, must go to {must:?}"));
        }
        findings.extend(deliveries_of(detail).map(|it| format!("{id}: {it}")));
        if let Some(false) = healthy.and_then(|it| is_delivered(detail, it)) {
            findings.push(format!("{id} did not come to the healthy channel"));
        }
        let is_taken = !receivers.taken(&id.to_string()).is_empty();
        if let Some(true) = healthy.and_then(|it| is_delivered(detail, it))
            && !is_taken
        {
            findings.push(format!("{id} is said to have come to the healthy channel"));
        }
    }
    findings
}

/// Whether a notification came to a channel; `None` if it was not for it.
pub fn is_delivered(detail: &NotificationDetail, channel: &str) -> Option<bool> {
    let mut to = detail.deliveries.iter().map(|it| &it.delivery);
    to.find(|it| it.channel.to_string() == channel).map(|it| it.state == DeliveryState::Success)
}

fn deliveries_of(detail: &NotificationDetail) -> impl Iterator<Item = String> {
    let is_suppressed = detail.notification.reason.is_some();
    let mut findings = Findings::new();
    if is_suppressed != detail.deliveries.is_empty() {
        findings.push(format!("it has {} deliveries", detail.deliveries.len()));
    }
    for it in &detail.deliveries {
        let delivery = &it.delivery;
        let is_open = matches!(delivery.state, DeliveryState::Pending | DeliveryState::Sending);
        let numbers: Vec<u32> = it.attempts.iter().map(|it| it.n).collect();
        let is_success = it.attempts.iter().any(|it| matches!(it.status, Some(200..=299)));
        let is_right = delivery.n == 1
            && is_open == delivery.next_attempt_at.is_some()
            && numbers == (1..=delivery.attempts).collect::<Vec<_>>()
            && delivery.attempts <= limits::DELIVERY_ATTEMPTS
            && is_success == (delivery.state == DeliveryState::Success)
            && (delivery.state == DeliveryState::Pending) == numbers.is_empty();
        if !is_right {
            findings.push(format!("a delivery is not as it may be: {it:?}"));
        }
    }
    findings.into_iter()
}
