//! Clients that wait for a key.
//!
//! Waiters of a key are served first come, first served, after the command (or transaction) that changed the
//! key has ended. A woken command is run again as a whole, as Redis does from 7.2 on; if it would wait again
//! it keeps its place and its deadline.

use std::collections::{BTreeSet, VecDeque};

use cauce_resp::Encoder;
use foldhash::fast::FixedState;
use hashbrown::HashMap;

use crate::engine::Sessions;
use crate::session::SessionId;
use crate::time::Timestamp;

/// A command that asks to wait.
#[derive(Debug)]
pub(crate) struct BlockRequest {
    /// The arguments to run again with: `$` replaced by a concrete id.
    pub(crate) args: Vec<Box<[u8]>>,
    pub(crate) keys: Vec<Box<[u8]>>,
    /// `None` waits for ever.
    pub(crate) deadline: Option<Timestamp>,
    pub(crate) wakes_on: WakeOn,
}

/// What a changed key must hold for a waiting command to be run again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WakeOn {
    Stream,
    SortedSet,
    /// Even if it is gone: `XREADGROUP` answers an error then.
    Anything,
    /// The same, and when a pending entry may be claimed: `XREADGROUP CLAIM`.
    Claimable(ClaimWait),
    /// It is only waited for time to go by.
    Nothing,
}

/// Waiting for pending entries to be idle long enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ClaimWait {
    pub(crate) min_idle_ms: u64,
    /// When to look again; not too late, maybe too early.
    pub(crate) at: Option<Timestamp>,
}

impl WakeOn {
    /// When the command is to be run again if nothing happens before.
    fn claim_at(self) -> Option<Timestamp> {
        match self {
            Self::Claimable(claim) => claim.at,
            _ => None,
        }
    }

    fn is_stream(self) -> bool {
        matches!(self, Self::Stream | Self::Anything | Self::Claimable(_))
    }
}

/// A waiting command, kept by its session.
#[derive(Debug)]
pub(crate) struct Blocked {
    pub(crate) request: BlockRequest,
    pub(crate) database: usize,
}

/// Who waits for what, in which order, and until when.
#[derive(Debug)]
pub(crate) struct Waiters {
    by_key: Vec<HashMap<Box<[u8]>, VecDeque<SessionId>, FixedState>>,
    deadlines: BTreeSet<(Timestamp, SessionId)>,
    /// Who looks again for entries to claim, and when.
    claims: BTreeSet<(Timestamp, SessionId)>,
    /// How many wait to claim.
    claimers: usize,
    /// How many wait for a stream, whichever.
    stream_readers: usize,
    /// Keys whose waiters have to look again, in the order of their changes.
    ready: VecDeque<(usize, Box<[u8]>)>,
    count: usize,
}

impl BlockRequest {
    /// Writes what is answered when the time is over: nothing came.
    pub(crate) fn write_timeout(&self, reply: &mut Encoder<'_>) {
        match self.wakes_on {
            WakeOn::Stream | WakeOn::SortedSet | WakeOn::Anything | WakeOn::Claimable(_) => {
                reply.null_array();
            }
            // WAIT counts replicas.
            WakeOn::Nothing => reply.integer(0),
        }
    }
}

impl Waiters {
    pub(crate) fn new(databases: usize) -> Self {
        Self {
            by_key: (0..databases).map(|_| HashMap::default()).collect(),
            deadlines: BTreeSet::new(),
            claims: BTreeSet::new(),
            claimers: 0,
            stream_readers: 0,
            ready: VecDeque::new(),
            count: 0,
        }
    }

    /// How many clients wait.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    pub(crate) fn add(&mut self, session: SessionId, blocked: &Blocked) {
        self.count += 1;
        if let Some(deadline) = blocked.request.deadline {
            self.deadlines.insert((deadline, session));
        }
        self.claimers += usize::from(matches!(blocked.request.wakes_on, WakeOn::Claimable(_)));
        self.stream_readers += usize::from(blocked.request.wakes_on.is_stream());
        self.claims.extend(blocked.request.wakes_on.claim_at().map(|at| (at, session)));
        for key in &blocked.request.keys {
            let queue = self.of_database(blocked.database).entry(key.clone()).or_default();
            // A command may name a key twice.
            if !queue.contains(&session) {
                queue.push_back(session);
            }
        }
    }

    pub(crate) fn remove(&mut self, session: SessionId, blocked: &Blocked) {
        assert!(self.count > 0, "who is removed was added");
        self.count -= 1;
        if let Some(deadline) = blocked.request.deadline {
            self.deadlines.remove(&(deadline, session));
        }
        self.claimers -= usize::from(matches!(blocked.request.wakes_on, WakeOn::Claimable(_)));
        self.stream_readers -= usize::from(blocked.request.wakes_on.is_stream());
        if let Some(at) = blocked.request.wakes_on.claim_at() {
            self.claims.remove(&(at, session));
        }
        let keys = self.of_database(blocked.database);
        for key in &blocked.request.keys {
            if let Some(queue) = keys.get_mut(&**key) {
                queue.retain(|&waiting| waiting != session);
                if queue.is_empty() {
                    keys.remove(&**key);
                }
            }
        }
    }

    /// Sets when a waiting command looks again for entries to claim.
    pub(crate) fn look_again(&mut self, session: SessionId, blocked: &mut Blocked, at: Option<Timestamp>) {
        let WakeOn::Claimable(claim) = &mut blocked.request.wakes_on else { return };
        if let Some(before) = std::mem::replace(&mut claim.at, at) {
            self.claims.remove(&(before, session));
        }
        self.claims.extend(at.map(|at| (at, session)));
    }

    /// Notes that entries of a stream are pending since `at_ms`, perhaps the only ones.
    pub(crate) fn note_pending(&mut self, database: usize, key: &[u8], at_ms: u64, sessions: &mut Sessions) {
        if self.claimers == 0 {
            return;
        }
        for id in self.of_key(database, key) {
            let Some(blocked) = sessions.get_mut(&id).and_then(|session| session.blocked.as_mut()) else {
                continue;
            };
            let WakeOn::Claimable(claim) = blocked.request.wakes_on else { continue };
            let at = Timestamp::from_millis(at_ms.saturating_add(claim.min_idle_ms));
            if claim.at.is_none_or(|planned| at < planned) {
                self.look_again(id, blocked, Some(at));
            }
        }
    }

    /// Who has to look again for entries to claim, now or earlier.
    pub(crate) fn next_claim(&self) -> Option<(Timestamp, SessionId)> {
        self.claims.first().copied()
    }

    /// Notes that a key changed.
    pub(crate) fn signal(&mut self, database: usize, key: &[u8]) {
        if self.count > 0 && self.of_database(database).contains_key(key) {
            self.note_ready(database, key.into());
        }
    }

    /// Notes that something else has taken the place of a stream. Redis looks at who waits for the key then, for
    /// whatever, if anybody waits for any stream at all.
    pub(crate) fn signal_overwritten_stream(&mut self, database: usize, key: &[u8]) {
        if self.stream_readers > 0 {
            self.signal(database, key);
        }
    }

    /// Notes that what a key held is gone, which concerns those who read it for a group.
    pub(crate) fn signal_gone(&mut self, database: usize, key: &[u8], sessions: &Sessions) {
        if self.count == 0 {
            return;
        }
        let concerned = |id: &SessionId| {
            let blocked = sessions.get(id).and_then(|session| session.blocked.as_ref());
            blocked.is_some_and(|blocked| {
                matches!(blocked.request.wakes_on, WakeOn::Anything | WakeOn::Claimable(_))
            })
        };
        if self.of_database(database).get(key).is_some_and(|queue| queue.iter().any(concerned)) {
            self.note_ready(database, key.into());
        }
    }

    /// Notes that every key of a database changed.
    pub(crate) fn signal_all(&mut self, database: usize) {
        let mut keys: Vec<Box<[u8]>> = self.of_database(database).keys().cloned().collect();
        keys.sort_unstable();
        for key in keys {
            self.note_ready(database, key);
        }
    }

    pub(crate) fn next_ready(&mut self) -> Option<(usize, Box<[u8]>)> {
        self.ready.pop_front()
    }

    /// Who waits for a key now, first come first.
    pub(crate) fn of_key(&mut self, database: usize, key: &[u8]) -> Vec<SessionId> {
        self.of_database(database).get(key).map(|queue| queue.iter().copied().collect()).unwrap_or_default()
    }

    pub(crate) fn next_deadline(&self) -> Option<(Timestamp, SessionId)> {
        self.deadlines.first().copied()
    }

    fn note_ready(&mut self, database: usize, key: Box<[u8]>) {
        if !self.ready.iter().any(|(db, ready)| *db == database && *ready == key) {
            self.ready.push_back((database, key));
        }
    }

    fn of_database(&mut self, database: usize) -> &mut HashMap<Box<[u8]>, VecDeque<SessionId>, FixedState> {
        self.by_key.get_mut(database).expect("a session's database exists")
    }
}
