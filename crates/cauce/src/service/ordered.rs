//! Order by key: each stream has one reader in the group, which is its owner as long as it renews a key at the broker. A new owner begins
//! with everything that is pending, in the order of the stream, before it reads anything new.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use super::core::Core;
use super::due::{hold, place};
use super::keeper;
use super::lane::Lane;
use super::reader::{Again, stopped};
use super::scripts;
use super::settle::Settlement;
use crate::error::CommandError;

/// Entries that a new owner takes with one command.
const PAGE: usize = 100;

/// Becomes the reader of streams that have none, and stays it. Ends when told to stop.
pub(crate) async fn run(
    core: Arc<Core>,
    again: mpsc::Sender<Again>,
    settlements: mpsc::Sender<Settlement>,
    mut stop: watch::Receiver<bool>,
) {
    let mut ticks = keeper::ticks(&core);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = stopped(&mut stop) => return,
        }
        for lane in core.lanes() {
            if let Err(error) = own(&core, &lane, &again, &settlements, &mut stop).await {
                tracing::debug!(%error, stream = %lane.stream, "not known who reads the stream");
            }
        }
    }
}

async fn own(
    core: &Arc<Core>,
    lane: &Arc<Lane>,
    again: &mpsc::Sender<Again>,
    settlements: &mpsc::Sender<Settlement>,
    stop: &mut watch::Receiver<bool>,
) -> Result<(), CommandError> {
    if !scripts::own(&core.link, lane, core.owner(), core.settings.lease_ms()).await? {
        if lane.set_owned(false) {
            tracing::warn!(stream = %lane.stream, "another instance reads the stream now");
        }
        return Ok(());
    }
    if lane.is_owned() {
        return Ok(());
    }
    let mut after = None;
    loop {
        let Some(permit) = place(again, stop).await else { return Ok(()) };
        let (taken, last) = scripts::take_all(&core.link, lane, core.owner(), after, PAGE).await?;
        after = last;
        let batch = hold(core, lane, taken);
        core.counters.claimed.add(batch.len());
        let (killers, run): (Vec<_>, Vec<_>) =
            batch.into_iter().partition(|delivered| delivered.lease.killer);
        permit.send(Again::Run(run));
        for delivered in killers {
            keeper::bury(settlements, delivered).await;
        }
        if after.is_none() {
            break;
        }
    }
    lane.set_owned(true);
    core.changed_readable();
    tracing::info!(stream = %lane.stream, group = %core.names.group, "reads the stream, as its only reader");
    Ok(())
}

/// Lets another instance read the stream at once.
pub(crate) async fn give_up(core: &Core, lane: &Lane) {
    if lane.set_owned(false)
        && let Err(error) = scripts::disown(&core.link, lane, &core.names.consumer).await
    {
        tracing::debug!(%error, stream = %lane.stream, "the stream has its next reader when the lease ends");
    }
}
