//! One subscription for all queues of a bus that somebody waits on.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::{PushInfo, PushKind, cmd};
use tokio::sync::{Notify, mpsc, oneshot};

use crate::backend::backoff::Backoff;
use crate::backend::connection::{Connection, Endpoint};
use crate::backend::link::REPLY_TIMEOUT;
use crate::backend::reply;
use crate::error::CommandError;

/// A silent connection is asked whether it still lives.
const PING_INTERVAL: Duration = Duration::from_secs(10);

/// Tells those who wait on queues that something was sent. Opens its connection when the first one waits, and closes it after the last.
pub(super) struct Hub {
    endpoint: Endpoint,
    channels: Channels,
    orders: Mutex<Option<mpsc::UnboundedSender<Order>>>,
}

/// Who listens to which channel. The connection calls in here, so nobody waits while holding it.
#[derive(Clone, Default)]
struct Channels(Arc<Mutex<HashMap<String, Arc<Notify>>>>);

enum Order {
    Listen(String, Arc<Notify>, oneshot::Sender<()>),
    Leave(String),
}

/// Notices of one channel, until it is dropped. A notice that comes while nobody looks is kept; several count as one.
pub(super) struct Notices {
    notify: Arc<Notify>,
    channel: String,
    orders: mpsc::UnboundedSender<Order>,
}

impl Hub {
    pub(super) fn new(endpoint: Endpoint) -> Self {
        Self { endpoint, channels: Channels::default(), orders: Mutex::default() }
    }

    /// Returns when the broker has confirmed, or can't be reached now; in that case the notice of a later success comes first.
    pub(super) async fn listen(&self, channel: &str) -> Notices {
        let notify = Arc::new(Notify::new());
        let (confirm, confirmed) = oneshot::channel();
        let orders = self.orders();
        let order = Order::Listen(channel.to_owned(), Arc::clone(&notify), confirm);
        if orders.send(order).is_ok() {
            // Ends too when the task does.
            let _ = confirmed.await;
        }
        Notices { notify, channel: channel.to_owned(), orders }
    }

    /// The way to the task, which is started if there is none.
    fn orders(&self) -> mpsc::UnboundedSender<Order> {
        let mut orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(orders) = orders.as_ref().filter(|orders| !orders.is_closed()) {
            return orders.clone();
        }
        let (sender, receiver) = mpsc::unbounded_channel();
        let task =
            Task { endpoint: self.endpoint.clone(), channels: self.channels.clone(), orders: receiver };
        tokio::spawn(task.run());
        orders.insert(sender).clone()
    }
}

impl Notices {
    /// Something was sent, or may have been. Cancel safe.
    pub(super) async fn next(&self) {
        self.notify.notified().await;
    }
}

impl Drop for Notices {
    fn drop(&mut self) {
        // A task that has ended listens to nothing.
        let _ = self.orders.send(Order::Leave(std::mem::take(&mut self.channel)));
    }
}

impl Channels {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Notify>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn names(&self) -> Vec<String> {
        self.lock().keys().cloned().collect()
    }

    fn notify_all(&self) {
        self.lock().values().for_each(|notify| notify.notify_one());
    }

    fn pushed(&self, push: PushInfo, broken: &Notify) {
        match push.kind {
            PushKind::Message => {
                let channel = push.data.into_iter().next().and_then(reply::text);
                if let Some(notify) = channel.and_then(|channel| self.lock().get(&channel).cloned()) {
                    notify.notify_one();
                }
            }
            PushKind::Disconnection => broken.notify_one(),
            _ => {}
        }
    }
}

struct Task {
    endpoint: Endpoint,
    channels: Channels,
    orders: mpsc::UnboundedReceiver<Order>,
}

impl Task {
    /// Lives as long as its hub.
    async fn run(mut self) {
        while let Some(order) = self.orders.recv().await {
            let mut confirm = self.note(order);
            let mut backoff = Backoff::new();
            while !self.channels.lock().is_empty() {
                let broken = Arc::new(Notify::new());
                match self.connect(&broken).await {
                    Ok(connection) => {
                        backoff = Backoff::new();
                        confirm = None;
                        self.channels.notify_all();
                        if self.serve(connection, &broken).await.is_none() {
                            return;
                        }
                    }
                    Err(problem) => {
                        tracing::debug!(problem, "not listening to queues yet; they are polled");
                        confirm = None;
                        if !self.pause(backoff.step()).await {
                            return;
                        }
                    }
                }
            }
            drop(confirm);
        }
    }

    /// The listener is confirmed when what is returned is dropped.
    fn note(&self, order: Order) -> Option<oneshot::Sender<()>> {
        match order {
            Order::Listen(channel, notify, confirm) => {
                self.channels.lock().insert(channel, notify);
                Some(confirm)
            }
            Order::Leave(channel) => {
                self.channels.lock().remove(&channel);
                None
            }
        }
    }

    async fn connect(&self, broken: &Arc<Notify>) -> Result<Connection, String> {
        let (channels, hangup) = (self.channels.clone(), Arc::clone(broken));
        let sink = Box::new(move |push| channels.pushed(push, &hangup));
        let opened = self.endpoint.open(Some(REPLY_TIMEOUT), Some(sink)).await;
        let mut connection = opened.map_err(|error| error.to_string())?;
        let subscribed = connection.subscribe(&self.channels.names(), &[]).await;
        subscribed.map_err(|error| error.to_string())?;
        Ok(connection)
    }

    /// Until the connection breaks or nobody listens any more; `None` when the hub has gone.
    async fn serve(&mut self, mut connection: Connection, broken: &Notify) -> Option<()> {
        loop {
            let ok = tokio::select! {
                biased;
                order = self.orders.recv() => self.obey(order?, &mut connection).await,
                () = broken.notified() => return Some(()),
                () = tokio::time::sleep(PING_INTERVAL) => connection.send(&cmd("PING")).await.map(drop),
            };
            if ok.is_err() || self.channels.lock().is_empty() {
                return Some(());
            }
        }
    }

    async fn obey(&self, order: Order, connection: &mut Connection) -> Result<(), CommandError> {
        match &order {
            Order::Listen(channel, ..) => {
                let channel = [channel.clone()];
                let confirm = self.note(order);
                let subscribed = connection.subscribe(&channel, &[]).await;
                drop(confirm);
                subscribed
            }
            Order::Leave(channel) => {
                let channel = channel.clone();
                self.note(order);
                connection.unsubscribe(&channel).await
            }
        }
    }

    /// Waits, and takes orders meanwhile; `false` when the hub has gone.
    async fn pause(&mut self, wait: Duration) -> bool {
        let end = tokio::time::Instant::now() + wait;
        loop {
            match tokio::time::timeout_at(end, self.orders.recv()).await {
                Ok(Some(order)) => drop(self.note(order)),
                Ok(None) => return false,
                Err(_) => return true,
            }
        }
    }
}
