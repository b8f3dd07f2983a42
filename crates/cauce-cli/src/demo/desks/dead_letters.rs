//! The desk of the dead letters: writes down what no service could handle, with its reason.

use std::time::Duration;

use cauce::{Bus, EntryId};

use super::super::events::STREAM;
use super::super::ledger::{Fact, Ledger};
use super::super::signal::Signal;
use super::orders::Orders;

/// Time between two looks.
const PAUSE: Duration = Duration::from_millis(100);
/// Letters taken up at one look.
const COUNT: usize = 100;

/// Looks until `stop`.
pub(super) async fn run(bus: &Bus, ledger: &Ledger, orders: Orders) -> anyhow::Result<()> {
    Signal::Ready.send()?;
    let inspector = bus.inspect();
    let mut stop = std::pin::pin!(orders.finish());
    let mut last = EntryId::ZERO;
    loop {
        for letter in inspector.dead_letters(STREAM, last, COUNT).await? {
            last = letter.id;
            let event = letter.fields.text("id").and_then(|id| id.parse().ok());
            let Some(event) = event else {
                anyhow::bail!("a dead letter is no event of this run: {letter:?}")
            };
            let reason = format!("{}: {}", letter.reason, letter.error);
            ledger.write_for(
                &letter.group,
                event,
                u64::from(letter.attempts),
                Fact::DeadLettered(&reason),
            )?;
            Signal::Note(format!("{} gave up event {event}: {reason}", letter.group)).send()?;
        }
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            () = &mut stop => return Ok(()),
        }
    }
}
