//! Arguments of stream commands.

use super::super::episode::Arg;
use super::super::world::{AUTO, GROUPS, Holds, Id, KEYS, STREAMS, World};
use super::Draw;

impl Draw<'_> {
    /// A stream, mostly the first; sometimes a key of another kind.
    pub(super) fn stream(&mut self) {
        self.key = self.some_stream();
        self.text(World::name(self.key));
    }

    pub(super) fn some_stream(&mut self) -> usize {
        let key = match self.rng.u8(..100) {
            0..50 => 0,
            50..75 => 1,
            75..85 => 2,
            85..93 => AUTO,
            _ => self.rng.usize(STREAMS..KEYS.len()),
        };
        let streams = self.world.holding(0, |holds| holds == Holds::Stream);
        match self.world.holds(key) {
            Holds::Stream | Holds::Nothing => key,
            _ if streams.is_empty() || self.rng.u8(..4) == 0 => key,
            _ => streams[self.rng.usize(..streams.len())],
        }
    }

    /// An id that exists or existed, mostly.
    pub(super) fn id(&mut self) {
        if self.key == AUTO && self.world.autos > 0 {
            let back = self.rng.usize(..self.world.autos.min(6));
            self.args.push(Arg::Auto(self.world.autos - 1 - back));
            return;
        }
        let id = self.some_id();
        self.text(&format!("{}-{}", id.ms, id.seq));
    }

    pub(super) fn some_id(&mut self) -> Id {
        let ids = self.world.ids(self.key);
        if ids.is_empty() || self.rng.u8(..8) == 0 {
            return Id { ms: self.rng.u64(..12), seq: self.rng.u64(..4) };
        }
        ids[self.rng.usize(..ids.len())]
    }

    /// An id above the last one, mostly.
    pub(super) fn new_id(&mut self) {
        let last = self.world.last(self.key);
        let id = match self.rng.u8(..20) {
            0..14 if self.rng.bool() => Id { ms: last.ms, seq: last.seq + 1 },
            0..14 => Id { ms: last.ms + 1, seq: self.rng.u64(..2) },
            14..16 => {
                let ms = last.ms + self.rng.u64(..2);
                self.world.added(self.key, Id { ms, seq: 0 });
                return self.text(&format!("{ms}-*"));
            }
            16 => {
                let ms = last.ms + self.rng.u64(..2);
                self.world.added(self.key, Id { ms, seq: 0 });
                return self.text(&ms.to_string());
            }
            _ => Id { ms: self.rng.u64(..8), seq: self.rng.u64(..3) },
        };
        self.world.added(self.key, id);
        self.text(&format!("{}-{}", id.ms, id.seq));
    }

    /// The last id or one above it, in full.
    pub(super) fn later_id(&mut self) {
        let last = self.world.last(self.key);
        let id = match self.rng.u8(..8) {
            0 => self.some_id(),
            _ => Id { ms: last.ms, seq: last.seq + self.rng.u64(..2) },
        };
        self.world.added(self.key, id);
        self.text(&format!("{}-{}", id.ms, id.seq));
    }

    /// A group, mostly one that the stream has.
    pub(super) fn group(&mut self) {
        let groups = self.world.groups(self.key);
        if groups.is_empty() || self.rng.u8(..10) == 0 {
            return self.one_of(GROUPS);
        }
        let group = groups[self.rng.usize(..groups.len())];
        self.text(group);
    }

    /// A group that the stream does not have, mostly.
    pub(super) fn new_group(&mut self) {
        let has = self.world.groups(self.key);
        let free: Vec<&str> = GROUPS.iter().copied().filter(|group| !has.contains(group)).collect();
        let from = if free.is_empty() || self.rng.u8(..8) == 0 { GROUPS } else { &free };
        self.one_of(from);
    }

    /// A group, mostly one that some stream has; the streams that follow mostly have it as well.
    pub(super) fn group_read(&mut self) {
        let with_groups: Vec<usize> =
            (0..KEYS.len()).filter(|key| !self.world.groups(*key).is_empty()).collect();
        if with_groups.is_empty() || self.rng.u8(..12) == 0 {
            return self.one_of(GROUPS);
        }
        let groups = self.world.groups(with_groups[self.rng.usize(..with_groups.len())]);
        let group = groups[self.rng.usize(..groups.len())];
        self.group = Some(group);
        self.text(group);
    }

    /// A bound of a range.
    pub(super) fn bound(&mut self, open: &str) {
        match self.rng.u8(..10) {
            0..4 => self.text(open),
            4..8 => self.id(),
            8 => {
                let id = self.some_id();
                self.text(&format!("({}-{}", id.ms, id.seq));
            }
            _ => {
                let id = self.some_id();
                self.text(&id.ms.to_string());
            }
        }
    }

    /// Where a group begins.
    pub(super) fn cursor(&mut self) {
        match self.rng.u8(..10) {
            0..5 => self.text("0"),
            5..8 => self.text("$"),
            _ => self.id(),
        }
    }

    /// One to three keys, then as many ids; an empty one stands for an id of the key.
    pub(super) fn streams(&mut self, ids: &[&str]) {
        let keys = self.stream_keys();
        self.keys_and_ids(&keys, ids);
    }

    /// The same without naming a key twice: a waiter that does is woken by either of its ids only from 7.2 on.
    pub(super) fn streams_once(&mut self, ids: &[&str]) {
        let mut keys = self.stream_keys();
        keys.sort_unstable();
        keys.dedup();
        self.rng.shuffle(&mut keys);
        self.keys_and_ids(&keys, ids);
    }

    pub(super) fn stream_keys(&mut self) -> Vec<usize> {
        let count = [1, 1, 1, 2, 2, 3][self.rng.usize(..6)];
        (0..count)
            .map(|_| {
                let key = self.some_stream();
                let Some(group) = self.group.filter(|_| self.rng.u8(..20) > 0) else { return key };
                let has = |key: &usize| self.world.groups(*key).contains(&group);
                let having: Vec<usize> = (0..KEYS.len()).filter(has).collect();
                if has(&key) { key } else { having[self.rng.usize(..having.len())] }
            })
            .collect()
    }

    pub(super) fn keys_and_ids(&mut self, keys: &[usize], ids: &[&str]) {
        for key in keys {
            self.text(World::name(*key));
        }
        for key in keys {
            self.key = *key;
            match ids[self.rng.usize(..ids.len())] {
                "" => self.id(),
                id => self.text(id),
            }
        }
    }
}
