//! What the services write down, each into a file of its own, before they acknowledge anything.
//!
//! A line is six fields between tabs: event, group, instance, attempt, what happened, and a detail. Every
//! line is one `write` to a file opened for appending: it survives the SIGKILL of its writer.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::events::Action;

/// The largest number that an event may have: what is larger is no line of a ledger.
const EVENT_MAX: u64 = 100_000_000;

/// Bytes of a ledger that are read at once.
const READ_MAX: u64 = 4 * 1024 * 1024;

/// One thing that happened to one event at one instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line<'a> {
    /// The event's id: its number in the order of publishing.
    pub(super) event: u64,
    /// Consumer group (or `operations`, `gates`).
    pub(super) group: &'a str,
    /// The process of the group.
    pub(super) instance: &'a str,
    /// Which attempt, from 1.
    pub(super) attempt: u64,
    /// What happened.
    pub(super) fact: Fact<'a>,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fact<'a> {
    /// The stream has it.
    Published(Action),
    /// The channel has it.
    Announced,
    /// A handler did its work, so long after the publishing.
    Handled { latency_us: u64 },
    /// A job was sent for it.
    Sent,
    /// A handler gave up this attempt.
    Failed(&'a str),
    /// It is among the group's dead letters, with this reason.
    DeadLettered(&'a str),
    /// A subscriber received it, so long after the publishing.
    Seen { latency_us: u64 },
    /// A subscriber was told that it missed so many.
    Missed(u64),
}

/// The file of one instance.
#[derive(Debug)]
pub(super) struct Ledger {
    file: File,
    group: String,
    instance: String,
    written: AtomicU64,
    /// The line that is not written, to show that the books notice it.
    dropped: Option<u64>,
}

impl Ledger {
    /// Opens the file of `instance` in `dir`.
    pub(super) fn open(dir: &Path, group: &str, instance: &str, dropped: Option<u64>) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path(dir, instance))?;
        let (group, instance) = (group.to_owned(), instance.to_owned());
        Ok(Self { file, group, instance, written: AtomicU64::new(0), dropped })
    }

    /// Writes one line of this instance.
    pub(super) fn write(&self, event: u64, attempt: u64, fact: Fact<'_>) -> io::Result<()> {
        let line = Line { event, group: &self.group, instance: &self.instance, attempt, fact };
        self.write_line(&line)
    }

    /// Writes one line about another group.
    pub(super) fn write_for(&self, group: &str, event: u64, attempt: u64, fact: Fact<'_>) -> io::Result<()> {
        self.write_line(&Line { event, group, instance: &self.instance, attempt, fact })
    }

    fn write_line(&self, line: &Line<'_>) -> io::Result<()> {
        if Some(self.written.fetch_add(1, Ordering::Relaxed)) == self.dropped {
            return Ok(());
        }
        (&self.file).write_all(line.encode().as_bytes())
    }
}

impl<'a> Line<'a> {
    fn encode(&self) -> String {
        let Self { event, group, instance, attempt, .. } = self;
        let (word, detail) = match &self.fact {
            Fact::Published(action) => ("published", action.name().to_owned()),
            Fact::Announced => ("announced", String::new()),
            Fact::Handled { latency_us } => ("handled", latency_us.to_string()),
            Fact::Sent => ("sent", String::new()),
            Fact::Failed(reason) => ("failed", one_line(reason)),
            Fact::DeadLettered(reason) => ("dead-lettered", one_line(reason)),
            Fact::Seen { latency_us } => ("seen", latency_us.to_string()),
            Fact::Missed(count) => ("missed", count.to_string()),
        };
        format!("{event}\t{group}\t{instance}\t{attempt}\t{word}\t{detail}\n")
    }

    /// Reads a line without its end; `None` if it is not one.
    pub(super) fn decode(line: &'a str) -> Option<Self> {
        let mut fields = line.splitn(6, '\t');
        let event = fields.next()?.parse().ok().filter(|event| *event <= EVENT_MAX)?;
        let (group, instance) = (fields.next()?, fields.next()?);
        let attempt = fields.next()?.parse().ok()?;
        let (word, detail) = (fields.next()?, fields.next()?);
        let fact = match word {
            "published" => Fact::Published(Action::named(detail)?),
            "announced" => Fact::Announced,
            "handled" => Fact::Handled { latency_us: detail.parse().ok()? },
            "sent" => Fact::Sent,
            "failed" => Fact::Failed(detail),
            "dead-lettered" => Fact::DeadLettered(detail),
            "seen" => Fact::Seen { latency_us: detail.parse().ok()? },
            "missed" => Fact::Missed(detail.parse().ok()?),
            _ => return None,
        };
        Some(Self { event, group, instance, attempt, fact })
    }
}

/// Reads a ledger while it is being written.
#[derive(Debug)]
pub(super) struct Reader {
    path: PathBuf,
    file: Option<File>,
    /// The beginning of a line whose end has not been written yet.
    partial: Vec<u8>,
}

impl Reader {
    /// Of `instance`'s ledger in `dir`; it need not exist yet.
    pub(super) fn new(dir: &Path, instance: &str) -> Self {
        Self { path: path(dir, instance), file: None, partial: Vec::new() }
    }

    /// Passes lines that were completed since the last call to `take`; true if there was one, and so there may
    /// be more.
    pub(super) fn read_new(&mut self, mut take: impl FnMut(&Line<'_>)) -> io::Result<bool> {
        if self.file.is_none() {
            self.file = match File::open(&self.path) {
                Ok(file) => Some(file),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
                Err(error) => return Err(error),
            };
        }
        let Some(file) = &self.file else { return Ok(false) };
        file.take(READ_MAX).read_to_end(&mut self.partial)?;
        let Some(end) = memchr::memrchr(b'\n', &self.partial) else { return Ok(false) };
        let text = std::str::from_utf8(&self.partial[..end]).map_err(io::Error::other)?;
        for line in text.split('\n') {
            let line = Line::decode(line).ok_or_else(|| {
                io::Error::other(format!("{} holds a line that is none: {line}", self.path.display()))
            })?;
            take(&line);
        }
        self.partial.drain(..=end);
        Ok(true)
    }
}

fn path(dir: &Path, instance: &str) -> PathBuf {
    dir.join(format!("{instance}.ledger"))
}

/// A reason as it fits between tabs on one line.
fn one_line(text: &str) -> String {
    text.replace(['\n', '\r', '\t'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(fact: Fact<'_>) {
        let line = Line { event: 7, group: "delay", instance: "delay-2", attempt: 3, fact };
        let encoded = line.encode();
        assert_eq!(encoded.matches('\n').count(), 1, "one line");
        assert_eq!(Line::decode(encoded.trim_end_matches('\n')).as_ref(), Some(&line));
    }

    #[test]
    fn lines_read_as_written() {
        check(Fact::Published(Action::Cancelled));
        check(Fact::Announced);
        check(Fact::Handled { latency_us: 1234 });
        check(Fact::Failed("no seat"));
        check(Fact::DeadLettered("expected value at line 1 column 1"));
        check(Fact::Seen { latency_us: 0 });
        check(Fact::Missed(12));
    }

    #[test]
    fn what_is_no_line_is_refused() {
        for line in [
            "",
            "7",
            "x\tdelay\tdelay-1\t1\thandled\t3",
            "100000001\td\td-1\t1\tannounced\t",
            "7\tdelay\tdelay-1\t1\tslept\t",
        ] {
            assert_eq!(Line::decode(line), None, "{line}");
        }
    }

    #[test]
    fn a_reason_stays_on_its_line() {
        let fact = Fact::Failed("a\tb\nc");
        let encoded = Line { event: 1, group: "g", instance: "i", attempt: 1, fact }.encode();
        assert_eq!(encoded, "1\tg\ti\t1\tfailed\ta b c\n");
    }

    #[test]
    fn a_reader_waits_for_the_end_of_a_line() {
        let dir = tempfile::tempdir().unwrap();
        let mut reader = Reader::new(dir.path(), "delay-1");
        let mut events = Vec::new();
        assert!(!reader.read_new(|line| events.push(line.event)).unwrap(), "no file yet");

        let ledger = Ledger::open(dir.path(), "delay", "delay-1", None).unwrap();
        ledger.write(1, 1, Fact::Handled { latency_us: 5 }).unwrap();
        (&ledger.file).write_all(b"2\tdelay\tdelay").unwrap();
        assert!(reader.read_new(|line| events.push(line.event)).unwrap());
        (&ledger.file).write_all(b"-1\t1\thandled\t9\n").unwrap();
        assert!(reader.read_new(|line| events.push(line.event)).unwrap());
        assert!(!reader.read_new(|line| events.push(line.event)).unwrap());
        assert_eq!(events, [1, 2]);
    }

    #[test]
    fn the_fault_drops_one_line() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(dir.path(), "delay", "delay-1", Some(1)).unwrap();
        for event in 1..=3 {
            ledger.write(event, 1, Fact::Handled { latency_us: 5 }).unwrap();
        }
        let mut events = Vec::new();
        Reader::new(dir.path(), "delay-1").read_new(|line| events.push(line.event)).unwrap();
        assert_eq!(events, [1, 3]);
    }
}
