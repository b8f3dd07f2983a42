//! The broker around the engine: listeners, sessions, limits, and replies that wait until they are safe.
//!
//! [`Broker`] is the same broker whether it serves TCP and Unix sockets (`cauce serve`) or lives inside a
//! process and is reached through in-process pipes. All connections share one engine behind one lock; a
//! connection takes the lock once per batch of requests, parses before and writes after.
//!
//! ```
//! use cauce_broker::{Broker, Config};
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! let broker = Broker::in_memory(Config::default());
//! let mut pipe = broker.connect();
//! pipe.write_all(b"PING\r\n").await?;
//! let mut reply = [0; 7];
//! pipe.read_exact(&mut reply).await?;
//! assert_eq!(&reply, b"+PONG\r\n");
//! # Ok(())
//! # }
//! ```

mod blocks;
mod broker;
mod busy;
mod checkpoint;
mod clock;
mod config;
mod durable;
mod host;
mod input;
mod listen;
mod look;
mod outbox;
mod remains;
mod session;
mod shared;
mod timer;
mod waiting;

pub use broker::Broker;
pub use cauce_engine::{Facts, Settings};
#[cfg(feature = "seeded-faults")]
pub use cauce_log::Mutant;
pub use cauce_log::{
    DirectoryError, Failure, FaultyStorage, FileStorage, LogState, MemoryLog, Outage, Recovery, Storage,
    StorageFile, SyncPolicy, Threads, TornTail,
};
pub use checkpoint::CheckpointError;
pub use config::{ClockSource, Config, Limits};
pub use durable::OpenError;
pub use host::{Door, Host};
pub use listen::{BindError, Listener, connect_directory};
pub use remains::{Remains, RemainsError};
