//! What a handler of messages can ask for besides the message, by type.

use std::pin::Pin;
use std::sync::Arc;
use std::time::SystemTime;

use super::super::message::Message;
use super::super::name::MessageId;
use crate::channel::Body;
use crate::event::DecodeError;
use crate::service::{FromRef, Handler, HandlerError, IntoOutcome, State};

/// An argument of a handler after the message: [`State`], [`QueueDelivery`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be an argument of a worker's handler",
    label = "after the message, a handler takes `State<T>` or `QueueDelivery`",
    note = "for something of your own, put it into the state: `Worker::new(..).state(value)` before `.on(handler)`, and take `State<T>`"
)]
pub trait QueueExtract<S>: Send + 'static {
    /// Takes it from the delivery.
    fn extract(delivery: &QueueDelivery, state: &S) -> Self;
}

impl<S, T: FromRef<S> + Send + 'static> QueueExtract<S> for State<T> {
    fn extract(_: &QueueDelivery, state: &S) -> Self {
        Self(T::from_ref(state))
    }
}

impl<S> QueueExtract<S> for QueueDelivery {
    fn extract(delivery: &QueueDelivery, _: &S) -> Self {
        delivery.clone()
    }
}

/// Which delivery of a message this is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueDelivery {
    /// The queue.
    pub queue: Arc<str>,
    /// The message's id.
    pub id: MessageId,
    /// Which attempt this is, from 1: the message's receive count, whoever received it.
    pub attempt: u32,
    /// When it was sent, by the server's clock.
    pub sent: SystemTime,
    /// When it was received for the first time, by the server's clock.
    pub first_received: SystemTime,
}

impl QueueDelivery {
    pub(super) fn of(queue: &Arc<str>, message: &Message) -> Self {
        Self {
            queue: Arc::clone(queue),
            id: message.id,
            attempt: u32::try_from(message.receive_count).unwrap_or(u32::MAX),
            sent: message.sent(),
            first_received: message.first_received,
        }
    }
}

/// The arguments of a worker's handler: a message, and after it what can be taken from its delivery to a worker with the state `S`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be the arguments of a worker's handler",
    note = "the first is a type that derives `Event`, `String` or `Vec<u8>`; after it come `State<T>` and `QueueDelivery`"
)]
pub trait QueueArguments<S>: 'static {
    /// The first of them.
    type Message: Body;

    /// Takes the others from the delivery.
    fn take(message: Self::Message, delivery: &QueueDelivery, state: &S) -> Self;
}

macro_rules! arguments {
    ($($argument:ident),*) => {
        impl<S, B: Body, $($argument: QueueExtract<S>,)*> QueueArguments<S> for (B, $($argument,)*) {
            type Message = B;

            #[allow(unused_variables, reason = "a handler of the message alone asks for nothing")]
            fn take(message: B, delivery: &QueueDelivery, state: &S) -> Self {
                (message, $($argument::extract(delivery, state),)*)
            }
        }
    };
}

arguments!();
arguments!(A);
arguments!(A, C);
arguments!(A, C, D);
arguments!(A, C, D, F);
arguments!(A, C, D, F, G);

pub(super) type HandlerFuture = Pin<Box<dyn Future<Output = Result<(), HandlerError>> + Send>>;

/// A handler with its state, its types forgotten.
pub(super) type Call =
    Box<dyn Fn(&Message, &QueueDelivery) -> Result<HandlerFuture, DecodeError> + Send + Sync>;

pub(super) fn call<H, A, S>(handler: H, state: S) -> Call
where
    H: Handler<A, Output: IntoOutcome, Future: Send>,
    A: QueueArguments<S>,
    S: Send + Sync + 'static,
{
    Box::new(move |message, delivery| {
        let future = handler.call(A::take(message.decode()?, delivery, &state));
        Ok(Box::pin(async move { future.await.into_outcome() }))
    })
}
