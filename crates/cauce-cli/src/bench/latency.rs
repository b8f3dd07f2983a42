//! How long an entry takes from the producer to a consumer of a group, at a fixed rate. Each entry
//! carries the time at which it was handed to the socket, whether or not the socket took it at once:
//! the schedule never waits for the server, so a stall can't hide itself.

use std::io::{ErrorKind, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use hdrhistogram::Histogram;

use super::entries::{acknowledge, read_entries};
use super::scenarios::{Measured, Setting};
use crate::client::Server;
use crate::client::resp::{Cursor, Scanner, encode};

const KEY: &[u8] = b"cauce:bench";
const GROUP: &[u8] = b"latency";
const PER_SECOND: u64 = 50_000;
/// Pause between looks at the clock: at this rate, five entries.
const TICK: Duration = Duration::from_micros(100);
const WARMUP: Duration = Duration::from_millis(300);
/// Digits of the time that each entry carries: nanoseconds since the round began.
const TIME_DIGITS: usize = 16;

/// Delays of one round.
#[derive(Debug, Clone, Copy)]
pub(super) struct Delays {
    /// Half of the entries took at most so long.
    pub(super) p50_us: u64,
    /// 99 of 100 entries.
    pub(super) p99_us: u64,
    /// The slowest.
    pub(super) max_us: u64,
}

/// Runs one round.
pub(super) fn run(server: &Server, setting: Setting) -> anyhow::Result<Measured> {
    let mut control = server.control()?;
    control.call(&[b"DEL", KEY])?;
    control.call(&[b"XGROUP", b"CREATE", KEY, GROUP, b"$", b"MKSTREAM"])?;
    let began = Instant::now();
    let producing = AtomicBool::new(true);
    let outcome = std::thread::scope(|scope| {
        let consumer = scope.spawn(|| consume(server, began, &producing));
        let produced = produce(server, began, WARMUP + setting.measured);
        producing.store(false, Ordering::Release);
        let consumed = consumer.join().map_err(|_| anyhow::anyhow!("the consumer panicked"))?;
        anyhow::Ok((produced?, consumed?))
    });
    control.call(&[b"DEL", KEY])?;
    let (produced, (consumed, delays)) = outcome?;
    anyhow::ensure!(produced == consumed, "{produced} entries were sent, {consumed} were received");
    Ok(Measured::Delay(Delays {
        p50_us: delays.value_at_quantile(0.5) / 1000,
        p99_us: delays.value_at_quantile(0.99) / 1000,
        max_us: delays.max() / 1000,
    }))
}

/// Sends entries on schedule for `span`; returns how many.
fn produce(server: &Server, began: Instant, span: Duration) -> anyhow::Result<u64> {
    let mut stream = server.connect()?;
    stream.set_nonblocking()?;
    let mut request = Vec::new();
    let zeros = [b'0'; TIME_DIGITS];
    encode(
        &mut request,
        &[b"XADD", KEY, b"*", b"action", b"action_type", b"key_1", b"value_1", b"at", &zeros],
    );
    let time_at = request.len() - TIME_DIGITS - 2;
    let total = (span.as_secs_f64() * PER_SECOND as f64) as u64;
    let first = began.elapsed();
    let interval_ns = 1_000_000_000 / PER_SECOND;
    let (mut sent, mut replied) = (0, 0);
    let mut scanner = Scanner::new();
    let mut out: Vec<u8> = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    while replied < total {
        let elapsed_ns = (began.elapsed() - first).as_nanos() as u64;
        let due = (elapsed_ns / interval_ns).min(total);
        let digits = format!("{:0TIME_DIGITS$}", began.elapsed().as_nanos());
        request[time_at..time_at + TIME_DIGITS].copy_from_slice(digits.as_bytes());
        while sent < due {
            out.extend_from_slice(&request);
            sent += 1;
        }
        send_some(&mut stream, &mut out)?;
        match stream.read(&mut buffer) {
            Ok(0) => anyhow::bail!("the server closed the producer's connection"),
            Ok(n) => replied += scanner.feed(&buffer[..n])?,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error).context("the producer's replies"),
        }
        std::thread::sleep(TICK);
    }
    Ok(sent)
}

fn send_some(stream: &mut impl Write, out: &mut Vec<u8>) -> anyhow::Result<()> {
    while !out.is_empty() {
        match stream.write(out) {
            Ok(n) => drop(out.drain(..n)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => return Err(error).context("sending entries"),
        }
    }
    Ok(())
}

/// Reads and acknowledges until the producer has ended and nothing is left; returns the count of all
/// entries and the delays (in nanoseconds) of those sent after the warm-up.
fn consume(server: &Server, began: Instant, producing: &AtomicBool) -> anyhow::Result<(u64, Histogram<u64>)> {
    let mut stream = server.connect()?;
    let mut read = Vec::new();
    let arguments: [&[u8]; 11] =
        [b"XREADGROUP", b"GROUP", GROUP, b"c", b"COUNT", b"100", b"BLOCK", b"100", b"STREAMS", KEY, b">"];
    encode(&mut read, &arguments);
    let mut delays = Histogram::new(3)?;
    let mut received = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    let mut request = read.clone();
    let (mut count, mut acknowledging) = (0, false);
    loop {
        let last = !producing.load(Ordering::Acquire);
        stream.write_all(&request)?;
        received.clear();
        let entries = loop {
            let n = stream.read(&mut buffer).context("the consumer's replies")?;
            anyhow::ensure!(n > 0, "the server closed the consumer's connection");
            received.extend_from_slice(&buffer[..n]);
            let mut cursor = Cursor::new(&received);
            if acknowledging && cursor.next_token()?.is_none() {
                continue;
            }
            if let Some(entries) = read_entries(&mut cursor)? {
                break entries;
            }
        };
        let now = began.elapsed();
        if entries.is_empty() && last {
            return Ok((count, delays));
        }
        count += entries.len() as u64;
        for entry in &entries {
            let at = Duration::from_nanos(std::str::from_utf8(entry.last_value)?.parse()?);
            if at > WARMUP {
                delays.record(now.saturating_sub(at).as_nanos() as u64)?;
            }
        }
        request.clear();
        acknowledging = !entries.is_empty();
        if acknowledging {
            acknowledge(&mut request, KEY, GROUP, &entries);
        }
        request.extend_from_slice(&read);
    }
}
