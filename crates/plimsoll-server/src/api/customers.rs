//! `/v1/customers`: who is metered.

use axum::{extract::State, response::Response};
use plimsoll_engine::ops::{
    customer::{CreateCustomer, Customer, UpdateCustomer},
    page::{ListRequest, Page},
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

/// Make a customer.
#[utoipa::path(
    post, path = "/v1/customers", tag = "customers",
    request_body = CreateCustomer,
    responses((status = 201, description = "The customer that was made.", body = Customer))
)]
pub(crate) async fn create_customer(
    State(app): State<App>,
    change: Change,
    document: Document<CreateCustomer>,
) -> Answer<Response> {
    let context = change.begin(&document.text.bytes).await?;
    Ok(created(app.ops.create_customer(&context, document.value).await?))
}

/// List customers, newest first.
#[utoipa::path(
    get, path = "/v1/customers", tag = "customers",
    params(ListRequest),
    responses((status = 200, description = "One page.", body = Page<Customer>))
)]
pub(crate) async fn list_customers(
    State(app): State<App>,
    Reading(context): Reading,
    Query(request): Query<ListRequest>,
) -> Answer<Json<Page<Customer>>> {
    Ok(Json(app.ops.list_customers(&context, &request).await?))
}

/// Get one customer.
#[utoipa::path(
    get, path = "/v1/customers/{customer}", tag = "customers",
    params(("customer" = String, Path, description = "Its id or key.")),
    responses((status = 200, description = "The customer.", body = Customer))
)]
pub(crate) async fn get_customer(
    State(app): State<App>,
    Reading(context): Reading,
    Name(name): Name,
) -> Answer<Json<Customer>> {
    Ok(Json(app.ops.get_customer(&context, &name).await?))
}

/// Change a customer. Fields that the request leaves out stay as they are.
#[utoipa::path(
    patch, path = "/v1/customers/{customer}", tag = "customers",
    params(("customer" = String, Path, description = "Its id or key.")),
    request_body = UpdateCustomer,
    responses((status = 200, description = "The customer as it is now.", body = Customer))
)]
pub(crate) async fn update_customer(
    State(app): State<App>,
    change: Change,
    Name(name): Name,
    document: Document<UpdateCustomer>,
) -> Answer<Json<Customer>> {
    let context = change.begin(&document.text.bytes).await?;
    Ok(Json(app.ops.update_customer(&context, &name, document.value).await?))
}

/// Delete a customer.
#[utoipa::path(
    delete, path = "/v1/customers/{customer}", tag = "customers",
    params(("customer" = String, Path, description = "Its id or key.")),
    responses((status = 204, description = "It is gone."))
)]
pub(crate) async fn delete_customer(
    State(app): State<App>,
    change: Change,
    Name(name): Name,
) -> Answer<Response> {
    let context = change.begin(&[]).await?;
    app.ops.delete_customer(&context, &name).await?;
    Ok(deleted())
}
