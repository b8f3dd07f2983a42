//! The command connection of a bus: opened again for ever when it breaks.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use redis::{Cmd, Pipeline, Value};
use tokio::sync::watch;
use tokio::time::Instant;

use super::backoff::Backoff;
use super::connection::Endpoint;
use super::mux::{Lost, Mux};
use super::replies::Replies;
use super::request::Request;
use super::wire::{Identity, Introduction, Wire};
use crate::error::{CommandError, ConnectError};

/// How long a command waits for a connection before it gives up.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a reply may take. A broker that is silent for longer is treated as gone.
pub(crate) const REPLY_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection that heals. Clones share it.
#[derive(Clone)]
pub(crate) struct Link {
    shared: Arc<Shared>,
}

struct Shared {
    endpoint: Endpoint,
    state: Mutex<State>,
    /// Counts the connections that were opened, so that waiters notice a new one.
    opened: watch::Sender<u64>,
}

struct State {
    connection: Option<Open>,
    /// Which connection this is: a failure reported of an older one is old news.
    number: u64,
    problem: String,
}

#[derive(Clone)]
struct Open {
    mux: Arc<Mux>,
    peer: Arc<Peer>,
}

/// A connection of a link, also when it is gone.
#[derive(Debug)]
pub(crate) struct Peer {
    /// Counts the connections of the link.
    pub(crate) number: u64,
    /// By which it can be closed at the broker, if it can.
    pub(crate) identity: Option<Identity>,
    /// The broker has commands for queues, and this user may use them.
    has_queues: AtomicBool,
}

/// A request without a reply.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) error: CommandError,
    /// The connection that it was sent on, if it was: the broker may still carry it out.
    pub(crate) sent: Option<Arc<Peer>>,
}

impl Link {
    /// # Errors
    /// If the first connection can't be opened.
    pub(crate) async fn open(endpoint: Endpoint) -> Result<Self, ConnectError> {
        let connection = Some(open(&endpoint, 1).await?);
        let state = State { connection, number: 1, problem: String::new() };
        Ok(Self {
            shared: Arc::new(Shared { endpoint, state: Mutex::new(state), opened: watch::Sender::new(1) }),
        })
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.shared.endpoint
    }

    /// Sends one command; its reply as a tree.
    ///
    /// # Errors
    /// As [`call`](Self::call), and if the broker refuses.
    pub(crate) async fn send(&self, command: &Cmd) -> Result<Value, CommandError> {
        self.call(&command.into()).await?.tree()
    }

    /// Sends all commands at once; each has its own reply or refusal.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub(crate) async fn send_all(
        &self,
        commands: &Pipeline,
    ) -> Result<Vec<Result<Value, CommandError>>, CommandError> {
        if commands.is_empty() {
            return Ok(Vec::new());
        }
        let mut replies = self.call(&commands.into()).await?;
        Ok(commands.cmd_iter().map(|_| replies.tree()).collect())
    }

    /// Sends a request of at least one command. What concurrent callers send travels together. A command that was certainly not sent,
    /// because the connection broke before, is sent on the next one.
    ///
    /// # Errors
    /// If there is no connection for as long as commands wait, or it breaks or is silent for too long before the reply.
    pub(crate) async fn call(&self, request: &Request) -> Result<Replies, CommandError> {
        self.call_by(request).await.map(|(replies, _)| replies).map_err(|failed| failed.error)
    }

    /// As [`call`](Self::call); says which connection it was.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub(crate) async fn call_by(&self, request: &Request) -> Result<(Replies, Arc<Peer>), Failed> {
        let mut found = self.shared.current();
        let mut deadline = None;
        loop {
            let Open { mux, peer } = match found.take() {
                Some(found) => found,
                None => {
                    let deadline = *deadline.get_or_insert_with(|| Instant::now() + PATIENCE);
                    self.connection(deadline).await.map_err(|error| Failed { error, sent: None })?
                }
            };
            let problem = match mux.call(request).await {
                Ok(replies) => return Ok((replies, peer)),
                Err(Lost::Unsent(problem)) => {
                    self.shared.broken(peer.number, &problem);
                    continue;
                }
                Err(Lost::Unanswered(problem)) => problem,
            };
            self.shared.broken(peer.number, &problem);
            let url = self.shared.endpoint.address.to_string();
            let error = CommandError::OutcomeUnknown { url, problem: problem.to_string() };
            return Err(Failed { error, sent: Some(peer) });
        }
    }

    /// Whether the connection of now could be closed at the broker from another one.
    pub(crate) fn is_closable(&self) -> bool {
        self.shared.lock().connection.as_ref().is_some_and(|open| open.peer.identity.is_some())
    }

    /// Whether the connection of now is to a broker that has commands for queues.
    pub(crate) fn has_queues(&self) -> bool {
        let state = self.shared.lock();
        state.connection.as_ref().is_some_and(|open| open.peer.has_queues.load(Ordering::Relaxed))
    }

    /// The commands for queues were refused on the connection of now: they may not be used, or it is another broker already.
    pub(crate) fn renounce_queues(&self) {
        if let Some(open) = &self.shared.lock().connection {
            open.peer.has_queues.store(false, Ordering::Relaxed);
        }
    }

    async fn connection(&self, deadline: Instant) -> Result<Open, CommandError> {
        let mut opened = self.shared.opened.subscribe();
        let wait = async {
            loop {
                if let Some(found) = self.shared.current() {
                    return found;
                }
                // The sender lives as long as `self.shared`, so the wait only ends with news.
                let _ = opened.changed().await;
            }
        };
        tokio::time::timeout_at(deadline, wait).await.map_err(|_| CommandError::Unreachable {
            url: self.shared.endpoint.address.to_string(),
            waited: PATIENCE,
            problem: self.shared.lock().problem.clone(),
        })
    }
}

async fn open(endpoint: &Endpoint, number: u64) -> Result<Open, ConnectError> {
    let (wire, Introduction { identity, has_queues }) = Wire::open_known(endpoint).await?;
    let mux = Arc::new(Mux::new(wire.into_stream()));
    Ok(Open { mux, peer: Arc::new(Peer { number, identity, has_queues: AtomicBool::new(has_queues) }) })
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Link").field(&self.shared.endpoint.address).finish()
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn current(&self) -> Option<Open> {
        self.lock().connection.clone()
    }

    fn broken(self: &Arc<Self>, number: u64, problem: &str) {
        let mut state = self.lock();
        if state.number != number || state.connection.is_none() {
            return;
        }
        tracing::warn!(broker = %self.endpoint.address, problem, "connection lost");
        state.connection = None;
        problem.clone_into(&mut state.problem);
        tokio::spawn(reopen(Arc::downgrade(self)));
    }
}

/// Tries for ever, unless nobody holds the link any more.
async fn reopen(shared: Weak<Shared>) {
    let mut backoff = Backoff::new();
    loop {
        let Some((endpoint, number)) =
            shared.upgrade().map(|shared| (shared.endpoint.clone(), shared.lock().number + 1))
        else {
            return;
        };
        let opened = open(&endpoint, number).await;
        let Some(shared) = shared.upgrade() else { return };
        match opened {
            Ok(connection) => {
                let mut state = shared.lock();
                state.connection = Some(connection);
                state.number = number;
                drop(state);
                shared.opened.send_replace(number);
                tracing::info!(broker = %endpoint.address, "connected again");
                return;
            }
            Err(error) => shared.lock().problem = error.to_string(),
        }
        drop(shared);
        backoff.wait().await;
    }
}
