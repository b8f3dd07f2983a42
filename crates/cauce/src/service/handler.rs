//! Handlers: plain async functions.

use std::pin::Pin;

use super::extract::{Context, Extract, Names};
use super::lane::Delivered;
use super::outcome::{HandlerError, IntoOutcome};
use crate::event::{DecodeError, Event};

/// An async function that takes an event, and after it what it needs: [`State`](crate::State), [`Delivery`](crate::Delivery),
/// [`Headers`](crate::Headers), in any order, up to five.
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
    note = "the first is a type that derives `Event`; after it come `State<T>`, `Delivery` and `Headers`"
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

pub(crate) type HandlerFuture = Pin<Box<dyn Future<Output = Result<(), HandlerError>> + Send>>;

/// A handler with its state, its types forgotten.
pub(crate) type Route = Box<dyn Fn(&Delivered, &Names) -> Result<HandlerFuture, DecodeError> + Send + Sync>;

pub(crate) fn route<H, A, S>(handler: H, state: S) -> Route
where
    H: Handler<A, Output: IntoOutcome, Future: Send>,
    A: Arguments<S>,
    S: Send + Sync + 'static,
{
    Box::new(move |delivered, names| {
        let event = A::Event::decode(&delivered.fields)?;
        let context = Context {
            state: &state,
            names,
            stream: &delivered.lane.origin,
            id: delivered.id,
            attempt: delivered.attempt,
            fields: &delivered.fields,
        };
        let future = handler.call(A::take(event, &context));
        Ok(Box::pin(async move { future.await.into_outcome() }))
    })
}
