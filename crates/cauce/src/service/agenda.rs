//! The agenda: what this process has and has not begun, and what may begin next.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use super::lane::Delivered;
use crate::entry::EntryId;

/// Entries that wait behind a handler's own limit, in batches or behind a key, before nothing more is accepted.
const WAITING_MAX: usize = 2_000;
/// Others that begin between two that run alone.
const OTHERS: usize = 100;
/// Instances that must have died with an entry before it runs alone.
const CRASHES: u32 = 2;

/// What an entry is about: its lane and key.
pub(crate) type Key = (usize, String);

/// What to do now.
pub(crate) enum Next {
    Start(Delivered),
    /// Instances died with it: nothing else may run beside it.
    StartAlone(Delivered),
    /// The same, but what runs has kept it waiting for too long.
    StartBeside(Delivered),
    /// Something must end first.
    Wait,
    Empty,
}

/// What has not begun.
pub(crate) struct Agenda {
    ready: VecDeque<Delivered>,
    /// Entries with which instances died: each is to run alone, so that it is known whether it was the cause.
    suspects: VecDeque<Delivered>,
    suspects_wait_since: Option<Instant>,
    others_begun: usize,
    /// Waiting behind the limits of handlers, and for their batches, by handler.
    limited: HashMap<usize, VecDeque<Delivered>>,
    /// Running, waiting for a retry, and waiting behind those, by key.
    lines: HashMap<Key, Line>,
    waiting: usize,
    /// How many wait behind others of their keys, by lane.
    behind: HashMap<usize, usize>,
    /// How long running handlers may keep a suspect waiting.
    patience: Duration,
}

struct Line {
    holder: EntryId,
    behind: VecDeque<Delivered>,
}

impl Agenda {
    pub(crate) fn new(patience: Duration) -> Self {
        Self {
            ready: VecDeque::new(),
            suspects: VecDeque::new(),
            suspects_wait_since: None,
            others_begun: 0,
            limited: HashMap::new(),
            lines: HashMap::new(),
            waiting: 0,
            behind: HashMap::new(),
            patience,
        }
    }

    pub(crate) fn add(&mut self, batch: impl IntoIterator<Item = Delivered>) {
        for delivered in batch {
            // Where order is kept, it takes its key before it waits: others of its key wait behind it.
            if Self::is_suspect(&delivered) && !delivered.lane.is_ordered() {
                self.suspect(delivered);
            } else {
                self.ready.push_back(delivered);
            }
        }
    }

    /// Whether it is to run alone.
    pub(crate) fn is_suspect(delivered: &Delivered) -> bool {
        delivered.lease.crashes >= CRASHES
    }

    /// It waits until it can run alone.
    pub(crate) fn suspect(&mut self, delivered: Delivered) {
        self.suspects_wait_since.get_or_insert_with(Instant::now);
        self.suspects.push_back(delivered);
    }

    /// Whether more may be added.
    pub(crate) fn has_room(&self) -> bool {
        self.ready.is_empty() && self.waiting < WAITING_MAX && !self.is_suspects_turn()
    }

    /// When a suspect stops waiting for the others to end.
    pub(crate) fn impatient_at(&self) -> Option<Instant> {
        self.suspects_wait_since.map(|since| since + self.patience)
    }

    fn is_suspects_turn(&self) -> bool {
        !self.suspects.is_empty() && (self.ready.is_empty() || self.others_begun >= OTHERS)
    }

    pub(crate) fn next(&mut self, running: usize) -> Next {
        if self.is_suspects_turn() {
            let impatient = self.impatient_at().is_some_and(|when| Instant::now() >= when);
            if running > 0 && !impatient {
                return Next::Wait;
            }
            self.others_begun = 0;
            if let Some(suspect) = self.suspects.pop_front() {
                self.suspects_wait_since = (!self.suspects.is_empty()).then(Instant::now);
                return if running == 0 { Next::StartAlone(suspect) } else { Next::StartBeside(suspect) };
            }
        }
        match self.ready.pop_front() {
            Some(delivered) => {
                self.others_begun += 1;
                Next::Start(delivered)
            }
            None => Next::Empty,
        }
    }

    /// It waits behind the limit of its handler, or for the rest of its batch. Says how many do.
    pub(crate) fn limit(&mut self, handler: usize, delivered: Delivered) -> usize {
        self.waiting += 1;
        let waiting = self.limited.entry(handler).or_default();
        waiting.push_back(delivered);
        waiting.len()
    }

    /// How many wait behind the limit of a handler, or for its batch.
    pub(crate) fn limited(&self, handler: usize) -> usize {
        self.limited.get(&handler).map_or(0, VecDeque::len)
    }

    /// Up to so many of those that wait behind the limit of a handler.
    pub(crate) fn unlimit(&mut self, handler: usize, length: usize) -> Vec<Delivered> {
        let Some(waiting) = self.limited.get_mut(&handler) else { return Vec::new() };
        let taken: Vec<_> = waiting.drain(..length.min(waiting.len())).collect();
        self.waiting -= taken.len();
        taken
    }

    /// Begins it before everything else.
    pub(crate) fn put_first(&mut self, delivered: Vec<Delivered>) {
        for delivered in delivered.into_iter().rev() {
            self.ready.push_front(delivered);
        }
    }

    /// Takes the key for an entry, or lets the entry wait behind the one that has it.
    pub(crate) fn take_key(&mut self, key: &Key, delivered: Delivered) -> Option<Delivered> {
        match self.lines.get_mut(key) {
            Some(line) if line.holder != delivered.id => {
                *self.behind.entry(key.0).or_default() += 1;
                let place = line.behind.partition_point(|waiting| waiting.id < delivered.id);
                line.behind.insert(place, delivered);
                None
            }
            Some(_) => Some(delivered),
            None => {
                self.hold_key(key.clone(), delivered.id);
                Some(delivered)
            }
        }
    }

    /// The key belongs to an entry that is elsewhere: it waits for its retry.
    pub(crate) fn hold_key(&mut self, key: Key, holder: EntryId) {
        self.lines.entry(key).or_insert_with(|| Line { holder, behind: VecDeque::new() });
    }

    /// The entry is done: the next with its key may begin. Nothing happens if it does not have the key any more.
    pub(crate) fn free_key(&mut self, key: &Key, holder: EntryId) {
        if self.lines.get(key).is_none_or(|line| line.holder != holder) {
            return;
        }
        let Some(mut line) = self.lines.remove(key) else { return };
        let Some(next) = line.behind.pop_front() else { return };
        if let Some(behind) = self.behind.get_mut(&key.0) {
            *behind -= 1;
        }
        line.holder = next.id;
        self.lines.insert(key.clone(), line);
        self.ready.push_front(next);
    }

    /// Frees the keys of entries that are gone from the broker.
    pub(crate) fn free_gone(&mut self, lane: usize, gone: &[EntryId]) {
        let keys: Vec<(Key, EntryId)> = self
            .lines
            .iter()
            .filter(|((index, _), line)| *index == lane && gone.contains(&line.holder))
            .map(|(key, line)| (key.clone(), line.holder))
            .collect();
        for (key, holder) in keys {
            self.free_key(&key, holder);
        }
    }

    /// How many entries of a lane wait behind others of their keys.
    pub(crate) fn behind(&self, lane: usize) -> usize {
        self.behind.get(&lane).copied().unwrap_or(0)
    }

    /// Everything of a lane that has not begun. Its keys are free.
    pub(crate) fn take_lane(&mut self, lane: usize) -> Vec<Delivered> {
        let mut taken = Vec::new();
        let mut take = |waiting: &mut VecDeque<Delivered>| {
            let before = taken.len();
            for delivered in std::mem::take(waiting) {
                if delivered.lane.index == lane {
                    taken.push(delivered);
                } else {
                    waiting.push_back(delivered);
                }
            }
            taken.len() - before
        };
        take(&mut self.ready);
        take(&mut self.suspects);
        for waiting in self.limited.values_mut() {
            self.waiting -= take(waiting);
        }
        if self.suspects.is_empty() {
            self.suspects_wait_since = None;
        }
        let lines = self.lines.extract_if(|(of, _), _| *of == lane);
        taken.extend(lines.flat_map(|(_, line)| line.behind));
        self.behind.remove(&lane);
        taken
    }

    /// Everything that has not begun.
    pub(crate) fn drain(&mut self) -> Vec<Delivered> {
        let mut all: Vec<Delivered> = self.ready.drain(..).chain(self.suspects.drain(..)).collect();
        all.extend(self.limited.drain().flat_map(|(_, waiting)| waiting));
        all.extend(self.lines.drain().flat_map(|(_, line)| line.behind));
        self.waiting = 0;
        self.behind.clear();
        all
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::entry::Fields;
    use crate::service::lane::{Lane, Lease, Routes, Source};

    fn delivered(seq: u64, crashes: u32) -> Delivered {
        of(0, seq, crashes)
    }

    fn of(lane: usize, seq: u64, crashes: u32) -> Delivered {
        with_order(lane, seq, crashes, false)
    }

    fn with_order(lane: usize, seq: u64, crashes: u32, ordered: bool) -> Delivered {
        let source = Source { topic: "flights", partition: None, ordered };
        let lane = Arc::new(Lane::new(lane, source, &"desk".into(), Arc::new(Routes::new())));
        let lease = Lease { crashes, ..Lease::fresh(0, true) };
        Delivered { lane, id: EntryId::new(1, seq), fields: Fields::new(), attempt: 1, lease }
    }

    /// What begins while nothing else runs: its number, marked if alone.
    fn begins(agenda: &mut Agenda) -> Vec<String> {
        let mut begun = Vec::new();
        loop {
            match agenda.next(0) {
                Next::Start(delivered) => begun.push(delivered.id.seq.to_string()),
                Next::StartAlone(delivered) => begun.push(format!("{}!", delivered.id.seq)),
                Next::StartBeside(_) => unreachable!("nothing runs"),
                Next::Wait | Next::Empty => return begun,
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn suspects_run_alone_and_starve_nobody() {
        let mut agenda = Agenda::new(Duration::from_secs(1));
        agenda.add([delivered(1, 2), delivered(2, 3), delivered(3, 0)]);
        assert_eq!(begins(&mut agenda), ["3", "1!", "2!"]);
        agenda.add((0..250).map(|seq| delivered(seq, 0)).chain([delivered(500, 2), delivered(501, 2)]));
        let begun = begins(&mut agenda);
        let place = |what: &str| begun.iter().position(|begun| begun == what);
        assert_eq!((place("500!"), place("501!"), begun.len()), (Some(100), Some(201), 252));
    }

    #[tokio::test(start_paused = true)]
    async fn a_suspect_waits_for_others_only_so_long() {
        let mut agenda = Agenda::new(Duration::from_secs(1));
        agenda.add([delivered(1, 2)]);
        assert!(matches!(agenda.next(1), Next::Wait));
        assert!(!agenda.has_room());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(matches!(agenda.next(1), Next::StartBeside(_)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_suspect_has_its_key_before_it_waits() {
        let mut agenda = Agenda::new(Duration::from_secs(1));
        agenda.add([with_order(0, 1, 2, true), with_order(0, 2, 1, true)]);
        assert_eq!(begins(&mut agenda), ["1", "2"], "each is asked for its key");
        agenda.suspect(with_order(0, 1, 2, true));
        assert_eq!(begins(&mut agenda), ["1!"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_lets_one_at_a_time_through_in_order() {
        let mut agenda = Agenda::new(Duration::from_secs(1));
        let key = (0, "UA 1".to_owned());
        assert!(agenda.take_key(&key, delivered(1, 0)).is_some());
        assert!(agenda.take_key(&key, delivered(3, 0)).is_none());
        assert!(agenda.take_key(&key, delivered(2, 0)).is_none());
        assert!(agenda.take_key(&(0, "UA 2".to_owned()), delivered(4, 0)).is_some());
        // It comes back for its retry.
        assert!(agenda.take_key(&key, delivered(1, 0)).is_some());
        assert_eq!(agenda.behind(0), 2);
        agenda.free_key(&key, EntryId::new(1, 9));
        assert_eq!(agenda.behind(0), 2, "it does not have the key");
        agenda.free_key(&key, EntryId::new(1, 1));
        assert_eq!(begins(&mut agenda), ["2"]);
        agenda.free_gone(0, &[EntryId::new(1, 2)]);
        assert_eq!(begins(&mut agenda), ["3"]);
        agenda.free_key(&key, EntryId::new(1, 3));
        assert_eq!((agenda.behind(0), agenda.lines.len()), (0, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_lane_is_taken_out_with_its_keys() {
        let mut agenda = Agenda::new(Duration::from_secs(1));
        let keys = [(0, "UA 1".to_owned()), (1, "UA 1".to_owned())];
        agenda.add([of(0, 1, 0), of(1, 2, 0), of(0, 3, 2)]);
        assert_eq!(agenda.limit(0, of(0, 4, 0)) + agenda.limit(0, of(1, 5, 0)), 3);
        for (lane, key) in keys.iter().enumerate() {
            agenda.hold_key(key.clone(), EntryId::new(1, 0));
            assert!(agenda.take_key(key, of(lane, 6, 0)).is_none());
        }
        let mut taken: Vec<u64> = agenda.take_lane(0).iter().map(|delivered| delivered.id.seq).collect();
        taken.sort_unstable();
        assert_eq!(taken, [1, 3, 4, 6]);
        assert_eq!((agenda.behind(0), agenda.behind(1), agenda.waiting), (0, 1, 1));
        assert!(agenda.take_key(&keys[0], of(0, 7, 0)).is_some());
        assert_eq!(begins(&mut agenda), ["2"]);
    }
}
