//! A broker on threads of its own, for all processes of a machine that use its directory.
//!
//! Whoever holds the directory serves the others on a socket in it. The threads are the broker's own, so that nothing
//! the process does besides (a handler that blocks its thread) keeps the others waiting.

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use cauce_log::{Failure, FileStorage, Recovery};
use tokio::io::DuplexStream;
use tokio::runtime::{Builder, Handle, Runtime};

use crate::broker::Broker;
use crate::config::Config;
use crate::durable::OpenError;
use crate::listen::Listener;
use crate::shared::Shared;

/// How long connections have to take what they are owed when the host ends, and tasks to end after that.
const DRAIN_MAX: Duration = Duration::from_millis(500);
/// Room for scripts that nest documents as deep as they may. Taken only as it is used.
const THREAD_STACK_BYTES: usize = 8 << 20;

/// The broker of a directory that this process holds, before and while it is [run](Host::run).
#[derive(Debug)]
pub struct Host {
    broker: Broker,
    listener: Listener,
    runtime: Runtime,
    open: Arc<AtomicBool>,
}

/// The way into a [`Host`] from inside its process. Does not keep it alive.
#[derive(Debug, Clone)]
pub struct Door {
    shared: Weak<Shared>,
    runtime: Handle,
    open: Arc<AtomicBool>,
}

impl Door {
    /// Opens a connection, served on the host's threads; none if the host has ended. No password is needed.
    #[must_use]
    pub fn connect(&self) -> Option<DuplexStream> {
        let shared = self.shared.upgrade().filter(|_| self.open.load(Ordering::SeqCst))?;
        Some(shared.connect(&self.runtime, true))
    }
}

impl Host {
    /// Reads what the directory holds, which may take a while, and binds its socket. Nobody is served before it is run.
    ///
    /// # Errors
    /// [`OpenError`]
    pub fn open(held: FileStorage, mut config: Config) -> Result<(Self, Recovery), OpenError> {
        let directory = held.directory().to_owned();
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("cauce-broker")
            .thread_stack_size(THREAD_STACK_BYTES)
            .enable_all()
            .build()
            .map_err(OpenError::Threads)?;
        config.settings.facts.process_id = std::process::id();
        let (broker, recovery) = Broker::open_held(held, config)?;
        let listener = {
            let _inside = runtime.enter();
            Listener::in_directory(&directory)?
        };
        Ok((Self { broker, listener, runtime, open: Arc::new(AtomicBool::new(true)) }, recovery))
    }

    /// The way in for this process.
    #[must_use]
    pub fn door(&self) -> Door {
        Door {
            shared: Arc::downgrade(&self.broker.shared),
            runtime: self.runtime.handle().clone(),
            open: Arc::clone(&self.open),
        }
    }

    /// Serves, on the calling thread and others, until `end` ends, a client sends `SHUTDOWN`, or the disk fails, which is
    /// returned. Then what was executed is answered, connections are closed, what is left is written and synced, and the
    /// directory is free. Another process may have it before this returns.
    ///
    /// # Panics
    /// On a thread of a tokio runtime.
    pub fn run(self, end: impl Future<Output = ()>) -> Option<Failure> {
        let Self { broker, listener, runtime, open } = self;
        let failure = runtime.block_on(async {
            let failure = tokio::select! {
                () = broker.serve(listener) => None,
                () = end => None,
                () = broker.shutdown_requested() => None,
                failure = broker.failed() => Some(failure),
            };
            open.store(false, Ordering::SeqCst);
            broker.drain(DRAIN_MAX).await;
            failure
        });
        runtime.shutdown_timeout(DRAIN_MAX);
        failure
    }
}
