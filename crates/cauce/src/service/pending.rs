//! The group's pending entries: which are whose, and taking them over.

use std::sync::Arc;
use std::time::Duration;

use redis::{Value, cmd};
use tokio::sync::mpsc;

use super::core::Core;
use super::lane::{Delivered, Lane};
use super::reader::Batch;
use crate::backend::command::push_ids;
use crate::backend::reply;
use crate::entry::EntryId;
use crate::error::CommandError;

/// Pending entries that one question asks for.
pub(crate) const PAGE: usize = 500;

/// One line of XPENDING.
#[derive(Clone, Debug)]
pub(crate) struct Pending {
    pub(crate) id: EntryId,
    pub(crate) consumer: String,
    pub(crate) deliveries: u64,
}

/// `XPENDING stream group IDLE idle (after + PAGE [consumer]`
///
/// # Errors
/// If the broker can't be reached or refuses.
pub(crate) async fn page(
    core: &Core,
    lane: &Lane,
    idle: Duration,
    after: Option<EntryId>,
    consumer: Option<&str>,
) -> Result<Vec<Pending>, CommandError> {
    let mut command = cmd("XPENDING");
    command.arg(&*lane.stream).arg(&*core.names.group).arg("IDLE").arg(idle.as_millis() as u64);
    match after {
        Some(id) => command.arg(format!("({id}")),
        None => command.arg("-"),
    };
    command.arg("+").arg(PAGE);
    if let Some(consumer) = consumer {
        command.arg(consumer);
    }
    parse(core.link.send(&command).await?).ok_or(CommandError::Unexpected { command: "XPENDING" })
}

pub(crate) fn parse(reply: Value) -> Option<Vec<Pending>> {
    reply::list(reply)?.into_iter().map(line).collect()
}

fn line(value: Value) -> Option<Pending> {
    let mut parts = reply::list(value)?.into_iter();
    Some(Pending {
        id: reply::entry_id(&parts.next()?)?,
        consumer: reply::text(parts.next()?)?,
        deliveries: parts.nth(1).as_ref().and_then(reply::count)?,
    })
}

/// Claims entries for this consumer: what still exists comes with its fields, its delivery count one higher.
///
/// # Errors
/// If the broker can't be reached or refuses.
pub(crate) async fn claim(
    core: &Core,
    lane: &Arc<Lane>,
    min_idle: Duration,
    wanted: &[(EntryId, u32)],
) -> Result<Vec<Delivered>, CommandError> {
    let mut command = cmd("XCLAIM");
    command
        .arg(&*lane.stream)
        .arg(&*core.names.group)
        .arg(&*core.names.consumer)
        .arg(min_idle.as_millis() as u64);
    push_ids(&mut command, wanted.iter().map(|(id, _)| *id));
    let entries = reply::entries(core.link.send(&command).await?)
        .ok_or(CommandError::Unexpected { command: "XCLAIM" })?;
    Ok(entries
        .into_iter()
        .filter_map(|entry| {
            let (id, deliveries) = wanted.iter().find(|(id, _)| *id == entry.id)?;
            Some(Delivered { lane: Arc::clone(lane), id: *id, fields: entry.fields, attempt: deliveries + 1 })
        })
        .collect())
}

/// Finds own pending entries that are not held (their delivery was lost on the way, idle for at least `idle`) and sends them to
/// the worker.
///
/// # Errors
/// If the broker can't be reached or refuses.
pub(crate) async fn recover(
    core: &Arc<Core>,
    batches: &mpsc::Sender<Batch>,
    idle: Duration,
) -> Result<(), CommandError> {
    if !core.settings.acknowledge {
        return Ok(());
    }
    for lane in core.lanes() {
        let mut after = None;
        loop {
            let found = page(core, &lane, idle, after, Some(&core.names.consumer)).await?;
            after = found.last().map(|last| last.id);
            let lost: Vec<_> =
                found.iter().filter(|found| !core.held.contains(lane.index, found.id)).collect();
            let wanted: Vec<_> = lost.iter().map(|found| (found.id, deliveries(found))).collect();
            if !wanted.is_empty() {
                let batch = take(core, &lane, Duration::ZERO, &wanted).await?;
                core.counters.recovered.add(batch.len());
                if batches.send(batch).await.is_err() {
                    return Ok(());
                }
            }
            if found.len() < PAGE {
                break;
            }
        }
    }
    Ok(())
}

/// Claims entries and holds them. Those that are gone from the stream are cleared from the group.
///
/// # Errors
/// If the broker can't be reached or refuses.
pub(crate) async fn take(
    core: &Arc<Core>,
    lane: &Arc<Lane>,
    min_idle: Duration,
    wanted: &[(EntryId, u32)],
) -> Result<Vec<Delivered>, CommandError> {
    let mut taken = claim(core, lane, min_idle, wanted).await?;
    for (id, _) in wanted {
        if !taken.iter().any(|delivered| delivered.id == *id) && clear_if_deleted(core, lane, *id).await? {
            core.counters.vanished.one();
        }
    }
    core.held.take_new(lane.index, &mut taken, |delivered| delivered.id);
    Ok(taken)
}

/// Servers before 7.0 keep an entry pending when it was deleted from the stream; nobody could ever run it.
/// Says whether it was deleted.
pub(crate) async fn clear_if_deleted(core: &Core, lane: &Lane, id: EntryId) -> Result<bool, CommandError> {
    let text = id.to_string();
    let found = core.link.send(cmd("XRANGE").arg(&*lane.stream).arg(&text).arg(&text)).await?;
    if reply::list(found).is_some_and(|found| found.is_empty()) {
        core.link.send(cmd("XACK").arg(&*lane.stream).arg(&*core.names.group).arg(&text)).await?;
        return Ok(true);
    }
    Ok(false)
}

/// Delivery counts beyond `u32` mean the same as the greatest.
pub(crate) fn deliveries(pending: &Pending) -> u32 {
    u32::try_from(pending.deliveries).unwrap_or(u32::MAX - 1)
}
