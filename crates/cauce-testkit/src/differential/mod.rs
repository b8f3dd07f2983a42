//! Random conversations, replayed on two servers, every reply compared.
//!
//! A run is a row of *episodes*. An episode begins on an empty server with clients of its own and is a few hundred *steps*; a
//! step is one command, or several in one write, by one client. Commands come from a [table](table::ROWS), one row each; their
//! arguments from what the episode has done so far, so that most commands meet keys, ids and groups that are there. After each
//! step both servers are brought to rest: whoever was woken has answered, whoever waits is known to wait. Then the frames that
//! each client got are compared, after taking out what must differ (times, ids made from a clock, ids of clients).
//!
//! What is known to differ is listed in `docs/differences.md` and in [`differences`]; everything else is a finding: the run
//! stops, and the episode is cut down to the fewest steps that still show it.

pub mod differences;
pub mod table;

mod arguments;
mod episode;
mod frames;
mod grammar;
mod normalise;
mod report;
mod shrink;
mod side;
mod world;

pub use episode::{Arg, Generated, Step};
pub use report::{Coverage, Finding, Report};

use std::collections::BTreeSet;

use crate::targets::Target;
use crate::wire::WireError;
use episode::Duel;

/// How long a run is, and where it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Steps in all; the last episode is cut short.
    pub steps: usize,
    /// The same seed gives the same commands, as long as the replies are the same.
    pub seed: u64,
}

/// Steps of one episode: enough for the state to grow, few enough to shrink.
const EPISODE_STEPS: usize = 250;

/// Runs until the steps are done or a difference is found that is not on the list.
///
/// # Errors
///
/// [`WireError`] if a server can't be spoken to at the beginning; later it is a finding.
pub fn run(ours: &Target, oracle: &Target, options: Options) -> Result<Report, WireError> {
    let mut report = Report::default();
    let mut duel = Duel::new(ours, oracle)?;
    let mut episode = 0;
    while report.steps < options.steps {
        let length = EPISODE_STEPS.min(options.steps - report.steps);
        let mut rng = fastrand::Rng::with_seed(options.seed.wrapping_add(episode * 0x9e37_79b9));
        if let Some(finding) = duel.generate(&mut rng, length, &mut report) {
            report.finding = Some(Finding { seed: options.seed, episode, ..minimal(&mut duel, finding) });
            break;
        }
        episode += 1;
    }
    Ok(report)
}

/// Random commands from the table without a server to look at, for tests of the engine alone: a client and its command. Ids
/// of clients and from a clock are made up.
pub fn commands(seed: u64, clients: usize) -> impl Iterator<Item = (usize, Vec<Vec<u8>>)> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut world = world::World::new(clients);
    let rows = episode::rows(|_| true);
    std::iter::repeat_with(move || {
        let generated = episode::draw(&mut rng, &mut world, &rows, |_| false);
        let args = generated.args.iter().map(|arg| match arg {
            Arg::Bytes(bytes) => bytes.clone(),
            Arg::Auto(_) => b"9-9".to_vec(),
            Arg::Client(client) => (client + 1).to_string().into_bytes(),
        });
        (rng.usize(..clients), args.collect())
    })
}

/// The fewest steps that end in the same kind of step and still differ there.
fn minimal(duel: &mut Duel<'_>, finding: Finding) -> Finding {
    let Some(last) = finding.steps.last().cloned() else { return finding };
    let steps = shrink::shrink(finding.steps.clone(), |steps| {
        let again = duel.replay(steps);
        again.and_then(|again| again.steps.last().map(|step| step.resembles(&last))).unwrap_or(false)
    });
    duel.replay(&steps).unwrap_or(finding)
}

/// Which of the accepted differences these steps show.
///
/// # Errors
///
/// A [`Finding`] if the two differ in another way, or can't be spoken to.
pub fn accepted(ours: &Target, oracle: &Target, steps: &[Step]) -> Result<BTreeSet<&'static str>, Finding> {
    let unreachable = |error: WireError| Finding {
        seed: 0,
        episode: 0,
        steps: steps.to_vec(),
        difference: error.to_string(),
    };
    Duel::new(ours, oracle).map_err(unreachable)?.accepted(steps)
}
