//! The same request over and over: a batch goes out when the replies to the last one are whole.

use std::time::Duration;

use super::load::{Span, Traffic, Wire, drive};
use super::receive;
use super::scenarios::{Measured, SEED_ENTRY, Setting};
use crate::client::resp::{Scanner, encode};
use crate::client::{Control, Server};

const KEY: &[u8] = b"cauce:bench";
const VALUE: &[u8] = &[b'v'; 64];
const WARMUP: Duration = Duration::from_millis(200);

/// A closed loop of requests of one kind.
#[derive(Debug)]
pub(super) struct Loop {
    /// Connections.
    connections: usize,
    /// Requests that each has under way.
    depth: usize,
    /// Writes the n-th request.
    request: fn(&mut Vec<u8>, usize),
    /// How many different requests there are, if there are more than one; they take turns without order.
    variants: usize,
    /// Puts in place what the requests need.
    prepare: fn(&mut Control) -> anyhow::Result<()>,
}

const PIPELINED: Loop =
    Loop { connections: 4, depth: 64, request: |_, _| (), variants: 1, prepare: |_| Ok(()) };
/// Members and fields that the collections' loops work on.
const MEMBERS: usize = 10_000;

pub(super) const XADD_PIPELINED: Loop = Loop { request: xadd, ..PIPELINED };
pub(super) const XADD: Loop = Loop { connections: 50, depth: 1, request: xadd, ..PIPELINED };
pub(super) const GET: Loop =
    Loop { request: |out, _| encode(out, &[b"GET", KEY]), prepare: put_string, ..PIPELINED };
pub(super) const SET: Loop =
    Loop { request: |out, _| encode(out, &[b"SET", KEY, VALUE]), prepare: put_string, ..PIPELINED };
pub(super) const INCR: Loop = Loop { request: |out, _| encode(out, &[b"INCR", KEY]), ..PIPELINED };
pub(super) const MSET: Loop = Loop { request: mset, ..PIPELINED };
pub(super) const HSET: Loop = Loop { request: hset, variants: MEMBERS, ..PIPELINED };
pub(super) const SADD: Loop = Loop { request: sadd, variants: MEMBERS, ..PIPELINED };
pub(super) const ZADD: Loop = Loop { request: zadd, variants: MEMBERS, ..PIPELINED };
pub(super) const PING: Loop =
    Loop { connections: 50, depth: 1, request: |out, _| encode(out, &[b"PING"]), ..PIPELINED };

pub(super) const RECEIVE: Loop =
    Loop { connections: 50, depth: 1, request: |out, _| receive::request(out, KEY), ..RECEIVE_PIPELINED };
pub(super) const RECEIVE_PIPELINED: Loop = Loop {
    request: |out, _| receive::request(out, KEY),
    prepare: |control| receive::prepare(control, KEY),
    ..PIPELINED
};

fn put_string(control: &mut Control) -> anyhow::Result<()> {
    control.call(&[b"SET", KEY, VALUE])?;
    Ok(())
}

fn xadd(out: &mut Vec<u8>, _: usize) {
    let mut arguments: Vec<&[u8]> = vec![b"XADD", KEY, b"*"];
    arguments.extend(SEED_ENTRY);
    encode(out, &arguments);
}

fn mset(out: &mut Vec<u8>, _: usize) {
    let keys: Vec<String> = (0..10).map(|n| format!("cauce:bench:{n}")).collect();
    let mut arguments: Vec<&[u8]> = vec![b"MSET"];
    for key in &keys {
        arguments.extend([key.as_bytes(), VALUE]);
    }
    encode(out, &arguments);
}

fn hset(out: &mut Vec<u8>, variant: usize) {
    encode(out, &[b"HSET", KEY, format!("field:{variant:012}").as_bytes(), VALUE]);
}

fn sadd(out: &mut Vec<u8>, variant: usize) {
    encode(out, &[b"SADD", KEY, format!("member:{variant:012}").as_bytes()]);
}

fn zadd(out: &mut Vec<u8>, variant: usize) {
    let score = (variant * 7919 % 1_000_003).to_string();
    let member = format!("member:{:012}", variant % (MEMBERS / 2));
    encode(out, &[b"ZADD", KEY, score.as_bytes(), member.as_bytes()]);
}

/// Runs one round.
pub(super) fn run(server: &Server, setting: Setting, shape: &Loop) -> anyhow::Result<Measured> {
    let mut control = server.control()?;
    control.call(&[b"DEL", KEY])?;
    (shape.prepare)(&mut control)?;
    let batches = shape.batches();
    let lane =
        |n: usize| Lane { scanner: Scanner::new(), due: 0, next: n * batches.len() / shape.connections };
    let mut traffic = Closed {
        depth: shape.depth as u64,
        lanes: (0..shape.connections).map(lane).collect(),
        batches,
        done: 0,
        busy: 0,
        stopping: false,
    };
    let mut wires = (0..shape.connections).map(|_| Wire::open(server)).collect::<anyhow::Result<Vec<_>>>()?;
    let span = Span::Timed { warmup: WARMUP, measured: setting.measured };
    let sample = drive(&mut wires, &mut traffic, span, setting.pid);
    control.call(&[b"DEL", KEY])?;
    receive::clear(&mut control, KEY)?;
    for n in 0..10 {
        control.call(&[b"DEL", format!("cauce:bench:{n}").as_bytes()])?;
    }
    Ok(Measured::Rate(sample?))
}

impl Loop {
    /// What is sent at once, encoded before the clock starts: every variant occurs.
    fn batches(&self) -> Vec<Vec<u8>> {
        let batch = |from: usize| {
            let mut batch = Vec::new();
            for n in from..from + self.depth {
                // Far from each other, so that no cache line serves the next request as well.
                (self.request)(&mut batch, n * 6007 % self.variants);
            }
            batch
        };
        (0..self.variants.max(self.depth)).step_by(self.depth).map(batch).collect()
    }
}

#[derive(Debug)]
struct Lane {
    scanner: Scanner,
    due: u64,
    /// The batch that it sends next.
    next: usize,
}

#[derive(Debug)]
struct Closed {
    batches: Vec<Vec<u8>>,
    depth: u64,
    lanes: Vec<Lane>,
    done: u64,
    /// Connections with replies due.
    busy: usize,
    stopping: bool,
}

impl Closed {
    fn send(&mut self, lane: usize, wires: &mut [Wire]) -> anyhow::Result<()> {
        let state = &mut self.lanes[lane];
        state.due = self.depth;
        let batch = &self.batches[state.next];
        state.next = (state.next + 1) % self.batches.len();
        wires[lane].send(batch)
    }
}

impl Traffic for Closed {
    fn start(&mut self, wires: &mut [Wire]) -> anyhow::Result<()> {
        self.busy = self.lanes.len();
        (0..self.lanes.len()).try_for_each(|lane| self.send(lane, wires))
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
        self.send(lane, wires)
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
