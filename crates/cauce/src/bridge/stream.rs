//! From a stream to a queue or channel: the group moves on in the step that carries.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use redis::cmd;
use tokio::sync::watch;

use super::{Shared, stopped};
use crate::backend::backoff::Backoff;
use crate::backend::reply;
use crate::bus::Bus;
use crate::error::CommandError;
use crate::queue::{Queue, QueueError};
use crate::service::Start;
use crate::stream::Follower;

/// Entries that one step carries.
const COUNT: usize = 100;
/// How often it is looked without news: another instance may have read what was announced here, and died.
const LOOK: Duration = Duration::from_secs(5);

pub(super) struct FromStream {
    name: String,
    stream: String,
    to: To,
    actions: Vec<String>,
    follower: Follower,
}

pub(super) enum To {
    Queue(Queue),
    Channel(String),
}

impl FromStream {
    /// Makes the group, unless it is there.
    ///
    /// # Errors
    /// If the broker refuses, or can't be reached.
    pub(super) async fn prepare(
        bus: &Bus,
        name: String,
        stream: String,
        to: To,
        actions: Vec<String>,
        start: Start,
    ) -> Result<Self, CommandError> {
        let mut create = cmd("XGROUP");
        create.arg("CREATE").arg(&stream).arg(&name);
        match start {
            Start::New => create.arg("$"),
            Start::Beginning => create.arg("0"),
            Start::Id(id) => create.arg(id.to_string()),
        };
        match bus.link().send(create.arg("MKSTREAM")).await {
            Ok(_) => {}
            Err(error) if error.is_refused("BUSYGROUP") => {}
            Err(error) => return Err(error),
        }
        let follower = bus.stream(&stream).follow(Start::New).await?;
        Ok(Self { name, stream, to, actions, follower })
    }

    pub(super) async fn run(mut self, bus: Bus, shared: Arc<Shared>, mut stop: watch::Receiver<bool>) {
        shared.active.store(true, Ordering::Relaxed);
        let mut backoff = Backoff::new();
        loop {
            // A step that has begun is finished: what it carried is counted.
            match self.step(&bus).await {
                Ok((read, carried)) => {
                    backoff = Backoff::new();
                    Shared::add(&shared.carried, carried);
                    Shared::add(&shared.skipped, read - carried.min(read));
                    if read > 0 && !*stop.borrow() {
                        continue;
                    }
                    tokio::select! {
                        biased;
                        () = stopped(&mut stop) => return,
                        _ = self.follower.next() => {}
                        () = tokio::time::sleep(LOOK) => {}
                    }
                }
                Err(problem) => {
                    tracing::warn!(bridge = self.name, stream = self.stream, problem, "the bridge waits");
                    tokio::select! {
                        biased;
                        () = stopped(&mut stop) => return,
                        () = backoff.wait() => {}
                    }
                }
            }
        }
    }

    /// How many entries were read, and how many of them carried.
    ///
    /// # Errors
    /// If there is no step now, with the reason.
    async fn step(&self, bus: &Bus) -> Result<(u64, u64), String> {
        match &self.to {
            To::Queue(queue) => {
                let forwarded = queue.forward(&self.stream, &self.name, &self.actions, COUNT).await;
                let (read, sent, stopped) = forwarded.map_err(|error: QueueError| error.to_string())?;
                if read == 0 && !stopped.is_empty() {
                    return Err(format!(
                        "entry {stopped} is too long for the queue {}: raise its maxsize",
                        queue.name()
                    ));
                }
                Ok((read, sent))
            }
            To::Channel(channel) => {
                let mut command = cmd("EVAL");
                command.arg(include_str!("publish.lua")).arg(1).arg(&self.stream);
                command.arg(&self.name).arg("bridge").arg(COUNT).arg(channel).arg(&self.actions);
                let reply = bus.link().send(&command).await.map_err(|error| error.to_string())?;
                let mut counts = reply::list(reply).unwrap_or_default().into_iter();
                let mut count = || counts.next().as_ref().and_then(reply::count).unwrap_or(0);
                Ok((count(), count()))
            }
        }
    }
}
