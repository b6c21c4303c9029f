//! Rows to store, told apart by a number.

use bytes::Bytes;
use plimsoll_core::{
    ids::{
        AuditId, ChannelId, CustomerId, DeliveryId, EnvironmentId, FeatureId, NotificationId,
        RuleId,
    },
    time::Timestamp,
};
use plimsoll_store::{
    Batch, CommitError, Lane, Row, Statement, Store,
    attempt::{AttemptResult, AttemptRow},
    audit::AuditRow,
    dedupe::{Piece, SegmentRow, SegmentState},
    delivery::{DeliveryRow, DeliveryState},
    log::LogRow,
    notification::NotificationRow,
    resource::ResourceRow,
    uncounted::UncountedRow,
};

pub(crate) fn environment(n: u128) -> EnvironmentId {
    EnvironmentId::from_parts(1, n)
}

pub(crate) fn customer(n: u128) -> CustomerId {
    CustomerId::from_parts(1, n)
}

pub(crate) fn channel(n: u128) -> ChannelId {
    ChannelId::from_parts(1, n)
}

pub(crate) fn feature(n: u128) -> FeatureId {
    FeatureId::from_parts(1, n)
}

pub(crate) fn rule(n: u128) -> RuleId {
    RuleId::from_parts(1, n)
}

pub(crate) fn audit(n: u128) -> AuditId {
    AuditId::from_parts(1, n)
}

pub(crate) fn delivery_id(n: u128) -> DeliveryId {
    DeliveryId::from_parts(1, n)
}

pub(crate) fn at(ms: i64) -> Timestamp {
    Timestamp::from_ms(ms)
}

/// The id of the notification made at `ms`.
pub(crate) fn notification_id(ms: i64) -> NotificationId {
    NotificationId::from_parts(ms.unsigned_abs(), 7)
}

/// A segment that is complete.
pub(crate) fn segment(partition: u32, number: i64) -> SegmentRow {
    SegmentRow {
        partition,
        segment: number,
        state: SegmentState::Live,
        block_bits: 3,
        identities: 40,
        last_position: number * 10,
        oldest_at: at(number * 100),
        newest_at: at(number * 100 + 99),
    }
}

/// A block or a filter whose bytes tell where it belongs.
pub(crate) fn piece(segment: i64, place: u32) -> Piece {
    Piece { segment, place, bytes: Bytes::from(format!("{segment}/{place}")) }
}

/// Writes a segment as the first schema had them, with so many bytes of hashes.
pub(crate) fn unsorted_segment(partition: u32, segment: i64, bytes: usize) -> Statement {
    Statement::new(
        "test.unsorted_segment",
        "INSERT INTO dedupe (partition, segment, first_position, last_position, sealed_at, hashes) \
         VALUES ($1, $2, 1, $3, $4, $5)",
        vec![
            partition.into(),
            segment.into(),
            (segment * 10).into(),
            at(segment * 100).into(),
            Bytes::from(vec![segment as u8; bytes]).into(),
        ],
    )
}

pub(crate) fn log_row(partition: u32, position: i64, payload: impl Into<Bytes>) -> LogRow {
    LogRow {
        partition,
        position,
        stamped_at: at(position * 10),
        core_version: 1,
        kind: 2,
        codec: 3,
        payload: payload.into(),
    }
}

/// What is uncounted in the log row at this position, stamped at `ms`.
pub(crate) fn uncounted_row(partition: u32, position: i64, ms: i64) -> UncountedRow {
    UncountedRow {
        partition,
        position,
        environment: environment(1),
        stamped_at: at(ms),
        payload: Bytes::from(vec![position as u8; 3]),
    }
}

/// The notification made at `ms`.
pub(crate) fn notification(ms: i64) -> NotificationRow {
    NotificationRow {
        id: notification_id(ms),
        identity: ms.to_be_bytes().to_vec().into(),
        environment: environment(1),
        r#type: "entitlements.balance.threshold".to_owned(),
        edge: "crossed".to_owned(),
        customer: Some(customer(1)),
        feature: Some(feature(1)),
        rule: Some(rule(1)),
        reason: None,
        created_at: at(ms),
        ordinal: ms,
        doc: format!("{{\"n\":{ms}}}").into(),
        rule_snapshot: Some(Bytes::from_static(b"{}")),
    }
}

/// A pending delivery of the notification made at `ms`, due then.
pub(crate) fn delivery(n: u128, ms: i64) -> DeliveryRow {
    DeliveryRow {
        id: delivery_id(n),
        notification: notification_id(ms),
        environment: environment(1),
        channel: channel(1),
        customer: Some(customer(1)),
        n: 1,
        state: DeliveryState::Pending,
        attempts: 0,
        next_attempt_at: Some(at(ms)),
        ordinal: ms,
        format: "plimsoll@1".to_owned(),
        error: None,
        created_at: at(ms),
        updated_at: at(ms),
    }
}

/// The result of attempt `n` of a delivery: answered 200, or 500 with another attempt at `again`.
pub(crate) fn result(delivery: u128, n: u32, again: Option<i64>) -> AttemptResult {
    let failed = again.is_some();
    AttemptResult {
        attempt: AttemptRow {
            delivery: delivery_id(delivery),
            n,
            at: at(500),
            status: Some(if failed { 500 } else { 200 }),
            duration_ms: 3,
            error: failed.then(|| "status".to_owned()),
            response_body: Some(Bytes::from_static(b"o\0k\xff")),
        },
        state: if failed { DeliveryState::Sending } else { DeliveryState::Success },
        next_attempt_at: again.map(at),
        updated_at: at(600),
    }
}

pub(crate) fn resource(id: &str, kind: &str, key: Option<&str>) -> ResourceRow {
    ResourceRow {
        id: id.to_owned(),
        environment: environment(1),
        kind: kind.to_owned(),
        key: key.map(str::to_owned),
        parent: None,
        version: 1,
        doc: format!("{{\"id\":\"{id}\"}}"),
        created_at: at(1),
        updated_at: at(1),
        deleted_at: None,
    }
}

pub(crate) fn audit_row(n: u128, resource_id: &str) -> AuditRow {
    AuditRow {
        id: audit(n),
        environment: environment(1),
        at: at(1),
        actor: "cli".to_owned(),
        action: "meter.create".to_owned(),
        resource_kind: "meter".to_owned(),
        resource_id: resource_id.to_owned(),
        before: None,
        after: Some("{}".to_owned()),
    }
}

/// Commits statements, which must work.
pub(crate) async fn commit(
    store: &dyn Store,
    statements: impl IntoIterator<Item = Statement>,
) -> Vec<Vec<Row>> {
    try_commit(store, statements).await.unwrap()
}

/// Commits statements, or says why not.
pub(crate) async fn try_commit(
    store: &dyn Store,
    statements: impl IntoIterator<Item = Statement>,
) -> Result<Vec<Vec<Row>>, CommitError> {
    store.commit(Batch::new(Lane::Log, statements.into_iter().collect())).await
}

/// The name of the statement that was refused because a unique value exists.
#[track_caller]
pub(crate) fn refused_as_unique(result: Result<Vec<Vec<Row>>, CommitError>) -> &'static str {
    match result {
        Err(CommitError::Refused { statement, refusal: plimsoll_store::Refusal::Unique }) => {
            statement
        }
        other => panic!("expected a refusal as unique, got {other:?}"),
    }
}
