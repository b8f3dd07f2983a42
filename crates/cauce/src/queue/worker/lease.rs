//! The messages that a worker holds, and how they stay hidden from others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::super::calls::{self, Visibility};
use super::super::combine::ROUND_LENGTH;
use super::super::name::MessageId;
use super::running::Core;
use crate::backend::replies::Replies;

/// The messages that are with handlers or being settled, with their receive counts.
#[derive(Default)]
pub(super) struct Held(Mutex<HashMap<MessageId, u64>>);

impl Held {
    pub(super) fn hold(&self, id: MessageId, receive_count: u64) {
        self.lock().insert(id, receive_count);
    }

    pub(super) fn release(&self, id: MessageId) {
        self.lock().remove(&id);
    }

    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    fn all(&self) -> Vec<(MessageId, u64)> {
        self.lock().iter().map(|(id, count)| (*id, *count)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<MessageId, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Renews the visibility of all that is held, three times per timeout, until it is aborted.
pub(super) async fn renew(core: Arc<Core>) {
    let mut ticks = tokio::time::interval(core.lease / 3);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        for held in core.held.all().chunks(ROUND_LENGTH) {
            let vt_ms = core.lease.as_millis() as u64;
            let change = |(id, count): &(MessageId, u64)| Visibility {
                id: *id,
                vt_ms,
                fence: Some(*count),
                is_uncounted: false,
            };
            let changes: Vec<_> = held.iter().map(change).collect();
            let calls = &core.queue.calls;
            match calls::visibility(&calls.keys, &changes).call(&calls.link).await {
                Ok(replies) => note_lost(&core, held, replies),
                Err(error) => {
                    tracing::debug!(%error, queue = core.queue.name(), "messages are renewed later");
                }
            }
        }
    }
}

/// A message that is not ours any more is somebody else's to renew. Its handler goes on; what comes of it is fenced.
fn note_lost(core: &Core, held: &[(MessageId, u64)], mut replies: Replies) {
    let renewed = replies.numbers().unwrap_or_default();
    for ((id, _), renewed) in held.iter().zip(renewed) {
        if renewed == 0 {
            tracing::debug!(%id, queue = core.queue.name(), "the message was settled, or received by another");
            core.held.release(*id);
        }
    }
}
