//! The keeper: a task that looks through the pending entries now and then. It renews what this process holds, takes over what the
//! dead left, and finds deliveries that were lost on the way.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::core::Core;
use super::group;
use super::lane::{Delivered, Lane};
use super::pending::{self, PAGE, Pending, deliveries};
use super::reader::Batch;
use super::settle::{DeadLetter, Settlement};
use crate::backend::command::push_ids;
use crate::entry::EntryId;
use crate::error::CommandError;

/// Renews the idle time of what is held, so that nobody takes it over: handlers may run for hours, and still the entries of the dead
/// are taken over within seconds. Ends with its task.
pub(crate) async fn renew(core: Arc<Core>) {
    let mut ticks = ticks(&core);
    loop {
        ticks.tick().await;
        for lane in core.lanes() {
            if let Err(error) = renew_lane(&core, &lane).await {
                tracing::debug!(%error, stream = %lane.stream, "entries not renewed");
            }
        }
    }
}

/// Takes over entries of consumers that are gone, and own ones whose delivery was lost. Ends with the worker.
pub(crate) async fn take_over(
    core: Arc<Core>,
    again: mpsc::Sender<Batch>,
    settlements: mpsc::Sender<Settlement>,
) {
    let mut ticks = ticks(&core);
    loop {
        ticks.tick().await;
        if let Err(error) = group::find_sides(&core).await {
            tracing::debug!(%error, "side streams not looked for");
        }
        for lane in core.lanes() {
            if let Err(error) = take_over_lane(&core, &lane, &again, &settlements).await {
                tracing::debug!(%error, stream = %lane.stream, "entries of the dead not taken over");
            }
        }
        // A delivery that is still on its way is never this old.
        if let Err(error) = pending::recover(&core, &again, core.settings.reclaim_after).await {
            tracing::debug!(%error, "lost deliveries not looked for");
        }
        if again.is_closed() {
            return;
        }
    }
}

fn ticks(core: &Core) -> tokio::time::Interval {
    // The jitter keeps instances that started together from looking at the same moment.
    let mut ticks = tokio::time::interval(core.settings.tick().mul_f64(0.9 + fastrand::f64() / 5.0));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    ticks
}

async fn renew_lane(core: &Core, lane: &Lane) -> Result<(), CommandError> {
    let mut after = None;
    loop {
        let found =
            pending::page(core, lane, core.settings.tick(), after, Some(&core.names.consumer)).await?;
        after = found.last().map(|last| last.id);
        // Only what is still this consumer's comes here: an entry that somebody took over is not stolen back.
        let held: Vec<EntryId> =
            found.iter().map(|found| found.id).filter(|id| core.held.contains(lane.index, *id)).collect();
        if !held.is_empty() {
            let mut command = redis::cmd("XCLAIM");
            command.arg(&*lane.stream).arg(&*core.names.group).arg(&*core.names.consumer).arg(0);
            push_ids(&mut command, held);
            core.link.send(command.arg("JUSTID")).await?;
        }
        if found.len() < PAGE {
            return Ok(());
        }
    }
}

async fn take_over_lane(
    core: &Arc<Core>,
    lane: &Arc<Lane>,
    again: &mpsc::Sender<Batch>,
    settlements: &mpsc::Sender<Settlement>,
) -> Result<(), CommandError> {
    let reclaim_after = core.settings.reclaim_after;
    let mut after = None;
    loop {
        let found = pending::page(core, lane, reclaim_after, after, None).await?;
        after = found.last().map(|last| last.id);
        let full = found.len() == PAGE;
        let dead: Vec<Pending> =
            found.into_iter().filter(|found| *found.consumer != *core.names.consumer).collect();
        for some in dead.chunks(claim_length(core)) {
            // A place in the worker's inbox first: what is taken over is run next, or left to others.
            let Ok(permit) = again.reserve().await else { return Ok(()) };
            let batch = take(core, lane, reclaim_after, some).await?;
            let (run, exhausted) = batch.into_iter().partition(|delivered| !is_exhausted(core, delivered));
            permit.send(run);
            bury(settlements, exhausted).await;
        }
        if !full {
            return Ok(());
        }
    }
}

/// As much as the handlers here can begin with soon, so that siblings get their share.
fn claim_length(core: &Core) -> usize {
    (core.settings.concurrency * 2).clamp(16, 100)
}

async fn take(
    core: &Arc<Core>,
    lane: &Arc<Lane>,
    min_idle: Duration,
    dead: &[Pending],
) -> Result<Vec<Delivered>, CommandError> {
    let wanted: Vec<_> = dead.iter().map(|found| (found.id, deliveries(found))).collect();
    let batch = pending::take(core, lane, min_idle, &wanted).await?;
    if !batch.is_empty() {
        core.counters.claimed.add(batch.len());
        let from = dead.first().map(|found| found.consumer.as_str());
        tracing::info!(stream = %lane.stream, count = batch.len(), from, "took over entries of a consumer that is gone");
    }
    Ok(batch)
}

/// An entry whose every delivery ended in the death of its process may be what kills it.
fn is_exhausted(core: &Core, delivered: &Delivered) -> bool {
    delivered.attempt > core.settings.retry.max_deliveries()
}

async fn bury(settlements: &mpsc::Sender<Settlement>, exhausted: Vec<Delivered>) {
    for mut delivered in exhausted {
        // This delivery was never run.
        delivered.attempt -= 1;
        let error = format!("{} deliveries, each ended with its process", delivered.attempt);
        let letter = DeadLetter { delivered, reason: "never finished", error };
        let _ = settlements.send(Settlement::DeadLetter(Box::new(letter))).await;
    }
}
