//! One connection: reads requests, runs them in batches, writes what its queue holds.
//!
//! Reading goes on while earlier replies wait for the log, and while a blocked command waits (to see the peer
//! leave). The task is written as one `poll` function: every step either makes progress or has registered the
//! waker of what it waits for.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

use cauce_engine::{SessionId, SessionInfo};
use cauce_resp::{Decoder, Encoder, Protocol};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::input::Input;
use crate::outbox::{Outbox, Room};
use crate::shared::{BatchEnd, Connected, Shared};
use crate::waiting::Wait;

/// Batches that one poll runs before it lets other connections have their turn.
const BATCHES_PER_POLL: usize = 4;
/// An output buffer larger than this is given back once it is sent.
const OUTPUT_KEPT_BYTES: usize = 256 * 1024;

/// Serves a connection until either side ends it.
pub(crate) async fn run(connected: Connected, io: impl AsyncRead + AsyncWrite + Unpin, info: SessionInfo) {
    let mut session = Session::open(Arc::clone(&connected.shared), io, info);
    // An error of the connection concerns nobody else, and the peer is gone: there is no one to tell.
    let _ended = poll_fn(|cx| session.poll(cx)).await;
}

struct Session<Io> {
    shared: Arc<Shared>,
    io: Io,
    id: SessionId,
    outbox: Arc<Outbox>,
    input: Input,
    /// Bytes taken out of the queue, and how many of them are sent.
    output: Vec<u8>,
    sent: usize,
    authenticated: bool,
    /// The positions of the log that the next reply, and the next request, were last seen to wait for.
    reply_waits_for: u64,
    request_waits_for: u64,
    /// The last command waits for its reply.
    blocked: bool,
    /// No more requests are run; the connection ends when all is sent.
    closing: bool,
}

impl<Io: AsyncRead + AsyncWrite + Unpin> Session<Io> {
    fn open(shared: Arc<Shared>, io: Io, info: SessionInfo) -> Self {
        let (id, outbox) = shared.open(info);
        let mut session = Self {
            shared,
            io,
            id,
            outbox,
            input: Input::new(Decoder::default()),
            output: Vec::new(),
            sent: 0,
            authenticated: false,
            reply_waits_for: 0,
            request_waits_for: 0,
            blocked: false,
            closing: false,
        };
        session.refresh_authentication();
        session
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        for _ in 0..BATCHES_PER_POLL {
            let signals = self.outbox.signals(cx.waker());
            if signals.closed {
                return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
            }
            self.blocked &= !signals.unblocked;
            self.closing |= signals.finished;
            let flushed = self.poll_flush(cx)?;
            if self.closing {
                if !ready!(flushed) {
                    // Replies wait for the log; the queue wakes this task.
                    return Poll::Pending;
                }
                return Pin::new(&mut self.io).poll_shutdown(cx);
            }
            if self.has_to_pause()? {
                return Poll::Pending;
            }
            if !self.blocked && self.run_batch()? {
                continue;
            }
            // With a batch done and nothing whole left, there is room to read.
            if self.input.len() > self.shared.limits.input_bytes_max {
                return Poll::Ready(Err(io::ErrorKind::OutOfMemory.into()));
            }
            let received = ready!(self.input.poll_fill(cx, Pin::new(&mut self.io)))?;
            if received == 0 {
                return Poll::Ready(Ok(()));
            }
            self.shared.traffic.received_bytes.fetch_add(received as u64, Ordering::Relaxed);
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Sends what may be sent. `Ready` when nothing is left that may be sent now; true if nothing waits either.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        loop {
            if self.sent == self.output.len() {
                self.reset_output();
                let durable = self.shared.log.durable();
                let held = self.outbox.take(&mut self.output, durable);
                if self.output.is_empty() {
                    if held.is_some_and(|position| !self.waits_for_reply(position)) {
                        continue;
                    }
                    ready!(Pin::new(&mut self.io).poll_flush(cx))?;
                    return Poll::Ready(Ok(held.is_none()));
                }
            }
            let rest = self.output.get(self.sent..).unwrap_or_default();
            let written = ready!(Pin::new(&mut self.io).poll_write(cx, rest))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.shared.traffic.sent_bytes.fetch_add(written as u64, Ordering::Relaxed);
            self.sent += written;
        }
    }

    /// Makes sure that this task is woken when the log is safe up to `position`; false if it is by now.
    fn waits_for_reply(&mut self, position: u64) -> bool {
        // Added before, it is either still there or this task has been woken again.
        if position == self.reply_waits_for {
            return true;
        }
        match self.shared.waiting.add(position, &self.outbox) {
            Wait::Over => return false,
            Wait::Added => self.reply_waits_for = position,
            // The reply is owed for ever: closing wakes this task to end it.
            Wait::Never => self.outbox.close(),
        }
        true
    }

    /// Whether the log has to catch up with what was executed before more is. Woken when it has got further.
    fn has_to_pause(&mut self) -> io::Result<bool> {
        while self.shared.log.waiting_bytes() > self.shared.limits.log_bytes_max {
            let position = self.shared.log.durable().saturating_add(1);
            if position == self.request_waits_for {
                return Ok(true);
            }
            match self.shared.waiting.add(position, &self.outbox) {
                Wait::Over => {}
                Wait::Added => self.request_waits_for = position,
                Wait::Never => return Err(io::ErrorKind::ConnectionAborted.into()),
            }
        }
        Ok(false)
    }

    fn reset_output(&mut self) {
        self.sent = 0;
        if self.output.capacity() > OUTPUT_KEPT_BYTES {
            self.output = Vec::new();
        } else {
            self.output.clear();
        }
    }

    /// Runs the whole requests that have been received; false if there are none.
    fn run_batch(&mut self) -> io::Result<bool> {
        // One at a time until the client is authenticated: its limits change with that.
        let max = if self.authenticated { usize::MAX } else { 1 };
        match self.input.find_requests(max) {
            Ok(0) => return Ok(false),
            Ok(_) => {}
            Err(error) => {
                let mut reply = Vec::new();
                Encoder::new(&mut reply, Protocol::Resp2).error(format!("ERR {error}").as_bytes());
                let limits = &self.shared.limits;
                let room = Room { limits, subscriber: false };
                self.outbox.push(&reply, &[], self.shared.log.durable(), room);
                self.closing = true;
                return Ok(true);
            }
        }
        let input = &mut self.input;
        match self.shared.run_batch(self.id, &self.outbox, |run| input.run_requests(run)) {
            BatchEnd::Done => {}
            BatchEnd::Blocked => self.blocked = true,
            BatchEnd::Close => self.closing = true,
        }
        if !self.authenticated {
            self.refresh_authentication();
        }
        Ok(true)
    }

    fn refresh_authentication(&mut self) {
        self.authenticated = self.shared.is_authenticated(self.id);
        let limits = if self.authenticated {
            let bulk_bytes_max = self.shared.limits.bulk_bytes_max;
            cauce_resp::Limits { bulk_bytes_max, ..cauce_resp::Limits::default() }
        } else {
            cauce_resp::Limits::UNAUTHENTICATED
        };
        self.input.decoder().set_limits(limits);
    }
}

impl<Io> Drop for Session<Io> {
    fn drop(&mut self) {
        self.shared.close(self.id);
    }
}
