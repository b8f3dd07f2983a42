//! Errors as clients see them: `application/problem+json` (RFC 9457) with a code to decide by and a sentence to read.

use std::collections::BTreeMap;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use cauce::{CommandError, PublishError, QueueError, SendAllError, SubscribeError};
use serde::Serialize;
use utoipa::openapi::{self, ContentBuilder, Ref, RefOr, ResponseBuilder};
use utoipa::{IntoResponses, ToSchema};

const PROBLEM_JSON: &str = "application/problem+json";

/// Why a request was not carried out.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Problem {
    /// What kind of error it is, to decide by. Those of queues are RSMQ's names.
    #[schema(example = "queueNotFound")]
    code: &'static str,
    /// The status in words.
    #[schema(example = "Not Found")]
    title: &'static str,
    /// The HTTP status.
    #[schema(value_type = u16, minimum = 400, maximum = 599)]
    #[serde(serialize_with = "status_number")]
    status: StatusCode,
    /// What happened and what to do.
    #[schema(example = "the queue `jobs` is not found: create it first, and check the namespace")]
    detail: String,
}

fn status_number<S: serde::Serializer>(status: &StatusCode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u16(status.as_u16())
}

impl Problem {
    pub(super) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        let title = status.canonical_reason().unwrap_or("Error");
        Self { code, title, status, detail: detail.into() }
    }

    /// A value that is out of range or can't be read.
    pub(super) fn invalid_value(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalidValue", detail)
    }

    pub(super) fn starting() -> Self {
        let detail = "the broker is still starting; try again in a moment";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "starting", detail)
    }

    pub(super) fn too_many_followers(most: usize) -> Self {
        let detail = format!(
            "{most} clients follow streams and channels already, which is the most: try again later, or raise --http-followers-max"
        );
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "tooManyFollowers", detail)
    }

    /// As JSON in one line.
    pub(super) fn to_json(&self) -> String {
        serde_json::to_string(self).expect("texts and a number are JSON")
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = self.to_json();
        let mut response = (self.status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        match self.status {
            StatusCode::UNAUTHORIZED => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        response
    }
}

/// Every route may answer with a problem, under many statuses.
impl IntoResponses for Problem {
    fn responses() -> BTreeMap<String, RefOr<openapi::Response>> {
        let content = ContentBuilder::new().schema(Some(Ref::from_schema_name(Self::name()))).build();
        let response = ResponseBuilder::new()
            .description("The request was not carried out, or not surely")
            .content(PROBLEM_JSON, content)
            .build();
        BTreeMap::from([("default".to_owned(), response.into())])
    }
}

impl From<CommandError> for Problem {
    fn from(error: CommandError) -> Self {
        let (status, code) = match &error {
            CommandError::Unreachable { .. } => (StatusCode::SERVICE_UNAVAILABLE, "brokerUnreachable"),
            CommandError::OutcomeUnknown { .. } => (StatusCode::GATEWAY_TIMEOUT, "outcomeUnknown"),
            CommandError::Refused { code, .. } if code == "WRONGTYPE" => (StatusCode::CONFLICT, "wrongType"),
            CommandError::Refused { .. } if error.is_transient() => {
                (StatusCode::SERVICE_UNAVAILABLE, "brokerBusy")
            }
            CommandError::Refused { .. } => (StatusCode::BAD_GATEWAY, "brokerRefused"),
            _ => (StatusCode::BAD_GATEWAY, "unexpectedReply"),
        };
        Self::new(status, code, error.to_string())
    }
}

impl From<PublishError> for Problem {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::Command(error) => error.into(),
            error => Self::new(StatusCode::BAD_REQUEST, "invalidBody", error.to_string()),
        }
    }
}

impl From<SubscribeError> for Problem {
    fn from(error: SubscribeError) -> Self {
        match error {
            SubscribeError::Command(error) => error.into(),
            error => Self::new(StatusCode::SERVICE_UNAVAILABLE, "brokerUnreachable", error.to_string()),
        }
    }
}

impl From<QueueError> for Problem {
    fn from(error: QueueError) -> Self {
        let status = match error {
            QueueError::Command(error) => return error.into(),
            QueueError::QueueNotFound { .. } => StatusCode::NOT_FOUND,
            QueueError::QueueExists { .. } | QueueError::ForeignUnits { .. } => StatusCode::CONFLICT,
            QueueError::MessageTooLong => StatusCode::PAYLOAD_TOO_LARGE,
            _ => StatusCode::BAD_REQUEST,
        };
        Self::new(status, error.code(), error.to_string())
    }
}

impl From<SendAllError> for Problem {
    fn from(error: SendAllError) -> Self {
        let detail = error.to_string();
        Self { detail, ..error.source.into() }
    }
}
