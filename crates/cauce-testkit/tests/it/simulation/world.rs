//! The lives of a broker, one after the other, on one disk.

use std::cell::{RefCell, RefMut};
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hasher};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use cauce_broker::{Broker, ClockSource, Config, FaultyStorage, Outage, SyncPolicy, Threads};
use cauce_log::OpenError;
use futures_util::FutureExt;
use tokio::task::LocalSet;
use tokio::time::Instant;

use super::client::Client;
use super::clients::{CAST, Player};
use super::ledger::{GROUPS, Ledger, STREAMS};

const LIVES: usize = 5;
const EIO: i32 = 5;
const ENOSPC: i32 = 28;
/// 2023-11-14, in seconds since 1970.
const BEGINNING: u64 = 1_700_000_000;

/// How a history goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Setup {
    pub(super) seed: u64,
    /// Drawn by the seed if it is not given.
    pub(super) policy: Option<SyncPolicy>,
    /// The disk confirms syncs and does not do them.
    pub(super) lies: bool,
    /// What was answered counts as promised against power cuts too, whatever the policy says.
    pub(super) promised: bool,
    /// Every step is printed.
    pub(super) printed: bool,
}

impl Setup {
    pub(super) fn of(seed: u64) -> Self {
        Self { seed, policy: None, lies: false, promised: false, printed: false }
    }
}

/// What happened in a history.
#[derive(Debug)]
pub(super) struct History {
    /// Of every step.
    pub(super) digest: u64,
    pub(super) seen: Seen,
}

/// How often things happened.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) added: u64,
    pub(super) acknowledged: u64,
    pub(super) claimed: u64,
    pub(super) woken: u64,
    pub(super) popped: u64,
    pub(super) checkpoints: u64,
    pub(super) failures: u64,
    pub(super) power_cuts: u64,
    pub(super) kills: u64,
    pub(super) states_compared: u64,
}

impl Seen {
    pub(super) fn add(&mut self, other: &Self) {
        self.added += other.added;
        self.acknowledged += other.acknowledged;
        self.claimed += other.claimed;
        self.woken += other.woken;
        self.popped += other.popped;
        self.checkpoints += other.checkpoints;
        self.failures += other.failures;
        self.power_cuts += other.power_cuts;
        self.kills += other.kills;
        self.states_compared += other.states_compared;
    }
}

/// What the clients of one life share.
#[derive(Clone)]
pub(super) struct Scene {
    pub(super) broker: Broker,
    pub(super) life: usize,
    common: Rc<RefCell<Common>>,
}

#[derive(Debug, Default)]
struct Common {
    ledger: Ledger,
    seen: Seen,
    digest: u64,
    printed: bool,
}

impl Scene {
    pub(super) fn ledger(&self) -> RefMut<'_, Ledger> {
        RefMut::map(self.common.borrow_mut(), |common| &mut common.ledger)
    }

    pub(super) fn seen(&self) -> RefMut<'_, Seen> {
        RefMut::map(self.common.borrow_mut(), |common| &mut common.seen)
    }

    /// Takes a step down.
    pub(super) fn note(&self, line: impl FnOnce() -> String) {
        self.common.borrow_mut().note(line);
    }
}

impl Common {
    fn note(&mut self, line: impl FnOnce() -> String) {
        let line = line();
        self.digest = digest(self.digest, line.as_bytes());
        if self.printed {
            println!("{line}");
        }
    }
}

/// Equal in every run and on every machine: the hasher's keys are fixed.
fn digest(before: u64, bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write_u64(before);
    hasher.write(bytes);
    hasher.finish()
}

/// How a life ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The process stops in order.
    Peace,
    Kill,
    PowerCut,
}

pub(super) struct World {
    setup: Setup,
    policy: SyncPolicy,
    rng: fastrand::Rng,
    storage: FaultyStorage,
    /// Since 1970, at the beginning of the next life.
    time: Duration,
    common: Rc<RefCell<Common>>,
    /// What the states of the last life were, by position.
    states: BTreeMap<u64, u64>,
}

impl World {
    pub(super) fn new(setup: Setup) -> Self {
        let mut rng = fastrand::Rng::with_seed(setup.seed);
        let drawn = match rng.u8(..8) {
            0 => SyncPolicy::EverySecond,
            1 => SyncPolicy::Off,
            _ => SyncPolicy::Always,
        };
        let storage = FaultyStorage::new(rng.u64(..));
        if setup.lies {
            storage.lie_about_syncs();
        }
        let common = Common { printed: setup.printed, ..Common::default() };
        Self {
            setup,
            policy: setup.policy.unwrap_or(drawn),
            rng,
            storage,
            time: Duration::from_secs(BEGINNING),
            common: Rc::new(RefCell::new(common)),
            states: BTreeMap::new(),
        }
    }

    pub(super) fn run(mut self) -> Result<History, String> {
        for life in 0..LIVES {
            self.live(life, false)?;
        }
        self.live(LIVES, true)?;
        let common = self.common.borrow();
        Ok(History { digest: common.digest, seen: common.seen.clone() })
    }

    /// One life; the last one is only looked at.
    fn live(&mut self, life: usize, last: bool) -> Result<(), String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        let runtime = runtime.expect("the system has room for a runtime");
        let clients = LocalSet::new();
        let (broker, end, lasted) = runtime.block_on(clients.run_until(async {
            let born = Instant::now();
            let opened = self.open(last)?;
            let end = match &opened {
                Some(broker) => self.act(broker, life, last).await,
                None => self.draw_end(false),
            };
            Ok::<_, String>((opened, end, born.elapsed()))
        }))?;
        if end != End::Peace {
            self.storage.switch_off();
        }
        // Clients first, then the connections' other ends.
        drop(clients);
        drop(runtime);
        if end == End::Peace {
            self.remember(broker.as_ref());
        }
        drop(broker);
        self.end(end, lasted);
        self.common.borrow_mut().ledger.problem.take().map_or(Ok(()), Err)
    }

    /// Opens the broker; nothing if the disk refuses even that.
    fn open(&mut self, last: bool) -> Result<Option<Broker>, String> {
        self.storage.set_capacity(u64::MAX);
        if !last && self.rng.u8(..6) == 0 {
            self.plan_outages(12);
        }
        let storage = Arc::new(self.storage.clone());
        let broker = match Broker::open_storage(storage, self.config()) {
            Ok((broker, _)) => broker,
            Err(OpenError::Io { .. }) if !last => return Ok(None),
            Err(error) => return Err(format!("it cannot be opened: {error}")),
        };
        let (position, state) = broker.dump();
        self.common.borrow_mut().note(|| format!("opened at {position}"));
        if let Some(&before) = self.states.get(&position) {
            if digest(0, &state) != before {
                return Err(format!(
                    "the state at {position} is not the one that its records were made with"
                ));
            }
            self.common.borrow_mut().seen.states_compared += 1;
        }
        self.states.clear();
        Ok(Some(broker))
    }

    fn config(&self) -> Config {
        let mut config = Config::default();
        config.clock = ClockSource::RuntimeFrom(self.time);
        config.sync = self.policy;
        config.threads = Threads::Caller;
        config.segment_bytes = 16 * 1024;
        config.settings.secret = [7; 32];
        config.settings.stream_node_max_entries = 8;
        config
    }

    async fn act(&mut self, broker: &Broker, life: usize, last: bool) -> End {
        let scene = Scene { broker: broker.clone(), life, common: Rc::clone(&self.common) };
        let mut ledger = std::mem::take(&mut *scene.ledger());
        let checked = ledger.check(&mut Client::new(broker)).await;
        *scene.ledger() = ledger;
        // Opening may have been the moment of an outage.
        if checked.is_err() || last {
            return self.draw_end(last);
        }
        tokio::task::spawn_local(make_groups(scene.clone()));
        for (number, role) in CAST.into_iter().enumerate() {
            let player = Player::new(scene.clone(), number, self.rng.fork());
            tokio::task::spawn_local(player.play(role));
        }
        if self.rng.u8(..3) > 0 {
            self.plan_outages(250);
        }
        let until = Instant::now() + Duration::from_millis(self.rng.u64(2..100));
        let mut failed = false;
        while Instant::now() < until && !self.storage.is_off() && scene.ledger().problem.is_none() && !failed
        {
            tokio::time::sleep(Duration::from_micros(self.rng.u64(50..2500))).await;
            broker.work();
            if self.rng.bool() {
                self.remember(Some(broker));
            }
            if self.rng.u8(..24) == 0 && broker.checkpoint().is_ok_and(|bytes| bytes > 0) {
                scene.note(|| "checkpoint".to_owned());
                scene.seen().checkpoints += 1;
            }
            failed = broker.failed().now_or_never().is_some();
        }
        scene.seen().failures += u64::from(failed);
        self.draw_end(!failed && !self.storage.is_off())
    }

    fn remember(&mut self, broker: Option<&Broker>) {
        if let Some((position, state)) = broker.map(Broker::dump) {
            self.states.insert(position, digest(0, &state));
        }
    }

    fn keeps_promises_without_power(&self) -> bool {
        self.policy == SyncPolicy::Always || self.setup.promised
    }

    fn draw_end(&mut self, in_order: bool) -> End {
        match self.rng.u8(..5) {
            _ if self.storage.is_off() => End::PowerCut,
            0 if in_order => End::Peace,
            0..3 if self.keeps_promises_without_power() => End::PowerCut,
            _ => End::Kill,
        }
    }

    fn end(&mut self, end: End, lasted: Duration) {
        let mut common = self.common.borrow_mut();
        common.note(|| format!("{end:?}"));
        if end == End::PowerCut {
            self.storage.cut_power();
            common.seen.power_cuts += 1;
            if !self.keeps_promises_without_power() {
                common.ledger.forget();
                self.states.clear();
            }
        } else {
            // What was planned and did not happen is forgotten.
            self.storage.switch_on();
            common.seen.kills += u64::from(end == End::Kill);
        }
        self.time += lasted + Duration::from_micros(self.rng.u64(..3_000_000));
        if self.rng.u8(..8) == 0 {
            // The clock is set back.
            self.time -= Duration::from_secs(2);
        }
    }

    fn plan_outages(&mut self, within: u64) {
        let now = self.storage.calls();
        for _ in 0..self.rng.usize(1..3) {
            let outage = match self.rng.u8(..6) {
                0 | 1 if self.keeps_promises_without_power() => Outage::Power,
                2 => Outage::Error(ENOSPC),
                _ => Outage::Error(EIO),
            };
            self.storage.plan(now + self.rng.u64(1..within), outage);
        }
        if self.rng.u8(..4) == 0 {
            self.storage.set_capacity(self.rng.u64(40_000..200_000));
        }
    }
}

async fn make_groups(scene: Scene) {
    let mut client = Client::new(&scene.broker);
    for (stream, group) in STREAMS.into_iter().flat_map(|stream| GROUPS.map(|group| (stream, group))) {
        if client.call(&["XGROUP", "CREATE", stream, group, "0", "MKSTREAM"]).await.is_err() {
            return;
        }
    }
}
