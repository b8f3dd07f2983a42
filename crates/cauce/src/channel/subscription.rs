//! Subscriptions: a connection of their own, renewed when it breaks.

use std::future::poll_fn;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::Stream;
use redis::{PushInfo, PushKind, cmd};
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::Body;
use super::buffer::{Buffer, Item};
use crate::backend::backoff::Backoff;
use crate::backend::connection::{Connection, Endpoint};
use crate::backend::link::REPLY_TIMEOUT;
use crate::backend::reply;
use crate::bus::SubscribeError;
use crate::event::DecodeError;

/// Messages that wait for a slow reader before further ones are dropped and counted.
const BUFFER_LENGTH: usize = 8192;
/// Bytes of them, likewise.
const BUFFER_BYTES: usize = 32 * 1024 * 1024;
/// A silent connection is asked whether it still lives.
const PING_INTERVAL: Duration = Duration::from_secs(10);

/// What a subscription yields.
#[derive(Debug)]
#[non_exhaustive]
pub enum Received<B> {
    /// A message.
    Message {
        /// The channel it came on.
        channel: String,
        /// What it says.
        body: B,
    },
    /// The reader was too slow: so many messages were dropped here.
    Missed(u64),
    /// The connection was lost and is there again, the subscription renewed. What was published meanwhile is lost, and the broker
    /// can't tell how much it was.
    Reconnected,
    /// A message that is not such a body. It is shown once and the subscription goes on.
    Undecodable {
        /// The channel it came on.
        channel: String,
        /// The bytes.
        body: Vec<u8>,
        /// What is wrong with them.
        error: DecodeError,
    },
}

/// Messages of channels or patterns, in the order of the broker, until it is dropped.
///
/// It never ends: when the connection breaks, it is opened again for ever and the subscription renewed. Also a [`Stream`].
#[derive(Debug)]
#[must_use = "a subscription ends when it is dropped"]
pub struct Subscription<B> {
    buffer: Arc<Buffer>,
    keeper: AbortHandle,
    body: PhantomData<fn() -> B>,
}

impl<B: Body> Subscription<B> {
    pub(crate) async fn open(
        endpoint: Endpoint,
        channels: Vec<String>,
        patterns: Vec<String>,
    ) -> Result<Self, SubscribeError> {
        let buffer = Arc::new(Buffer::new(BUFFER_LENGTH, BUFFER_BYTES));
        let keeper = Keeper { endpoint, channels, patterns, buffer: Arc::clone(&buffer) };
        let connected = keeper.connect().await?;
        let keeper = tokio::spawn(keeper.run(connected)).abort_handle();
        Ok(Self { buffer, keeper, body: PhantomData })
    }

    /// The next message or gap. Cancel safe: dropping the future loses nothing.
    pub async fn next(&mut self) -> Received<B> {
        poll_fn(|context| self.poll_received(context)).await
    }

    fn poll_received(&self, context: &Context<'_>) -> Poll<Received<B>> {
        Poll::Ready(match ready!(self.buffer.poll(context)) {
            Item::Missed(count) => Received::Missed(count),
            Item::Reconnected => Received::Reconnected,
            Item::Message { channel, body } => {
                let channel = String::from_utf8_lossy(&channel).into_owned();
                // The bytes are kept for the rare message that does not fit.
                match B::from_body(body.clone()) {
                    Ok(body) => Received::Message { channel, body },
                    Err(error) => Received::Undecodable { channel, body, error },
                }
            }
        })
    }
}

impl<B: Body> Stream for Subscription<B> {
    type Item = Received<B>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Received<B>>> {
        self.poll_received(context).map(Some)
    }
}

impl<B> Drop for Subscription<B> {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

/// Holds the connection of a subscription.
struct Keeper {
    endpoint: Endpoint,
    channels: Vec<String>,
    patterns: Vec<String>,
    buffer: Arc<Buffer>,
}

struct Connected {
    connection: Connection,
    broken: Arc<Notify>,
}

impl Keeper {
    async fn connect(&self) -> Result<Connected, SubscribeError> {
        let broken = Arc::new(Notify::new());
        let (buffer, hangup) = (Arc::clone(&self.buffer), Arc::clone(&broken));
        let sink = Box::new(move |push| pushed(&buffer, &hangup, push));
        let mut connection = self.endpoint.open(Some(REPLY_TIMEOUT), Some(sink)).await?;
        connection.subscribe(&self.channels, &self.patterns).await?;
        Ok(Connected { connection, broken })
    }

    async fn run(self, mut connected: Connected) {
        loop {
            watch(&mut connected).await;
            tracing::warn!(broker = %self.endpoint.address, channels = ?self.channels, patterns = ?self.patterns, "subscription lost");
            let mut backoff = Backoff::new();
            connected = loop {
                match self.connect().await {
                    Ok(connected) => break connected,
                    Err(error) => tracing::debug!(%error, "subscription not renewed yet"),
                }
                backoff.wait().await;
            };
            self.buffer.reconnected();
        }
    }
}

/// Returns when the connection is of no use any more.
async fn watch(connected: &mut Connected) {
    loop {
        tokio::select! {
            biased;
            () = connected.broken.notified() => return,
            () = tokio::time::sleep(PING_INTERVAL) => {
                if connected.connection.send(&cmd("PING")).await.is_err() {
                    return;
                }
            }
        }
    }
}

fn pushed(buffer: &Buffer, broken: &Notify, push: PushInfo) {
    let mut parts = push.data.into_iter();
    let mut next = || parts.next().and_then(reply::bytes);
    let message = match push.kind {
        PushKind::Message | PushKind::SMessage => next().zip(next()),
        PushKind::PMessage => next().and_then(|_pattern| next().zip(next())),
        PushKind::Disconnection => return broken.notify_one(),
        _ => None,
    };
    if let Some((channel, body)) = message {
        buffer.message(channel, body);
    }
}
