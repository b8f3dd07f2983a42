//! The statistics service: a group of its own, so that it gets every event whatever the desks do with it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cauce::{Delivery, HandlerError, Headers, State};

use super::super::books::Group;
use super::super::events::{Action, Arrived, Cancelled, Departed, Scheduled};
use super::desk::Desk;

/// The group.
pub(in super::super) const GROUP: Group = Group { name: "statistics", acts_on: &Action::ALL };

/// The service's state.
#[derive(Debug)]
pub(in super::super) struct Statistics {
    desk: Desk,
    scheduled: AtomicU64,
    departed: AtomicU64,
    arrived: AtomicU64,
    cancelled: AtomicU64,
    /// Sum of the minutes of late departures.
    late_minutes: AtomicU64,
}

impl Statistics {
    pub(in super::super) fn new(desk: Desk) -> Arc<Self> {
        Arc::new(Self {
            desk,
            scheduled: AtomicU64::new(0),
            departed: AtomicU64::new(0),
            arrived: AtomicU64::new(0),
            cancelled: AtomicU64::new(0),
            late_minutes: AtomicU64::new(0),
        })
    }

    /// The figures in a sentence.
    pub(in super::super) fn summary(&self) -> String {
        let [scheduled, departed, arrived, cancelled, late] =
            [&self.scheduled, &self.departed, &self.arrived, &self.cancelled, &self.late_minutes]
                .map(|figure| figure.load(Ordering::Relaxed));
        let mean = late as f64 / departed.max(1) as f64;
        format!(
            "{scheduled} flights scheduled, {cancelled} cancelled; {departed} left, {mean:.0} minutes late on \
             average; {arrived} arrived"
        )
    }
}

pub(super) async fn scheduled(
    event: Scheduled,
    State(statistics): State<Arc<Statistics>>,
    headers: Headers,
    delivery: Delivery,
) -> Result<(), HandlerError> {
    let work = statistics.desk.begin(&headers, &delivery).await?;
    statistics.scheduled.fetch_add(1, Ordering::Relaxed);
    work.done(event.sent_us)
}

pub(super) async fn departed(
    event: Departed,
    State(statistics): State<Arc<Statistics>>,
    headers: Headers,
    delivery: Delivery,
) -> Result<(), HandlerError> {
    let work = statistics.desk.begin(&headers, &delivery).await?;
    statistics.departed.fetch_add(1, Ordering::Relaxed);
    statistics.late_minutes.fetch_add(u64::try_from(event.delay_minutes).unwrap_or(0), Ordering::Relaxed);
    work.done(event.sent_us)
}

pub(super) async fn arrived(
    event: Arrived,
    State(statistics): State<Arc<Statistics>>,
    headers: Headers,
    delivery: Delivery,
) -> Result<(), HandlerError> {
    let work = statistics.desk.begin(&headers, &delivery).await?;
    statistics.arrived.fetch_add(1, Ordering::Relaxed);
    work.done(event.sent_us)
}

pub(super) async fn cancelled(
    event: Cancelled,
    State(statistics): State<Arc<Statistics>>,
    headers: Headers,
    delivery: Delivery,
) -> Result<(), HandlerError> {
    let work = statistics.desk.begin(&headers, &delivery).await?;
    statistics.cancelled.fetch_add(1, Ordering::Relaxed);
    work.done(event.sent_us)
}
