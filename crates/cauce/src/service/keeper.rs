//! The keeper: a task that renews the lease of this process and of what it holds, takes over what the dead left, and finds deliveries that
//! were lost on the way.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use redis::Pipeline;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::core::{Core, millis};
use super::due::{batch_length, hold, place};
use super::lane::{Delivered, Lane};
use super::pending;
use super::reader::{Again, Batch, stopped};
use super::scripts::{self, PARKED};
use super::settle::{DeadLetter, Settlement};
use crate::backend::reply::{self, Attributes};
use crate::bus::Bus;
use crate::error::CommandError;
use crate::inspect::{Retention, SEEN};

/// How often what streams need not keep is removed.
const RETAIN: Duration = Duration::from_secs(2);
/// Ids that one script renews.
const RENEW_LENGTH: usize = 1000;
/// Parked entries whose idle time is renewed at each tick; more than that, and reapers of other makes may come early.
const PARKED_MAX: usize = 1000;

/// Renews leases: handlers may run for hours, and still the entries of the dead are taken over within seconds. Ends with its task.
pub(crate) async fn renew(core: Arc<Core>) {
    let mut ticks = ticks(&core);
    loop {
        ticks.tick().await;
        if let Err(error) = join(&core).await {
            tracing::warn!(%error, "the lease is not renewed");
        }
        for lane in core.lanes() {
            if let Err(error) = renew_lane(&core, &lane).await {
                tracing::debug!(%error, stream = %lane.stream, "entries not renewed");
            }
        }
    }
}

/// Makes this process a member of its groups, or renews its lease.
///
/// # Errors
/// If the broker can't be reached or refuses.
pub(crate) async fn join(core: &Core) -> Result<(), CommandError> {
    let consumer = &*core.names.consumer;
    let mut commands = Pipeline::new();
    for lane in core.lanes() {
        commands
            .cmd("SET")
            .arg(lane.lease_of(consumer))
            .arg(&core.member)
            .arg("PX")
            .arg(core.settings.lease_ms());
        let seen = core.broker_ms();
        commands.cmd("HSET").arg(&lane.members).arg(consumer).arg(&core.member).arg(SEEN).arg(seen);
    }
    for reply in core.link.send_all(&commands).await? {
        reply?;
    }
    Ok(())
}

async fn renew_lane(core: &Core, lane: &Lane) -> Result<(), CommandError> {
    let old = core.held.renew_older(lane.index, core.settings.lease / 2);
    for ids in old.chunks(RENEW_LENGTH) {
        scripts::renew(&core.link, lane, core.owner(), core.settings.lease_ms() / 4, ids).await?;
    }
    let idle_ms = core.settings.lease_ms() / 2;
    scripts::renew_parked(&core.link, lane, &core.names.group, idle_ms, PARKED_MAX).await.map(drop)
}

/// Removes what the streams need not keep, now and then, until told to stop.
pub(crate) async fn retain(core: Arc<Core>, bus: Bus, retention: Retention, mut stop: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            biased;
            () = stopped(&mut stop) => return,
            // The jitter keeps instances that started together from looking at the same moment.
            () = tokio::time::sleep(RETAIN.mul_f64(0.5 + fastrand::f64())) => {}
        }
        for lane in core.lanes().iter().filter(|lane| !lane.is_side()) {
            match bus.retain(&lane.stream, &retention).await {
                Ok(retained) if retained.removed > 0 => {
                    tracing::debug!(stream = %lane.stream, removed = retained.removed, "entries that all groups are done with are removed");
                }
                Ok(_) => {}
                Err(error) => tracing::debug!(%error, stream = %lane.stream, "nothing removed"),
            }
        }
    }
}

/// Takes over entries of consumers that are gone, and own ones whose delivery was lost, until told to stop; never stops between taking
/// something and sending it.
pub(crate) async fn take_over(
    core: Arc<Core>,
    again: mpsc::Sender<Again>,
    settlements: mpsc::Sender<Settlement>,
    mut stop: watch::Receiver<bool>,
) {
    let mut ticks = ticks(&core);
    let mut watch = Watch::default();
    loop {
        tokio::select! {
            biased;
            () = stopped(&mut stop) => return,
            _ = ticks.tick() => {}
        }
        for lane in core.lanes() {
            let gone = gone(&core, &lane, &mut watch).await;
            let gone = gone.inspect_err(
                |error| tracing::debug!(%error, stream = %lane.stream, "entries of the dead not looked for"),
            );
            for other in gone.unwrap_or_default() {
                if let Err(error) = take_from(&core, &lane, &other, &again, &settlements, &mut stop).await {
                    tracing::debug!(%error, stream = %lane.stream, "entries of the dead not taken over");
                }
            }
        }
        // A delivery that is still on its way is never this old.
        if let Err(error) = pending::recover(&core, &again, core.settings.lease, &mut stop).await {
            tracing::debug!(%error, "lost deliveries not looked for");
        }
    }
}

pub(crate) fn ticks(core: &Core) -> tokio::time::Interval {
    // The jitter keeps instances that started together from looking at the same moment.
    let mut ticks = tokio::time::interval(core.settings.tick().mul_f64(0.9 + fastrand::f64() / 10.0));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    ticks
}

/// Since when consumers have been seen without a lease. After an outage of the broker every lease has lapsed, and the living renew
/// theirs within a tick: who is without one at two looks in a row is gone.
#[derive(Default)]
struct Watch(HashMap<(usize, String), Instant>);

impl Watch {
    fn seen(&mut self, lane: usize, consumer: &str, alive: bool, tick: Duration) -> bool {
        let key = (lane, consumer.to_owned());
        if alive {
            self.0.remove(&key);
            return false;
        }
        self.0.entry(key).or_insert_with(Instant::now).elapsed() >= tick / 2
    }
}

/// The consumers that left entries behind. Those that left nothing are removed.
async fn gone(core: &Core, lane: &Lane, watch: &mut Watch) -> Result<Vec<String>, CommandError> {
    let others = others(core, lane).await?;
    watch.0.retain(|(index, name), _| *index != lane.index || others.iter().any(|other| other.name == *name));
    let mut gone = Vec::new();
    for other in others {
        if !watch.seen(lane.index, &other.name, other.alive, core.settings.tick()) {
            continue;
        }
        if other.pending > 0 {
            // Where order is kept, the next reader takes everything, in order; what is left after that is no instance's.
            if lane.may_take() {
                gone.push(other.name);
            }
        } else if other.member
            && scripts::remove(&core.link, lane, &core.names.group, &other.name, false).await?
        {
            tracing::info!(stream = %lane.stream, consumer = other.name, "removed a consumer that is gone");
        }
    }
    Ok(gone)
}

/// Another consumer of the group.
struct Other {
    name: String,
    pending: u64,
    /// Whether it is or was an instance of a service, and not a client of another make.
    member: bool,
    alive: bool,
}

async fn others(core: &Core, lane: &Lane) -> Result<Vec<Other>, CommandError> {
    let mut questions = Pipeline::new();
    questions.cmd("XINFO").arg("CONSUMERS").arg(&*lane.stream).arg(&*core.names.group);
    questions.cmd("HKEYS").arg(&lane.members);
    let mut replies = core.link.send_all(&questions).await?.into_iter();
    let unexpected = CommandError::Unexpected { command: "XINFO CONSUMERS" };
    let consumers = replies.next().transpose()?.and_then(reply::list).ok_or(unexpected)?;
    let members = replies.next().transpose()?.and_then(reply::list).unwrap_or_default();
    let members: Vec<String> = members.into_iter().filter_map(reply::text).collect();
    let mut others = Vec::new();
    for consumer in consumers {
        let Some(mut info) = Attributes::of(consumer) else { continue };
        let Some(name) = info.take("name").and_then(reply::text) else { continue };
        if name == *core.names.consumer || name == PARKED {
            continue;
        }
        let pending = info.take("pending").as_ref().and_then(reply::count).unwrap_or(0);
        let member = members.contains(&name);
        others.push(Other { name, pending, member, alive: false });
    }
    if others.is_empty() {
        return Ok(others);
    }
    let mut questions = Pipeline::with_capacity(others.len());
    for other in &others {
        questions.cmd("EXISTS").arg(lane.lease_of(&other.name));
    }
    let replies = core.link.send_all(&questions).await?;
    for (other, reply) in others.iter_mut().zip(replies) {
        other.alive = reply::integer(&reply?) == Some(1);
    }
    Ok(others)
}

async fn take_from(
    core: &Arc<Core>,
    lane: &Arc<Lane>,
    other: &str,
    again: &mpsc::Sender<Again>,
    settlements: &mpsc::Sender<Settlement>,
    stop: &mut watch::Receiver<bool>,
) -> Result<(), CommandError> {
    loop {
        // A place in the worker's inbox first: what is taken over is run next, or left to others.
        let Some(permit) = place(again, stop).await else { return Ok(()) };
        let (idle, count) = (millis(core.settings.lease), batch_length(core));
        let (taken, found) = scripts::take_over(&core.link, lane, core.owner(), other, idle, count).await?;
        let vanished = found - taken.entries.len().min(found);
        core.counters.vanished.add(vanished);
        let batch = hold(core, lane, taken);
        if !batch.is_empty() {
            core.counters.claimed.add(batch.len());
            tracing::info!(stream = %lane.stream, count = batch.len(), from = other, "took over entries of a consumer that is gone");
        }
        let (killers, run): (Batch, Batch) = batch.into_iter().partition(|delivered| delivered.lease.killer);
        permit.send(Again::Run(run));
        for delivered in killers {
            bury(settlements, delivered).await;
        }
        if found < count {
            return Ok(());
        }
    }
}

/// An entry that its instance ran alone when it died, after others had died with it, is what kills them.
pub(crate) async fn bury(settlements: &mpsc::Sender<Settlement>, mut delivered: Delivered) {
    // This delivery is not run.
    let error = format!("{} instances died with it, the last while it ran alone", delivered.lease.crashes);
    let owned = delivered.attempt;
    delivered.attempt -= 1;
    let letter =
        DeadLetter { delivered, owned, reason: "never finished", error, chain: Vec::new(), started: None };
    let _ = settlements.send(Settlement::DeadLetter(Box::new(letter))).await;
}
