//! Notifications: read with their deliveries and attempts, and sent again by hand.
//!
//! Not here: making them (partitions), sending them (`delivery`).

use bytes::Bytes;
use plimsoll_core::{
    ids::{ChannelId, CustomerId, DeliveryId, FeatureId, NotificationId},
    time::Timestamp,
};
use plimsoll_store::{
    attempt::AttemptRow,
    delivery::{DeliveryDetail, DeliveryState},
    notification::NotificationDetail,
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::ops::{
    control::unreadable,
    problem::Problem,
    scalar::{Time, as_text, as_text_or_null},
};

mod methods;
mod resend;

/// The fact that a line was crossed or something happened, with what became of it.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct Notification {
    /// The notification's id; what a webhook carries as `webhook-id`.
    #[serde(with = "as_text")]
    #[schema(value_type = String, example = "ntf_01K0000000000000000000000A")]
    pub id: NotificationId,
    /// Its type.
    #[schema(example = "entitlements.balance.threshold")]
    pub r#type: String,
    /// `crossed` or `resolved`; empty for what is no edge.
    #[schema(example = "crossed")]
    pub edge: String,
    /// The id of the customer that it is about.
    #[serde(with = "as_text_or_null")]
    #[schema(value_type = Option<String>)]
    pub customer: Option<CustomerId>,
    /// The id of the feature that it is about.
    #[serde(with = "as_text_or_null")]
    #[schema(value_type = Option<String>)]
    pub feature: Option<FeatureId>,
    /// Why nothing was sent, such as `rule_disabled`; null if something was.
    pub reason: Option<String>,
    /// When what it tells of happened.
    #[serde(with = "as_text")]
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// The rule that fired, as it was then.
    #[schema(value_type = Option<serde_json::Value>)]
    pub rule: Option<Box<RawValue>>,
    /// The body of its webhooks, which never changes.
    #[schema(value_type = serde_json::Value)]
    pub payload: Box<RawValue>,
    /// To which channels it went, the oldest first.
    pub deliveries: Vec<Delivery>,
}

/// A notification on its way to one channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Delivery {
    /// The delivery's id.
    #[serde(with = "as_text")]
    #[schema(value_type = String, example = "dlv_01K0000000000000000000000A")]
    pub id: DeliveryId,
    /// The id of the channel.
    #[serde(with = "as_text")]
    #[schema(value_type = String, example = "chn_01K0000000000000000000000A")]
    pub channel: ChannelId,
    /// 1 for the first delivery to the channel, one more for each resend.
    pub n: u32,
    /// `PENDING`, `SENDING`, `SUCCESS` or `FAILED`.
    #[schema(example = "SUCCESS")]
    pub state: String,
    /// The wire format and its version.
    #[schema(example = "plimsoll@1")]
    pub format: String,
    /// The class of the last error.
    pub error: Option<String>,
    /// When it is tried next; null if it is final.
    #[serde(with = "as_text_or_null")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_attempt_at: Option<Timestamp>,
    /// Every attempt, in order.
    pub attempts: Vec<Attempt>,
}

/// One HTTP request of a delivery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Attempt {
    /// When it began.
    #[serde(with = "as_text")]
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// The HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// How long it took, in milliseconds.
    pub duration_ms: u32,
    /// The class of the error, if it failed.
    pub error: Option<String>,
    /// The beginning of the answer's body; what is no text is replaced.
    pub response_body: Option<String>,
}

/// Which notifications to list, the newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct NotificationQuery {
    /// Only about this customer, by key or id.
    #[serde(default)]
    pub customer: Option<String>,
    /// Only about this feature, by key or id.
    #[serde(default)]
    pub feature: Option<String>,
    /// Only of this type.
    #[serde(default)]
    pub r#type: Option<String>,
    /// Only of this rule, by id.
    #[serde(default)]
    pub rule: Option<String>,
    /// Only those that went to this channel, by id.
    #[serde(default)]
    pub channel: Option<String>,
    /// Only those with a delivery in this state: `PENDING`, `SENDING`, `SUCCESS` or `FAILED`.
    #[serde(default)]
    pub state: Option<String>,
    /// Only those created at this time or later.
    #[serde(default)]
    #[param(value_type = Option<String>, format = DateTime)]
    pub from: Option<Time>,
    /// Only those created before this time.
    #[serde(default)]
    #[param(value_type = Option<String>, format = DateTime)]
    pub to: Option<Time>,
    /// Items of the page, 1 to 1000; 50 if absent.
    #[serde(default)]
    pub limit: Option<usize>,
    /// The `next_cursor` of the page before.
    #[serde(default)]
    pub cursor: Option<String>,
}

/// Where to send a notification again.
#[derive(Debug, Clone, Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ResendNotification {
    /// The id of the channel; all that it went to, if absent.
    #[serde(default)]
    #[schema(example = "chn_01K0000000000000000000000A")]
    pub channel: Option<String>,
}

impl Notification {
    fn of(detail: NotificationDetail) -> Result<Self, Problem> {
        let NotificationDetail { notification: row, deliveries } = detail;
        Ok(Self {
            id: row.id,
            r#type: row.r#type,
            edge: row.edge,
            customer: row.customer,
            feature: row.feature,
            reason: row.reason,
            created_at: row.created_at,
            rule: row.rule_snapshot.as_ref().map(raw).transpose()?,
            payload: raw(&row.doc)?,
            deliveries: deliveries.into_iter().map(Delivery::of).collect(),
        })
    }
}

/// Stored bytes as the JSON that they are.
fn raw(bytes: &Bytes) -> Result<Box<RawValue>, Problem> {
    serde_json::from_slice(bytes).map_err(|it| unreadable(&it))
}

impl Delivery {
    fn of(detail: DeliveryDetail) -> Self {
        let row = detail.delivery;
        Self {
            id: row.id,
            channel: row.channel,
            n: row.n,
            state: row.state.to_string(),
            format: row.format,
            error: row.error,
            next_attempt_at: row.next_attempt_at,
            attempts: detail.attempts.into_iter().map(Attempt::of).collect(),
        }
    }
}

impl Attempt {
    fn of(row: AttemptRow) -> Self {
        let text = |it: Bytes| String::from_utf8_lossy(&it).into_owned();
        Self {
            at: row.at,
            status: row.status,
            duration_ms: row.duration_ms,
            error: row.error,
            response_body: row.response_body.map(text),
        }
    }
}

/// The state with this name.
fn read_state(text: &str) -> Result<DeliveryState, String> {
    text.parse().map_err(|error: plimsoll_store::delivery::InvalidState| error.to_string())
}
