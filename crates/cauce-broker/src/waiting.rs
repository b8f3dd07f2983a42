//! Connections that have something to send and wait until the log is safe up to it.
//!
//! The log's thread says how far it is safe. It wakes one task, which wakes the connections from inside their runtime:
//! waking each from outside would cost a system call per connection and commit.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use cauce_log::LogNews;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::outbox::Outbox;

/// Who waits for which position.
///
/// No wake-up is lost: a connection is added, and the log's news is taken in, under one lock; whoever comes second sees
/// what the other did.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    inner: Mutex<Inner>,
    failed: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    /// In no order. A connection is in it at most once for each of its gates.
    entries: Vec<(u64, Arc<Outbox>)>,
    durable: u64,
    failed: bool,
    releaser: Releaser,
}

/// The task that wakes the others.
#[derive(Debug, Default)]
enum Releaser {
    /// There is none: whoever brings the news wakes them.
    #[default]
    Absent,
    /// It will run, and look at the newest news.
    Scheduled,
    Asleep(Waker),
}

/// What becomes of a connection that wants to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    /// It will be woken.
    Added,
    /// There is nothing to wait for any more.
    Over,
    /// What it waits for will never happen.
    Never,
}

impl Waiting {
    /// Lets a connection be woken when the log is safe up to `position`.
    pub(crate) fn add(&self, position: u64, outbox: &Arc<Outbox>) -> Wait {
        let mut inner = self.lock();
        if inner.failed {
            return Wait::Never;
        }
        if position <= inner.durable {
            return Wait::Over;
        }
        inner.entries.push((position, Arc::clone(outbox)));
        Wait::Added
    }

    /// Takes in the log's news.
    pub(crate) fn tell(&self, news: LogNews) {
        let mut inner = self.lock();
        inner.durable = inner.durable.max(news.durable);
        if news.failed {
            inner.failed = true;
            let entries = std::mem::take(&mut inner.entries);
            drop(inner);
            // Without a reply: nobody knows what became of their commands.
            entries.iter().for_each(|(_, outbox)| outbox.close());
            self.failed.notify_waiters();
            return;
        }
        match std::mem::replace(&mut inner.releaser, Releaser::Scheduled) {
            Releaser::Asleep(waker) => {
                drop(inner);
                waker.wake();
            }
            Releaser::Scheduled => {}
            Releaser::Absent => {
                inner.releaser = Releaser::Absent;
                let due = inner.due();
                drop(inner);
                due.iter().for_each(|outbox| outbox.wake());
            }
        }
    }

    /// Ends when the log has failed.
    pub(crate) async fn failed(&self) {
        loop {
            let told = self.failed.notified();
            if self.lock().failed {
                return;
            }
            told.await;
        }
    }

    /// Wakes who can go on, again and again.
    fn poll_release(&self, cx: &Context<'_>) -> Poll<()> {
        let mut inner = self.lock();
        inner.releaser = Releaser::Asleep(cx.waker().clone());
        let due = inner.due();
        drop(inner);
        due.iter().for_each(|outbox| outbox.wake());
        Poll::Pending
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Every change is complete before anything can panic.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Takes out the connections that can go on.
    fn due(&mut self) -> Vec<Arc<Outbox>> {
        let durable = self.durable;
        self.entries.extract_if(.., |(position, _)| *position <= durable).map(|(_, outbox)| outbox).collect()
    }
}

/// The running task, if any.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Slot {
    /// Starts the task on the current runtime, unless it runs.
    pub(crate) fn ensure(&self, waiting: &Arc<Waiting>) {
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        if task.as_ref().is_none_or(JoinHandle::is_finished) {
            *task = Some(tokio::spawn(release(Arc::clone(waiting))));
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(task) = self.task.lock().unwrap_or_else(PoisonError::into_inner).take() {
            task.abort();
        }
    }
}

async fn release(waiting: Arc<Waiting>) {
    /// A runtime that ends takes its tasks along: those on another one go on being woken.
    struct Leave<'a>(&'a Waiting);

    impl Drop for Leave<'_> {
        fn drop(&mut self) {
            let mut inner = self.0.lock();
            inner.releaser = Releaser::Absent;
            let due = inner.due();
            drop(inner);
            due.iter().for_each(|outbox| outbox.wake());
        }
    }

    let leave = Leave(&waiting);
    poll_fn(|cx| leave.0.poll_release(cx)).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn news(durable: u64, failed: bool) -> LogNews {
        let log = cauce_log::MemoryLog::new();
        log.hold();
        let seen = Arc::new(Mutex::new(None));
        let into = Arc::clone(&seen);
        cauce_log::Log::listen(&log, Box::new(move |news| *into.lock().expect("one thread") = Some(news)));
        log.release(durable);
        let mut news = seen.lock().expect("one thread").expect("the listener was called");
        news.failed = failed;
        news
    }

    #[test]
    fn news_that_came_before_is_not_waited_for() {
        let (waiting, outbox) = (Waiting::default(), Arc::new(Outbox::default()));
        assert_eq!(waiting.add(3, &outbox), Wait::Added);
        waiting.tell(news(3, false));
        assert_eq!(waiting.add(3, &outbox), Wait::Over);
        assert_eq!(waiting.add(4, &outbox), Wait::Added);
        assert_eq!(waiting.lock().entries.len(), 1);
        waiting.tell(news(3, true));
        assert!(outbox.signals(Waker::noop()).closed);
        assert_eq!(waiting.add(5, &outbox), Wait::Never);
    }
}
