//! Deliveries: one notification on its way to one channel.
//!
//! A delivery is open (PENDING or SENDING) exactly while it has a next attempt. What is open and
//! due is found by channel, in the order of its next attempt.
//!
//! Not here: attempts and their results (`attempt`), when to try again (the engine).

use std::{collections::HashMap, fmt, str::FromStr};

use bytes::Bytes;
use plimsoll_core::{
    ids::{ChannelId, CustomerId, DeliveryId, EnvironmentId, NotificationId},
    time::Timestamp,
};

use crate::{
    attempt::{self, AttemptRow},
    multirow,
    row::{MalformedRow, Row},
    statement::Statement,
    store::{ReadError, Store},
    value::Value,
};

/// The name of the statements that insert. A second delivery of the same notification, channel and
/// number is refused under it as unique.
pub const INSERT: &str = "delivery.insert";

/// Notifications whose deliveries one query looks up.
const LOOKUP_IDS: usize = 512;

/// How far a delivery has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeliveryState {
    /// No attempt yet.
    Pending,
    /// The first attempt has a result, and another one will follow.
    Sending,
    /// The receiver has taken it. Final.
    Success,
    /// Given up. Final.
    Failed,
}

/// One delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryRow {
    /// The id.
    pub id: DeliveryId,
    /// Of which notification.
    pub notification: NotificationId,
    /// In which environment.
    pub environment: EnvironmentId,
    /// To which channel.
    pub channel: ChannelId,
    /// About whom: first attempts of one customer on one channel start in order.
    pub customer: Option<CustomerId>,
    /// 1 for the first delivery of the notification to the channel, one more for each resend.
    pub n: u32,
    /// How far it has come.
    pub state: DeliveryState,
    /// Attempts with a result.
    pub attempts: u32,
    /// When to try next; set exactly while the delivery is open.
    pub next_attempt_at: Option<Timestamp>,
    /// The notification's place in the order of its partition.
    pub ordinal: i64,
    /// `format@version` of the body and the headers.
    pub format: String,
    /// The class of the last error.
    pub error: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// A delivery with its attempts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryDetail {
    /// The delivery.
    pub delivery: DeliveryRow,
    /// Its attempts, in order.
    pub attempts: Vec<AttemptRow>,
}

/// An open delivery with the body to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueDelivery {
    /// The delivery.
    pub delivery: DeliveryRow,
    /// The frozen body of its notification.
    pub body: Bytes,
}

/// The place of an open delivery in the order in which its channel's are due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct DuePlace {
    /// When it is due.
    pub next_attempt_at: Timestamp,
    /// The order among those due at once.
    pub ordinal: i64,
    /// The order among equals.
    pub id: DeliveryId,
}

/// A channel that has open deliveries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenChannel {
    /// Which channel.
    pub channel: ChannelId,
    /// When its first delivery is due.
    pub next_attempt_at: Timestamp,
}

const COLUMNS: &str = "id, notification, environment, channel, customer, n, state, attempts, \
                       next_attempt_at, ordinal, format, error, created_at, updated_at";

impl DeliveryState {
    /// The state as it is stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Sending => "SENDING",
            Self::Success => "SUCCESS",
            Self::Failed => "FAILED",
        }
    }
}

impl fmt::Display for DeliveryState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text is not the name of a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected PENDING, SENDING, SUCCESS or FAILED")]
pub struct InvalidState;

impl FromStr for DeliveryState {
    type Err = InvalidState;

    fn from_str(text: &str) -> Result<Self, InvalidState> {
        [Self::Pending, Self::Sending, Self::Success, Self::Failed]
            .into_iter()
            .find(|it| it.as_str() == text)
            .ok_or(InvalidState)
    }
}

impl DeliveryRow {
    /// Its place among what is due on its channel; `None` if it is final.
    pub fn place(&self) -> Option<DuePlace> {
        let next_attempt_at = self.next_attempt_at?;
        Some(DuePlace { next_attempt_at, ordinal: self.ordinal, id: self.id })
    }
}

/// Inserts deliveries.
pub fn insert(rows: Vec<DeliveryRow>) -> Vec<Statement> {
    let rows = rows
        .into_iter()
        .map(|it| {
            [
                Value::text_of(&it.id),
                Value::text_of(&it.notification),
                Value::text_of(&it.environment),
                Value::text_of(&it.channel),
                Value::text_of_option(it.customer.as_ref()),
                it.n.into(),
                it.state.as_str().into(),
                it.attempts.into(),
                it.next_attempt_at.into(),
                it.ordinal.into(),
                it.format.into(),
                it.error.into(),
                it.created_at.into(),
                it.updated_at.into(),
            ]
        })
        .collect();
    multirow::insert(INSERT, &format!("INSERT INTO delivery ({COLUMNS})"), "", rows)
}

/// Makes at most `limit` open deliveries of a channel FAILED with this error, those due first
/// first. The rows returned are one for each: fewer than `limit` means that none is left.
pub fn fail_open(channel: ChannelId, error: &str, now: Timestamp, limit: u32) -> Statement {
    Statement::new(
        "delivery.fail_open",
        "UPDATE delivery SET state = 'FAILED', error = $2, next_attempt_at = NULL, \
         updated_at = $3 WHERE id IN (SELECT id FROM delivery WHERE channel = $1 \
         AND next_attempt_at IS NOT NULL ORDER BY next_attempt_at, ordinal, id LIMIT $4) \
         RETURNING id",
        vec![Value::text_of(&channel), error.into(), now.into(), limit.into()],
    )
}

/// At most `limit` open deliveries of a channel that are due at `now` and come after `after`
/// (`None`: from the first), in the order in which they are due, with their bodies.
pub async fn due(
    store: &dyn Store,
    channel: ChannelId,
    now: Timestamp,
    after: Option<DuePlace>,
    limit: u32,
) -> Result<Vec<DueDelivery>, ReadError> {
    let mut params = vec![Value::text_of(&channel), now.into()];
    let mut sql = "SELECT d.id, d.notification, d.environment, d.channel, d.customer, d.n, \
                   d.state, d.attempts, d.next_attempt_at, d.ordinal, d.format, d.error, \
                   d.created_at, d.updated_at, notification.doc FROM delivery AS d \
                   JOIN notification ON notification.id = d.notification \
                   WHERE d.channel = $1 AND d.next_attempt_at <= $2"
        .to_owned();
    if let Some(after) = after {
        sql.push_str(" AND (d.next_attempt_at, d.ordinal, d.id) > ($3, $4, $5)");
        params.extend([
            after.next_attempt_at.into(),
            after.ordinal.into(),
            Value::text_of(&after.id),
        ]);
    }
    params.push(limit.into());
    sql += &format!(" ORDER BY d.next_attempt_at, d.ordinal, d.id LIMIT ${}", params.len());
    let rows = store.query(Statement::new("delivery.due", sql, params)).await?;
    let due = rows
        .iter()
        .map(|row| Ok(DueDelivery { delivery: from_row(row)?, body: row.get_bytes(14)?.clone() }));
    Ok(due.collect::<Result<_, MalformedRow>>()?)
}

/// When the first open delivery of a channel is due; `None` if it has none.
pub async fn earliest(
    store: &dyn Store,
    channel: ChannelId,
) -> Result<Option<Timestamp>, ReadError> {
    let rows = store
        .query(Statement::new(
            "delivery.earliest",
            "SELECT next_attempt_at FROM delivery WHERE channel = $1 \
             AND next_attempt_at IS NOT NULL ORDER BY next_attempt_at LIMIT 1",
            vec![Value::text_of(&channel)],
        ))
        .await?;
    Ok(rows.first().map(|it| it.get_time(0)).transpose()?)
}

/// Every channel that has an open delivery, and when its first one is due.
///
/// Looks at two index entries a channel, however many deliveries it has.
pub async fn open_channels(store: &dyn Store) -> Result<Vec<OpenChannel>, ReadError> {
    let rows = store
        .query(Statement::new(
            "delivery.open_channels",
            "WITH RECURSIVE open (channel) AS (\
             SELECT min(channel) FROM delivery WHERE next_attempt_at IS NOT NULL \
             UNION ALL SELECT (SELECT min(delivery.channel) FROM delivery \
             WHERE next_attempt_at IS NOT NULL AND delivery.channel > open.channel) \
             FROM open WHERE open.channel IS NOT NULL) \
             SELECT open.channel, (SELECT min(next_attempt_at) FROM delivery \
             WHERE delivery.channel = open.channel AND next_attempt_at IS NOT NULL) \
             FROM open WHERE open.channel IS NOT NULL",
            Vec::new(),
        ))
        .await?;
    let channels = rows
        .iter()
        .map(|row| Ok(OpenChannel { channel: row.parse(0)?, next_attempt_at: row.get_time(1)? }));
    Ok(channels.collect::<Result<_, MalformedRow>>()?)
}

/// The delivery with this id.
pub async fn get(store: &dyn Store, id: DeliveryId) -> Result<Option<DeliveryRow>, ReadError> {
    let sql = format!("SELECT {COLUMNS} FROM delivery WHERE id = $1");
    let rows = store.query(Statement::new("delivery.get", sql, vec![Value::text_of(&id)])).await?;
    Ok(rows.first().map(from_row).transpose()?)
}

/// The deliveries of one notification, by id.
pub async fn of_notification(
    store: &dyn Store,
    notification: NotificationId,
) -> Result<Vec<DeliveryRow>, ReadError> {
    of_notifications(store, &[notification.to_string()]).await
}

/// The deliveries of each of these notifications, by id, with their attempts.
pub async fn details(
    store: &dyn Store,
    notifications: &[NotificationId],
) -> Result<HashMap<NotificationId, Vec<DeliveryDetail>>, ReadError> {
    let ids: Vec<_> = notifications.iter().map(ToString::to_string).collect();
    let mut details: HashMap<_, Vec<_>> = HashMap::new();
    for ids in ids.chunks(LOOKUP_IDS) {
        let deliveries = of_notifications(store, ids).await?;
        let delivery_ids: Vec<_> = deliveries.iter().map(|it| it.id).collect();
        let mut attempts = attempt::of_deliveries(store, &delivery_ids).await?;
        for delivery in deliveries {
            let attempts = attempts.remove(&delivery.id).unwrap_or_default();
            let detail = DeliveryDetail { delivery, attempts };
            details.entry(detail.delivery.notification).or_default().push(detail);
        }
    }
    Ok(details)
}

async fn of_notifications(
    store: &dyn Store,
    notifications: &[String],
) -> Result<Vec<DeliveryRow>, ReadError> {
    let (members, params) = multirow::members(1, notifications);
    let sql = format!("SELECT {COLUMNS} FROM delivery WHERE notification IN {members} ORDER BY id");
    let rows = store.query(Statement::new("delivery.of_notifications", sql, params)).await?;
    Ok(rows.iter().map(from_row).collect::<Result<_, _>>()?)
}

fn from_row(row: &Row) -> Result<DeliveryRow, MalformedRow> {
    Ok(DeliveryRow {
        id: row.parse(0)?,
        notification: row.parse(1)?,
        environment: row.parse(2)?,
        channel: row.parse(3)?,
        customer: row.opt_parse(4)?,
        n: row.get_u32(5)?,
        state: row.parse(6)?,
        attempts: row.get_u32(7)?,
        next_attempt_at: row.opt_time(8)?,
        ordinal: row.get_int(9)?,
        format: row.get_text(10)?.to_owned(),
        error: row.opt_text(11)?.map(str::to_owned),
        created_at: row.get_time(12)?,
        updated_at: row.get_time(13)?,
    })
}
