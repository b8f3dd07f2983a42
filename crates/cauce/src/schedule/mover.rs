//! Who appends what is due: a task for each stream, in every bus that has to do with it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::DelayedKeys;
use crate::backend::backoff::Backoff;
use crate::backend::link::Link;
use crate::backend::reply;
use crate::error::CommandError;
use crate::idempotent::SentKeys;
use crate::script::Script;

static FIRE: Script = Script::new(concat!(
    include_str!("../service/scripts/prelude.lua"),
    include_str!("../idempotent/sent.lua"),
    include_str!("fire.lua")
));

/// Events that one call appends at most: others get their turn within a few milliseconds.
const FIRE_MAX: u64 = 200;
/// How often it is looked for what other processes let wait, and whether the broker's clock has jumped.
const LOOK: Duration = Duration::from_secs(1);

/// The tasks of a bus that append what is due.
pub(crate) struct Movers {
    link: Link,
    streams: Mutex<HashMap<String, Mover>>,
}

struct Mover {
    sooner: Arc<Notify>,
    task: AbortHandle,
}

impl Movers {
    pub(crate) fn new(link: Link) -> Self {
        Self { link, streams: Mutex::default() }
    }

    /// Sees to the stream from now on, until the bus is dropped. Something may be due sooner than was known.
    pub(crate) fn sooner(&self, stream: &str) {
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        // A runtime that was shut down took its tasks with it.
        if let Some(mover) = streams.get(stream)
            && !mover.task.is_finished()
        {
            mover.sooner.notify_one();
            return;
        }
        let sooner = Arc::new(Notify::new());
        let task = tokio::spawn(run(self.link.clone(), stream.to_owned(), Arc::clone(&sooner)));
        streams.insert(stream.to_owned(), Mover { sooner, task: task.abort_handle() });
    }
}

impl Drop for Movers {
    fn drop(&mut self) {
        let streams = self.streams.get_mut().unwrap_or_else(PoisonError::into_inner);
        streams.values().for_each(|mover| mover.task.abort());
    }
}

impl std::fmt::Debug for Movers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Movers").finish_non_exhaustive()
    }
}

async fn run(link: Link, stream: String, sooner: Arc<Notify>) {
    let mut backoff = Backoff::new();
    loop {
        let wait = match fire(&link, &stream).await {
            Ok(Fired { looked, .. }) if looked == FIRE_MAX => {
                tokio::task::yield_now().await;
                continue;
            }
            Ok(Fired { next, dropped, .. }) => {
                backoff = Backoff::new();
                if dropped > 0 {
                    tracing::info!(stream, dropped, "occurrences that were missed are skipped");
                }
                next.map_or(LOOK, |ms| Duration::from_millis(ms.max(1)).min(LOOK))
            }
            Err(error) => {
                tracing::debug!(%error, stream, "what is due waits for the broker");
                backoff.step()
            }
        };
        tokio::select! {
            biased;
            () = tokio::time::sleep(wait) => {}
            () = sooner.notified() => {}
        }
    }
}

struct Fired {
    looked: u64,
    dropped: u64,
    /// In milliseconds from now.
    next: Option<u64>,
}

async fn fire(link: &Link, stream: &str) -> Result<Fired, CommandError> {
    let (keys, sent) = (DelayedKeys::of(stream), SentKeys::of(stream));
    let mut call = FIRE.with_keys([stream, &keys.due, &keys.events, &sent.sent, &sent.times]);
    let reply = call.arg(FIRE_MAX.to_string()).run(link).await?;
    let parts = reply::list(reply).unwrap_or_default();
    let number = |at: usize| parts.get(at).and_then(reply::integer);
    match (number(0), number(1), number(2)) {
        (Some(looked), Some(dropped), Some(next)) => Ok(Fired {
            looked: u64::try_from(looked).unwrap_or(0),
            dropped: u64::try_from(dropped).unwrap_or(0),
            next: u64::try_from(next).ok(),
        }),
        _ => Err(CommandError::Unexpected { command: "fire" }),
    }
}
