//! Entries that failed and wait for their next attempt.
//!
//! They wait at the broker, which survives this process: with the consumer `cauce:retry`, their times in a sorted set. Here is only a timer for
//! the next of each stream.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::{Pipeline, Value};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;

use super::core::Core;
use super::group;
use super::lane::{Delivered, Lane, Lease};
use super::reader::{Again, Batch, stopped};
use super::scripts::{self, Due, Taken};
use crate::backend::reply;
use crate::entry::EntryId;
use crate::error::CommandError;

/// How often it is looked for what others put aside, gave back, or redrove.
const LOOK: Duration = Duration::from_secs(1);

/// When something is due next, by lane.
#[derive(Debug, Default)]
pub(crate) struct Times {
    next: Mutex<HashMap<usize, Instant>>,
    /// What was to be put aside and was not this process's any more, by lane. No more than is held.
    gone: Mutex<Vec<(usize, EntryId)>>,
    changed: Notify,
}

impl Times {
    /// Something of the lane will be due then.
    pub(crate) fn at(&self, lane: usize, when: Instant) {
        let mut next = self.lock();
        let known = next.entry(lane).or_insert(when);
        if when <= *known {
            *known = when;
            self.changed.notify_one();
        }
    }

    /// Nothing brings the entry again.
    pub(crate) fn gone(&self, lane: usize, id: EntryId) {
        self.gone.lock().unwrap_or_else(PoisonError::into_inner).push((lane, id));
        self.changed.notify_one();
    }

    fn take_gone(&self) -> Vec<(usize, EntryId)> {
        std::mem::take(&mut *self.gone.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn take(&self, lane: usize, now: Instant) -> bool {
        let mut next = self.lock();
        let is_due = next.get(&lane).is_some_and(|when| *when <= now);
        if is_due {
            next.remove(&lane);
        }
        is_due
    }

    /// The first of those lanes.
    fn first(&self, of: impl Fn(usize) -> bool) -> Option<Instant> {
        self.lock().iter().filter(|(lane, _)| of(**lane)).map(|(_, when)| *when).min()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<usize, Instant>> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends to the worker what is due, until told to stop; never stops between taking something and sending it.
pub(crate) async fn run(core: Arc<Core>, again: mpsc::Sender<Again>, mut stop: watch::Receiver<bool>) {
    let mut look = Instant::now();
    loop {
        if Instant::now() >= look {
            if let Err(error) = look_around(&core).await {
                tracing::debug!(%error, "retries not looked for");
            }
            look = Instant::now() + LOOK;
        }
        for (lane, id) in core.times.take_gone() {
            if again.send(Again::Gone { lane, ids: vec![id] }).await.is_err() {
                return;
            }
        }
        let now = Instant::now();
        for lane in core.lanes() {
            // Where order is kept, what waits is the reader's.
            if !lane.may_take() || !core.times.take(lane.index, now) {
                continue;
            }
            // A place in the worker's inbox first: what is taken here is run next.
            let Some(permit) = place(&again, &mut stop).await else { return };
            match take(&core, &lane).await {
                Ok((batch, gone)) => {
                    if !batch.is_empty() {
                        permit.send(Again::Run(batch));
                    }
                    if !gone.is_empty()
                        && again.send(Again::Gone { lane: lane.index, ids: gone }).await.is_err()
                    {
                        return;
                    }
                }
                Err(error) => {
                    tracing::debug!(%error, stream = %lane.stream, "retries wait for the broker");
                    core.times.at(lane.index, Instant::now() + LOOK);
                }
            }
        }
        let lanes = core.lanes();
        let wake = core
            .times
            .first(|lane| lanes.iter().any(|known| known.index == lane && known.may_take()))
            .map_or(look, |first| first.min(look));
        tokio::select! {
            biased;
            () = stopped(&mut stop) => return,
            () = tokio::time::sleep_until(wake) => {}
            () = core.times.changed.notified() => {}
        }
    }
}

/// A place in the worker's inbox; `None` if told to stop, or the worker has gone.
pub(crate) async fn place<'a>(
    again: &'a mpsc::Sender<Again>,
    stop: &mut watch::Receiver<bool>,
) -> Option<mpsc::Permit<'a, Again>> {
    tokio::select! {
        biased;
        () = stopped(stop) => None,
        permit = again.reserve() => permit.ok(),
    }
}

/// Finds when something is due next on each stream, and side streams that exist by now. Saves how far the groups are.
async fn look_around(core: &Core) -> Result<(), CommandError> {
    let lanes = core.lanes();
    let mut questions = Pipeline::with_capacity(1 + lanes.len());
    questions.cmd("TIME");
    for lane in &lanes {
        questions.cmd("ZRANGE").arg(&lane.due).arg(0).arg(0).arg("WITHSCORES");
    }
    let mut replies = core.link.send_all(&questions).await?.into_iter();
    let time =
        replies.next().transpose()?.and_then(time_ms).ok_or(CommandError::Unexpected { command: "TIME" })?;
    let now = Instant::now();
    for (lane, reply) in lanes.iter().zip(replies) {
        if let Some(due) = score(reply?) {
            core.times.at(lane.index, now + Duration::from_millis(due.saturating_sub(time)));
        }
    }
    for lane in lanes.iter().filter(|lane| lane.was_touched()) {
        scripts::save_cursor(&core.link, lane, &core.names.group).await?;
    }
    group::find_sides(core).await
}

/// What is due, and what should be and is gone.
async fn take(core: &Arc<Core>, lane: &Arc<Lane>) -> Result<(Batch, Vec<EntryId>), CommandError> {
    let Due { mut taken, next } =
        scripts::take_due(&core.link, lane, core.owner(), batch_length(core)).await?;
    core.saw_broker_ms(taken.time);
    if let Some(next) = next {
        core.times.at(lane.index, Instant::now() + Duration::from_millis(next));
    }
    let gone = std::mem::take(&mut taken.gone);
    core.counters.vanished.add(gone.len());
    for entry in &taken.entries {
        // It was put aside, even if that was not confirmed here yet.
        core.held.left(lane.index, entry.id);
    }
    let batch = hold(core, lane, taken);
    core.counters.retried.add(batch.iter().filter(|delivered| delivered.attempt > 1).count());
    Ok((batch, gone))
}

/// As much as the handlers here can begin with soon, so that siblings get their share.
pub(crate) fn batch_length(core: &Core) -> usize {
    (core.settings.concurrency * 2).clamp(16, 100)
}

/// Holds what was taken.
pub(crate) fn hold(core: &Core, lane: &Arc<Lane>, taken: Taken) -> Batch {
    let deadline = taken.time + core.settings.lease_ms();
    let mut taking = core.held.taking();
    let entries = taken.entries.into_iter().filter(|entry| taking.take(lane.index, entry.id));
    entries
        .map(|entry| {
            let lease = Lease::taken(&entry, deadline);
            Delivered {
                lane: Arc::clone(lane),
                id: entry.id,
                fields: entry.fields,
                attempt: entry.attempt,
                lease,
            }
        })
        .collect()
}

fn time_ms(reply: Value) -> Option<u64> {
    let parts = reply::list(reply)?;
    Some(reply::count(parts.first()?)? * 1000 + reply::count(parts.get(1)?)? / 1000)
}

/// The score of the only member: `[[member, score]]` in RESP3, `[member, score]` in RESP2.
fn score(reply: Value) -> Option<u64> {
    let last = reply::list(reply)?.into_iter().next_back()?;
    match last {
        Value::Array(pair) => score(Value::Array(pair)),
        Value::Double(score) => Some(score as u64),
        value => reply::text(value)?.parse::<f64>().ok().map(|score| score as u64),
    }
}
