//! A connection that is pushed to: the client crate's, over a byte stream of ours.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, ProtocolVersion, PushInfo, RedisConnectionInfo, RedisError, Value};
use tokio::task::AbortHandle;

use super::address::Address;
use super::dial::Source;
use super::reply;
use crate::error::{CommandError, ConnectError};

/// Commands that wait in the queue to the connection's task before senders are held back.
const QUEUE_LENGTH: usize = 1024;

/// Where to connect, and as whom.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    pub(crate) address: Arc<Address>,
    pub(crate) source: Source,
}

impl Endpoint {
    /// # Errors
    /// If the URL names no broker that this build can reach.
    pub(crate) fn parse(url: &str) -> Result<Self, ConnectError> {
        let address = Address::parse(url)?;
        let source = Source::of(&address)?;
        Ok(Self { address: Arc::new(address), source })
    }

    /// A broker of the test kit.
    #[cfg(feature = "testing")]
    pub(crate) fn simulated(broker: super::embedded::Embedded) -> Self {
        let address = Address {
            place: super::address::Place::Memory(None),
            username: None,
            password: None,
            database: 0,
        };
        Self { address: Arc::new(address), source: Source::Embedded(broker) }
    }

    /// Opens a connection. `reply_timeout` bounds the wait for each reply; blocking reads have none and bound themselves.
    ///
    /// # Errors
    /// If nobody answers, or the broker refuses.
    pub(crate) async fn open(
        &self,
        reply_timeout: Option<Duration>,
        pushes: Option<PushSink>,
    ) -> Result<Connection, ConnectError> {
        self.in_time(self.open_unbounded(reply_timeout, pushes)).await
    }

    /// Waits for an opening for as long as such a place may take.
    pub(super) async fn in_time<T>(
        &self,
        opening: impl Future<Output = Result<T, ConnectError>>,
    ) -> Result<T, ConnectError> {
        let patience = self.source.patience();
        tokio::time::timeout(patience, opening).await.unwrap_or_else(|_| {
            let problem = format!("no answer within {} s", patience.as_secs());
            let source = io::Error::new(io::ErrorKind::TimedOut, problem);
            Err(ConnectError::Unreachable { url: self.address.to_string(), source })
        })
    }

    async fn open_unbounded(
        &self,
        reply_timeout: Option<Duration>,
        pushes: Option<PushSink>,
    ) -> Result<Connection, ConnectError> {
        let unreachable = |source| ConnectError::Unreachable { url: self.address.to_string(), source };
        let stream = self.source.open(&self.address).await?;
        let mut config = AsyncConnectionConfig::new()
            .set_response_timeout(reply_timeout)
            .set_pipeline_buffer_size(QUEUE_LENGTH);
        if let Some(pushes) = pushes {
            config = config.set_push_sender(move |push: PushInfo| {
                pushes(push);
                Ok::<(), redis::aio::SendError>(())
            });
        }
        let (inner, driver) =
            MultiplexedConnection::new_with_config(&self.login(), stream, config).await.map_err(|error| {
                if error.is_io_error() || error.is_connection_dropped() {
                    unreachable(io::Error::other(error.to_string()))
                } else {
                    ConnectError::Refused { url: self.address.to_string(), message: error.to_string() }
                }
            })?;
        let driver = Driver(tokio::spawn(driver).abort_handle());
        Ok(Connection { inner, _driver: driver, address: Arc::clone(&self.address) })
    }

    fn login(&self) -> RedisConnectionInfo {
        let mut info = RedisConnectionInfo::default()
            .set_protocol(ProtocolVersion::RESP3)
            .set_db(self.address.database)
            .set_lib_name("cauce", env!("CARGO_PKG_VERSION"));
        if let Some(username) = &self.address.username {
            info = info.set_username(username);
        }
        if let Some(password) = &self.address.password {
            info = info.set_password(password);
        }
        info
    }
}

/// Takes pushes as they arrive; must not block.
pub(crate) type PushSink = Box<dyn Fn(PushInfo) + Send + Sync>;

/// A connection; it closes when it is dropped.
pub(crate) struct Connection {
    inner: MultiplexedConnection,
    _driver: Driver,
    address: Arc<Address>,
}

impl Connection {
    /// # Errors
    /// If the connection breaks, the reply does not come in time, or the broker refuses.
    pub(crate) async fn send(&mut self, command: &Cmd) -> Result<Value, CommandError> {
        let value = self.inner.send_packed_command(command).await.map_err(|error| self.lost(&error))?;
        reply::checked(value)
    }

    /// # Errors
    /// If the connection breaks or the broker refuses.
    pub(crate) async fn subscribe(
        &mut self,
        channels: &[String],
        patterns: &[String],
    ) -> Result<(), CommandError> {
        if !channels.is_empty() {
            self.inner.subscribe(channels).await.map_err(|error| self.lost(&error))?;
        }
        if !patterns.is_empty() {
            self.inner.psubscribe(patterns).await.map_err(|error| self.lost(&error))?;
        }
        Ok(())
    }

    /// # Errors
    /// If the connection breaks or the broker refuses.
    pub(crate) async fn unsubscribe(&mut self, channel: &str) -> Result<(), CommandError> {
        self.inner.unsubscribe(channel).await.map_err(|error| self.lost(&error))
    }

    fn lost(&self, error: &RedisError) -> CommandError {
        match error.code() {
            Some(code) if !error.is_io_error() => CommandError::Refused {
                code: code.to_owned(),
                message: error.detail().unwrap_or_default().to_owned(),
            },
            _ => CommandError::OutcomeUnknown { url: self.address.to_string(), problem: error.to_string() },
        }
    }
}

/// Ends the connection's task.
struct Driver(AbortHandle);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}
