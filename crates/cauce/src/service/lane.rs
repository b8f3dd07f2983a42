//! Lanes: the streams that a service reads, and the entries on their way through it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::handler::Route;
use crate::backend::command::{again_stream, dead_stream};
use crate::entry::{EntryId, Fields};

/// One stream that the service reads.
pub(crate) struct Lane {
    /// Its place among the service's lanes.
    pub(crate) index: usize,
    /// The key that is read.
    pub(crate) stream: Arc<str>,
    /// The stream that its entries belong to: itself, but for a side stream.
    pub(crate) origin: Arc<str>,
    /// Where dead letters go.
    pub(crate) dead: Arc<str>,
    /// The handlers by action.
    pub(crate) routes: Arc<HashMap<Vec<u8>, Route>>,
    /// The newest entry that this process was given.
    cursor: Mutex<EntryId>,
}

impl Lane {
    pub(crate) fn new(index: usize, stream: &str, routes: HashMap<Vec<u8>, Route>) -> Self {
        Self {
            index,
            stream: stream.into(),
            origin: stream.into(),
            dead: dead_stream(stream).into(),
            routes: Arc::new(routes),
            cursor: Mutex::default(),
        }
    }

    /// The side stream on which this group alone gets copies of entries again.
    pub(crate) fn side(&self, index: usize, group: &str) -> Self {
        Self {
            index,
            stream: again_stream(&self.origin, group).into(),
            origin: Arc::clone(&self.origin),
            dead: Arc::clone(&self.dead),
            routes: Arc::clone(&self.routes),
            cursor: Mutex::default(),
        }
    }

    /// Whether only this group reads it: what is settled is deleted.
    pub(crate) fn is_side(&self) -> bool {
        self.stream != self.origin
    }

    /// The route of an entry. One without an action goes to the only handler, if there is one only.
    pub(crate) fn route(&self, fields: &Fields) -> Routed<'_> {
        match fields.field("action") {
            Some(action) => self.routes.get(action).map_or(Routed::Unhandled, Routed::To),
            None => match self.routes.values().next() {
                Some(only) if self.routes.len() == 1 => Routed::To(only),
                _ => Routed::NoAction,
            },
        }
    }

    pub(crate) fn cursor(&self) -> EntryId {
        *self.lock()
    }

    pub(crate) fn advance(&self, id: EntryId) {
        let mut cursor = self.lock();
        *cursor = id.max(*cursor);
    }

    /// The stream was lost, its ids start anew.
    pub(crate) fn rewind(&self) {
        *self.lock() = EntryId::ZERO;
    }

    fn lock(&self) -> MutexGuard<'_, EntryId> {
        self.cursor.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) enum Routed<'a> {
    To(&'a Route),
    Unhandled,
    NoAction,
}

/// An entry that was given to this process.
pub(crate) struct Delivered {
    pub(crate) lane: Arc<Lane>,
    pub(crate) id: EntryId,
    pub(crate) fields: Fields,
    pub(crate) attempt: u32,
}
