//! The binary `cauce`: a broker that speaks Redis's protocol, its tools, and a demo.

mod bench;
mod client;
mod demo;
mod serve;
mod tools;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Event-driven microservices on Redis: a durable broker and its tools.
#[derive(Debug, Parser)]
#[command(name = "cauce", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::ServeArgs),
    Demo(demo::DemoArgs),
    Bench(bench::BenchArgs),
    Queue(tools::QueueArgs),
    Stream(tools::StreamArgs),
    Group(tools::GroupArgs),
    Channel(tools::ChannelArgs),
    Export(tools::ExportArgs),
    Backup(tools::BackupArgs),
    Restore(tools::RestoreArgs),
    Log(tools::LogArgs),
    Repair(tools::RepairArgs),
}

/// Decides the exit code: 0 done, 1 failed, 2 wrong usage (clap's); and those that a command documents as its own.
fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Serve(args) => serve::run(args),
        Command::Demo(args) => demo::run(args),
        Command::Bench(args) => bench::run(args),
        Command::Queue(args) => tools::run(args.run()),
        Command::Stream(args) => tools::run(args.run()),
        Command::Group(args) => tools::run(args.run()),
        Command::Channel(args) => tools::run(args.run()),
        Command::Export(args) => args.run(),
        Command::Backup(args) => args.run(),
        Command::Restore(args) => args.run(),
        Command::Log(args) => args.run(),
        Command::Repair(args) => args.run(),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("cauce: {error:#}");
        ExitCode::FAILURE
    })
}
