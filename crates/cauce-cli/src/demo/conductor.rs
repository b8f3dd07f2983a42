//! Starts the parts, kills one of them, watches the ledgers, and closes the books.

use std::path::Path;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::Fault;
use super::books::Books;
use super::cast::{self, Member, Setting, VICTIMS};
use super::child::Part;
use super::desks::{GROUPS, JOBS_OF, Role};
use super::ledger::Reader;
use super::progress::Progress;
use super::report::{self, Run};
use super::signal::Signal;

/// Time between two looks at the ledgers.
const TICK: Duration = Duration::from_millis(50);
/// The parts may take so long to connect, and so long to finish when they are told to.
const PART_TIMEOUT: Duration = Duration::from_secs(20);

/// One instance is killed after this share of the events: at once in a replay of so few, at full speed, that it
/// would be over before the conductor looks.
const KILL_AFTER: f64 = 0.3;
const FEW_EVENTS: u64 = 50_000;

/// What the conductor is told.
#[derive(Debug, Clone, Copy)]
pub(super) struct Score<'a> {
    /// What every part is told.
    pub(super) setting: Setting<'a>,
    /// With this fault.
    pub(super) fault: Option<Fault>,
    /// So long without a new line in any ledger, and the run is given up.
    pub(super) patience: Duration,
}

/// What came of the run.
#[derive(Debug)]
pub(super) struct Outcome {
    /// The books in plain text.
    pub(super) report: Vec<String>,
    /// What does not balance.
    pub(super) problems: Vec<String>,
}

/// Runs the demo from the first process to the last line of the books.
pub(super) fn conduct(score: &Score<'_>) -> anyhow::Result<Outcome> {
    let audience = cast::audience(score.fault);
    let operations = cast::operations(score.fault);
    let mut company = Company::new(score, &audience, &operations);
    for member in &audience {
        company.start(member, &score.setting)?;
    }
    company.wait_until_ready()?;
    company.start(&operations, &score.setting)?;
    company.watch(score.patience)?;
    let elapsed = company.began.map_or(Duration::ZERO, |began| began.elapsed());
    company.finish()?;
    let report = report::lines(&company.books, &Run { elapsed, killed: &VICTIMS });
    let mut problems = company.books.problems(company.planned);
    problems.append(&mut company.troubles);
    for victim in VICTIMS.iter().filter(|victim| !company.is_killed(victim)) {
        problems.push(format!("{victim} was never killed: it did not get enough work"));
    }
    Ok(Outcome { report, problems })
}

/// All processes and what is known of them.
struct Company<'a> {
    dir: &'a Path,
    parts: Vec<Part>,
    readers: Vec<Reader>,
    books: Books,
    progress: Progress,
    sender: Sender<(String, Signal)>,
    signals: Receiver<(String, Signal)>,
    ready: usize,
    gone: usize,
    planned: u64,
    /// When the operations desk began to publish.
    began: Option<Instant>,
    is_full_speed: bool,
    ordered_to_hold: bool,
    killed: Vec<String>,
    finishing: bool,
    /// What went wrong beside the books.
    troubles: Vec<String>,
}

impl<'a> Company<'a> {
    fn new(score: &Score<'a>, audience: &[Member], operations: &Member) -> Self {
        let dir = score.setting.ledgers;
        let displays: Vec<_> = audience.iter().filter(|member| member.role == Role::Display).collect();
        let displays: Vec<_> = displays.iter().map(|member| member.instance.clone()).collect();
        let everybody = std::iter::once(operations).chain(audience);
        let (sender, signals) = mpsc::channel();
        Self {
            dir,
            parts: Vec::new(),
            readers: everybody.map(|member| Reader::new(dir, &member.instance)).collect(),
            books: Books::new(&GROUPS, JOBS_OF, &displays),
            progress: Progress::new(),
            sender,
            signals,
            ready: 0,
            gone: 0,
            planned: 0,
            began: None,
            is_full_speed: score.setting.seconds.is_none(),
            ordered_to_hold: false,
            killed: Vec::new(),
            finishing: false,
            troubles: Vec::new(),
        }
    }

    fn start(&mut self, member: &Member, setting: &Setting<'_>) -> anyhow::Result<()> {
        let arguments = member.arguments(setting);
        self.parts.push(Part::start(&member.instance, &arguments, self.dir, self.sender.clone())?);
        Ok(())
    }

    fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + PART_TIMEOUT;
        while self.ready < self.parts.len() {
            if Instant::now() > deadline {
                bail!("only {} of {} parts were ready in time", self.ready, self.parts.len());
            }
            self.take_signals()?;
        }
        self.progress.say(&format!("{} processes are at work", self.parts.len()));
        Ok(())
    }

    /// Follows the ledgers until all is settled, or nothing has been written for too long.
    fn watch(&mut self, patience: Duration) -> anyhow::Result<()> {
        let mut last_line = Instant::now();
        loop {
            self.take_signals()?;
            if self.read_ledgers()? {
                last_line = Instant::now();
            }
            self.choose_victims()?;
            self.progress.show(&self.books, self.planned);
            if self.planned > 0 && self.books.published() >= self.planned && self.books.settled() {
                self.progress.say("everything published is settled");
                return Ok(());
            }
            if last_line.elapsed() > patience {
                let seconds = patience.as_secs_f64();
                self.progress.say(&format!("no service wrote anything for {seconds} s: giving up"));
                return Ok(());
            }
        }
    }

    /// When enough has been published, the victims are told to hold an event: they are killed over that.
    fn choose_victims(&mut self) -> anyhow::Result<()> {
        let is_short = self.is_full_speed && self.planned < FEW_EVENTS;
        let kill_after = if is_short { 0.0 } else { KILL_AFTER * self.planned as f64 };
        if self.ordered_to_hold || self.planned == 0 || (self.books.published() as f64) < kill_after {
            return Ok(());
        }
        self.ordered_to_hold = true;
        for part in self.parts.iter_mut().filter(|part| VICTIMS.contains(&part.instance.as_str())) {
            part.hold()?;
        }
        Ok(())
    }

    /// Lets every part finish, and reads what they wrote at the end.
    fn finish(&mut self) -> anyhow::Result<()> {
        self.finishing = true;
        self.parts.iter_mut().for_each(Part::finish);
        let deadline = Instant::now() + PART_TIMEOUT;
        for part in &mut self.parts {
            match part.wait(deadline)? {
                _ if self.killed.contains(&part.instance) => {}
                Some(status) if status.success() => {}
                Some(status) => {
                    self.troubles.push(format!(
                        "{} ended with {status}: {}",
                        part.instance,
                        part.complaints()
                    ));
                }
                None => self.troubles.push(format!("{} did not finish when it was told to", part.instance)),
            }
        }
        // What they said last may still be on its way through the pipes.
        while self.gone < self.parts.len() && Instant::now() < deadline {
            self.take_signals()?;
        }
        while self.read_ledgers()? {}
        self.progress.show(&self.books, self.planned);
        self.progress.finish();
        Ok(())
    }

    fn read_ledgers(&mut self) -> anyhow::Result<bool> {
        let mut news = false;
        for reader in &mut self.readers {
            news |= reader.read_new(|line| self.books.enter(line)).context("reading the ledgers")?;
        }
        Ok(news)
    }

    /// Takes what the parts have signalled; waits a little for the first.
    fn take_signals(&mut self) -> anyhow::Result<()> {
        let mut wait = TICK;
        loop {
            match self.signals.recv_timeout(wait) {
                Ok((instance, signal)) => self.take(&instance, signal)?,
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return Ok(()),
            }
            wait = Duration::ZERO;
        }
    }

    fn take(&mut self, instance: &str, signal: Signal) -> anyhow::Result<()> {
        match signal {
            Signal::Ready => self.ready += 1,
            Signal::Planned(events) => {
                self.planned = events;
                self.began = Some(Instant::now());
            }
            Signal::Note(text) => self.progress.say(&text),
            // It may have held several when it was killed.
            Signal::Holding(_) if self.is_killed(instance) => {}
            Signal::Holding(event) => {
                let Some(part) = self.parts.iter_mut().find(|part| part.instance == instance) else {
                    bail!("{instance} is not part of this run");
                };
                part.kill()?;
                self.killed.push(instance.to_owned());
                self.progress.say(&format!("{instance} was killed (SIGKILL) over event {event}"));
            }
            Signal::Gone => {
                self.gone += 1;
                self.ended(instance)?;
            }
        }
        Ok(())
    }

    fn is_killed(&self, instance: &str) -> bool {
        self.killed.iter().any(|killed| killed == instance)
    }

    /// A part's output has ended: as it should, or too early.
    fn ended(&mut self, instance: &str) -> anyhow::Result<()> {
        let done = instance.starts_with("operations") && self.books.published() > 0;
        if self.finishing || done || self.is_killed(instance) {
            return Ok(());
        }
        let part = self.parts.iter().find(|part| part.instance == instance);
        bail!("{instance} ended early: {}", part.map(Part::complaints).unwrap_or_default())
    }
}
