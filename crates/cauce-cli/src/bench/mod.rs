//! `cauce bench`: measures servers that speak Redis's protocol, side by side.
//!
//! Rounds of the two servers are interleaved, so that whatever else the machine does falls on both, and
//! ratios are taken round by round. On a machine of few cores the generator and the server share them:
//! the server's processor time per operation is the fairer figure, and stands beside the rate.

mod drain;
mod entries;
mod fan_out;
mod in_process;
mod latency;
mod load;
mod memory;
mod peers;
mod receive;
mod report;
mod request_reply;
mod scenarios;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};

use crate::client::Server;
use peers::Peer;
use report::{Rounds, Row};
use scenarios::{SCENARIOS, Scenario, Setting};

/// Measures one server, or two side by side.
#[derive(Debug, clap::Args)]
pub(crate) struct BenchArgs {
    /// The server to measure (A): redis://HOST:PORT or unix:PATH
    #[arg(long, conflicts_with = "spawn_cauce", required_unless_present_any = ["spawn_cauce", "spawn_redis", "in_process", "memory"])]
    url: Option<String>,
    /// The server to compare it with (B)
    #[arg(long, conflicts_with = "spawn_redis")]
    against: Option<String>,
    /// Start this binary's broker as A (in memory, unless --durable), and end it afterwards
    #[arg(long)]
    spawn_cauce: bool,
    /// Start redis-server without persistence as B (as A, if nothing else is), and end it afterwards
    #[arg(long)]
    spawn_redis: bool,
    /// The broker started keeps its data on disk instead (in the temporary directory), every reply after its sync
    #[arg(long, requires = "spawn_cauce")]
    durable: bool,
    /// The redis-server started keeps an append-only file (in the temporary directory) that is synced so
    #[arg(long, requires = "spawn_redis", value_name = "WHEN", value_parser = ["always", "everysec", "no"])]
    appendfsync: Option<String>,
    /// Started servers are measured through Unix sockets instead of TCP
    #[arg(long)]
    unix: bool,
    /// Measure the pipe inside a process (A) against TCP loopback (B) instead, on this binary's broker
    #[arg(long, conflicts_with_all = ["url", "against", "spawn_cauce", "spawn_redis", "unix", "only"])]
    in_process: bool,
    /// Measure bytes of resident memory per item instead, on this binary's broker and on redis-server, each
    /// started here; --only then names cases: entry, entry-varied, pending, string, hash-field, set-member,
    /// zset-member
    #[arg(long, conflicts_with_all = ["url", "against", "spawn_cauce", "spawn_redis", "unix", "in_process"])]
    memory: bool,
    /// Items that --memory fills the servers with
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1..))]
    items: u32,
    /// Rounds of each scenario and server
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Measured seconds of each round
    #[arg(long, default_value_t = 3.0, value_parser = seconds)]
    seconds: f64,
    /// Only these scenarios: xadd-pipelined, xadd, group-drain, fan-out, get, set, incr, mset, hset, sadd, zadd, receive-pipelined, receive, ping, latency
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    only: Vec<String>,
    /// Print JSON, one object per scenario and line
    #[arg(long)]
    json: bool,
}

/// Runs the command; what it returns is the process's exit code.
pub(crate) fn run(args: BenchArgs) -> anyhow::Result<ExitCode> {
    let measured = Duration::from_secs_f64(args.seconds);
    let tell = |row: &Row| {
        let line = if args.json { serde_json::to_string(row)? } else { report::line(row) };
        println!("{line}");
        anyhow::Ok(())
    };
    if args.in_process {
        if !args.json {
            println!("A: in-process pipe\nB: TCP loopback, same process\n\n{}", report::head(true));
        }
        in_process::run(args.rounds, measured, tell)?;
        return Ok(ExitCode::SUCCESS);
    }
    if args.memory {
        memory::run(&args.only, args.items as usize, args.json)?;
        return Ok(ExitCode::SUCCESS);
    }
    let chosen = choose(&args.only)?;
    let urls = args.url.into_iter().chain(args.against);
    let cauce = args.spawn_cauce.then(|| Peer::cauce(args.unix, args.durable)).transpose()?;
    let redis = args.spawn_redis.then(|| Peer::redis(args.unix, args.appendfsync.as_deref())).transpose()?;
    let sides = Sides::choose(cauce, urls, redis)?;
    let bench = Bench { a: Target::new(&sides.a)?, b: sides.b.as_ref().map(Target::new).transpose()? };
    if !args.json {
        println!("A: {}", sides.a.label);
        if let Some(b) = &sides.b {
            println!("B: {}", b.label);
        }
        println!("{} rounds of {} s\n\n{}", args.rounds, args.seconds, report::head(sides.b.is_some()));
    }
    for scenario in chosen {
        tell(&bench.scenario(scenario, args.rounds, measured)?)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.05..=3600.0).contains(&seconds) => Ok(seconds),
        _ => Err("give a number of seconds from 0.05 to 3600".to_owned()),
    }
}

/// The scenarios named, or all.
fn choose(only: &[String]) -> anyhow::Result<Vec<&'static Scenario>> {
    if only.is_empty() {
        return Ok(SCENARIOS.iter().collect());
    }
    let find = |name: &String| {
        SCENARIOS.iter().find(|scenario| scenario.name == name).with_context(|| {
            let names: Vec<_> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
            format!("there is no scenario '{name}'; there are {}", names.join(", "))
        })
    };
    only.iter().map(find).collect()
}

/// The servers to measure, and the processes started for that.
struct Sides {
    a: Server,
    b: Option<Server>,
    _peers: Vec<Peer>,
}

impl Sides {
    /// A is the first of: the servers started `first`, the URLs in their order, the one started `last`.
    fn choose(
        first: Option<(Peer, Server)>,
        urls: impl Iterator<Item = String>,
        last: Option<(Peer, Server)>,
    ) -> anyhow::Result<Self> {
        let (mut peers, mut servers): (Vec<Peer>, Vec<Server>) = first.into_iter().unzip();
        for url in urls {
            servers.push(Server::from_url(&url)?);
        }
        if let Some((peer, server)) = last {
            peers.push(peer);
            servers.push(server);
        }
        let mut servers = servers.into_iter();
        let Some(a) = servers.next() else { bail!("give --url, --spawn-cauce or --spawn-redis") };
        Ok(Self { a, b: servers.next(), _peers: peers })
    }
}

/// A server with the process whose processor time is read.
struct Target<'a> {
    server: &'a Server,
    pid: Option<u32>,
}

impl<'a> Target<'a> {
    fn new(server: &'a Server) -> anyhow::Result<Self> {
        Ok(Self { server, pid: server.local_pid()? })
    }
}

struct Bench<'a> {
    a: Target<'a>,
    b: Option<Target<'a>>,
}

impl Bench<'_> {
    /// All rounds of one scenario; who goes first alternates.
    fn scenario(&self, scenario: &'static Scenario, rounds: u32, measured: Duration) -> anyhow::Result<Row> {
        let mut found = Rounds::new(scenario.name, scenario.about);
        let once = |target: &Target<'_>| {
            (scenario.run)(target.server, Setting { measured, pid: target.pid })
                .with_context(|| format!("{} on {}", scenario.name, target.server.label))
        };
        for round in 0..rounds {
            let b_first = round % 2 == 1;
            if let (Some(b), true) = (&self.b, b_first) {
                found.b.push(once(b)?);
            }
            found.a.push(once(&self.a)?);
            if let (Some(b), false) = (&self.b, b_first) {
                found.b.push(once(b)?);
            }
        }
        found.row().context("no round was run")
    }
}
