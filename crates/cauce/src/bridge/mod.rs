//! Bridges: what comes one way goes on another.

mod channel;
mod stream;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::bus::Bus;
use crate::error::CommandError;
use crate::queue::Queue;
use crate::service::Start;

/// How long a bridge may take to end.
const FAREWELL: Duration = Duration::from_secs(2);

/// Carries messages on from one way to another, as [`Bus`] knows them.
///
/// | from | to | and |
/// |---|---|---|
/// | channel | stream | what the active instance gets is appended once, in order; what is published while none is subscribed is lost, as on any channel |
/// | stream | queue | each entry is sent exactly once: the group moves on and the message is sent in one step at the broker; in order while one instance runs |
/// | stream | channel | each entry is published exactly once, in order; who is not subscribed then never sees it |
///
/// Start it in as many processes as you like, under one name. From a channel one of them is active, by a lease, and what another still appends
/// is refused, so that no message is doubled; if the active one dies, the next takes over within the lease (5 seconds). From a stream all
/// share one group, named as the bridge.
///
/// A queue gets the entry's payload (the field `data`), or an entry without one as a JSON object of its fields; likewise a channel. A stream gets
/// the message as the payload of an event whose action is the channel's name, or what [`action`](Self::action) says. On a cluster the stream and the queue must share a hash
/// tag.
#[derive(Clone, Debug)]
#[must_use = "a bridge carries nothing until it is started"]
pub struct Bridge {
    name: String,
    way: Way,
    actions: Vec<String>,
    start_at: Start,
}

#[derive(Clone, Debug)]
enum Way {
    ChannelToStream { channel: String, stream: String, action: String },
    StreamToQueue { stream: String, queue: Queue },
    StreamToChannel { stream: String, channel: String },
}

impl Bridge {
    fn new(name: impl Into<String>, way: Way) -> Self {
        Self { name: name.into(), way, actions: Vec::new(), start_at: Start::New }
    }

    /// From a channel to a stream: what is published there can be read later, and by groups.
    pub fn channel_to_stream(
        name: impl Into<String>,
        channel: impl Into<String>,
        stream: impl Into<String>,
    ) -> Self {
        let channel = channel.into();
        Self::new(name, Way::ChannelToStream { action: channel.clone(), channel, stream: stream.into() })
    }

    /// From a stream to a queue, for RSMQ's clients in any language. An entry that is too long for the queue stops the bridge where it is until
    /// the queue's `maxsize` is raised: nothing is dropped, and nothing overtakes it.
    pub fn stream_to_queue(name: impl Into<String>, stream: impl Into<String>, queue: &Queue) -> Self {
        Self::new(name, Way::StreamToQueue { stream: stream.into(), queue: queue.clone() })
    }

    /// From a stream to a channel, for displays.
    pub fn stream_to_channel(
        name: impl Into<String>,
        stream: impl Into<String>,
        channel: impl Into<String>,
    ) -> Self {
        Self::new(name, Way::StreamToChannel { stream: stream.into(), channel: channel.into() })
    }

    /// Only entries of these actions go on; by default all do.
    pub fn actions(mut self, actions: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.actions = actions.into_iter().map(Into::into).collect();
        self
    }

    /// The action of the events that messages of a channel become; the default is the channel's name.
    pub fn action(mut self, name: impl Into<String>) -> Self {
        if let Way::ChannelToStream { action, .. } = &mut self.way {
            *action = name.into();
        }
        self
    }

    /// Where a bridge from a stream begins that never ran before; the default is [`Start::New`].
    pub fn start_at(mut self, start: Start) -> Self {
        self.start_at = start;
        self
    }

    /// Starts it in the background. When this returns, a bridge from a stream will carry what is published from now on.
    ///
    /// # Errors
    /// If its group can't be made.
    pub async fn start(self, bus: &Bus) -> Result<RunningBridge, CommandError> {
        let shared = Arc::new(Shared::default());
        let stop = watch::Sender::new(false);
        let told = stop.subscribe();
        let (bus, mine) = (bus.clone(), Arc::clone(&shared));
        let task = match self.way {
            Way::ChannelToStream { channel, stream, action } => {
                let from = channel::FromChannel { name: self.name, channel, stream, action };
                tokio::spawn(from.run(bus, mine, told))
            }
            Way::StreamToQueue { stream, queue } => {
                let to = stream::To::Queue(queue);
                let from =
                    stream::FromStream::prepare(&bus, self.name, stream, to, self.actions, self.start_at)
                        .await?;
                tokio::spawn(from.run(bus, mine, told))
            }
            Way::StreamToChannel { stream, channel } => {
                let to = stream::To::Channel(channel);
                let from =
                    stream::FromStream::prepare(&bus, self.name, stream, to, self.actions, self.start_at)
                        .await?;
                tokio::spawn(from.run(bus, mine, told))
            }
        };
        Ok(RunningBridge { shared, stop, task })
    }
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    // Without a sender nobody can say stop any more, which is the same.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// What a bridge counts.
#[derive(Debug, Default)]
struct Shared {
    active: AtomicBool,
    carried: AtomicU64,
    skipped: AtomicU64,
    missed: AtomicU64,
    fenced: AtomicU64,
}

impl Shared {
    fn add(count: &AtomicU64, more: u64) {
        count.fetch_add(more, Ordering::Relaxed);
    }
}

/// What an instance of a bridge has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BridgeReport {
    /// Messages that went on.
    pub carried: u64,
    /// Entries of actions that are not wanted.
    pub skipped: u64,
    /// Messages of a channel that came faster than they could be appended, and were dropped.
    pub missed: u64,
    /// Messages that were not appended here because another instance had become the active one.
    pub fenced: u64,
}

/// A bridge that runs in the background. Dropping it cuts it off; another instance takes over.
#[derive(Debug)]
#[must_use = "dropping it ends the bridge; keep it, and call stop() at the end"]
pub struct RunningBridge {
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl RunningBridge {
    /// Whether this instance carries. From a channel one does, from a stream all.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.shared.active.load(Ordering::Relaxed)
    }

    /// What it has done so far.
    #[must_use]
    pub fn report(&self) -> BridgeReport {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let Shared { carried, skipped, missed, fenced, .. } = &*self.shared;
        BridgeReport {
            carried: count(carried),
            skipped: count(skipped),
            missed: count(missed),
            fenced: count(fenced),
        }
    }

    /// Stops it; another instance takes over at once.
    pub async fn stop(mut self) -> BridgeReport {
        self.stop.send_replace(true);
        if tokio::time::timeout(FAREWELL, &mut self.task).await.is_err() {
            tracing::warn!(
                "the broker did not answer; another instance of the bridge takes over when its lease ends"
            );
        }
        self.report()
    }
}

impl Drop for RunningBridge {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl fmt::Display for BridgeReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { carried, skipped, missed, fenced } = self;
        write!(f, "{carried} carried, {skipped} skipped, {missed} missed, {fenced} fenced")
    }
}
