//! Order by key: each stream, or partition of one, has one reader in the group, which is its owner as long as it renews a lease at the broker.
//!
//! A new owner closes the connection by which the one before it read, unless that gave the stream up: nothing can come by it afterwards. Then it takes
//! everything that is pending, in the order of the stream, before it reads anything new. An owner whose lease ended begins nothing more, and cuts off
//! what runs. The partitions of a stream are shared out evenly (`balance.rs`).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use redis::{Pipeline, cmd};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::balance::assign;
use super::core::Core;
use super::due::{hold, place};
use super::group;
use super::keeper;
use super::lane::Lane;
use super::ownership::Ownership;
use super::reader::{Again, stopped};
use super::scripts;
use super::settle::Settlement;
use crate::backend::backoff::Backoff;
use crate::backend::reply;
use crate::error::CommandError;

/// Entries that a new owner takes with one command.
const PAGE: usize = 100;
/// How often it is looked who is there and who has what, at least.
const LOOK: Duration = Duration::from_secs(1);
/// How long a reader that lived may take to notice that it is not the reader any more: half a lease, within these.
const FAREWELL: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// How often it is looked whether a stream that is given up has become quiet.
const QUIET: Duration = Duration::from_millis(10);

/// The connection by which this process reads, as the broker knows it.
#[derive(Clone, Debug)]
struct Connection {
    id: i64,
    /// The id and the address: ids begin anew when a broker does.
    name: String,
}

/// Renews the leases of what this process has, and gives up what it could not renew in time. Ends with its task.
pub(crate) async fn renew(core: Arc<Core>) {
    let renewing = async {
        let mut ticks = ticks(&core);
        loop {
            ticks.tick().await;
            renew_all(&core).await;
        }
    };
    // Beside it, because a renewal may wait for the broker for long.
    let watching = async {
        loop {
            let latest = Instant::now() + core.settings.tick();
            let lanes = core.lanes();
            let next = lanes.iter().filter_map(|lane| lane.ownership()?.until()).min();
            tokio::time::sleep_until(next.map_or(latest, |next| next.min(latest))).await;
            for lane in lanes {
                let ended = lane.ownership().and_then(Ownership::until);
                if ended.is_some_and(|until| Instant::now() >= until) && core.lose(&lane) {
                    tracing::warn!(stream = %lane.stream, "the lease of the stream's reader ended");
                }
            }
        }
    };
    tokio::join!(renewing, watching);
}

async fn renew_all(core: &Core) {
    for lane in core.lanes() {
        if let Some(ownership) = lane.ownership().filter(|ownership| ownership.is_held()) {
            renew_one(core, &lane, ownership).await;
        }
    }
}

async fn renew_one(core: &Core, lane: &Lane, ownership: &Ownership) {
    let asked = Instant::now();
    match scripts::own(&core.link, lane, &core.names.consumer, core.settings.lease_ms(), "").await {
        Ok(Some(_)) if ownership.renewed(asked + core.settings.lease) => {}
        Ok(Some(_)) => {
            core.lose(lane);
        }
        Ok(None) => {
            if core.lose(lane) {
                tracing::warn!(stream = %lane.stream, "another instance reads the stream now");
            }
        }
        Err(error) => {
            tracing::debug!(%error, stream = %lane.stream, "the lease of the stream's reader is not renewed");
        }
    }
}

fn ticks(core: &Core) -> tokio::time::Interval {
    let period = core.settings.tick().min(LOOK);
    // The jitter keeps instances that started together from looking at the same moment.
    let mut ticks = tokio::time::interval(period.mul_f64(0.9 + fastrand::f64() / 10.0));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    ticks
}

/// Where taken entries go.
#[derive(Clone)]
pub(crate) struct Outlets {
    pub(crate) again: mpsc::Sender<Again>,
    pub(crate) settlements: mpsc::Sender<Settlement>,
}

/// Becomes the reader of streams that have none, and gives up what others are to have. Ends when told to stop.
pub(crate) async fn run(core: Arc<Core>, outlets: Outlets, mut stop: watch::Receiver<bool>) {
    let mut ticks = ticks(&core);
    let mut sharing = Sharing {
        core: Arc::clone(&core),
        outlets,
        stop: stop.clone(),
        busy: HashSet::new(),
        free: HashMap::new(),
        connection: None,
        work: JoinSet::new(),
    };
    loop {
        tokio::select! {
            biased;
            () = stopped(&mut stop) => break,
            Some(Ok(lane)) = sharing.work.join_next() => {
                sharing.busy.remove(&lane);
                continue;
            }
            _ = ticks.tick() => {}
            // The broker may have closed it for another reader's sake.
            () = core.reconnected.notified() => renew_all(&core).await,
        }
        tokio::select! {
            biased;
            () = stopped(&mut stop) => break,
            shared = sharing.share_all() => if let Err(error) = shared {
                stands_still(&error, "not known who reads which stream");
            }
        }
    }
    // What is under way ends by the same signal.
    while sharing.work.join_next().await.is_some() {}
}

struct Sharing {
    core: Arc<Core>,
    outlets: Outlets,
    stop: watch::Receiver<bool>,
    /// Lanes that are being taken or given up.
    busy: HashSet<usize>,
    /// Since when lanes have had no reader.
    free: HashMap<usize, Instant>,
    connection: Option<Connection>,
    work: JoinSet<usize>,
}

impl Sharing {
    async fn share_all(&mut self) -> Result<(), CommandError> {
        self.connect().await?;
        let mut topics: Vec<Vec<Arc<Lane>>> = Vec::new();
        for lane in self.core.lanes().into_iter().filter(|lane| lane.is_ordered()) {
            match topics.iter_mut().find(|lanes| lanes.first().is_some_and(|first| first.topic == lane.topic))
            {
                Some(lanes) => lanes.push(lane),
                None => topics.push(vec![lane]),
            }
        }
        for lanes in topics {
            self.share(&lanes).await?;
        }
        Ok(())
    }

    /// Learns the name of the reading connection.
    async fn connect(&mut self) -> Result<(), CommandError> {
        let id = self.core.reader_id();
        if self.connection.as_ref().is_some_and(|known| known.id == id) {
            return Ok(());
        }
        self.connection = None;
        if id != 0 {
            let line = reply::text(self.core.link.send(cmd("CLIENT").arg("LIST").arg("ID").arg(id)).await?);
            match line.as_deref().and_then(address) {
                Some(address) => self.connection = Some(Connection { id, name: format!("{id} {address}") }),
                None => self.core.reader_is_gone(id),
            }
        }
        Ok(())
    }

    /// Takes and gives up lanes of one stream, as they are to be shared.
    async fn share(&mut self, lanes: &[Arc<Lane>]) -> Result<(), CommandError> {
        let (members, readers) = look(&self.core, lanes).await?;
        let number = |name: &String| members.iter().position(|member| member == name);
        let owners: Vec<Option<usize>> =
            readers.iter().map(|reader| reader.as_ref().and_then(number)).collect();
        let me = &*self.core.names.consumer;
        for ((lane, reader), to) in lanes.iter().zip(readers).zip(assign(members.len(), &owners)) {
            let Some(ownership) = lane.ownership() else { continue };
            let for_me = to.and_then(|to| members.get(to)).is_some_and(|member| member == me);
            let free_for = match &reader {
                None => Some(self.free.entry(lane.index).or_insert_with(Instant::now).elapsed()),
                Some(_) => {
                    self.free.remove(&lane.index);
                    None
                }
            };
            if self.busy.contains(&lane.index) {
                continue;
            }
            if ownership.is_held() && !for_me && reader.as_deref() == Some(me) {
                self.busy.insert(lane.index);
                self.work.spawn(give_up(Arc::clone(&self.core), Arc::clone(lane), self.stop.clone()));
                continue;
            }
            let Some(connection) = self.connection.clone() else { continue };
            let wanted = if ownership.is_held() {
                ownership.is_unread_by(connection.id)
            } else {
                // The one that it is for may be unable to take it.
                let overdue = free_for.is_some_and(|free| free >= self.core.settings.lease);
                let is_free = reader.is_none() || reader.as_deref() == Some(me);
                // What ran when it was lost must have ended.
                is_free && (for_me || overdue) && self.core.held.lowest(lane.index).is_none()
            };
            if wanted {
                self.busy.insert(lane.index);
                let taking = take(
                    Arc::clone(&self.core),
                    Arc::clone(lane),
                    connection,
                    self.outlets.clone(),
                    self.stop.clone(),
                );
                self.work.spawn(taking);
            }
        }
        Ok(())
    }
}

/// Says why nothing is read. What does not pass by itself somebody has to know of.
fn stands_still(error: &CommandError, what: &str) {
    if error.is_transient() {
        tracing::debug!(%error, "{what}");
    } else {
        tracing::warn!(%error, "{what}; nothing is read meanwhile");
    }
}

/// The address in a line of CLIENT LIST.
fn address(line: &str) -> Option<String> {
    line.split_whitespace().find_map(|field| field.strip_prefix("addr=")).map(str::to_owned)
}

/// The living members that read these lanes, this process among them, in order; and the reader of each lane.
async fn look(core: &Core, lanes: &[Arc<Lane>]) -> Result<(Vec<String>, Vec<Option<String>>), CommandError> {
    let Some(first) = lanes.first() else { return Ok((Vec::new(), Vec::new())) };
    let mut questions = Pipeline::with_capacity(1 + lanes.len());
    questions.cmd("HKEYS").arg(&first.members);
    for lane in lanes {
        questions.cmd("GET").arg(&lane.reader);
    }
    let mut replies = core.link.send_all(&questions).await?.into_iter();
    let known = replies.next().transpose()?.and_then(reply::list).unwrap_or_default();
    let known: Vec<String> = known.into_iter().filter_map(reply::text).collect();
    let readers = replies.map(|reply| reply.map(reply::text)).collect::<Result<_, _>>()?;
    let mut members = vec![core.names.consumer.to_string()];
    let mut questions = Pipeline::with_capacity(known.len());
    for name in &known {
        questions.cmd("EXISTS").arg(first.lease_of(name));
    }
    if !known.is_empty() {
        for (name, reply) in known.into_iter().zip(core.link.send_all(&questions).await?) {
            if reply::integer(&reply?) == Some(1) && name != *core.names.consumer {
                members.push(name);
            }
        }
    }
    members.sort_unstable();
    Ok((members, readers))
}

/// Becomes the reader of a stream that has none, or goes on as its reader by a new connection. Says the lane.
async fn take(
    core: Arc<Core>,
    lane: Arc<Lane>,
    connection: Connection,
    outlets: Outlets,
    mut stop: watch::Receiver<bool>,
) -> usize {
    if let Err(error) = take_all(&core, &lane, &connection, &outlets, &mut stop).await {
        // Who reads makes the group again, and nobody reads before this has come to an end.
        if !group::heal_if_missing(&core, &error).await {
            stands_still(&error, &format!("what is pending of {} is not taken yet", lane.stream));
        }
    }
    lane.index
}

async fn take_all(
    core: &Arc<Core>,
    lane: &Arc<Lane>,
    connection: &Connection,
    outlets: &Outlets,
    stop: &mut watch::Receiver<bool>,
) -> Result<(), CommandError> {
    let Some(ownership) = lane.ownership() else { return Ok(()) };
    let (consumer, lease) = (&*core.names.consumer, core.settings.lease);
    let asked = Instant::now();
    let Some(before) =
        scripts::own(&core.link, lane, consumer, core.settings.lease_ms(), &connection.name).await?
    else {
        core.lose(lane);
        return Ok(());
    };
    if !before.is_empty() && before != connection.name {
        close(core, &before, stop).await;
    }
    let again = ownership.is_held();
    let epoch = ownership.acquired(asked + lease, &connection.name);
    let mut after = None;
    loop {
        let Some(permit) = place(&outlets.again, stop).await else { return Ok(()) };
        // What is held now is on its way through this process. What was lost on the way to it is not.
        let held = core.held.of(lane.index);
        let Some((mut taken, last)) = scripts::take_all(&core.link, lane, core.owner(), after, PAGE).await?
        else {
            // Not that nothing is pending: the lease has ended at the broker meanwhile. What is new must not be read.
            core.lose(lane);
            return Ok(());
        };
        for entry in taken.entries.iter().filter(|entry| entry.was_parked) {
            // It was put aside, even if that was not confirmed here yet.
            core.held.left(lane.index, entry.id);
        }
        taken.entries.retain(|entry| entry.was_parked || !held.contains(&entry.id));
        after = last;
        let batch = hold(core, lane, taken);
        let counter = if again { &core.counters.recovered } else { &core.counters.claimed };
        counter.add(batch.iter().filter(|delivered| !delivered.lease.parked).count());
        let (killers, run): (Vec<_>, Vec<_>) =
            batch.into_iter().partition(|delivered| delivered.lease.killer);
        permit.send(Again::Run(run));
        for delivered in killers {
            keeper::bury(&outlets.settlements, delivered).await;
        }
        if after.is_none() {
            break;
        }
    }
    let mut readable = core.readable();
    let Some(permit) = place(&outlets.again, stop).await else { return Ok(()) };
    permit.send(Again::Open { lane: Arc::clone(lane), epoch, connection: connection.id });
    while ownership.is_taking() && core.reader_id() == connection.id {
        tokio::select! {
            biased;
            () = stopped(stop) => break,
            _ = readable.changed() => {}
            () = tokio::time::sleep(LOOK) => {}
        }
    }
    Ok(())
}

/// Closes the connection by which the stream was read before. What was on its way from there is not carried out any more.
async fn close(core: &Core, connection: &str, stop: &mut watch::Receiver<bool>) {
    let Some((id, address)) = connection.split_once(' ') else { return };
    let mut kill = cmd("CLIENT");
    kill.arg("KILL").arg("ID").arg(id).arg("ADDR").arg(address);
    let mut backoff = Backoff::new();
    loop {
        match core.link.send(&kill).await {
            Ok(closed) => {
                if reply::integer(&closed) != Some(0) {
                    // It lived, and learns only now that it is not the reader any more: so it is when the broker's clock jumped.
                    let (least, most) = FAREWELL;
                    tokio::time::sleep((core.settings.lease / 2).clamp(least, most)).await;
                }
                return;
            }
            Err(error) if error.is_transient() => {}
            Err(error) => {
                tracing::warn!(%error, "the connection of the reader before can't be closed: what it still reads comes late");
                return;
            }
        }
        tokio::select! {
            biased;
            () = stopped(stop) => return,
            () = backoff.wait() => {}
        }
    }
}

/// Lets another instance have the stream: begins nothing more of it, lets what runs end, hands back the rest. Says the lane.
async fn give_up(core: Arc<Core>, lane: Arc<Lane>, mut stop: watch::Receiver<bool>) -> usize {
    let Some(ownership) = lane.ownership() else { return lane.index };
    if !ownership.leave() {
        return lane.index;
    }
    core.changed_readable();
    let mut deadline = Some(Instant::now() + core.settings.shutdown_deadline);
    while core.is_read_outdated() || core.held.lowest(lane.index).is_some() {
        if !ownership.is_leaving() {
            return lane.index;
        }
        core.disowned.notify_one();
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            deadline = None;
            ownership.cut();
        }
        tokio::select! {
            biased;
            () = stopped(&mut stop) => return lane.index,
            () = tokio::time::sleep(QUIET) => {}
        }
    }
    // The reader may have another connection by now; then something may still come by the one that the broker knows.
    let quiet = ownership.connection().starts_with(&format!("{} ", core.reader_id()));
    disown(&core, &lane, quiet).await;
    tracing::info!(stream = %lane.stream, group = %core.names.group, "gave the stream up for another instance");
    lane.index
}

/// Lets another instance read the stream at once.
pub(crate) async fn disown(core: &Core, lane: &Lane, quiet: bool) {
    if let Err(error) = scripts::disown(&core.link, lane, &core.names.consumer, quiet).await {
        tracing::debug!(%error, stream = %lane.stream, "the stream has its next reader when the lease ends");
    }
    core.lose(lane);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// That the lease had ended was taken for nothing being pending, and what was new was read before it.
    #[cfg(feature = "embedded")]
    #[tokio::test]
    async fn who_is_not_the_reader_does_not_learn_that_nothing_is_pending() {
        use super::super::lane::{Routes, Source};
        use super::super::scripts::Owner;

        let bus = crate::Bus::connect("memory:who-is-not-the-reader").await.unwrap();
        let group: Arc<str> = "desk".into();
        let source = Source { topic: "flights", partition: None, ordered: true };
        let lane = Lane::new(0, source, &group, Arc::new(Routes::new()));
        for command in [
            "XGROUP CREATE flights desk 0 MKSTREAM",
            "XADD flights 1-1 n 1",
            "XREADGROUP GROUP desk dead STREAMS flights >",
        ] {
            let mut words = command.split(' ');
            let mut command = cmd(words.next().unwrap());
            words.for_each(|word| _ = command.arg(word));
            bus.link().send(&command).await.unwrap();
        }
        let pending = async || {
            let owner = Owner { group: "desk", consumer: "me" };
            let taken = scripts::take_all(bus.link(), &lane, owner, None, PAGE).await.unwrap();
            taken.map(|(taken, _)| taken.entries.len())
        };
        assert_eq!(pending().await, None);
        scripts::own(bus.link(), &lane, "me", 60_000, "7 1.2.3.4:5").await.unwrap().unwrap();
        assert_eq!(pending().await, Some(1));
    }

    #[test]
    fn an_address_is_found() {
        assert_eq!(address("id=7 addr=127.0.0.1:5 laddr=1.2.3.4:6 name=").as_deref(), Some("127.0.0.1:5"));
        assert_eq!(address(""), None);
    }
}
