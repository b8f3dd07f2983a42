//! The rebooking desk: two instances of one group act on cancellations only. The booking system that they
//! call fails now and then; the service tries again. For each rebooked flight they send a job to the ticket desk's queue.

use std::sync::Arc;

use cauce::{Delivery, HandlerError, Headers, Json, Queue, State};

use super::super::books::Group;
use super::super::events::{Action, Cancelled};
use super::desk::{Desk, now_us};
use super::tickets::{self, Job};

/// The group.
pub(in super::super) const GROUP: Group = Group { name: "rebooking", acts_on: &[Action::Cancelled] };

/// One instance of the desk, and the queue that it sends to.
pub(super) struct Rebooking {
    desk: Desk,
    tickets: Queue,
}

impl Rebooking {
    pub(super) fn new(desk: Desk, tickets: Queue) -> Self {
        Self { desk, tickets }
    }
}

pub(super) async fn cancelled(
    event: Cancelled,
    State(rebooking): State<Arc<Rebooking>>,
    headers: Headers,
    delivery: Delivery,
) -> Result<(), HandlerError> {
    let work = rebooking.desk.begin(&headers, &delivery).await?;
    if work.attempt() <= failing_attempts(event.number) {
        return work.failed("the booking system does not answer");
    }
    let job = Job { event: work.event(), flight: event.flight, sent_us: now_us() };
    rebooking.tickets.send_in(tickets::DELAY, &Json(job)).await?;
    work.sent()?;
    work.done(event.sent_us)
}

/// How often the booking system fails for a flight: never, once, or twice, by the flight's number, so that
/// every run shows the same.
fn failing_attempts(flight_number: u32) -> u64 {
    match flight_number {
        number if number.is_multiple_of(21) => 2,
        number if number.is_multiple_of(7) => 1,
        _ => 0,
    }
}
