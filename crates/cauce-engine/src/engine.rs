//! The engine: its state, and the calls that change it.

mod blocks;
mod dispatch;
mod forget;
mod permissions;
mod replay;
mod snapshot;
mod touched;
mod wake;

pub use blocks::AbsentBlock;
pub(crate) use blocks::Fetching;
pub use snapshot::{BlockStore, Snapshot};

use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use crate::blocking::{Blocked, Waiters};
use crate::command::CommandTable;
use crate::commands;
use crate::config::Settings;
use crate::keyspace::Database;
use crate::outputs::{Outcome, Outputs, Position};
use crate::pubsub::{ChannelKind, Subscriptions};
use crate::random::Random;
use crate::records::ReplayError;
use crate::script::{ScriptWatch, Scripts};
use crate::session::{Session, SessionId, SessionInfo};
use crate::time::Timestamp;
use crate::users::{DenialLog, Users};

/// A Redis-compatible event broker without its input and output. See the crate's documentation.
#[derive(Debug)]
pub struct Engine {
    core: Core,
}

/// What the broker measures and `INFO` shows.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct Gauges {
    /// Bytes of memory in use by the process.
    pub memory_bytes: u64,
    /// Bytes received from all connections so far.
    pub received_bytes: u64,
    /// Bytes sent to all connections so far.
    pub sent_bytes: u64,
    /// Connections refused so far.
    pub rejected_connections: u64,
    /// The log has no room: commands that write are refused.
    pub log_full: bool,
}

/// What the broker knows of its log and `INFO persistence` shows.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct LogGauges {
    /// Records appended so far.
    pub appended: u64,
    /// The last record that is known to be on disk.
    pub synced: u64,
    /// Bytes appended and not written yet.
    pub waiting_bytes: u64,
    /// Files that hold records.
    pub segments: u64,
    /// Bytes of all files.
    pub disk_bytes: u64,
    /// Syncs so far.
    pub syncs: u64,
    /// How long the last one took, in microseconds.
    pub last_sync_micros: u64,
    /// Blocks of streams that the last checkpoint names on disk.
    pub blocks_on_disk: u64,
    /// Bytes of the files that they are in.
    pub block_disk_bytes: u64,
    /// How many took a tenth of a second or longer.
    pub slow_syncs: u64,
}

impl Engine {
    /// An empty engine.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { core: Core::new(settings) }
    }

    /// Takes in a new connection. Ids must not be used twice.
    pub fn open_session(&mut self, now: Timestamp, id: SessionId, info: SessionInfo) {
        self.core.open_session(now, id, info);
    }

    /// Lets a connection go: its subscriptions, watches and waiting end.
    pub fn close_session(&mut self, id: SessionId) {
        self.core.close_session(id);
    }

    /// Runs one command of a session; `args[0]` is its name. Replies and effects are appended to `out`.
    ///
    /// The session must be open and not blocked. Whoever else is concerned (subscribers, clients that waited
    /// for data) is served before this returns: see [`Outputs::deliveries`].
    pub fn apply(&mut self, now: Timestamp, by: SessionId, args: &[&[u8]], out: &mut Outputs) -> Outcome {
        let outcome = self.core.dispatch(now, by, args, out);
        self.finish_apply(now, out);
        outcome
    }

    /// What follows every command.
    fn finish_apply(&mut self, now: Timestamp, out: &mut Outputs) {
        // Before others are served, who may have pushes of their own.
        out.replies.append(&mut self.core.own_pushes);
        self.core.serve_ready(now, out);
        out.records.end_unit();
        self.core.let_blocks_go();
    }

    /// Does what is due: removes expired keys (a bounded number per call) and ends waits that took too long.
    /// To be called when [`Engine::next_deadline`] is reached; calling it more often does no harm.
    pub fn tick(&mut self, now: Timestamp, out: &mut Outputs) {
        self.core.end_overdue_waits(now, out);
        self.core.serve_claims(now, out);
        self.core.expire_due(now, out);
        self.core.forget_marks(now, out);
        self.core.serve_ready(now, out);
        out.records.end_unit();
        self.core.let_blocks_go();
    }

    /// When [`Engine::tick`] has something to do next, if ever.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let waits = self.core.waiters.next_deadline().map(|(at, _)| at);
        let expiries = self.core.databases.iter().filter_map(|db| db.next_expiry().map(|(at, _)| at));
        let claims = self.core.waiters.next_claim().map(|(at, _)| at);
        let marks = self.core.forgetting.next();
        waits.into_iter().chain(expiries).chain(claims).chain(marks).min()
    }

    /// Applies a record of an earlier run. To be called before any session is opened.
    ///
    /// # Errors
    /// [`ReplayError`] if the record cannot belong here; the engine is then in no defined state.
    pub fn replay(&mut self, record: &[u8]) -> Result<(), ReplayError> {
        self.core.replay(record)
    }

    /// The whole state as it is now, to be written down while commands go on. What it costs at once grows with
    /// the number of keys by a step per 128 of them; the first change of each page behind it copies the page.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.core.snapshot()
    }

    /// The same for a checkpoint: it knows what changed since the one before ([`Snapshot::write_changes`]), and what changes
    /// from now on is noted for the next one.
    #[must_use]
    pub fn snapshot_for_checkpoint(&mut self) -> Snapshot {
        self.core.snapshot_for_checkpoint()
    }

    /// Takes in one record of a [`Snapshot`], in their order, before any session is opened. When all are in,
    /// [`Engine::restored`] says where the log goes on.
    ///
    /// # Errors
    /// [`ReplayError`] if the record cannot belong here; the engine is then in no defined state.
    pub fn restore(&mut self, record: &[u8]) -> Result<(), ReplayError> {
        self.core.restore(record)
    }

    /// Ends restoring: the records after `position` are to be replayed next.
    pub fn restored(&mut self, position: Position) {
        self.core.position = position;
        self.core.touched = touched::Touched::since(position, self.core.databases.len());
    }

    /// The whole keyspace as canonical bytes: equal states give equal bytes, whatever way led to them.
    #[must_use]
    pub fn dump(&self) -> Vec<u8> {
        self.core.dump()
    }

    /// How many records were emitted or replayed so far.
    #[must_use]
    pub fn position(&self) -> Position {
        self.core.position
    }

    /// Hands in what `INFO` shows and `maxmemory` is compared with.
    pub fn set_gauges(&mut self, gauges: Gauges) {
        self.core.gauges = gauges;
    }

    /// Hands in who watches scripts that do not end. Without a watch nothing ends them.
    pub fn set_script_watch(&mut self, watch: Box<dyn ScriptWatch>) {
        self.core.scripts.watch.0 = Some(watch);
    }

    /// Hands in what `INFO persistence` shows.
    pub fn set_log_gauges(&mut self, gauges: LogGauges) {
        self.core.log_gauges = gauges;
    }

    /// The settings in force.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.core.settings
    }

    /// Whether a session may use the server beyond authenticating; false for an unknown one.
    #[must_use]
    pub fn is_authenticated(&self, id: SessionId) -> bool {
        let core = &self.core;
        core.sessions.get(&id).is_some_and(|session| !core.needs_authentication(session))
    }

    /// Whether a session has subscriptions; false for an unknown one.
    #[must_use]
    pub fn is_subscriber(&self, id: SessionId) -> bool {
        self.core.sessions.get(&id).is_some_and(|session| session.subscriptions() > 0)
    }
}

pub(crate) type Sessions = HashMap<SessionId, Session, FixedState>;

/// Counters that only ever grow.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    pub(crate) commands: u64,
    pub(crate) connections: u64,
    pub(crate) expired_keys: u64,
    pub(crate) errors: u64,
}

/// The state.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) databases: Vec<Database>,
    pub(crate) settings: Settings,
    pub(crate) sessions: Sessions,
    pub(crate) subscriptions: Subscriptions,
    pub(crate) waiters: Waiters,
    pub(crate) watchers: Watchers,
    pub(crate) forgetting: forget::Forgetting,
    pub(crate) users: Arc<Users>,
    pub(crate) denials: DenialLog,
    /// What makes generated passwords differ.
    pub(crate) passwords_made: u64,
    pub(crate) table: CommandTable,
    pub(crate) position: Position,
    pub(crate) gauges: Gauges,
    pub(crate) log_gauges: LogGauges,
    pub(crate) stats: Stats,
    pub(crate) scripts: Scripts,
    /// What SPOP and its like choose by.
    pub(crate) random: Random,
    pub(crate) started_at: Option<Timestamp>,
    /// What TIME said last.
    pub(crate) told_time: Timestamp,
    /// Pushes that the running command causes for its own session: sent after its reply.
    pub(crate) own_pushes: Vec<u8>,
    /// The reply of a woken command, before it is known that it does not wait again.
    scratch: Vec<u8>,
    /// What the running command needs and is on disk only.
    pub(crate) absent: Vec<AbsentBlock>,
    /// The next command that is called may wait for blocks.
    may_fetch: bool,
    pub(crate) block_memory: blocks::BlockMemory,
    block_files: blocks::Files,
    /// What changed since the last checkpoint.
    pub(crate) touched: touched::Touched,
}

impl Core {
    pub(crate) fn new(settings: Settings) -> Self {
        let seed = settings.hash_seed;
        let table = CommandTable::new(commands::FAMILIES);
        Self {
            databases: (0..settings.databases).map(|_| Database::new(seed)).collect(),
            subscriptions: Subscriptions::new(seed),
            waiters: Waiters::new(settings.databases),
            sessions: Sessions::default(),
            watchers: Watchers::default(),
            forgetting: forget::Forgetting::default(),
            users: Arc::new(Users::new(&table, &settings.requirepass)),
            settings,
            denials: DenialLog::default(),
            passwords_made: 0,
            table,
            position: Position::default(),
            gauges: Gauges::default(),
            log_gauges: LogGauges::default(),
            stats: Stats::default(),
            scripts: Scripts::new(seed),
            random: Random::new(seed),
            started_at: None,
            told_time: Timestamp::default(),
            own_pushes: Vec::new(),
            scratch: Vec::new(),
            absent: Vec::new(),
            may_fetch: false,
            block_memory: blocks::BlockMemory::default(),
            block_files: blocks::Files::default(),
            touched: touched::Touched::default(),
        }
    }

    /// See [`Engine::open_session`].
    pub(crate) fn open_session(&mut self, now: Timestamp, id: SessionId, info: SessionInfo) {
        self.started_at.get_or_insert(now);
        self.stats.connections += 1;
        let user = Arc::clone(self.users.default_user());
        let before = self.sessions.insert(id, Session::new(id, info, now, user));
        assert!(before.is_none(), "session ids are used once");
    }

    /// See [`Engine::close_session`].
    pub(crate) fn close_session(&mut self, id: SessionId) {
        self.unblock(id);
        self.unwatch(id);
        for kind in [ChannelKind::Channel, ChannelKind::Pattern, ChannelKind::Shard] {
            self.unsubscribe_all(id, kind);
        }
        self.sessions.remove(&id);
    }

    /// Whether commands that need memory are refused.
    pub(crate) fn memory_is_full(&self) -> bool {
        self.settings.maxmemory > 0 && self.gauges.memory_bytes > self.settings.maxmemory
    }

    pub(crate) fn session(&self, id: SessionId) -> &Session {
        self.sessions.get(&id).expect("the session of a running command is open")
    }

    pub(crate) fn session_mut(&mut self, id: SessionId) -> &mut Session {
        self.sessions.get_mut(&id).expect("the session of a running command is open")
    }

    pub(crate) fn database(&self, index: usize) -> &Database {
        self.databases.get(index).expect("a session's database exists")
    }

    pub(crate) fn database_mut(&mut self, index: usize) -> &mut Database {
        self.databases.get_mut(index).expect("a session's database exists")
    }

    /// Exchanges the keys of two databases; `None` if one of them does not exist.
    pub(crate) fn swap_databases(&mut self, one: usize, other: usize) -> Option<()> {
        if one.max(other) >= self.databases.len() {
            return None;
        }
        self.databases.swap(one, other);
        let position = self.position;
        for index in [one, other] {
            let database = self.database_mut(index);
            database.changed_at = position;
            database.removed_at = position;
        }
        Some(())
    }

    /// Forgets what a session watches.
    pub(crate) fn unwatch(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        session.watch_broken = false;
        for (database, key) in std::mem::take(&mut session.watched) {
            self.watchers.remove(database, &key, id);
        }
    }

    /// Ends all subscriptions of one kind; returns their names.
    pub(crate) fn unsubscribe_all(&mut self, id: SessionId, kind: ChannelKind) -> Vec<Box<[u8]>> {
        let Some(session) = self.sessions.get_mut(&id) else { return Vec::new() };
        let names = std::mem::take(session.names_mut(kind));
        for name in &names {
            self.subscriptions.remove(kind, name, id);
        }
        names.into_iter().collect()
    }

    /// Takes a session out of waiting, if it waits; returns what it waited with.
    pub(crate) fn unblock(&mut self, id: SessionId) -> Option<Blocked> {
        let blocked = self.sessions.get_mut(&id)?.blocked.take()?;
        self.waiters.remove(id, &blocked);
        Some(blocked)
    }
}

/// Which sessions watch which keys.
#[derive(Debug, Default)]
pub(crate) struct Watchers {
    by_key: HashMap<(usize, Box<[u8]>), Vec<SessionId>, FixedState>,
}

impl Watchers {
    pub(crate) fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    pub(crate) fn add(&mut self, database: usize, key: &[u8], session: SessionId) {
        self.by_key.entry((database, key.into())).or_default().push(session);
    }

    fn remove(&mut self, database: usize, key: &[u8], session: SessionId) {
        let place = (database, Box::from(key));
        if let Some(sessions) = self.by_key.get_mut(&place) {
            sessions.retain(|&other| other != session);
            if sessions.is_empty() {
                self.by_key.remove(&place);
            }
        }
    }

    /// Breaks the transactions of those who watch a key.
    pub(crate) fn break_key(&self, database: usize, key: &[u8], sessions: &mut Sessions) {
        for id in self.by_key.get(&(database, key.into())).map(Vec::as_slice).unwrap_or_default() {
            if let Some(session) = sessions.get_mut(id) {
                session.watch_broken = true;
            }
        }
    }

    /// The watched keys of a database, in no particular order.
    pub(crate) fn keys_of(&self, database: usize) -> impl Iterator<Item = &[u8]> {
        self.by_key.keys().filter(move |(db, _)| *db == database).map(|(_, key)| &**key)
    }
}
