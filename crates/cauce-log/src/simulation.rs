//! A log on a disk that loses, tears and refuses: random histories by seed.
//!
//! Whatever happens, a log that is opened again holds a beginning of what was appended, whole units of it, and at least
//! what it had promised. `CAUCE_SEEDS=10000` runs more seeds.

use std::sync::Arc;

use crate::disk::Mutant;
use crate::{DiskLog, FaultyStorage, Log, OpenError, Options, Outage, Storage, SyncPolicy, Threads};

const ROUNDS: usize = 6;
const STEPS: usize = 60;
const EIO: i32 = 5;
const ENOSPC: i32 = 28;

/// What the log must hold at least, by what ends a run.
#[derive(Debug, Default, Clone, Copy)]
struct Promised {
    /// Whatever happens to the machine.
    power_cut: u64,
    /// Whatever happens to the process.
    kill: u64,
}

struct World {
    rng: fastrand::Rng,
    storage: FaultyStorage,
    policy: SyncPolicy,
    mutant: Option<Mutant>,
    /// Every record ever appended that may still be there, and where units end.
    records: Vec<Vec<u8>>,
    unit_ends: Vec<usize>,
    promised: Promised,
    forgotten: u64,
}

/// Runs one history; says what went wrong.
fn run(seed: u64, mutant: Option<Mutant>) -> Result<(), String> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let policy = match (mutant, rng.u8(..4)) {
        (Some(_), _) | (None, 0 | 1) => SyncPolicy::Always,
        (None, 2) => SyncPolicy::EverySecond,
        _ => SyncPolicy::Off,
    };
    let storage = FaultyStorage::new(rng.u64(..));
    let mut world = World {
        rng,
        storage,
        policy,
        mutant,
        records: Vec::new(),
        unit_ends: vec![0],
        promised: Promised::default(),
        forgotten: 0,
    };
    for _ in 0..ROUNDS {
        world.round()?;
    }
    world.open().map(drop)
}

impl World {
    /// Opens the log, works on it, and ends it one way or another.
    fn round(&mut self) -> Result<(), String> {
        let log = match self.open() {
            Ok(log) => log,
            // Even opening may meet an outage; then nothing is promised anew.
            Err(problem) if problem.is_empty() => {
                self.end_without_log();
                return Ok(());
            }
            Err(problem) => return Err(problem),
        };
        self.plan_outages();
        for _ in 0..self.rng.usize(..STEPS) {
            self.step(&log)?;
        }
        if self.rng.u8(..8) == 0 {
            // In peace: what is left is written.
            drop(log);
            self.storage.switch_on();
        } else {
            self.storage.switch_off();
            drop(log);
            self.end_without_log();
        }
        Ok(())
    }

    fn end_without_log(&mut self) {
        if self.rng.bool() {
            self.storage.cut_power();
            self.promised.kill = self.promised.power_cut;
        } else {
            self.storage.switch_on();
        }
    }

    fn plan_outages(&mut self) {
        let now = self.storage.calls();
        for _ in 0..self.rng.usize(..3) {
            let outage = match self.rng.u8(..4) {
                0 => Outage::Power,
                1 => Outage::Error(ENOSPC),
                _ => Outage::Error(EIO),
            };
            self.storage.plan(now + self.rng.u64(1..120), outage);
        }
        let capacity = if self.rng.u8(..4) == 0 { self.rng.u64(30_000..200_000) } else { u64::MAX };
        self.storage.set_capacity(capacity);
    }

    fn step(&mut self, log: &DiskLog) -> Result<(), String> {
        match self.rng.u8(..16) {
            0..8 => self.append(log),
            8..13 => drop(log.commit()),
            13..15 => log.keep(),
            _ => {
                // What is not needed any more must be safe itself, as a checkpoint's position is.
                self.forgotten = self.rng.u64(self.forgotten..=self.promised.power_cut);
                log.forget(self.forgotten + 1);
            }
        }
        let state = log.state();
        let durable = log.durable();
        let safe = if self.policy == SyncPolicy::Always { durable } else { state.synced };
        if state.appended != self.records.len() as u64 {
            return Err(format!("{} of {} records were appended", state.appended, self.records.len()));
        }
        self.promised.power_cut = self.promised.power_cut.max(safe);
        self.promised.kill = self.promised.kill.max(log.written()).max(durable);
        if log.written() > state.appended || state.synced > log.written() {
            return Err(format!("positions are out of order: {state:?}"));
        }
        Ok(())
    }

    fn append(&mut self, log: &DiskLog) {
        let failed = log.failure().is_some();
        let (rng, records, unit_ends) = (&mut self.rng, &mut self.records, &mut self.unit_ends);
        log.append(&mut |batch| {
            assert!(!failed, "a log that has failed takes nothing");
            for _ in 0..rng.usize(1..4) {
                let mut unit: Vec<Vec<u8>> = Vec::new();
                for _ in 0..rng.usize(1..4) {
                    let len = match rng.u8(..32) {
                        0 => rng.usize(..60_000),
                        1..6 => rng.usize(..3000),
                        _ => rng.usize(..100),
                    };
                    unit.push((0..len).map(|_| rng.u8(..)).collect());
                }
                batch.unit(unit.len(), unit.iter().map(Vec::as_slice));
                records.append(&mut unit);
                unit_ends.push(records.len());
            }
        });
    }

    /// Opens the log and compares what it holds; an empty problem is an outage.
    fn open(&mut self) -> Result<DiskLog, String> {
        let options = Options {
            policy: self.policy,
            segment_bytes: 16 * 1024,
            threads: Threads::Caller,
            from: self.forgotten + 1,
            seed: self.rng.u64(..),
            mutant: self.mutant,
        };
        let mut found = Vec::new();
        let storage: Arc<dyn Storage> = Arc::new(self.storage.clone());
        let opened = DiskLog::open(storage, options, |number, record| {
            found.push((number, record.to_vec()));
            Ok::<(), ()>(())
        });
        let (log, recovery) = match opened {
            Ok(opened) => opened,
            Err(OpenError::Io { .. }) => return Err(String::new()),
            Err(error) => return Err(format!("cannot be opened: {error:?}")),
        };
        let last = usize::try_from(recovery.last).unwrap_or(usize::MAX).max(self.forgotten as usize);
        if !self.unit_ends.contains(&last) {
            return Err(format!("record {last} ends no unit"));
        }
        if (last as u64) < self.promised.kill {
            return Err(format!("{last} records are left of {:?}", self.promised));
        }
        let expected = self.records.iter().enumerate().take(last).skip(self.forgotten as usize);
        let expected: Vec<_> = expected.map(|(index, record)| (index as u64 + 1, record.clone())).collect();
        if found != expected {
            return Err(format!("the records up to {last} are not those that were appended"));
        }
        if log.durable() != last as u64 {
            return Err(format!("{} is safe of {last}", log.durable()));
        }
        self.records.truncate(last);
        self.unit_ends.retain(|&end| end <= last);
        // What was opened is shown to others: it must stay.
        self.promised = Promised { power_cut: last as u64, kill: last as u64 };
        Ok(log)
    }
}

fn seeds() -> u64 {
    std::env::var("CAUCE_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(300)
}

#[test]
fn nothing_promised_is_lost_and_nothing_is_invented() {
    for seed in 0..seeds() {
        if let Err(problem) = run(seed, None) {
            panic!("seed {seed}: {problem}");
        }
    }
}

#[test]
fn a_log_that_skips_the_sync_is_found_out() {
    assert!((0..100).any(|seed| run(seed, Some(Mutant::SkipSync)).is_err()));
}

#[test]
fn a_log_that_promises_before_the_sync_is_found_out() {
    assert!((0..300).any(|seed| run(seed, Some(Mutant::PublishBeforeSync)).is_err()));
}

#[test]
fn a_log_that_forgets_to_sync_names_is_found_out() {
    assert!((0..300).any(|seed| run(seed, Some(Mutant::SkipDirectorySync)).is_err()));
}

#[test]
fn a_disk_that_lies_about_syncs_is_found_out() {
    let mut lost = false;
    for seed in 0..20 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let storage = FaultyStorage::new(seed);
        let mut world = World {
            rng: rng.fork(),
            storage,
            policy: SyncPolicy::Always,
            mutant: None,
            records: Vec::new(),
            unit_ends: vec![0],
            promised: Promised::default(),
            forgotten: 0,
        };
        let log = world.open().unwrap();
        log.keep();
        world.storage.lie_about_syncs();
        for _ in 0..STEPS {
            world.step(&log).unwrap();
        }
        world.storage.switch_off();
        drop(log);
        world.storage.cut_power();
        lost |= world.open().is_err();
    }
    assert!(lost);
}
