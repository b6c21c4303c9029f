//! The OpenAPI 3.1 document: what the annotations of the handlers cannot say once.
//!
//! Each handler describes its own request and answer. What all routes share is added here: the
//! key, the problem document, the idempotency key.
//!
//! Not here: which routes there are (`router`).

use axum::http::Method;
use utoipa::{
    OpenApi, PartialSchema, ToSchema,
    openapi::{
        self, ContentBuilder, Ref, Required, ResponseBuilder,
        path::{Operation, ParameterBuilder, ParameterIn, PathItem},
        schema::{ObjectBuilder, Type},
        security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme},
    },
};

use crate::problem::ProblemDocument;

/// The name of the way to authenticate, inside the document.
const API_KEY: &str = "api_key";

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Plimsoll",
        description = "Meters usage, knows what each customer may use, and tells the right people \
                       the moment a line is crossed.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    tags(
        (name = "events", description = "Usage."),
        (name = "usage", description = "What was used when, by whom."),
        (name = "meters", description = "How events become numbers."),
        (name = "features", description = "What is sold."),
        (name = "customers", description = "Who is metered."),
        (name = "entitlements", description = "One customer's right to one feature."),
        (name = "grants", description = "Dated quantities put into an entitlement."),
        (name = "channels", description = "Where notifications go."),
        (name = "rules", description = "When to notify, about whom, through which channels."),
        (name = "notifications", description = "What fired, and where it went."),
        (name = "api-keys", description = "Who may ask for what."),
        (name = "environment", description = "The environment of the key."),
        (name = "audit", description = "Who changed what."),
        (name = "operations", description = "For the people who run the server.")
    )
)]
struct Head;

/// The document before any route is in it.
pub(crate) fn head() -> openapi::OpenApi {
    let mut document = Head::openapi();
    env!("CARGO_PKG_VERSION").clone_into(&mut document.info.version);
    let components = document.components.get_or_insert_default();
    components.schemas.insert(ProblemDocument::name().into_owned(), ProblemDocument::schema());
    components.add_security_scheme(
        API_KEY,
        SecurityScheme::Http(
            HttpBuilder::new()
                .scheme(HttpAuthScheme::Bearer)
                .description(Some("An API key, `plm_live_…` or `plm_test_…`."))
                .build(),
        ),
    );
    document
}

/// Adds what the routes under `/v1` share.
pub(crate) fn complete(document: &mut openapi::OpenApi) {
    for (path, item) in &mut document.paths.paths {
        for (method, operation) in operations(item) {
            if path.starts_with("/v1/") {
                require_key(operation);
                if method != Method::GET && path != "/v1/events" {
                    take_idempotency_key(operation);
                }
            }
            tell_problems(operation);
        }
    }
}

/// The operations of a path with their methods.
pub(crate) fn operations(item: &mut PathItem) -> impl Iterator<Item = (Method, &mut Operation)> {
    [
        (Method::GET, &mut item.get),
        (Method::PUT, &mut item.put),
        (Method::POST, &mut item.post),
        (Method::PATCH, &mut item.patch),
        (Method::DELETE, &mut item.delete),
    ]
    .into_iter()
    .filter_map(|(method, operation)| Some((method, operation.as_mut()?)))
}

fn require_key(operation: &mut Operation) {
    let requirement = SecurityRequirement::new(API_KEY, Vec::<String>::new());
    operation.security.get_or_insert_default().push(requirement);
}

fn take_idempotency_key(operation: &mut Operation) {
    let parameter = ParameterBuilder::new()
        .name("idempotency-key")
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some("Makes the change once, however often the request is sent."))
        .schema(Some(ObjectBuilder::new().schema_type(Type::String).max_length(Some(255)).build()))
        .build();
    operation.parameters.get_or_insert_default().push(parameter.into());
}

fn tell_problems(operation: &mut Operation) {
    let content =
        ContentBuilder::new().schema(Some(Ref::from_schema_name(ProblemDocument::name()))).build();
    let problem = ResponseBuilder::new()
        .description("A problem, RFC 9457.")
        .content("application/problem+json", content)
        .build();
    operation.responses.responses.insert("default".to_owned(), problem.into());
}
