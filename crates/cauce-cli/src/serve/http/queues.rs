//! Queues in RSMQ's layout: made, listed, changed, deleted. Names, units and limits are RSMQ's.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use cauce::{QueueAttributes, QueueChanges, QueueOptions};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::app::App;
use super::extract::{Given, Named};
use super::problem::Problem;

/// What RSMQ writes for "no limit".
const NO_MAXSIZE: i64 = -1;

/// The names of the queues.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Names {
    /// Sorted.
    queues: Vec<String>,
}

/// Lists the queues
#[utoipa::path(
    get,
    operation_id = "listQueues",
    path = "/v1/queues",
    tag = "queues",
    responses((status = 200, description = "Their names", body = Names), Problem),
)]
pub(super) async fn list(State(app): State<App>) -> Result<Json<Names>, Problem> {
    Ok(Json(Names { queues: app.bus().await?.queues().list().await? }))
}

/// A queue to make.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewQueue {
    /// Its name.
    #[schema(pattern = "^[a-zA-Z0-9_-]{1,160}$", example = "jobs")]
    name: String,
    /// How many seconds a received message stays hidden from others.
    #[schema(minimum = 0, maximum = 9_999_999, default = 30, nullable = false)]
    vt: Option<u64>,
    /// How many seconds a message that was sent stays hidden from all.
    #[schema(minimum = 0, maximum = 9_999_999, default = 0, nullable = false)]
    delay: Option<u64>,
    /// How long a message may be, in UTF-16 units: 1024 to 65536, or -1 for no limit.
    #[schema(minimum = -1, maximum = 65_536, default = 65_536, nullable = false)]
    maxsize: Option<i64>,
}

/// Which settings of a queue to change.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Settings {
    /// How many seconds a received message stays hidden from others.
    #[schema(minimum = 0, maximum = 9_999_999, nullable = false)]
    vt: Option<u64>,
    /// How many seconds a message that was sent stays hidden from all.
    #[schema(minimum = 0, maximum = 9_999_999, nullable = false)]
    delay: Option<u64>,
    /// How long a message may be, in UTF-16 units: 1024 to 65536, or -1 for no limit.
    #[schema(minimum = -1, maximum = 65_536, nullable = false)]
    maxsize: Option<i64>,
}

/// A queue that was made.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Created {
    /// Its name.
    name: String,
}

/// Creates a queue
#[utoipa::path(
    post,
    operation_id = "createQueue",
    path = "/v1/queues",
    tag = "queues",
    request_body = NewQueue,
    responses((status = 201, description = "Created", body = Created), Problem),
)]
pub(super) async fn create(
    State(app): State<App>,
    Given(queue): Given<NewQueue>,
) -> Result<(StatusCode, Json<Created>), Problem> {
    let NewQueue { name, vt, delay, maxsize } = queue;
    let mut options = QueueOptions::new();
    if let Some(vt) = vt {
        options = options.vt(Duration::from_secs(vt));
    }
    if let Some(delay) = delay {
        options = options.delay(Duration::from_secs(delay));
    }
    if let Some(maxsize) = maxsize {
        options = options.maxsize(limit(maxsize));
    }
    app.bus().await?.queues().create(&name, &options).await?;
    Ok((StatusCode::CREATED, Json(Created { name })))
}

/// A queue's settings and counters.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Attributes {
    /// How many seconds a received message stays hidden from others.
    vt: u64,
    /// How many seconds a message that was sent stays hidden from all.
    delay: u64,
    /// How long a message may be, in UTF-16 units; -1 for no limit.
    maxsize: i64,
    /// How many receipts there were.
    totalrecv: u64,
    /// How many messages were sent.
    totalsent: u64,
    /// When the queue was made, in seconds since 1970.
    created: u64,
    /// When its settings were changed last, in seconds since 1970.
    modified: u64,
    /// How many messages it holds, hidden ones included.
    msgs: u64,
    /// How many of them are hidden.
    hiddenmsgs: u64,
}

impl From<QueueAttributes> for Attributes {
    fn from(found: QueueAttributes) -> Self {
        let seconds = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        Self {
            vt: found.vt.as_secs(),
            delay: found.delay.as_secs(),
            maxsize: found.maxsize.map_or(NO_MAXSIZE, i64::from),
            totalrecv: found.totalrecv,
            totalsent: found.totalsent,
            created: seconds(found.created),
            modified: seconds(found.modified),
            msgs: found.msgs,
            hiddenmsgs: found.hiddenmsgs,
        }
    }
}

/// Shows a queue
#[utoipa::path(
    get,
    operation_id = "getQueue",
    path = "/v1/queues/{queue}",
    tag = "queues",
    params(("queue" = String, Path, description = "The queue's name")),
    responses((status = 200, description = "Its settings and counters", body = Attributes), Problem),
)]
pub(super) async fn attributes(
    State(app): State<App>,
    Named(queue): Named<String>,
) -> Result<Json<Attributes>, Problem> {
    Ok(Json(app.bus().await?.queues().queue(&queue)?.attributes().await?.into()))
}

/// Changes a queue's settings
///
/// What is left out stays as it is.
#[utoipa::path(
    patch,
    operation_id = "changeQueue",
    path = "/v1/queues/{queue}",
    tag = "queues",
    params(("queue" = String, Path, description = "The queue's name")),
    request_body = Settings,
    responses((status = 200, description = "Its settings and counters now", body = Attributes), Problem),
)]
pub(super) async fn change(
    State(app): State<App>,
    Named(queue): Named<String>,
    Given(Settings { vt, delay, maxsize }): Given<Settings>,
) -> Result<Json<Attributes>, Problem> {
    let mut changes = QueueChanges::new();
    if let Some(vt) = vt {
        changes = changes.vt(Duration::from_secs(vt));
    }
    if let Some(delay) = delay {
        changes = changes.delay(Duration::from_secs(delay));
    }
    if let Some(maxsize) = maxsize {
        changes = changes.maxsize(limit(maxsize));
    }
    Ok(Json(app.bus().await?.queues().queue(&queue)?.set_attributes(&changes).await?.into()))
}

/// Deletes a queue and all its messages
#[utoipa::path(
    delete,
    operation_id = "deleteQueue",
    path = "/v1/queues/{queue}",
    tag = "queues",
    params(("queue" = String, Path, description = "The queue's name")),
    responses((status = 204, description = "Deleted"), Problem),
)]
pub(super) async fn delete(
    State(app): State<App>,
    Named(queue): Named<String>,
) -> Result<StatusCode, Problem> {
    app.bus().await?.queues().delete(&queue).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What is no length at all becomes one that the queue refuses, with its own words.
fn limit(maxsize: i64) -> Option<u32> {
    (maxsize != NO_MAXSIZE).then(|| u32::try_from(maxsize).unwrap_or(0))
}
