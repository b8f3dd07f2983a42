//! The rebooking desk: two instances of one group act on cancellations only. The booking system that they
//! call fails now and then; the service tries again.

use std::sync::Arc;

use cauce::{Delivery, HandlerError, Headers, State};

use super::super::books::Group;
use super::super::events::{Action, Cancelled};
use super::desk::Desk;

/// The group.
pub(in super::super) const GROUP: Group = Group { name: "rebooking", acts_on: &[Action::Cancelled] };

pub(super) async fn cancelled(
    event: Cancelled,
    State(desk): State<Arc<Desk>>,
    headers: Headers,
    delivery: Delivery,
) -> Result<(), HandlerError> {
    let work = desk.begin(&headers, &delivery).await?;
    if work.attempt() <= failing_attempts(event.number) {
        return work.failed("the booking system does not answer");
    }
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
