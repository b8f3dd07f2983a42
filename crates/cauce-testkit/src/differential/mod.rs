//! Random conversations, replayed on two servers, every reply compared.
//!
//! A run is a row of *episodes*. An episode begins on an empty server with clients of its own and is a few hundred *steps*; a
//! step is one command, or several in one write, by one client. Commands come from a [table](table::rows), one row each; their
//! arguments from what the episode has done so far, so that most commands meet keys, ids and groups that are there. After each
//! step both servers are brought to rest: whoever was woken has answered, whoever waits is known to wait. Then the frames that
//! each client got are compared, after taking out what must differ (times, ids made from a clock, ids of clients).
//!
//! What is known to differ is listed in `docs/differences.md` and in [`differences`]; everything else is a finding: the run
//! stops, and the episode is cut down to the fewest steps that still show it.

pub mod differences;
pub mod table;

mod arguments;
mod audit;
mod episode;
mod frames;
mod grammar;
mod invent;
mod normalise;
mod report;
mod shrink;
mod side;
mod themes;
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
    /// Commands in all; the last episode is cut short.
    pub commands: usize,
    /// The same seed gives the same commands, as long as the replies are the same.
    pub seed: u64,
    /// Whether to go on after a difference, and cut down the first of each command.
    pub keep_going: bool,
}

/// Runs until the commands are done or a difference is found that is not on the list.
///
/// # Errors
///
/// [`WireError`] if a server can't be spoken to at the beginning; later it is a finding.
pub fn run(ours: &Target, oracle: &Target, options: Options) -> Result<Report, WireError> {
    let mut duel = Duel::new(ours, oracle)?;
    let mut report = Report { expected: duel.counted(), ..Report::default() };
    let mut episode = 0;
    while report.commands < options.commands {
        let most = options.commands - report.commands;
        let mut rng = fastrand::Rng::with_seed(options.seed.wrapping_add(episode * 0x9e37_79b9));
        if let Some(finding) = duel.generate(&mut rng, most, &mut report) {
            if report.findings.iter().all(|known| known.command != finding.command) {
                report.findings.push(Finding { seed: options.seed, episode, ..minimal(&mut duel, finding) });
            }
            if !options.keep_going {
                break;
            }
        }
        episode += 1;
    }
    Ok(report)
}

/// Commands that both servers know and that have neither a row nor a reason to have none, and rows and reasons of commands
/// that the oracle does not know.
///
/// # Errors
///
/// [`WireError`] if a server can't be spoken to.
pub fn without_row(ours: &Target, oracle: &Target) -> Result<Vec<String>, WireError> {
    let known = |target: &Target| -> Result<BTreeSet<String>, WireError> {
        let list = target.observe()?.call(&["COMMAND", "LIST"])?;
        Ok(list.elements().unwrap_or_default().iter().filter_map(crate::wire::Value::text).collect())
    };
    let (ours, oracle) = (known(ours)?, known(oracle)?);
    let rows: BTreeSet<String> =
        table::rows().map(|row| row.name().to_lowercase().replace(' ', "|")).collect();
    let excused = |name: &String| {
        table::LEFT_OUT.iter().any(|out| match out.name.strip_suffix('*') {
            Some(beginning) => name.starts_with(beginning),
            None => name == out.name,
        })
    };
    let both = ours.intersection(&oracle).filter(|name| !rows.contains(*name) && !excused(name)).cloned();
    let nowhere = rows.difference(&oracle).cloned();
    let twice = rows.iter().filter(|name| excused(name)).cloned();
    Ok(both.chain(nowhere).chain(twice).collect())
}

/// Random commands from the table without a server to look at, for tests of the engine alone: a client and its command. Ids
/// of clients and from a clock are made up.
pub fn commands(seed: u64, clients: usize) -> impl Iterator<Item = (usize, Vec<Vec<u8>>)> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut world = world::World::new(clients);
    let rows = invent::Rows::new(|_| true);
    std::iter::repeat_with(move || {
        let generated = rows.draw(&mut rng, &mut world, themes::mixed(), |_| false);
        let args = generated.args.iter().map(|arg| match arg {
            Arg::Bytes(bytes) => bytes.clone(),
            Arg::Auto(_) => b"9-9".to_vec(),
            Arg::Client(client) => (client + 1).to_string().into_bytes(),
        });
        (rng.usize(..clients), args.collect())
    })
}

/// The fewest steps that still show a difference at the same command.
fn minimal(duel: &mut Duel<'_>, finding: Finding) -> Finding {
    let steps = shrink::shrink(finding.steps.clone(), |steps| {
        duel.replay(steps).is_some_and(|again| again.command == finding.command)
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
        command: String::new(),
    };
    Duel::new(ours, oracle).map_err(unreachable)?.accepted(steps)
}
