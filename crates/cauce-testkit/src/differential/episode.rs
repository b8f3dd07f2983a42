//! Steps, and two servers that take them side by side.

use std::collections::BTreeSet;
use std::fmt;
use std::rc::Rc;

use super::arguments::{Draw, name_of};
use super::differences::{Difference, STILL_WAITS, explain, own_message_elsewhere};
use super::frames::{Frame, Sent, settle_order};
use super::grammar::{Part, parse};
use super::normalise::{mask, normalise};
use super::report::{Finding, Report};
use super::side::{CLIENTS, Outcome, Side};
use super::table::ROWS;
use super::world::World;
use crate::targets::{Feature, Target};
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
        }
    }
}

impl Step {
    /// Whether it runs the same commands, whatever their arguments.
    pub(super) fn resembles(&self, other: &Step) -> bool {
        let names = |step: &Step| -> Vec<Option<Arg>> {
            step.commands.iter().map(|command| command.args.first().cloned()).collect()
        };
        names(self) == names(other)
    }

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
        let both = |feature| ours.features().has(feature) && oracle.features().has(feature);
        Ok(Duel {
            rows: rows(both),
            ours: Contender { target: ours, side: Side::new(ours)? },
            oracle: Contender { target: oracle, side: Side::new(oracle)? },
        })
    }

    /// Takes random steps until they are done, the two have drifted apart in an accepted way, or something is found.
    pub(super) fn generate(
        &mut self,
        rng: &mut fastrand::Rng,
        length: usize,
        report: &mut Report,
    ) -> Option<Finding> {
        let mut steps = Vec::new();
        if let Err(difference) = self.reset() {
            return Some(found(steps, difference));
        }
        let mut world = World::new(CLIENTS);
        let mut opening = opening(rng).into_iter();
        for _ in 0..length {
            let step = opening.next().unwrap_or_else(|| self.invent(rng, &mut world));
            steps.push(step);
            report.steps += 1;
            let step = steps.last().expect("one was pushed");
            match self.step(step, Some(report)) {
                Ok(verdict) if verdict.diverged => return None,
                Ok(_) => world.autos = self.oracle.side.names.auto_ids.len(),
                Err(difference) => return Some(found(steps, difference)),
            }
        }
        None
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
        let finding = |difference| found(steps.to_vec(), difference);
        self.reset().map_err(finding)?;
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

    /// A step for a client that can take one.
    fn invent(&self, rng: &mut fastrand::Rng, world: &mut World) -> Step {
        let side = &self.oracle.side;
        let free: Vec<usize> = (0..CLIENTS).filter(|client| !side.waits(*client)).collect();
        let client = free[rng.usize(..free.len())];
        let inside = side.in_transaction(client);
        world.may_block = free.len() > 2;
        world.may_expire = free.len() == CLIENTS && !inside;
        if inside && rng.u8(..4) == 0 {
            return Step::plain(client, if rng.u8(..6) == 0 { "DISCARD" } else { "EXEC" });
        }
        if !inside && side.subscribed(client) && rng.u8(..8) == 0 {
            return Step::plain(client, if rng.bool() { "RESET" } else { "UNSUBSCRIBE" });
        }
        if inside || rng.u8(..8) > 0 {
            let command = draw(rng, world, &self.rows, |command| {
                publishes(command) && side.will_listen(client) || inside && confirms_not_once(command)
            });
            return Step { client, commands: vec![Rc::new(command)] };
        }
        world.may_expire = false;
        world.may_block = false;
        let transaction = rng.bool();
        let mut commands: Vec<Rc<Generated>> = Vec::new();
        for _ in 0..rng.usize(2..6) {
            let listens =
                side.will_listen(client) || commands.iter().any(|one| one.name.ends_with("SUBSCRIBE"));
            let queued = transaction || commands.iter().any(|one| one.name == "MULTI");
            commands.push(Rc::new(draw(rng, world, &self.rows, |command| {
                publishes(command) && listens
                    || queued && confirms_not_once(command)
                    || transaction && is_of_transactions(command)
            })));
        }
        if transaction {
            commands.insert(0, Rc::new(Generated::plain(&["MULTI"])));
            commands.push(Rc::new(Generated::plain(&["EXEC"])));
        }
        Step { client, commands }
    }

    /// Takes one step on both.
    ///
    /// # Errors
    ///
    /// A difference that is not accepted, described.
    fn step(&mut self, step: &Step, mut report: Option<&mut Report>) -> Result<Verdict, String> {
        let mut verdict = Verdict { accepted: BTreeSet::new(), diverged: false };
        if self.ours.side.waits(step.client) || self.oracle.side.waits(step.client) {
            return Ok(verdict);
        }
        let oracle = self.oracle.side.perform(step).map_err(|error| format!("the oracle: {error}"))?;
        let ours = self.ours.side.perform(step).map_err(|error| format!("ours: {error}"))?;
        if let Some(report) = &mut report {
            count(report, &oracle);
        }
        learn(&ours, &mut self.ours.side);
        learn(&oracle, &mut self.oracle.side);
        for client in 0..CLIENTS {
            self.compare(&ours.frames[client], &oracle.frames[client], &mut verdict)
                .map_err(|what| format!("client {client} got something else\n{what}"))?;
        }
        if ours.waits != oracle.waits && !verdict.diverged {
            return Err(format!("who waits differs\n  ours   {:?}\n  oracle {:?}", ours.waits, oracle.waits));
        }
        if let Some(report) = report {
            for key in &verdict.accepted {
                *report.accepted.entry(key).or_default() += 1;
            }
        }
        Ok(verdict)
    }

    /// Compares what one client got.
    fn compare(&self, ours: &[Frame], oracle: &[Frame], verdict: &mut Verdict) -> Result<(), String> {
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
            return Err(describe());
        }
        let still_waits = mask(STILL_WAITS);
        for (index, frame) in longer.iter().enumerate() {
            let ours = ours.get(index).unwrap_or(&still_waits);
            let oracle = oracle_values.get(index).unwrap_or(&still_waits);
            if ours == oracle {
                continue;
            }
            let explained = frame.answers.as_ref().and_then(|(sent, ran)| explained(sent, ran, ours, oracle));
            for difference in explained.ok_or_else(describe)? {
                verdict.accepted.insert(difference.key);
                verdict.diverged |= difference.diverges;
            }
        }
        Ok(())
    }
}

/// The table's rows as they are drawn from: weight and parts.
pub(super) type Rows = Vec<(u32, Vec<Part>)>;

/// The rows that need nothing that is not there.
pub(super) fn rows(has: impl Fn(Feature) -> bool) -> Rows {
    let rows = ROWS.iter().filter(|row| row.needs.is_none_or(&has));
    rows.map(|row| (row.weight, parse(row.syntax).expect("a test reads every row"))).collect()
}

/// A command that is not unfit here.
pub(super) fn draw(
    rng: &mut fastrand::Rng,
    world: &mut World,
    rows: &Rows,
    unfit: impl Fn(&Generated) -> bool,
) -> Generated {
    let total: u32 = rows.iter().map(|(weight, _)| weight).sum();
    loop {
        let mut pick = rng.u32(..total);
        let row = rows.iter().find(|(weight, _)| {
            let here = pick < *weight;
            pick = pick.saturating_sub(*weight);
            here
        });
        let (_, parts) = row.expect("the pick is below the sum of weights");
        let generated = Draw::command(rng, world, parts);
        if !unfit(&generated) {
            return generated;
        }
    }
}

/// Chooses protocols, and mostly makes groups, so that most commands find something.
fn opening(rng: &mut fastrand::Rng) -> Vec<Step> {
    let hello = |client| Step::plain(client, if rng.bool() { "HELLO 3" } else { "HELLO 2" });
    let mut steps: Vec<Step> = (0..CLIENTS).map(hello).collect();
    for command in ["a g 0", "a h $", "b g $", "b i 0", "c g 0", "auto g 0"] {
        if rng.u8(..5) > 0 {
            steps.push(Step::plain(0, &format!("XGROUP CREATE {command} MKSTREAM")));
        }
    }
    steps
}

fn found(steps: Vec<Step>, difference: String) -> Finding {
    Finding { seed: 0, episode: 0, steps, difference }
}

/// Whether the client could hear itself, which it does in the middle of EXEC's reply before 7.2, and behind it since.
fn publishes(command: &Generated) -> bool {
    command.name.ends_with("PUBLISH")
}

/// Whether it is confirmed by several frames, of which EXEC's reply would count only the first.
fn confirms_not_once(command: &Generated) -> bool {
    command.name.ends_with("SUBSCRIBE") && command.args.len() != 2
}

fn is_of_transactions(command: &Generated) -> bool {
    ["MULTI", "EXEC", "DISCARD", "WATCH", "RESET", "HELLO"].iter().any(|name| command.name == *name)
        || command.spoiled
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
                if ours != oracle {
                    all.extend(explain(sent, ours, oracle)?);
                }
            }
            Some(all)
        }
        _ => explain(sent, ours, oracle),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_read_and_names_only_known_kinds() {
        fn check(parts: &[Part], syntax: &str) {
            for part in parts {
                match part {
                    Part::Word(_) => {}
                    Part::Kind(kind) => assert!(Draw::knows(kind), "{{{kind}}} in {syntax}"),
                    Part::Optional(parts) | Part::Repeat(parts) | Part::AnyOrder(parts) => {
                        check(parts, syntax);
                    }
                    Part::Choice(choices) => choices.iter().for_each(|parts| check(parts, syntax)),
                }
            }
        }
        for row in ROWS {
            check(&parse(row.syntax).unwrap_or_else(|what| panic!("{}: {what}", row.syntax)), row.syntax);
        }
    }
}
