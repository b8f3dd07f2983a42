//! The one task that wakes the engine when something is due: waits that time out, keys that expire.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::task::JoinHandle;

use crate::shared::Shared;

/// The running task, if any.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    task: Mutex<Option<JoinHandle<()>>>,
}

/// Starts the task on the current runtime, unless it runs. (A runtime that ends takes its tasks along, so
/// the next connection may have to start it again.)
pub(crate) fn ensure(shared: &Arc<Shared>) {
    let mut task = shared.timer.task.lock().unwrap_or_else(PoisonError::into_inner);
    if task.as_ref().is_none_or(JoinHandle::is_finished) {
        *task = Some(tokio::spawn(run(Arc::downgrade(shared))));
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(task) = self.task.lock().unwrap_or_else(PoisonError::into_inner).take() {
            task.abort();
        }
    }
}

/// Sleeps towards the engine's next deadline. Holds no strong reference while it sleeps, so that the broker
/// can end.
async fn run(weak: Weak<Shared>) {
    while let Some(shared) = weak.upgrade() {
        let next = shared.tick();
        let wait = next.map(|at| at.since(shared.clock.now()));
        let moved = Arc::clone(&shared.deadline_moved);
        drop(shared);
        match wait {
            None => moved.notified().await,
            Some(wait) => {
                tokio::select! {
                    biased;
                    () = moved.notified() => {}
                    () = tokio::time::sleep(wait) => {}
                }
            }
        }
    }
}
