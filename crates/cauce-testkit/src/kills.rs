//! `kill -9` under load, again and again, with a writer outside that keeps a ledger of what it was told.
//!
//! After each kill the server is started again on its directory, and must hold everything that was acknowledged, nothing
//! acknowledged may be pending again, and nothing may be gone that anybody was shown.

use std::collections::BTreeSet;
use std::fmt;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::wire::{Address, Connection, Value};

/// What went wrong, and in which round.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loss {
    /// Kills before it.
    pub round: u64,
    /// What was promised and is not so.
    pub what: String,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "after {} kills: {}", self.round, self.what)
    }
}

/// What happened in all rounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Work {
    /// Entries that were acknowledged to their publishers.
    pub added: usize,
    /// Acknowledgements of consumers that were confirmed.
    pub acknowledged: usize,
}

/// What an outsider knows.
#[derive(Debug, Default)]
struct Ledger {
    added: BTreeSet<String>,
    shown: BTreeSet<String>,
    acknowledged: BTreeSet<String>,
    counter: i64,
}

/// Starts what `command` makes, loads it and kills it, `rounds` times. The server must print `serving on HOST:PORT,` and
/// keep its data where it did before.
///
/// # Errors
///
/// The first [`Loss`].
///
/// # Panics
///
/// If the server does not start, or says what no server says.
pub fn rounds(rounds: u64, command: impl Fn() -> Command) -> Result<Work, Loss> {
    let ledger = Mutex::new(Ledger::default());
    for round in 0..=rounds {
        let mut server = Server::start(command());
        check(&server, &mut lock(&ledger)).map_err(|what| Loss { round, what })?;
        if round < rounds {
            server.ask("XGROUP CREATE s g 0 MKSTREAM");
            load(&mut server, &ledger);
        }
    }
    let ledger = lock(&ledger);
    assert!(rounds == 0 || ledger.counter > 0, "every kind of work was done");
    Ok(Work { added: ledger.added.len(), acknowledged: ledger.acknowledged.len() })
}

/// Compares what a server holds with what is known.
fn check(server: &Server, ledger: &mut Ledger) -> Result<(), String> {
    let range = server.ask("XRANGE s - +");
    let kept = first_texts(&range);
    let missing = |known: &BTreeSet<String>, what: &str| match known.difference(&kept).next() {
        Some(id) => Err(format!("entry {id} was {what} and is gone")),
        None => Ok(()),
    };
    missing(&ledger.added, "acknowledged")?;
    missing(&ledger.shown, "shown")?;
    let pending = first_texts(&server.ask("XPENDING s g - + 1000000"));
    if let Some(id) = ledger.acknowledged.intersection(&pending).next() {
        return Err(format!("entry {id} is pending, and its acknowledgement was confirmed"));
    }
    let number =
        |key: &str| server.ask(&format!("GET {key}")).text().map_or(0, |text| text.parse().unwrap_or(0));
    if number("counter") < ledger.counter {
        return Err(format!("the counter is {} and was {}", number("counter"), ledger.counter));
    }
    if number("left") != number("right") {
        return Err(format!("half a transaction: {} and {}", number("left"), number("right")));
    }
    // What is there now was shown to this one.
    ledger.shown.extend(kept);
    Ok(())
}

/// Adds, reads through a group, acknowledges, claims and counts, all at once, until enough was done and the server killed.
fn load(server: &mut Server, ledger: &Mutex<Ledger>) {
    let (added, acknowledged) = {
        let ledger = lock(ledger);
        (ledger.added.len() + 90, ledger.acknowledged.len() + 15)
    };
    let enough = |ledger: &Ledger| ledger.added.len() >= added && ledger.acknowledged.len() >= acknowledged;
    let (address, pid) = (&server.address, &server.pid);
    std::thread::scope(|scope| {
        for writer in 0..3 {
            scope.spawn(move || write(address, ledger, writer));
        }
        for consumer in ["a", "b"] {
            scope.spawn(move || consume(address, ledger, consumer));
        }
        scope.spawn(move || count(address, ledger));
        while !enough(&lock(ledger)) {
            std::thread::yield_now();
        }
        // Every thread ends when its connection does.
        let killed = Command::new("kill").args(["-9", pid]).status();
        assert!(killed.is_ok_and(|status| status.success()), "the server is there to be killed");
    });
    server.stop();
}

/// Pipelined, so that replies wait for several syncs at a time.
fn write(address: &Address, ledger: &Mutex<Ledger>, writer: u32) {
    let Ok(mut connection) = Connection::open(address) else { return };
    let writer = writer.to_string();
    loop {
        for _ in 0..8 {
            if connection.send(&["XADD", "s", "*", "by", &writer]).is_err() {
                return;
            }
        }
        for _ in 0..8 {
            let Ok(reply) = connection.receive() else { return };
            lock(ledger).added.extend(reply.text());
        }
    }
}

fn consume(address: &Address, ledger: &Mutex<Ledger>, consumer: &str) {
    let Ok(mut connection) = Connection::open(address) else { return };
    let read = ["XREADGROUP", "GROUP", "g", consumer, "COUNT", "5", "BLOCK", "50", "STREAMS", "s", ">"];
    let claim = ["XAUTOCLAIM", "s", "g", consumer, "5", "0", "COUNT", "3"];
    let mut turn = 0;
    loop {
        turn += 1;
        let Ok(reply) = connection.call(if turn % 4 == 0 { &claim[..] } else { &read[..] }) else { return };
        let place = if turn % 4 == 0 { Some(&reply) } else { reply.elements().and_then(<[Value]>::first) };
        let entries = place.and_then(|place| place.elements()?.get(1));
        let ids = entries.map(first_texts).unwrap_or_default();
        lock(ledger).shown.extend(ids.iter().cloned());
        // One in eight stays pending, for the other to claim.
        for id in ids.into_iter().enumerate().filter(|(index, _)| (index + turn) % 8 > 0).map(|(_, id)| id) {
            let Ok(reply) = connection.call(&["XACK", "s", "g", &id]) else { return };
            if reply == Value::Integer(1) {
                lock(ledger).acknowledged.insert(id);
            }
        }
    }
}

fn count(address: &Address, ledger: &Mutex<Ledger>) {
    let Ok(mut connection) = Connection::open(address) else { return };
    loop {
        let Ok(reply) = connection.call(&["INCR", "counter"]) else { return };
        lock(ledger).counter = reply.integer().unwrap_or_default();
        for command in [&["MULTI"][..], &["INCR", "left"], &["INCR", "right"], &["EXEC"]] {
            if connection.call(command).is_err() {
                return;
            }
        }
    }
}

/// The first element of each element, where that is a string.
fn first_texts(reply: &Value) -> BTreeSet<String> {
    let lists = reply.elements().unwrap_or_default().iter();
    lists.filter_map(|list| list.elements()?.first()?.text()).collect()
}

fn lock(ledger: &Mutex<Ledger>) -> MutexGuard<'_, Ledger> {
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A running server; killed when dropped.
#[derive(Debug)]
struct Server {
    process: Child,
    address: Address,
    pid: String,
}

impl Server {
    fn start(mut command: Command) -> Server {
        let mut process = command.stdout(Stdio::piped()).spawn().expect("the server can be started");
        let pid = process.id().to_string();
        let mut line = String::new();
        let mut output = BufReader::new(process.stdout.as_mut().expect("it is piped"));
        while !line.contains("serving on ") {
            line.clear();
            let read = output.read_line(&mut line).unwrap_or(0);
            assert!(read > 0, "the server ended at its start: {:?}", process.wait());
        }
        let address = line.split_once("serving on ").and_then(|(_, rest)| rest.split_once(','));
        let address = address.and_then(|(address, _)| address.parse().ok());
        Server { process, address: Address::Tcp(address.expect("an address follows")), pid }
    }

    fn ask(&self, command: &str) -> Value {
        let words: Vec<&str> = command.split(' ').collect();
        let reply = Connection::open(&self.address).and_then(|mut connection| connection.call(&words));
        reply.expect("the server answers")
    }

    fn stop(&mut self) {
        // It may have ended by itself.
        let _killed = self.process.kill();
        let _waited = self.process.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}
