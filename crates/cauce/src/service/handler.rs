//! Handlers: plain async functions.

use std::pin::Pin;

use super::extract::{Context, Extract, Names};
use super::lane::Delivered;
use super::outcome::{HandlerError, IntoOutcome};
use crate::event::{DecodeError, Event};

/// An async function that takes an event, and after it what it needs: [`State`](crate::State), [`Delivery`](crate::Delivery),
/// [`Headers`](crate::Headers), in any order, up to five.
///
/// It is implemented for functions and closures; nobody else implements it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a handler of events",
    label = "not a handler",
    note = "write `async fn name(event: YourEvent, ...) -> Result<(), HandlerError>`: it is async, and its first argument is a type that derives `Event`",
    note = "after the event it can take `State<T>`, `Delivery` and `Headers`; `State<T>` needs `.state(...)` before `.on(...)`",
    note = "what it awaits must be `Send`: hold no `Rc`, `RefCell` borrow or std `MutexGuard` across an `.await`"
)]
pub trait Handler<Arguments, S>: Send + Sync + 'static {
    /// The event that it handles.
    type Event: Event;

    /// Calls it.
    fn call(
        &self,
        event: Self::Event,
        context: &Context<'_, S>,
    ) -> impl Future<Output = Result<(), HandlerError>> + Send + 'static;
}

macro_rules! handler {
    ($($argument:ident),*) => {
        impl<F, Fut, E, S, $($argument,)*> Handler<(E, $($argument,)*), S> for F
        where
            F: Fn(E, $($argument,)*) -> Fut + Send + Sync + 'static,
            Fut: Future<Output: IntoOutcome> + Send + 'static,
            E: Event,
            $($argument: Extract<S>,)*
        {
            type Event = E;

            #[allow(unused_variables, reason = "a handler of the event alone asks for nothing")]
            fn call(&self, event: E, context: &Context<'_, S>) -> impl Future<Output = Result<(), HandlerError>> + Send + 'static {
                let future = self(event, $($argument::extract(context),)*);
                async move { future.await.into_outcome() }
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

pub(crate) fn route<H, Arguments, S>(handler: H, state: S) -> Route
where
    H: Handler<Arguments, S>,
    S: Send + Sync + 'static,
{
    Box::new(move |delivered, names| {
        let event = H::Event::decode(&delivered.fields)?;
        let context = Context {
            state: &state,
            names,
            stream: &delivered.lane.origin,
            id: delivered.id,
            attempt: delivered.attempt,
            fields: &delivered.fields,
        };
        Ok(Box::pin(handler.call(event, &context)))
    })
}
