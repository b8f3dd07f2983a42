//! What the pipe inside a process is worth: publishing and group consumption through it, against the same
//! over TCP loopback. Broker, pipe, sockets and load all live in this process, on one runtime, so that only
//! the way between them differs.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::Context;
use cauce_broker::{Broker, Config, Listener};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use super::entries::{acknowledge, read_entries};
use super::load::{Meter, Sample};
use super::report::{Rounds, Row};
use super::scenarios::{Measured, SEED_ENTRY};
use crate::client::resp::{Cursor, Scanner, encode};

const KEY: &[u8] = b"cauce:bench";
const GROUP: &[u8] = b"consume";
const DEPTH: u64 = 64;
/// Filled per second of the asked measuring time, before the clock of the consumption starts.
const ENTRIES_PER_SECOND: f64 = 100_000.0;

/// A connection of either kind.
trait Connection: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Connection for T {}

/// Runs both scenarios: A is the pipe, B is TCP.
pub(super) fn run(
    rounds: u32,
    measured: Duration,
    mut tell: impl FnMut(&Row) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let house = runtime.block_on(House::new())?;
    let mut publish = Rounds::new("publish", "XADD, one connection, 64 requests deep");
    let mut consume = Rounds::new("consume", "XREADGROUP COUNT 100 + XACK, one consumer; entries");
    for found in [&mut publish, &mut consume] {
        let is_publish = found.name == "publish";
        for round in 0..rounds {
            // Who goes first alternates.
            for is_pipe in [round % 2 == 0, round % 2 == 1] {
                let sample = runtime.block_on(async {
                    // A task of its own: the thread that blocks here is not one of the runtime's.
                    let house = house.clone();
                    tokio::spawn(async move { house.round(is_pipe, is_publish, measured).await }).await?
                })?;
                let side = if is_pipe { &mut found.a } else { &mut found.b };
                side.push(Measured::Rate(sample));
            }
        }
        tell(&found.row().context("no round was run")?)?;
    }
    Ok(())
}

/// The broker and where it listens.
#[derive(Debug, Clone)]
struct House {
    broker: Broker,
    address: SocketAddr,
}

impl House {
    async fn new() -> anyhow::Result<Self> {
        let listener = Listener::tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), false).await?;
        let address = listener.address().context("a TCP listener has an address")?;
        let broker = Broker::in_memory(Config::default());
        let served = broker.clone();
        tokio::spawn(async move { served.serve(listener).await });
        Ok(Self { broker, address })
    }

    async fn connect(&self, is_pipe: bool) -> anyhow::Result<Box<dyn Connection>> {
        if is_pipe {
            return Ok(Box::new(self.broker.connect()));
        }
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        Ok(Box::new(stream))
    }

    async fn round(&self, is_pipe: bool, is_publish: bool, measured: Duration) -> anyhow::Result<Sample> {
        let mut control = self.connect(true).await?;
        call(&mut control, &[b"DEL", KEY]).await?;
        let mut stream = self.connect(is_pipe).await?;
        let sample = if is_publish {
            publish(&mut stream, measured).await
        } else {
            let entries = (measured.as_secs_f64() * ENTRIES_PER_SECOND) as u64;
            fill(&mut control, entries).await?;
            call(&mut control, &[b"XGROUP", b"CREATE", KEY, GROUP, b"0"]).await?;
            consume(&mut stream, entries).await
        };
        call(&mut control, &[b"DEL", KEY]).await?;
        sample
    }
}

async fn publish(stream: &mut impl Connection, measured: Duration) -> anyhow::Result<Sample> {
    let batch = xadds();
    let mut replies = Replies::new();
    let meter = Meter::start(Some(std::process::id()), 0);
    let began = Instant::now();
    let mut done = 0;
    while began.elapsed() < measured {
        stream.write_all(&batch).await?;
        replies.wait_for(stream, DEPTH).await?;
        done += DEPTH;
    }
    Ok(meter.stop(done))
}

async fn consume(stream: &mut impl Connection, entries: u64) -> anyhow::Result<Sample> {
    let mut read = Vec::new();
    encode(&mut read, &[b"XREADGROUP", b"GROUP", GROUP, b"c", b"COUNT", b"100", b"STREAMS", KEY, b">"]);
    let mut request = read.clone();
    let (mut received, mut buffer) = (Vec::new(), vec![0; 64 * 1024]);
    let (mut done, mut acknowledging) = (0, false);
    let meter = Meter::start(Some(std::process::id()), 0);
    loop {
        stream.write_all(&request).await?;
        received.clear();
        let batch = loop {
            let n = stream.read(&mut buffer).await?;
            anyhow::ensure!(n > 0, "the broker closed the connection");
            received.extend_from_slice(&buffer[..n]);
            let mut cursor = Cursor::new(&received);
            if acknowledging && cursor.next_token()?.is_none() {
                continue;
            }
            if let Some(batch) = read_entries(&mut cursor)? {
                break batch;
            }
        };
        if batch.is_empty() {
            anyhow::ensure!(done == entries, "{done} of {entries} entries were read");
            return Ok(meter.stop(done));
        }
        done += batch.len() as u64;
        acknowledging = true;
        request.clear();
        acknowledge(&mut request, KEY, GROUP, &batch);
        request.extend_from_slice(&read);
    }
}

async fn fill(stream: &mut impl Connection, entries: u64) -> anyhow::Result<()> {
    let mut replies = Replies::new();
    let one = xadds().len() / DEPTH as usize;
    for sent in (0..entries).step_by(DEPTH as usize) {
        let count = DEPTH.min(entries - sent);
        stream.write_all(&xadds()[..one * count as usize]).await?;
        replies.wait_for(stream, count).await?;
    }
    Ok(())
}

async fn call(stream: &mut impl Connection, arguments: &[&[u8]]) -> anyhow::Result<()> {
    let mut request = Vec::new();
    encode(&mut request, arguments);
    stream.write_all(&request).await?;
    Replies::new().wait_for(stream, 1).await
}

fn xadds() -> Vec<u8> {
    let mut arguments: Vec<&[u8]> = vec![b"XADD", KEY, b"*"];
    arguments.extend(SEED_ENTRY);
    let mut request = Vec::new();
    encode(&mut request, &arguments);
    request.repeat(DEPTH as usize)
}

struct Replies {
    scanner: Scanner,
    buffer: Vec<u8>,
}

impl Replies {
    fn new() -> Self {
        Self { scanner: Scanner::new(), buffer: vec![0; 64 * 1024] }
    }

    async fn wait_for(&mut self, stream: &mut impl Connection, mut replies: u64) -> anyhow::Result<()> {
        while replies > 0 {
            let n = stream.read(&mut self.buffer).await?;
            anyhow::ensure!(n > 0, "the broker closed the connection");
            replies = replies.saturating_sub(self.scanner.feed(&self.buffer[..n])?);
        }
        Ok(())
    }
}
