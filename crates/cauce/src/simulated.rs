//! Where time of day, ids and names come from. In a test under the kit of [`testing`](crate::testing) they come from its seed and its virtual
//! clock, so that a run can be repeated to the byte; everywhere else from the system.

use std::time::SystemTime;

/// The time of day.
pub(crate) fn now() -> SystemTime {
    #[cfg(feature = "testing")]
    if let Some(now) = kit::now() {
        return now;
    }
    SystemTime::now()
}

/// A fresh id of an event: a UUID of version 7.
pub(crate) fn event_id() -> String {
    #[cfg(feature = "testing")]
    if let Some(id) = kit::event_id() {
        return id;
    }
    uuid::Uuid::now_v7().to_string()
}

/// Host and process of this program.
pub(crate) fn place() -> (String, u32) {
    #[cfg(feature = "testing")]
    if kit::now().is_some() {
        return ("kit".to_owned(), 1);
    }
    (host(), std::process::id())
}

/// The name of this machine or container.
fn host() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let host = host.or_else(|| std::env::var("HOSTNAME").ok()).or_else(|| std::env::var("COMPUTERNAME").ok());
    host.as_deref().map_or("host", str::trim).to_owned()
}

#[cfg(feature = "testing")]
pub(crate) mod kit {
    use std::cell::Cell;
    use std::time::{Duration, SystemTime, UNIX_EPOCH};

    use tokio::time::Instant;

    /// When every simulated run begins: 2020-01-01, in seconds since 1970.
    pub(crate) const BEGIN: Duration = Duration::from_secs(1_577_836_800);

    thread_local! {
        static ORIGIN: Cell<Option<Instant>> = const { Cell::new(None) };
    }

    /// Simulates on this thread until it is dropped.
    #[derive(Debug)]
    pub(crate) struct Simulation(());

    impl Simulation {
        /// Within a runtime whose time is paused. Everything random on this thread is drawn from the seed from now on.
        pub(crate) fn begin(seed: u64) -> Self {
            fastrand::seed(seed);
            ORIGIN.set(Some(Instant::now()));
            Self(())
        }
    }

    impl Drop for Simulation {
        fn drop(&mut self) {
            ORIGIN.set(None);
        }
    }

    /// Since the simulation began.
    pub(crate) fn elapsed() -> Option<Duration> {
        ORIGIN.get().map(|origin| origin.elapsed())
    }

    pub(super) fn now() -> Option<SystemTime> {
        elapsed().map(|elapsed| UNIX_EPOCH + BEGIN + elapsed)
    }

    pub(super) fn event_id() -> Option<String> {
        let since = elapsed()? + BEGIN;
        let mut random = [0; 10];
        random.fill_with(|| fastrand::u8(..));
        let ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        Some(uuid::Builder::from_unix_timestamp_millis(ms, &random).into_uuid().to_string())
    }
}
