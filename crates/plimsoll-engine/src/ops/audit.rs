//! The audit trail: who changed what. Not here: writing it (every change does, see `plan`).

use plimsoll_core::{ids::AuditId, time::Timestamp};
use plimsoll_store::audit::{self as rows, AuditRow};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::ops::{
    Context, Ops,
    control::unreadable,
    page::{ListRequest, Page},
    problem::{Problem, ProblemCode},
    scalar::as_text,
};

/// One change.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct AuditEntry {
    /// The entry's id.
    #[serde(with = "as_text")]
    #[schema(value_type = String, example = "aud_01K0000000000000000000000A")]
    pub id: AuditId,
    /// When.
    #[serde(with = "as_text")]
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// Who: the id of an API key, or `cli`.
    pub actor: String,
    /// What was done.
    #[schema(example = "meter.create")]
    pub action: String,
    /// To what.
    pub resource: AuditedResource,
    /// The document before; null for a creation.
    #[schema(value_type = Option<serde_json::Value>)]
    pub before: Option<Box<RawValue>>,
    /// The document after; null for a deletion.
    #[schema(value_type = Option<serde_json::Value>)]
    pub after: Option<Box<RawValue>>,
}

/// What was changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct AuditedResource {
    /// Its kind.
    #[schema(example = "meter")]
    pub kind: String,
    /// Its id.
    pub id: String,
}

impl Ops {
    /// Changes in the caller's environment, the newest first.
    pub async fn list_audit(
        &self,
        context: &Context,
        request: &ListRequest,
    ) -> Result<Page<AuditEntry>, Problem> {
        let limit = request.limit()?;
        let after = request.after()?.map(|it| it.parse()).transpose().map_err(|_| {
            Problem::at(ProblemCode::InvalidCursor, "cursor", "the cursor is of another list")
        })?;
        let store = self.inner.deps.store.as_ref();
        let environment = context.environment();
        let rows = rows::list(store, environment, None, after, limit as u32 + 1).await;
        let rows = rows.map_err(|it| unreadable(&it))?;
        let entries = rows.into_iter().map(entry).collect::<Result<Vec<_>, _>>()?;
        Ok(Page::cut(entries, limit, |it| it.id.to_string()))
    }
}

fn entry(row: AuditRow) -> Result<AuditEntry, Problem> {
    let document = |text: Option<String>| {
        text.map(RawValue::from_string).transpose().map_err(|it| unreadable(&it))
    };
    Ok(AuditEntry {
        id: row.id,
        at: row.at,
        actor: row.actor,
        action: row.action,
        resource: AuditedResource { kind: row.resource_kind, id: row.resource_id },
        before: document(row.before)?,
        after: document(row.after)?,
    })
}
