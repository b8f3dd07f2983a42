//! Connections to the embedded broker that break when the test kit says so.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::sync::Notify;

/// What is to go wrong, and how often it did.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    /// Connections are refused.
    down: AtomicBool,
    outages: AtomicU32,
    /// So many of the next replies are lost, each with its connection.
    replies: AtomicU32,
    /// So many of the next requests are lost, each with its connection.
    requests: AtomicU32,
    /// The broker dies in place of the next reply.
    dies: AtomicBool,
    died: Notify,
    /// Nothing more goes wrong.
    is_calm: AtomicBool,
    lost_replies: AtomicU32,
    lost_requests: AtomicU32,
}

impl Faults {
    pub(crate) fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::Relaxed);
        self.outages.fetch_add(u32::from(down), Ordering::Relaxed);
    }

    /// How often connections were refused for a while.
    pub(crate) fn outages(&self) -> u32 {
        self.outages.load(Ordering::Relaxed)
    }

    pub(crate) fn is_down(&self) -> bool {
        self.down.load(Ordering::Relaxed)
    }

    pub(crate) fn lose_reply(&self) {
        self.replies.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn lose_request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// The next reply is lost with its connection, and from then on connections are refused.
    pub(crate) fn die_in_place_of_a_reply(&self) {
        self.dies.store(!self.is_calm.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Returns when that has happened.
    pub(crate) async fn died(&self) {
        self.died.notified().await;
    }

    /// Loses nothing more.
    pub(crate) fn calm(&self) {
        self.is_calm.store(true, Ordering::Relaxed);
        self.dies.store(false, Ordering::Relaxed);
        self.replies.store(0, Ordering::Relaxed);
        self.requests.store(0, Ordering::Relaxed);
        self.set_down(false);
    }

    /// Replies and requests that were lost.
    pub(crate) fn lost(&self) -> (u32, u32) {
        (self.lost_replies.load(Ordering::Relaxed), self.lost_requests.load(Ordering::Relaxed))
    }

    fn take(count: &AtomicU32, lost: &AtomicU32) -> bool {
        let taken =
            count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| count.checked_sub(1)).is_ok();
        if taken {
            lost.fetch_add(1, Ordering::Relaxed);
        }
        taken
    }
}

/// A pipe to the broker.
#[derive(Debug)]
pub(super) struct FaultyPipe {
    pipe: DuplexStream,
    faults: Arc<Faults>,
    broken: bool,
}

impl FaultyPipe {
    pub(super) fn new(pipe: DuplexStream, faults: &Arc<Faults>) -> Self {
        Self { pipe, faults: Arc::clone(faults), broken: false }
    }

    fn check(&self) -> io::Result<()> {
        if self.broken {
            return Err(io::Error::new(io::ErrorKind::ConnectionReset, "the test kit broke the connection"));
        }
        Ok(())
    }
}

impl AsyncRead for FaultyPipe {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check()?;
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.pipe).poll_read(context, buffer))?;
        if buffer.filled().len() == before {
            return Poll::Ready(Ok(()));
        }
        let dies = self.faults.dies.swap(false, Ordering::Relaxed);
        if dies {
            self.faults.lost_replies.fetch_add(1, Ordering::Relaxed);
            self.faults.set_down(true);
            self.faults.died.notify_one();
        }
        if dies || Faults::take(&self.faults.replies, &self.faults.lost_replies) {
            buffer.set_filled(before);
            self.broken = true;
            self.check()?;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for FaultyPipe {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check()?;
        if Faults::take(&self.faults.requests, &self.faults.lost_requests) {
            self.broken = true;
            self.check()?;
        }
        Pin::new(&mut self.pipe).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check()?;
        Pin::new(&mut self.pipe).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_shutdown(context)
    }
}
