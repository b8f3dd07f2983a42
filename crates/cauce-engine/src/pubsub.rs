//! Who listens to which channel, and what they are sent.

use std::collections::BTreeMap;

use cauce_resp::{Encoder, Protocol};
use foldhash::quality::FixedState;
use hashbrown::HashMap;

use crate::glob;
use crate::session::SessionId;

/// The three separate spaces of names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChannelKind {
    Channel,
    Pattern,
    Shard,
}

impl ChannelKind {
    /// The word of the confirmation frames: `subscribe`, `psubscribe`, `ssubscribe`.
    pub(crate) fn subscribe_word(self) -> &'static str {
        match self {
            Self::Channel => "subscribe",
            Self::Pattern => "psubscribe",
            Self::Shard => "ssubscribe",
        }
    }

    pub(crate) fn unsubscribe_word(self) -> &'static str {
        match self {
            Self::Channel => "unsubscribe",
            Self::Pattern => "punsubscribe",
            Self::Shard => "sunsubscribe",
        }
    }
}

type Subscribers = HashMap<Box<[u8]>, Vec<SessionId>, FixedState>;

/// All subscriptions, each name with its subscribers in the order in which they came.
#[derive(Debug)]
pub(crate) struct Subscriptions {
    channels: Subscribers,
    shards: Subscribers,
    patterns: BTreeMap<Box<[u8]>, Vec<SessionId>>,
}

impl Subscriptions {
    pub(crate) fn new(seed: u64) -> Self {
        let map = || HashMap::with_hasher(FixedState::with_seed(seed));
        Self { channels: map(), shards: map(), patterns: BTreeMap::new() }
    }

    /// Adds a subscription that the session does not have.
    pub(crate) fn add(&mut self, kind: ChannelKind, name: &[u8], session: SessionId) {
        match kind {
            ChannelKind::Channel => self.channels.entry(name.into()).or_default().push(session),
            ChannelKind::Shard => self.shards.entry(name.into()).or_default().push(session),
            ChannelKind::Pattern => self.patterns.entry(name.into()).or_default().push(session),
        }
    }

    /// Removes a subscription that the session has.
    pub(crate) fn remove(&mut self, kind: ChannelKind, name: &[u8], session: SessionId) {
        let left = |subscribers: &mut Vec<SessionId>| {
            subscribers.retain(|&other| other != session);
            subscribers.len()
        };
        match kind {
            ChannelKind::Channel | ChannelKind::Shard => {
                let map = if kind == ChannelKind::Shard { &mut self.shards } else { &mut self.channels };
                if map.get_mut(name).map(left) == Some(0) {
                    map.remove(name);
                }
            }
            ChannelKind::Pattern => {
                if self.patterns.get_mut(name).map(left) == Some(0) {
                    self.patterns.remove(name);
                }
            }
        }
    }

    /// The subscribers of a channel or shard channel (not of the patterns that match it).
    pub(crate) fn of(&self, kind: ChannelKind, name: &[u8]) -> &[SessionId] {
        let found = match kind {
            ChannelKind::Channel => self.channels.get(name),
            ChannelKind::Shard => self.shards.get(name),
            ChannelKind::Pattern => self.patterns.get(name),
        };
        found.map(Vec::as_slice).unwrap_or_default()
    }

    /// The patterns that match a channel, each with its subscribers.
    pub(crate) fn matching<'a>(
        &'a self,
        channel: &'a [u8],
    ) -> impl Iterator<Item = (&'a [u8], &'a [SessionId])> {
        let matching = self.patterns.iter().filter(move |(pattern, _)| glob::matches(pattern, channel));
        matching.map(|(pattern, subscribers)| (&**pattern, subscribers.as_slice()))
    }

    /// The names in use, sorted, of channels or shard channels.
    pub(crate) fn names(&self, kind: ChannelKind) -> Vec<&[u8]> {
        let map = if kind == ChannelKind::Shard { &self.shards } else { &self.channels };
        let mut names: Vec<&[u8]> = map.keys().map(|name| &**name).collect();
        names.sort_unstable();
        names
    }

    /// How many different patterns are subscribed to.
    pub(crate) fn pattern_count(&self) -> usize {
        self.patterns.len()
    }
}

/// The frame of a message, written once per protocol.
pub(crate) fn write_message(
    buffer: &mut Vec<u8>,
    protocol: Protocol,
    kind: ChannelKind,
    pattern: &[u8],
    channel: &[u8],
    body: &[u8],
) {
    let mut frame = Encoder::new(buffer, protocol);
    match kind {
        ChannelKind::Channel | ChannelKind::Shard => {
            frame.push(3);
            frame.bulk(if kind == ChannelKind::Shard { b"smessage" } else { b"message" });
        }
        ChannelKind::Pattern => {
            frame.push(4);
            frame.bulk(b"pmessage");
            frame.bulk(pattern);
        }
    }
    frame.bulk(channel);
    frame.bulk(body);
}
