//! Notifications: the immutable facts that a rule or a life-cycle event fired.
//!
//! The unique index on `identity` is an assertion: outside recovery a conflict, refused under
//! the name [`INSERT`], means that the same thing was about to be said twice.
//!
//! Not here: what makes an identity (the core), deliveries' own statements (`delivery`).

use bytes::Bytes;
use plimsoll_core::{
    ids::{ChannelId, CustomerId, EnvironmentId, FeatureId, NotificationId, RuleId},
    time::Timestamp,
};

use crate::{
    delivery::{self, DeliveryDetail, DeliveryState},
    multirow,
    row::{MalformedRow, Row},
    statement::Statement,
    store::{ReadError, Store},
    value::Value,
};

/// The name of the statements that insert.
pub const INSERT: &str = "notification.insert";

/// One notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotificationRow {
    /// The id; its time is `created_at`.
    pub id: NotificationId,
    /// The hash of what happened.
    pub identity: Bytes,
    /// In which environment.
    pub environment: EnvironmentId,
    /// The type, such as `entitlements.balance.threshold`.
    pub r#type: String,
    /// `crossed`, `resolved`, or empty for what is no edge.
    pub edge: String,
    /// About whom.
    pub customer: Option<CustomerId>,
    /// About which feature.
    pub feature: Option<FeatureId>,
    /// The rule that fired.
    pub rule: Option<RuleId>,
    /// Why nothing was sent; absent if something was.
    pub reason: Option<String>,
    /// The stamp of what caused it.
    pub created_at: Timestamp,
    /// Its place in the order of its partition.
    pub ordinal: i64,
    /// The frozen webhook body.
    pub doc: Bytes,
    /// The rule as it was.
    pub rule_snapshot: Option<Bytes>,
}

/// A notification with its deliveries and their attempts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotificationDetail {
    /// The notification.
    pub notification: NotificationRow,
    /// Its deliveries, by id.
    pub deliveries: Vec<DeliveryDetail>,
}

/// Which notifications of an environment to list, the newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotificationFilter {
    /// Of which environment.
    pub environment: EnvironmentId,
    /// Only about this customer.
    pub customer: Option<CustomerId>,
    /// Only about this feature.
    pub feature: Option<FeatureId>,
    /// Only of this type.
    pub r#type: Option<String>,
    /// Only of this rule.
    pub rule: Option<RuleId>,
    /// Only those with a delivery to this channel.
    pub channel: Option<ChannelId>,
    /// Only those with a delivery in this state; with `channel`, one delivery must meet both.
    pub state: Option<DeliveryState>,
    /// Only those created at this time or later.
    pub from: Option<Timestamp>,
    /// Only those created before this time.
    pub to: Option<Timestamp>,
    /// Only those that come after this one in the list: the cursor.
    pub after: Option<NotificationId>,
    /// At most so many.
    pub limit: u32,
}

const COLUMNS: &str = "id, identity, environment, type, edge, customer, feature, rule, reason, \
                       created_at, ordinal, doc, rule_snapshot";

impl NotificationFilter {
    /// The newest `limit` notifications of an environment.
    pub const fn newest(environment: EnvironmentId, limit: u32) -> Self {
        Self {
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
            limit,
        }
    }

    fn statement(&self) -> Statement {
        let mut query = Conditions::default();
        query.add("environment = ", Value::text_of(&self.environment));
        query.add("customer = ", Value::text_of_option(self.customer.as_ref()));
        query.add("feature = ", Value::text_of_option(self.feature.as_ref()));
        query.add("type = ", self.r#type.as_deref().into());
        query.add("rule = ", Value::text_of_option(self.rule.as_ref()));
        // An id begins with its time, so the primary order finds a range of times, too.
        query.add("id >= ", self.from.map(first_id_at).into());
        query.add("id < ", self.to.map(first_id_at).into());
        query.add("id < ", Value::text_of_option(self.after.as_ref()));
        if self.channel.is_some() || self.state.is_some() {
            query.open("EXISTS (SELECT 1 FROM delivery WHERE notification = notification.id");
            query.add("channel = ", Value::text_of_option(self.channel.as_ref()));
            query.add("delivery.state = ", self.state.map(DeliveryState::as_str).into());
            query.sql.push(')');
        }
        query.params.push(self.limit.into());
        let sql = format!(
            "SELECT {COLUMNS} FROM notification WHERE {} ORDER BY id DESC LIMIT ${}",
            query.sql,
            query.params.len(),
        );
        Statement::new("notification.list", sql, query.params)
    }
}

/// The conditions of a WHERE clause, joined by AND, with their parameters.
#[derive(Default)]
struct Conditions {
    sql: String,
    params: Vec<Value>,
}

impl Conditions {
    /// Adds `{comparison}{value}` unless the value is NULL, which asks for nothing.
    fn add(&mut self, comparison: &str, value: Value) {
        if value == Value::Null {
            return;
        }
        self.params.push(value);
        let number = self.params.len();
        self.open(&format!("{comparison}${number}"));
    }

    fn open(&mut self, condition: &str) {
        if !self.sql.is_empty() {
            self.sql.push_str(" AND ");
        }
        self.sql.push_str(condition);
    }
}

fn first_id_at(time: Timestamp) -> String {
    let ms = u64::try_from(time.as_ms()).unwrap_or(0);
    NotificationId::from_parts(ms, 0).to_string()
}

/// Inserts notifications.
pub fn insert(rows: Vec<NotificationRow>) -> Vec<Statement> {
    let rows = rows
        .into_iter()
        .map(|it| {
            [
                Value::text_of(&it.id),
                it.identity.into(),
                Value::text_of(&it.environment),
                it.r#type.into(),
                it.edge.into(),
                Value::text_of_option(it.customer.as_ref()),
                Value::text_of_option(it.feature.as_ref()),
                Value::text_of_option(it.rule.as_ref()),
                it.reason.into(),
                it.created_at.into(),
                it.ordinal.into(),
                it.doc.into(),
                it.rule_snapshot.into(),
            ]
        })
        .collect();
    multirow::insert(INSERT, &format!("INSERT INTO notification ({COLUMNS})"), "", rows)
}

/// Whether an environment has any.
pub async fn any(store: &dyn Store, environment: EnvironmentId) -> Result<bool, ReadError> {
    let sql = "SELECT id FROM notification WHERE environment = $1 LIMIT 1";
    let params = vec![Value::text_of(&environment)];
    Ok(!store.query(Statement::new("notification.any", sql, params)).await?.is_empty())
}

/// The notification with this id.
pub async fn get(
    store: &dyn Store,
    environment: EnvironmentId,
    id: NotificationId,
) -> Result<Option<NotificationRow>, ReadError> {
    let sql = format!("SELECT {COLUMNS} FROM notification WHERE id = $1 AND environment = $2");
    let params = vec![Value::text_of(&id), Value::text_of(&environment)];
    let rows = store.query(Statement::new("notification.get", sql, params)).await?;
    Ok(rows.first().map(from_row).transpose()?)
}

/// One page of notifications, the newest first.
pub async fn list(
    store: &dyn Store,
    filter: &NotificationFilter,
) -> Result<Vec<NotificationRow>, ReadError> {
    let rows = store.query(filter.statement()).await?;
    Ok(rows.iter().map(from_row).collect::<Result<_, _>>()?)
}

/// These notifications, in their order, with their deliveries and attempts.
pub async fn details(
    store: &dyn Store,
    notifications: Vec<NotificationRow>,
) -> Result<Vec<NotificationDetail>, ReadError> {
    let ids: Vec<_> = notifications.iter().map(|it| it.id).collect();
    let mut deliveries = delivery::details(store, &ids).await?;
    let details = notifications.into_iter().map(|notification| {
        let deliveries = deliveries.remove(&notification.id).unwrap_or_default();
        NotificationDetail { notification, deliveries }
    });
    Ok(details.collect())
}

fn from_row(row: &Row) -> Result<NotificationRow, MalformedRow> {
    Ok(NotificationRow {
        id: row.parse(0)?,
        identity: row.get_bytes(1)?.clone(),
        environment: row.parse(2)?,
        r#type: row.get_text(3)?.to_owned(),
        edge: row.get_text(4)?.to_owned(),
        customer: row.opt_parse(5)?,
        feature: row.opt_parse(6)?,
        rule: row.opt_parse(7)?,
        reason: row.opt_text(8)?.map(str::to_owned),
        created_at: row.get_time(9)?,
        ordinal: row.get_int(10)?,
        doc: row.get_bytes(11)?.clone(),
        rule_snapshot: row.opt_bytes(12)?.cloned(),
    })
}
