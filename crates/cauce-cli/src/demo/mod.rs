//! `cauce demo`: replays a day of real flights through real services and checks the books.
//!
//! The parts are processes of their own (this program again, with hidden arguments) around one broker. Each
//! keeps a ledger of what it did; the conductor reads the ledgers while they grow, kills one part in
//! mid-work, and at the end holds the books against each other. Exit code 0 means that they balance.

mod books;
mod cast;
mod child;
mod conductor;
mod data;
mod desks;
mod events;
mod ids;
mod ledger;
mod progress;
mod report;
mod signal;
mod venue;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use tempfile::TempDir;

use conductor::{Outcome, Score};
use venue::Venue;

/// Length of the day's replay, where nothing else is asked for.
const DAY_SECONDS: f64 = 8.0;

/// Replays a day of real flights through real services and checks the books.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct DemoArgs {
    /// Use this server in place of the broker inside: redis://HOST:PORT or unix:PATH
    #[arg(long)]
    url: Option<String>,
    /// Replay the flights of this file (.csv or .csv.gz, columns of nycflights13), as fast as it goes
    #[arg(long, value_name = "FILE")]
    year: Option<PathBuf>,
    /// Length of the replay in seconds; 0: as fast as it goes [default: 8; with --year 0]
    #[arg(long, value_parser = seconds)]
    seconds: Option<f64>,
    /// Keep the ledgers in this directory
    #[arg(long, value_name = "DIR")]
    ledgers: Option<PathBuf>,
    /// Make one part do wrong, to see that the books notice it
    #[arg(long, hide = true)]
    fault: Option<Fault>,
    /// Give up after so many seconds without a new line in any ledger
    #[arg(long, hide = true, default_value = "15", value_parser = seconds)]
    patience: f64,
    #[command(subcommand)]
    internal: Option<Internal>,
}

#[derive(Debug, clap::Subcommand)]
enum Internal {
    /// Plays one part; the demo itself calls this.
    #[command(hide = true)]
    Part(desks::PartArgs),
}

/// What one part does wrong on demand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Fault {
    /// A handler returns without having done its work.
    AckWithoutHandling,
    /// A line is missing in the ledger of the operations desk,
    DropPublished,
    /// of a service,
    DropHandled,
    /// of a display.
    DropSeen,
}

/// Runs the command; what it returns is the process's exit code.
pub(crate) fn run(args: DemoArgs) -> anyhow::Result<ExitCode> {
    if let Some(Internal::Part(part)) = args.internal {
        desks::run(part)?;
        return Ok(ExitCode::SUCCESS);
    }
    let length = args.seconds.unwrap_or(if args.year.is_some() { 0.0 } else { DAY_SECONDS });
    let ledgers = Ledgers::new(args.ledgers)?;
    let venue = Venue::open(args.url)?;
    println!("The broker: {}", venue.description());
    let score = Score {
        setting: cast::Setting {
            url: venue.url(),
            ledgers: ledgers.path(),
            year: args.year.as_deref(),
            seconds: (length > 0.0).then_some(length),
        },
        fault: args.fault,
        patience: Duration::from_secs_f64(args.patience),
    };
    let outcome = conductor::conduct(&score)?;
    venue.close()?;
    tell(&outcome);
    ledgers.close(outcome.problems.is_empty());
    Ok(if outcome.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Prints the books and whether they balance.
fn tell(outcome: &Outcome) {
    println!();
    for line in &outcome.report {
        println!("{line}");
    }
    println!();
    if outcome.problems.is_empty() {
        println!(
            "The books balance: every event was handled or dead-lettered in every group that acts on it."
        );
        return;
    }
    println!("The books do not balance:");
    for problem in &outcome.problems {
        println!("  - {problem}");
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.0..=3600.0).contains(&seconds) => Ok(seconds),
        _ => Err("give a number of seconds from 0 to 3600".to_owned()),
    }
}

/// The directory of the ledgers.
enum Ledgers {
    /// Chosen by the user: stays.
    Chosen(PathBuf),
    /// Goes when all is well.
    Temporary(TempDir),
}

impl Ledgers {
    /// In `chosen`, which must hold no ledgers yet, or in a directory of this run.
    fn new(chosen: Option<PathBuf>) -> anyhow::Result<Self> {
        let Some(dir) = chosen else { return Ok(Self::Temporary(TempDir::with_prefix("cauce-demo-")?)) };
        std::fs::create_dir_all(&dir).with_context(|| format!("can't make {}", dir.display()))?;
        let is_empty = std::fs::read_dir(&dir)?.next().is_none();
        anyhow::ensure!(
            is_empty,
            "{} is not empty: the ledgers need a directory of their own",
            dir.display()
        );
        Ok(Self::Chosen(dir))
    }

    fn path(&self) -> &Path {
        match self {
            Self::Chosen(dir) => dir,
            Self::Temporary(dir) => dir.path(),
        }
    }

    /// Says where the ledgers are, if they stay.
    fn close(self, is_balanced: bool) {
        let dir = match self {
            Self::Temporary(_) if is_balanced => return,
            Self::Temporary(dir) => dir.keep(),
            Self::Chosen(dir) => dir,
        };
        println!("The ledgers are in {}.", dir.display());
    }
}
