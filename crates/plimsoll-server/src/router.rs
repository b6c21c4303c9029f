//! Every route of the product, grouped by who may take it.
//!
//! A group is a scope. What is not in a group of a scope is open to everyone who can connect.
//!
//! Not here: what the routes do (`api`).

use axum::{Router, extract::DefaultBodyLimit, http::Method, middleware};
use plimsoll_engine::ops::{Scope, problem::ProblemCode};
use utoipa::openapi::OpenApi;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    api::{
        api_keys, audit, channels, clock, customers, entitlements, environments, events, features,
        grants, health, meters, notifications, rules, usage,
    },
    auth,
    observe::{self, Observer},
    openapi,
    problem::Ending,
    state::App,
};

/// Routes for usage.
fn ingest() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(events::ingest_events))
}

/// Routes that show something.
fn read() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(meters::list_meters))
        .routes(routes!(meters::get_meter))
        .routes(routes!(features::list_features))
        .routes(routes!(features::get_feature))
        .routes(routes!(customers::list_customers))
        .routes(routes!(customers::get_customer))
        .routes(routes!(entitlements::list_entitlements))
        .routes(routes!(entitlements::get_entitlement))
        .routes(routes!(entitlements::get_entitlement_history))
        .routes(routes!(grants::list_grants))
        .routes(routes!(grants::get_grant))
        .routes(routes!(channels::list_channels))
        .routes(routes!(channels::get_channel))
        .routes(routes!(rules::list_rules))
        .routes(routes!(rules::get_rule))
        .routes(routes!(rules::backtest_rule))
        .routes(routes!(notifications::list_notifications))
        .routes(routes!(notifications::get_notification))
        .routes(routes!(events::list_events))
        .routes(routes!(api_keys::list_api_keys))
        .routes(routes!(api_keys::get_api_key))
        .routes(routes!(environments::get_environment))
        .routes(routes!(clock::get_clock))
        .routes(routes!(audit::list_audit))
        .routes(routes!(usage::get_usage))
}

/// Routes that answer whether a customer may do something.
fn check() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(entitlements::get_entitlement_value))
        .routes(routes!(entitlements::get_customer_access))
}

/// Routes that change something.
fn admin() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(meters::create_meter))
        .routes(routes!(meters::update_meter, meters::delete_meter))
        .routes(routes!(features::create_feature))
        .routes(routes!(features::update_feature, features::delete_feature))
        .routes(routes!(customers::create_customer))
        .routes(routes!(customers::update_customer, customers::delete_customer))
        .routes(routes!(entitlements::create_entitlement))
        .routes(routes!(entitlements::update_entitlement, entitlements::delete_entitlement))
        .routes(routes!(entitlements::reset_entitlement))
        .routes(routes!(grants::create_grant))
        .routes(routes!(grants::void_grant))
        .routes(routes!(channels::create_channel))
        .routes(routes!(channels::update_channel, channels::delete_channel))
        .routes(routes!(channels::rotate_channel_secret))
        .routes(routes!(rules::create_rule))
        .routes(routes!(rules::update_rule, rules::delete_rule))
        .routes(routes!(notifications::resend_notification))
        .routes(routes!(api_keys::create_api_key))
        .routes(routes!(api_keys::revoke_api_key))
        .routes(routes!(environments::update_environment))
        .routes(routes!(clock::set_clock))
        .routes(routes!(clock::advance_clock))
}

/// Routes for the people who run the server.
fn open() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(health::healthz))
        .routes(routes!(health::readyz))
        .routes(routes!(health::metrics))
        .routes(routes!(health::openapi))
}

/// The OpenAPI document of everything in the router.
pub fn document() -> OpenApi {
    let (_, mut document) = OpenApiRouter::with_openapi(openapi::head())
        .merge(ingest())
        .merge(read())
        .merge(check())
        .merge(admin())
        .merge(open())
        .split_for_parts();
    openapi::complete(&mut document);
    document
}

/// The router with everything around it.
pub(crate) fn router(app: &App, document: &OpenApi) -> Router {
    let require = |scopes: &'static [Scope]| {
        middleware::from_fn_with_state((app.clone(), scopes), auth::require)
    };
    let see_through = middleware::from_fn_with_state(app.clone(), observe::see_through);
    let (routes, _) = OpenApiRouter::new()
        .merge(ingest().route_layer(require(&[Scope::Ingest])))
        .merge(read().route_layer(require(&[Scope::Read])))
        .merge(check().route_layer(require(&[Scope::Read, Scope::Check])))
        .merge(admin().route_layer(see_through).route_layer(require(&[Scope::Admin])))
        .merge(open())
        .split_for_parts();
    let observer = Observer::new(&app.deps, endpoints(document));
    routes
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .layer(middleware::from_fn_with_state(observer, observe::observe))
        .layer(DefaultBodyLimit::disable())
        .with_state(app.clone())
}

/// Every method and path in `document`.
pub fn endpoints(document: &OpenApi) -> Vec<(Method, String)> {
    let mut endpoints = Vec::new();
    for (path, item) in &document.paths.paths {
        for (method, _) in openapi::operations(&mut item.clone()) {
            endpoints.push((method, path.clone()));
        }
    }
    endpoints
}

async fn no_route() -> Ending {
    Ending::new(ProblemCode::NotFound, "there is no such route")
}

async fn no_method(method: Method) -> Ending {
    let detail = format!("the route does not take {method}");
    Ending::new(ProblemCode::MethodNotAllowed, detail)
}
