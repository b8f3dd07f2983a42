//! The differential tester as a program: `cargo run -p cauce-testkit --bin differential -- --commands 100000 --seed 7`.

use std::net::SocketAddr;
use std::process::ExitCode;

use cauce_testkit::differential::{self, Options};
use cauce_testkit::targets::{Features, Target};
use cauce_testkit::wire::Address;
use clap::Parser;

/// Replays random commands on two servers and compares every reply.
#[derive(Debug, Parser)]
struct Args {
    /// How many commands to compare.
    #[arg(long, default_value_t = 10_000)]
    commands: usize,
    /// Where the randomness begins; the same seed draws the same commands.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Go on after a difference, and show one of each command.
    #[arg(long)]
    keep_going: bool,
    /// Fail if a command or an option ran less often than this, or a command failed more often than not.
    #[arg(long, value_name = "TIMES", num_args = 0..=1, default_missing_value = "100")]
    coverage: Option<usize>,
    /// The server under test (default: the broker, inside this process).
    #[arg(long, value_name = "HOST:PORT")]
    ours: Option<SocketAddr>,
    /// What it is compared with (default: a redis-server of our own).
    #[arg(long, value_name = "HOST:PORT")]
    oracle: Option<SocketAddr>,
}

fn main() -> ExitCode {
    match compare(&Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(message) => {
            eprintln!("differential: {message}");
            ExitCode::from(2)
        }
    }
}

fn compare(args: &Args) -> Result<bool, String> {
    let oracle = match args.oracle {
        Some(address) => Target::elsewhere("oracle", Address::Tcp(address), Features::of_redis((7, 0))),
        None => Target::redis_server()
            .map_err(|error| error.to_string())?
            .ok_or("redis-server is not installed; install it or name one with --oracle")?,
    };
    let ours = match args.ours {
        Some(address) => Target::elsewhere("ours", Address::Tcp(address), Features::of_cauce()),
        None => Target::embedded().map_err(|error| error.to_string())?,
    };
    let options = Options { commands: args.commands, seed: args.seed, keep_going: args.keep_going };
    let report = differential::run(&ours, &oracle, options).map_err(|error| error.to_string())?;
    println!("{report}");
    let shortfalls = args.coverage.map(|least| report.shortfalls(least)).unwrap_or_default();
    for shortfall in &shortfalls {
        println!("coverage: {shortfall}");
    }
    Ok(report.findings.is_empty() && shortfalls.is_empty())
}
