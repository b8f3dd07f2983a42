//! The events of the demo, as a service author writes them.

use cauce::Event;
use serde::{Deserialize, Serialize};

/// The stream of all events.
pub(super) const STREAM: &str = Scheduled::STREAM;

/// A flight stands on the boards.
#[derive(Debug, Event, Serialize, Deserialize)]
#[event(stream = "flights", action = "flight.scheduled", key = "flight")]
pub(super) struct Scheduled {
    pub(super) flight: String,
    pub(super) origin: String,
    pub(super) destination: String,
    /// When it is to leave, by New York's clock.
    pub(super) departure: String,
    /// When it was published, in microseconds since 1970.
    pub(super) sent_us: u64,
}

/// A flight has left.
#[derive(Debug, Event, Serialize, Deserialize)]
#[event(stream = "flights", action = "flight.departed", key = "flight")]
pub(super) struct Departed {
    pub(super) flight: String,
    pub(super) origin: String,
    pub(super) destination: String,
    pub(super) at: String,
    /// Negative if it left early.
    pub(super) delay_minutes: i32,
    /// When it was published, in microseconds since 1970.
    pub(super) sent_us: u64,
}

/// A flight has arrived.
#[derive(Debug, Event, Serialize, Deserialize)]
#[event(stream = "flights", action = "flight.arrived", key = "flight")]
pub(super) struct Arrived {
    pub(super) flight: String,
    pub(super) destination: String,
    pub(super) at: String,
    /// Negative if it arrived early; not known for a diverted flight.
    pub(super) delay_minutes: Option<i32>,
    /// When it was published, in microseconds since 1970.
    pub(super) sent_us: u64,
}

/// A flight will not leave.
#[derive(Debug, Event, Serialize, Deserialize)]
#[event(stream = "flights", action = "flight.cancelled", key = "flight")]
pub(super) struct Cancelled {
    pub(super) flight: String,
    pub(super) number: u32,
    pub(super) origin: String,
    pub(super) destination: String,
    /// When it was to leave, by New York's clock.
    pub(super) departure: String,
    /// When it was published, in microseconds since 1970.
    pub(super) sent_us: u64,
}

/// A cancellation that no handler can read, as an older program might write it: the number is a word.
#[derive(Debug, Event, Serialize, Deserialize)]
#[event(stream = "flights", action = "flight.cancelled", key = "flight")]
pub(super) struct Garbled {
    pub(super) flight: String,
    pub(super) number: String,
}

/// The channel of the gate displays.
pub(super) const GATES: &str = Notice::CHANNEL;

/// What the gate displays show: a message on a channel, for whoever is there.
#[derive(Debug, Event, Serialize, Deserialize)]
#[event(channel = "gates", action = "gate.notice")]
pub(super) struct Notice {
    /// Number of the event that it tells of.
    pub(super) event: u64,
    /// When it was sent, in microseconds since 1970.
    pub(super) sent_us: u64,
    pub(super) text: String,
}

/// The kinds of events on the stream `flights`, in the order in which they follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Action {
    /// [`Scheduled`].
    Scheduled,
    /// [`Departed`].
    Departed,
    /// [`Cancelled`].
    Cancelled,
    /// [`Arrived`].
    Arrived,
}

impl Action {
    /// All of them.
    pub(super) const ALL: [Self; 4] = [Self::Scheduled, Self::Departed, Self::Cancelled, Self::Arrived];

    /// The name on the stream.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Scheduled => Scheduled::ACTION,
            Self::Departed => Departed::ACTION,
            Self::Cancelled => Cancelled::ACTION,
            Self::Arrived => Arrived::ACTION,
        }
    }

    /// The action of this name.
    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.name() == name)
    }
}
