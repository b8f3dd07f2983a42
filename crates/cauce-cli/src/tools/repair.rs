//! `cauce repair`: makes a damaged directory usable again, at a price that it names first.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use cauce_broker::{Broker, Config};
use cauce_log::{
    Damage, FileStorage, Inspection, LogEnd, OpenError, Storage, inspect, look_at_checkpoint, repair,
};

use super::log::DAMAGED;

/// Says what is damaged in a directory and what going on without it would drop; drops it only with --drop.
///
/// No server may hold the directory meanwhile.
///
/// Exit codes: 0 nothing is damaged, or it was dropped; 1 it cannot be repaired; 3 it is damaged and was left as it is.
#[derive(Debug, clap::Args)]
pub(crate) struct RepairArgs {
    /// The directory
    dir: PathBuf,
    /// Drop what is damaged and what comes after it. Copy the directory before
    #[arg(long)]
    drop: bool,
}

/// What stands in the way of opening the directory.
struct Findings {
    /// The position of the checkpoint in force, or what is wrong with it.
    checkpoint: Result<Option<u64>, Damage>,
    /// The log from the first record on that is needed.
    log: Inspection,
    /// What is damaged before that.
    older: Option<Damage>,
}

impl RepairArgs {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        if !self.dir.is_dir() {
            bail!("{} is no directory", self.dir.display());
        }
        let storage = FileStorage::open(&self.dir)?;
        let findings = Findings::of(&storage)?;
        let problems = findings.problems()?;
        if problems.is_empty() {
            // Whole; but is it also sense?
            drop(storage);
            Broker::read(&self.dir, &Config::default())
                .context("all checksums are right, and still this is no state; restore it from a backup")?;
            println!("{}: nothing is damaged; records up to {}", self.dir.display(), findings.last());
            return Ok(ExitCode::SUCCESS);
        }
        problems.iter().for_each(|problem| println!("{problem}"));
        if !self.drop {
            println!(
                "nothing was changed; `cauce repair {} --drop` drops it; copy the directory before",
                self.dir.display()
            );
            return Ok(ExitCode::from(DAMAGED));
        }
        self.drop_it(&storage, &findings)
    }

    fn drop_it(&self, storage: &FileStorage, findings: &Findings) -> anyhow::Result<ExitCode> {
        if findings.checkpoint.is_err() {
            storage.remove("checkpoint").context("the checkpoint cannot be removed")?;
            storage.sync_directory().context("the directory cannot be synced")?;
        }
        repair(storage, findings.needed())?;
        let after = Findings::of(storage)?;
        if let Some(problem) = after.problems()?.first() {
            bail!("still: {problem}");
        }
        println!("dropped; {} goes on behind record {}", self.dir.display(), after.last());
        Ok(ExitCode::SUCCESS)
    }
}

impl Findings {
    fn of(storage: &FileStorage) -> anyhow::Result<Self> {
        let checkpoint = match look_at_checkpoint::<Infallible>(storage, |_| Ok(())) {
            Ok(position) => Ok(position),
            Err(OpenError::Damaged(damage)) => Err(damage),
            Err(other) => return Err(other.into()),
        };
        let needed = checkpoint.as_ref().ok().copied().flatten().map_or(1, |position| position + 1);
        let log = inspect::<Infallible>(storage, needed, |_| Ok(()))?;
        let older = match inspect::<Infallible>(storage, 1, |_| Ok(()))?.end {
            LogEnd::Damaged(damage, _) if !matches!(log.end, LogEnd::Damaged(..)) => Some(damage),
            _ => None,
        };
        Ok(Self { checkpoint, log, older })
    }

    /// The first record that is needed besides the checkpoint.
    fn needed(&self) -> u64 {
        self.checkpoint.as_ref().ok().copied().flatten().map_or(1, |position| position + 1)
    }

    fn first(&self) -> Option<u64> {
        self.log.segments.first().map(|segment| segment.first)
    }

    /// The last record that the directory holds, by its log or its checkpoint.
    fn last(&self) -> u64 {
        self.log.last.max(self.needed() - 1)
    }

    /// What is damaged and what that costs, in lines.
    fn problems(&self) -> anyhow::Result<Vec<String>> {
        let mut problems = Vec::new();
        if let Err(damage) = &self.checkpoint {
            if self.first() != Some(1) {
                let file = Path::new(&damage.file).display();
                bail!(
                    "the checkpoint's file {file} is damaged at byte {} ({}), and the log does not go back to record 1: \
                     nothing can make up for it; restore the directory from a backup",
                    damage.offset,
                    damage.proof
                );
            }
            problems.push(format!(
                "{} is damaged at byte {} ({}); the log goes back to record 1: the checkpoint would be dropped, and nothing lost",
                damage.file, damage.offset, damage.proof
            ));
        }
        if let LogEnd::Damaged(damage, lost) = &self.log.end {
            problems.push(damage.to_string());
            let mut what = format!("{} whole frames with {} records behind it", lost.frames, lost.records);
            if lost.records > 0 {
                what.push_str(&format!(", up to record {},", lost.last));
            }
            if lost.unreadable_segments > 0 {
                what.push_str(&format!(" and {} files that cannot be read", lost.unreadable_segments));
            }
            problems.push(format!("record {} and {what} would be dropped", self.log.last + 1));
        }
        if let Some(damage) = &self.older {
            problems.push(format!(
                "{damage}; nothing before record {} is needed: it would be dropped, and nothing lost",
                self.needed()
            ));
        }
        let needed = self.needed();
        match self.first() {
            Some(first) if first > needed => problems.push(format!(
                "records {needed} to {} are missing between the checkpoint and the log; records {first} to {} would be dropped",
                first - 1,
                self.log.last
            )),
            None if needed > 1 => {
                problems.push("there is no log behind the checkpoint; an empty one would be begun".to_owned());
            }
            Some(_) if self.log.last + 1 < needed => problems.push(format!(
                "what is left of the log ends before the checkpoint: the state would be the checkpoint's, of record {}",
                needed - 1
            )),
            _ => {}
        }
        Ok(problems)
    }
}
