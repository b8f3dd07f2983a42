//! Steps, and two servers that take them side by side.

use std::collections::BTreeSet;
use std::fmt;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::audit::audit;
use super::differences::{Difference, STILL_WAITS, explain, own_message_elsewhere};
use super::frames::{Frame, Sent, settle_order};
use super::invent::{Rows, invent, knows, makes_an_id, opening};
use super::normalise::{mask, normalise};
use super::report::{Finding, Report};
use super::side::{AUDITOR, CLIENTS, Outcome, Side};
use super::table::name_of;
use super::themes::{self, Theme};
use super::world::World;
use crate::targets::Target;
use crate::wire::{Value, WireError};

/// An argument, concrete but for what each server names in its own way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Arg {
    /// As it is sent.
    Bytes(Vec<u8>),
    /// The id that the clock made, by its number.
    Auto(usize),
    /// The id of a client, by its number.
    Client(usize),
}

/// A command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generated {
    /// Its words.
    pub args: Vec<Arg>,
    /// Its row's name, for counting.
    pub name: String,
    /// The words of its row that it has, for counting.
    pub options: Vec<String>,
    /// Whether it gives a key a time to live that runs out at once.
    pub runs_out: bool,
    /// Whether it was made wrong on purpose.
    pub spoiled: bool,
    /// Where the words of the command begin that it calls, if it is a script.
    pub inner_at: Option<usize>,
}

/// Commands of one client, sent in one write.
#[derive(Debug, Clone)]
pub struct Step {
    /// Which client.
    pub client: usize,
    /// What it sends.
    pub commands: Vec<Rc<Generated>>,
}

impl Generated {
    /// A command of these words.
    pub fn plain(words: &[&str]) -> Generated {
        Generated {
            args: words.iter().map(|word| Arg::Bytes(word.as_bytes().to_vec())).collect(),
            name: name_of(words.iter().copied()),
            options: Vec::new(),
            runs_out: false,
            spoiled: false,
            inner_at: None,
        }
    }
}

impl Step {
    /// A step of one command, its words parted by spaces.
    pub fn plain(client: usize, command: &str) -> Step {
        let words: Vec<&str> = command.split(' ').collect();
        Step { client, commands: vec![Rc::new(Generated::plain(&words))] }
    }

    pub(super) fn runs_out(&self) -> bool {
        self.commands.iter().any(|command| command.runs_out)
    }
}

impl fmt::Display for Generated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, arg) in self.args.iter().enumerate() {
            let space = if index == 0 { "" } else { " " };
            match arg {
                Arg::Bytes(bytes) if bytes.is_empty() => write!(f, "{space}\"\"")?,
                Arg::Bytes(bytes) => write!(f, "{space}{}", String::from_utf8_lossy(bytes))?,
                Arg::Auto(number) => write!(f, "{space}<auto {number}>")?,
                Arg::Client(client) => write!(f, "{space}<client {client}>")?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "client {}:", self.client)?;
        for (index, command) in self.commands.iter().enumerate() {
            write!(f, "{} {command}", if index == 0 { "" } else { " ;" })?;
        }
        Ok(())
    }
}

/// Two steps in which the clock makes ids are this far apart, so that it makes none twice.
const CLOCK_TICK: Duration = Duration::from_millis(2);

/// The commands that may wait.
const WAITING: [&str; 5] = ["XREAD", "XREADGROUP", "BZPOPMIN", "BZPOPMAX", "BZMPOP"];

/// What differs, and in the reply to which command, if it is one.
struct Unlike {
    what: String,
    command: String,
}

impl From<String> for Unlike {
    fn from(what: String) -> Unlike {
        Unlike { what, command: String::new() }
    }
}

/// How a step compared.
struct Verdict {
    accepted: BTreeSet<&'static str>,
    diverged: bool,
}

/// Ours and the oracle.
#[derive(Debug)]
pub(super) struct Duel<'a> {
    ours: Contender<'a>,
    oracle: Contender<'a>,
    rows: Rows,
    /// What both know.
    commands: BTreeSet<String>,
    last_id_made: Instant,
}

#[derive(Debug)]
struct Contender<'a> {
    target: &'a Target,
    side: Side,
}

impl Contender<'_> {
    /// A clean beginning; new clients if the old ones are of no use.
    fn reset(&mut self) -> Result<(), WireError> {
        if self.side.reset().is_ok() {
            return Ok(());
        }
        self.side = Side::new(self.target)?;
        self.side.reset()
    }
}

impl<'a> Duel<'a> {
    pub(super) fn new(ours: &'a Target, oracle: &'a Target) -> Result<Duel<'a>, WireError> {
        let mut ours = Contender { target: ours, side: Side::new(ours)? };
        let mut oracle = Contender { target: oracle, side: Side::new(oracle)? };
        let commands = &ours.side.commands()? & &oracle.side.commands()?;
        Ok(Duel {
            rows: Rows::new(|name| knows(&commands, name)),
            ours,
            oracle,
            commands,
            last_id_made: Instant::now(),
        })
    }

    /// Takes random steps until enough commands were sent, the two have drifted apart in an accepted way, or something is found.
    /// At the end everything that is left is compared.
    pub(super) fn generate(
        &mut self,
        rng: &mut fastrand::Rng,
        most: usize,
        report: &mut Report,
    ) -> Option<Finding> {
        let mut steps = Vec::new();
        if let Err(difference) = self.reset() {
            return Some(found(steps, difference));
        }
        let theme = themes::choose(rng);
        let mut world = World::new(CLIENTS);
        world.others_from = theme.others_from;
        let mut opening = opening(rng).into_iter();
        let mut sent = 0;
        while sent < theme.commands.min(most) {
            let step = opening.next().unwrap_or_else(|| self.invent(rng, &mut world, theme));
            sent += step.commands.len();
            report.steps += 1;
            report.commands += step.commands.len();
            steps.push(step);
            let step = steps.last().expect("one was pushed");
            match self.step(step, Some(report)) {
                Ok(verdict) if verdict.diverged => return None,
                Ok(_) => {}
                Err(difference) => return Some(found(steps, difference)),
            }
            world.autos = self.oracle.side.names.auto_ids.len();
            if (step.commands.len() > 5 || steps.len() % 6 == 0)
                && let Err(error) = self.oracle.side.survey(&mut world)
            {
                return Some(found(steps, format!("the oracle: {error}")));
            }
        }
        let audit = audit(|name| knows(&self.commands, name));
        steps.push(audit);
        let compared = self.step(steps.last().expect("one was pushed"), None);
        compared.err().map(|difference| found(steps, difference))
    }

    /// The commands that both know and their options, named as they are counted.
    pub(super) fn counted(&self) -> BTreeSet<String> {
        self.rows.counted()
    }

    fn invent(&self, rng: &mut fastrand::Rng, world: &mut World, theme: &Theme) -> Step {
        invent(rng, world, &self.rows, theme, &self.oracle.side)
    }

    /// Takes these steps from a clean beginning.
    pub(super) fn replay(&mut self, steps: &[Step]) -> Option<Finding> {
        if let Err(difference) = self.reset() {
            return Some(found(steps.to_vec(), difference));
        }
        for (index, step) in steps.iter().enumerate() {
            match self.step(step, None) {
                Ok(verdict) if verdict.diverged => break,
                Ok(_) => {}
                Err(difference) => return Some(found(steps[..=index].to_vec(), difference)),
            }
        }
        None
    }

    /// The accepted differences that these steps show.
    ///
    /// # Errors
    ///
    /// A difference that is not accepted.
    pub(super) fn accepted(&mut self, steps: &[Step]) -> Result<BTreeSet<&'static str>, Finding> {
        let finding = |unlike: Unlike| found(steps.to_vec(), unlike);
        self.reset().map_err(|what| finding(what.into()))?;
        let mut accepted = BTreeSet::new();
        for step in steps {
            accepted.extend(self.step(step, None).map_err(finding)?.accepted);
        }
        Ok(accepted)
    }

    fn reset(&mut self) -> Result<(), String> {
        self.ours.reset().map_err(|error| format!("ours can't be reset: {error}"))?;
        self.oracle.reset().map_err(|error| format!("the oracle can't be reset: {error}"))
    }

    /// Takes one step on both.
    ///
    /// # Errors
    ///
    /// A difference that is not accepted, described.
    fn step(&mut self, step: &Step, mut report: Option<&mut Report>) -> Result<Verdict, Unlike> {
        let mut verdict = Verdict { accepted: BTreeSet::new(), diverged: false };
        if self.ours.side.waits(step.client) || self.oracle.side.waits(step.client) {
            return Ok(verdict);
        }
        if step.commands.iter().any(|command| makes_an_id(command)) {
            while self.last_id_made.elapsed() < CLOCK_TICK {}
            self.last_id_made = Instant::now();
        }
        let failed = |who| move |error| format!("{who}: {error}");
        self.oracle.side.send(step).map_err(failed("the oracle"))?;
        self.ours.side.send(step).map_err(failed("ours"))?;
        let oracle = self.oracle.side.finish(step).map_err(failed("the oracle"))?;
        let ours = self.ours.side.finish(step).map_err(failed("ours"))?;
        if let Some(report) = &mut report {
            count(report, &oracle);
        }
        learn(&ours, &mut self.ours.side);
        learn(&oracle, &mut self.oracle.side);
        let mut unlike = Vec::new();
        for client in 0..=AUDITOR {
            if let Err(one) = self.compare(&ours.frames[client], &oracle.frames[client], &mut verdict) {
                let what = format!("client {client} got something else\n{}", one.what);
                unlike.push((client, Unlike { what, ..one }));
            }
        }
        // Who was woken in another way leaves other things to those who wait behind, and to what comes later in the same pipeline.
        let sees_it = |client, one: &Unlike| {
            let later = client == step.client && step.commands.len() > 1;
            later || WAITING.contains(&one.command.as_str())
        };
        unlike.retain(|(client, one)| !(verdict.diverged && sees_it(*client, one)));
        if let Some((_, first)) = unlike.into_iter().next() {
            return Err(first);
        }
        if ours.waits != oracle.waits && !verdict.diverged {
            let waits = format!("  ours   {:?}\n  oracle {:?}", ours.waits, oracle.waits);
            return Err(format!("who waits differs\n{waits}").into());
        }
        if let Some(report) = report {
            for key in &verdict.accepted {
                *report.accepted.entry(key).or_default() += 1;
            }
        }
        Ok(verdict)
    }

    /// Compares what one client got.
    fn compare(&self, ours: &[Frame], oracle: &[Frame], verdict: &mut Verdict) -> Result<(), Unlike> {
        let longer = if ours.len() > oracle.len() { ours } else { oracle };
        let mut ours: Vec<Value> = ours.iter().map(|frame| shown(frame, &self.ours.side)).collect();
        let mut oracle_values: Vec<Value> =
            oracle.iter().map(|frame| shown(frame, &self.oracle.side)).collect();
        settle_order(&mut ours);
        settle_order(&mut oracle_values);
        let describe = || format!("  ours   {}\n  oracle {}", listed(&ours), listed(&oracle_values));
        if let Some(difference) = own_message_elsewhere(&ours, &oracle_values) {
            verdict.accepted.insert(difference.key);
            return Ok(());
        }
        if ours.len().abs_diff(oracle_values.len()) > 1 {
            return Err(describe().into());
        }
        let still_waits = mask(STILL_WAITS);
        for (index, frame) in longer.iter().enumerate() {
            if verdict.diverged {
                break;
            }
            let ours = ours.get(index).unwrap_or(&still_waits);
            let oracle = oracle_values.get(index).unwrap_or(&still_waits);
            if ours == oracle {
                continue;
            }
            let explained = frame.answers.as_ref().and_then(|(sent, ran)| explained(sent, ran, ours, oracle));
            let first = || unlike(frame, ours, oracle);
            for difference in explained.ok_or_else(first)? {
                verdict.accepted.insert(difference.key);
                verdict.diverged |= difference.diverges;
            }
        }
        Ok(())
    }
}

fn found(steps: Vec<Step>, unlike: impl Into<Unlike>) -> Finding {
    let Unlike { what, command } = unlike.into();
    Finding { seed: 0, episode: 0, steps, difference: what, command }
}

/// Learns the ids that a step has brought, before anybody's frames are shown: others may have read them in the same step.
fn learn(outcome: &Outcome, side: &mut Side) {
    for frame in outcome.frames.iter().flatten() {
        if let Some((sent, ran)) = &frame.answers {
            side.names.learn(sent, &frame.value);
            for (sent, value) in ran.iter().zip(frame.value.elements().unwrap_or_default()) {
                side.names.learn(sent, value);
            }
        }
    }
}

/// A frame without what must differ.
fn shown(frame: &Frame, side: &Side) -> Value {
    match &frame.answers {
        Some((sent, ran)) => normalise(sent, ran, &frame.value, &side.names),
        None => frame.value.clone(),
    }
}

/// The differences that explain two replies; those of EXEC one by one.
fn explained(sent: &Sent, ran: &[Sent], ours: &Value, oracle: &Value) -> Option<Vec<&'static Difference>> {
    match (ours, oracle) {
        (Value::Array(ours), Value::Array(oracle))
            if sent.is("EXEC") && ours.len() == ran.len() && oracle.len() == ran.len() =>
        {
            let mut all = Vec::new();
            for ((ours, oracle), sent) in ours.iter().zip(oracle).zip(ran) {
                if ours != oracle && !all.iter().any(|one: &&Difference| one.diverges) {
                    all.extend(explain(sent, ours, oracle)?);
                }
            }
            Some(all)
        }
        _ => explain(sent, ours, oracle),
    }
}

/// Describes the first two replies that differ; of EXEC's, the first inside.
fn unlike(frame: &Frame, ours: &Value, oracle: &Value) -> Unlike {
    let Some((sent, ran)) = &frame.answers else {
        return format!("  ours   {ours}\n  oracle {oracle}").into();
    };
    if let (Value::Array(ours), Value::Array(oracle)) = (ours, oracle)
        && sent.is("EXEC")
        && ours.len() == oracle.len()
    {
        let inside = ours.iter().zip(oracle).zip(ran);
        for ((ours, oracle), sent) in inside {
            if ours != oracle && explain(sent, ours, oracle).is_none() {
                let inner = Frame { value: Value::Null, answers: Some((sent.clone(), Vec::new())) };
                return unlike(&inner, ours, oracle);
            }
        }
    }
    let what = format!("  asked  {}\n  ours   {ours}\n  oracle {oracle}", sent.generated);
    let words: Vec<String> =
        sent.words().iter().take(2).map(|word| String::from_utf8_lossy(word).to_ascii_uppercase()).collect();
    Unlike { what, command: name_of(words.iter().map(String::as_str)) }
}

/// Counts what ran, once per reply; what was queued counts when EXEC runs it.
fn count(report: &mut Report, outcome: &Outcome) {
    let mut one = |sent: &Sent, value: &Value| {
        if !sent.generated.name.is_empty() {
            report.count(&sent.generated.name, &sent.generated.options, value.is_error());
        }
    };
    for frame in outcome.frames.iter().flatten() {
        if let Some((sent, ran)) = &frame.answers {
            if frame.value != Value::Simple(b"QUEUED".to_vec()) {
                one(sent, &frame.value);
            }
            for (sent, value) in ran.iter().zip(frame.value.elements().unwrap_or_default()) {
                one(sent, value);
            }
        }
    }
}

fn listed(values: &[Value]) -> String {
    let values: Vec<String> = values.iter().map(Value::to_string).collect();
    if values.is_empty() { "nothing".to_owned() } else { values.join("\n         ") }
}
