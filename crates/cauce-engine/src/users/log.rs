//! What was denied: ACL LOG.

use std::collections::VecDeque;

use crate::time::Timestamp;

/// The same denial within this time is counted, not listed again.
const GROUPED_MS: u64 = 60_000;

/// Where a denied command came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Context {
    Toplevel,
    Multi,
    Script,
}

impl Context {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Toplevel => "toplevel",
            Self::Multi => "multi",
            Self::Script => "lua",
        }
    }
}

/// One line of the log.
#[derive(Debug, Clone)]
pub(crate) struct Denial {
    pub(crate) id: u64,
    pub(crate) count: u64,
    /// `command`, `key`, `channel` or `auth`.
    pub(crate) reason: &'static str,
    pub(crate) context: Context,
    pub(crate) object: Box<[u8]>,
    pub(crate) user: Box<[u8]>,
    pub(crate) client: String,
    pub(crate) created: Timestamp,
    pub(crate) updated: Timestamp,
}

/// The newest denials.
#[derive(Debug, Default)]
pub(crate) struct DenialLog {
    entries: VecDeque<Denial>,
    next_id: u64,
}

impl DenialLog {
    /// Adds a denial, to one like it if that is recent. At most `max` are kept.
    pub(crate) fn add(&mut self, mut denial: Denial, max: usize) {
        let now = denial.updated;
        let alike = self.entries.iter().position(|old| {
            let same = (old.reason, old.context, &old.object, &old.user)
                == (denial.reason, denial.context, &denial.object, &denial.user);
            same && now.since(old.updated).as_millis() <= u128::from(GROUPED_MS)
        });
        if let Some(old) = alike.and_then(|at| self.entries.remove(at)) {
            denial = Denial { id: old.id, count: old.count + 1, created: old.created, ..denial };
        } else {
            denial.id = self.next_id;
            self.next_id += 1;
        }
        self.entries.push_front(denial);
        self.entries.truncate(max);
    }

    /// The denials, newest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Denial> {
        self.entries.iter()
    }

    pub(crate) fn clear(&mut self) {
        self.entries.clear();
    }
}
