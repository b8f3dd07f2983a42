//! The broker of this repository, inside the process, on a loopback port.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use cauce_broker::{BindError, Broker, Config, Listener, MemoryLog};
use tokio::runtime::{Builder, Runtime};

/// Why no broker came up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmbeddedError {
    /// The runtime that it lives on can't be made.
    #[error("no runtime for the broker: {0}")]
    Runtime(#[from] io::Error),
    /// No loopback port can be had.
    #[error(transparent)]
    Bind(#[from] BindError),
}

/// A broker on a runtime of its own; both end when it is dropped.
#[derive(Debug)]
pub struct Embedded {
    broker: Broker,
    log: Arc<MemoryLog>,
    address: SocketAddr,
    // Taken when dropped.
    runtime: Option<Runtime>,
}

impl Embedded {
    /// Starts one on a free port. It is ready when this returns.
    ///
    /// # Errors
    ///
    /// [`EmbeddedError`].
    pub fn start(config: Config) -> Result<Embedded, EmbeddedError> {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let log = Arc::new(MemoryLog::new());
        let broker = Broker::with_memory_log(config, Arc::clone(&log));
        let listener = runtime.block_on(Listener::tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), false))?;
        let address = listener.address().expect("a TCP listener has an address");
        let serving = broker.clone();
        runtime.spawn(async move { serving.serve(listener).await });
        Ok(Embedded { broker, log, address, runtime: Some(runtime) })
    }

    /// The broker itself.
    pub fn broker(&self) -> &Broker {
        &self.broker
    }

    /// The log that its replies wait for; a test can hold it.
    pub fn log(&self) -> &MemoryLog {
        &self.log
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
