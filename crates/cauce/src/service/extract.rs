//! What a handler can ask for besides the event, by type.

use std::sync::Arc;

use super::lane::Delivered;
use super::transaction::{Place, Transaction};
use crate::bus::Bus;
use crate::codec::json;
use crate::entry::{EntryId, Fields};
use crate::middleware::Chain;

/// What is known of one delivery when its handler is called.
#[derive(Debug)]
pub struct Context<'a, S> {
    pub(crate) state: &'a S,
    pub(crate) names: &'a Names,
    pub(crate) stream: &'a Arc<str>,
    pub(crate) id: EntryId,
    pub(crate) attempt: u32,
    pub(crate) fields: &'a Fields,
    /// Where the handler's transaction is put, if it takes one.
    pub(crate) transaction: &'a Place,
}

/// Who reads.
#[derive(Debug)]
pub(crate) struct Names {
    pub(crate) group: Arc<str>,
    pub(crate) consumer: Arc<str>,
    /// Around every handler.
    pub(crate) around: Chain,
    pub(crate) bus: Bus,
}

/// An argument of a handler after the event: [`State`], [`Delivery`], [`Headers`], [`Bus`], [`Transaction`](crate::Transaction).
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be an argument of a handler",
    label = "after the event, a handler takes `State<T>`, `Delivery`, `Headers`, `Transaction` or `Bus`",
    note = "for something of your own, put it into the state: `Service::new(..).state(value)` before `.on(handler)`, and take `State<T>`"
)]
pub trait Extract<S>: Send + 'static {
    /// Takes it from the delivery.
    fn extract(context: &Context<'_, S>) -> Self;
}

/// A part that can be taken from the state `S`: the state itself, or what an implementation of yours hands out.
#[diagnostic::on_unimplemented(
    message = "the service's state is `{S}`, which holds no `{Self}`",
    label = "a handler takes `State<{Self}>`",
    note = "call `.state(...)` with a `{Self}` before `.on(handler)`, or implement `FromRef<{S}>` for `{Self}`"
)]
pub trait FromRef<S> {
    /// Takes the part, usually a clone of a cheap handle.
    fn from_ref(state: &S) -> Self;
}

impl<T: Clone> FromRef<T> for T {
    fn from_ref(state: &T) -> Self {
        state.clone()
    }
}

/// The service's state, or a part of it. Cloned for every delivery: keep it cheap (an `Arc`, a handle).
#[derive(Clone, Copy, Debug)]
pub struct State<T>(pub T);

impl<S, T: FromRef<S> + Send + 'static> Extract<S> for State<T> {
    fn extract(context: &Context<'_, S>) -> Self {
        Self(T::from_ref(context.state))
    }
}

/// Which delivery this is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Delivery {
    /// The stream the entry came from.
    pub stream: Arc<str>,
    /// The entry's id.
    pub id: EntryId,
    /// Which attempt this is, from 1. Deliveries that ended in the death of their process count.
    pub attempt: u32,
    /// The consumer group: the service's name.
    pub group: Arc<str>,
    /// The consumer: this process's name in the group, unique for every start.
    pub consumer: Arc<str>,
}

impl Delivery {
    pub(crate) fn of(delivered: &Delivered, names: &Names) -> Self {
        Self {
            stream: Arc::clone(&delivered.lane.origin),
            id: delivered.id,
            attempt: delivered.attempt,
            group: Arc::clone(&names.group),
            consumer: Arc::clone(&names.consumer),
        }
    }
}

impl<S> Extract<S> for Delivery {
    fn extract(context: &Context<'_, S>) -> Self {
        Self {
            stream: Arc::clone(context.stream),
            id: context.id,
            attempt: context.attempt,
            group: Arc::clone(&context.names.group),
            consumer: Arc::clone(&context.names.consumer),
        }
    }
}

/// The bus that the service runs on, to publish with.
impl<S> Extract<S> for Bus {
    fn extract(context: &Context<'_, S>) -> Self {
        context.names.bus.clone()
    }
}

/// The entry's metadata: all its fields but the payload in `data`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Headers(Fields);

impl Headers {
    /// The event's id, the same in every delivery.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.0.text("id")
    }

    /// When it happened, by the publisher's clock, as RFC 3339.
    #[must_use]
    pub fn time(&self) -> Option<&str> {
        self.0.text("time")
    }

    /// Who says so.
    #[must_use]
    pub fn source(&self) -> Option<&str> {
        self.0.text("source")
    }

    /// The W3C trace context.
    #[must_use]
    pub fn traceparent(&self) -> Option<&str> {
        self.0.text("traceparent")
    }

    /// All of them.
    #[must_use]
    pub fn fields(&self) -> &Fields {
        &self.0
    }
}

impl<S> Extract<S> for Headers {
    fn extract(context: &Context<'_, S>) -> Self {
        let mut headers = Fields::with_capacity(context.fields.len());
        for (name, value) in context.fields.iter().filter(|(name, _)| *name != json::DATA.as_bytes()) {
            headers.push(name, value);
        }
        Self(headers)
    }
}

impl<S> Extract<S> for Transaction {
    fn extract(context: &Context<'_, S>) -> Self {
        Self::of(context)
    }
}
