//! Handlers: plain async functions.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::slice;
use std::sync::Arc;
use std::time::Duration;

use super::batch::{Batch, IntoOutcomes, as_one_call};
use super::calls::message;
use super::core::Core;
use super::extract::{Context, Delivery, Extract, FromRef, Names, State};
use super::handling::Handling;
use super::inbox::Once;
use super::lane::Delivered;
use super::outcome::{Completion, HandlerError, IntoOutcome, Outcome};
use super::transaction::{Collected, Place};
use crate::entry::Fields;
use crate::event::{DecodeError, Event};
use crate::middleware::Incoming;
use crate::request::{Answer, Asked};
use crate::trace::{self, TRACEPARENT};

/// An async function that takes an event, and after it what it needs: [`State`](crate::State), [`Delivery`](crate::Delivery),
/// [`Headers`](crate::Headers), [`Transaction`](crate::Transaction), in any order, up to five.
///
/// It is implemented for functions and closures; nobody else implements it. What the arguments may be is the business of
/// [`Arguments`], and what is returned that of [`IntoOutcome`], so that the compiler's message points at the part that is wrong.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a handler of events",
    label = "not an async function of an event",
    note = "write `async fn name(event: YourEvent, ...) -> Result<(), HandlerError>`: it is async, and has one to six arguments"
)]
pub trait Handler<A>: Send + Sync + 'static {
    /// What it returns in the end.
    type Output;
    /// The call under way.
    type Future: Future<Output = Self::Output> + 'static;

    /// Calls it.
    fn call(&self, arguments: A) -> Self::Future;
}

/// The arguments of a handler: an event, and after it what can be taken from a delivery to a service with the state `S`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be the arguments of a handler",
    note = "the first is a type that derives `Event`; after it come `State<T>`, `Delivery`, `Headers`, `Transaction` and `Bus`"
)]
pub trait Arguments<S>: 'static {
    /// The first of them.
    type Event: Event;

    /// Takes the others from the delivery.
    fn take(event: Self::Event, context: &Context<'_, S>) -> Self;
}

macro_rules! handler {
    ($($argument:ident),*) => {
        impl<F, Fut, E, $($argument,)*> Handler<(E, $($argument,)*)> for F
        where
            F: Fn(E, $($argument,)*) -> Fut + Send + Sync + 'static,
            Fut: Future + 'static,
        {
            type Output = Fut::Output;
            type Future = Fut;

            #[allow(non_snake_case, reason = "the names of types serve as names of values")]
            fn call(&self, (event, $($argument,)*): (E, $($argument,)*)) -> Fut {
                self(event, $($argument,)*)
            }
        }

        impl<S, E: Event, $($argument: Extract<S>,)*> Arguments<S> for (E, $($argument,)*) {
            type Event = E;

            #[allow(unused_variables, reason = "a handler of the event alone asks for nothing")]
            fn take(event: E, context: &Context<'_, S>) -> Self {
                (event, $($argument::extract(context),)*)
            }
        }
    };
}

handler!();
handler!(A);
handler!(A, B);
handler!(A, B, C);
handler!(A, B, C, D);
handler!(A, B, C, D, G);

/// The arguments of a handler of batches: a [`Batch`] of events, and after it what all of them share.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be the arguments of a handler of batches",
    note = "the first is a `Batch` of a type that derives `Event`; after it at most two `State<T>`: each event's delivery is in the batch"
)]
pub trait BatchArguments<S>: 'static {
    /// The event of the batch.
    type Event: Event;

    /// Takes the others from the state.
    fn take(batch: Batch<Self::Event>, state: &S) -> Self;
}

impl<S, E: Event> BatchArguments<S> for (Batch<E>,) {
    type Event = E;

    fn take(batch: Batch<E>, _: &S) -> Self {
        (batch,)
    }
}

impl<S, E: Event, T: FromRef<S> + Send + 'static> BatchArguments<S> for (Batch<E>, State<T>) {
    type Event = E;

    fn take(batch: Batch<E>, state: &S) -> Self {
        (batch, State(T::from_ref(state)))
    }
}

impl<S, E: Event, T: FromRef<S> + Send + 'static, U: FromRef<S> + Send + 'static> BatchArguments<S>
    for (Batch<E>, State<T>, State<U>)
{
    type Event = E;

    fn take(batch: Batch<E>, state: &S) -> Self {
        (batch, State(T::from_ref(state)), State(U::from_ref(state)))
    }
}

pub(crate) type HandlerFuture = Pin<Box<dyn Future<Output = Result<(), HandlerError>> + Send>>;
/// A handler with what belongs to it.
pub(crate) type CallFuture = Pin<Box<dyn Future<Output = Result<Completion, HandlerError>> + Send>>;
pub(crate) type BatchFuture = Pin<Box<dyn Future<Output = Vec<Result<(), HandlerError>>> + Send>>;

/// A handler of events with its state, its types forgotten.
pub(crate) type Call = Box<dyn Fn(&Delivered, &Arc<Core>) -> Result<CallFuture, DecodeError> + Send + Sync>;
/// A handler of batches with its state, its types forgotten.
pub(crate) type BatchCall = Box<dyn Fn(Vec<Delivered>, &Names) -> Begun + Send + Sync>;
/// What an entry is about.
type KeyOf = fn(&Fields) -> Result<Option<String>, DecodeError>;

/// A batch whose handler was called.
pub(crate) struct Begun {
    /// What could be decoded, in the order of the results to come.
    pub(crate) called: Vec<Delivered>,
    /// What failed before.
    pub(crate) failed: Vec<(Delivered, Outcome)>,
    /// Nothing if nothing could be decoded, or the handler panicked before it waited.
    pub(crate) future: Option<BatchFuture>,
}

/// How entries of one action are handled.
pub(crate) struct Route {
    /// Its place among the service's handlers.
    pub(crate) number: usize,
    pub(crate) work: Work,
    pub(crate) key: KeyOf,
    pub(crate) handling: Handling,
}

pub(crate) enum Work {
    One(Call),
    Many { call: BatchCall, length: usize, linger: Duration },
}

/// The handler's key of an entry, for services that keep the order.
pub(crate) fn key_of<E: Event>(fields: &Fields) -> Result<Option<String>, DecodeError> {
    E::decode(fields).map(|event| event.key())
}

pub(crate) fn call<H, A, S>(handler: H, state: S) -> Call
where
    H: Handler<A, Output: IntoOutcome, Future: Send>,
    A: Arguments<S>,
    S: Send + Sync + 'static,
{
    Box::new(move |delivered, core| {
        let event = A::Event::decode(&delivered.fields)?;
        let transaction = Place::new();
        let context = Context {
            state: &state,
            names: &core.names,
            stream: &delivered.lane.origin,
            id: delivered.id,
            attempt: delivered.attempt,
            fields: &delivered.fields,
            transaction: &transaction,
        };
        let future = handler.call(A::take(event, &context));
        let transaction = transaction.into_inner();
        let answer =
            answering(delivered, &core.names, transaction.clone(), async move { future.await.into_answer() });
        let future = around(delivered, &core.names, answer);
        Ok(match Once::of(core, delivered, transaction.is_some()) {
            Some(once) => Box::pin(once.run(future, transaction)),
            None => Box::pin(async move { future.await.map(|()| Completion::Handled) }),
        })
    })
}

/// The handler, and the reply to who asked: it goes with the transaction, if there is one, else it is sent before anybody hears that the handler has
/// ended.
fn answering<F>(
    delivered: &Delivered,
    names: &Names,
    transaction: Option<Arc<Collected>>,
    handler: F,
) -> HandlerFuture
where
    F: Future<Output = Result<Option<Answer>, HandlerError>> + Send + 'static,
{
    let Some(asked) = Asked::of(&delivered.fields) else {
        return Box::pin(async move { handler.await.map(drop) });
    };
    let bus = names.bus.clone();
    Box::pin(async move {
        if let Some(answer) = handler.await? {
            let reply = asked.reply(answer);
            match transaction {
                Some(transaction) => transaction.answer(reply),
                None => reply.send(bus.link()).await?,
            }
        }
        Ok(())
    })
}

/// The handler in its span, with the middleware around it.
fn around(delivered: &Delivered, names: &Names, handler: HandlerFuture) -> HandlerFuture {
    let handler = names.around.around(|| incoming(slice::from_ref(delivered), names), handler);
    let parent = delivered.fields.text(TRACEPARENT).and_then(|text| text.parse().ok());
    let span = span(delivered, names, 1);
    if parent.is_none() && span.is_disabled() {
        handler
    } else {
        Box::pin(trace::handling(span, parent, handler))
    }
}

fn span(delivered: &Delivered, names: &Names, length: usize) -> tracing::Span {
    tracing::info_span!(
        "handle",
        otel.name = format!("process {}", delivered.lane.origin),
        otel.kind = "consumer",
        otel.status_code = tracing::field::Empty,
        error = tracing::field::Empty,
        messaging.system = "redis",
        messaging.operation.type = "process",
        messaging.destination.name = &*delivered.lane.origin,
        messaging.consumer.group.name = &*names.group,
        messaging.message.id = %delivered.id,
        messaging.batch.message_count = length,
        attempt = delivered.attempt,
    )
}

fn incoming(delivered: &[Delivered], names: &Names) -> Incoming {
    let first = delivered.first();
    Incoming {
        from: first.map_or_else(|| "".into(), |first| Arc::clone(&first.lane.origin)),
        by: Arc::clone(&names.group),
        id: first.map(|first| first.id.to_string()).unwrap_or_default(),
        attempt: delivered.iter().map(|delivered| delivered.attempt).max().unwrap_or(1),
        length: delivered.len(),
        fields: first.map(|first| first.fields.clone()).unwrap_or_default(),
    }
}

/// The handler of a batch in its span, with the middleware around it, to which it is one call that fails if any event does.
fn around_batch(called: &[Delivered], names: &Names, handler: BatchFuture) -> BatchFuture {
    let Some(first) = called.first() else { return handler };
    let (length, span) = (called.len(), span(first, names, called.len()));
    if names.around.is_empty() && span.is_disabled() {
        return handler;
    }
    as_one_call(handler, length, |whole| {
        let whole = names.around.around(|| incoming(called, names), whole);
        Box::pin(trace::handling(span, None, whole))
    })
}

pub(crate) fn batch_call<H, A, S>(handler: H, state: S) -> BatchCall
where
    H: Handler<A, Output: IntoOutcomes, Future: Send>,
    A: BatchArguments<S>,
    S: Send + Sync + 'static,
{
    Box::new(move |delivered, names| {
        let mut begun =
            Begun { called: Vec::with_capacity(delivered.len()), failed: Vec::new(), future: None };
        let mut items = Vec::with_capacity(delivered.len());
        for delivered in delivered {
            match catch_unwind(AssertUnwindSafe(|| A::Event::decode(&delivered.fields))) {
                Ok(Ok(event)) => {
                    items.push((event, Delivery::of(&delivered, names)));
                    begun.called.push(delivered);
                }
                Ok(Err(error)) => begun.failed.push((delivered, Outcome::Undecodable(error))),
                Err(panic) => begun.failed.push((delivered, Outcome::Panicked(message(&*panic)))),
            }
        }
        let length = items.len();
        if length == 0 {
            return begun;
        }
        match catch_unwind(AssertUnwindSafe(|| handler.call(A::take(Batch(items), &state)))) {
            Ok(future) => {
                let future = Box::pin(async move { future.await.into_outcomes(length) });
                begun.future = Some(around_batch(&begun.called, names, future));
            }
            Err(panic) => {
                let message = message(&*panic);
                let called = begun.called.drain(..);
                begun.failed.extend(called.map(|delivered| (delivered, Outcome::Panicked(message.clone()))));
            }
        }
        begun
    })
}

impl Route {
    /// How many entries make a batch.
    pub(crate) fn length(&self) -> usize {
        match self.work {
            Work::One(_) => 1,
            Work::Many { length, .. } => length,
        }
    }

    /// How long an entry waits for others of its batch.
    pub(crate) fn linger(&self) -> Duration {
        match self.work {
            Work::One(_) => Duration::ZERO,
            Work::Many { linger, .. } => linger,
        }
    }
}
