//! The servers that the suite runs on.
//!
//! A [`Target`] is a running server with the [`Features`] it has; it stops when it is dropped. A case that cannot run on a
//! target names the feature that excuses it: there is no list of skipped tests elsewhere.

mod embedded;
mod features;
mod observer;
mod redis_server;

pub use embedded::{Embedded, EmbeddedError};
pub use features::{Feature, Features};
pub use observer::Observer;
pub use redis_server::{RedisServer, RedisServerError};

use cauce_broker::Config;

use crate::wire::{Address, Connection, WireError};

/// A running server and what it can do.
#[derive(Debug)]
pub struct Target {
    name: &'static str,
    address: Address,
    features: Features,
    _running: Running,
}

/// What keeps the server alive.
#[derive(Debug)]
enum Running {
    RedisServer { _server: RedisServer },
    Embedded { _broker: Embedded },
    Elsewhere,
}

impl Target {
    /// A real redis-server of our own, on a free port, without persistence; `None` where none is installed.
    ///
    /// # Errors
    ///
    /// [`RedisServerError`] if it is installed but does not come up, or is missing where `CAUCE_REQUIRE_REDIS_SERVER` is set.
    pub fn redis_server() -> Result<Option<Target>, RedisServerError> {
        let Some(server) = RedisServer::start_if_installed()? else { return Ok(None) };
        Ok(Some(Target {
            name: "redis-server",
            address: server.tcp(),
            features: server.features(),
            _running: Running::RedisServer { _server: server },
        }))
    }

    /// The broker of this repository, inside the process.
    ///
    /// # Errors
    ///
    /// [`EmbeddedError`] if the machine has no port or thread left.
    pub fn embedded() -> Result<Target, EmbeddedError> {
        Target::embedded_with(Config::default())
    }

    /// The same, made with a configuration.
    ///
    /// # Errors
    ///
    /// As [`Target::embedded`].
    pub fn embedded_with(config: Config) -> Result<Target, EmbeddedError> {
        let broker = Embedded::start(config)?;
        Ok(Target {
            name: "embedded broker",
            address: Address::Tcp(broker.address()),
            features: Features::of_cauce(),
            _running: Running::Embedded { _broker: broker },
        })
    }

    /// The same on a disk, with next to none of its streams in memory: see [`Embedded::start_on_disk`].
    ///
    /// # Errors
    ///
    /// As [`Target::embedded`].
    pub fn embedded_on_disk(config: Config) -> Result<Target, EmbeddedError> {
        let broker = Embedded::start_on_disk(config)?;
        Ok(Target {
            name: "embedded broker on disk",
            address: Address::Tcp(broker.address()),
            features: Features::of_cauce(),
            _running: Running::Embedded { _broker: broker },
        })
    }

    /// A server that somebody else started and will stop.
    pub fn elsewhere(name: &'static str, address: Address, features: Features) -> Target {
        Target { name, address, features, _running: Running::Elsewhere }
    }

    /// What messages call it.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Where it listens.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// What it can do.
    pub fn features(&self) -> Features {
        self.features
    }

    /// A new connection, in RESP2 as every connection begins.
    ///
    /// # Errors
    ///
    /// [`WireError::Io`] if it does not listen any more.
    pub fn connect(&self) -> Result<Connection, WireError> {
        Connection::open(&self.address)
    }

    /// A connection that watches the others.
    ///
    /// # Errors
    ///
    /// As [`Target::connect`].
    pub fn observe(&self) -> Result<Observer, WireError> {
        Ok(Observer::new(self.connect()?))
    }
}
