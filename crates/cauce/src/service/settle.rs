//! The settler: a task that tells the broker what became of deliveries, on the command connection. What is done is acknowledged in batches;
//! what failed is put aside or becomes a dead letter, beside.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::attempts::{Attempt, shortened};
use super::core::{Core, millis};
use super::lane::{Delivered, Lane, Runs};
use super::scripts::{self, Parked, Run};
use crate::backend::backoff::Backoff;
use crate::clock;
use crate::entry::{EntryId, Fields};
use crate::error::CommandError;
use crate::request::Asked;

/// Settlements that wait for the settler before the worker is held back.
pub(crate) const QUEUE_LENGTH: usize = 1024;
/// Ids that are worth a command of their own at once.
const BATCH_LENGTH: usize = 256;
/// Ids of one command at most: a script can't unpack more than about 8,000.
const BATCH_LENGTH_MAX: usize = 1000;
/// Entries that are handed back with one command.
pub(crate) const BACK_LENGTH: usize = 500;
/// How long fewer wait for company.
const LINGER: Duration = Duration::from_millis(1);

/// What is to be told the broker about entries.
pub(crate) enum Settlement {
    Acknowledge {
        lane: Arc<Lane>,
        runs: Runs,
    },
    Retry(Box<Retrying>),
    DeadLetter(Box<DeadLetter>),
    /// Entries of a stream that this process gives up, or lost.
    HandBack {
        lane: Arc<Lane>,
        entries: Vec<Returned>,
    },
}

/// An entry that is handed back: its id, its delivery count, and the count that it gets.
pub(crate) type Returned = (EntryId, u32, u32);

/// An entry that failed and is tried again.
pub(crate) struct Retrying {
    pub(crate) delivered: Delivered,
    pub(crate) delay: Duration,
    pub(crate) reason: &'static str,
    pub(crate) error: String,
    pub(crate) started: Instant,
}

/// An entry that is not tried again.
pub(crate) struct DeadLetter {
    pub(crate) delivered: Delivered,
    /// The delivery count at which this consumer owns it.
    pub(crate) owned: u32,
    pub(crate) reason: &'static str,
    pub(crate) error: String,
    /// The error and its sources.
    pub(crate) chain: Vec<String>,
    /// When the last attempt began; `None` if it did not.
    pub(crate) started: Option<Instant>,
}

/// Settles until nobody sends any more.
pub(crate) async fn run(core: Arc<Core>, mut settlements: mpsc::Receiver<Settlement>) {
    let mut queue = Vec::new();
    // Beside the acknowledgements: a letter that can't be written holds nobody up. There are no more of them than entries are held.
    let mut beside = JoinSet::new();
    loop {
        if settlements.recv_many(&mut queue, QUEUE_LENGTH).await == 0 {
            beside.join_all().await;
            return;
        }
        while beside.try_join_next().is_some() {}
        if size(&queue) < BATCH_LENGTH {
            gather(&mut settlements, &mut queue).await;
        }
        let mut acknowledged: Vec<(Arc<Lane>, Runs)> = Vec::new();
        for settlement in queue.drain(..) {
            match settlement {
                Settlement::Acknowledge { lane, runs } => {
                    match acknowledged.iter_mut().find(|(found, _)| Arc::ptr_eq(found, &lane)) {
                        Some((_, all)) => all.append(runs),
                        None => acknowledged.push((lane, runs)),
                    }
                }
                Settlement::Retry(retrying) => {
                    beside.spawn(put_aside(Arc::clone(&core), retrying));
                }
                Settlement::DeadLetter(letter) => {
                    beside.spawn(bury(Arc::clone(&core), letter));
                }
                Settlement::HandBack { lane, entries } => {
                    beside.spawn(hand_back(Arc::clone(&core), lane, entries));
                }
            }
        }
        for (lane, runs) in acknowledged {
            acknowledge(&core, &lane, runs).await;
        }
    }
}

fn size(queue: &[Settlement]) -> usize {
    queue
        .iter()
        .map(|settlement| if let Settlement::Acknowledge { runs, .. } = settlement { runs.len() } else { 1 })
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

async fn acknowledge(core: &Core, lane: &Lane, runs: Runs) {
    lane.touch();
    for batch in runs.batches(BATCH_LENGTH_MAX) {
        // What was acknowledged by a command whose reply was lost counts as late: rather too many than too few.
        let tell = || scripts::settle(&core.link, lane, core.owner(), core.settings.inbox, &batch);
        let settled = persist("acknowledgements", tell).await;
        let length: usize = batch.iter().map(|run| run.ids.len()).sum();
        match settled {
            Ok(settled) if core.settings.acknowledge => {
                core.counters.late.add(length.saturating_sub(settled));
            }
            Ok(_) => {}
            Err(error) => {
                tracing::error!(%error, stream = %lane.stream, "the broker refuses acknowledgements");
            }
        }
        core.held.release(lane.index, batch.iter().flat_map(|run: &Run| run.ids.iter().copied()));
    }
}

/// Tries until the broker answers.
///
/// # Errors
/// If the broker refuses for good.
async fn persist<T, F>(what: &str, tell: impl Fn() -> F) -> Result<T, CommandError>
where
    F: Future<Output = Result<T, CommandError>>,
{
    let mut backoff = Backoff::new();
    loop {
        match tell().await {
            Err(error) if error.is_transient() => tracing::debug!(%error, "{what} wait for the broker"),
            result => return result,
        }
        backoff.wait().await;
    }
}

async fn put_aside(core: Arc<Core>, retrying: Box<Retrying>) {
    let Retrying { delivered, delay, reason, error, started } = *retrying;
    let lane = &delivered.lane;
    let attempt = Attempt {
        id: delivered.id,
        number: delivered.attempt,
        started: Some(started),
        reason,
        error: &error,
    };
    core.held.leaves(lane.index, delivered.id);
    let tell =
        || scripts::park(&core.link, lane, core.owner(), &attempt, core.parks_with(lane), millis(delay));
    match persist("retries", tell).await {
        // What was put aside by a command whose reply was lost counts as late too, and is found all the same.
        Ok(Parked::Late) => {
            core.counters.late.one();
            // Nothing brings it again here: others of its key need not wait.
            core.times.gone(lane.index, delivered.id);
        }
        Ok(Parked::ComesAgain) => core.counters.late.one(),
        Ok(Parked::Yes) => {}
        Err(error) => {
            tracing::error!(%error, stream = %lane.stream, id = %delivered.id, "the broker refuses a retry; the entry stays pending");
        }
    }
    core.times.at(lane.index, Instant::now() + delay);
    lane.touch();
    core.held.left(lane.index, delivered.id);
}

/// For the next reader of the stream. What the broker is not told of stays pending, and that reader takes it all the same.
async fn hand_back(core: Arc<Core>, lane: Arc<Lane>, entries: Vec<Returned>) {
    for some in entries.chunks(BACK_LENGTH) {
        if let Err(error) = scripts::give_back(&core.link, &lane, core.owner(), some).await {
            tracing::debug!(%error, stream = %lane.stream, "not handed back; the next reader takes it over");
        }
    }
    core.held.release(lane.index, entries.iter().map(|(id, ..)| *id));
}

/// Moves an entry to the dead letters, at once or not at all.
async fn bury(core: Arc<Core>, letter: Box<DeadLetter>) {
    let (lane, id) = (Arc::clone(&letter.delivered.lane), letter.delivered.id);
    tracing::warn!(stream = %lane.stream, %id, group = %core.names.group, reason = letter.reason, error = letter.error, "dead letter");
    let fields = fields(&core, &letter);
    let DeadLetter { owned, reason, error, started, .. } = &*letter;
    let attempt = Attempt { id, number: *owned, started: *started, reason, error };
    let mut backoff = Backoff::new();
    loop {
        match scripts::bury(
            &core.link,
            &lane,
            core.owner(),
            &attempt,
            letter.delivered.lease.pending,
            &fields,
        )
        .await
        {
            Ok(true) => {
                core.counters.dead.one();
                if let Some(asked) = Asked::of(&letter.delivered.fields) {
                    asked.refuse(&core.link, letter.reason, shortened(&letter.error)).await;
                }
            }
            Ok(false) => core.counters.late.one(),
            Err(error) => {
                tracing::warn!(%error, %id, key = %lane.dead, "the dead letter can't be written yet; the entry stays pending");
                backoff.wait().await;
                continue;
            }
        }
        break;
    }
    lane.touch();
    core.held.release(lane.index, [id]);
}

/// How many fields stand before the entry's own: those below, and the history, which the broker puts first.
pub(crate) const LETTER_FIELDS: usize = 11;

/// The one field of a letter whose entry has too many of its own.
pub(crate) const PACKED: &str = "cauce:packed";
/// Pairs of an entry that stand in its letter by themselves; a script can't append more than about 4,000.
const LETTER_PAIRS_MAX: usize = 3_000;

/// What is known of the failure, in fields of fixed number and order, and after them the entry's own as they are.
fn fields(core: &Core, letter: &DeadLetter) -> Fields {
    let delivered = &letter.delivered;
    let mut fields = Fields::with_capacity(LETTER_FIELDS + delivered.fields.len());
    fields.push_text("reason", letter.reason);
    fields.push_text("error", shortened(&letter.error));
    fields.push_text("error-chain", serde_json::to_string(&letter.chain).unwrap_or_default());
    fields.push_text("attempts", delivered.attempt.to_string());
    fields.push_text("group", &core.names.group);
    fields.push_text("consumer", &core.names.consumer);
    fields.push_text("stream", &delivered.lane.stream);
    fields.push_text("entry", delivered.id.to_string());
    fields.push_text("published-at", clock::rfc3339(EntryId::time(delivered.id)));
    fields.push_text("edited", "0");
    if delivered.fields.len() > LETTER_PAIRS_MAX {
        fields.push(PACKED.as_bytes(), delivered.fields.packed());
    } else {
        fields.append(&delivered.fields);
    }
    fields
}
