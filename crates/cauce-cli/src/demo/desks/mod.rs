//! The parts of the demo, each a process of its own.

mod dead_letters;
mod delay;
mod desk;
mod display;
mod operations;
mod orders;
mod rebooking;
mod statistics;
mod tickets;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use cauce::{Bus, Retry, Service, Start};

use super::books::Group;
use super::data::Timeline;
use super::ledger::Ledger;
use super::signal::Signal;
use desk::Desk;
use operations::Pace;
pub(super) use orders::HOLD;
use orders::Orders;

/// The consumer groups of the demo.
pub(super) const GROUPS: [Group; 4] = [delay::GROUP, rebooking::GROUP, statistics::GROUP, tickets::GROUP];
/// The group that sends jobs to the queue.
pub(super) const JOBS_OF: &str = rebooking::GROUP.name;

/// An instance that gave no sign of life for so long is taken to be dead, and its entries are claimed.
const RECLAIM_AFTER: Duration = Duration::from_secs(2);

/// What a part does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Role {
    /// Publishes.
    Operations,
    /// Looks for late flights.
    Delay,
    /// Rebooks the passengers of cancelled flights.
    Rebooking,
    /// Writes the new tickets: takes the jobs of the queue.
    Tickets,
    /// Counts everything.
    Statistics,
    /// Shows notices.
    Display,
    /// Writes down what no service could handle.
    DeadLetters,
}

/// Plays one part of the demo; the demo itself starts this.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct PartArgs {
    #[arg(long)]
    pub(super) role: Role,
    #[arg(long)]
    pub(super) instance: String,
    #[arg(long)]
    pub(super) url: String,
    #[arg(long)]
    pub(super) ledgers: PathBuf,
    /// Flights of this file in place of the blizzard's.
    #[arg(long)]
    pub(super) year: Option<PathBuf>,
    /// The replay takes so long; left out, it goes as fast as it can.
    #[arg(long)]
    pub(super) seconds: Option<f64>,
    #[arg(long)]
    pub(super) skip_at: Option<u64>,
    #[arg(long)]
    pub(super) drop_line: Option<u64>,
}

impl Role {
    /// The name of its group in the ledgers.
    fn group(self) -> &'static str {
        match self {
            Self::Operations => "operations",
            Self::Delay => delay::GROUP.name,
            Self::Rebooking => rebooking::GROUP.name,
            Self::Tickets => tickets::GROUP.name,
            Self::Statistics => statistics::GROUP.name,
            Self::Display => "gates",
            Self::DeadLetters => "dead-letters",
        }
    }
}

/// Plays the part until its work is done or standard input ends.
pub(super) fn run(args: PartArgs) -> anyhow::Result<()> {
    let orders = Orders::read();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(play(args, orders))
}

async fn play(args: PartArgs, orders: Orders) -> anyhow::Result<()> {
    let ledger = Ledger::open(&args.ledgers, args.role.group(), &args.instance, args.drop_line)
        .with_context(|| format!("can't write into {}", args.ledgers.display()))?;
    let bus = Bus::connect(&args.url).await?.with_source(&args.instance);
    let desk = |ledger| Desk::new(ledger, orders.clone(), args.skip_at);
    match args.role {
        Role::Operations => {
            let timeline = args.year.as_deref().map_or_else(Timeline::blizzard, Timeline::from_file)?;
            let pace =
                args.seconds.map_or(Pace::Full, |seconds| Pace::Within(Duration::from_secs_f64(seconds)));
            tokio::select! {
                published = operations::run(&bus, &ledger, &timeline, pace) => published,
                () = orders.finish() => Ok(()),
            }
        }
        Role::Display => display::run(&bus, &ledger, orders).await,
        Role::DeadLetters => dead_letters::run(&bus, &ledger, orders).await,
        Role::Delay => {
            let state = delay::DelayDesk::new(desk(ledger));
            let service =
                service(delay::GROUP).state(Arc::clone(&state)).on(delay::departed).on(delay::arrived);
            serve(&bus, service, orders).await?;
            summary(&args.instance, &state.summary())
        }
        Role::Rebooking => {
            let state = Arc::new(rebooking::Rebooking::new(desk(ledger), tickets::queue(&bus).await?));
            serve(&bus, service(rebooking::GROUP).state(state).on(rebooking::cancelled), orders).await
        }
        Role::Tickets => tickets::run(&bus, desk(ledger), orders).await,
        Role::Statistics => {
            let state = statistics::Statistics::new(desk(ledger));
            let service = service(statistics::GROUP)
                .state(Arc::clone(&state))
                .on(statistics::scheduled)
                .on(statistics::departed)
                .on(statistics::arrived)
                .on(statistics::cancelled);
            serve(&bus, service, orders).await?;
            summary(&args.instance, &state.summary())
        }
    }
}

fn summary(instance: &str, text: &str) -> anyhow::Result<()> {
    Ok(Signal::Note(format!("{instance}: {text}")).send()?)
}

/// What all services of the demo have in common. They begin with the oldest entry, so that it does not matter
/// who starts first.
fn service(group: Group) -> Service {
    Service::new(group.name)
        .start_at(Start::Beginning)
        .reclaim_after(RECLAIM_AFTER)
        .retry(Retry::exponential(Duration::from_millis(100)..Duration::from_secs(1)).max_attempts(5))
}

/// Runs a service until standard input ends.
async fn serve<S>(bus: &Bus, service: Service<S>, orders: Orders) -> anyhow::Result<()>
where
    S: Clone + Send + Sync + 'static,
{
    let running = service.start(bus).await?;
    Signal::Ready.send()?;
    orders.finish().await;
    running.stop().await;
    Ok(())
}
