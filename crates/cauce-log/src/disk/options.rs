//! How a log is kept.

/// When a record counts as safe, and what takes it all the same.
///
/// | | end of the process | crash of the kernel, power cut |
/// |---|---|---|
/// | `Always` | nothing | nothing, if the disk keeps what it confirmed |
/// | `EverySecond` | nothing | what was written since the last sync: about a second |
/// | `Off` | nothing | what the system has not written yet: about 30 seconds |
///
/// "The end of the process" is any, `kill -9` included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum SyncPolicy {
    /// Safe when it is synced.
    #[default]
    Always,
    /// Safe when it is written; synced every second.
    EverySecond,
    /// Safe when it is written; synced when the system likes.
    Off,
}

/// Who does the log's work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Threads {
    /// Two threads of the log's own.
    #[default]
    Own,
    /// Whoever calls [`DiskLog::commit`](super::DiskLog::commit) and [`DiskLog::keep`](super::DiskLog::keep); nothing happens without.
    Caller,
}

/// How a log is kept. Start from the default and change what matters.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Options {
    /// When a record counts as safe.
    pub policy: SyncPolicy,
    /// Bytes of a segment; at least 16 KiB, at most 1 GiB. The first ones are smaller: each twice as large as the one
    /// before, from a sixteenth of this on.
    pub segment_bytes: u64,
    /// Who does the log's work.
    pub threads: Threads,
    /// Number of the first record that is needed; those before it are neither handed over nor missed.
    pub from: u64,
    /// What the epochs of segments are drawn from. They must not be guessable by those who fill the records.
    pub seed: u64,
    /// The mistake that the log makes.
    #[cfg(any(test, feature = "seeded-faults"))]
    pub mutant: Option<Mutant>,
}

/// Mistakes that tests must find.
#[cfg(any(test, feature = "seeded-faults"))]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutant {
    /// Records are not synced.
    SkipSync,
    /// Records count as safe before they are synced.
    PublishBeforeSync,
    /// The name of a new segment is not synced.
    SkipDirectorySync,
}

impl Default for Options {
    fn default() -> Self {
        use std::hash::BuildHasher;
        Self {
            policy: SyncPolicy::default(),
            segment_bytes: 64 * 1024 * 1024,
            threads: Threads::default(),
            from: 1,
            // The standard library seeds its hashers from the system's randomness.
            seed: std::hash::RandomState::new().hash_one(std::process::id()),
            #[cfg(any(test, feature = "seeded-faults"))]
            mutant: None,
        }
    }
}
