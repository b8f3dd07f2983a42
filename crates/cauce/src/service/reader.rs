//! The reader: a task with a connection of its own that keeps one batch ready ahead of the worker.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use redis::{Cmd, Value, cmd};
use tokio::sync::{mpsc, watch};

use super::core::Core;
use super::group;
use super::lane::{Delivered, Lane};
use super::pending;
use crate::backend::backoff::Backoff;
use crate::backend::connection::Connection;
use crate::backend::reply;
use crate::error::CommandError;

/// How long one read waits for entries.
const BLOCK: Duration = Duration::from_secs(5);
/// A reply that is later than this after the block's end will not come any more.
const GRACE: Duration = Duration::from_secs(5);
/// Entries of one stream that one read asks for at most.
pub(crate) const COUNT_MAX: usize = 1000;

pub(crate) type Batch = Vec<Delivered>;

/// How many entries to ask for: the worker raises it while batches are done in no time, so that round trips do not matter, and lowers
/// it while they take long, so that other instances get their share.
pub(crate) struct Pace(pub(crate) AtomicUsize);

/// Reads until told to stop. Returns whether the last read ended in order: then nothing is under way to this process any more.
pub(crate) async fn run(
    core: Arc<Core>,
    pace: Arc<Pace>,
    batches: mpsc::Sender<Batch>,
    mut stop: watch::Receiver<bool>,
) -> bool {
    let mut first = true;
    loop {
        let Some(mut connection) = connect(&core, &mut stop).await else { return true };
        if !first {
            core.counters.reconnects.one();
        }
        // A reply that was lost with the last connection left entries pending that nobody runs. No read is under way now, so
        // what is pending here and not held is exactly that.
        if !first && let Err(error) = pending::recover(&core, &batches, Duration::ZERO).await {
            tracing::warn!(%error, "lost deliveries not recovered yet; the keeper will find them");
        }
        first = false;
        match read(&core, &pace, &batches, &mut stop, &mut connection).await {
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

async fn connect(core: &Core, stop: &mut watch::Receiver<bool>) -> Option<Connection> {
    let mut backoff = Backoff::new();
    loop {
        let opened = tokio::select! {
            opened = core.link.endpoint().open(None, None) => opened,
            () = stopped(stop) => return None,
        };
        match opened {
            Ok(mut connection) => {
                let id =
                    connection.send(cmd("CLIENT").arg("ID")).await.ok().as_ref().and_then(reply::integer);
                core.reads_as(id.unwrap_or(0));
                return Some(connection);
            }
            Err(error) => tracing::debug!(%error, "no connection to read from yet"),
        }
        tokio::select! {
            () = backoff.wait() => {}
            () = stopped(stop) => return None,
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
    connection: &mut Connection,
) -> End {
    let mut backoff = Backoff::new();
    loop {
        let permit = tokio::select! {
            biased;
            () = stopped(stop) => return End::Stopped,
            permit = async { core.held.wait_for_room().await; batches.reserve().await } => permit,
        };
        let Ok(permit) = permit else { return End::Stopped };
        let lanes = core.lanes();
        let count = pace.0.load(Ordering::Relaxed).min(core.held.room()).max(1);
        let reply =
            tokio::time::timeout(BLOCK + GRACE, connection.send(&xreadgroup(core, &lanes, count))).await;
        match reply {
            Ok(Ok(reply)) => match decode(core, &lanes, reply) {
                Some(batch) if batch.is_empty() => {}
                Some(batch) => {
                    backoff = Backoff::new();
                    permit.send(batch);
                }
                None => {
                    tracing::error!("the reply of XREADGROUP has another shape than Redis's");
                    backoff.wait().await;
                }
            },
            Err(_) | Ok(Err(CommandError::OutcomeUnknown { .. } | CommandError::Unreachable { .. })) => {
                return End::Lost;
            }
            Ok(Err(error)) => {
                refused(core, &error).await;
                backoff.wait().await;
            }
        }
    }
}

/// The group or its stream is gone: both are made again. Anything else is waited out.
async fn refused(core: &Core, error: &CommandError) {
    if error.is_refused("NOGROUP") || error.is_refused("UNBLOCKED") {
        if let Err(error) = group::heal(core).await {
            tracing::warn!(%error, "the group is gone and can't be made again yet");
        }
    } else {
        tracing::warn!(%error, "the broker refuses to hand out entries");
    }
}

fn xreadgroup(core: &Core, lanes: &[Arc<Lane>], count: usize) -> Cmd {
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
    command
}

fn decode(core: &Core, lanes: &[Arc<Lane>], reply: Value) -> Option<Batch> {
    let mut batch = Batch::new();
    for (stream, items) in reply::streams(reply)? {
        let lane = lanes.iter().find(|lane| lane.stream.as_bytes() == stream)?;
        let mut delivered = Vec::with_capacity(items.len());
        for item in items {
            if let (id, Some(fields)) = reply::entry(item)? {
                delivered.push(Delivered { lane: Arc::clone(lane), id, fields, attempt: 1 });
            }
        }
        if let Some(last) = delivered.last() {
            lane.advance(last.id);
        }
        if core.settings.acknowledge {
            let again = core.held.take_new(lane.index, &mut delivered, |delivered| delivered.id);
            core.counters.duplicates.add(again);
        }
        batch.append(&mut delivered);
    }
    Some(batch)
}
