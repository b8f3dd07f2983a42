//! One thread and one epoll loop that keep any number of connections busy.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

use crate::client::{Server, Stream, processor_time};

/// How long the loop waits for a server that sends nothing before it gives up.
const SILENCE: Duration = Duration::from_secs(30);

/// One connection of the generator. Bytes that the socket does not take at once wait here.
#[derive(Debug)]
pub(super) struct Wire {
    stream: Stream,
    unsent: Vec<u8>,
}

impl Wire {
    /// Connects to `server`.
    pub(super) fn open(server: &Server) -> anyhow::Result<Self> {
        let stream = server.connect()?;
        stream.set_nonblocking()?;
        Ok(Self { stream, unsent: Vec::new() })
    }

    /// Sends `bytes`, now or as soon as the socket takes them.
    pub(super) fn send(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        if !self.unsent.is_empty() {
            self.unsent.extend_from_slice(bytes);
            return Ok(());
        }
        let sent = self.write(bytes)?;
        self.unsent.extend_from_slice(&bytes[sent..]);
        Ok(())
    }

    fn send_waiting(&mut self) -> anyhow::Result<()> {
        let waiting = std::mem::take(&mut self.unsent);
        let sent = self.write(&waiting)?;
        self.unsent.extend_from_slice(&waiting[sent..]);
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> anyhow::Result<usize> {
        let mut sent = 0;
        while sent < bytes.len() {
            match self.stream.write(&bytes[sent..]) {
                Ok(n) => sent += n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error).context("sending to the server"),
            }
        }
        Ok(sent)
    }
}

/// What the connections say, and what counts as an operation.
pub(super) trait Traffic {
    /// Sends the first requests of every connection.
    fn start(&mut self, wires: &mut [Wire]) -> anyhow::Result<()>;

    /// Takes the bytes that came on connection `lane` and sends what follows from them.
    fn received(&mut self, lane: usize, bytes: &[u8], wires: &mut [Wire]) -> anyhow::Result<()>;

    /// Operations done so far.
    fn done(&self) -> u64;

    /// From now on nothing is sent; what is under way is still received.
    fn stop(&mut self);

    /// Nothing is under way any more.
    fn idle(&self) -> bool;
}

/// How long a load runs.
#[derive(Debug, Clone, Copy)]
pub(super) enum Span {
    /// Unmeasured warm-up, then the measured time.
    Timed { warmup: Duration, measured: Duration },
    /// Until the traffic has nothing more to do.
    UntilIdle,
}

/// What one measured span gave.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sample {
    /// Operations done.
    pub(super) operations: u64,
    /// In this time.
    pub(super) elapsed: Duration,
    /// The server's processor time for them, where its process is known.
    pub(super) server: Option<Duration>,
    /// The generator's own processor time for them.
    pub(super) generator: Option<Duration>,
}

/// Reads both clocks that a sample is the difference of.
#[derive(Debug)]
pub(super) struct Meter {
    pid: Option<u32>,
    began: Instant,
    server: Option<Duration>,
    generator: Option<Duration>,
    operations: u64,
}

impl Meter {
    /// Starts measuring, when `operations` were already done.
    pub(super) fn start(pid: Option<u32>, operations: u64) -> Self {
        let server = pid.and_then(processor_time);
        let generator = processor_time(std::process::id());
        Self { pid, began: Instant::now(), server, generator, operations }
    }

    /// The sample since the start.
    pub(super) fn stop(&self, operations: u64) -> Sample {
        let elapsed = self.began.elapsed();
        let spent = |pid: Option<u32>, before: Option<Duration>| {
            Some(pid.and_then(processor_time)?.saturating_sub(before?))
        };
        Sample {
            operations: operations - self.operations,
            elapsed,
            server: spent(self.pid, self.server),
            generator: spent(Some(std::process::id()), self.generator),
        }
    }
}

/// Drives `traffic` over `wires` for `span`; nothing is under way when it returns.
pub(super) fn drive(
    wires: &mut [Wire],
    traffic: &mut impl Traffic,
    span: Span,
    pid: Option<u32>,
) -> anyhow::Result<Sample> {
    let mut poll = Poll::new()?;
    for (lane, wire) in wires.iter().enumerate() {
        let fd = match &wire.stream {
            Stream::Tcp(stream) => stream.as_raw_fd(),
            Stream::Unix(stream) => stream.as_raw_fd(),
        };
        poll.registry().register(&mut SourceFd(&fd), Token(lane), Interest::READABLE | Interest::WRITABLE)?;
    }
    let (warmup, measured) = match span {
        Span::Timed { warmup, measured } => (warmup, measured),
        Span::UntilIdle => (Duration::ZERO, Duration::MAX),
    };
    let mut meter = Meter::start(pid, 0);
    let warm_until = meter.began + warmup;
    let mut warm = warmup.is_zero();
    let mut sample = None;
    let mut round = Round { events: Events::with_capacity(256), buffer: vec![0; 256 * 1024] };

    traffic.start(wires)?;
    while !traffic.idle() {
        round.turn(&mut poll, wires, traffic)?;
        let now = Instant::now();
        if !warm && now >= warm_until {
            warm = true;
            meter = Meter::start(pid, traffic.done());
        }
        if sample.is_none() && warm && now.duration_since(meter.began) >= measured {
            sample = Some(meter.stop(traffic.done()));
            traffic.stop();
        }
    }
    Ok(sample.unwrap_or_else(|| meter.stop(traffic.done())))
}

/// What one turn of the loop reuses.
struct Round {
    events: Events,
    buffer: Vec<u8>,
}

impl Round {
    /// Waits for sockets and serves each that has something.
    fn turn(
        &mut self,
        poll: &mut Poll,
        wires: &mut [Wire],
        traffic: &mut impl Traffic,
    ) -> anyhow::Result<()> {
        match poll.poll(&mut self.events, Some(SILENCE)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            other => other?,
        }
        if self.events.is_empty() {
            bail!("the server sent nothing for {} s", SILENCE.as_secs());
        }
        for event in &self.events {
            let lane = event.token().0;
            if event.is_writable() && !wires[lane].unsent.is_empty() {
                wires[lane].send_waiting()?;
            }
            if !event.is_readable() {
                continue;
            }
            loop {
                let n = match wires[lane].stream.read(&mut self.buffer) {
                    Ok(0) => bail!("the server closed a connection"),
                    Ok(n) => n,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error).context("receiving from the server"),
                };
                traffic.received(lane, &self.buffer[..n], wires)?;
                // A short read has emptied the socket: what comes later raises a new event.
                if n < self.buffer.len() {
                    break;
                }
            }
        }
        Ok(())
    }
}
