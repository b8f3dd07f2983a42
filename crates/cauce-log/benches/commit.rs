//! Who should sync, and how: the log's thread, the first waiter for all, or the file itself (`O_DSYNC`).
//!
//! `cargo bench -p cauce-log --bench commit -- [DIRECTORY]` (the temporary directory otherwise; it must not be in memory).
//! Clients append a unit of 100 bytes and wait until it is safe, rounds of the variants taking turns. Prints commits
//! per second over all clients, and the median and 99th percentile that one of them waited.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use cauce_log::{DiskLog, FileStorage, Log, Options, Threads};

const ROUNDS: usize = 7;
const ROUND: Duration = Duration::from_millis(700);
const RECORD: [u8; 100] = [7; 100];
/// Linux's number.
const O_DSYNC: i32 = 0x1000;
const FILE_BYTES: u64 = 16 * 1024 * 1024;

/// How one variant makes a record safe.
trait Variant: Sync {
    fn commit(&self);
}

/// The log as it is: its thread writes, syncs and tells.
struct LogThread {
    log: DiskLog,
    told: Arc<(Mutex<()>, Condvar)>,
}

impl Variant for LogThread {
    fn commit(&self) {
        let mut mine = 0;
        self.log.append(&mut |batch| batch.unit(1, [&RECORD[..]]));
        mine = mine.max(self.log.state().appended);
        let mut held = self.told.0.lock().expect("no client panics");
        while self.log.durable() < mine {
            held = self.told.1.wait(held).expect("no client panics");
        }
    }
}

/// The first client that waits writes and syncs for all.
struct FirstWaiter(DiskLog);

impl Variant for FirstWaiter {
    fn commit(&self) {
        self.0.append(&mut |batch| batch.unit(1, [&RECORD[..]]));
        let mine = self.0.state().appended;
        while self.0.durable() < mine {
            if !self.0.commit() {
                self.0.keep();
            }
        }
    }
}

/// One file, filled with zeros or grown, written under a lock and synced by the way of opening or by a call.
struct PlainFile {
    file: File,
    at: Mutex<u64>,
    sync: bool,
}

impl PlainFile {
    fn new(path: &Path, flags: i32, filled: bool) -> Self {
        let file = OpenOptions::new().create(true).truncate(true).write(true).custom_flags(flags).open(path);
        let file = file.expect("the directory can be written to");
        if filled {
            let zeros = vec![0; 1024 * 1024];
            (0..FILE_BYTES / zeros.len() as u64)
                .try_for_each(|piece| file.write_all_at(&zeros, piece * zeros.len() as u64))
                .expect("there is room");
            file.sync_all().expect("the disk works");
        }
        Self { file, at: Mutex::new(0), sync: flags == 0 }
    }
}

impl Variant for PlainFile {
    fn commit(&self) {
        let mut at = self.at.lock().expect("no client panics");
        self.file.write_all_at(&RECORD, *at).expect("the disk works");
        if self.sync {
            self.file.sync_data().expect("the disk works");
        }
        *at = (*at + 104) % (FILE_BYTES - 104);
    }
}

/// Commits of `clients` threads for one round: how many per second, and how long each waited, sorted.
fn round(variant: &dyn Variant, clients: usize) -> (f64, Vec<Duration>) {
    let began = Instant::now();
    let mut waited: Vec<Duration> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..clients)
            .map(|_| {
                scope.spawn(|| {
                    let mut waited = Vec::new();
                    while began.elapsed() < ROUND {
                        let from = Instant::now();
                        variant.commit();
                        waited.push(from.elapsed());
                    }
                    waited
                })
            })
            .collect();
        clients.into_iter().flat_map(|client| client.join().expect("no client panics")).collect()
    });
    waited.sort_unstable();
    (waited.len() as f64 / began.elapsed().as_secs_f64(), waited)
}

fn log(directory: &Path, threads: Threads) -> DiskLog {
    let storage = Arc::new(FileStorage::open(directory).expect("the directory can be held"));
    let mut options = Options::default();
    options.threads = threads;
    let opened = DiskLog::open(storage, options, |_, _| Ok::<(), std::convert::Infallible>(()));
    opened.expect("a new log").0
}

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with("--"));
    let base = arguments.next().map_or_else(std::env::temp_dir, Into::into);
    let place = tempfile::tempdir_in(base).expect("the directory can be written to");
    let told = Arc::new((Mutex::new(()), Condvar::new()));
    let thread = LogThread { log: log(&place.path().join("thread"), Threads::Own), told: Arc::clone(&told) };
    thread.log.listen(Box::new(move |_| {
        drop(told.0.lock());
        told.1.notify_all();
    }));
    let variants: [(&str, Box<dyn Variant>); 5] = [
        ("log thread", Box::new(thread)),
        (
            "first waiter commits for all",
            Box::new(FirstWaiter(log(&place.path().join("waiter"), Threads::Caller))),
        ),
        (
            "each its own, O_DSYNC, zero-filled",
            Box::new(PlainFile::new(&place.path().join("dsync"), O_DSYNC, true)),
        ),
        (
            "each its own, fdatasync, zero-filled",
            Box::new(PlainFile::new(&place.path().join("filled"), 0, true)),
        ),
        ("each its own, fdatasync, growing", Box::new(PlainFile::new(&place.path().join("grown"), 0, false))),
    ];
    for clients in [1, 4, 50] {
        println!("{clients} clients");
        let mut rates = vec![Vec::new(); variants.len()];
        let mut waits = vec![Vec::new(); variants.len()];
        for _ in 0..ROUNDS {
            for (index, (_, variant)) in variants.iter().enumerate() {
                let (rate, waited) = round(&**variant, clients);
                rates[index].push(rate);
                waits[index].extend(waited);
            }
        }
        for (index, (name, _)) in variants.iter().enumerate() {
            rates[index].sort_unstable_by(f64::total_cmp);
            waits[index].sort_unstable();
            let at = |share: usize| waits[index][waits[index].len() * share / 100].as_micros();
            println!(
                "  {name:40} {:>9.0}/s   p50 {:>6} us   p99 {:>6} us",
                rates[index][ROUNDS / 2],
                at(50),
                at(99)
            );
        }
    }
}
