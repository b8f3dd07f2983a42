//! The differential tester as a program: `cargo run -p cauce-testkit --bin differential -- --steps 100000 --seed 7`.

use std::net::SocketAddr;
use std::process::ExitCode;

use cauce_testkit::differential::{self, Options};
use cauce_testkit::targets::{Features, Target};
use cauce_testkit::wire::Address;
use clap::Parser;

/// Replays random commands on two servers and compares every reply.
#[derive(Debug, Parser)]
struct Args {
    /// How many steps to take.
    #[arg(long, default_value_t = 10_000)]
    steps: usize,
    /// Where the randomness begins; the same seed takes the same steps.
    #[arg(long, default_value_t = 1)]
    seed: u64,
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
    let report = differential::run(&ours, &oracle, Options { steps: args.steps, seed: args.seed })
        .map_err(|error| error.to_string())?;
    println!("{report}");
    Ok(report.finding.is_none())
}
