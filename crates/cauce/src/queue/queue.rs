//! `Queue`: one queue.

use std::sync::Arc;
use std::time::Duration;

use super::Queues;
use super::attributes::{QueueAttributes, QueueChanges};
use super::calls::{self, Answer, Call, Failure, Letter, Suffix, Take, Visibility};
use super::combine::{Combiner, ROUND_BYTES, ROUND_LENGTH};
use super::error::{QueueError, SendAllError};
use super::message::{Message, Received};
use super::name::{MessageId, check_time};
use super::script::{ATTRIBUTES, FORWARD, MOVE};
use super::wait::Waiters;
use crate::backend::replies::Replies;
use crate::channel::Body;
use crate::metrics::Registry;
use crate::trace::TraceContext;

/// One queue in RSMQ's layout. Cheap to clone; clones share one way to the broker.
///
/// Every call is one round trip and one step at the broker: nobody sees half of it, and times are the server's. Concurrent calls
/// travel together: messages keep the order in which their sends were begun, and each call has its own outcome.
///
/// Messages come by the time from which they are visible, those of one millisecond in the order of their ids, so in the order in which
/// they were sent; one that was hidden in between comes when it is visible again.
#[derive(Clone)]
pub struct Queue {
    pub(super) queues: Queues,
    pub(super) calls: Arc<Combiner>,
    pub(super) waiters: Arc<Waiters>,
}

impl Queue {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.calls.keys.name
    }

    pub(super) fn registry(&self) -> &Registry {
        &self.queues.shared.registry
    }

    /// Another queue of the same namespace.
    pub(super) fn sibling(&self, name: &str) -> Result<Self, QueueError> {
        self.queues.queue(name)
    }

    /// Sends a message, visible after the queue's delay. An event is sent as JSON.
    ///
    /// # Errors
    /// If the body is not text or too long, the queue is not there, or the broker did not confirm.
    pub async fn send<B: Body>(&self, body: &B) -> Result<MessageId, QueueError> {
        self.send_body(body.to_body()?, None).await
    }

    /// Sends a message that is visible after `delay`, at most 9,999,999 seconds, in place of the queue's own.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn send_in<B: Body>(&self, delay: Duration, body: &B) -> Result<MessageId, QueueError> {
        self.send_body(body.to_body()?, Some(check_time("delay", delay)?)).await
    }

    async fn send_body(&self, body: Vec<u8>, delay_ms: Option<u64>) -> Result<MessageId, QueueError> {
        check_text(&body)?;
        let trace = TraceContext::current();
        match self.call(Call::Send(Letter { delay_ms, body, trace })).await? {
            Answer::Sent(id) => Ok(id),
            _ => Err(self.error(Failure::unexpected())),
        }
    }

    /// Sends many messages in order, in steps of up to 256 messages or one MiB: each step is carried out as a whole or not at all.
    ///
    /// # Errors
    /// At the first step that is not confirmed; the error holds the ids of the steps before it.
    pub async fn send_all<B: Body>(&self, bodies: &[B]) -> Result<Vec<MessageId>, SendAllError> {
        self.send_all_with(None, bodies).await
    }

    /// As [`send_all`](Self::send_all), visible after `delay` in place of the queue's own.
    ///
    /// # Errors
    /// As [`send_all`](Self::send_all).
    pub async fn send_all_in<B: Body>(
        &self,
        delay: Duration,
        bodies: &[B],
    ) -> Result<Vec<MessageId>, SendAllError> {
        self.send_all_with(Some(delay), bodies).await
    }

    async fn send_all_with<B: Body>(
        &self,
        delay: Option<Duration>,
        bodies: &[B],
    ) -> Result<Vec<MessageId>, SendAllError> {
        let mut confirmed = Vec::with_capacity(bodies.len());
        let total = bodies.len();
        let failed = |confirmed, place, source| SendAllError { confirmed, total, source, place };
        let delay_ms = match delay.map(|delay| check_time("delay", delay)).transpose() {
            Ok(delay) => delay,
            Err(source) => return Err(failed(confirmed, None, source)),
        };
        let trace = TraceContext::current();
        let mut bodies = bodies.iter().enumerate().peekable();
        while bodies.peek().is_some() {
            let (mut messages, mut bytes) = (Vec::with_capacity(bodies.len().min(ROUND_LENGTH)), 0);
            while messages.len() < ROUND_LENGTH && bytes < ROUND_BYTES {
                let Some((place, body)) = bodies.next() else { break };
                let body = body
                    .to_body()
                    .map_err(QueueError::from)
                    .and_then(|body| check_text(&body).map(|()| body));
                let body = match body {
                    Ok(body) => body,
                    Err(source) => return Err(failed(confirmed, Some(place), source)),
                };
                bytes += body.len();
                messages.push(Letter { delay_ms, body, trace });
            }
            let (invocation, suffixes) = calls::send(&self.calls.keys, true, &messages);
            let result = invocation.call(&self.calls.link).await.map_err(Failure::Command);
            match result.and_then(|replies| sent(replies, &suffixes)) {
                Ok(Sent::All(mut ids)) => confirmed.append(&mut ids),
                Ok(Sent::TooLong(place)) => {
                    let place = Some(confirmed.len() + place);
                    return Err(failed(confirmed, place, QueueError::MessageTooLong));
                }
                Err(failure) => return Err(failed(confirmed, None, self.error(failure))),
            }
        }
        Ok(confirmed)
    }

    /// Receives the next message, if one is visible. It stays hidden from others for the queue's visibility timeout, and comes again
    /// after it unless it is deleted. Dropping the future may leave a message received that nobody saw; it comes again too.
    ///
    /// # Errors
    /// If the queue is not there, or the broker did not confirm.
    pub async fn receive(&self) -> Result<Option<Message>, QueueError> {
        Ok(self.take(1, Take::Hide).await?.messages.pop())
    }

    /// As [`receive`](Self::receive), hidden for `vt`, at most 9,999,999 seconds, in place of the queue's own.
    ///
    /// # Errors
    /// As [`receive`](Self::receive).
    pub async fn receive_for(&self, vt: Duration) -> Result<Option<Message>, QueueError> {
        Ok(self.take(1, hide(Some(vt))?).await?.messages.pop())
    }

    /// Receives up to `count` messages (at most 256) in one step, hidden for `vt` or the queue's own.
    ///
    /// # Errors
    /// As [`receive`](Self::receive).
    pub async fn receive_many(&self, count: usize, vt: Option<Duration>) -> Result<Vec<Message>, QueueError> {
        Ok(self.take(count, hide(vt)?).await?.messages)
    }

    /// Receives the next message, waiting for it up to `timeout`. It is woken by the sender's announcement, by the time from which a
    /// hidden message is visible, and by polling ([`Queues::poll_interval`](super::Queues::poll_interval)) where senders announce
    /// nothing. Those who wait are served first come, first served; all who wait in this process share one subscription and one receive.
    ///
    /// Cancel safe: dropping the future loses nothing, and does not count as a receipt.
    ///
    /// # Errors
    /// As [`receive`](Self::receive).
    pub async fn receive_wait(&self, timeout: Duration) -> Result<Option<Message>, QueueError> {
        match tokio::time::timeout(timeout, self.waiters.wait(1, Take::Hide)).await {
            Ok(Ok(mut messages)) => Ok(messages.pop()),
            Ok(Err(failure)) => Err(self.error(failure)),
            Err(_) => Ok(None),
        }
    }

    /// Receives and deletes the next message, if one is visible: at most once. Dropping the future may lose a message.
    ///
    /// # Errors
    /// As [`receive`](Self::receive).
    pub async fn pop(&self) -> Result<Option<Message>, QueueError> {
        Ok(self.take(1, Take::Pop).await?.messages.pop())
    }

    /// Receives and deletes up to `count` messages (at most 256) in one step.
    ///
    /// # Errors
    /// As [`receive`](Self::receive).
    pub async fn pop_many(&self, count: usize) -> Result<Vec<Message>, QueueError> {
        Ok(self.take(count, Take::Pop).await?.messages)
    }

    /// Deletes a message; `false` if it is not there. As in RSMQ whoever knows the id may: to delete only what is still yours, see
    /// [`delete_received`](Self::delete_received).
    ///
    /// # Errors
    /// If the broker did not confirm.
    pub async fn delete(&self, id: MessageId) -> Result<bool, QueueError> {
        self.done(Call::Delete { id, fence: None }).await
    }

    /// Deletes a message that was received, unless it was received by somebody else since, because its visibility timeout had run out;
    /// `false` then, or if it is not there.
    ///
    /// # Errors
    /// If the broker did not confirm.
    pub async fn delete_received(&self, message: &Message) -> Result<bool, QueueError> {
        self.done(Call::Delete { id: message.id, fence: Some(message.receive_count) }).await
    }

    /// Makes a message visible `vt` from now, at most 9,999,999 seconds; zero is at once. `false` if it is not there. As in RSMQ it
    /// need not have been received.
    ///
    /// # Errors
    /// If the queue is not there, or the broker did not confirm.
    pub async fn change_visibility(&self, id: MessageId, vt: Duration) -> Result<bool, QueueError> {
        let vt_ms = check_time("vt", vt)?;
        self.done(Call::Visibility(Visibility { id, vt_ms, fence: None, is_uncounted: false })).await
    }

    /// As [`change_visibility`](Self::change_visibility), unless the message was received by somebody else since.
    ///
    /// # Errors
    /// As [`change_visibility`](Self::change_visibility).
    pub async fn extend_received(&self, message: &Message, vt: Duration) -> Result<bool, QueueError> {
        let vt_ms = check_time("vt", vt)?;
        let fence = Some(message.receive_count);
        self.done(Call::Visibility(Visibility { id: message.id, vt_ms, fence, is_uncounted: false })).await
    }

    /// Settings and counters.
    ///
    /// # Errors
    /// If the queue is not there, or the broker did not confirm.
    pub async fn attributes(&self) -> Result<QueueAttributes, QueueError> {
        self.attributes_after(&QueueChanges::new(), &[]).await
    }

    /// Changes settings, and returns them as they are then.
    ///
    /// # Errors
    /// If nothing is to be changed, a value is out of range, the queue is not there, or the broker did not confirm.
    pub async fn set_attributes(&self, changes: &QueueChanges) -> Result<QueueAttributes, QueueError> {
        let fields = changes.fields(self.calls.keys.units)?;
        self.attributes_after(changes, &fields).await
    }

    async fn attributes_after(
        &self,
        changes: &QueueChanges,
        fields: &[(&'static str, String)],
    ) -> Result<QueueAttributes, QueueError> {
        let keys = &self.calls.keys;
        let mut invocation = ATTRIBUTES.with_keys(keys.both());
        invocation.arg(keys.units.name()).arg(if changes.sets_all_times() { "1" } else { "" });
        for (name, value) in fields {
            invocation.arg(*name).arg(value.as_str());
        }
        let mut replies = invocation.call(&self.calls.link).await?;
        if let Some(failure) = Failure::of(&replies) {
            return Err(self.error(failure));
        }
        QueueAttributes::of(replies.tree()?, keys.units).ok_or_else(|| self.error(Failure::unexpected()))
    }

    /// Moves a message to another queue of the same bus in one step, with its receive count; it is visible there at once. `false` if
    /// it is not there.
    ///
    /// # Errors
    /// If the other queue is not there, or the broker did not confirm.
    pub async fn move_to(&self, id: MessageId, target: &Self) -> Result<bool, QueueError> {
        self.relocate(target, &Relocation { id, fence: None, death: None, make: false, forget: false }).await
    }

    pub(super) async fn relocate(&self, target: &Self, how: &Relocation) -> Result<bool, QueueError> {
        let (from, to) = (&self.calls.keys, &target.calls.keys);
        let mut invocation = MOVE.with_keys(
            [&from.messages, &from.hash, &to.messages, &to.hash, &to.registry].map(String::as_str),
        );
        let vt = match to.units {
            super::Units::Milliseconds => "30000",
            _ => "30",
        };
        invocation.arg(to.units.name()).arg(how.id.as_str()).arg(calls::fenced(how.fence));
        invocation.arg(how.death.as_deref().unwrap_or_default());
        invocation.arg(if how.make { to.name.as_str() } else { "" }).arg(vt).arg(to.units.mark());
        invocation.arg(if how.forget { "1" } else { "" }).arg(to.announcement());
        let mut replies = invocation.call(&self.calls.link).await?;
        match Failure::of(&replies) {
            Some(failure) => Err(target.error(failure)),
            None => Ok(replies.count() == Some(1)),
        }
    }

    /// Reads entries of a stream with a group and sends them, in one step: how many were read, how many of them sent, and the id of the one
    /// before which it stopped because it is too long, or nothing. Entries of other actions are skipped, unless there are no wanted ones.
    pub(crate) async fn forward(
        &self,
        stream: &str,
        group: &str,
        actions: &[String],
        count: usize,
    ) -> Result<(u64, u64, String), QueueError> {
        let keys = &self.calls.keys;
        let mut invocation = FORWARD.with_keys([keys.messages.as_str(), &keys.hash, stream]);
        invocation
            .arg(keys.units.name())
            .arg(keys.announcement())
            .arg(group)
            .arg("bridge")
            .arg(count.to_string());
        for suffix in calls::suffixes(count) {
            invocation.arg(suffix);
        }
        for action in actions {
            invocation.arg(action.as_str());
        }
        let mut replies = invocation.call(&self.calls.link).await?;
        if let Some(failure) = Failure::of(&replies) {
            return Err(self.error(failure));
        }
        let mut answer = || {
            replies.list()?;
            let (read, sent) = (replies.count()?, replies.count()?);
            Some((read, sent, String::from_utf8_lossy(replies.text()?).into_owned()))
        };
        answer().ok_or_else(|| self.error(Failure::unexpected()))
    }

    async fn take(&self, count: usize, take: Take) -> Result<Received, QueueError> {
        if count == 0 {
            return Ok(Received::default());
        }
        match self.call(Call::Receive { count: count.min(ROUND_LENGTH), take }).await? {
            Answer::Received(received) => Ok(received),
            _ => Err(self.error(Failure::unexpected())),
        }
    }

    pub(super) async fn done(&self, call: Call) -> Result<bool, QueueError> {
        match self.call(call).await? {
            Answer::Done(done) => Ok(done),
            _ => Err(self.error(Failure::unexpected())),
        }
    }

    async fn call(&self, call: Call) -> Result<Answer, QueueError> {
        self.calls.call(call).await.map_err(|failure| self.error(failure))
    }

    pub(super) fn error(&self, failure: Failure) -> QueueError {
        failure.into_error(self.name())
    }
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue").field("name", &self.name()).finish_non_exhaustive()
    }
}

/// How a message goes to another queue.
pub(super) struct Relocation {
    pub(super) id: MessageId,
    /// Only if its receive count is still this.
    pub(super) fence: Option<u64>,
    /// Why it died, to be kept beside it.
    pub(super) death: Option<String>,
    /// The target is made if it is not there.
    pub(super) make: bool,
    /// It counts as never received.
    pub(super) forget: bool,
}

enum Sent {
    All(Vec<MessageId>),
    /// None was sent, because of the message in this place.
    TooLong(usize),
}

fn sent(mut replies: Replies, suffixes: &[Suffix]) -> Result<Sent, Failure> {
    if let Some(failure) = Failure::of(&replies) {
        return Err(failure);
    }
    let mut read = || {
        replies.list()?;
        let first = replies.text()?.to_vec();
        if first == b"messageTooLong" {
            return Some(Sent::TooLong(usize::try_from(replies.count()?).ok()?));
        }
        suffixes.iter().map(|suffix| calls::sent_id(&first, suffix)).collect::<Option<_>>().map(Sent::All)
    };
    read().ok_or_else(Failure::unexpected)
}

fn check_text(body: &[u8]) -> Result<(), QueueError> {
    std::str::from_utf8(body).map(drop).map_err(|_| QueueError::MessageNotString)
}

fn hide(vt: Option<Duration>) -> Result<Take, QueueError> {
    vt.map_or(Ok(Take::Hide), |vt| check_time("vt", vt).map(Take::HideFor))
}
