//! Turns crossings into notifications: frozen bytes, and a delivery for each channel of the rule.
//!
//! Everything inside a notification is as it was in the transaction that makes it. Later edits,
//! retries and resends do not change it.

use std::borrow::Cow;

use bytes::Bytes;
use plimsoll_core::{
    ids::{CustomerId, DeliveryId, EntitlementId},
    line::crossing::Crossing,
    time::Timestamp,
};
use plimsoll_store::{
    delivery::{DeliveryRow, DeliveryState},
    notification::NotificationRow,
};
use serde::Serialize;
use serde_json::value::RawValue;

use super::{documents::Documents, memory::FoundCrossing};
use crate::{
    delivery::{channels::ChannelRegistry, dispatcher::Outbound},
    deps::Random,
    ingest::{event::EventReader, json::Scanner},
};

/// Deliveries of one log row that an ordinal can tell apart.
const ORDINAL_BITS: u32 = 20;
/// Why a delivery to a disabled channel failed without an attempt (row 17).
const CHANNEL_DISABLED: &str = "channel_disabled";

/// The rows and messages that a batch's crossings come to.
#[derive(Debug, Default)]
pub(super) struct Notices {
    pub(super) notifications: Vec<NotificationRow>,
    pub(super) deliveries: Vec<DeliveryRow>,
    /// For the dispatcher, once all this is committed.
    pub(super) outbound: Vec<Outbound>,
}

/// The body of a webhook in Plimsoll's own format.
#[derive(Serialize)]
struct Body<'a> {
    id: String,
    r#type: &'static str,
    timestamp: String,
    data: Data<'a>,
}

#[derive(Serialize)]
struct Data<'a> {
    customer: Cow<'a, RawValue>,
    feature: Cow<'a, RawValue>,
    entitlement: Cow<'a, RawValue>,
    line: LineView,
    value: ValueView,
    previous_usage: String,
    cause: &'static str,
    edge: &'static str,
    window: WindowView,
    late: bool,
    rule: RuleView<'a>,
    crossed_by: Option<EventView<'a>>,
}

#[derive(Serialize)]
struct LineView {
    kind: &'static str,
    value: String,
    level: String,
}

#[derive(Serialize)]
struct ValueView {
    usage: String,
    limit: Option<String>,
    balance: Option<String>,
    overage: String,
}

#[derive(Serialize)]
struct WindowView {
    from: String,
    to: String,
}

#[derive(Serialize)]
struct RuleView<'a> {
    id: String,
    name: Cow<'a, RawValue>,
}

#[derive(serde::Deserialize)]
struct RuleName<'a> {
    #[serde(borrow)]
    name: &'a RawValue,
}

#[derive(Serialize)]
struct EventView<'a> {
    source: Cow<'a, str>,
    id: Cow<'a, str>,
    subject: Cow<'a, str>,
    time: String,
}

/// The ids of the resources that the notifications of these crossings show.
pub(super) fn needed_documents(crossings: &[FoundCrossing]) -> Vec<String> {
    let ids = |customer: CustomerId, entitlement: EntitlementId| {
        [customer.to_string(), entitlement.to_string()]
    };
    crossings
        .iter()
        .flat_map(|it| ids(it.crossing.customer, it.crossing.identity.entitlement))
        .collect()
}

/// Makes the notifications and deliveries of a batch.
pub(super) fn of_crossings(
    crossings: &[FoundCrossing],
    features: impl Fn(&Crossing) -> Vec<u8>,
    documents: &Documents,
    channels: &ChannelRegistry,
    random: &dyn Random,
    now: Timestamp,
) -> Notices {
    let mut notices = Notices::default();
    for (index, found) in crossings.iter().enumerate() {
        let crossing = &found.crossing;
        let low = (index as u64) & ((1 << ORDINAL_BITS) - 1);
        let ordinal = ((found.position << ORDINAL_BITS) | low) as i64;
        let body = Bytes::from(body(found, &features(crossing), documents));
        let notification = notification(crossing, ordinal, &body);
        if crossing.suppression.is_none() {
            notices.fan_out(crossing, &notification, channels, random, now);
        }
        notices.notifications.push(notification);
    }
    notices
}

fn notification(crossing: &Crossing, ordinal: i64, body: &Bytes) -> NotificationRow {
    NotificationRow {
        id: crossing.notification_id(),
        identity: Bytes::copy_from_slice(&crossing.identity.digest()),
        environment: crossing.environment,
        r#type: crossing.rule.kind.notification_type().to_owned(),
        edge: crossing.identity.edge.name().to_owned(),
        customer: Some(crossing.customer),
        feature: Some(crossing.feature),
        rule: Some(crossing.rule.id),
        reason: crossing.suppression.map(|it| it.code().to_owned()),
        created_at: crossing.at,
        ordinal,
        doc: body.clone(),
        rule_snapshot: Some(Bytes::copy_from_slice(&crossing.rule.document)),
    }
}

impl Notices {
    fn fan_out(
        &mut self,
        crossing: &Crossing,
        notification: &NotificationRow,
        channels: &ChannelRegistry,
        random: &dyn Random,
        now: Timestamp,
    ) {
        for channel in crossing.rule.channels.iter().filter_map(|it| channels.get(*it)) {
            let delivery = DeliveryRow {
                id: DeliveryId::from_parts(now.as_ms().max(0) as u64, random.bits()),
                notification: notification.id,
                environment: notification.environment,
                channel: channel.id,
                customer: notification.customer,
                n: 1,
                state: if channel.disabled {
                    DeliveryState::Failed
                } else {
                    DeliveryState::Pending
                },
                attempts: 0,
                next_attempt_at: (!channel.disabled).then_some(now),
                ordinal: notification.ordinal,
                format: channel.format.versioned().to_owned(),
                error: channel.disabled.then(|| CHANNEL_DISABLED.to_owned()),
                created_at: now,
                updated_at: now,
            };
            if !channel.disabled {
                self.outbound.push(Outbound {
                    delivery: delivery.id,
                    notification: notification.id,
                    channel: channel.id,
                    customer: notification.customer,
                    ordinal: notification.ordinal,
                    body: notification.doc.clone(),
                });
            }
            self.deliveries.push(delivery);
        }
    }
}

/// The frozen body. The documents inside are JSON already and are taken as they stand.
fn body(found: &FoundCrossing, feature: &[u8], documents: &Documents) -> Vec<u8> {
    let crossing = &found.crossing;
    let value = &crossing.value;
    let customer = documents.get(&crossing.customer.to_string());
    let entitlement = documents.get(&crossing.identity.entitlement.to_string());
    let data = Data {
        customer: raw(customer),
        feature: raw(feature),
        entitlement: raw(entitlement),
        line: LineView {
            kind: crossing.line.kind.name(),
            value: crossing.line.value.to_string(),
            level: crossing.level.to_string(),
        },
        value: ValueView {
            usage: value.usage.to_string(),
            limit: value.limit.map(|it| it.to_string()),
            balance: value.balance.map(|it| it.to_string()),
            overage: value.overage.to_string(),
        },
        previous_usage: crossing.previous_usage.to_string(),
        cause: crossing.cause.name(),
        edge: crossing.identity.edge.name(),
        window: WindowView { from: value.window.from.to_string(), to: value.window.to.to_string() },
        late: false,
        rule: RuleView {
            id: crossing.rule.id.to_string(),
            name: serde_json::from_slice::<RuleName<'_>>(&crossing.rule.document)
                .map_or_else(|_| raw(b"null"), |it| Cow::Borrowed(it.name)),
        },
        crossed_by: found.crossed_by.as_deref().and_then(|it| event_view(it, crossing.at)),
    };
    let body = Body {
        id: crossing.notification_id().to_string(),
        r#type: crossing.rule.kind.notification_type(),
        timestamp: crossing.at.to_string(),
        data,
    };
    serde_json::to_vec(&body).expect("strings and JSON make JSON")
}

fn raw(json: &[u8]) -> Cow<'_, RawValue> {
    serde_json::from_slice::<&RawValue>(json)
        .map_or_else(|_| Cow::Owned(RawValue::NULL.to_owned()), Cow::Borrowed)
}

fn event_view(raw: &str, stamp: Timestamp) -> Option<EventView<'_>> {
    let mut scanner = Scanner::new(raw);
    let event = EventReader::default().read(&mut scanner).ok()?.ok()?;
    let time = event.time.unwrap_or(stamp).to_string();
    Some(EventView { source: event.source, id: event.id, subject: event.subject, time })
}
