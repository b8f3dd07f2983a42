//! Batches of messages: several for one call of a handler.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use super::super::message::Message;
use super::extract::{Call, QueueDelivery};
use crate::channel::Body;
use crate::service::{BatchFuture, FromRef, Handler, IntoOutcomes, State};

/// Several messages of a queue, in its order, for one call of a handler; see [`Worker::on_batch`](crate::Worker::on_batch).
#[derive(Clone, Debug)]
pub struct QueueBatch<B>(Vec<(B, QueueDelivery)>);

impl<B> QueueBatch<B> {
    /// How many there are; never none.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "a handler is never called with an empty batch")]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The messages, each with its delivery.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &(B, QueueDelivery)> {
        self.0.iter()
    }

    /// The messages alone.
    #[must_use]
    pub fn into_messages(self) -> Vec<B> {
        self.0.into_iter().map(|(message, _)| message).collect()
    }
}

impl<B> IntoIterator for QueueBatch<B> {
    type Item = (B, QueueDelivery);
    type IntoIter = std::vec::IntoIter<(B, QueueDelivery)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// The arguments of a worker's handler of batches: a [`QueueBatch`], and after it what all of its messages share.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be the arguments of a worker's handler of batches",
    note = "the first is a `QueueBatch` of a type that derives `Event`, of `String` or of `Vec<u8>`; after it at most two `State<T>`: each message's delivery is in the batch"
)]
pub trait QueueBatchArguments<S>: 'static {
    /// What the batch is of.
    type Message: Body;

    /// Takes the others from the state.
    fn take(batch: QueueBatch<Self::Message>, state: &S) -> Self;
}

impl<S, B: Body> QueueBatchArguments<S> for (QueueBatch<B>,) {
    type Message = B;

    fn take(batch: QueueBatch<B>, _: &S) -> Self {
        (batch,)
    }
}

impl<S, B: Body, T: FromRef<S> + Send + 'static> QueueBatchArguments<S> for (QueueBatch<B>, State<T>) {
    type Message = B;

    fn take(batch: QueueBatch<B>, state: &S) -> Self {
        (batch, State(T::from_ref(state)))
    }
}

impl<S, B: Body, T: FromRef<S> + Send + 'static, U: FromRef<S> + Send + 'static> QueueBatchArguments<S>
    for (QueueBatch<B>, State<T>, State<U>)
{
    type Message = B;

    fn take(batch: QueueBatch<B>, state: &S) -> Self {
        (batch, State(T::from_ref(state)), State(U::from_ref(state)))
    }
}

/// How messages are handled.
pub(super) enum Route {
    One(Call),
    Many { call: BatchCall, length: usize, linger: Duration },
}

impl Route {
    /// How many messages a call takes.
    pub(super) fn length(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::Many { length, .. } => *length,
        }
    }

    /// How long a message waits for others of its batch.
    pub(super) fn linger(&self) -> Duration {
        match self {
            Self::One(_) => Duration::ZERO,
            Self::Many { linger, .. } => *linger,
        }
    }
}

/// A handler of batches with its state, its types forgotten.
pub(super) type BatchCall = Box<dyn Fn(Vec<(Message, QueueDelivery)>) -> Begun + Send + Sync>;

/// A batch whose handler was called.
pub(super) struct Begun {
    /// What could be decoded, in the order of the results to come.
    pub(super) called: Vec<Message>,
    /// What could not, and why.
    pub(super) undecodable: Vec<(Message, String)>,
    /// Nothing if nothing could be decoded; the panic if the handler did before it waited.
    pub(super) future: Option<std::thread::Result<BatchFuture>>,
}

pub(super) fn batch_call<H, A, S>(handler: H, state: S) -> BatchCall
where
    H: Handler<A, Output: IntoOutcomes, Future: Send>,
    A: QueueBatchArguments<S>,
    S: Send + Sync + 'static,
{
    Box::new(move |messages| {
        let mut begun =
            Begun { called: Vec::with_capacity(messages.len()), undecodable: Vec::new(), future: None };
        let mut items = Vec::with_capacity(messages.len());
        for (message, delivery) in messages {
            match message.decode() {
                Ok(body) => {
                    items.push((body, delivery));
                    begun.called.push(message);
                }
                Err(error) => begun.undecodable.push((message, error.to_string())),
            }
        }
        let length = items.len();
        if length > 0 {
            let called = catch_unwind(AssertUnwindSafe(|| handler.call(A::take(QueueBatch(items), &state))));
            begun.future = Some(called.map(|future| -> BatchFuture {
                Box::pin(async move { future.await.into_outcomes(length) })
            }));
        }
        begun
    })
}
