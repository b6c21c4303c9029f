//! Sending a notification again: a new delivery of the same frozen body.

use std::{collections::BTreeMap, sync::Arc};

use plimsoll_core::ids::{ChannelId, DeliveryId};
use plimsoll_store::{
    Batch, CommitError, Lane,
    delivery::{self as deliveries, DeliveryRow, DeliveryState},
    idempotency as idempotency_rows,
    notification::NotificationRow,
};
use tokio::sync::oneshot;

use crate::{
    catalogue::EnvironmentView,
    ops::{
        Context, Ops,
        channel::{CHANNEL_DISABLED, ChannelFormat},
        control::{CHANGE_ATTEMPTS, concurrent_change, unavailable, unreadable},
        idempotency,
        notification::{Notification, ResendNotification},
        outcome,
        plan::Answer,
        problem::{Problem, ProblemCode},
    },
};

/// What was sent to a channel before.
#[derive(Debug, Clone)]
struct Sent {
    n: u32,
    format: String,
}

impl Ops {
    /// Sends a notification again: to one channel, or to all that it went to.
    pub async fn resend_notification(
        &self,
        context: &Context,
        name: &str,
        request: ResendNotification,
    ) -> Result<Notification, Problem> {
        self.once(context, async {
            let row = self.notification_row(context, name).await?;
            for _ in 0..CHANGE_ATTEMPTS {
                if self.try_resend(context, &row, &request).await? {
                    return self.with_deliveries(row).await;
                }
            }
            Err(concurrent_change())
        })
        .await
    }

    /// False, if someone else made a delivery of the same number meanwhile.
    async fn try_resend(
        &self,
        context: &Context,
        row: &NotificationRow,
        request: &ResendNotification,
    ) -> Result<bool, Problem> {
        let store = Arc::clone(&self.inner.deps.store);
        let before = deliveries::of_notification(store.as_ref(), row.id).await;
        let mut sent: BTreeMap<ChannelId, Sent> = BTreeMap::new();
        for delivery in before.map_err(|it| unreadable(&it))? {
            let n = sent.get(&delivery.channel).map_or(0, |it| it.n).max(delivery.n);
            sent.insert(delivery.channel, Sent { n, format: delivery.format });
        }
        let view = self.view(context)?;
        let channels = addressed(&view, &sent, request)?;
        let made: Vec<_> =
            channels.iter().map(|id| self.delivery_of(row, &view, *id, &sent)).collect();
        let mut draft = self.draft(context);
        draft.statements.extend(deliveries::insert(made.clone()));
        let after = serde_json::json!({
            "deliveries": made.iter().map(|it| it.id.to_string()).collect::<Vec<_>>(),
        });
        let id = row.id.to_string();
        draft.audit_as("notification.resend", "notification", id, None, Some(after.to_string()));
        // A repetition is told where to look; what became of the deliveries is not known yet.
        let kept = serde_json::json!({ "id": row.id.to_string() });
        let answer = Answer::with_secret((), outcome::ACCEPTED, &kept);
        draft.statements.extend(self.idempotency_record(context, &answer));
        self.commit_deliveries(context, draft.statements, made, row).await
    }

    /// Commits in a task that goes on if the caller goes away, and hands the deliveries over.
    async fn commit_deliveries(
        &self,
        context: &Context,
        statements: Vec<plimsoll_store::Statement>,
        made: Vec<DeliveryRow>,
        row: &NotificationRow,
    ) -> Result<bool, Problem> {
        let inner = Arc::clone(&self.inner);
        let token = context.idempotency.clone();
        let body = row.doc.clone();
        let (send, receive) = oneshot::channel();
        self.inner.deps.tasks.spawn(async move {
            let result = inner.deps.store.commit(Batch::new(Lane::Control, statements)).await;
            if result.is_ok() {
                for delivery in made {
                    if delivery.next_attempt_at.is_some() {
                        inner.redelivery.offer(delivery, body.clone());
                    }
                }
            }
            drop(token);
            // Nobody may be waiting any more.
            drop(send.send(result));
        });
        match receive.await {
            Ok(Ok(_)) => Ok(true),
            Ok(Err(CommitError::Refused { statement: idempotency_rows::INSERT, .. })) => {
                Err(idempotency::in_flight())
            }
            Ok(Err(CommitError::Refused { .. })) => Ok(false),
            Ok(Err(error)) => Err(unreadable(&error)),
            Err(_) => Err(unavailable()),
        }
    }

    fn delivery_of(
        &self,
        row: &NotificationRow,
        view: &EnvironmentView,
        channel: ChannelId,
        sent: &BTreeMap<ChannelId, Sent>,
    ) -> DeliveryRow {
        let before = sent.get(&channel);
        let found = view.channels.get(channel).map(|it| &it.document.channel);
        let is_disabled = found.is_none_or(|it| it.disabled);
        let format = found.map_or(ChannelFormat::Plimsoll, |it| it.format);
        let now = self.machine_now();
        DeliveryRow {
            id: self.mint(DeliveryId::from_parts),
            notification: row.id,
            environment: row.environment,
            channel,
            customer: row.customer,
            n: before.map_or(0, |it| it.n) + 1,
            state: if is_disabled { DeliveryState::Failed } else { DeliveryState::Pending },
            attempts: 0,
            next_attempt_at: (!is_disabled).then_some(now),
            ordinal: row.ordinal,
            // The body is frozen in the format that it was made for.
            format: before.map_or_else(|| format.versioned().to_owned(), |it| it.format.clone()),
            error: is_disabled.then(|| CHANNEL_DISABLED.to_owned()),
            created_at: now,
            updated_at: now,
        }
    }
}

/// The channels that a request means.
fn addressed(
    view: &EnvironmentView,
    sent: &BTreeMap<ChannelId, Sent>,
    request: &ResendNotification,
) -> Result<Vec<ChannelId>, Problem> {
    if let Some(name) = &request.channel {
        let found = view.channels.find(name).map(|it| it.document.channel.id);
        let id = found.ok_or_else(|| {
            let detail = format!("there is no channel {name:?}");
            Problem::at(ProblemCode::ChannelNotFound, "channel", detail)
        })?;
        return Ok(vec![id]);
    }
    let exist = |it: &&ChannelId| view.channels.get(**it).is_some();
    let all: Vec<_> = sent.keys().filter(exist).copied().collect();
    if all.is_empty() {
        let detail = "the notification went to no channel that exists: name one";
        return Err(Problem::at(ProblemCode::MissingField, "channel", detail));
    }
    Ok(all)
}
