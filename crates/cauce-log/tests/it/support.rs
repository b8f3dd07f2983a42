//! Opening, filling, waiting.

use std::convert::Infallible;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use cauce_log::{DiskLog, Log, OpenError, Options, Recovery, Storage, SyncPolicy, Threads};

/// Longer than anything takes; a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) type Records = Vec<Vec<u8>>;

/// Small segments, worked by the test itself.
pub(crate) fn by_hand() -> Options {
    let mut options = threaded();
    options.threads = Threads::Caller;
    options
}

/// Small segments, worked by the log's own threads.
pub(crate) fn threaded() -> Options {
    let mut options = Options::default();
    options.segment_bytes = 16 * 1024;
    options.policy = SyncPolicy::Always;
    options
}

pub(crate) fn try_open(
    storage: &Arc<impl Storage + 'static>,
    options: Options,
) -> Result<(DiskLog, Records, Recovery), OpenError<Infallible>> {
    let mut records = Records::new();
    let mut next = options.from;
    let storage: Arc<dyn Storage> = Arc::clone(storage) as Arc<dyn Storage>;
    let (log, recovery) = DiskLog::open(storage, options, |number, record| {
        assert_eq!(number, next, "records come in order");
        next += 1;
        records.push(record.to_vec());
        Ok(())
    })?;
    Ok((log, records, recovery))
}

pub(crate) fn open(storage: &Arc<impl Storage + 'static>, options: Options) -> (DiskLog, Records) {
    let (log, records, _) = try_open(storage, options).expect("it is whole");
    (log, records)
}

/// Appends each record as a unit of its own and commits.
pub(crate) fn commit(log: &DiskLog, records: &[&[u8]]) {
    append(log, records);
    while !log.commit() {
        log.keep();
    }
}

pub(crate) fn append(log: &DiskLog, records: &[&[u8]]) {
    log.append(&mut |batch| records.iter().for_each(|record| batch.unit(1, [*record])));
}

/// Waits until the log's listener was called and `condition` holds.
pub(crate) fn wait_until(log: &DiskLog, what: &str, condition: impl Fn() -> bool) {
    let told = Arc::new((Mutex::new(()), Condvar::new()));
    let teller = Arc::clone(&told);
    log.listen(Box::new(move |_| {
        let _held = teller.0.lock().expect("no test panics with it");
        teller.1.notify_all();
    }));
    let held = told.0.lock().expect("no test panics with it");
    let (_held, waited) =
        told.1.wait_timeout_while(held, PATIENCE, |()| !condition()).expect("no test panics with it");
    assert!(!waited.timed_out(), "never happened: {what}");
}
