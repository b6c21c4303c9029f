//! `/v1/rules`: when to notify, about whom, through which channels.

use axum::{extract::State, response::Response};
use plimsoll_engine::ops::{
    page::{ListRequest, Page},
    rule::{
        CreateRule, Rule, UpdateRule,
        backtest::{Backtest, BacktestRule},
    },
};

use crate::{
    api::{created, deleted},
    auth::Reading,
    idempotency::Change,
    json::{Document, Json},
    parameters::{Name, Query},
    problem::Answer,
    state::App,
};

/// Make a rule.
#[utoipa::path(
    post, path = "/v1/rules", tag = "rules",
    request_body = CreateRule,
    responses((status = 201, description = "The rule that was made.", body = Rule))
)]
pub(crate) async fn create_rule(
    State(app): State<App>,
    change: Change,
    document: Document<CreateRule>,
) -> Answer<Response> {
    let context = change.begin(&document.text.bytes).await?;
    Ok(created(app.ops.create_rule(&context, document.value).await?))
}

/// List rules, newest first.
#[utoipa::path(
    get, path = "/v1/rules", tag = "rules",
    params(ListRequest),
    responses((status = 200, description = "One page.", body = Page<Rule>))
)]
pub(crate) async fn list_rules(
    State(app): State<App>,
    Reading(context): Reading,
    Query(request): Query<ListRequest>,
) -> Answer<Json<Page<Rule>>> {
    Ok(Json(app.ops.list_rules(&context, &request)?))
}

/// Get one rule.
#[utoipa::path(
    get, path = "/v1/rules/{rule}", tag = "rules",
    params(("rule" = String, Path, description = "Its id.")),
    responses((status = 200, description = "The rule.", body = Rule))
)]
pub(crate) async fn get_rule(
    State(app): State<App>,
    Reading(context): Reading,
    Name(name): Name,
) -> Answer<Json<Rule>> {
    Ok(Json(app.ops.get_rule(&context, &name)?))
}

/// Change a rule. Fields that the request leaves out stay as they are.
#[utoipa::path(
    patch, path = "/v1/rules/{rule}", tag = "rules",
    params(("rule" = String, Path, description = "Its id.")),
    request_body = UpdateRule,
    responses((status = 200, description = "The rule as it is now.", body = Rule))
)]
pub(crate) async fn update_rule(
    State(app): State<App>,
    change: Change,
    Name(name): Name,
    document: Document<UpdateRule>,
) -> Answer<Json<Rule>> {
    let context = change.begin(&document.text.bytes).await?;
    Ok(Json(app.ops.update_rule(&context, &name, document.value).await?))
}

/// Try a rule out: what it would have sent between two dates, had it always been there. Nothing is
/// changed or sent.
#[utoipa::path(
    post, path = "/v1/rules/backtest", tag = "rules",
    request_body = BacktestRule,
    responses((status = 200, description = "What it would have sent.", body = Backtest))
)]
pub(crate) async fn backtest_rule(
    State(app): State<App>,
    change: Change,
    document: Document<BacktestRule>,
) -> Answer<Json<Backtest>> {
    let context = change.begin(&document.text.bytes).await?;
    Ok(Json(app.ops.backtest_rule(&context, document.value).await?))
}

/// Delete a rule.
#[utoipa::path(
    delete, path = "/v1/rules/{rule}", tag = "rules",
    params(("rule" = String, Path, description = "Its id.")),
    responses((status = 204, description = "It is gone."))
)]
pub(crate) async fn delete_rule(
    State(app): State<App>,
    change: Change,
    Name(name): Name,
) -> Answer<Response> {
    let context = change.begin(&[]).await?;
    app.ops.delete_rule(&context, &name).await?;
    Ok(deleted())
}
