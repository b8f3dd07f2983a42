//! Concurrent calls on one queue travel together.
//!
//! A call that finds nothing under way is sent at once, by its caller. What comes while it is under way waits, and is sent as one round
//! when the reply is there: one script per kind of call, all in one write. So a caller alone pays one round trip and no hand-over,
//! and many callers share round trips and scripts. When many wait, a second round goes out beside the first, so that the server has
//! something to do while answers are handed out. Sends are in one round at a time, which is what keeps their order.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

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

/// So many calls must wait for a second round to go out beside the first; fewer have more of travelling together.
const SECOND_ROUND_MIN: usize = 16;
const TURNS_MAX: usize = 2;

/// The calls of one queue.
pub(super) struct Combiner {
    pub(super) link: Link,
    pub(super) keys: Keys,
    state: Mutex<State>,
    /// Held from taking a round until it is handed to the connection, so that rounds go out in the order in which they were taken.
    order: Mutex<()>,
}

#[derive(Default)]
struct State {
    /// Those who wait, and want to send,
    sends: VecDeque<(Call, Caller)>,
    /// or anything else.
    others: VecDeque<(Call, Caller)>,
    /// Turns that are taken: whoever ends a round sends those who wait.
    turns: usize,
    /// Calls that are not sends, in rounds under way.
    others_under_way: usize,
    /// A round with sends is under way.
    is_sending: bool,
    /// The server has the script that receives: a round that had to be sent again in full would come after the one beside it.
    has_received: bool,
}

type Round = Vec<(Call, Caller)>;

impl Combiner {
    pub(super) fn new(link: Link, keys: Keys) -> Self {
        Self { link, keys, state: Mutex::default(), order: Mutex::default() }
    }

    /// # Errors
    /// If the queue or the broker refuses, or the broker can't be reached.
    pub(super) async fn call(self: &Arc<Self>, call: Call) -> Result<Answer, Failure> {
        let (reply, answer) = oneshot::channel();
        let taken = {
            let mut state = self.lock();
            let is_first = state.turns == 0;
            state.wait((call, reply));
            let has_room = state.turns < TURNS_MAX && state.has_received;
            if is_first || (has_room && state.ready() >= SECOND_ROUND_MIN) {
                state.turns += 1;
                Some(is_first)
            } else {
                None
            }
        };
        if let Some(is_first) = taken {
            if is_first {
                Turn::new(self, Handle::current()).round().await;
            } else {
                Turn::start(self, &Handle::current());
            }
        }
        answer.await.unwrap_or_else(|_| {
            Err(Failure::Command(CommandError::OutcomeUnknown {
                url: self.link.endpoint().address.to_string(),
                problem: "the runtime is shutting down".to_owned(),
            }))
        })
    }

    async fn carry_out(self: &Arc<Self>, calls: Round) {
        let groups = calls::groups(&self.keys, calls);
        let results = self.send(&groups).await;
        if groups.iter().any(Group::is_receive) {
            self.lock().has_received = true;
        }
        for (group, result) in groups.into_iter().zip(results) {
            let left = group.answer(result);
            if !left.is_empty() {
                let this = Arc::clone(self);
                tokio::spawn(async move { this.take_back(left).await });
            }
        }
    }

    async fn send(&self, groups: &[Group]) -> Vec<Result<Replies, CommandError>> {
        match groups {
            // Whoever asked has gone.
            [] => return Vec::new(),
            [group] => return vec![group.invocation.call(&self.link).await],
            _ => {}
        }
        let mut request = Request::default();
        for group in groups {
            group.invocation.short(&mut request, &self.link);
        }
        let mut replies = match self.link.call(&request).await {
            Ok(replies) => replies,
            Err(error) => return groups.iter().map(|_| Err(error.clone())).collect(),
        };
        let mut results = Vec::with_capacity(groups.len());
        for group in groups {
            results.push(match replies.split() {
                Err(error) if group.invocation.is_unknown(&error, &self.link) => {
                    group.invocation.call_in_full(&self.link).await
                }
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

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn wait(&mut self, call: (Call, Caller)) {
        let queue = if matches!(call.0, Call::Send(_)) { &mut self.sends } else { &mut self.others };
        queue.push_back(call);
    }

    /// How many calls could be in a round now.
    fn ready(&self) -> usize {
        self.others.len() + if self.is_sending { 0 } else { self.sends.len() }
    }

    fn next_sends(&mut self) -> Round {
        if self.is_sending {
            return Vec::new();
        }
        let (mut length, mut bytes) = (0, 0);
        let fits = |(call, _): &&(Call, Caller)| {
            let is_first = length == 0;
            length += 1;
            bytes += if let Call::Send(Letter { body, .. }) = call { body.len() } else { 0 };
            is_first || (length <= ROUND_LENGTH && bytes <= ROUND_BYTES)
        };
        let end = self.sends.iter().take_while(fits).count();
        self.sends.drain(..end).collect()
    }

    fn next_others(&mut self) -> Round {
        // Two rounds should be about as long as each other.
        let half = (self.others_under_way + self.others.len()).div_ceil(2).max(SECOND_ROUND_MIN);
        let mut length = 0;
        let fits = |(call, _): &&(Call, Caller)| {
            let is_first = length == 0;
            length += if let Call::Receive { count, .. } = call { *count } else { 1 };
            is_first || length <= ROUND_LENGTH
        };
        let end = self.others.iter().take(half).take_while(fits).count();
        self.others.drain(..end).collect()
    }
}

/// The right to have a round under way. When it ends, also because its caller was dropped half-way, those who wait are served.
struct Turn {
    combiner: Arc<Combiner>,
    runtime: Handle,
    /// What the round has.
    is_sending: bool,
    others: usize,
}

impl Turn {
    fn new(combiner: &Arc<Combiner>, runtime: Handle) -> Self {
        Self { combiner: Arc::clone(combiner), runtime, is_sending: false, others: 0 }
    }

    /// A task that serves those who wait. The turn begins with it: a runtime that shuts down does not even begin.
    fn start(combiner: &Arc<Combiner>, runtime: &Handle) {
        let (combiner, own) = (Arc::clone(combiner), runtime.clone());
        runtime.spawn(async move { Self::new(&combiner, own).serve().await });
    }

    /// The calls of the next round; those of the last one have ended.
    fn next_round(&mut self) -> Round {
        let combiner = Arc::clone(&self.combiner);
        let mut state = combiner.lock();
        self.end_round(&mut state);
        let mut round = state.next_sends();
        self.is_sending = !round.is_empty();
        state.is_sending |= self.is_sending;
        let mut others = state.next_others();
        self.others = others.len();
        state.others_under_way += self.others;
        round.append(&mut others);
        round
    }

    fn end_round(&mut self, state: &mut State) {
        state.others_under_way -= std::mem::take(&mut self.others);
        if std::mem::take(&mut self.is_sending) {
            state.is_sending = false;
        }
    }

    /// Carries out the next round; `false` if nobody waits for one.
    async fn round(&mut self) -> bool {
        let combiner = Arc::clone(&self.combiner);
        let begun = std::future::poll_fn(|cx| {
            let _order = combiner.order.lock().unwrap_or_else(PoisonError::into_inner);
            let round = self.next_round();
            Poll::Ready((!round.is_empty()).then(|| {
                let mut carrying = Box::pin(combiner.carry_out(round));
                let polled = carrying.as_mut().poll(cx);
                (carrying, polled)
            }))
        });
        match begun.await {
            None => return false,
            Some((_, Poll::Ready(()))) => {}
            Some((carrying, Poll::Pending)) => carrying.await,
        }
        true
    }

    /// Sends those who wait, round after round, until nobody does.
    async fn serve(mut self) {
        // A new caller may come before the turn ends: ending it looks again.
        while self.round().await {
            // Those who got their answers may call again at once: let them, and they travel together.
            tokio::task::yield_now().await;
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let combiner = Arc::clone(&self.combiner);
        let mut state = combiner.lock();
        self.end_round(&mut state);
        if state.ready() == 0 {
            state.turns -= 1;
            return;
        }
        drop(state);
        Self::start(&self.combiner, &self.runtime);
    }
}
