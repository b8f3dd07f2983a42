//! Streams: entries are appended, read by range, and followed as they come.

use std::collections::VecDeque;
use std::ops::Bound;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::Event;
use axum::response::{IntoResponse, Response};
use cauce::{EntryId, Follower, Metadata, Start};
use futures_util::Stream;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::OwnedSemaphorePermit;
use utoipa::ToSchema;

use super::app::App;
use super::extract::{Asked, Given, Named};
use super::follow;
use super::problem::Problem;
use super::text::{EntryView, Pairs};

/// Entries of one answer, at most.
const COUNT_MAX: usize = 1000;
/// Entries of one answer, unless the request says otherwise.
const COUNT: usize = 100;
/// Entries that are asked for at a time, so that an answer of large entries can end early.
const PAGE: usize = 16;
/// An answer that holds this much ends, whatever its count.
const ANSWER_BYTES: usize = 4 * 1024 * 1024;

/// What to append: an entry of plain fields, or an event as the toolkit writes it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(try_from = "Body", untagged)]
pub(super) enum NewEntry {
    /// Fields as they are.
    Fields {
        /// Names and values, in this order.
        #[schema(value_type = std::collections::HashMap<String, String>, example = json!({"action": "order.created", "order": "7"}))]
        fields: Pairs,
    },
    /// An event: `action`, metadata, and the payload as JSON in the field `data`.
    Event(NewEvent),
}

/// An event.
#[derive(Debug, ToSchema)]
pub(super) struct NewEvent {
    /// What kind of event it is.
    #[schema(example = "order.created")]
    action: String,
    /// The payload: any JSON; left out, it is `null`.
    #[schema(value_type = Option<serde_json::Value>, example = json!({"order": 7}))]
    data: Option<Box<RawValue>>,
    /// The event's id, by which a repeated publish can be recognised. The default is a fresh UUID.
    id: Option<String>,
    /// Who says so. The default is `cauce`.
    source: Option<String>,
    /// The W3C trace context to carry on.
    traceparent: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    fields: Option<Pairs>,
    action: Option<String>,
    data: Option<Box<RawValue>>,
    id: Option<String>,
    source: Option<String>,
    traceparent: Option<String>,
}

impl TryFrom<Body> for NewEntry {
    type Error = &'static str;

    fn try_from(body: Body) -> Result<Self, Self::Error> {
        let Body { fields, action, data, id, source, traceparent } = body;
        let is_bare = data.is_none() && id.is_none() && source.is_none() && traceparent.is_none();
        match (fields, action) {
            (Some(fields), _) if fields.is_empty() => Err("an entry needs at least one field"),
            (Some(fields), None) if is_bare => Ok(Self::Fields { fields }),
            (Some(_), _) => Err("give `fields`, or `action` and what belongs to an event, not both"),
            (None, Some(action)) => Ok(Self::Event(NewEvent { action, data, id, source, traceparent })),
            (None, None) => Err("give `fields` for an entry as it is, or `action` and `data` for an event"),
        }
    }
}

/// What was appended.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Appended {
    /// The id of the entry.
    #[schema(example = "1700000000000-0")]
    id: String,
}

/// Appends an entry
///
/// When this answers, the entry is as durable as the broker is.
#[utoipa::path(
    post,
    operation_id = "appendEntry",
    path = "/v1/streams/{stream}/entries",
    tag = "streams",
    params(("stream" = String, Path, description = "The stream's key")),
    request_body = NewEntry,
    responses((status = 201, description = "Appended", body = Appended), Problem),
)]
pub(super) async fn append(
    State(app): State<App>,
    Named(stream): Named<String>,
    Given(entry): Given<NewEntry>,
) -> Result<Response, Problem> {
    let stream = app.bus().await?.stream(&stream);
    let id = match entry {
        NewEntry::Fields { fields } => stream.append(&fields.into_fields()).await?,
        NewEntry::Event(event) => {
            let NewEvent { action, data, id, source, traceparent } = event;
            let mut metadata = Metadata::new();
            if let Some(id) = id {
                metadata = metadata.id(id);
            }
            if let Some(source) = source {
                metadata = metadata.source(source);
            }
            if let Some(traceparent) = traceparent {
                metadata = metadata.traceparent(traceparent);
            }
            stream.publish(action, &data, &metadata).await?
        }
    };
    Ok((StatusCode::CREATED, Json(Appended { id: id.to_string() })).into_response())
}

/// Which entries to show.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Range {
    /// From this id on. The default is the oldest.
    from: Option<String>,
    /// After this id, in place of `from`: the `next` of the answer before.
    after: Option<String>,
    /// Up to this id, which is included. The default is the newest.
    to: Option<String>,
    /// At most so many.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    count: Option<usize>,
}

/// Entries of a stream, in order.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Entries {
    entries: Vec<EntryView>,
    /// There may be more: ask again with this as `after`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next: Option<String>,
}

/// Shows entries
///
/// In order. A stream that does not exist is empty. An answer with large entries may hold fewer than asked for; `next` is there then.
#[utoipa::path(
    get,
    operation_id = "listEntries",
    path = "/v1/streams/{stream}/entries",
    tag = "streams",
    params(("stream" = String, Path, description = "The stream's key"), Range),
    responses((status = 200, description = "The entries", body = Entries), Problem),
)]
pub(super) async fn entries(
    State(app): State<App>,
    Named(stream): Named<String>,
    Asked(range): Asked<Range>,
) -> Result<Json<Entries>, Problem> {
    let mut start = match (&range.from, &range.after) {
        (Some(_), Some(_)) => return Err(Problem::invalid_value("give `from` or `after`, not both")),
        (Some(from), None) => Bound::Included(entry_id("from", from)?),
        (None, Some(after)) => Bound::Excluded(entry_id("after", after)?),
        (None, None) => Bound::Unbounded,
    };
    let end = match &range.to {
        // Milliseconds alone mean the last entry of that millisecond, as in Redis.
        Some(to) if !to.contains('-') => Bound::Included(EntryId::new(entry_id("to", to)?.ms, u64::MAX)),
        Some(to) => Bound::Included(entry_id("to", to)?),
        None => Bound::Unbounded,
    };
    let count = range.count.unwrap_or(COUNT);
    if !(1..=COUNT_MAX).contains(&count) {
        return Err(Problem::invalid_value(format!("count must be between 1 and {COUNT_MAX}")));
    }
    let stream = app.bus().await?.stream(&stream);
    let (mut found, mut bytes) = (Vec::new(), 0);
    let mut next = None;
    while found.len() < count && bytes < ANSWER_BYTES {
        let page = PAGE.min(count - found.len());
        let entries = stream.range((start, end), page).await?;
        let is_last = entries.len() < page;
        for entry in entries {
            bytes += entry.fields.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
            start = Bound::Excluded(entry.id);
            next = Some(entry.id.to_string());
            found.push(EntryView::from(entry));
        }
        if is_last {
            next = None;
            break;
        }
    }
    Ok(Json(Entries { entries: found, next }))
}

/// Where to begin.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Place {
    /// From this id on; `0` for the oldest entry. The default is what is appended from now on.
    from: Option<String>,
}

/// Follows a stream
///
/// Server-Sent Events, one for each entry: its `id` is the entry's, its `data` the entry as JSON. A client that lost the connection sends
/// the last id that it saw as `Last-Event-ID` (browsers do by themselves) and misses nothing that the stream still holds. An event `error` comes last
/// if the stream can't be read any more, with a problem as its data. Comments say now and then that the connection lives.
#[utoipa::path(
    get,
    operation_id = "followStream",
    path = "/v1/streams/{stream}/follow",
    tag = "streams",
    params(
        ("stream" = String, Path, description = "The stream's key"),
        Place,
        ("Last-Event-ID" = Option<String>, Header, description = "Go on after this entry, whatever `from` says"),
    ),
    responses((status = 200, description = "Events as they come", body = EntryView, content_type = "text/event-stream"), Problem),
)]
pub(super) async fn follow(
    State(app): State<App>,
    Named(stream): Named<String>,
    Asked(Place { from }): Asked<Place>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let start = match (headers.get("last-event-id"), from) {
        (Some(last), _) => Start::Id(entry_id("Last-Event-ID", last.to_str().unwrap_or_default())?),
        (None, Some(from)) => Start::Id(entry_id("from", &from)?.previous()),
        (None, None) => Start::New,
    };
    let permit = app.follower()?;
    let follower = app.bus().await?.stream(&stream).follow(start).await?;
    let following = Following { follower: Some(follower), ready: VecDeque::new(), _permit: permit };
    Ok(follow::respond(&app, events(following)))
}

/// A client that follows.
struct Following {
    /// None once it can't go on.
    follower: Option<Follower>,
    /// Entries that were read together and are not sent yet.
    ready: VecDeque<Event>,
    _permit: OwnedSemaphorePermit,
}

fn events(following: Following) -> impl Stream<Item = Event> {
    futures_util::stream::unfold(following, async |mut following| {
        while following.ready.is_empty() {
            match following.follower.as_mut()?.next().await {
                Ok(entries) => following.ready.extend(entries.into_iter().map(|entry| {
                    let id = entry.id.to_string();
                    follow::json(&EntryView::from(entry)).id(id)
                })),
                Err(error) => {
                    following.follower = None;
                    following.ready.push_back(follow::failed(&error.into()));
                }
            }
        }
        following.ready.pop_front().map(|event| (event, following))
    })
}

fn entry_id(name: &str, text: &str) -> Result<EntryId, Problem> {
    text.parse().map_err(|error| Problem::invalid_value(format!("{name}: {error}")))
}
