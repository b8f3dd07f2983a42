//! What a service counts.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

macro_rules! counters {
    ($($(#[doc = $doc:literal])* $name:ident,)*) => {
        /// What a service has done since it started. All are counts of deliveries but where they say otherwise.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Report {
            $($(#[doc = $doc])* pub $name: u64,)*
        }

        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $(pub(crate) $name: Counter,)*
            /// How long handlers took.
            pub(crate) took: Histogram,
        }

        impl Counters {
            pub(crate) fn report(&self) -> Report {
                Report { $($name: self.$name.0.load(Ordering::Relaxed),)* }
            }
        }

        impl Report {
            /// Each count: its name, what it counts, and how much that is.
            pub(crate) fn counts(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
                [$((stringify!($name), concat!($($doc),*), self.$name),)*].into_iter()
            }

            /// What two have counted.
            pub(crate) fn plus(&self, other: &Self) -> Self {
                Self { $($name: self.$name + other.$name,)* }
            }
        }

        /// Those that are not zero, by name.
        impl fmt::Display for Report {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut separator = "";
                $(if self.$name > 0 {
                    write!(f, "{separator}{} {}", self.$name, stringify!($name))?;
                    separator = ", ";
                })*
                if separator.is_empty() { f.write_str("nothing") } else { Ok(()) }
            }
        }
    };
}

counters! {
    /// Handlers that ended well.
    handled,
    /// Handlers that failed: by an error, a panic or their timeout. Every attempt counts.
    failed,
    /// Attempts after the first that were started here after a failure here.
    retried,
    /// Entries that became dead letters.
    dead,
    /// Entries taken over from consumers that are gone.
    claimed,
    /// Own pending entries whose delivery was lost on the way, found and run.
    recovered,
    /// Entries whose action nobody here handles; acknowledged.
    unhandled,
    /// Entries that came again while they were still held here; not run twice.
    duplicates,
    /// Entries whose event the inbox had seen; acknowledged without being handled again.
    skipped,
    /// Acknowledgements that came too late: somebody else had settled the entry, or the broker had lost it.
    late,
    /// Entries that were deleted from the stream while they were pending.
    vanished,
    /// Entries handed back without having been run, when the service stopped.
    returned,
    /// Handlers that were cut off by the shutdown deadline.
    cut_off,
    /// How often reading stopped because too many entries waited behind others of their keys.
    stalled,
    /// Connections for reading that were opened again.
    reconnects,
    /// Groups that were gone from the broker and were made again.
    groups_recreated,
}

/// Upper bounds of the buckets of a histogram, in seconds; what is longer falls into one more.
pub(crate) const BUCKETS: [f64; 10] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0, 300.0];

/// How often something took how long.
#[derive(Debug, Default)]
pub(crate) struct Histogram {
    counts: [AtomicU64; BUCKETS.len() + 1],
    nanos: AtomicU64,
}

/// What a histogram has seen: how often in each bucket, and seconds in all.
pub(crate) type Observed = ([u64; BUCKETS.len() + 1], f64);

impl Histogram {
    pub(crate) fn observe(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        let bucket = BUCKETS.iter().take_while(|bound| seconds > **bound).count();
        if let Some(count) = self.counts.get(bucket) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.nanos.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(crate) fn observed(&self) -> Observed {
        let counts = std::array::from_fn(|bucket| {
            self.counts.get(bucket).map_or(0, |count| count.load(Ordering::Relaxed))
        });
        (counts, Duration::from_nanos(self.nanos.load(Ordering::Relaxed)).as_secs_f64())
    }
}

#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self, count: usize) {
        self.0.fetch_add(count as u64, Ordering::Relaxed);
    }

    pub(crate) fn one(&self) {
        self.add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_shows_what_happened() {
        let counters = Counters::default();
        assert_eq!(counters.report().to_string(), "nothing");
        counters.handled.add(3);
        counters.dead.one();
        assert_eq!(counters.report().to_string(), "3 handled, 1 dead");
    }
}
