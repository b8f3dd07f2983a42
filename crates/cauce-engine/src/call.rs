//! What a command's handler works with: the state, its session, and where replies and effects go.

use std::sync::Arc;

use cauce_resp::{Encoder, Protocol};

use crate::blocking::BlockRequest;
use crate::encoding::Encoding;
use crate::engine::Core;
use crate::errors::{self, Error};
use crate::keyspace::{Collection, Database, Object, Slot};
use crate::notify::NotifyClasses;
use crate::outputs::{DeliveryKind, Outputs, Position};
use crate::pubsub::{self, ChannelKind};
use crate::records::{CollectionEffect, Effect, Wakes};
use crate::session::{Session, SessionId};
use crate::stream::Stream;
use crate::time::Timestamp;

/// How a handler ended.
#[derive(Debug)]
pub(crate) enum Flow {
    /// Its reply is written.
    Done,
    /// It wants to wait; nothing is written. Only asked for while [`Call::may_block`].
    Block(BlockRequest),
    /// Its reply is written and the connection ends.
    Close,
    /// The broker is to end; nothing is written.
    Shutdown,
}

/// One running command.
pub(crate) struct Call<'a> {
    pub(crate) now: Timestamp,
    pub(crate) by: SessionId,
    pub(crate) db: usize,
    /// False inside a transaction: a blocking command then answers as if it had timed out.
    pub(crate) may_block: bool,
    /// The command may be run again when the blocks are there that it needs; else it reads them at once.
    pub(crate) may_fetch: bool,
    /// False for a client that asked with `CLIENT NO-TOUCH` that its commands be no accesses to the keys.
    pub(crate) touches: bool,
    pub(crate) core: &'a mut Core,
    pub(crate) reply: Encoder<'a>,
    pub(crate) effects: Effects<'a>,
}

/// Where everything but the reply goes.
pub(crate) struct Effects<'a> {
    pub(crate) out: &'a mut Outputs,
    /// The newest record that the reply depends on.
    pub(crate) after: Position,
}

impl<'a> Call<'a> {
    /// What the engine does by itself, in nobody's name; nobody reads the reply.
    pub(crate) fn of_nobody(
        core: &'a mut Core,
        now: Timestamp,
        db: usize,
        reply: &'a mut Vec<u8>,
        out: &'a mut Outputs,
    ) -> Self {
        Self {
            now,
            by: SessionId::NOBODY,
            db,
            may_block: false,
            may_fetch: false,
            touches: true,
            core,
            reply: Encoder::new(reply, Protocol::Resp2),
            effects: Effects { out, after: Position::default() },
        }
    }

    // Sessions.

    pub(crate) fn session(&self) -> &Session {
        self.core.session(self.by)
    }

    pub(crate) fn session_mut(&mut self) -> &mut Session {
        self.core.session_mut(self.by)
    }

    /// Changes the protocol of the session and of the reply that is being written.
    pub(crate) fn set_protocol(&mut self, protocol: Protocol) {
        self.session_mut().protocol = protocol;
        self.reply.set_protocol(protocol);
    }

    // Keys.

    pub(crate) fn database(&mut self) -> &mut Database {
        self.core.database_mut(self.db)
    }

    /// Finds a key that exists now; one that has expired is removed first. The reply will wait for the key's
    /// newest record, or, if there is no such key, for the newest removal.
    pub(crate) fn find(&mut self, key: &[u8]) -> Option<Slot> {
        let slot = self.peek(key)?;
        if self.touches {
            // Enough until the year 2106.
            let now_s = self.now.seconds() as u32;
            self.core.database(self.db).entry(slot).accessed.set(now_s);
        }
        Some(slot)
    }

    /// The same, but not noted as an access to the key (`OBJECT IDLETIME`).
    pub(crate) fn peek(&mut self, key: &[u8]) -> Option<Slot> {
        let now = self.now;
        let database = self.core.database_mut(self.db);
        let Some(slot) = database.slot(key) else {
            self.effects.after = self.effects.after.max(database.removed_at);
            return None;
        };
        let entry = database.entry(slot);
        if entry.expires_at.is_some_and(|at| at <= now) {
            self.expire(slot);
            return None;
        }
        self.effects.after = self.effects.after.max(entry.position);
        Some(slot)
    }

    /// Finds a stream; another type is an error.
    pub(crate) fn find_stream(&mut self, key: &[u8]) -> Result<Option<Slot>, Error> {
        let Some(slot) = self.find(key) else { return Ok(None) };
        match self.object(slot) {
            Object::Stream(_) => Ok(Some(slot)),
            _ => Err(errors::WRONG_TYPE),
        }
    }

    pub(crate) fn object(&self, slot: Slot) -> &Object {
        &self.core.database(self.db).entry(slot).object
    }

    pub(crate) fn object_mut(&mut self, slot: Slot) -> &mut Object {
        &mut self.core.database_mut(self.db).entry_mut(slot).object
    }

    /// The stream in a slot that [`Call::find_stream`] returned.
    pub(crate) fn stream(&self, slot: Slot) -> &Stream {
        match self.object(slot) {
            Object::Stream(stream) => stream,
            _ => unreachable!("the slot was found as a stream"),
        }
    }

    /// The same, to change it; and the reply, which can be written at the same time.
    pub(crate) fn stream_mut(&mut self, slot: Slot) -> (&mut Stream, &mut Encoder<'a>) {
        match &mut self.core.database_mut(self.db).entry_mut(slot).object {
            Object::Stream(stream) => (Arc::make_mut(stream), &mut self.reply),
            _ => unreachable!("the slot was found as a stream"),
        }
    }

    /// Finds a collection; another type is an error.
    pub(crate) fn find_as<C: Collection>(&mut self, key: &[u8]) -> Result<Option<Slot>, Error> {
        let Some(slot) = self.find(key) else { return Ok(None) };
        if C::of(self.object(slot)).is_some() { Ok(Some(slot)) } else { Err(errors::WRONG_TYPE) }
    }

    /// The collection in a slot that [`Call::find_as`] returned.
    pub(crate) fn look<C: Collection>(&self, slot: Slot) -> &C {
        self.core.database(self.db).look(slot)
    }

    /// The collection in a slot that [`Call::find_as`] returned, and the reply, to write it to.
    pub(crate) fn collection<C: Collection>(&mut self, slot: Slot) -> (&C, &mut Encoder<'a>) {
        (self.core.database(self.db).look(slot), &mut self.reply)
    }

    /// The same, to change it.
    pub(crate) fn collection_mut<C: Collection>(&mut self, slot: Slot) -> &mut C {
        C::of_mut(self.object_mut(slot)).expect("the slot was found with this type")
    }

    /// Adds a key with an empty collection, which the caller fills at once.
    pub(crate) fn insert_empty<C: Collection>(&mut self, key: &[u8]) -> Slot {
        let seed = self.database().seed();
        self.insert(key, C::empty(seed).into_object())
    }

    /// The same in place of what the key held, if it held something. As in Redis the key is no new one then, and
    /// who waits for one goes on waiting (mostly: see [`Waiters::signal_overwritten_stream`]).
    ///
    /// [`Waiters::signal_overwritten_stream`]: crate::blocking::Waiters::signal_overwritten_stream
    pub(crate) fn replace_with_empty<C: Collection>(&mut self, key: &[u8], old: Option<Slot>) -> Slot {
        let Some(old) = old else { return self.insert_empty::<C>(key) };
        if matches!(self.object(old), Object::Stream(_)) {
            self.core.waiters.signal_overwritten_stream(self.db, key);
        }
        self.remove(old);
        let seed = self.database().seed();
        self.insert_unheard(key, C::empty(seed).into_object())
    }

    /// Records that elements were taken out of a collection, and publishes that; a collection that is empty
    /// now goes with its key.
    pub(crate) fn taken<C: Collection>(
        &mut self,
        slot: Slot,
        effect: CollectionEffect<'_>,
        class: NotifyClasses,
        event: &str,
        key: &[u8],
    ) {
        if self.look::<C>(slot).size() > 0 {
            self.record(slot, &Effect::Collection(effect));
            self.notify(class, event, key);
        } else {
            self.remove(slot);
            self.notify(class, event, key);
            self.notify(NotifyClasses::GENERIC, "del", key);
        }
    }

    /// Adds a key that [`Call::find`] did not find. The caller records what it holds.
    pub(crate) fn insert(&mut self, key: &[u8], object: Object) -> Slot {
        if matches!(object, Object::SortedSet(_)) {
            self.core.waiters.signal(self.db, key);
        }
        let slot = self.insert_unheard(key, object);
        self.notify(NotifyClasses::NEW, "new", key);
        slot
    }

    fn insert_unheard(&mut self, key: &[u8], object: Object) -> Slot {
        let slot = self.database().insert(key, object);
        let now_s = self.now.seconds() as u32;
        self.database().entry(slot).accessed.set(now_s);
        slot
    }

    /// Removes a key, recording it.
    pub(crate) fn remove(&mut self, slot: Slot) {
        self.record(slot, &Effect::Remove);
        let database = self.core.database_mut(self.db);
        let entry = database.remove(slot);
        database.removed_at = entry.position;
    }

    /// Removes a key whose time has come.
    pub(crate) fn expire(&mut self, slot: Slot) {
        let key = self.core.database(self.db).entry(slot).key.clone();
        self.remove(slot);
        self.core.stats.expired_keys += 1;
        self.notify(NotifyClasses::EXPIRED, "expired", &key);
    }

    // Encodings.

    pub(crate) fn encoding(&self, slot: Slot) -> Encoding {
        self.core.database(self.db).entry(slot).encoding
    }

    /// Notes how Redis would hold the value now, recording it if that is not what follows from the effects.
    pub(crate) fn encode(&mut self, slot: Slot, encoding: Encoding) {
        if self.encoding(slot) != encoding {
            self.record(slot, &Effect::Encode { encoding });
        }
    }

    // Effects.

    /// Records an effect on a key: for the log, for those who watch the key and for those who wait for it.
    pub(crate) fn record(&mut self, slot: Slot, effect: &Effect<'_>) {
        let position = self.core.position.advance();
        self.effects.after = position;
        let database = self.core.databases.get_mut(self.db).expect("a session's database exists");
        database.changed_at = position;
        let entry = database.entry_mut(slot);
        self.core.touched.note(self.db, entry, effect);
        entry.position = position;
        entry.encoding = entry.encoding.after(effect);
        self.effects.out.records.push(self.db, &entry.key, effect);
        if !self.core.watchers.is_empty() && effect.breaks_watch() {
            self.core.watchers.break_key(self.db, &entry.key, &mut self.core.sessions);
        }
        if let Some(at_ms) = effect.pending_since_ms() {
            self.core.waiters.note_pending(self.db, &entry.key, at_ms, &mut self.core.sessions);
        }
        match effect.wakes() {
            Wakes::Nobody => {}
            Wakes::GroupReaders => {
                self.core.waiters.signal_gone(self.db, &entry.key, &self.core.sessions);
            }
            Wakes::Everybody => self.core.waiters.signal(self.db, &entry.key),
        }
    }

    /// Plans when the marks of a stream's producers are forgotten.
    pub(crate) fn plan_forgetting(&mut self, slot: Slot) {
        let entry = self.core.databases.get(self.db).expect("a session's database exists").entry(slot);
        self.core.forgetting.plan(self.db, entry);
    }

    /// Publishes a keyspace event, if its class is switched on.
    pub(crate) fn notify(&mut self, class: NotifyClasses, event: &str, key: &[u8]) {
        let classes = self.core.settings.notify;
        if !classes.has(class) {
            return;
        }
        let db = self.db;
        let channel = |kind: &str, name: &[u8]| [format!("__{kind}@{db}__:").as_bytes(), name].concat();
        if classes.has(NotifyClasses::KEYSPACE) {
            let channel = channel("keyspace", key);
            self.publish(&channel, event.as_bytes());
        }
        if classes.has(NotifyClasses::KEYEVENT) {
            let channel = channel("keyevent", event.as_bytes());
            self.publish(&channel, key);
        }
    }

    /// Sends a message to a channel and to the patterns that match it; says how many got it.
    pub(crate) fn publish(&mut self, channel: &[u8], body: &[u8]) -> usize {
        let Core { subscriptions, sessions, own_pushes, .. } = &mut *self.core;
        let mut frames = Frames::default();
        let mut receivers = 0;
        let to = Fan { by: self.by, sessions, own_pushes, out: self.effects.out };
        let mut to = to;
        let direct = subscriptions.of(ChannelKind::Channel, channel);
        receivers += to.send(&mut frames, ChannelKind::Channel, b"", channel, body, direct);
        if subscriptions.pattern_count() > 0 {
            for (pattern, subscribers) in subscriptions.matching(channel) {
                let mut frames = Frames::default();
                receivers += to.send(&mut frames, ChannelKind::Pattern, pattern, channel, body, subscribers);
            }
        }
        receivers
    }

    /// Sends a message to a shard channel.
    pub(crate) fn publish_shard(&mut self, channel: &[u8], body: &[u8]) -> usize {
        let Core { subscriptions, sessions, own_pushes, .. } = &mut *self.core;
        let mut to = Fan { by: self.by, sessions, own_pushes, out: self.effects.out };
        let subscribers = subscriptions.of(ChannelKind::Shard, channel);
        to.send(&mut Frames::default(), ChannelKind::Shard, b"", channel, body, subscribers)
    }
}

/// Where the frame of one message lies in the shared buffer, per protocol, once it is written.
#[derive(Default)]
struct Frames {
    resp2: Option<std::ops::Range<usize>>,
    resp3: Option<std::ops::Range<usize>>,
}

/// Sends one message to many.
struct Fan<'a> {
    by: SessionId,
    sessions: &'a crate::engine::Sessions,
    own_pushes: &'a mut Vec<u8>,
    out: &'a mut Outputs,
}

impl Fan<'_> {
    fn send(
        &mut self,
        frames: &mut Frames,
        kind: ChannelKind,
        pattern: &[u8],
        channel: &[u8],
        body: &[u8],
        subscribers: &[SessionId],
    ) -> usize {
        for &to in subscribers {
            let Some(session) = self.sessions.get(&to) else { continue };
            let protocol = session.protocol;
            if to == self.by {
                pubsub::write_message(self.own_pushes, protocol, kind, pattern, channel, body);
                continue;
            }
            let frame = match protocol {
                Protocol::Resp2 => &mut frames.resp2,
                Protocol::Resp3 => &mut frames.resp3,
            };
            let bytes = frame.get_or_insert_with(|| {
                let from = self.out.shared.len();
                pubsub::write_message(&mut self.out.shared, protocol, kind, pattern, channel, body);
                from..self.out.shared.len()
            });
            self.out.deliver(to, DeliveryKind::Push, bytes.clone(), Position::default());
        }
        subscribers.len()
    }
}
