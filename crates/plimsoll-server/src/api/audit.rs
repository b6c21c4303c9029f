//! `/v1/audit`: who changed what, from what, to what.

use axum::extract::State;
use plimsoll_engine::ops::{
    audit::AuditEntry,
    page::{ListRequest, Page},
};

use crate::{auth::Reading, json::Json, parameters::Query, problem::Answer, state::App};

/// List changes, newest first.
#[utoipa::path(
    get, path = "/v1/audit", tag = "audit",
    params(ListRequest),
    responses((status = 200, description = "One page.", body = Page<AuditEntry>))
)]
pub(crate) async fn list_audit(
    State(app): State<App>,
    Reading(context): Reading,
    Query(request): Query<ListRequest>,
) -> Answer<Json<Page<AuditEntry>>> {
    Ok(Json(app.ops.list_audit(&context, &request).await?))
}
