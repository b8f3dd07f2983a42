//! `cauce serve --dir`: what was acknowledged outlives `kill -9`; damage, and an end in peace.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use cauce_testkit::kills;
use cauce_testkit::wire::{Address, Connection, Value};

/// A running `cauce serve --dir`; killed when dropped.
pub(crate) struct Server {
    pub(crate) process: Child,
    pub(crate) address: Address,
    /// Of the server itself, whatever it runs under.
    pub(crate) pid: String,
}

impl Server {
    pub(crate) fn start(directory: &Path, arguments: &[&str]) -> Self {
        Self::under(&[], directory, arguments)
    }

    /// Starts it as the child of another program.
    pub(crate) fn under(outer: &[&str], directory: &Path, arguments: &[&str]) -> Self {
        let words: Vec<&str> = outer.iter().copied().chain([env!("CARGO_BIN_EXE_cauce")]).collect();
        let mut process = Command::new(words[0])
            .args(&words[1..])
            .args(["serve", "--port", "0", "--dir"])
            .arg(directory)
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut output = BufReader::new(process.stdout.as_mut().unwrap());
        while !line.contains("serving on ") {
            line.clear();
            assert!(output.read_line(&mut line).unwrap() > 0, "it ended: {:?}", process.wait_with_output());
        }
        let address = line.split_once("serving on ").unwrap().1.split_once(',').unwrap().0;
        let address = Address::Tcp(address.parse().unwrap());
        let mut server = Self { process, address, pid: String::new() };
        server.pid = std::fs::read_to_string(directory.join("LOCK")).unwrap().trim().to_owned();
        server
    }

    /// `kill -9`, and waits for the end.
    pub(crate) fn kill(&mut self) {
        let _ = Command::new("kill").args(["-9", &self.pid]).stderr(Stdio::null()).status();
        let _ = self.process.wait();
    }

    pub(crate) fn connect(&self) -> Connection {
        Connection::open(&self.address).unwrap()
    }

    pub(crate) fn ask(&self, command: &str) -> Value {
        let words: Vec<&str> = command.split(' ').collect();
        self.connect().call(&words).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.pid.is_empty() {
            let _ = self.process.kill();
        }
        self.kill();
    }
}

fn survives_kills(arguments: &[&str], rounds: u64) {
    let directory = tempfile::tempdir().unwrap();
    let work = kills::rounds(rounds, || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cauce"));
        command.args(["serve", "--port", "0", "--dir"]).arg(directory.path()).args(arguments);
        command
    });
    let work = work.unwrap_or_else(|loss| panic!("{loss}"));
    println!("{work:?}");
    assert!(rounds == 0 || work.added > 0 && work.acknowledged > 0, "every kind of work was done");
}

/// `CAUCE_KILLS=200` for more of them.
fn kills() -> u64 {
    std::env::var("CAUCE_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(4)
}

#[test]
fn what_was_acknowledged_outlives_kill_9() {
    // Small, so that segments are used again and checkpoints written between two kills.
    survives_kills(&["--segment-bytes", "32768", "--checkpoint-after", "65536"], kills());
}

#[test]
fn without_syncs_too() {
    survives_kills(&["--sync", "everysec"], kills() / 2);
    survives_kills(&["--sync", "off"], kills() / 2);
}

#[test]
fn damage_is_refused_with_file_and_place() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path(), &[]);
    for number in 0..3 {
        server.ask(&format!("SET k {number}"));
    }
    drop(server);
    let path = directory.path().join("log-000000000001");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[4096 + 41] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let refused = Command::new(env!("CARGO_BIN_EXE_cauce"))
        .args(["serve", "--port", "0", "--dir"])
        .arg(directory.path())
        .output()
        .unwrap();
    assert_eq!(refused.status.code(), Some(1));
    let message = String::from_utf8(refused.stderr).unwrap();
    assert!(
        message.contains("log-000000000001 is damaged at byte 4096, where record 1 should be"),
        "{message}"
    );
    let command = format!("`cauce repair {}`", directory.path().display());
    assert!(message.contains(&command), "{message}");
}

#[test]
fn stopping_in_peace_keeps_everything() {
    let directory = tempfile::tempdir().unwrap();
    let mut server = Server::start(directory.path(), &["--sync", "off"]);
    server.ask("SET k v");
    assert!(Command::new("kill").arg(&server.pid).status().unwrap().success());
    assert_eq!(server.process.wait().unwrap().code(), Some(0));
    let server = Server::start(directory.path(), &[]);
    assert_eq!(server.ask("GET k").text().as_deref(), Some("v"));
}
