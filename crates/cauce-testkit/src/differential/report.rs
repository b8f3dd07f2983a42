//! What a run says.

use std::collections::BTreeMap;
use std::fmt;

use super::episode::Step;

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
    /// Replies compared.
    pub replies: usize,
    /// What ran how often, by the oracle's replies.
    pub coverage: Coverage,
    /// How often each accepted difference was met.
    pub accepted: BTreeMap<&'static str, usize>,
    /// The difference that ended the run.
    pub finding: Option<Finding>,
}

impl Report {
    /// Counts a reply to a command.
    pub(super) fn count(&mut self, name: &str, options: &[String], error: bool) {
        self.replies += 1;
        let own_words = name.split(' ').count();
        let counted =
            options.get(own_words..).unwrap_or_default().iter().map(|option| format!("{name} … {option}"));
        let mut keys: Vec<String> = counted.collect();
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
        writeln!(f, "\n{} steps, {} replies compared", self.steps, self.replies)?;
        for (key, count) in &self.accepted {
            writeln!(f, "accepted difference {key}: met {count} times")?;
        }
        match &self.finding {
            Some(finding) => write!(f, "\nDIFFERENCE\n{finding}"),
            None => write!(f, "no other difference"),
        }
    }
}
