//! The same request over and over: a batch goes out when the replies to the last one are whole.

use std::time::Duration;

use super::load::{Span, Traffic, Wire, drive};
use super::scenarios::{Measured, SEED_ENTRY, Setting};
use crate::client::Server;
use crate::client::resp::{Scanner, encode};

const KEY: &[u8] = b"cauce:bench";
const VALUE: &[u8] = &[b'v'; 64];
const WARMUP: Duration = Duration::from_millis(200);

/// A closed loop of one request.
#[derive(Debug)]
pub(super) struct Loop {
    /// Connections.
    connections: usize,
    /// Requests that each has under way.
    depth: usize,
    /// Writes the request.
    request: fn(&mut Vec<u8>),
    /// Whether the key must hold a string first.
    on_string: bool,
}

pub(super) const XADD_PIPELINED: Loop = Loop { connections: 4, depth: 64, request: xadd, on_string: false };
pub(super) const XADD: Loop = Loop { connections: 50, depth: 1, request: xadd, on_string: false };
pub(super) const GET: Loop =
    Loop { connections: 4, depth: 64, request: |out| encode(out, &[b"GET", KEY]), on_string: true };
pub(super) const SET: Loop =
    Loop { connections: 4, depth: 64, request: |out| encode(out, &[b"SET", KEY, VALUE]), on_string: true };
pub(super) const PING: Loop =
    Loop { connections: 50, depth: 1, request: |out| encode(out, &[b"PING"]), on_string: false };

fn xadd(out: &mut Vec<u8>) {
    let mut arguments: Vec<&[u8]> = vec![b"XADD", KEY, b"*"];
    arguments.extend(SEED_ENTRY);
    encode(out, &arguments);
}

/// Runs one round.
pub(super) fn run(server: &Server, setting: Setting, shape: &Loop) -> anyhow::Result<Measured> {
    let mut control = server.control()?;
    control.call(&[b"DEL", KEY])?;
    if shape.on_string {
        control.call(&[b"SET", KEY, VALUE])?;
    }
    let mut batch = Vec::new();
    (shape.request)(&mut batch);
    let batch = batch.repeat(shape.depth);
    let lane = || Lane { scanner: Scanner::new(), due: 0 };
    let mut traffic = Closed {
        batch,
        depth: shape.depth as u64,
        lanes: (0..shape.connections).map(|_| lane()).collect(),
        done: 0,
        busy: 0,
        stopping: false,
    };
    let mut wires = (0..shape.connections).map(|_| Wire::open(server)).collect::<anyhow::Result<Vec<_>>>()?;
    let span = Span::Timed { warmup: WARMUP, measured: setting.measured };
    let sample = drive(&mut wires, &mut traffic, span, setting.pid);
    control.call(&[b"DEL", KEY])?;
    Ok(Measured::Rate(sample?))
}

#[derive(Debug)]
struct Lane {
    scanner: Scanner,
    due: u64,
}

#[derive(Debug)]
struct Closed {
    batch: Vec<u8>,
    depth: u64,
    lanes: Vec<Lane>,
    done: u64,
    /// Connections with replies due.
    busy: usize,
    stopping: bool,
}

impl Traffic for Closed {
    fn start(&mut self, wires: &mut [Wire]) -> anyhow::Result<()> {
        for (lane, wire) in self.lanes.iter_mut().zip(wires) {
            lane.due = self.depth;
            wire.send(&self.batch)?;
        }
        self.busy = self.lanes.len();
        Ok(())
    }

    fn received(&mut self, lane: usize, bytes: &[u8], wires: &mut [Wire]) -> anyhow::Result<()> {
        let state = &mut self.lanes[lane];
        let replies = state.scanner.feed(bytes)?;
        anyhow::ensure!(replies <= state.due, "the server sent more replies than it was asked for");
        self.done += replies;
        state.due -= replies;
        if state.due > 0 {
            return Ok(());
        }
        if self.stopping {
            self.busy -= 1;
            return Ok(());
        }
        state.due = self.depth;
        wires[lane].send(&self.batch)
    }

    fn done(&self) -> u64 {
        self.done
    }

    fn stop(&mut self) {
        self.stopping = true;
    }

    fn idle(&self) -> bool {
        self.busy == 0
    }
}
