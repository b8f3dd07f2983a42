//! One publisher, ten subscribers of one channel: what counts is what the subscribers receive.

use std::time::Duration;

use super::load::{Span, Traffic, Wire, drive};
use super::scenarios::{Measured, Setting};
use crate::client::Server;
use crate::client::resp::{Scanner, encode};

const CHANNEL: &[u8] = b"cauce:bench";
const MESSAGE: &[u8] = &[b'm'; 64];
const SUBSCRIBERS: usize = 10;
const DEPTH: u64 = 64;
/// Batches that the publisher may be ahead of its subscribers: no output buffer grows without bound.
const BATCHES_AHEAD: u64 = 4;
const WARMUP: Duration = Duration::from_millis(200);

/// Runs one round.
pub(super) fn run(server: &Server, setting: Setting) -> anyhow::Result<Measured> {
    let mut publish = Vec::new();
    encode(&mut publish, &[b"PUBLISH", CHANNEL, MESSAGE]);
    let mut traffic = FanOut {
        batch: publish.repeat(DEPTH as usize),
        scanners: (0..=SUBSCRIBERS).map(|_| Scanner::new()).collect(),
        unconfirmed: SUBSCRIBERS as u64,
        published: 0,
        due: 0,
        delivered: 0,
        stopping: false,
    };
    let mut wires = (0..=SUBSCRIBERS).map(|_| Wire::open(server)).collect::<anyhow::Result<Vec<_>>>()?;
    let span = Span::Timed { warmup: WARMUP, measured: setting.measured };
    Ok(Measured::Rate(drive(&mut wires, &mut traffic, span, setting.pid)?))
}

/// Connection 0 publishes, the others subscribe.
#[derive(Debug)]
struct FanOut {
    batch: Vec<u8>,
    scanners: Vec<Scanner>,
    /// Subscriptions that the server has not confirmed yet; nothing is published before.
    unconfirmed: u64,
    published: u64,
    /// PUBLISH replies still to come.
    due: u64,
    delivered: u64,
    stopping: bool,
}

impl FanOut {
    /// Deliveries still to come.
    fn under_way(&self) -> u64 {
        self.published * SUBSCRIBERS as u64 - self.delivered
    }

    fn publish_if_due(&mut self, publisher: &mut Wire) -> anyhow::Result<()> {
        let ahead = self.under_way() > BATCHES_AHEAD * DEPTH * SUBSCRIBERS as u64;
        if self.unconfirmed > 0 || self.due > 0 || self.stopping || ahead {
            return Ok(());
        }
        self.due = DEPTH;
        self.published += DEPTH;
        publisher.send(&self.batch)
    }
}

impl Traffic for FanOut {
    fn start(&mut self, wires: &mut [Wire]) -> anyhow::Result<()> {
        let mut subscribe = Vec::new();
        encode(&mut subscribe, &[b"SUBSCRIBE", CHANNEL]);
        wires.iter_mut().skip(1).try_for_each(|wire| wire.send(&subscribe))
    }

    fn received(&mut self, lane: usize, bytes: &[u8], wires: &mut [Wire]) -> anyhow::Result<()> {
        let mut whole = self.scanners[lane].feed(bytes)?;
        if lane == 0 {
            self.due -= whole;
        } else {
            let confirmations = whole.min(self.unconfirmed);
            self.unconfirmed -= confirmations;
            whole -= confirmations;
            self.delivered += whole;
        }
        self.publish_if_due(&mut wires[0])
    }

    fn done(&self) -> u64 {
        self.delivered
    }

    fn stop(&mut self) {
        self.stopping = true;
    }

    fn idle(&self) -> bool {
        self.unconfirmed == 0 && self.due == 0 && self.under_way() == 0
    }
}
