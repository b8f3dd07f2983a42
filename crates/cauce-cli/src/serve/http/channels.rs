//! Channels: messages are published, and followed as they come.

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use axum::response::sse::Event;
use cauce::{Received, Subscription};
use futures_util::Stream;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::OwnedSemaphorePermit;
use utoipa::ToSchema;

use super::app::App;
use super::extract::{Given, Named};
use super::follow;
use super::problem::Problem;
use super::text::base64;

/// What to publish: a text, or JSON.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(try_from = "Body", untagged)]
pub(super) enum NewMessage {
    /// A text as it is.
    Text {
        #[schema(example = "gate closed")]
        message: String,
    },
    /// The payload of an event: what typed subscribers of the toolkit read.
    Json {
        #[schema(value_type = serde_json::Value, example = json!({"flight": "UA 1"}))]
        data: Box<RawValue>,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    message: Option<String>,
    data: Option<Box<RawValue>>,
}

impl TryFrom<Body> for NewMessage {
    type Error = &'static str;

    fn try_from(body: Body) -> Result<Self, Self::Error> {
        match (body.message, body.data) {
            (Some(message), None) => Ok(Self::Text { message }),
            (None, Some(data)) => Ok(Self::Json { data }),
            _ => Err("give `message` for a text, or `data` for JSON"),
        }
    }
}

/// Who got it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Published {
    /// How many subscribers the message was handed to.
    receivers: u64,
}

/// Publishes a message
///
/// At most once: who is not subscribed now never sees it.
#[utoipa::path(
    post,
    operation_id = "publishMessage",
    path = "/v1/channels/{channel}/messages",
    tag = "channels",
    params(("channel" = String, Path, description = "The channel's name")),
    request_body = NewMessage,
    responses((status = 200, description = "Published", body = Published), Problem),
)]
pub(super) async fn publish(
    State(app): State<App>,
    Named(channel): Named<String>,
    Given(message): Given<NewMessage>,
) -> Result<Json<Published>, Problem> {
    let body = match message {
        NewMessage::Text { message } => message,
        NewMessage::Json { data } => data.get().to_owned(),
    };
    let receivers = app.bus().await?.channel(&channel).publish(&body).await?;
    Ok(Json(Published { receivers }))
}

/// A message on a channel.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ChannelMessage {
    /// The channel it came on.
    channel: String,
    /// What it says.
    message: String,
    /// Its bytes in base64. Only there if they are not UTF-8, so that `message` can't hold them.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    message_base64: Option<String>,
}

/// Messages that are lost.
#[derive(Debug, Serialize)]
struct Gap {
    /// How many; not known where the server lost its own connection to the broker.
    missed: Option<u64>,
}

/// Follows a channel
///
/// Server-Sent Events, one for each message, from now on. Channels keep nothing: a client that is too slow, or away, misses messages. An event
/// `missed` says so where they would have been: its data is `{"missed": N}`, with `null` where nobody knows how many. Comments say now and then that
/// the connection lives.
#[utoipa::path(
    get,
    operation_id = "followChannel",
    path = "/v1/channels/{channel}/follow",
    tag = "channels",
    params(("channel" = String, Path, description = "The channel's name")),
    responses((status = 200, description = "Events as they come", body = ChannelMessage, content_type = "text/event-stream"), Problem),
)]
pub(super) async fn follow(
    State(app): State<App>,
    Named(channel): Named<String>,
) -> Result<Response, Problem> {
    let permit = app.follower()?;
    let subscription = app.bus().await?.subscribe([channel]).await?;
    Ok(follow::respond(&app, events(subscription, permit)))
}

fn events(subscription: Subscription<Vec<u8>>, permit: OwnedSemaphorePermit) -> impl Stream<Item = Event> {
    futures_util::stream::unfold((subscription, permit), async |(mut subscription, permit)| {
        let event = event(subscription.next().await);
        Some((event, (subscription, permit)))
    })
}

fn event(received: Received<Vec<u8>>) -> Event {
    let gap = |missed| follow::json(&Gap { missed }).event("missed");
    match received {
        Received::Message { channel, body } | Received::Undecodable { channel, body, .. } => {
            let message_base64 = std::str::from_utf8(&body).is_err().then(|| base64(&body));
            let message = String::from_utf8_lossy(&body).into_owned();
            follow::json(&ChannelMessage { channel, message, message_base64 })
        }
        Received::Missed(count) => gap(Some(count)),
        // The enum may grow; whatever else happens to a subscription is a gap of unknown size.
        _ => gap(None),
    }
}
