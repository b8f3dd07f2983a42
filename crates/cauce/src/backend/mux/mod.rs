//! A connection that many callers share. Replies come in the order of the requests.
//!
//! A caller that finds nobody else at it writes its request and reads its reply itself, so that it pays for a round trip and nothing
//! else. As soon as a second one comes, a task carries for all of them: what they ask for while it is at work goes out in one write,
//! and what came in is read in one pass. That the task is there as well when a caller is dropped half-way, or is not polled, is
//! what keeps requests and replies together: nobody depends on a caller but itself.
//!
//! Nothing here runs outside of the runtime on which the connection was opened.

mod io;
mod slots;

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use self::io::Io;
use self::slots::{Answer, Slots};
use super::dial::ByteStream;
use super::replies::Replies;
use super::request::Request;

/// Requests whose replies are to come; whoever wants to send one more waits.
const WAITING_MAX: usize = 4096;
/// Buffers that grew beyond this are given back when they are empty.
const KEPT_BYTES: usize = 1 << 20;

/// A request that got no reply.
#[derive(Clone, Debug)]
pub(super) enum Lost {
    /// It was never sent.
    Unsent(Arc<str>),
    /// The connection broke before the reply.
    Unanswered(Arc<str>),
}

/// The connection. It closes with its last holder.
pub(super) struct Mux {
    state: Mutex<State>,
    /// For requests that wait; closed when the connection is lost.
    room: Semaphore,
    runtime: Handle,
}

struct State {
    /// Here while nobody is at it.
    io: Option<Box<Io>>,
    /// Requests that nobody has begun to write.
    queued: Vec<u8>,
    /// How many of the newest requests those are.
    unsent: usize,
    slots: Slots,
    /// The requests whose replies are to come, in order.
    order: VecDeque<usize>,
    /// A task carries; callers leave it to that.
    is_attended: bool,
    /// Wakes the task, if it waits for something to do.
    attendant: Option<Waker>,
    lost: Option<Arc<str>>,
}

impl Mux {
    /// Over a stream on which the log-in is done.
    pub(super) fn new(stream: Box<dyn ByteStream>) -> Self {
        let state = State {
            io: Some(Box::new(Io::new(stream))),
            queued: Vec::new(),
            unsent: 0,
            slots: Slots::default(),
            order: VecDeque::new(),
            is_attended: false,
            attendant: None,
            lost: None,
        };
        Self { state: Mutex::new(state), room: Semaphore::new(WAITING_MAX), runtime: Handle::current() }
    }

    /// Sends a request and waits for its replies. Dropped half-way, it may or may not have been sent.
    ///
    /// # Errors
    /// If the connection is lost.
    pub(super) async fn call(self: &Arc<Self>, request: &Request) -> Result<Replies, Lost> {
        let permit = match self.room.try_acquire() {
            Ok(permit) => Ok(permit),
            Err(_) => self.room.acquire().await,
        };
        match permit {
            // It is given back with the reply, whether or not anybody still waits for that.
            Ok(permit) => permit.forget(),
            Err(_) => return Err(Lost::Unsent(self.lock().problem())),
        }
        Call { mux: self, slot: self.enqueue(request)? }.await
    }

    fn enqueue(self: &Arc<Self>, request: &Request) -> Result<usize, Lost> {
        let mut state = self.lock();
        if state.lost.is_some() {
            return Err(Lost::Unsent(state.problem()));
        }
        let is_first = state.order.is_empty();
        let slot = state.slots.begin(request.replies());
        state.order.push_back(slot);
        state.queued.extend_from_slice(request.bytes());
        state.unsent += 1;
        if state.is_attended {
            let attendant = state.attendant.take();
            drop(state);
            attendant.into_iter().for_each(Waker::wake);
        } else if !is_first {
            self.attend(state);
        }
        Ok(slot)
    }

    /// Starts the task that carries for all.
    fn attend(self: &Arc<Self>, mut state: MutexGuard<'_, State>) {
        state.is_attended = true;
        drop(state);
        // Made here, so that it ends well even if the runtime refuses the task.
        let attendant = Attendant { mux: Arc::clone(self), io: None, is_on_duty: true };
        self.runtime.spawn(attendant.run());
    }

    /// Moves what is queued to where it is written from, if there is room.
    fn collect(&self, io: &mut Io) {
        if io.is_written() {
            let mut state = self.lock();
            if !state.queued.is_empty() {
                let requests = std::mem::take(&mut state.unsent);
                io.begin(&mut state.queued, requests);
            }
        }
    }

    /// Hands out the replies that have come in. Whether more are to come.
    ///
    /// # Errors
    /// If what came in are no replies to what was asked.
    fn deliver(&self, io: &mut Io) -> Result<bool, String> {
        let mut woken = std::mem::take(&mut io.woken);
        let mut answered = 0;
        let mut state = self.lock();
        let result = loop {
            let Some(slot) = state.order.front().copied() else {
                break if io.has_unread() {
                    Err("the broker sent what nobody asked for".to_owned())
                } else {
                    Ok(false)
                };
            };
            match io.next(state.slots.replies(slot)) {
                Ok(Some(replies)) => {
                    state.order.pop_front();
                    answered += 1;
                    woken.extend(state.slots.answer(slot, Ok(replies)));
                }
                Ok(None) => break Ok(true),
                Err(error) => break Err(error.to_string()),
            }
        };
        drop(state);
        self.room.add_permits(answered);
        woken.drain(..).for_each(Waker::wake);
        io.woken = woken;
        result
    }

    /// Ends the connection: nothing more can come. The newest `unsent` requests were never sent.
    fn lose(&self, problem: &str, unsent: usize) {
        let mut state = self.lock();
        if state.lost.is_some() {
            return;
        }
        let problem: Arc<str> = problem.into();
        state.lost = Some(Arc::clone(&problem));
        let sent = state.order.len().saturating_sub(state.unsent + unsent);
        let mut woken: Vec<_> = state.attendant.take().into_iter().collect();
        for (place, slot) in std::mem::take(&mut state.order).into_iter().enumerate() {
            let lost = if place < sent { Lost::Unanswered } else { Lost::Unsent };
            woken.extend(state.slots.answer(slot, Err(lost(Arc::clone(&problem)))));
        }
        state.queued = Vec::new();
        let io = state.io.take();
        drop(state);
        drop(io);
        self.room.close();
        woken.into_iter().for_each(Waker::wake);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn problem(&self) -> Arc<str> {
        self.lost.clone().unwrap_or_else(|| "it is closed".into())
    }

    /// Puts the stream back to where the next one finds it.
    fn put_back(&mut self, io: Box<Io>) -> Option<Waker> {
        self.io = Some(io);
        self.attendant.take()
    }
}

/// A request that was queued.
struct Call<'a> {
    mux: &'a Arc<Mux>,
    slot: usize,
}

/// Stands for the slot of a call that has its answer.
const DONE: usize = usize::MAX;

impl Call<'_> {
    fn take(&mut self, state: &mut State) -> Option<Answer> {
        let answer = state.slots.take(self.slot)?;
        self.slot = DONE;
        Some(answer)
    }
}

impl Future for Call<'_> {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answer> {
        let mux = self.mux;
        let mut state = mux.lock();
        if let Some(answer) = self.take(&mut state) {
            return Poll::Ready(answer);
        }
        let io = if state.is_attended { None } else { state.io.take() };
        let Some(mut io) = io else {
            state.slots.wait(self.slot, Some(cx.waker()));
            return Poll::Pending;
        };
        // It looks for its answer itself.
        state.slots.wait(self.slot, None);
        drop(state);
        let turned = io.turn(cx, mux);
        let mut state = match turned {
            Ok(_) => {
                let attendant = mux.lock().put_back(io);
                attendant.into_iter().for_each(Waker::wake);
                mux.lock()
            }
            Err(problem) => {
                mux.lose(&problem, io.unwritten());
                mux.lock()
            }
        };
        match self.take(&mut state) {
            Some(answer) => Poll::Ready(answer),
            None => {
                state.slots.wait(self.slot, Some(cx.waker()));
                Poll::Pending
            }
        }
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        if self.slot == DONE {
            return;
        }
        let mut state = self.mux.lock();
        if state.slots.abandon(self.slot) && !state.is_attended {
            self.mux.attend(state);
        }
    }
}

/// The task that carries for all.
struct Attendant {
    mux: Arc<Mux>,
    io: Option<Box<Io>>,
    is_on_duty: bool,
}

impl Attendant {
    async fn run(mut self) {
        while std::future::poll_fn(|cx| self.poll(cx)).await {
            // Those who got their answers may ask again at once: let them, and they travel together.
            tokio::task::yield_now().await;
            if self.leave() {
                return;
            }
        }
    }

    /// Until nothing more is to come; `false` if the connection is lost.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let mux = Arc::clone(&self.mux);
        loop {
            let mut io = match self.io.take() {
                Some(io) => io,
                None => {
                    let mut state = mux.lock();
                    match state.io.take() {
                        Some(io) => io,
                        None if state.lost.is_some() => return Poll::Ready(false),
                        // A caller is just at it, and puts it back.
                        None => {
                            state.attendant = Some(cx.waker().clone());
                            return Poll::Pending;
                        }
                    }
                }
            };
            match io.turn(cx, &mux) {
                Ok(false) => {
                    self.io = Some(io);
                    return Poll::Ready(true);
                }
                Ok(true) => {
                    let mut state = mux.lock();
                    let has_work = io.is_written() && !state.queued.is_empty();
                    self.io = Some(io);
                    if !has_work {
                        state.attendant = Some(cx.waker().clone());
                        return Poll::Pending;
                    }
                }
                Err(problem) => {
                    mux.lose(&problem, io.unwritten());
                    return Poll::Ready(false);
                }
            }
        }
    }

    /// Ends its duty, unless somebody has asked for something.
    fn leave(&mut self) -> bool {
        let mut state = self.mux.lock();
        if state.order.is_empty() {
            state.io = self.io.take();
            state.is_attended = false;
            self.is_on_duty = false;
        }
        !self.is_on_duty
    }
}

impl Drop for Attendant {
    fn drop(&mut self) {
        // Without a connection that is lost already, its runtime shuts down.
        if self.is_on_duty {
            let unwritten = self.io.as_ref().map_or(0, |io| io.unwritten());
            self.mux.lose("the runtime is shutting down", unwritten);
        }
    }
}

#[cfg(test)]
mod tests;
