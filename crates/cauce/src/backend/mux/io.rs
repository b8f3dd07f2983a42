//! The stream of a shared connection: writes and reads as far as it goes without waiting.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncReadExt, AsyncWrite};
use tokio::time::{Instant, Sleep};

use super::{KEPT_BYTES, Mux};
use crate::backend::dial::ByteStream;
use crate::backend::link::REPLY_TIMEOUT;
use crate::backend::replies::{REPLY_MAX, Replies, Scan, malformed};

/// Room that is made for what comes in.
const READ_LENGTH: usize = 16 * 1024;

pub(super) struct Io {
    stream: Box<dyn ByteStream>,
    writing: Vec<u8>,
    written: usize,
    is_flushed: bool,
    /// How many requests that is.
    requests: usize,
    /// What came in. Replies that were handed out share it.
    buffer: Arc<Vec<u8>>,
    /// Where the next replies begin.
    taken: usize,
    /// How far those were looked through.
    scan: Option<Scan>,
    /// Nothing is under way.
    is_resting: bool,
    /// When something came in, or was first asked for.
    heard: Instant,
    alarm: Pin<Box<Sleep>>,
    /// A list to be used again.
    pub(super) woken: Vec<Waker>,
}

impl Io {
    pub(super) fn new(stream: Box<dyn ByteStream>) -> Self {
        Self {
            stream,
            writing: Vec::new(),
            written: 0,
            is_flushed: true,
            requests: 0,
            buffer: Arc::default(),
            taken: 0,
            scan: None,
            is_resting: true,
            heard: Instant::now(),
            alarm: Box::pin(tokio::time::sleep(REPLY_TIMEOUT)),
            woken: Vec::new(),
        }
    }

    /// Writes what is queued, reads what has come and hands it out, as far as it goes without waiting. Whether more is to come.
    ///
    /// # Errors
    /// If the connection is lost.
    pub(super) fn turn(&mut self, cx: &mut Context<'_>, mux: &Mux) -> Result<bool, String> {
        if self.is_resting {
            self.wake_up(cx)?;
        }
        loop {
            mux.collect(self);
            self.write(cx).map_err(|error| error.to_string())?;
            if self.read(cx).map_err(|error| error.to_string())?.is_pending() {
                break;
            }
            if !mux.deliver(self)? {
                self.is_resting = true;
                return Ok(false);
            }
        }
        self.mind_silence(cx)?;
        Ok(true)
    }

    /// A broker that hung up meanwhile is noticed before anything is sent to it.
    fn wake_up(&mut self, cx: &mut Context<'_>) -> Result<(), String> {
        if self.read(cx).map_err(|error| error.to_string())?.is_ready() {
            return Err("the broker sent what nobody asked for".to_owned());
        }
        self.is_resting = false;
        self.heard = Instant::now();
        Ok(())
    }

    /// Whether there is room for more requests.
    pub(super) fn is_written(&self) -> bool {
        self.written == self.writing.len() && self.is_flushed
    }

    /// Takes requests over.
    pub(super) fn begin(&mut self, queued: &mut Vec<u8>, requests: usize) {
        self.writing.clear();
        if self.writing.capacity() > KEPT_BYTES {
            self.writing = Vec::new();
        }
        std::mem::swap(&mut self.writing, queued);
        self.written = 0;
        self.is_flushed = false;
        self.requests = requests;
    }

    /// How many of the requests that were taken over cannot have reached the broker.
    pub(super) fn unwritten(&self) -> usize {
        if self.written == 0 && !self.writing.is_empty() { self.requests } else { 0 }
    }

    fn write(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        while let Some(rest) = self.writing.get(self.written..).filter(|rest| !rest.is_empty()) {
            match Pin::new(&mut self.stream).poll_write(cx, rest) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(length)) => self.written += length,
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => return Ok(()),
            }
        }
        if !self.is_flushed
            && let Poll::Ready(flushed) = Pin::new(&mut self.stream).poll_flush(cx)
        {
            flushed?;
            self.is_flushed = true;
        }
        Ok(())
    }

    fn read(&mut self, cx: &mut Context<'_>) -> io::Result<Poll<()>> {
        self.make_room();
        let Some(buffer) = Arc::get_mut(&mut self.buffer) else { return Err(malformed()) };
        match pin!(self.stream.read_buf(buffer)).poll(cx) {
            Poll::Pending => Ok(Poll::Pending),
            Poll::Ready(Err(error)) => Err(error),
            Poll::Ready(Ok(0)) => {
                Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the broker closed the connection"))
            }
            Poll::Ready(Ok(_)) => {
                self.heard = Instant::now();
                Ok(Poll::Ready(()))
            }
        }
    }

    /// Afterwards the buffer is this stream's alone, and has room.
    fn make_room(&mut self) {
        let unread = self.buffer.len() - self.taken;
        match Arc::get_mut(&mut self.buffer) {
            Some(buffer) if unread > 0 || buffer.capacity() <= KEPT_BYTES => {
                buffer.drain(..self.taken);
                buffer.reserve(READ_LENGTH);
            }
            // Replies that were handed out keep the old one.
            _ => {
                let mut buffer = Vec::with_capacity(unread + READ_LENGTH);
                buffer.extend_from_slice(self.buffer.get(self.taken..).unwrap_or_default());
                self.buffer = Arc::new(buffer);
            }
        }
        if let Some(scan) = &mut self.scan {
            scan.shift(self.taken);
        }
        self.taken = 0;
    }

    pub(super) fn has_unread(&self) -> bool {
        self.taken < self.buffer.len()
    }

    /// The next so many replies, if they are there.
    ///
    /// # Errors
    /// If what is there is not RESP.
    pub(super) fn next(&mut self, replies: usize) -> io::Result<Option<Replies>> {
        let scan = self.scan.get_or_insert_with(|| Scan::new(self.taken, replies));
        if !scan.advance(&self.buffer)? {
            return if self.buffer.len() - self.taken > REPLY_MAX { Err(malformed()) } else { Ok(None) };
        }
        let end = scan.at();
        self.scan = None;
        let start = std::mem::replace(&mut self.taken, end);
        Ok(Some(Replies::part(Arc::clone(&self.buffer), start, end)))
    }

    /// # Errors
    /// If nothing has come for too long.
    fn mind_silence(&mut self, cx: &mut Context<'_>) -> Result<(), String> {
        while self.alarm.as_mut().poll(cx).is_ready() {
            let end = self.heard + REPLY_TIMEOUT;
            if Instant::now() >= end {
                return Err(format!("no reply within {REPLY_TIMEOUT:?}"));
            }
            self.alarm.as_mut().reset(end);
        }
        Ok(())
    }
}
