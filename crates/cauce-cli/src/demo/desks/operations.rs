//! The operations desk: publishes what happens to the flights, in the order of time, on the stream that
//! services share and on the channel that displays watch.

use std::time::{Duration, Instant};

use anyhow::Context;
use cauce::{Bus, Metadata};
use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::super::data::{Happening, Timeline};
use super::super::events::{Action, Arrived, Cancelled, Departed, Garbled, Notice, Scheduled};
use super::super::ledger::{Fact, Ledger};
use super::super::signal::Signal;
use super::desk::now_us;

/// Events under way at once when the replay goes as fast as it can.
const UNDER_WAY: usize = 512;

/// The poison comes after this share of the events.
const POISON_AFTER: f64 = 0.6;

/// How fast the time of the flights goes by.
#[derive(Debug, Clone, Copy)]
pub(in super::super) enum Pace {
    /// All of it within so long.
    Within(Duration),
    /// As fast as the broker takes it.
    Full,
}

/// Publishes all events and writes down each that the broker confirmed.
pub(in super::super) async fn run(
    bus: &Bus,
    ledger: &Ledger,
    timeline: &Timeline,
    pace: Pace,
) -> anyhow::Result<()> {
    let desk = Operations { bus, ledger, timeline };
    let happenings = &timeline.happenings;
    Signal::Planned(happenings.len() as u64 + 1).send()?;
    let poison_at = (happenings.len() as f64 * POISON_AFTER) as usize;
    let (before, after) = happenings.split_at(poison_at);
    let began = Instant::now();
    desk.replay(1, before, pace, began).await?;
    desk.poison(happenings.len() as u64 + 1).await?;
    desk.replay(poison_at as u64 + 1, after, pace, began).await
}

struct Operations<'a> {
    bus: &'a Bus,
    ledger: &'a Ledger,
    timeline: &'a Timeline,
}

impl Operations<'_> {
    /// Publishes `happenings`, of which the first has the number `first`.
    async fn replay(
        &self,
        first: u64,
        happenings: &[Happening],
        pace: Pace,
        began: Instant,
    ) -> anyhow::Result<()> {
        let numbered = (first..).zip(happenings);
        match pace {
            Pace::Within(length) => {
                for (number, happening) in numbered {
                    tokio::time::sleep_until((began + self.due(happening, length)).into()).await;
                    self.publish(number, happening).await?;
                }
                Ok(())
            }
            Pace::Full => {
                let published =
                    stream::iter(numbered).map(|(number, happening)| self.publish(number, happening));
                published.buffered(UNDER_WAY).try_collect().await
            }
        }
    }

    /// When a happening's turn comes, if all are to fit into `length`.
    fn due(&self, happening: &Happening, length: Duration) -> Duration {
        let all = &self.timeline.happenings;
        let (Some(first), Some(last)) = (all.first(), all.last()) else { return Duration::ZERO };
        let span = last.at.minutes_since(first.at).max(1) as f64;
        length.mul_f64(happening.at.minutes_since(first.at) as f64 / span)
    }

    async fn publish(&self, number: u64, happening: &Happening) -> anyhow::Result<()> {
        let what = self.send(number, happening).await.with_context(|| format!("event {number}"))?;
        self.ledger.write(number, 1, Fact::Published(happening.action))?;
        let notice = Notice { event: number, sent_us: now_us(), text: what };
        self.bus.broadcast(&notice).await.with_context(|| format!("notice of event {number}"))?;
        self.ledger.write(number, 1, Fact::Announced)?;
        Ok(())
    }

    /// Publishes one event; returns what a display says about it.
    async fn send(&self, number: u64, happening: &Happening) -> Result<String, cauce::PublishError> {
        let flight = &self.timeline.flights[happening.flight];
        let (name, origin, destination) =
            (flight.name.clone(), flight.origin.clone(), flight.destination.clone());
        let text = format!("{name} {origin} {destination} {}", happening.action.name());
        let metadata = Metadata::new().id(number.to_string());
        let (at, sent_us) = (happening.at.to_string(), now_us());
        let departure = flight.scheduled.to_string();
        match happening.action {
            Action::Scheduled => {
                let event = Scheduled { flight: name, origin, destination, departure, sent_us };
                self.bus.publish_with(&event, &metadata).await?;
            }
            Action::Departed => {
                let delay_minutes = flight.departure_delay.unwrap_or(0);
                let event = Departed { flight: name, origin, destination, at, delay_minutes, sent_us };
                self.bus.publish_with(&event, &metadata).await?;
            }
            Action::Arrived => {
                let delay_minutes = flight.arrival_delay;
                let event = Arrived { flight: name, destination, at, delay_minutes, sent_us };
                self.bus.publish_with(&event, &metadata).await?;
            }
            Action::Cancelled => {
                let number = flight.number;
                let event = Cancelled { flight: name, number, origin, destination, departure, sent_us };
                self.bus.publish_with(&event, &metadata).await?;
            }
        }
        Ok(text)
    }

    /// Publishes an event that no handler can read: a cancellation as an older program wrote them.
    async fn poison(&self, number: u64) -> anyhow::Result<()> {
        let event = Garbled { flight: "UA".to_owned(), number: "unknown".to_owned() };
        self.bus.publish_with(&event, &Metadata::new().id(number.to_string())).await?;
        self.ledger.write(number, 1, Fact::Published(Action::Cancelled))?;
        Signal::Note(format!("published event {number}, which no handler can read")).send()?;
        Ok(())
    }
}
