//! The books: what the services wrote down, held against each other.
//!
//! Nothing here is asked of the server. An event that was published is settled in a group when a handler
//! wrote that it did its work, or when it lies among the group's dead letters; the books balance when every
//! group settled exactly what was published for it (the ticket desk: what was sent to its queue), and every display saw, or was told that it missed, all
//! that was announced.

use std::collections::{BTreeMap, HashMap};

use hdrhistogram::Histogram;

use super::events::Action;
use super::ids::IdSet;
use super::ledger::{Fact, Line};

/// Ids named in a complaint; more are only counted.
const NAMED_IDS: usize = 5;

/// A consumer group and the actions that it has handlers for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Group {
    /// Its name.
    pub(super) name: &'static str,
    /// What it acts on; the rest it acknowledges unhandled. Nothing: it takes the jobs of the queue.
    pub(super) acts_on: &'static [Action],
}

/// All books of one run.
#[derive(Debug)]
pub(super) struct Books {
    published: HashMap<Action, IdSet>,
    published_twice: u64,
    announced: IdSet,
    /// Events that a job was sent for,
    jobs: IdSet,
    /// and the group that sends one for each that it handles.
    jobs_of: &'static str,
    groups: Vec<GroupBook>,
    displays: BTreeMap<String, DisplayBook>,
    strangers: Vec<String>,
}

/// What one group wrote down.
#[derive(Debug)]
pub(super) struct GroupBook {
    /// The group.
    pub(super) group: Group,
    /// Published events that it has to settle.
    pub(super) due: u64,
    handled: IdSet,
    /// Attempts of each event that failed.
    failed: HashMap<u64, u64>,
    /// Its dead letters and their reasons.
    pub(super) dead: BTreeMap<u64, String>,
    /// Events handled by each instance.
    pub(super) by_instance: BTreeMap<String, u64>,
    /// Failed attempts, each of which was tried again or ended among the dead letters.
    pub(super) retries: u64,
    /// Events that were handled at a later attempt than their first.
    late: HashMap<u64, u64>,
    /// Events handled again after they had been.
    pub(super) duplicates: u64,
    /// From publishing to handling, in microseconds.
    pub(super) latency_us: Histogram<u64>,
}

/// What one display wrote down.
#[derive(Debug)]
pub(super) struct DisplayBook {
    seen: IdSet,
    /// Messages that it saw twice.
    pub(super) seen_twice: u64,
    /// Messages that it was told it missed.
    pub(super) missed: u64,
    /// From publishing to showing, in microseconds.
    pub(super) latency_us: Histogram<u64>,
}

impl Books {
    /// Empty books of these groups and displays.
    pub(super) fn new(groups: &[Group], jobs_of: &'static str, displays: &[String]) -> Self {
        Self {
            published: Action::ALL.into_iter().map(|action| (action, IdSet::default())).collect(),
            published_twice: 0,
            announced: IdSet::default(),
            jobs: IdSet::default(),
            jobs_of,
            groups: groups.iter().copied().map(GroupBook::new).collect(),
            displays: displays.iter().map(|name| (name.clone(), DisplayBook::new())).collect(),
            strangers: Vec::new(),
        }
    }

    /// Enters one line of a ledger.
    pub(super) fn enter(&mut self, line: &Line<'_>) {
        match line.fact {
            Fact::Published(action) => self.publish(line.event, action),
            Fact::Announced => {
                self.announced.insert(line.event);
            }
            Fact::Sent => self.send(line.event),
            Fact::Handled { .. } | Fact::Failed(_) | Fact::DeadLettered(_) => {
                match self.groups.iter_mut().find(|book| book.group.name == line.group) {
                    Some(book) => book.enter(line),
                    None => self.strangers.push(format!("group {}", line.group)),
                }
            }
            Fact::Seen { .. } | Fact::Missed(_) => match self.displays.get_mut(line.instance) {
                Some(book) => book.enter(line),
                None => self.strangers.push(format!("display {}", line.instance)),
            },
        }
    }

    fn publish(&mut self, event: u64, action: Action) {
        let known = self.published.values().any(|ids| ids.contains(event));
        self.published.entry(action).or_default().insert(event);
        if known {
            self.published_twice += 1;
            return;
        }
        for book in &mut self.groups {
            book.due += u64::from(book.group.acts_on.contains(&action));
        }
    }

    /// A second job for an event is the first one's repetition, and what comes of it a duplicate.
    fn send(&mut self, event: u64) {
        if self.jobs.insert(event) {
            for book in self.groups.iter_mut().filter(|book| book.takes_jobs()) {
                book.due += 1;
            }
        }
    }

    /// Events published.
    pub(super) fn published(&self) -> u64 {
        self.published.values().map(IdSet::len).sum()
    }

    /// Messages announced on the channel.
    pub(super) fn announced(&self) -> u64 {
        self.announced.len()
    }

    /// Events published with this action.
    pub(super) fn published_as(&self, action: Action) -> u64 {
        self.published.get(&action).map_or(0, IdSet::len)
    }

    /// The books of the groups.
    pub(super) fn groups(&self) -> &[GroupBook] {
        &self.groups
    }

    /// The books of the displays by their names.
    pub(super) fn displays(&self) -> &BTreeMap<String, DisplayBook> {
        &self.displays
    }

    /// Whether as much is settled as was published; [`problems`](Self::problems) says whether it is the same.
    pub(super) fn settled(&self) -> bool {
        self.groups.iter().all(|book| book.settled() >= book.due)
            && self.displays.values().all(|book| book.accounted() >= self.announced())
    }

    /// Everything that does not balance, in sentences; empty if all does. `planned`: what the publisher had
    /// to publish.
    pub(super) fn problems(&self, planned: u64) -> Vec<String> {
        let mut problems = Vec::new();
        if self.published() != planned || self.published_twice > 0 {
            problems.push(format!(
                "the operations desk had {planned} events to publish and wrote down {} ({} of them twice)",
                self.published(),
                self.published_twice
            ));
        }
        for book in &self.groups {
            match book.takes_jobs() {
                true => book.compare(&[&self.jobs], &mut problems),
                false => {
                    let due = book.group.acts_on.iter().filter_map(|action| self.published.get(action));
                    book.compare(&due.collect::<Vec<_>>(), &mut problems);
                }
            }
            if book.group.name == self.jobs_of {
                let without = book.handled.iter().filter(|event| !self.jobs.contains(*event));
                complain(&mut problems, &format!("{} sent no job for", self.jobs_of), without);
            }
        }
        for (name, book) in &self.displays {
            if book.accounted() != self.announced() || book.seen_twice > 0 {
                problems.push(format!(
                    "{name} saw {} messages ({} of them twice) and was told that it missed {}, of {} announced",
                    book.seen(),
                    book.seen_twice,
                    book.missed,
                    self.announced()
                ));
            }
            let unknown = book.seen.iter().filter(|event| !self.announced.contains(*event));
            complain(&mut problems, &format!("{name} saw messages that nobody announced"), unknown);
        }
        problems.extend(self.strangers.iter().map(|name| format!("{name} is not part of this run")));
        problems
    }
}

impl GroupBook {
    fn new(group: Group) -> Self {
        Self {
            group,
            due: 0,
            handled: IdSet::default(),
            failed: HashMap::new(),
            dead: BTreeMap::new(),
            by_instance: BTreeMap::new(),
            retries: 0,
            late: HashMap::new(),
            duplicates: 0,
            latency_us: latencies(),
        }
    }

    fn enter(&mut self, line: &Line<'_>) {
        match line.fact {
            Fact::Handled { latency_us } => {
                self.duplicates += u64::from(!self.handled.insert(line.event));
                if line.attempt > 1 {
                    self.late.insert(line.event, line.attempt);
                }
                *self.by_instance.entry(line.instance.to_owned()).or_default() += 1;
                self.latency_us.saturating_record(latency_us);
            }
            Fact::Failed(_) => {
                *self.failed.entry(line.event).or_default() += 1;
                self.retries += 1;
            }
            Fact::DeadLettered(reason) => {
                self.dead.insert(line.event, reason.to_owned());
            }
            Fact::Published(_) | Fact::Announced | Fact::Sent | Fact::Seen { .. } | Fact::Missed(_) => {}
        }
    }

    /// Different events that its handlers did the work of.
    pub(super) fn handled(&self) -> u64 {
        self.handled.len()
    }

    /// Events handled at a later attempt than the failures on record explain: the instance of an attempt is
    /// gone, and another claimed them.
    pub(super) fn claims(&self) -> u64 {
        let failed = |event| self.failed.get(event).copied().unwrap_or(0);
        self.late.iter().filter(|(event, attempt)| **attempt > failed(event) + 1).count() as u64
    }

    /// Different events handled or dead-lettered.
    pub(super) fn settled(&self) -> u64 {
        let only_dead = self.dead.keys().filter(|event| !self.handled.contains(**event));
        self.handled() + only_dead.count() as u64
    }

    fn takes_jobs(&self) -> bool {
        self.group.acts_on.is_empty()
    }

    fn compare(&self, due: &[&IdSet], problems: &mut Vec<String>) {
        let name = self.group.name;
        let is_settled = |event| self.handled.contains(event) || self.dead.contains_key(&event);
        let lost = due.iter().flat_map(|ids| ids.iter()).filter(|event| !is_settled(*event));
        complain(problems, &format!("{name} neither handled nor dead-lettered"), lost);
        let settled = self.handled.iter().chain(self.dead.keys().copied());
        let unexpected = settled.filter(|event| !due.iter().any(|ids| ids.contains(*event)));
        complain(problems, &format!("{name} settled what nobody published for it"), unexpected);
    }
}

impl DisplayBook {
    fn new() -> Self {
        Self { seen: IdSet::default(), seen_twice: 0, missed: 0, latency_us: latencies() }
    }

    fn enter(&mut self, line: &Line<'_>) {
        match line.fact {
            Fact::Seen { latency_us } => {
                self.seen_twice += u64::from(!self.seen.insert(line.event));
                self.latency_us.saturating_record(latency_us);
            }
            Fact::Missed(count) => self.missed += count,
            _ => {}
        }
    }

    /// Different messages that it saw.
    pub(super) fn seen(&self) -> u64 {
        self.seen.len()
    }

    /// Messages that it saw or was told that it missed.
    pub(super) fn accounted(&self) -> u64 {
        self.seen() + self.missed
    }
}

/// Three digits are kept; what takes longer than an hour counts as an hour.
fn latencies() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 3_600_000_000, 3)
        .expect("the bounds are constants that the histogram takes")
}

/// Adds a sentence about `events`, if there is any.
fn complain(problems: &mut Vec<String>, what: &str, events: impl Iterator<Item = u64>) {
    let mut events: Vec<u64> = events.collect();
    if events.is_empty() {
        return;
    }
    events.sort_unstable();
    let named: Vec<_> = events.iter().take(NAMED_IDS).map(u64::to_string).collect();
    let more = if events.len() > NAMED_IDS { ", ..." } else { "" };
    problems.push(format!("{what}: {} ({}{more})", count(events.len(), "event"), named.join(", ")));
}

/// `1 event`, `2 events`.
fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICKETS: Group = Group { name: "tickets", acts_on: &[] };
    const DELAY: Group = Group { name: "delay", acts_on: &[Action::Departed, Action::Arrived] };

    /// A run in which all is right, one line per fact.
    const BALANCED: &[&str] = &[
        "1 operations operations-1 1 published flight.scheduled",
        "1 operations operations-1 1 announced -",
        "2 operations operations-1 1 published flight.departed",
        "2 operations operations-1 1 announced -",
        "3 operations operations-1 1 published flight.arrived",
        "4 operations operations-1 1 published flight.departed",
        "2 delay delay-1 1 handled 10",
        "3 delay delay-1 1 failed no",
        "3 delay delay-1 2 handled 20",
        "4 delay dead-letters-1 1 dead-lettered unreadable",
        "1 gates display-1 1 seen 5",
        "0 gates display-1 1 missed 1",
        "2 delay delay-1 1 sent -",
        "3 delay delay-1 1 sent -",
        "2 tickets tickets-1 1 handled 30",
        "3 tickets tickets-1 2 handled 30",
    ];

    fn books(lines: &[&str]) -> Books {
        let mut books = Books::new(&[DELAY, TICKETS], "delay", &["display-1".to_owned()]);
        for line in lines {
            let line = line.splitn(6, ' ').collect::<Vec<_>>().join("\t");
            books.enter(&Line::decode(&line).unwrap());
        }
        books
    }

    /// The balanced lines without number `without` and with `more` gives this one problem.
    #[track_caller]
    fn check(without: Option<usize>, more: &[&str], expected: &str) {
        let mut lines = BALANCED.to_vec();
        without.map(|line| lines.remove(line));
        lines.extend(more);
        assert_eq!(books(&lines).problems(4), [expected]);
    }

    #[test]
    fn balanced_books_have_no_problem() {
        let books = books(BALANCED);
        assert_eq!(books.problems(4), Vec::<String>::new());
        assert!(books.settled());
        let delay = &books.groups()[0];
        assert_eq!((delay.due, delay.handled(), delay.settled()), (3, 2, 3));
        assert_eq!((delay.retries, delay.claims(), delay.duplicates), (1, 0, 0));
    }

    #[test]
    fn every_missing_line_is_noticed() {
        check(Some(6), &[], "delay neither handled nor dead-lettered: 1 event (2)");
        check(Some(8), &[], "delay neither handled nor dead-lettered: 1 event (3)");
        check(Some(9), &[], "delay neither handled nor dead-lettered: 1 event (4)");
        let display =
            "display-1 saw 0 messages (0 of them twice) and was told that it missed 1, of 2 announced";
        check(Some(10), &[], display);
        let missed =
            "display-1 saw 1 messages (0 of them twice) and was told that it missed 0, of 2 announced";
        check(Some(11), &[], missed);
        check(Some(14), &[], "tickets neither handled nor dead-lettered: 1 event (2)");
        check(Some(0), &[], "the operations desk had 4 events to publish and wrote down 3 (0 of them twice)");
        for line in 0..BALANCED.len() {
            let mut lines = BALANCED.to_vec();
            let removed = lines.remove(line);
            // An attempt that failed and is not on record leaves the sums as they are.
            assert_eq!(books(&lines).problems(4).is_empty(), removed.contains("failed"), "{removed}");
        }
    }

    #[test]
    fn a_handled_event_without_its_job_is_noticed() {
        let mut lines = BALANCED.to_vec();
        lines.remove(12);
        let expected = [
            "delay sent no job for: 1 event (2)",
            "tickets settled what nobody published for it: 1 event (2)",
        ];
        assert_eq!(books(&lines).problems(4), expected);
    }

    #[test]
    fn what_nobody_published_is_noticed() {
        check(
            None,
            &[
                "1 delay delay-1 1 handled 10",
                "1 delay delay-1 1 sent -",
                "1 tickets tickets-1 1 handled 9",
                "9 delay delay-1 1 handled 10",
                "9 delay delay-1 1 sent -",
                "9 tickets tickets-1 1 handled 9",
            ],
            "delay settled what nobody published for it: 2 events (1, 9)",
        );
        check(None, &["2 repair repair-1 1 handled 10"], "group repair is not part of this run");
        check(None, &["2 gates display-7 1 seen 10"], "display display-7 is not part of this run");
    }

    #[test]
    fn a_claimed_event_may_be_handled_twice() {
        let mut lines = BALANCED.to_vec();
        lines.push("2 delay delay-2 2 handled 3000");
        let books = books(&lines);
        assert_eq!(books.problems(4), Vec::<String>::new());
        let delay = &books.groups()[0];
        assert_eq!((delay.claims(), delay.duplicates, delay.handled()), (1, 1, 2));
        assert_eq!(delay.by_instance["delay-2"], 1);
    }

    #[test]
    fn unsettled_events_keep_the_run_going() {
        assert!(!books(&BALANCED[..6]).settled());
        assert!(!books(&BALANCED[..11]).settled(), "the display misses one");
    }
}
