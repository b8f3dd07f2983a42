//! The broker of this repository, inside the process, on a loopback port.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use cauce_broker::{BindError, Broker, Config, FaultyStorage, Listener, MemoryLog};
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
    /// What ends the thread that writes checkpoints, and the thread.
    checkpoints: Option<(Arc<AtomicBool>, JoinHandle<()>)>,
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
        Ok(Embedded { broker, log, address, runtime: Some(runtime), checkpoints: None })
    }

    /// Starts one on a disk in memory that keeps as little of streams in memory as it can: full blocks go to disk all the
    /// time, and are read back for every command that needs them. It is ready when this returns.
    ///
    /// # Errors
    ///
    /// [`EmbeddedError`].
    ///
    /// # Panics
    ///
    /// If a new log cannot be opened.
    pub fn start_on_disk(mut config: Config) -> Result<Embedded, EmbeddedError> {
        config.settings.stream_memory = 1;
        config.segment_bytes = 64 * 1024;
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let storage = Arc::new(FaultyStorage::new(0));
        let (broker, _) = Broker::open_storage(storage, config).expect("a new log can be opened");
        let listener = runtime.block_on(Listener::tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), false))?;
        let address = listener.address().expect("a TCP listener has an address");
        let serving = broker.clone();
        runtime.spawn(async move { serving.serve(listener).await });
        let writing = broker.clone();
        let ended = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&ended);
        let checkpoints = std::thread::spawn(move || {
            while !told.load(Ordering::Relaxed) {
                writing.checkpoint().expect("the disk works");
            }
        });
        let checkpoints = Some((ended, checkpoints));
        Ok(Embedded { broker, log: Arc::new(MemoryLog::new()), address, runtime: Some(runtime), checkpoints })
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
        if let Some((ended, thread)) = self.checkpoints.take() {
            ended.store(true, Ordering::Relaxed);
            // If it has panicked, it has said so.
            let _ended = thread.join();
        }
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
