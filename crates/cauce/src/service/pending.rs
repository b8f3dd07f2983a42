//! Own pending entries that this process does not hold: their delivery was lost on the way.

use std::sync::Arc;
use std::time::Duration;

use redis::{Value, cmd};
use tokio::sync::{mpsc, watch};

use super::core::{Core, millis};
use super::due::{hold, place};
use super::lane::Lane;
use super::reader::Again;
use super::scripts;
use crate::backend::reply;
use crate::entry::EntryId;
use crate::error::CommandError;

/// Pending entries that one question asks for.
const PAGE: usize = 500;

/// One line of XPENDING.
struct Pending {
    id: EntryId,
    deliveries: u32,
}

/// Finds own pending entries that are not held, idle for at least `idle`, and sends them to the worker.
///
/// # Errors
/// If the broker can't be reached or refuses.
pub(crate) async fn recover(
    core: &Arc<Core>,
    batches: &mpsc::Sender<Again>,
    idle: Duration,
    stop: &mut watch::Receiver<bool>,
) -> Result<(), CommandError> {
    for lane in core.lanes().into_iter().filter(|lane| lane.may_take()) {
        let mut after = None;
        loop {
            let found = page(core, &lane, idle, after).await?;
            after = found.last().map(|last| last.id);
            let full = found.len() == PAGE;
            let lost: Vec<_> =
                found.into_iter().filter(|found| !core.held.contains(lane.index, found.id)).collect();
            if !lost.is_empty() {
                let Some(permit) = place(batches, stop).await else { return Ok(()) };
                let wanted: Vec<_> = lost.iter().map(|lost| (lost.id, lost.deliveries)).collect();
                let taken = scripts::take_lost(&core.link, &lane, core.owner(), &wanted).await?;
                let batch = hold(core, &lane, taken);
                core.counters.recovered.add(batch.len());
                permit.send(Again::Run(batch));
            }
            if !full {
                break;
            }
        }
    }
    Ok(())
}

/// `XPENDING stream group IDLE idle (after + PAGE consumer`
async fn page(
    core: &Core,
    lane: &Lane,
    idle: Duration,
    after: Option<EntryId>,
) -> Result<Vec<Pending>, CommandError> {
    let mut command = cmd("XPENDING");
    command.arg(&*lane.stream).arg(&*core.names.group).arg("IDLE").arg(millis(idle));
    match after {
        Some(id) => command.arg(format!("({id}")),
        None => command.arg("-"),
    };
    command.arg("+").arg(PAGE).arg(&*core.names.consumer);
    let lines = reply::list(core.link.send(&command).await?);
    let found = lines.and_then(|lines| lines.into_iter().map(line).collect());
    found.ok_or(CommandError::Unexpected { command: "XPENDING" })
}

fn line(value: Value) -> Option<Pending> {
    let mut parts = reply::list(value)?.into_iter();
    let id = reply::entry_id(&parts.next()?)?;
    let deliveries = parts.nth(2).as_ref().and_then(reply::count)?;
    // Delivery counts beyond `u32` mean the same as the greatest.
    Some(Pending { id, deliveries: u32::try_from(deliveries).unwrap_or(u32::MAX - 1) })
}
