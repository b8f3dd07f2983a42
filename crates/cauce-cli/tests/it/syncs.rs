//! The system calls of `cauce serve`, in order: no acknowledgement is sent before the sync returned that covers it, and the
//! name of a new file is synced before anything in it is acknowledged.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use cauce_testkit::wire::Value;

use crate::durable::Server;

/// What is looked at. Writes that sync by themselves would have to be added here.
const CALLS: &str = "trace=pwrite64,fdatasync,fsync,sendto,write,writev,rename";
/// Entries that are added, each large enough that the log goes on in a second file.
const ENTRIES: usize = 6;
const ENTRY_BYTES: usize = 1_000_000;

/// A system call, with the lines of the trace in which it began and returned.
#[derive(Debug)]
struct Call {
    name: String,
    /// Its arguments as they are shown, file names with descriptors.
    arguments: String,
    began: usize,
    returned: usize,
    failed: bool,
}

impl Call {
    /// The file that its first argument, a descriptor, stands for.
    fn file(&self) -> &str {
        self.arguments.split_once('<').and_then(|(_, rest)| rest.split_once('>')).map_or("", |(file, _)| file)
    }
}

/// Reads what `strace -f -y` wrote. A call that others interrupt stands in two lines.
fn read(trace: &str) -> Vec<Call> {
    let mut open: BTreeMap<&str, Call> = BTreeMap::new();
    let mut calls = Vec::new();
    for (line, text) in trace.lines().enumerate() {
        let Some((thread, text)) = text.split_once(' ') else { continue };
        let text = text.trim_start();
        if let Some((_, rest)) = text.split_once(" resumed>") {
            let Some(mut call) = open.remove(thread) else { continue };
            call.returned = line;
            call.failed = rest.contains("= -1");
            call.arguments += rest;
            calls.push(call);
        } else if let Some((name, arguments)) = text.split_once('(') {
            let (arguments, goes_on) = match arguments.split_once(" <unfinished ...>") {
                Some((arguments, _)) => (arguments, true),
                None => (arguments, false),
            };
            let call = Call {
                name: name.to_owned(),
                arguments: arguments.to_owned(),
                began: line,
                returned: line,
                failed: arguments.contains("= -1"),
            };
            if goes_on { drop(open.insert(thread, call)) } else { calls.push(call) }
        }
    }
    calls
}

/// The id of an entry, which tells it from all else in a trace.
fn id(number: usize) -> String {
    format!("70707{number}-1")
}

/// Whether each acknowledgement came after what it promises; says which one did not.
fn check(calls: &[Call], directory: &str) -> Result<(), String> {
    let syncs =
        || calls.iter().filter(|call| ["fsync", "fdatasync"].contains(&call.name.as_str()) && !call.failed);
    for number in 0..ENTRIES {
        let id = id(number);
        // The record holds the id in binary, so it is found by what the entry begins with.
        let mark = format!("entry-{number}-");
        let written = calls.iter().find(|call| call.name == "pwrite64" && call.arguments.contains(&mark));
        let written = written.ok_or_else(|| format!("{id} was written nowhere"))?;
        let replied = calls.iter().find(|call| {
            ["sendto", "write", "writev"].contains(&call.name.as_str()) && call.arguments.contains(&id)
        });
        let replied = replied.ok_or_else(|| format!("{id} was never acknowledged"))?;
        let file = written.file();
        let covers = |sync: &Call| {
            sync.file() == file && sync.began > written.returned && sync.returned < replied.began
        };
        if !syncs().any(covers) {
            return Err(format!("{id} was acknowledged before {file} was synced"));
        }
        let named = calls.iter().rfind(|call| {
            call.name == "rename"
                && call.arguments.contains(&format!("{file}\""))
                && call.began < written.began
        });
        let named = named.ok_or_else(|| format!("{file} was never made"))?;
        let holds = |sync: &Call| {
            sync.file() == directory && sync.began > named.returned && sync.returned < replied.began
        };
        if !syncs().any(holds) {
            return Err(format!("{id} was acknowledged before the name of {file} was synced"));
        }
    }
    Ok(())
}

/// Adds entries under strace, and checks the calls; nothing if there is no strace.
fn traced(arguments: &[&str]) -> Option<Result<(), String>> {
    if Command::new("strace").arg("-V").output().is_err() {
        println!("strace is not installed: the order of system calls is not checked");
        return None;
    }
    let place = tempfile::tempdir().unwrap();
    let (trace, directory) = (place.path().join("trace"), place.path().join("data"));
    let outer = ["strace", "-f", "-y", "-s", "5000", "-e", CALLS, "-o", trace.to_str().unwrap()];
    let mut server = Server::under(&outer, &directory, arguments);
    let mut connection = server.connect();
    for number in 0..ENTRIES {
        let id = id(number);
        let value = format!("entry-{number}-{}", "x".repeat(ENTRY_BYTES));
        let reply = connection.call(&["XADD", "s", &id, "f", &value]).unwrap();
        assert_eq!(reply, Value::Bulk(id.into_bytes()));
    }
    server.kill();
    let calls = read(&std::fs::read_to_string(&trace).unwrap());
    let files: Vec<&Call> = calls.iter().filter(|call| call.name == "rename").collect();
    assert!(files.len() >= 2, "the log goes on in a second file: {files:?}");
    Some(check(&calls, canonical(&directory).as_str()))
}

fn canonical(path: &Path) -> String {
    path.canonicalize().unwrap().to_str().unwrap().to_owned()
}

#[test]
fn no_acknowledgement_is_sent_before_the_sync_that_covers_it() {
    let Some(checked) = traced(&[]) else { return };
    checked.unwrap();
}

/// Built with the feature `seeded-faults` only.
#[cfg(feature = "seeded-faults")]
mod seeded_faults {
    use super::traced;

    #[test]
    fn a_log_that_skips_the_sync_is_caught() {
        let Some(checked) = traced(&["--seeded-fault", "skip-sync"]) else { return };
        let problem = checked.unwrap_err();
        assert!(problem.contains("was acknowledged before") && problem.contains("log-"), "{problem}");
    }

    #[test]
    fn a_log_that_acknowledges_before_the_sync_is_caught() {
        let Some(checked) = traced(&["--seeded-fault", "reply-before-sync"]) else { return };
        let problem = checked.unwrap_err();
        assert!(problem.contains("was acknowledged before") && problem.contains("log-"), "{problem}");
    }

    #[test]
    fn a_log_that_does_not_sync_names_is_caught() {
        let Some(checked) = traced(&["--seeded-fault", "skip-directory-sync"]) else { return };
        let problem = checked.unwrap_err();
        assert!(problem.contains("before the name of"), "{problem}");
    }
}
