//! What a broker is made with.

use std::time::Duration;

use cauce_engine::Settings;
use cauce_log::{SyncPolicy, Threads};

/// How a broker behaves. Start from the default and change what matters.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Config {
    /// The semantics' settings.
    pub settings: Settings,
    /// What connections may cost.
    pub limits: Limits,
    /// Where the time comes from.
    pub clock: ClockSource,
    /// When a record counts as safe, for a broker on a directory.
    pub sync: SyncPolicy,
    /// Bytes of a segment of the log, for a broker on a directory. See [`cauce_log::Options::segment_bytes`].
    pub segment_bytes: u64,
    /// Bytes of full segments after which a checkpoint is written, for a broker on a directory. If the last checkpoint
    /// was larger than that, as many as it had. Small values cost writes, large ones time at the next start.
    pub checkpoint_after_bytes: u64,
    /// The mistake that the log makes.
    #[cfg(feature = "seeded-faults")]
    pub log_mutant: Option<cauce_log::Mutant>,
    /// Who writes and syncs, for a broker on a directory. With [`Threads::Caller`] nothing becomes durable but by
    /// [`Broker::work`](crate::Broker::work): for simulations, which decide what happens when.
    pub threads: Threads,
}

impl Default for Config {
    fn default() -> Self {
        let log = cauce_log::Options::default();
        Self {
            settings: Settings::default(),
            limits: Limits::default(),
            clock: ClockSource::default(),
            sync: log.policy,
            segment_bytes: log.segment_bytes,
            checkpoint_after_bytes: 64 * 1024 * 1024,
            #[cfg(feature = "seeded-faults")]
            log_mutant: None,
            threads: log.threads,
        }
    }
}

/// Where a broker's time comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum ClockSource {
    /// The runtime's clock, started at the time of day when the broker was made: under a paused tokio clock
    /// the broker's time stands still too.
    #[default]
    Runtime,
    /// The runtime's clock, started at this time since 1970 when the broker was made.
    RuntimeFrom(Duration),
    /// The system's time of day. One that is set back is not followed: the broker's time goes on, a tenth more slowly until they agree.
    System,
}

/// Bounds on what connections may cost, each with a safe default. A connection that crosses one of the byte
/// limits is closed; others are not affected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Most connections at a time; a further one gets an error and is closed. Redis: `maxclients`.
    pub connections_max: usize,
    /// Most bytes received from a connection and not dealt with. Redis: `client-query-buffer-limit`.
    pub input_bytes_max: usize,
    /// Longest argument of a request. Redis: `proto-max-bulk-len`.
    pub bulk_bytes_max: usize,
    /// Most bytes waiting to be sent to a connection without subscriptions.
    pub output_bytes_max: usize,
    /// Most bytes waiting to be sent to a subscriber. Redis: `client-output-buffer-limit pubsub`, hard.
    pub subscriber_output_bytes_max: usize,
    /// Bytes waiting for a subscriber that are only borne for [`Limits::subscriber_slow_max`].
    pub subscriber_output_bytes_soft: usize,
    /// How long a subscriber may stay over the soft limit.
    pub subscriber_slow_max: Duration,
    /// Bytes that wait for the log to be written over which no more requests are run until it catches up.
    pub log_bytes_max: u64,
    /// How long a script that has not written may run where nobody can be answered meanwhile, so that nobody could
    /// kill it: on a current-thread runtime.
    pub script_time_max: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        const MIB: usize = 1024 * 1024;
        Self {
            connections_max: 10_000,
            input_bytes_max: 1024 * MIB,
            bulk_bytes_max: 512 * MIB,
            output_bytes_max: 1024 * MIB,
            subscriber_output_bytes_max: 32 * MIB,
            subscriber_output_bytes_soft: 8 * MIB,
            subscriber_slow_max: Duration::from_secs(60),
            log_bytes_max: 64 * 1024 * 1024,
            script_time_max: Duration::from_secs(60),
        }
    }
}
