//! Where a queue is kept.

use super::name::Units;

/// The keys of one queue, and how it is written.
#[derive(Debug)]
pub(super) struct Keys {
    pub(super) name: String,
    /// A sorted set: ids by the time from which they are visible.
    pub(super) messages: String,
    /// A hash: settings, totals, and per message its body, receive count and first receipt.
    pub(super) hash: String,
    /// The set of all queues of the namespace.
    pub(super) registry: String,
    /// The channel on which sends are announced.
    pub(super) channel: String,
    pub(super) units: Units,
    /// Whether our own sends are announced.
    pub(super) is_realtime: bool,
}

impl Keys {
    pub(super) fn new(namespace: &str, name: &str, units: Units, is_realtime: bool) -> Self {
        Self {
            name: name.to_owned(),
            messages: format!("{namespace}:{name}"),
            hash: format!("{namespace}:{name}:Q"),
            registry: registry(namespace),
            channel: format!("{namespace}:rt:{name}"),
            units,
            is_realtime,
        }
    }

    /// The keys that most scripts take.
    pub(super) fn both(&self) -> [&str; 2] {
        [&self.messages, &self.hash]
    }

    /// Where to announce sends; empty for nowhere.
    pub(super) fn announcement(&self) -> &str {
        if self.is_realtime { &self.channel } else { "" }
    }
}

pub(super) fn registry(namespace: &str) -> String {
    format!("{namespace}:QUEUES")
}
