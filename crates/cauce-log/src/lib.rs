//! Durable records behind one small interface. Knows no commands: a record is bytes.
//!
//! A log takes records in order and says how far it is safe: [`Log::durable`] is the number of records that no
//! crash of the configured kind can take back. Whoever shows the outside world something that depends on a
//! record waits until then.

mod memory;

pub use memory::MemoryLog;

/// Called whenever [`Log::durable`] has grown. Must not call back into the log.
pub type DurableListener = Box<dyn Fn() + Send + Sync>;

/// A sequence of records, numbered from 1 in the order in which they were appended.
pub trait Log: Send + Sync + std::fmt::Debug {
    /// Appends records that belong together: after a crash all of them are there or none. Returns at once;
    /// they are safe when [`Log::durable`] has reached the last one's number.
    fn append(&self, unit: &mut dyn Iterator<Item = &[u8]>);

    /// Number of the last record that is safe; `u64::MAX` for a log that never makes anyone wait.
    fn durable(&self) -> u64;

    /// Registers the one listener. A later one replaces it.
    fn listen(&self, listener: DurableListener);
}
