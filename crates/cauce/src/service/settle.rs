//! The settler: a task that acknowledges in batches and moves dead letters, on the command connection.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use redis::{Pipeline, cmd};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::core::Core;
use super::lane::{Delivered, Lane};
use super::pending;
use crate::backend::backoff::Backoff;
use crate::backend::command::{xack, xadd, xdel};
use crate::backend::reply;
use crate::clock;
use crate::entry::{EntryId, Fields};
use crate::error::CommandError;

/// Settlements that wait for the settler before the worker is held back.
pub(crate) const QUEUE_LENGTH: usize = 1024;
/// Ids that are worth a command of their own at once.
const BATCH_LENGTH: usize = 256;
/// How long fewer wait for company.
const LINGER: Duration = Duration::from_millis(1);

/// What is to be told the broker about entries that are done with.
pub(crate) enum Settlement {
    Acknowledge { lane: Arc<Lane>, ids: Vec<EntryId> },
    DeadLetter(Box<DeadLetter>),
}

/// An entry that is not tried again.
pub(crate) struct DeadLetter {
    pub(crate) delivered: Delivered,
    pub(crate) reason: &'static str,
    pub(crate) error: String,
}

/// Settles until nobody sends any more.
pub(crate) async fn run(core: Arc<Core>, mut settlements: mpsc::Receiver<Settlement>) {
    let mut queue = Vec::new();
    // Beside the acknowledgements: a letter that can't be written holds nobody up. There are no more of them than entries are held.
    let mut burials = JoinSet::new();
    loop {
        if settlements.recv_many(&mut queue, QUEUE_LENGTH).await == 0 {
            burials.join_all().await;
            return;
        }
        while burials.try_join_next().is_some() {}
        if size(&queue) < BATCH_LENGTH {
            gather(&mut settlements, &mut queue).await;
        }
        let mut acknowledged: Vec<(Arc<Lane>, Vec<EntryId>)> = Vec::new();
        for settlement in queue.drain(..) {
            match settlement {
                Settlement::Acknowledge { lane, mut ids } => {
                    match acknowledged.iter_mut().find(|(found, _)| Arc::ptr_eq(found, &lane)) {
                        Some((_, all)) => all.append(&mut ids),
                        None => acknowledged.push((lane, ids)),
                    }
                }
                Settlement::DeadLetter(letter) => {
                    burials.spawn(bury(Arc::clone(&core), letter));
                }
            }
        }
        acknowledge(&core, acknowledged).await;
    }
}

fn size(queue: &[Settlement]) -> usize {
    queue
        .iter()
        .map(|settlement| if let Settlement::Acknowledge { ids, .. } = settlement { ids.len() } else { 1 })
        .sum()
}

/// Waits a moment for more: one command for many ids costs the broker little more than for one.
async fn gather(settlements: &mut mpsc::Receiver<Settlement>, queue: &mut Vec<Settlement>) {
    let enough = async {
        while size(queue) < BATCH_LENGTH {
            if settlements.recv_many(queue, QUEUE_LENGTH).await == 0 {
                return;
            }
        }
    };
    let _ = tokio::time::timeout(LINGER, enough).await;
}

async fn acknowledge(core: &Core, batches: Vec<(Arc<Lane>, Vec<EntryId>)>) {
    let mut commands = Pipeline::with_capacity(batches.len());
    for (lane, ids) in &batches {
        commands.add_command(xack(&lane.stream, &core.names.group, ids.iter().copied()));
    }
    // Behind the acknowledgements, so that the replies of those stay in place.
    for (lane, ids) in batches.iter().filter(|(lane, _)| lane.is_side()) {
        commands.add_command(xdel(&lane.stream, ids.iter().copied()));
    }
    if commands.is_empty() {
        return;
    }
    let mut backoff = Backoff::new();
    let replies = loop {
        // XACK may be repeated at will.
        match core.link.send_all(&commands).await {
            Ok(replies)
                if replies.iter().flat_map(|reply| reply.as_ref().err()).any(CommandError::is_transient) => {}
            Ok(replies) => break replies,
            Err(error) => tracing::debug!(%error, "acknowledgements wait for the broker"),
        }
        backoff.wait().await;
    };
    for ((lane, ids), reply) in batches.into_iter().zip(replies) {
        match reply {
            Ok(count) => {
                let count = reply::count(&count).and_then(|count| usize::try_from(count).ok()).unwrap_or(0);
                core.counters.late.add(ids.len().saturating_sub(count));
            }
            Err(error) => {
                tracing::error!(%error, stream = %lane.stream, "the broker refuses acknowledgements");
            }
        }
        core.held.release(lane.index, ids);
    }
}

/// Moves an entry to the dead letters: the letter written and the entry acknowledged in one transaction.
async fn bury(core: Arc<Core>, letter: Box<DeadLetter>) {
    let (lane, id) = (&letter.delivered.lane, letter.delivered.id);
    tracing::warn!(stream = %lane.stream, %id, group = %core.names.group, reason = letter.reason, error = letter.error, "dead letter");
    let fields = fields(&core, &letter);
    let mut backoff = Backoff::new();
    loop {
        if let Err(error) = check_dead_stream(&core, lane).await {
            tracing::error!(%error, key = %lane.dead, "the dead letter can't be written; the entry stays pending");
            backoff.wait().await;
            continue;
        }
        let mut commands = Pipeline::new();
        commands.add_command(xadd(&lane.dead, &fields));
        commands.add_command(xack(&lane.stream, &core.names.group, [id]));
        if lane.is_side() {
            commands.add_command(xdel(&lane.stream, [id]));
        }
        match core.link.transaction(&mut commands).await {
            Ok(_) => {
                core.counters.dead.one();
                break;
            }
            Err(CommandError::OutcomeUnknown { .. }) if is_settled(&core, lane, id).await => {
                core.counters.dead.one();
                break;
            }
            Err(error) => {
                tracing::warn!(%error, %id, "the dead letter can't be written yet; the entry stays pending");
            }
        }
        backoff.wait().await;
    }
    core.held.release(lane.index, [id]);
}

/// A transaction has no rollback: if the key were of another type, the entry would be acknowledged and the letter not written.
async fn check_dead_stream(core: &Core, lane: &Lane) -> Result<(), CommandError> {
    let reply = core.link.send(cmd("TYPE").arg(&*lane.dead)).await?;
    match reply::text(reply).as_deref() {
        Some("none" | "stream") => Ok(()),
        _ => Err(CommandError::Refused {
            code: "WRONGTYPE".to_owned(),
            message: "the key holds no stream".to_owned(),
        }),
    }
}

/// Whether a transaction whose reply was lost was carried out: then the entry is not pending any more.
async fn is_settled(core: &Core, lane: &Lane, id: EntryId) -> bool {
    let text = id.to_string();
    let mut command = cmd("XPENDING");
    command.arg(&*lane.stream).arg(&*core.names.group).arg(&text).arg(&text).arg(1);
    match core.link.send(&command).await {
        Ok(reply) => core.settings.acknowledge && pending::parse(reply).is_some_and(|found| found.is_empty()),
        Err(_) => false,
    }
}

/// How many fields stand before the entry's own.
pub(crate) const LETTER_FIELDS: usize = 9;

/// What is known of the failure, in fields of fixed number and order, and after them the entry's own as they are.
fn fields(core: &Core, letter: &DeadLetter) -> Fields {
    let delivered = &letter.delivered;
    let mut fields = Fields::with_capacity(LETTER_FIELDS + delivered.fields.len());
    fields.push_text("reason", letter.reason);
    fields.push_text("error", letter.error.clone());
    fields.push_text("attempts", delivered.attempt.to_string());
    fields.push_text("group", core.names.group.to_string());
    fields.push_text("consumer", core.names.consumer.to_string());
    fields.push_text("stream", delivered.lane.stream.to_string());
    fields.push_text("entry", delivered.id.to_string());
    fields.push_text("published-at", clock::rfc3339(delivered.id.time()));
    fields.push_text("died-at", clock::rfc3339(SystemTime::now()));
    fields.append(delivered.fields.clone());
    fields
}
