//! Waiting for messages: one task per queue and process receives for all who wait.
//!
//! It asks the broker when somebody begins to wait, when a send is announced, when a hidden message becomes visible, and now and then
//! in case a sender announces nothing. A waiter wakes when its message is there, and never for nothing. However many wait in a
//! process, one announcement costs one receive.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot};

use super::calls::{Answer, Call, Failure, Take};
use super::combine::{Combiner, ROUND_LENGTH};
use super::hub::Hub;
use super::message::{Message, Received};

/// How long the task and its subscription stay when nobody waits any more.
const LINGER: Duration = Duration::from_secs(2);
/// A message that is due is asked for no sooner than this: the server's clock and ours tick differently.
const DUE_MARGIN: Duration = Duration::from_millis(1);

/// Those who wait on one queue.
pub(super) struct Waiters {
    calls: Arc<Combiner>,
    hub: Arc<Hub>,
    poll: Duration,
    state: Mutex<State>,
    /// Somebody began to wait where nobody did.
    began: Notify,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Waiter>,
    is_attended: bool,
}

struct Waiter {
    count: usize,
    take: Take,
    reply: oneshot::Sender<Result<Vec<Message>, Failure>>,
}

impl Waiters {
    pub(super) fn new(calls: Arc<Combiner>, hub: Arc<Hub>, poll: Duration) -> Self {
        Self { calls, hub, poll, state: Mutex::default(), began: Notify::new() }
    }

    pub(super) fn calls(&self) -> &Arc<Combiner> {
        &self.calls
    }

    /// Waits for at least one message and at most `count`. First come, first served. Cancel safe: a message that comes when the
    /// future has been dropped goes to the next waiter or back to the queue, as if it had never been received.
    ///
    /// # Errors
    /// If the queue or the broker refuses, or the broker can't be reached.
    pub(super) async fn wait(self: &Arc<Self>, count: usize, take: Take) -> Result<Vec<Message>, Failure> {
        let (reply, answer) = oneshot::channel();
        let mut waiting = Waiting { answer, calls: &self.calls, take };
        self.enrol(Waiter { count: count.clamp(1, ROUND_LENGTH), take, reply });
        match (&mut waiting.answer).await {
            Ok(result) => result,
            // Only a runtime that shuts down ends the task with waiters left.
            Err(_) => std::future::pending().await,
        }
    }

    fn enrol(self: &Arc<Self>, waiter: Waiter) {
        let mut state = self.lock();
        state.waiting.retain(|waiter| !waiter.reply.is_closed());
        // Whoever waits already is first, and the queue was found empty for it.
        if state.waiting.is_empty() {
            self.began.notify_one();
        }
        state.waiting.push_back(waiter);
        if !state.is_attended {
            state.is_attended = true;
            tokio::spawn(Arc::clone(self).attend());
        }
    }

    async fn attend(self: Arc<Self>) {
        let notices = self.hub.listen(&self.calls.keys.channel).await;
        loop {
            let Some((count, take)) = self.wanted() else {
                if tokio::time::timeout(LINGER, self.began.notified()).await.is_err() && self.leave() {
                    return;
                }
                continue;
            };
            let mut pause = self.poll;
            match self.calls.call(Call::Receive { count, take }).await {
                Ok(Answer::Received(received)) => {
                    let is_full = received.messages.len() >= count;
                    pause = received.next_due.map_or(pause, |due| pause.min(due + DUE_MARGIN));
                    self.hand_out(received, take).await;
                    if is_full {
                        continue;
                    }
                }
                Ok(_) => self.refuse(&Failure::unexpected()),
                Err(failure) => self.refuse(&failure),
            }
            tokio::select! {
                biased;
                () = notices.next() => {}
                () = self.began.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// How many messages those want who wait longest and want the same.
    fn wanted(&self) -> Option<(usize, Take)> {
        let mut state = self.lock();
        state.waiting.retain(|waiter| !waiter.reply.is_closed());
        let take = state.waiting.front()?.take;
        let wanted = state.waiting.iter().filter(|waiter| waiter.take == take);
        Some((wanted.map(|waiter| waiter.count).sum::<usize>().min(ROUND_LENGTH), take))
    }

    async fn hand_out(&self, received: Received, take: Take) {
        let mut messages = received.messages;
        while !messages.is_empty() {
            let Some(waiter) = self.next(take) else { break };
            let rest = messages.split_off(waiter.count.min(messages.len()));
            if let Err(Ok(mut unwanted)) = waiter.reply.send(Ok(std::mem::replace(&mut messages, rest))) {
                unwanted.append(&mut messages);
                messages = unwanted;
            }
        }
        if !messages.is_empty() && take != Take::Pop {
            self.calls.take_back(messages).await;
        }
    }

    fn next(&self, take: Take) -> Option<Waiter> {
        let mut state = self.lock();
        let index = state.waiting.iter().position(|waiter| waiter.take == take)?;
        state.waiting.remove(index)
    }

    fn refuse(&self, failure: &Failure) {
        for waiter in std::mem::take(&mut self.lock().waiting) {
            let _ = waiter.reply.send(Err(failure.clone()));
        }
    }

    /// Ends the task's duty, unless somebody waits.
    fn leave(&self) -> bool {
        let mut state = self.lock();
        state.is_attended = !state.waiting.is_empty();
        !state.is_attended
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One who waits. When it stops waiting while its messages are on the way to it, they go back.
struct Waiting<'a> {
    answer: oneshot::Receiver<Result<Vec<Message>, Failure>>,
    calls: &'a Arc<Combiner>,
    take: Take,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.answer.close();
        if let Ok(Ok(messages)) = self.answer.try_recv()
            && self.take != Take::Pop
        {
            let calls = Arc::clone(self.calls);
            // Outside of a runtime their visibility timeout brings them back.
            if let Ok(runtime) = Handle::try_current() {
                runtime.spawn(async move { calls.take_back(messages).await });
            }
        }
    }
}
