//! The command connection of a bus: opened again for ever when it breaks.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use redis::{Cmd, Pipeline, Value};
use tokio::sync::watch;

use super::backoff::Backoff;
use super::connection::{Connection, Endpoint};
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
    connection: Option<Connection>,
    /// Which connection this is: a failure reported of an older one is old news.
    number: u64,
    problem: String,
}

impl Link {
    /// # Errors
    /// If the first connection can't be opened.
    pub(crate) async fn open(endpoint: Endpoint) -> Result<Self, ConnectError> {
        let connection = endpoint.open(Some(REPLY_TIMEOUT), None).await?;
        let state = State { connection: Some(connection), number: 1, problem: String::new() };
        Ok(Self {
            shared: Arc::new(Shared { endpoint, state: Mutex::new(state), opened: watch::Sender::new(1) }),
        })
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.shared.endpoint
    }

    /// # Errors
    /// As [`Connection::send`], and if there is no connection for as long as commands wait.
    pub(crate) async fn send(&self, command: &Cmd) -> Result<Value, CommandError> {
        let (mut connection, number) = self.connection().await?;
        let result = connection.send(command).await;
        self.noted(number, result)
    }

    /// # Errors
    /// As [`Connection::send_all`], and if there is no connection for as long as commands wait.
    pub(crate) async fn send_all(
        &self,
        commands: &Pipeline,
    ) -> Result<Vec<Result<Value, CommandError>>, CommandError> {
        let (mut connection, number) = self.connection().await?;
        let result = connection.send_all(commands).await;
        self.noted(number, result)
    }

    async fn connection(&self) -> Result<(Connection, u64), CommandError> {
        if let Some(found) = self.shared.current() {
            return Ok(found);
        }
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
        tokio::time::timeout(PATIENCE, wait).await.map_err(|_| CommandError::Unreachable {
            url: self.shared.endpoint.address.to_string(),
            waited: PATIENCE,
            problem: self.shared.lock().problem.clone(),
        })
    }

    fn noted<T>(&self, number: u64, result: Result<T, CommandError>) -> Result<T, CommandError> {
        if let Err(CommandError::OutcomeUnknown { problem, .. }) = &result {
            self.shared.broken(number, problem);
        }
        result
    }
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

    fn current(self: &Arc<Self>) -> Option<(Connection, u64)> {
        let state = self.lock();
        let connection = state.connection.clone()?;
        let number = state.number;
        drop(state);
        if connection.is_closed() {
            self.broken(number, "the broker closed the connection");
            return None;
        }
        Some((connection, number))
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
        let Some(endpoint) = shared.upgrade().map(|shared| shared.endpoint.clone()) else { return };
        let opened = endpoint.open(Some(REPLY_TIMEOUT), None).await;
        let Some(shared) = shared.upgrade() else { return };
        match opened {
            Ok(connection) => {
                let mut state = shared.lock();
                state.connection = Some(connection);
                state.number += 1;
                let number = state.number;
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
