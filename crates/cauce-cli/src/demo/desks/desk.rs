//! What the handlers of every service have in common: they write down what they did before they return.

use std::future::pending;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use cauce::{Delivery, HandlerError, Headers};

use super::super::ledger::{Fact, Ledger};
use super::super::signal::Signal;
use super::orders::Orders;

/// One instance of a service.
#[derive(Debug)]
pub(in super::super) struct Desk {
    ledger: Ledger,
    begun: AtomicU64,
    orders: Orders,
    /// This event (counted from 1) is acknowledged without being handled: the fault that the books must find.
    skip_at: Option<u64>,
}

/// One delivery in hand.
#[derive(Debug)]
pub(in super::super) struct Work<'a> {
    desk: &'a Desk,
    event: u64,
    attempt: u64,
    skip: bool,
}

/// An entry whose id is not one of the operations desk's.
#[derive(Debug, thiserror::Error)]
#[error("the event's id is not a number of this run")]
struct StrangeId;

impl Desk {
    /// A desk that keeps this ledger.
    pub(in super::super) fn new(ledger: Ledger, orders: Orders, skip_at: Option<u64>) -> Self {
        Self { ledger, begun: AtomicU64::new(0), orders, skip_at }
    }

    /// Takes a delivery in hand; on the conductor's order, for ever: the instance is killed over it.
    pub(super) async fn begin(
        &self,
        headers: &Headers,
        delivery: &Delivery,
    ) -> Result<Work<'_>, HandlerError> {
        let event = headers.id().and_then(|id| id.parse().ok()).ok_or(StrangeId)?;
        self.take(event, delivery.attempt).await
    }

    /// The same for the job of an event.
    pub(super) async fn take(&self, event: u64, attempt: u32) -> Result<Work<'_>, HandlerError> {
        let number = Some(self.begun.fetch_add(1, Ordering::Relaxed) + 1);
        if self.orders.hold() {
            Signal::Holding(event).send()?;
            pending::<()>().await;
        }
        let skip = number == self.skip_at;
        Ok(Work { desk: self, event, attempt: u64::from(attempt), skip })
    }
}

impl Work<'_> {
    /// Which attempt this is, from 1.
    pub(super) fn attempt(&self) -> u64 {
        self.attempt
    }

    /// The event's number.
    pub(super) fn event(&self) -> u64 {
        self.event
    }

    /// Writes down that a job was sent for the event.
    pub(super) fn sent(&self) -> Result<(), HandlerError> {
        Ok(self.desk.ledger.write(self.event, self.attempt, Fact::Sent)?)
    }

    /// Writes down that the work is done. The acknowledgement follows when the handler returns.
    pub(super) fn done(&self, sent_us: u64) -> Result<(), HandlerError> {
        if !self.skip {
            let latency_us = now_us().saturating_sub(sent_us);
            self.desk.ledger.write(self.event, self.attempt, Fact::Handled { latency_us })?;
        }
        Ok(())
    }

    /// Writes down that this attempt came to nothing.
    pub(super) fn failed(&self, reason: &str) -> Result<(), HandlerError> {
        self.desk.ledger.write(self.event, self.attempt, Fact::Failed(reason))?;
        Err(HandlerError::failed(reason))
    }
}

/// Microseconds since 1970. Every part of the demo runs on one machine, so that clocks agree.
pub(super) fn now_us() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64)
}
