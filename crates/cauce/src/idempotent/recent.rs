//! Streams that this bus published on a moment ago. An event that goes to one of them needs no mark: should its reply be lost, it is looked for among
//! what came after the entry that was confirmed last.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::entry::EntryId;

/// So often a publish leaves a mark, and sees whether the stream keeps what it gets.
const FRESH: Duration = Duration::from_secs(1);
/// Without such a publish for so long, all of them do.
const STALE: Duration = Duration::from_secs(2);
/// Streams that are known at once; on further ones each publish leaves a mark.
const STREAMS_MAX: usize = 1_024;

#[derive(Debug, Default)]
pub(super) struct Recent {
    streams: Mutex<HashMap<String, Known>>,
}

#[derive(Debug)]
struct Known {
    /// Confirmed: what is sent from now on comes after it.
    last: EntryId,
    looked: Instant,
    /// A publish is under way that looks again.
    is_looking: bool,
    /// The stream keeps what it gets for a minute at least.
    is_calm: bool,
}

/// How an event is to be published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Without a mark; it will stand behind this entry.
    Plain(EntryId),
    /// With a mark.
    Marked {
        /// Whether to see how the stream is.
        look: bool,
    },
}

impl Recent {
    pub(super) fn way(&self, stream: &str) -> Way {
        let now = Instant::now();
        let mut streams = self.lock();
        let Some(known) = streams.get_mut(stream) else { return Way::Marked { look: true } };
        let age = now.duration_since(known.looked);
        if age >= FRESH && !known.is_looking {
            known.is_looking = true;
            return Way::Marked { look: true };
        }
        if known.is_calm && age < STALE { Way::Plain(known.last) } else { Way::Marked { look: age >= STALE } }
    }

    /// An entry without a mark is confirmed.
    pub(super) fn confirmed(&self, stream: &str, entry: EntryId) {
        if let Some(known) = self.lock().get_mut(stream) {
            known.last = known.last.max(entry);
        }
    }

    /// A publish saw how the stream is, and appended this entry.
    pub(super) fn looked(&self, stream: &str, entry: EntryId, is_calm: bool) {
        let looked = Instant::now();
        let mut streams = self.lock();
        if streams.len() >= STREAMS_MAX && !streams.contains_key(stream) {
            streams.retain(|_, known| looked.duration_since(known.looked) < STALE);
            if streams.len() >= STREAMS_MAX {
                return;
            }
        }
        streams.insert(stream.to_owned(), Known { last: entry, looked, is_looking: false, is_calm });
    }

    /// What is on the stream does not fit what was known of it.
    pub(super) fn forget(&self, stream: &str) {
        self.lock().remove(stream);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Known>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_publish_a_second_leaves_a_mark() {
        let recent = Recent::default();
        assert_eq!(recent.way("s"), Way::Marked { look: true });
        recent.looked("s", EntryId::new(5, 0), true);
        assert_eq!(recent.way("s"), Way::Plain(EntryId::new(5, 0)));
        recent.confirmed("s", EntryId::new(7, 0));
        recent.confirmed("s", EntryId::new(6, 0));
        assert_eq!(recent.way("s"), Way::Plain(EntryId::new(7, 0)));
        tokio::time::advance(FRESH).await;
        assert_eq!(recent.way("s"), Way::Marked { look: true });
        assert_eq!(recent.way("s"), Way::Plain(EntryId::new(7, 0)), "one looks for all");
        tokio::time::advance(FRESH).await;
        assert_eq!(recent.way("s"), Way::Marked { look: true }, "it is not known any more");
        recent.looked("s", EntryId::new(8, 0), false);
        assert_eq!(recent.way("s"), Way::Marked { look: false }, "what it gets is gone soon");
        recent.forget("s");
        assert_eq!(recent.way("s"), Way::Marked { look: true });
    }

    #[tokio::test(start_paused = true)]
    async fn streams_that_are_known_are_bounded() {
        let recent = Recent::default();
        for number in 0..STREAMS_MAX + 10 {
            recent.looked(&number.to_string(), EntryId::new(1, 0), true);
        }
        assert_eq!(recent.lock().len(), STREAMS_MAX);
        assert_eq!(recent.way(&STREAMS_MAX.to_string()), Way::Marked { look: true });
        tokio::time::advance(STALE).await;
        recent.looked("another", EntryId::new(1, 0), true);
        assert_eq!(recent.lock().len(), 1);
    }
}
