//! Following by Server-Sent Events: one long answer that goes on as things happen.

use std::convert::Infallible;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, StreamExt};
use serde::Serialize;

use super::app::App;
use super::problem::Problem;

/// Sends events until there are none, the client leaves, or the server stops. Events are made when the client takes them, so a slow client
/// costs no memory here.
pub(super) fn respond(app: &App, events: impl Stream<Item = Event> + Send + 'static) -> Response {
    let events = events.map(Ok::<_, Infallible>).take_until(Box::pin(app.stopped()));
    let heartbeat = KeepAlive::new().interval(app.settings().http_heartbeat);
    let mut response = Sse::new(events).keep_alive(heartbeat).into_response();
    // Some proxies collect an answer before they pass it on, unless told not to.
    response.headers_mut().insert("x-accel-buffering", axum::http::HeaderValue::from_static("no"));
    response
}

/// An event that carries JSON.
pub(super) fn json<T: Serialize>(data: &T) -> Event {
    Event::default().data(serde_json::to_string(data).expect("texts and numbers are JSON"))
}

/// The last event before the answer ends, because it can't go on.
pub(super) fn failed(problem: &Problem) -> Event {
    Event::default().event("error").data(problem.to_json())
}
