//! The marks of idempotent producers are forgotten when they are too old, also where no producer comes again.

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use super::Core;
use crate::call::Call;
use crate::keyspace::{Entry, Object};
use crate::outputs::Outputs;
use crate::records::{Effect, StreamEffect};
use crate::stream::Idempotency;
use crate::time::Timestamp;

/// A stream's marks are looked at no more often than this: many are forgotten at once.
const PAUSE: Duration = Duration::from_secs(1);

/// When which stream has marks to forget. A key that was renamed or removed since is passed over.
#[derive(Debug, Default)]
pub(crate) struct Forgetting {
    due: BTreeSet<(Timestamp, usize, Box<[u8]>)>,
    planned: HashSet<(usize, Box<[u8]>), foldhash::fast::FixedState>,
}

impl Forgetting {
    /// Plans the next look at a stream, if it has marks and none is planned.
    pub(crate) fn plan(&mut self, database: usize, entry: &Entry) {
        let Object::Stream(stream) = &entry.object else { return };
        let Some(at_ms) = stream.idempotency().and_then(Idempotency::next_forgotten_ms) else { return };
        if self.planned.insert((database, entry.key.clone())) {
            let at = Timestamp::from_millis(at_ms).saturating_add(PAUSE);
            self.due.insert((at, database, entry.key.clone()));
        }
    }

    pub(crate) fn next(&self) -> Option<Timestamp> {
        self.due.first().map(|(at, ..)| *at)
    }

    fn take_due(&mut self, now: Timestamp) -> Option<(usize, Box<[u8]>)> {
        let (_, database, key) = self.due.first().filter(|(at, ..)| *at <= now)?.clone();
        self.due.pop_first();
        self.planned.remove(&(database, key.clone()));
        Some((database, key))
    }
}

impl Core {
    /// Forgets marks that are too old.
    pub(super) fn forget_marks(&mut self, now: Timestamp, out: &mut Outputs) {
        while let Some((db, key)) = self.forgetting.take_due(now) {
            let Some(slot) = self.database(db).slot(&key) else { continue };
            let mut reply = Vec::new();
            let mut call = Call::of_nobody(self, now, db, &mut reply, out);
            let Object::Stream(stream) = call.object_mut(slot) else { continue };
            let Some(table) = std::sync::Arc::make_mut(stream).idempotency_mut() else { continue };
            let due = table.next_forgotten_ms().is_some_and(|at| at <= now.millis());
            if let Some(until_ms) = table.forgotten_at(now.millis()).filter(|_| due) {
                table.forget(until_ms);
                call.record(slot, &Effect::Stream(StreamEffect::ForgetMarks { until_ms }));
            }
            call.plan_forgetting(slot);
        }
    }
}
