//! Parts of requests, refused with a problem where they can't be read.

use axum::body::{Body, to_bytes};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use serde::de::DeserializeOwned;

use super::app::App;
use super::problem::Problem;

/// What stands in the path.
pub(super) struct Named<T>(pub(super) T);

impl<T: DeserializeOwned + Send> FromRequestParts<App> for Named<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        match Path::from_request_parts(parts, app).await {
            Ok(Path(found)) => Ok(Self(found)),
            Err(error) => Err(Problem::new(StatusCode::BAD_REQUEST, "invalidPath", error.body_text())),
        }
    }
}

/// What stands after the question mark.
pub(super) struct Asked<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequestParts<App> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        match Query::from_request_parts(parts, app).await {
            Ok(Query(found)) => Ok(Self(found)),
            Err(error) => Err(Problem::invalid_value(error.body_text())),
        }
    }
}

/// A body of JSON: not too long, not too late.
pub(super) struct Given<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<App> for Given<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            let detail = "the body must be JSON: send it with `Content-Type: application/json`";
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "notJson", detail));
        }
        let settings = app.settings();
        let late = |_| {
            let detail =
                format!("the body did not arrive within {:?} (--http-timeout)", settings.http_timeout);
            Problem::new(StatusCode::REQUEST_TIMEOUT, "requestTimeout", detail)
        };
        let body = read(request.into_body(), settings.http_body_max);
        let bytes = tokio::time::timeout(settings.http_timeout, body).await.map_err(late)??;
        serde_json::from_slice(&bytes).map(Self).map_err(|error| {
            Problem::new(
                StatusCode::BAD_REQUEST,
                "invalidBody",
                format!("the body is not as it must be: {error}"),
            )
        })
    }
}

async fn read(body: Body, bytes_max: usize) -> Result<axum::body::Bytes, Problem> {
    to_bytes(body, bytes_max).await.map_err(|error| {
        // Either it is too long, or the client went away and nobody reads the answer.
        let detail =
            format!("the body can't be taken: {error}; at most {bytes_max} bytes are (--http-body-max)");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "bodyTooLarge", detail)
    })
}

/// A page can send other types across origins without asking, so they are refused.
fn is_json(headers: &HeaderMap) -> bool {
    let media_type =
        headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = media_type.split(';').next().unwrap_or_default().trim();
    media_type.eq_ignore_ascii_case("application/json")
}
