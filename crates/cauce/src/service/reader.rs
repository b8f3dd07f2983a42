//! The reader: a task with a connection of its own that keeps one batch ready ahead of the worker.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use redis::cmd;
use tokio::sync::{mpsc, watch};

use super::core::Core;
use super::group;
use super::lane::{Delivered, Lane, Lease};
use super::pending;
use crate::backend::backoff::Backoff;
use crate::backend::wire::{Replies, Wire};
use crate::entry::EntryId;
use crate::error::CommandError;

/// How long one read waits for entries.
const BLOCK: Duration = Duration::from_secs(5);
/// A reply that is later than this after the block's end will not come any more.
const GRACE: Duration = Duration::from_secs(5);
/// How long a read that was told to end may take for it.
const ROUSE: Duration = Duration::from_millis(10);
/// Entries of one stream that one read asks for at most.
pub(crate) const COUNT_MAX: usize = 1000;

pub(crate) type Batch = Vec<Delivered>;

/// What comes to the worker beside new entries.
pub(crate) enum Again {
    Run(Batch),
    /// These waited for a retry, and are gone from the broker.
    Gone {
        lane: usize,
        ids: Vec<EntryId>,
    },
    /// Everything of an ordered stream that was pending came before this: new entries may be read, by the connection of this id.
    Open {
        lane: Arc<Lane>,
        epoch: u64,
        connection: i64,
    },
}

/// How many entries to ask for: the worker raises it while batches are done in no time, so that round trips do not matter, and lowers
/// it while they take long, so that other instances get their share.
pub(crate) struct Pace(pub(crate) AtomicUsize);

/// Reads until told to stop. Returns whether the last read ended in order: then nothing is under way to this process any more.
pub(crate) async fn run(
    core: Arc<Core>,
    pace: Arc<Pace>,
    batches: mpsc::Sender<Batch>,
    again: mpsc::Sender<Again>,
    mut stop: watch::Receiver<bool>,
) -> bool {
    let mut first = true;
    loop {
        let Some(mut wire) = connect(&core, &mut stop).await else { return true };
        if !first {
            core.counters.reconnects.one();
        }
        // A reply that was lost with the last connection left entries pending that nobody runs. No read is under way now, so
        // what is pending here and not held is exactly that.
        if !first && let Err(error) = pending::recover(&core, &again, Duration::ZERO, &mut stop).await {
            tracing::warn!(%error, "lost deliveries not recovered yet; the keeper will find them");
        }
        first = false;
        let end = read(&core, &pace, &batches, &mut stop, &mut wire).await;
        core.end_read();
        core.reads_as(0);
        match end {
            End::Stopped => return true,
            End::Lost if *stop.borrow() => return false,
            End::Lost => {}
        }
    }
}

enum End {
    Stopped,
    Lost,
}

async fn connect(core: &Core, stop: &mut watch::Receiver<bool>) -> Option<Wire> {
    let mut backoff = Backoff::new();
    loop {
        let opened = tokio::select! {
            biased;
            () = stopped(stop) => return None,
            opened = Wire::open(core.link.endpoint()) => opened,
        };
        match opened {
            Ok((wire, id)) => {
                core.reads_as(id);
                return Some(wire);
            }
            Err(error) => tracing::debug!(%error, "no connection to read from yet"),
        }
        tokio::select! {
            biased;
            () = stopped(stop) => return None,
            () = backoff.wait() => {}
        }
    }
}

pub(crate) async fn stopped(stop: &mut watch::Receiver<bool>) {
    // Without a sender nobody can say stop any more, which is the same.
    let _ = stop.wait_for(|stop| *stop).await;
}

async fn read(
    core: &Core,
    pace: &Pace,
    batches: &mpsc::Sender<Batch>,
    stop: &mut watch::Receiver<bool>,
    wire: &mut Wire,
) -> End {
    let mut backoff = Backoff::new();
    loop {
        let permit = tokio::select! {
            biased;
            () = stopped(stop) => return End::Stopped,
            permit = async { core.held.wait_for_room().await; batches.reserve().await } => permit,
        };
        let Ok(permit) = permit else { return End::Stopped };
        let lanes = match readable(core, stop).await {
            Ok(lanes) => lanes,
            Err(end) => return end,
        };
        // The broker gives so many of each stream.
        let count = pace.0.load(Ordering::Relaxed).min(core.held.room() / lanes.len()).max(1);
        let request = request(core, &lanes, count);
        let replies = tokio::time::timeout(BLOCK + GRACE, wire.exchange(&request, 2)).await;
        let read = replies.map(|replies| replies.and_then(|replies| decode(core, &lanes, replies)));
        core.end_read();
        match read {
            Ok(Ok(Some(batch))) if batch.is_empty() => {}
            Ok(Ok(Some(batch))) => {
                backoff = Backoff::new();
                permit.send(batch);
            }
            Ok(Ok(None)) => {
                tracing::error!("the reply of XREADGROUP has another shape than Redis's");
                backoff.wait().await;
            }
            Err(_) | Ok(Err(CommandError::OutcomeUnknown { .. } | CommandError::Unreachable { .. })) => {
                return End::Lost;
            }
            Ok(Err(error)) => {
                if !group::heal_if_missing(core, &error).await {
                    tracing::warn!(%error, "the broker refuses to hand out entries");
                }
                backoff.wait().await;
            }
        }
    }
}

/// The lanes that may be read now; waits until there are some.
async fn readable(core: &Core, stop: &mut watch::Receiver<bool>) -> Result<Vec<Arc<Lane>>, End> {
    let mut readable = core.readable();
    loop {
        let lanes = core.begin_read();
        if !lanes.is_empty() {
            return Ok(lanes);
        }
        core.end_read();
        tokio::select! {
            biased;
            () = stopped(stop) => return Err(End::Stopped),
            // Without it there would never be any: who reads nothing does not notice that the connection is lost.
            () = core.until_reader_is_gone() => return Err(End::Lost),
            _ = readable.changed() => {}
        }
    }
}

/// Ends a blocked read when other streams may be read by now, until told to stop.
pub(crate) async fn rouse(core: Arc<Core>, mut stop: watch::Receiver<bool>) {
    let mut readable = core.readable();
    loop {
        tokio::select! {
            biased;
            () = stopped(&mut stop) => return,
            _ = readable.changed() => {}
        }
        // The read may just be on its way to the broker: then it is said again.
        while core.is_read_outdated() && !*stop.borrow() {
            if let Err(error) = core.unblock_reader().await {
                tracing::debug!(%error, "the read ends by itself");
            }
            tokio::time::sleep(ROUSE).await;
        }
    }
}

/// TIME and XREADGROUP: nobody takes over what is read before a lease after that time.
fn request(core: &Core, lanes: &[Arc<Lane>], count: usize) -> Vec<u8> {
    let mut command = cmd("XREADGROUP");
    command.arg("GROUP").arg(&*core.names.group).arg(&*core.names.consumer);
    command.arg("COUNT").arg(count).arg("BLOCK").arg(BLOCK.as_millis() as u64);
    if !core.settings.acknowledge {
        command.arg("NOACK");
    }
    command.arg("STREAMS");
    for lane in lanes {
        command.arg(&*lane.stream);
    }
    for _ in lanes {
        command.arg(">");
    }
    let mut request = cmd("TIME").get_packed_command();
    command.write_packed_command(&mut request);
    request
}

/// # Errors
/// If the broker refused.
fn decode(core: &Core, lanes: &[Arc<Lane>], mut replies: Replies) -> Result<Option<Batch>, CommandError> {
    let Some(time) = replies.time_ms() else { return Ok(None) };
    core.saw_broker_ms(time);
    let lease = Lease::fresh(time + core.settings.lease_ms(), core.settings.acknowledge);
    let mut batch = Batch::new();
    let mut duplicates = 0;
    let read = {
        let mut taking = core.held.taking();
        let named = |name: &[u8], _| lanes.iter().find(|lane| lane.stream.as_bytes() == name);
        replies.streams(named, |lane, id, fields| {
            lane.advance(id);
            if !lease.pending {
                // Nothing settles it, so that the cursor is saved because of this.
                lane.touch();
            }
            if !lease.pending || taking.take(lane.index, id) {
                batch.push(Delivered { lane: Arc::clone(lane), id, fields, attempt: 1, lease });
            } else {
                duplicates += 1;
            }
        })
    };
    core.counters.duplicates.add(duplicates);
    Ok(read?.map(|()| batch))
}
