//! Concurrent calls on one queue travel together.
//!
//! A call that finds nothing under way is sent at once, by its caller. What comes while it is under way waits, and is sent as one round
//! when the reply is there: one script per kind of call, all in one write. So a caller alone pays one round trip and no hand-over,
//! and many callers share round trips and scripts. The order of the calls is kept within their kind.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::calls::{self, Answer, Call, Caller, Failure, Group, Letter, Visibility};
use super::keys::Keys;
use super::message::Message;
use crate::backend::link::Link;
use crate::backend::replies::Replies;
use crate::backend::request::Request;
use crate::error::CommandError;

/// Messages of one round: a script holds up the server for well under a millisecond.
pub(super) const ROUND_LENGTH: usize = 256;
/// Bytes of the bodies of one round.
pub(super) const ROUND_BYTES: usize = 1 << 20;

/// The calls of one queue.
pub(super) struct Combiner {
    pub(super) link: Link,
    pub(super) keys: Keys,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<(Call, Caller)>,
    /// Whether a round is under way: whoever ends it sends those who wait.
    is_busy: bool,
}

impl Combiner {
    pub(super) fn new(link: Link, keys: Keys) -> Self {
        Self { link, keys, state: Mutex::default() }
    }

    /// # Errors
    /// If the queue or the broker refuses, or the broker can't be reached.
    pub(super) async fn call(self: &Arc<Self>, call: Call) -> Result<Answer, Failure> {
        let (reply, answer) = oneshot::channel();
        let alone = {
            let mut state = self.lock();
            if state.is_busy {
                state.waiting.push_back((call, reply));
                None
            } else {
                state.is_busy = true;
                Some((call, reply))
            }
        };
        if let Some(alone) = alone {
            let _turn = Turn(Arc::clone(self), Handle::current());
            self.carry_out([alone]).await;
        }
        answer.await.unwrap_or_else(|_| {
            Err(Failure::Command(CommandError::OutcomeUnknown {
                url: self.link.endpoint().address.to_string(),
                problem: "the runtime is shutting down".to_owned(),
            }))
        })
    }

    async fn carry_out(self: &Arc<Self>, calls: impl IntoIterator<Item = (Call, Caller)>) {
        let groups = calls::groups(&self.keys, calls);
        let results = self.send(&groups).await;
        for (group, result) in groups.into_iter().zip(results) {
            let left = group.answer(result);
            if !left.is_empty() {
                let this = Arc::clone(self);
                tokio::spawn(async move { this.take_back(left).await });
            }
        }
    }

    async fn send(&self, groups: &[Group]) -> Vec<Result<Replies, CommandError>> {
        if let [group] = groups {
            return vec![group.invocation.call(&self.link).await];
        }
        let mut request = Request::default();
        for group in groups {
            group.invocation.by_hash(&mut request);
        }
        let mut replies = match self.link.call(&request).await {
            Ok(replies) => replies,
            Err(error) => return groups.iter().map(|_| Err(error.clone())).collect(),
        };
        let mut results = Vec::with_capacity(groups.len());
        for group in groups {
            results.push(match replies.split() {
                Err(error) if error.is_refused("NOSCRIPT") => group.invocation.call_in_full(&self.link).await,
                result => result,
            });
        }
        results
    }

    /// Makes messages visible again whose receivers have gone, as if they had never been received. If the broker is away, their
    /// visibility timeout does it.
    pub(super) async fn take_back(&self, messages: Vec<Message>) {
        let changes: Vec<_> = messages
            .iter()
            .map(|message| Visibility {
                id: message.id,
                vt_ms: 0,
                fence: Some(message.receive_count),
                is_uncounted: true,
            })
            .collect();
        if let Err(error) = calls::visibility(&self.keys, &changes).call(&self.link).await {
            tracing::debug!(%error, queue = self.keys.name, "messages stay hidden until their visibility timeout");
        }
    }

    /// Sends those who wait, round after round, until nobody does.
    async fn serve(self: Arc<Self>) {
        let turn = Turn(Arc::clone(&self), Handle::current());
        loop {
            let round = self.lock().next_round();
            if round.is_empty() {
                // A new caller may come before the turn ends: ending it looks again.
                return drop(turn);
            }
            self.carry_out(round).await;
            // Those who got their answers may call again at once: let them, and they travel together.
            tokio::task::yield_now().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn next_round(&mut self) -> Vec<(Call, Caller)> {
        let (mut length, mut bytes) = (0, 0);
        let fits = |(call, _): &&(Call, Caller)| {
            let is_first = length == 0;
            match call {
                Call::Send(Letter { body, .. }) => {
                    length += 1;
                    bytes += body.len();
                }
                Call::Receive { count, .. } => length += count,
                Call::Delete { .. } | Call::Visibility(_) => length += 1,
            }
            is_first || (length <= ROUND_LENGTH && bytes <= ROUND_BYTES)
        };
        let end = self.waiting.iter().take_while(fits).count();
        self.waiting.drain(..end).collect()
    }
}

/// The right to send. When it ends, also because its caller was dropped half-way, those who wait are served.
struct Turn(Arc<Combiner>, Handle);

impl Drop for Turn {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        if state.waiting.is_empty() {
            state.is_busy = false;
            return;
        }
        drop(state);
        self.1.spawn(Arc::clone(&self.0).serve());
    }
}
