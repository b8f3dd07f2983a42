//! Two consumers of one group drain a stream that was filled before the clock starts: each reads 100
//! entries, and acknowledges them together with its next read.

use super::entries::{acknowledge, read_entries};
use super::load::{Span, Traffic, Wire, drive};
use super::scenarios::{Measured, SEED_ENTRY, Setting};
use crate::client::Server;
use crate::client::resp::{Cursor, encode};

const KEY: &[u8] = b"cauce:bench";
const GROUP: &[u8] = b"drain";
const CONSUMERS: usize = 2;
/// Filled per second of the asked measuring time, so that `--seconds` scales this scenario too.
const ENTRIES_PER_SECOND: f64 = 100_000.0;

/// Runs one round.
pub(super) fn run(server: &Server, setting: Setting) -> anyhow::Result<Measured> {
    let entries = (setting.measured.as_secs_f64() * ENTRIES_PER_SECOND) as u64;
    let mut control = server.control()?;
    control.call(&[b"DEL", KEY])?;
    let mut arguments: Vec<&[u8]> = vec![b"XADD", KEY, b"*"];
    arguments.extend(SEED_ENTRY);
    let mut xadd = Vec::new();
    encode(&mut xadd, &arguments);
    control.repeat(&xadd, entries as usize, 256)?;
    control.call(&[b"XGROUP", b"CREATE", KEY, GROUP, b"0"])?;

    let mut wires = (0..CONSUMERS).map(|_| Wire::open(server)).collect::<anyhow::Result<Vec<_>>>()?;
    let mut traffic = Drain { consumers: (0..CONSUMERS).map(Consumer::new).collect(), done: 0 };
    let sample = drive(&mut wires, &mut traffic, Span::UntilIdle, setting.pid);
    let left = control.call(&[b"XPENDING", KEY, GROUP]);
    control.call(&[b"DEL", KEY])?;
    let (sample, left) = (sample?, left?);
    anyhow::ensure!(
        sample.operations == entries && left == b"0",
        "{} of {entries} entries were read, {} stayed pending",
        sample.operations,
        String::from_utf8_lossy(&left)
    );
    Ok(Measured::Rate(sample))
}

#[derive(Debug)]
struct Consumer {
    read: Vec<u8>,
    received: Vec<u8>,
    /// The acknowledgement's reply comes before the entries.
    acknowledging: bool,
    finished: bool,
}

impl Consumer {
    fn new(number: usize) -> Self {
        let name = format!("consumer-{number}");
        let mut read = Vec::new();
        encode(
            &mut read,
            &[b"XREADGROUP", b"GROUP", GROUP, name.as_bytes(), b"COUNT", b"100", b"STREAMS", KEY, b">"],
        );
        Self { read, received: Vec::new(), acknowledging: false, finished: false }
    }

    /// What follows from a whole answer: the next bytes (none at the stream's end) and the number of
    /// entries; `None` if more of it must come.
    fn answer(&mut self) -> anyhow::Result<Option<(Vec<u8>, u64)>> {
        let mut cursor = Cursor::new(&self.received);
        if self.acknowledging && cursor.next_token()?.is_none() {
            return Ok(None);
        }
        let Some(entries) = read_entries(&mut cursor)? else { return Ok(None) };
        let count = entries.len() as u64;
        let mut next = Vec::new();
        if count > 0 {
            acknowledge(&mut next, KEY, GROUP, &entries);
            next.extend_from_slice(&self.read);
        }
        self.acknowledging = count > 0;
        self.received.clear();
        Ok(Some((next, count)))
    }
}

#[derive(Debug)]
struct Drain {
    consumers: Vec<Consumer>,
    done: u64,
}

impl Traffic for Drain {
    fn start(&mut self, wires: &mut [Wire]) -> anyhow::Result<()> {
        for (consumer, wire) in self.consumers.iter().zip(wires) {
            wire.send(&consumer.read)?;
        }
        Ok(())
    }

    fn received(&mut self, lane: usize, bytes: &[u8], wires: &mut [Wire]) -> anyhow::Result<()> {
        let consumer = &mut self.consumers[lane];
        consumer.received.extend_from_slice(bytes);
        let Some((next, entries)) = consumer.answer()? else { return Ok(()) };
        self.done += entries;
        consumer.finished = next.is_empty();
        wires[lane].send(&next)
    }

    fn done(&self) -> u64 {
        self.done
    }

    fn stop(&mut self) {}

    fn idle(&self) -> bool {
        self.consumers.iter().all(|consumer| consumer.finished)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(acknowledging: bool, reply: &[u8], expected: u64) {
        let mut consumer = Consumer::new(0);
        consumer.acknowledging = acknowledging;
        for byte in &reply[..reply.len() - 1] {
            consumer.received.push(*byte);
            assert_eq!(consumer.answer().unwrap(), None);
        }
        consumer.received.extend(reply.last());
        let (next, entries) = consumer.answer().unwrap().unwrap();
        assert_eq!(entries, expected);
        assert_eq!(next.is_empty(), expected == 0, "it goes on while there are entries");
    }

    #[test]
    fn an_answer_is_taken_when_its_last_byte_has_come() {
        let entries = "*1\r\n*2\r\n$1\r\nk\r\n*1\r\n*2\r\n$3\r\n1-0\r\n*2\r\n$1\r\nf\r\n$1\r\nv\r\n";
        check(false, entries.as_bytes(), 1);
        check(true, format!(":2\r\n{entries}").as_bytes(), 1);
        check(true, b":2\r\n*-1\r\n", 0);
    }
}
