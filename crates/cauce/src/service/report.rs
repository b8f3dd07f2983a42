//! What a service counts.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What a service has done since it started. All are counts of deliveries but where they say otherwise.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Report {
            $($(#[$doc])* pub $name: u64,)*
        }

        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $(pub(crate) $name: Counter,)*
        }

        impl Counters {
            pub(crate) fn report(&self) -> Report {
                Report { $($name: self.$name.0.load(Ordering::Relaxed),)* }
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

#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
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
