//! Serving those who wait: woken by data, by time, or by `CLIENT UNBLOCK`.

use cauce_resp::Encoder;

use super::Core;
use crate::blocking::{BlockRequest, Blocked, WakeOn};
use crate::call::{Call, Flow};
use crate::errors::Error;
use crate::faults::Faults;
use crate::keyspace::Object;
use crate::outputs::{DeliveryKind, Outputs, Position};
use crate::session::SessionId;
use crate::time::Timestamp;

/// Keys that one [`Core::expire_due`] removes at most: a bound on how long it keeps others waiting.
const EXPIRIES_PER_TICK: usize = 1000;

impl Core {
    /// Makes a session wait.
    pub(super) fn block(&mut self, by: SessionId, request: BlockRequest) {
        let session = self.session_mut(by);
        assert!(session.blocked.is_none(), "a session waits for one command at a time");
        let blocked = Blocked { request, database: session.database };
        self.waiters.add(by, &blocked);
        self.session_mut(by).blocked = Some(blocked);
    }

    /// Serves the waiters of every key that changed, until no served command changes another.
    pub(super) fn serve_ready(&mut self, now: Timestamp, out: &mut Outputs) {
        while let Some((database, key)) = self.waiters.next_ready() {
            let waiting = self.waiters.of_key(database, &key);
            for id in Faults::of(&self.settings).wake_order(waiting) {
                self.serve(now, id, &key, out);
            }
        }
    }

    /// Runs a waiting command again if the key holds what it waits for.
    fn serve(&mut self, now: Timestamp, id: SessionId, key: &[u8], out: &mut Outputs) {
        let blocked = self.sessions.get(&id).and_then(|session| session.blocked.as_ref());
        if blocked.is_some_and(|blocked| self.holds(blocked.database, key, blocked.request.wakes_on)) {
            self.run_again(now, id, out);
        }
    }

    /// Runs again those who wait for pending entries to be idle long enough, when that may be so.
    pub(super) fn serve_claims(&mut self, now: Timestamp, out: &mut Outputs) {
        while let Some((_, id)) = self.waiters.next_claim().filter(|&(at, _)| at <= now) {
            self.run_again(now, id, out);
        }
    }

    /// Runs a waiting command again.
    fn run_again(&mut self, now: Timestamp, id: SessionId, out: &mut Outputs) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let Some(mut blocked) = session.blocked.take() else { return };
        let args: Vec<&[u8]> = blocked.request.args.iter().map(|arg| &**arg).collect();
        let spec = args.first().and_then(|name| self.table.find(name)).expect("it ran before");
        let mut reply = std::mem::take(&mut self.scratch);
        let (flow, after) = match Self::permits(&self.session(id).user, spec, &args) {
            Ok(()) => self.call(spec, now, id, &args, true, &mut reply, out),
            Err(error) => {
                // Its user's permissions changed while it waited.
                Encoder::new(&mut reply, self.session(id).protocol).error(error.text().as_bytes());
                (Flow::Done, Position::default())
            }
        };
        if let Flow::Block(request) = flow {
            // It keeps its place and its deadline.
            if let WakeOn::Claimable(claim) = request.wakes_on {
                self.waiters.look_again(id, &mut blocked, claim.at);
            }
            self.session_mut(id).blocked = Some(blocked);
            if !self.own_pushes.is_empty() {
                deliver(id, DeliveryKind::Push, &self.own_pushes, Position::default(), out);
                self.own_pushes.clear();
            }
        } else {
            self.waiters.remove(id, &blocked);
            // Keyspace events of the woken command itself, if it listens to those.
            reply.append(&mut self.own_pushes);
            deliver(id, DeliveryKind::Unblocked, &reply, after, out);
        }
        reply.clear();
        self.scratch = reply;
    }

    fn holds(&self, database: usize, key: &[u8], wanted: WakeOn) -> bool {
        let database = self.database(database);
        let object = database.slot(key).map(|slot| &database.entry(slot).object);
        match wanted {
            WakeOn::Stream => matches!(object, Some(Object::Stream(_))),
            WakeOn::SortedSet => matches!(object, Some(Object::SortedSet(_))),
            WakeOn::Anything | WakeOn::Claimable(_) => true,
            WakeOn::Nothing => false,
        }
    }

    /// Answers those whose time is over.
    pub(super) fn end_overdue_waits(&mut self, now: Timestamp, out: &mut Outputs) {
        while let Some((deadline, id)) = self.waiters.next_deadline() {
            if deadline > now {
                break;
            }
            self.end_wait(id, out, None);
        }
    }

    /// Ends a session's wait with an error, or else as if its time were over; false if it did not wait.
    pub(crate) fn end_wait(&mut self, id: SessionId, out: &mut Outputs, error: Option<&Error>) -> bool {
        let Some(blocked) = self.unblock(id) else { return false };
        let from = out.shared.len();
        let protocol = self.session(id).protocol;
        let mut reply = Encoder::new(&mut out.shared, protocol);
        match error {
            Some(error) => reply.error(error.text().as_bytes()),
            None => blocked.request.write_timeout(&mut reply),
        }
        let bytes = from..out.shared.len();
        out.deliver(id, DeliveryKind::Unblocked, bytes, Position::default());
        true
    }

    /// Removes keys whose time has come, at most [`EXPIRIES_PER_TICK`] in each database.
    pub(super) fn expire_due(&mut self, now: Timestamp, out: &mut Outputs) {
        for db in 0..self.databases.len() {
            for _ in 0..EXPIRIES_PER_TICK {
                let due = self.database(db).next_expiry().filter(|&(at, _)| at <= now);
                let Some((_, slot)) = due else { break };
                let mut reply = std::mem::take(&mut self.scratch);
                let mut call = Call::of_nobody(self, now, db, &mut reply, out);
                call.expire(slot);
                self.scratch = reply;
            }
        }
    }
}

fn deliver(id: SessionId, kind: DeliveryKind, bytes: &[u8], after: Position, out: &mut Outputs) {
    let from = out.shared.len();
    out.shared.extend_from_slice(bytes);
    out.deliver(id, kind, from..out.shared.len(), after);
}
