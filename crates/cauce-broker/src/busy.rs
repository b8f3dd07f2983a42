//! What goes on while a script does not end.
//!
//! A script runs under the engine's lock, on the thread of the session that sent it. Once it has run past the
//! threshold (`busy-reply-threshold`), the broker is *busy*: sessions no longer wait for the lock but leave their
//! requests in a mailbox, one at a time each, and the script's thread answers them between two stretches of the
//! script: with `BUSY`, but for the few commands that are allowed, `SCRIPT KILL` above all. That is what Redis does
//! too; as there, nobody is answered while the script is inside one long command.
//!
//! For sessions to be read at all, the thread gives the runtime's tasks to another one. That takes a multi-threaded
//! runtime (`cauce serve` has one with a single worker). On a current-thread runtime nothing can be handed over: there
//! a script that has not written is ended after [`Limits::script_time_max`], and one that has keeps everyone waiting.
//! On a runtime with several workers, sessions that wait for the lock already when the threshold passes go on waiting.
//!
//! [`Limits::script_time_max`]: crate::Limits::script_time_max

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak, mpsc};
use std::time::Duration;

use cauce_engine::{Outcome, Outputs, RunningScript, ScriptFate, ScriptWatch, SessionId, SessionInfo};
use tokio::runtime::{Handle, RuntimeFlavor};

use crate::clock::Stopwatch;
use crate::outbox::{Outbox, Room};
use crate::shared::{BatchEnd, Shared, State, release};

/// How long another thread may take to go on with the tasks, at most, before the script goes on anyway.
const HAND_OVER_MAX: Duration = Duration::from_secs(1);

/// Whether a script keeps the engine, and what the sessions left meanwhile.
#[derive(Debug, Default)]
pub(crate) struct Busy {
    /// The same as `Mailbox::open`, to be looked at without a lock.
    flag: AtomicBool,
    /// A script was ended in the middle of its writes, because the process ends: nothing of it may be kept.
    abandoned: AtomicBool,
    mailbox: Mutex<Mailbox>,
}

#[derive(Debug, Default)]
struct Mailbox {
    open: bool,
    mails: Vec<Mail>,
    /// Connections that the engine has taken in meanwhile; the broker's state has not.
    opened: Vec<(SessionId, Arc<Outbox>)>,
}

#[derive(Debug)]
enum Mail {
    Open { id: SessionId, info: SessionInfo, outbox: Arc<Outbox> },
    Close { id: SessionId },
    Request { id: SessionId, outbox: Arc<Outbox>, args: Vec<Box<[u8]>> },
}

impl Busy {
    pub(crate) fn is_set(&self) -> bool {
        self.flag.load(Ordering::Acquire)
    }

    pub(crate) fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Acquire)
    }

    /// Leaves a new connection; false if the broker is not busy (any longer).
    pub(crate) fn open(&self, id: SessionId, info: &SessionInfo, outbox: &Arc<Outbox>) -> bool {
        self.leave(|| Mail::Open { id, info: info.clone(), outbox: Arc::clone(outbox) })
    }

    /// Leaves the end of a connection; false if the broker is not busy.
    pub(crate) fn close(&self, id: SessionId) -> bool {
        self.leave(|| Mail::Close { id })
    }

    /// Leaves the first request that `feed` has, to be answered through the outbox; the session is blocked until
    /// then. Gives `feed` back untouched if the broker is not busy any longer.
    pub(crate) fn leave_request<F>(&self, id: SessionId, outbox: &Arc<Outbox>, feed: F) -> Result<BatchEnd, F>
    where
        F: FnOnce(&mut dyn FnMut(&[&[u8]]) -> bool),
    {
        let mut mailbox = self.lock();
        if !mailbox.open {
            return Err(feed);
        }
        feed(&mut |args| {
            let args = args.iter().map(|&arg| arg.into()).collect();
            mailbox.mails.push(Mail::Request { id, outbox: Arc::clone(outbox), args });
            false
        });
        Ok(BatchEnd::Blocked)
    }

    fn leave(&self, mail: impl FnOnce() -> Mail) -> bool {
        if !self.is_set() {
            return false;
        }
        let mut mailbox = self.lock();
        if mailbox.open {
            mailbox.mails.push(mail());
        }
        mailbox.open
    }

    fn begin(&self) {
        self.lock().open = true;
        self.flag.store(true, Ordering::Release);
    }

    fn lock(&self) -> MutexGuard<'_, Mailbox> {
        // Every change is complete before anything can panic.
        self.mailbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    /// Goes back to work after a script that took long: what is still in the mailbox is done as usual.
    pub(crate) fn end_busy(&self, state: &mut State) {
        let (mails, opened) = {
            let mut mailbox = self.busy.lock();
            mailbox.open = false;
            self.busy.flag.store(false, Ordering::Release);
            (std::mem::take(&mut mailbox.mails), std::mem::take(&mut mailbox.opened))
        };
        for (id, outbox) in opened {
            state.add_outbox(id, outbox);
        }
        for mail in mails {
            match mail {
                Mail::Open { id, info, outbox } => self.take_in(state, id, info, outbox),
                Mail::Close { id } => state.remove(id),
                Mail::Request { id, outbox, args } => self.run_late(state, id, &outbox, &args),
            }
        }
        self.deadline_moved.notify_one();
    }

    /// Runs a request that was left in the mailbox when the script had ended.
    fn run_late(&self, state: &mut State, id: SessionId, outbox: &Arc<Outbox>, args: &[Box<[u8]>]) {
        let args: Vec<&[u8]> = args.iter().map(|arg| &**arg).collect();
        let end = self.run_locked(state, id, outbox, |run| {
            run(&args);
        });
        release(outbox, end);
    }

    /// Answers what is in the mailbox while a script runs.
    fn answer(&self, script: &mut RunningScript<'_>, out: &mut Outputs) {
        let mails = std::mem::take(&mut self.busy.lock().mails);
        for mail in mails {
            match mail {
                Mail::Open { id, info, outbox } => {
                    script.open_session(id, info);
                    self.busy.lock().opened.push((id, outbox));
                }
                // Can wait until the script has ended.
                Mail::Close { id } => self.busy.lock().mails.push(Mail::Close { id }),
                Mail::Request { id, outbox, args } => {
                    let args: Vec<&[u8]> = args.iter().map(|arg| &**arg).collect();
                    out.clear();
                    let end = self.end_of(script.apply(id, &args, out));
                    let room = Room { limits: &self.limits, subscriber: false };
                    outbox.push(&out.replies, &out.gates, self.log.durable(), room);
                    release(&outbox, end);
                }
            }
        }
    }
}

/// Watches scripts on behalf of the broker.
#[derive(Debug)]
pub(crate) struct Watch {
    shared: Weak<Shared>,
    threshold: Option<Duration>,
    /// Since the first look at this script.
    running: Option<Stopwatch>,
    /// Others have been told that the broker is busy; `Some(false)` if nobody can be.
    told: Option<bool>,
    out: Outputs,
}

impl Watch {
    pub(crate) fn new(shared: Weak<Shared>) -> Self {
        Self { shared, threshold: None, running: None, told: None, out: Outputs::default() }
    }
}

impl ScriptWatch for Watch {
    fn begin(&mut self, threshold: Option<Duration>) {
        (self.threshold, self.running, self.told) = (threshold, None, None);
    }

    fn poll(&mut self, script: &mut RunningScript<'_>) -> ScriptFate {
        let elapsed = self.running.get_or_insert_with(Stopwatch::start).elapsed();
        let Some(shared) = self.shared.upgrade() else { return ScriptFate::Kill };
        if self.told.is_none() && self.threshold.is_some_and(|threshold| elapsed >= threshold) {
            self.told = Some(shared.hand_over());
        }
        if self.told == Some(true) {
            shared.answer(script, &mut self.out);
        }
        if shared.is_ending() {
            shared.busy.abandoned.store(true, Ordering::Release);
            return ScriptFate::Kill;
        }
        let alone = self.told == Some(false) && !script.wrote() && elapsed >= shared.limits.script_time_max;
        if alone || script.kill_requested() {
            return ScriptFate::Kill;
        }
        ScriptFate::Continue
    }

    fn end(&mut self) {
        self.running = None;
    }
}

impl Shared {
    /// Gives the tasks of this thread to another one and opens the mailbox; false where that is not possible.
    fn hand_over(&self) -> bool {
        if self.busy.is_set() {
            return true;
        }
        let multi = Handle::try_current().is_ok_and(|it| it.runtime_flavor() == RuntimeFlavor::MultiThread);
        if multi {
            self.busy.begin();
            // Were the broker not busy, everyone would wait for the lock that is held here.
            let (elsewhere, here) = mpsc::channel();
            // The runtime is told that this thread blocks, and lets another one run its tasks: this one first.
            tokio::spawn(async move {
                // The script may have gone on already.
                let _told = elsewhere.send(());
            });
            tokio::task::block_in_place(|| {
                // If no thread can be had in time, the script goes on all the same.
                let _running = here.recv_timeout(HAND_OVER_MAX);
            });
        }
        multi
    }
}

impl Shared {
    /// How an outcome ends a session's batch.
    pub(crate) fn end_of(&self, outcome: Outcome) -> BatchEnd {
        match outcome {
            Outcome::Replied => BatchEnd::Done,
            // A reply will come, sooner or later.
            Outcome::Blocked | Outcome::NeedsBlocks => BatchEnd::Blocked,
            Outcome::Shutdown => {
                self.end();
                BatchEnd::Close
            }
            _ => BatchEnd::Close,
        }
    }
}
