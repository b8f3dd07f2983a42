//! The ticket desk: two workers on a queue in RSMQ's layout, which any RSMQ client could feed as well. The rebooking desk sends
//! one job for each flight that it rebooked, visible after a moment: the passengers may still object. One worker is killed in
//! mid-work; its job comes again after the visibility timeout.

use std::sync::Arc;
use std::time::Duration;

use cauce::{Bus, HandlerError, Json, Queue, QueueDelivery, QueueOptions, State, Worker};
use serde::{Deserialize, Serialize};

use super::super::books::Group;
use super::super::events::STREAM;
use super::super::signal::Signal;
use super::desk::Desk;
use super::orders::Orders;

/// The workers of the queue, in the books.
pub(in super::super) const GROUP: Group = Group { name: "tickets", acts_on: &[] };

/// How long after the rebooking the tickets are written.
pub(super) const DELAY: Duration = Duration::from_millis(300);
/// What a dead worker had in hand comes again after this.
const VISIBILITY: Duration = Duration::from_secs(1);

/// Tickets to be written for a flight.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Job {
    /// The number of the cancellation.
    pub(super) event: u64,
    pub(super) flight: String,
    /// When it was sent, in microseconds since 1970.
    pub(super) sent_us: u64,
}

/// The queue. Its keys are among the companions of the stream, which the demo deletes at its end.
pub(super) async fn queue(bus: &Bus) -> anyhow::Result<Queue> {
    let queues = bus.queues().namespace(format!("{{{STREAM}}}:jobs"));
    Ok(queues.ensure("tickets", &QueueOptions::new()).await?)
}

/// Works until standard input ends.
pub(super) async fn run(bus: &Bus, desk: Desk, orders: Orders) -> anyhow::Result<()> {
    let worker = Worker::new(&queue(bus).await?).state(Arc::new(desk)).on(write).visibility(VISIBILITY);
    let running = worker.start().await?;
    Signal::Ready.send()?;
    orders.finish().await;
    running.stop().await;
    Ok(())
}

async fn write(
    Json(job): Json<Job>,
    delivery: QueueDelivery,
    State(desk): State<Arc<Desk>>,
) -> Result<(), HandlerError> {
    let work = desk.take(job.event, delivery.attempt).await?;
    // From the moment from which it could be written.
    work.done(job.sent_us + DELAY.as_micros() as u64)
}
