//! The routes and the document that describes them: both are made from the same code, so that they can't differ.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router, middleware};
use serde::Serialize;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::{Modify, OpenApi, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::access;
use super::app::App;
use super::problem::Problem;
use super::{channels, messages, queues, streams};

/// How long the broker may take to say that it lives.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(2);

/// Cauce's HTTP API: queues, streams and channels for programs that have no Redis client.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Cauce",
        description = "Queues, streams and channels for programs that have no Redis client.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
        contact(),
    ),
    tags(
        (name = "queues", description = "Exactly one receiver within a visibility timeout; shared with RSMQ's clients."),
        (name = "streams", description = "Kept; every consumer group gets every entry."),
        (name = "channels", description = "Everyone who is connected gets a message; nothing is kept."),
        (name = "server", description = "The server itself."),
    ),
    security(("token" = []), ()),
    components(schemas(Problem)),
    modifiers(&TokenScheme),
)]
struct Document;

struct TokenScheme;

impl Modify for TokenScheme {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        document.components.get_or_insert_default().add_security_scheme("token", scheme);
    }
}

/// All routes, behind the check of who may ask.
pub(super) fn router(app: &App) -> Router {
    let (router, document) = OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(queues::list, queues::create))
        .routes(routes!(queues::attributes, queues::change, queues::delete))
        .routes(routes!(messages::send))
        .routes(routes!(messages::send_batch))
        .routes(routes!(messages::receive))
        .routes(routes!(messages::pop))
        .routes(routes!(messages::change_visibility, messages::delete))
        .routes(routes!(streams::append, streams::entries))
        .routes(routes!(streams::follow))
        .routes(routes!(channels::publish))
        .routes(routes!(channels::follow))
        .routes(routes!(health))
        .routes(routes!(openapi))
        .split_for_parts();
    let document = document.to_json().expect("texts and numbers are JSON");
    router
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
        .layer(axum::Extension(DocumentText(document.into())))
        .layer(middleware::from_fn_with_state(app.clone(), access::guard))
        .with_state(app.clone())
}

/// The document as it is sent.
#[derive(Clone)]
struct DocumentText(Arc<str>);

/// Shows this document
#[utoipa::path(
    get,
    operation_id = "openapi",
    path = "/v1/openapi.json",
    tag = "server",
    responses((status = 200, description = "An OpenAPI document", body = serde_json::Value), Problem),
)]
async fn openapi(axum::Extension(DocumentText(document)): axum::Extension<DocumentText>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], String::from(&*document)).into_response()
}

/// That all is well.
#[derive(Debug, Serialize, ToSchema)]
struct Health {
    #[schema(example = "ok")]
    status: &'static str,
}

/// Says whether the broker answers
///
/// Needs no token.
#[utoipa::path(
    get,
    operation_id = "health",
    path = "/health",
    tag = "server",
    security(()),
    responses((status = 200, description = "It does", body = Health), Problem),
)]
async fn health(State(app): State<App>) -> Result<Json<Health>, Problem> {
    let silent = |_| {
        let detail = format!("the broker does not answer within {HEALTH_TIMEOUT:?}");
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "brokerUnreachable", detail)
    };
    let asked = async { Ok::<_, Problem>(app.bus().await?.broker().await?) };
    tokio::time::timeout(HEALTH_TIMEOUT, asked).await.map_err(silent)??;
    Ok(Json(Health { status: "ok" }))
}

async fn unknown() -> Problem {
    let detail = "there is nothing at this path; GET /v1/openapi.json describes what there is";
    Problem::new(StatusCode::NOT_FOUND, "notFound", detail)
}

async fn wrong_method() -> Problem {
    let detail =
        "this path has no such method; the header Allow says which it has, GET /v1/openapi.json what they do";
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "methodNotAllowed", detail)
}
