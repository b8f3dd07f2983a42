//! A gate display: every instance sees every notice that is sent while it is there, and is told what it missed.

use cauce::{Bus, Received};

use super::super::events::{GATES, Notice};
use super::super::ledger::{Fact, Ledger};
use super::super::signal::Signal;
use super::desk::now_us;
use super::orders::Orders;

/// Shows notices until `stop`.
pub(super) async fn run(bus: &Bus, ledger: &Ledger, orders: Orders) -> anyhow::Result<()> {
    let mut notices = bus.subscribe::<Notice>([GATES]).await?;
    Signal::Ready.send()?;
    let mut stop = std::pin::pin!(orders.finish());
    loop {
        let received = tokio::select! {
            received = notices.next() => received,
            () = &mut stop => return Ok(()),
        };
        match received {
            Received::Message { body, .. } => {
                let latency_us = now_us().saturating_sub(body.sent_us);
                ledger.write(body.event, 1, Fact::Seen { latency_us })?;
            }
            Received::Missed(count) => ledger.write(0, 1, Fact::Missed(count))?,
            Received::Reconnected => {
                Signal::Note("a display lost the connection, and what came meanwhile".into()).send()?;
            }
            other => anyhow::bail!("received what is no notice: {other:?}"),
        }
    }
}
