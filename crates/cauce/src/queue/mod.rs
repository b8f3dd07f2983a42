//! Queues in the layout of RSMQ: messages for exactly one receiver within a visibility timeout.
//!
//! Programs that use the npm package `rsmq` (0.12) and this module share queues: both read what the other writes. What RSMQ lacks is
//! here beside it, in ways that its clients do not notice: one round trip per call, waiting without polling, fenced deletes, workers
//! with retries, dead letters.

mod attributes;
mod calls;
mod combine;
mod dead;
mod error;
mod hub;
mod keys;
mod message;
mod name;
#[expect(clippy::module_inception, reason = "the queue itself")]
mod queue;
mod script;
mod wait;
mod worker;

pub use attributes::{QueueAttributes, QueueChanges, QueueOptions};
pub use dead::DeadMessage;
pub use error::{QueueError, SendAllError};
pub use message::Message;
pub use name::{MessageId, Units};
pub use queue::Queue;
pub(crate) use worker::WorkerCore;
pub use worker::{
    QueueArguments, QueueBatch, QueueBatchArguments, QueueDelivery, QueueExtract, RunningWorker, Worker,
    WorkerError,
};

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use redis::cmd;

use self::combine::Combiner;
use self::hub::Hub;
use self::keys::Keys;
use self::script::{CREATE, REMOVE};
use self::wait::Waiters;
use crate::backend::link::Link;
use crate::backend::reply;
use crate::error::CommandError;
use crate::metrics::Registry;

/// The queues of one namespace.
#[derive(Clone)]
pub struct Queues {
    link: Link,
    shared: Arc<Shared>,
    settings: Arc<Settings>,
}

/// How the queues are found and used.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Settings {
    namespace: String,
    units: Units,
    is_realtime: bool,
    poll: Duration,
}

/// Which queue it is: equal ones share their way to the broker.
#[derive(PartialEq, Eq, Hash)]
struct Identity {
    settings: Arc<Settings>,
    name: String,
}

/// What all queues of a bus share.
pub(crate) struct Shared {
    hub: Arc<Hub>,
    pub(super) registry: Arc<Registry>,
    open: Mutex<HashMap<Identity, Weak<Waiters>>>,
}

impl Shared {
    pub(crate) fn new(link: &Link, registry: &Arc<Registry>) -> Self {
        let hub = Arc::new(Hub::new(link.endpoint().clone()));
        Self { hub, registry: Arc::clone(registry), open: Mutex::default() }
    }
}

impl Queues {
    pub(crate) fn new(link: Link, shared: Arc<Shared>) -> Self {
        let settings = Settings {
            namespace: "rsmq".to_owned(),
            units: Units::Checked,
            is_realtime: true,
            poll: Duration::from_secs(1),
        };
        Self { link, shared, settings: Arc::new(settings) }
    }

    /// The queues of another namespace than `rsmq` (RSMQ's option `ns`). On a cluster it needs a hash tag, as in `{jobs}`.
    #[must_use]
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        Arc::make_mut(&mut self.settings).namespace = namespace.into();
        self
    }

    /// In what vt and delay are written; the default is RSMQ's seconds, checked.
    #[must_use]
    pub fn units(mut self, units: Units) -> Self {
        Arc::make_mut(&mut self.settings).units = units;
        self
    }

    /// Whether sends are announced on the channel `NAMESPACE:rt:QUEUE` (RSMQ's option `realtime`), which is how those who wait learn
    /// of them at once. It is on unless turned off; only subscribers notice it.
    #[must_use]
    pub fn realtime(mut self, is_realtime: bool) -> Self {
        Arc::make_mut(&mut self.settings).is_realtime = is_realtime;
        self
    }

    /// How often a process that waits on a queue looks for messages whose senders announce nothing; the default is one second.
    #[must_use]
    pub fn poll_interval(mut self, interval: Duration) -> Self {
        Arc::make_mut(&mut self.settings).poll = interval.max(Duration::from_millis(1));
        self
    }

    /// Creates a queue.
    ///
    /// # Errors
    /// If the name or a setting is not one that RSMQ allows, the queue exists, or the broker did not confirm.
    pub async fn create(&self, name: &str, options: &QueueOptions) -> Result<Queue, QueueError> {
        let queue = self.queue(name)?;
        let keys = &queue.calls.keys;
        let mut invocation = CREATE.with_keys([keys.hash.as_str(), &keys.registry]);
        invocation.arg(name);
        for field in options.fields(self.settings.units)? {
            invocation.arg(field);
        }
        invocation.arg(self.settings.units.mark());
        match invocation.call(&self.link).await?.count() {
            Some(1) => Ok(queue),
            _ => Err(QueueError::QueueExists { queue: name.to_owned() }),
        }
    }

    /// As [`create`](Self::create), but a queue that exists already is taken as it is.
    ///
    /// # Errors
    /// As [`create`](Self::create), but for that.
    pub async fn ensure(&self, name: &str, options: &QueueOptions) -> Result<Queue, QueueError> {
        match self.create(name, options).await {
            Err(QueueError::QueueExists { .. }) => self.queue(name),
            result => result,
        }
    }

    /// The queue of that name. Nothing is sent: whether it is there, the first call tells.
    ///
    /// # Errors
    /// If the name is not one that RSMQ allows.
    pub fn queue(&self, name: &str) -> Result<Queue, QueueError> {
        name::check_queue_name(name)?;
        let mut open = self.shared.open.lock().unwrap_or_else(PoisonError::into_inner);
        let key = Identity { settings: Arc::clone(&self.settings), name: name.to_owned() };
        if let Some(waiters) = open.get(&key).and_then(Weak::upgrade) {
            return Ok(Queue { queues: self.clone(), calls: Arc::clone(waiters.calls()), waiters });
        }
        let Settings { namespace, units, is_realtime, poll } = &*self.settings;
        let keys = Keys::new(namespace, name, *units, *is_realtime);
        let calls = Arc::new(Combiner::new(self.link.clone(), keys));
        let waiters = Arc::new(Waiters::new(Arc::clone(&calls), Arc::clone(&self.shared.hub), *poll));
        open.retain(|_, waiters| waiters.strong_count() > 0);
        open.insert(key, Arc::downgrade(&waiters));
        Ok(Queue { queues: self.clone(), calls, waiters })
    }

    /// The names of all queues, sorted.
    ///
    /// # Errors
    /// If the broker can't be reached or refuses.
    pub async fn list(&self) -> Result<Vec<String>, QueueError> {
        let reply = self.link.send(cmd("SMEMBERS").arg(keys::registry(&self.settings.namespace))).await?;
        let names = reply::list(reply).ok_or(CommandError::Unexpected { command: "SMEMBERS" })?;
        let mut names: Vec<_> = names.into_iter().filter_map(reply::text).collect();
        names.sort_unstable();
        Ok(names)
    }

    /// Deletes a queue and all its messages.
    ///
    /// # Errors
    /// If there is no such queue, or the broker did not confirm.
    pub async fn delete(&self, name: &str) -> Result<(), QueueError> {
        let queue = self.queue(name)?;
        let keys = &queue.calls.keys;
        let mut invocation = REMOVE.with_keys([keys.messages.as_str(), &keys.hash, &keys.registry]);
        invocation.arg(name);
        match invocation.call(&self.link).await?.count() {
            Some(1) => Ok(()),
            _ => Err(QueueError::QueueNotFound { queue: name.to_owned() }),
        }
    }
}

impl std::fmt::Debug for Queues {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queues").field("namespace", &self.settings.namespace).finish_non_exhaustive()
    }
}
