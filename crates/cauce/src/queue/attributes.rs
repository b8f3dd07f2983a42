//! A queue's settings and counters.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use redis::Value;

use super::error::QueueError;
use super::name::{Units, check_attribute, check_maxsize};
use crate::backend::reply;

/// The settings of a new queue. The defaults are RSMQ's: 30 seconds, no delay, 65,536 characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueOptions {
    vt: Duration,
    delay: Duration,
    maxsize: Option<u32>,
}

impl Default for QueueOptions {
    fn default() -> Self {
        Self { vt: Duration::from_secs(30), delay: Duration::ZERO, maxsize: Some(65_536) }
    }
}

impl QueueOptions {
    /// RSMQ's defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How long a received message stays hidden from others: 0 to 9,999,999 whole seconds.
    #[must_use]
    pub fn vt(mut self, vt: Duration) -> Self {
        self.vt = vt;
        self
    }

    /// How long a message that was sent stays hidden from all: 0 to 9,999,999 whole seconds.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// How long a message may be, in UTF-16 units: 1024 to 65,536, or `None` for no limit.
    #[must_use]
    pub fn maxsize(mut self, maxsize: Option<u32>) -> Self {
        self.maxsize = maxsize;
        self
    }

    /// vt, delay and maxsize as they stand in the hash.
    pub(super) fn fields(&self, units: Units) -> Result<[String; 3], QueueError> {
        Ok([
            check_attribute("vt", self.vt, units)?,
            check_attribute("delay", self.delay, units)?,
            check_maxsize(self.maxsize)?,
        ])
    }
}

/// Which settings of a queue to change; the others stay.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueChanges(Vec<Change>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Vt(Duration),
    Delay(Duration),
    MaxSize(Option<u32>),
}

impl QueueChanges {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// As [`QueueOptions::vt`]. It holds for receipts from now on.
    #[must_use]
    pub fn vt(mut self, vt: Duration) -> Self {
        self.0.push(Change::Vt(vt));
        self
    }

    /// As [`QueueOptions::delay`]. It holds for messages that are sent from now on.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.0.push(Change::Delay(delay));
        self
    }

    /// As [`QueueOptions::maxsize`].
    #[must_use]
    pub fn maxsize(mut self, maxsize: Option<u32>) -> Self {
        self.0.push(Change::MaxSize(maxsize));
        self
    }

    /// Whether nothing of a queue that counts in other units is left.
    pub(super) fn sets_all_times(&self) -> bool {
        let has = |wanted: fn(&Change) -> bool| self.0.iter().any(wanted);
        has(|change| matches!(change, Change::Vt(_))) && has(|change| matches!(change, Change::Delay(_)))
    }

    pub(super) fn fields(&self, units: Units) -> Result<Vec<(&'static str, String)>, QueueError> {
        let mut fields = Vec::new();
        for change in &self.0 {
            fields.push(match *change {
                Change::Vt(time) => ("vt", check_attribute("vt", time, units)?),
                Change::Delay(time) => ("delay", check_attribute("delay", time, units)?),
                Change::MaxSize(size) => ("maxsize", check_maxsize(size)?),
            });
        }
        if fields.is_empty() {
            return Err(QueueError::NoAttributeSupplied);
        }
        if self.0.iter().any(|change| !matches!(change, Change::MaxSize(_))) {
            fields.push(("units", units.mark().to_owned()));
        }
        Ok(fields)
    }
}

/// A queue's settings and counters, as one moment saw them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueAttributes {
    /// How long a received message stays hidden from others.
    pub vt: Duration,
    /// How long a message that was sent stays hidden from all.
    pub delay: Duration,
    /// How long a message may be, in UTF-16 units; `None` for no limit.
    pub maxsize: Option<u32>,
    /// How many receipts there were.
    pub totalrecv: u64,
    /// How many messages were sent.
    pub totalsent: u64,
    /// When the queue was made, to the second.
    pub created: SystemTime,
    /// When its settings were changed last, to the second.
    pub modified: SystemTime,
    /// How many messages it holds, hidden ones included.
    pub msgs: u64,
    /// How many of them are hidden. As in RSMQ to the second: one that became visible within the current second counts as hidden.
    pub hiddenmsgs: u64,
}

impl QueueAttributes {
    /// Reads the reply of the script.
    pub(super) fn of(reply: Value, units: Units) -> Option<Self> {
        let items = reply::list(reply)?;
        // Totals are not there before the first message.
        let number = |index: usize| match items.get(index) {
            Some(Value::Nil) => Some(0),
            Some(value) => reply::count(value),
            None => None,
        };
        let seconds = |index| number(index).map(|seconds| UNIX_EPOCH + Duration::from_secs(seconds));
        Some(Self {
            vt: units.duration(number(0)?),
            delay: units.duration(number(1)?),
            maxsize: items.get(2).and_then(reply::count).and_then(|size| u32::try_from(size).ok()),
            totalrecv: number(3)?,
            totalsent: number(4)?,
            created: seconds(5)?,
            modified: seconds(6)?,
            msgs: number(7)?,
            hiddenmsgs: number(8)?,
        })
    }
}
