//! Reading notifications.

use std::str::FromStr;

use plimsoll_core::{
    ids::{CustomerId, FeatureId, NotificationId},
    key::looks_like_id,
};
use plimsoll_store::notification::{self as rows, NotificationFilter, NotificationRow};

use crate::ops::{
    Context, Ops,
    control::unreadable,
    notification::{Notification, NotificationQuery, read_state},
    notification_type,
    page::{ListRequest, Page},
    problem::{Problem, ProblemCode},
};

impl Ops {
    /// Notifications with their deliveries and attempts, the newest first.
    pub async fn list_notifications(
        &self,
        context: &Context,
        query: &NotificationQuery,
    ) -> Result<Page<Notification>, Problem> {
        let page = ListRequest { limit: query.limit, cursor: query.cursor.clone() };
        let limit = page.limit()?;
        let filter = self.filter(context, query, &page, limit).await?;
        let store = self.inner.deps.store.as_ref();
        let found = rows::list(store, &filter).await.map_err(|it| unreadable(&it))?;
        let page = Page::cut(found, limit, |it| it.id.to_string());
        let Page { items, next_cursor } = page;
        let details = rows::details(store, items).await.map_err(|it| unreadable(&it))?;
        let items = details.into_iter().map(Notification::of).collect::<Result<_, _>>()?;
        Ok(Page { items, next_cursor })
    }

    /// The notification with this id, with its deliveries and attempts.
    pub async fn get_notification(
        &self,
        context: &Context,
        name: &str,
    ) -> Result<Notification, Problem> {
        let row = self.notification_row(context, name).await?;
        self.with_deliveries(row).await
    }

    pub(super) async fn with_deliveries(
        &self,
        row: NotificationRow,
    ) -> Result<Notification, Problem> {
        let id = row.id.to_string();
        let store = self.inner.deps.store.as_ref();
        let details = rows::details(store, vec![row]).await.map_err(|it| unreadable(&it))?;
        let detail = details.into_iter().next();
        Notification::of(detail.ok_or_else(|| Problem::not_found("notification", &id))?)
    }

    pub(super) async fn notification_row(
        &self,
        context: &Context,
        name: &str,
    ) -> Result<NotificationRow, Problem> {
        let nothing = || Problem::not_found("notification", name);
        let id: NotificationId = name.parse().map_err(|_| nothing())?;
        let store = self.inner.deps.store.as_ref();
        let row = rows::get(store, context.environment(), id).await;
        row.map_err(|it| unreadable(&it))?.ok_or_else(nothing)
    }

    async fn filter(
        &self,
        context: &Context,
        query: &NotificationQuery,
        page: &ListRequest,
        limit: usize,
    ) -> Result<NotificationFilter, Problem> {
        let mut filter = NotificationFilter::newest(context.environment(), limit as u32 + 1);
        if let Some(name) = &query.customer {
            filter.customer = Some(self.filter_customer(context, name).await?);
        }
        if let Some(name) = &query.feature {
            filter.feature = Some(self.filter_feature(context, name)?);
        }
        if let Some(name) = &query.r#type {
            if !notification_type::is_known(name) {
                return Err(parameter("type", format!("{name:?} is not a notification type")));
            }
            filter.r#type = Some(name.clone());
        }
        filter.rule = id_parameter("rule", query.rule.as_deref())?;
        filter.channel = id_parameter("channel", query.channel.as_deref())?;
        if let Some(state) = &query.state {
            filter.state = Some(read_state(state).map_err(|detail| parameter("state", detail))?);
        }
        filter.from = query.from.map(|it| it.0);
        filter.to = query.to.map(|it| it.0);
        filter.after = page.after()?.map(|it| it.parse()).transpose().map_err(|_| {
            Problem::at(ProblemCode::InvalidCursor, "cursor", "the cursor is of another list")
        })?;
        Ok(filter)
    }

    /// By id even a deleted customer can be asked for.
    pub(in crate::ops) async fn filter_customer(
        &self,
        context: &Context,
        name: &str,
    ) -> Result<CustomerId, Problem> {
        if looks_like_id(name) {
            return name.parse().map_err(|error| parameter("customer", format!("{error}")));
        }
        let found = self.find_customer(context, name).await?;
        found.map(|it| it.document.id).ok_or_else(|| {
            let detail = format!("there is no customer {name:?}");
            Problem::at(ProblemCode::CustomerNotFound, "customer", detail)
        })
    }

    fn filter_feature(&self, context: &Context, name: &str) -> Result<FeatureId, Problem> {
        if looks_like_id(name) {
            return name.parse().map_err(|error| parameter("feature", format!("{error}")));
        }
        let found = self.view(context)?.features.find(name).map(|it| it.document.id);
        found.ok_or_else(|| {
            let detail = format!("there is no feature {name:?}");
            Problem::at(ProblemCode::FeatureNotFound, "feature", detail)
        })
    }
}

fn id_parameter<I: FromStr<Err: std::fmt::Display>>(
    name: &str,
    text: Option<&str>,
) -> Result<Option<I>, Problem> {
    text.map(str::parse).transpose().map_err(|error| parameter(name, format!("{error}")))
}

fn parameter(name: &str, detail: impl Into<String>) -> Problem {
    Problem::at(ProblemCode::InvalidParameter, name, detail)
}
