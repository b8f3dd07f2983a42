//! The desk of the dead letters: writes down what no service could handle, with its reason.

use std::time::Duration;

use anyhow::Context;
use cauce::Bus;

use super::super::events::STREAM;
use super::super::ledger::{Fact, Ledger};
use super::super::signal::Signal;
use super::stdin::StdinClosed;
use crate::client::{Control, Server};

/// Time between two looks.
const PAUSE: Duration = Duration::from_millis(100);

/// Looks until `stop`.
pub(super) async fn run(url: &str, ledger: &Ledger, stop: StdinClosed) -> anyhow::Result<()> {
    let mut control = Server::from_url(url)?.control()?;
    Signal::Ready.send()?;
    let mut stop = std::pin::pin!(stop.wait());
    let mut last = "0".to_owned();
    loop {
        while let Some(letter) = next_letter(&mut control, &last)? {
            letter.write_down(ledger)?;
            last = letter.id;
        }
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            () = &mut stop => return Ok(()),
        }
    }
}

/// What is read of a dead letter.
#[derive(Debug)]
struct Letter {
    id: String,
    event: u64,
    group: String,
    attempts: u64,
    reason: String,
}

impl Letter {
    fn write_down(&self, ledger: &Ledger) -> anyhow::Result<()> {
        let Self { event, group, attempts, reason, .. } = self;
        ledger.write_for(group, *event, *attempts, Fact::DeadLettered(reason))?;
        Ok(Signal::Note(format!("{group} gave up event {event}: {reason}")).send()?)
    }
}

/// The first letter after `last`. Its fields say what happened; after them come the event's own.
fn next_letter(control: &mut Control, last: &str) -> anyhow::Result<Option<Letter>> {
    let key = Bus::dead_letter_stream(STREAM);
    let after = format!("({last}");
    let found = control.call_all(&[b"XRANGE", key.as_bytes(), after.as_bytes(), b"+", b"COUNT", b"1"])?;
    let texts: Vec<_> = found.iter().map(|text| String::from_utf8_lossy(text)).collect();
    let Some((id, fields)) = texts.split_first() else { return Ok(None) };
    let field = |name: &str| {
        let mut pairs = fields.chunks_exact(2);
        let value = pairs.find_map(|pair| (pair[0] == name).then(|| pair[1].to_string()));
        value.with_context(|| format!("a dead letter has no field '{name}'"))
    };
    Ok(Some(Letter {
        id: id.to_string(),
        event: field("id")?.parse().context("a dead letter is no event of this run")?,
        group: field("group")?,
        attempts: field("attempts")?.parse()?,
        reason: format!("{}: {}", field("reason")?, field("error")?),
    }))
}
