//! What becomes of messages whose handlers have ended. Each step is one script, fenced by the receive count, tried until the broker
//! has answered.

use std::sync::Arc;
use std::time::Duration;

use super::super::calls::{self, Visibility};
use super::super::dead::Death;
use super::super::error::QueueError;
use super::super::message::Message;
use super::super::queue::Relocation;
use super::super::script::DELETE;
use super::running::Core;
use crate::backend::backoff::Backoff;
use crate::error::CommandError;

/// Deletes messages that were handled, in one step.
pub(super) async fn delete(core: Arc<Core>, handled: Vec<Message>) {
    let calls = &core.queue.calls;
    let mut invocation = DELETE.with_keys(calls.keys.both());
    for message in &handled {
        invocation.arg(message.id.as_str()).number(message.receive_count);
    }
    let mut backoff = Backoff::new();
    let deleted = loop {
        match invocation.call(&calls.link).await {
            Ok(mut replies) => break replies.numbers().unwrap_or_default(),
            Err(error) if gives_up(&core, &error) => break Vec::new(),
            // It may have been carried out: a second time does no harm, and counts none as deleted.
            Err(_) => backoff.wait().await,
        }
    };
    for (message, deleted) in handled.iter().zip(deleted) {
        if deleted == 0 {
            late(&core, message);
        }
    }
    for message in handled {
        core.held.release(message.id);
    }
}

/// Makes a message visible after a delay.
pub(super) async fn retry(core: Arc<Core>, message: Message, delay: Duration) {
    let vt_ms = delay.as_millis() as u64;
    let fence = Some(message.receive_count);
    let change = Visibility { id: message.id, vt_ms, fence, is_uncounted: false };
    // Not renewed any more: that would make the delay longer.
    core.held.release(message.id);
    let invocation = calls::visibility(&core.queue.calls.keys, &[change]);
    let mut backoff = Backoff::new();
    loop {
        match invocation.call(&core.queue.calls.link).await {
            Ok(mut replies) => {
                if replies.numbers().is_some_and(|changed| changed == [0]) {
                    late(&core, &message);
                }
                return;
            }
            Err(error) if gives_up(&core, &error) => return,
            Err(_) => backoff.wait().await,
        }
    }
}

/// Moves a message to the dead letters.
pub(super) async fn bury(core: Arc<Core>, message: Message, reason: &'static str, error: String) {
    let (queue, id) = (core.queue.name(), message.id);
    tracing::warn!(queue, %id, reason, error, "dead letter");
    let death = Death { reason, error: &error, attempts: message.receive_count, queue };
    let how = Relocation {
        id,
        fence: Some(message.receive_count),
        death: Some(death.to_text()),
        make: true,
        forget: false,
    };
    let mut backoff = Backoff::new();
    loop {
        match core.queue.relocate(&core.dead, &how).await {
            Ok(true) => {
                core.counters.dead.one();
                break;
            }
            Ok(false) => {
                late(&core, &message);
                break;
            }
            Err(QueueError::Command(error)) if !gives_up(&core, &error) => {}
            // A queue of dead letters that can't be used: the message stays, hidden while this worker lives.
            Err(error) => tracing::error!(%error, "the dead letter can't be written"),
        }
        backoff.wait().await;
    }
    core.held.release(id);
}

/// Makes messages visible at once whose handlers were cut off. The attempt counts.
pub(super) async fn hand_back(core: &Core, cut_off: &[Message]) {
    let change = |message: &Message| {
        core.held.release(message.id);
        Visibility { id: message.id, vt_ms: 0, fence: Some(message.receive_count), is_uncounted: false }
    };
    let changes: Vec<_> = cut_off.iter().map(change).collect();
    if let Err(error) = calls::visibility(&core.queue.calls.keys, &changes).call(&core.queue.calls.link).await
    {
        tracing::warn!(%error, "messages that were cut off come again after their visibility timeout");
    }
}

/// Somebody else has the message: it was received again because its visibility timeout ran out, deleted, or moved.
fn late(core: &Core, message: &Message) {
    core.counters.late.one();
    tracing::info!(queue = core.queue.name(), id = %message.id, "settled too late, left as it is");
}

/// Whether the broker will never take it.
fn gives_up(core: &Core, error: &CommandError) -> bool {
    if error.is_transient() {
        return false;
    }
    tracing::error!(%error, queue = core.queue.name(), "the broker refuses to settle a message");
    true
}
