//! What a run says.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::episode::Step;
use super::invent::is_option;

/// How often something ran, and how often without error.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Replies.
    pub ran: usize,
    /// Replies that are no error.
    pub succeeded: usize,
}

/// Per command, and per option of a command. An option is written `COMMAND … OPTION`.
pub type Coverage = BTreeMap<String, Tally>;

/// A difference that is not on the list.
#[derive(Debug, Clone)]
pub struct Finding {
    /// The seed of the run.
    pub seed: u64,
    /// The episode in which it appeared.
    pub episode: u64,
    /// The fewest steps known that show it; it shows at the last one.
    pub steps: Vec<Step>,
    /// What differs.
    pub difference: String,
    /// The command whose replies differ, if it is one.
    pub command: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}, episode {}, cut down to {} steps:", self.seed, self.episode, self.steps.len())?;
        for step in &self.steps {
            writeln!(f, "  {step}")?;
        }
        write!(f, "{}", self.difference)
    }
}

/// A run.
#[derive(Debug, Default)]
pub struct Report {
    /// Steps taken.
    pub steps: usize,
    /// Commands sent.
    pub commands: usize,
    /// Replies compared.
    pub replies: usize,
    /// What ran how often, by the oracle's replies.
    pub coverage: Coverage,
    /// The rows that both servers know, as far as they are counted: commands, and options written as in `coverage`.
    pub expected: BTreeSet<String>,
    /// How often each accepted difference was met.
    pub accepted: BTreeMap<&'static str, usize>,
    /// The differences that are not on the list: the one that ended the run, or, if it went on, one of each command.
    pub findings: Vec<Finding>,
}

/// Commands of which more than half may fail: what they are for is to be refused, or to find nothing.
const MOSTLY_REFUSED: &[&str] = &["DISCARD", "OBJECT FREQ"];

/// Fewer runs than these say nothing about how many fail.
const RUNS_TO_JUDGE: usize = 100;

impl Report {
    /// What ran less often than `least` times, a command at least once, and the commands of which more than half the replies are errors.
    pub fn shortfalls(&self, least: usize) -> Vec<String> {
        let ran = |name: &String| self.coverage.get(name).copied().unwrap_or_default();
        let wanted = |name: &String| if name.contains('…') { least } else { least.max(1) };
        let seldom = self.expected.iter().filter(|name| ran(name).ran < wanted(name));
        let seldom = seldom.map(|name| format!("{name} ran {} times, not {}", ran(name).ran, wanted(name)));
        let refused = self.expected.iter().filter(|name| {
            let tally = ran(name);
            tally.ran >= RUNS_TO_JUDGE
                && !name.contains('…')
                && !MOSTLY_REFUSED.contains(&name.as_str())
                && tally.succeeded * 2 < tally.ran
        });
        let refused = refused.map(|name| format!("{name} failed more often than not"));
        seldom.chain(refused).collect()
    }

    /// Counts a reply to a command.
    pub(super) fn count(&mut self, name: &str, options: &[String], error: bool) {
        self.replies += 1;
        let own_words = name.split(' ').count();
        let counted = options.get(own_words..).unwrap_or_default().iter().filter(|option| is_option(option));
        let mut keys: Vec<String> = counted.map(|option| format!("{name} … {option}")).collect();
        keys.sort_unstable();
        keys.dedup();
        keys.push(name.to_owned());
        for key in keys {
            let tally = self.coverage.entry(key).or_default();
            tally.ran += 1;
            tally.succeeded += usize::from(!error);
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<44} {:>8} {:>8}", "command and option", "ran", "no error")?;
        for (name, tally) in &self.coverage {
            writeln!(f, "{name:<44} {:>8} {:>8}", tally.ran, tally.succeeded)?;
        }
        writeln!(
            f,
            "\n{} commands in {} steps, {} replies compared",
            self.commands, self.steps, self.replies
        )?;
        for (key, count) in &self.accepted {
            writeln!(f, "accepted difference {key}: met {count} times")?;
        }
        for finding in &self.findings {
            write!(f, "\nDIFFERENCE\n{finding}")?;
        }
        if self.findings.is_empty() { write!(f, "no other difference") } else { Ok(()) }
    }
}
