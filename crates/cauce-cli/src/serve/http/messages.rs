//! Messages of queues: sent, received, popped, hidden, deleted.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use cauce::{Message, MessageId, Queue};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::app::App;
use super::extract::{Asked, Given, Named};
use super::problem::Problem;

/// Messages of one answer, at most.
const COUNT_MAX: usize = 256;
/// Longest wait for a message.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// A message to send.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewQueueMessage {
    /// What it says.
    #[schema(example = "rebook UA 1")]
    message: String,
    /// How many seconds it stays hidden from all. The default is the queue's.
    #[schema(minimum = 0, maximum = 9_999_999, nullable = false)]
    delay: Option<u64>,
}

/// A message that was sent.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Sent {
    /// Its id.
    id: String,
}

/// Sends a message
#[utoipa::path(
    post,
    operation_id = "sendMessage",
    path = "/v1/queues/{queue}/messages",
    tag = "queues",
    params(("queue" = String, Path, description = "The queue's name")),
    request_body = NewQueueMessage,
    responses((status = 201, description = "Sent", body = Sent), Problem),
)]
pub(super) async fn send(
    State(app): State<App>,
    Named(queue): Named<String>,
    Given(NewQueueMessage { message, delay }): Given<NewQueueMessage>,
) -> Result<(StatusCode, Json<Sent>), Problem> {
    let queue = named(&app, &queue).await?;
    let id = match delay {
        Some(delay) => queue.send_in(Duration::from_secs(delay), &message).await?,
        None => queue.send(&message).await?,
    };
    Ok((StatusCode::CREATED, Json(Sent { id: id.to_string() })))
}

/// Messages to send.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewBatch {
    /// What they say: 1 to 256.
    #[schema(min_items = 1, max_items = 256)]
    messages: Vec<String>,
    /// How many seconds they stay hidden from all. The default is the queue's.
    #[schema(minimum = 0, maximum = 9_999_999, nullable = false)]
    delay: Option<u64>,
}

/// Messages that were sent.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SentBatch {
    /// Their ids, in the order of the messages.
    ids: Vec<String>,
}

/// Sends many messages
///
/// In order. They are sent in steps of about one MiB: should a step fail, the answer says how many were sent before it.
#[utoipa::path(
    post,
    operation_id = "sendMessages",
    path = "/v1/queues/{queue}/messages/batch",
    tag = "queues",
    params(("queue" = String, Path, description = "The queue's name")),
    request_body = NewBatch,
    responses((status = 201, description = "Sent", body = SentBatch), Problem),
)]
pub(super) async fn send_batch(
    State(app): State<App>,
    Named(queue): Named<String>,
    Given(NewBatch { messages, delay }): Given<NewBatch>,
) -> Result<(StatusCode, Json<SentBatch>), Problem> {
    check_count("messages", messages.len())?;
    let queue = named(&app, &queue).await?;
    let ids = match delay {
        Some(delay) => queue.send_all_in(Duration::from_secs(delay), &messages).await?,
        None => queue.send_all(&messages).await?,
    };
    let ids = ids.into_iter().map(|id| id.to_string()).collect();
    Ok((StatusCode::CREATED, Json(SentBatch { ids })))
}

/// Which messages to receive.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Receipt {
    /// How many seconds they stay hidden from others. The default is the queue's.
    #[param(minimum = 0, maximum = 9_999_999)]
    vt: Option<u64>,
    /// At most so many.
    #[param(minimum = 1, maximum = 256, default = 1)]
    count: Option<usize>,
    /// How many seconds to wait for a message, if there is none.
    #[param(minimum = 0, maximum = 60, default = 0)]
    wait: Option<f64>,
}

/// Messages that were received or popped.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Messages {
    /// None if no message is visible.
    messages: Vec<QueueMessage>,
}

/// A message that was received.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct QueueMessage {
    /// Its id.
    id: String,
    /// What it says.
    message: String,
    /// How often it was received, this time included.
    rc: u64,
    /// When it was first received, in milliseconds since 1970.
    fr: u64,
    /// When it was sent, in milliseconds since 1970.
    sent: u64,
}

impl From<Message> for QueueMessage {
    fn from(message: Message) -> Self {
        let ms = |time: SystemTime| {
            let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
            u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
        };
        Self {
            id: message.id.to_string(),
            message: message.text().into_owned(),
            rc: message.receive_count,
            fr: ms(message.first_received),
            sent: ms(message.sent()),
        }
    }
}

/// Receives messages
///
/// They stay hidden from others for `vt` seconds and come again after it, unless they are deleted: delete each when its work is done. A client that
/// goes away while it waits takes no message with it.
#[utoipa::path(
    post,
    operation_id = "receiveMessages",
    path = "/v1/queues/{queue}/receive",
    tag = "queues",
    params(("queue" = String, Path, description = "The queue's name"), Receipt),
    responses((status = 200, description = "The messages, if there are any", body = Messages), Problem),
)]
pub(super) async fn receive(
    State(app): State<App>,
    Named(queue): Named<String>,
    Asked(Receipt { vt, count, wait }): Asked<Receipt>,
) -> Result<Json<Messages>, Problem> {
    let vt = vt.map(Duration::from_secs);
    let count = count.unwrap_or(1);
    check_count("count", count)?;
    let wait = Duration::try_from_secs_f64(wait.unwrap_or(0.0)).ok().filter(|wait| *wait <= WAIT_MAX);
    let wait = wait.ok_or_else(|| Problem::invalid_value("wait must be between 0 and 60 seconds"))?;
    let queue = named(&app, &queue).await?;
    let mut messages = queue.receive_many(count, vt).await?;
    if messages.is_empty() && !wait.is_zero() {
        tokio::select! {
            received = received_within(&queue, wait, count, vt) => messages = received?,
            // The server stops: it is as if the time were over.
            () = app.stopped() => {}
        }
    }
    Ok(Json(Messages { messages: messages.into_iter().map(QueueMessage::from).collect() }))
}

/// Waits for the first message, then takes those that came with it.
async fn received_within(
    queue: &Queue,
    wait: Duration,
    count: usize,
    vt: Option<Duration>,
) -> Result<Vec<Message>, Problem> {
    let Some(first) = queue.receive_wait(wait).await? else { return Ok(Vec::new()) };
    if let Some(vt) = vt {
        // The queue's own timeout has only just begun, so the message is still this client's.
        queue.extend_received(&first, vt).await?;
    }
    let mut messages = vec![first];
    if count > 1 {
        messages.append(&mut queue.receive_many(count - 1, vt).await?);
    }
    Ok(messages)
}

/// How many messages to pop.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Pop {
    /// At most so many.
    #[param(minimum = 1, maximum = 256, default = 1)]
    count: Option<usize>,
}

/// Receives messages and deletes them
///
/// At most once: if the answer is lost, so are they.
#[utoipa::path(
    post,
    operation_id = "popMessages",
    path = "/v1/queues/{queue}/pop",
    tag = "queues",
    params(("queue" = String, Path, description = "The queue's name"), Pop),
    responses((status = 200, description = "The messages, if there are any", body = Messages), Problem),
)]
pub(super) async fn pop(
    State(app): State<App>,
    Named(queue): Named<String>,
    Asked(Pop { count }): Asked<Pop>,
) -> Result<Json<Messages>, Problem> {
    let count = count.unwrap_or(1);
    check_count("count", count)?;
    let messages = named(&app, &queue).await?.pop_many(count).await?;
    Ok(Json(Messages { messages: messages.into_iter().map(QueueMessage::from).collect() }))
}

/// When a message is to be visible.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Visibility {
    /// How many seconds from now; 0 is at once.
    #[schema(minimum = 0, maximum = 9_999_999)]
    vt: u64,
}

/// Changes when a message is visible
///
/// To work on it for longer, or to hand it back at once. It need not have been received.
#[utoipa::path(
    patch,
    operation_id = "changeVisibility",
    path = "/v1/queues/{queue}/messages/{id}",
    tag = "queues",
    params(
        ("queue" = String, Path, description = "The queue's name"),
        ("id" = String, Path, description = "The message's id"),
    ),
    request_body = Visibility,
    responses((status = 204, description = "Changed"), Problem),
)]
pub(super) async fn change_visibility(
    State(app): State<App>,
    Named((queue, id)): Named<(String, String)>,
    Given(Visibility { vt }): Given<Visibility>,
) -> Result<StatusCode, Problem> {
    let id: MessageId = id.parse()?;
    let is_there = named(&app, &queue).await?.change_visibility(id, Duration::from_secs(vt)).await?;
    done(is_there, id)
}

/// Deletes a message
///
/// Its work is done. Whoever knows the id may: a client whose visibility timeout ran out deletes a message that another one works on.
#[utoipa::path(
    delete,
    operation_id = "deleteMessage",
    path = "/v1/queues/{queue}/messages/{id}",
    tag = "queues",
    params(
        ("queue" = String, Path, description = "The queue's name"),
        ("id" = String, Path, description = "The message's id"),
    ),
    responses((status = 204, description = "Deleted"), Problem),
)]
pub(super) async fn delete(
    State(app): State<App>,
    Named((queue, id)): Named<(String, String)>,
) -> Result<StatusCode, Problem> {
    let id: MessageId = id.parse()?;
    let was_there = named(&app, &queue).await?.delete(id).await?;
    done(was_there, id)
}

async fn named(app: &App, queue: &str) -> Result<Queue, Problem> {
    Ok(app.bus().await?.queues().queue(queue)?)
}

fn check_count(item: &str, count: usize) -> Result<(), Problem> {
    match (1..=COUNT_MAX).contains(&count) {
        true => Ok(()),
        false => Err(Problem::invalid_value(format!("{item} must be between 1 and {COUNT_MAX}"))),
    }
}

fn done(was_there: bool, id: MessageId) -> Result<StatusCode, Problem> {
    match was_there {
        true => Ok(StatusCode::NO_CONTENT),
        false => {
            let detail = format!("the message {id} is not in the queue: it was deleted or popped before");
            Err(Problem::new(StatusCode::NOT_FOUND, "messageNotFound", detail))
        }
    }
}
