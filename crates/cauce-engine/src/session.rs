//! Connections as the engine sees them.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use cauce_resp::Protocol;

use crate::blocking::Blocked;
use crate::command::{CommandSpec, Flags};
use crate::engine::Fetching;
use crate::pubsub::ChannelKind;
use crate::time::Timestamp;
use crate::users::User;

/// A connection: what Redis calls the client id. The caller gives each connection a new one, counting up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(u64);

impl SessionId {
    /// The engine itself, where it acts on its own (expiry). No connection has this id.
    pub(crate) const NOBODY: Self = Self(0);

    /// The id of the `id`-th connection.
    #[must_use]
    pub const fn new(id: u64) -> Self {
        Self(id)
    }

    /// The number that `CLIENT ID` shows.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What the broker knows of a connection and `CLIENT LIST` shows.
#[derive(Debug, Clone, Default)]
pub struct SessionInfo {
    /// Address of the peer.
    pub address: String,
    /// Address that the peer connected to.
    pub local_address: String,
    /// The file descriptor, or 0 for connections without one.
    pub descriptor: i64,
    /// The peer has proven otherwise that it may do what the default user may: it needs no password.
    pub trusted: bool,
}

/// Commands queued between `MULTI` and `EXEC`.
#[derive(Debug, Default)]
pub(crate) struct Transaction {
    pub(crate) commands: Vec<Queued>,
    /// A command could not be queued: `EXEC` will refuse.
    pub(crate) refused: bool,
}

/// One queued command; its arguments were checked for existence and arity.
#[derive(Debug)]
pub(crate) struct Queued {
    pub(crate) spec: &'static CommandSpec,
    pub(crate) args: Vec<Box<[u8]>>,
}

/// What `CLIENT REPLY` asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum ReplyMode {
    #[default]
    On,
    Off,
    /// `SKIP` was just sent: the next command's reply is left out.
    SkipNext,
    /// This command's reply is left out.
    SkipThis,
}

/// The state of one connection.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) id: SessionId,
    pub(crate) info: SessionInfo,
    pub(crate) opened_at: Timestamp,
    pub(crate) active_at: Timestamp,
    pub(crate) last_command: &'static str,
    pub(crate) authenticated: bool,
    pub(crate) user: Arc<User>,
    pub(crate) protocol: Protocol,
    pub(crate) database: usize,
    pub(crate) name: Box<[u8]>,
    pub(crate) library_name: Box<[u8]>,
    pub(crate) library_version: Box<[u8]>,
    pub(crate) reply_mode: ReplyMode,
    pub(crate) transaction: Option<Transaction>,
    /// Watched keys, each with its database.
    pub(crate) watched: Vec<(usize, Box<[u8]>)>,
    /// A watched key changed: `EXEC` will answer null.
    pub(crate) watch_broken: bool,
    pub(crate) channels: BTreeSet<Box<[u8]>>,
    pub(crate) patterns: BTreeSet<Box<[u8]>>,
    pub(crate) shard_channels: BTreeSet<Box<[u8]>>,
    pub(crate) blocked: Option<Blocked>,
    /// The command that waits for blocks to be read from disk.
    pub(crate) fetching: Option<Fetching>,
    pub(crate) no_evict: bool,
    pub(crate) no_touch: bool,
}

impl Session {
    pub(crate) fn new(id: SessionId, info: SessionInfo, now: Timestamp, user: Arc<User>) -> Self {
        Self {
            id,
            authenticated: info.trusted || user.needs_no_password(),
            info,
            opened_at: now,
            active_at: now,
            last_command: "NULL",
            user,
            protocol: Protocol::Resp2,
            database: 0,
            name: Box::default(),
            library_name: Box::default(),
            library_version: Box::default(),
            reply_mode: ReplyMode::On,
            transaction: None,
            watched: Vec::new(),
            watch_broken: false,
            channels: BTreeSet::new(),
            patterns: BTreeSet::new(),
            shard_channels: BTreeSet::new(),
            blocked: None,
            fetching: None,
            no_evict: false,
            no_touch: false,
        }
    }

    /// Whether a command, or what it executes of this session's transaction, is one that writes.
    pub(crate) fn would_write(&self, spec: &CommandSpec) -> bool {
        let queued = self.transaction.as_ref().filter(|_| spec.name == "exec");
        let writes = |spec: &CommandSpec| spec.flags.has(Flags::WRITE);
        writes(spec) || queued.is_some_and(|queue| queue.commands.iter().any(|queued| writes(queued.spec)))
    }

    /// Subscriptions of all kinds.
    pub(crate) fn subscriptions(&self) -> usize {
        self.channels.len() + self.patterns.len() + self.shard_channels.len()
    }

    /// The session's subscriptions of one kind.
    pub(crate) fn names(&self, kind: ChannelKind) -> &BTreeSet<Box<[u8]>> {
        match kind {
            ChannelKind::Channel => &self.channels,
            ChannelKind::Pattern => &self.patterns,
            ChannelKind::Shard => &self.shard_channels,
        }
    }

    pub(crate) fn names_mut(&mut self, kind: ChannelKind) -> &mut BTreeSet<Box<[u8]>> {
        match kind {
            ChannelKind::Channel => &mut self.channels,
            ChannelKind::Pattern => &mut self.patterns,
            ChannelKind::Shard => &mut self.shard_channels,
        }
    }

    /// Whether only subscription commands are allowed (RESP2 with a subscription).
    pub(crate) fn is_subscriber_only(&self) -> bool {
        self.protocol == Protocol::Resp2 && self.subscriptions() > 0
    }
}
