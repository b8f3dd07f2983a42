//! The delay desk: several instances of one group share the departures and arrivals, and look for the late
//! ones. One of them is killed in mid-work; its siblings claim what it had in hand.

use std::sync::Arc;
use std::sync::Mutex;

use cauce::{Delivery, HandlerError, Headers, State};

use super::super::books::Group;
use super::super::events::{Action, Arrived, Departed};
use super::desk::Desk;

/// The group.
pub(in super::super) const GROUP: Group =
    Group { name: "delay", acts_on: &[Action::Departed, Action::Arrived] };

/// From here on a flight counts as late.
const LATE_MINUTES: i32 = 15;

/// One instance.
#[derive(Debug)]
pub(in super::super) struct DelayDesk {
    desk: Desk,
    found: Mutex<Found>,
}

#[derive(Debug, Default)]
struct Found {
    late: u64,
    worst: Option<(i32, String)>,
}

impl DelayDesk {
    pub(in super::super) fn new(desk: Desk) -> Arc<Self> {
        Arc::new(Self { desk, found: Mutex::default() })
    }

    /// What it found, in a sentence.
    pub(in super::super) fn summary(&self) -> String {
        let found = self.found.lock().expect("no handler panics while it holds the lock");
        match &found.worst {
            Some((minutes, flight)) => {
                format!(
                    "{} late departures and arrivals, the worst {flight} with {minutes} minutes",
                    found.late
                )
            }
            None => "no late flight".to_owned(),
        }
    }

    fn note(&self, flight: String, minutes: i32) {
        if minutes < LATE_MINUTES {
            return;
        }
        let mut found = self.found.lock().expect("no handler panics while it holds the lock");
        found.late += 1;
        if found.worst.as_ref().is_none_or(|(worst, _)| minutes > *worst) {
            found.worst = Some((minutes, flight));
        }
    }
}

pub(super) async fn departed(
    event: Departed,
    State(desk): State<Arc<DelayDesk>>,
    headers: Headers,
    delivery: Delivery,
) -> Result<(), HandlerError> {
    let work = desk.desk.begin(&headers, &delivery).await?;
    desk.note(event.flight, event.delay_minutes);
    work.done(event.sent_us)
}

pub(super) async fn arrived(
    event: Arrived,
    State(desk): State<Arc<DelayDesk>>,
    headers: Headers,
    delivery: Delivery,
) -> Result<(), HandlerError> {
    let work = desk.desk.begin(&headers, &delivery).await?;
    if let Some(minutes) = event.delay_minutes {
        desk.note(event.flight, minutes);
    }
    work.done(event.sent_us)
}
