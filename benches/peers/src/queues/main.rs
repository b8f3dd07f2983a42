//! Queues in RSMQ's layout: Cauce, the crate `rsmq_async` and the npm package `rsmq` on one server, round after round in turn.
//!
//! `cargo run --release --bin queues -- [--rounds 7] [--messages 50000] [--url redis://...]`; without a URL it starts a redis-server
//! without persistence. Prints per scenario the rate of each library, and the ratio of Cauce's to the better of the others: medians
//! over the rounds, the extremes behind, and what a message costs the server's processor.

mod libraries;
mod node;
mod server;

use std::future::Future;

use clap::Parser;

use crate::libraries::{Cauce, RsmqAsync};
use crate::node::Node;
use crate::server::Server;

/// The length of a message.
const BYTES: usize = 100;
/// The length of a batch.
const BATCH: usize = 100;

#[derive(Debug, Parser)]
struct Args {
    /// Rounds per scenario
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Messages per round with 64 in flight; a tenth of them with one
    #[arg(long, default_value_t = 50_000)]
    messages: usize,
    /// A server that runs already; its queue `bench` is deleted
    #[arg(long)]
    url: Option<String>,
    /// Leave the npm package out
    #[arg(long)]
    without_node: bool,
    /// Leave all others out, to compare servers
    #[arg(long)]
    alone: bool,
    /// Only scenarios whose name contains this
    #[arg(long, default_value = "")]
    only: String,
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Work {
    Send,
    ReceiveAndDelete,
    Pop,
    SendBatches,
}

#[derive(Debug, Clone, Copy)]
struct Scenario {
    work: Work,
    in_flight: usize,
}

impl Scenario {
    const ALL: [Self; 7] = [
        Self { work: Work::Send, in_flight: 1 },
        Self { work: Work::ReceiveAndDelete, in_flight: 1 },
        Self { work: Work::Pop, in_flight: 1 },
        Self { work: Work::Send, in_flight: 64 },
        Self { work: Work::ReceiveAndDelete, in_flight: 64 },
        Self { work: Work::Pop, in_flight: 64 },
        Self { work: Work::SendBatches, in_flight: 1 },
    ];

    fn name(self) -> String {
        let work = match self.work {
            Work::Send => "send",
            Work::ReceiveAndDelete => "receive + delete",
            Work::Pop => "pop",
            Work::SendBatches => return format!("send in batches of {BATCH}"),
        };
        format!("{work}, {} in flight", self.in_flight)
    }
}

/// One library that can do the work.
trait Library {
    const NAME: &'static str;
    /// Does it once for each of so many messages; sent messages are of the given body.
    fn run(
        &mut self,
        work: Work,
        messages: usize,
        in_flight: usize,
        body: &str,
    ) -> impl Future<Output = anyhow::Result<()>>;
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let server = Server::new(args.url.clone())?;
    let mut cauce = Cauce::new(&server.url).await?;
    let mut rsmq_async = RsmqAsync::new(&server).await?;
    let mut node = if args.without_node || args.alone { None } else { Some(Node::start(&server)?) };
    for scenario in Scenario::ALL.into_iter().filter(|scenario| scenario.name().contains(&args.only)) {
        let messages = match (scenario.in_flight, scenario.work) {
            (1, Work::SendBatches) => args.messages,
            (1, _) => args.messages / 10,
            _ => args.messages,
        };
        let (mut ours, mut theirs, mut nodes) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..args.rounds {
            ours.push(measure(&server, &mut cauce, scenario, messages).await?);
            if !args.alone {
                theirs.push(measure(&server, &mut rsmq_async, scenario, messages).await?);
            }
            if let Some(node) = node.as_mut().filter(|_| scenario.work != Work::SendBatches) {
                nodes.push(measure(&server, node, scenario, messages).await?);
            }
        }
        report(scenario, &[(Cauce::NAME, &ours), (RsmqAsync::NAME, &theirs), (Node::NAME, &nodes)]);
    }
    Ok(())
}

/// One round of one library.
#[derive(Debug, Clone, Copy)]
struct Measured {
    per_second: f64,
    /// Of the server, in microseconds per message.
    processor: f64,
}

async fn measure<L: Library>(
    server: &Server,
    library: &mut L,
    scenario: Scenario,
    messages: usize,
) -> anyhow::Result<Measured> {
    server.new_queue().await?;
    let body = "x".repeat(BYTES);
    let Scenario { work, in_flight } = scenario;
    if matches!(work, Work::ReceiveAndDelete | Work::Pop) {
        server.fill(messages, &body).await?;
    }
    let processor = server.processor_seconds().await?;
    let begin = std::time::Instant::now();
    library.run(work, messages, in_flight, &body).await?;
    let seconds = begin.elapsed().as_secs_f64();
    let processor = server.processor_seconds().await? - processor;
    server.check(work, messages).await?;
    Ok(Measured { per_second: messages as f64 / seconds, processor: processor * 1e6 / messages as f64 })
}

fn report(scenario: Scenario, libraries: &[(&str, &[Measured])]) {
    println!("{}", scenario.name());
    for (name, rounds) in libraries.iter().filter(|(_, rounds)| !rounds.is_empty()) {
        let rate = spread(rounds.iter().map(|round| round.per_second));
        let processor = spread(rounds.iter().map(|round| round.processor)).0;
        println!(
            "  {name:11} {:8.0}/s ({:.0}-{:.0}), {processor:.1} us of the server",
            rate.0, rate.1, rate.2
        );
    }
    let [(_, ours), others @ ..] = libraries else { return };
    if others.iter().all(|(_, rounds)| rounds.is_empty()) {
        return;
    }
    let best = |round: usize| {
        others
            .iter()
            .filter_map(|(_, rounds)| rounds.get(round))
            .map(|round| round.per_second)
            .fold(0.0, f64::max)
    };
    let ratio = spread(ours.iter().enumerate().map(|(round, measured)| measured.per_second / best(round)));
    println!("  ratio to the better of the others: {:.2} ({:.2}-{:.2})", ratio.0, ratio.1, ratio.2);
}

/// Median, least and greatest.
fn spread(values: impl Iterator<Item = f64>) -> (f64, f64, f64) {
    let mut values: Vec<f64> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
    (at(values.len() / 2), at(0), at(values.len().saturating_sub(1)))
}
