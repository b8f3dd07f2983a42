//! `cauce serve` on a disk that is full, slow, or refuses: what clients get, what is said, and how the process ends.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use cauce_testkit::wire::{Connection, Value};

use crate::durable::Server;

/// Nothing that is waited for takes as long.
const PATIENCE: Duration = Duration::from_secs(20);

/// System calls of a process that are tampered with, for as long as this lives.
struct Tampering(Child);

impl Tampering {
    /// As `strace -e inject=` has it; none where there is no strace, or it may not attach.
    fn begin(server: &Server, call: &str, how: &str) -> Option<Self> {
        let (trace, inject) = (format!("trace={call}"), format!("inject={call}:{how}"));
        let begun = Command::new("strace")
            .args(["-f", "-p", &server.pid, "-o", "/dev/null", "-e", &trace, "-e", &inject])
            .stderr(Stdio::piped())
            .spawn();
        let Ok(mut process) = begun else {
            println!("strace is not installed: the real process is not tested on a disk that fails");
            return None;
        };
        let mut line = String::new();
        BufReader::new(process.stderr.as_mut().unwrap()).read_line(&mut line).unwrap();
        let tampering = Self(process);
        if line.contains("attached") {
            return Some(tampering);
        }
        println!(
            "strace cannot attach here ({}): the real process is not tested on a disk that fails",
            line.trim()
        );
        None
    }
}

impl Drop for Tampering {
    fn drop(&mut self) {
        // Told to end, it lets the process go.
        let _ = Command::new("kill").arg(self.0.id().to_string()).status();
        let _ = self.0.wait();
    }
}

/// What the server has said when it has ended, and its exit code.
fn ended(server: &mut Server) -> (Option<i32>, String) {
    let mut said = String::new();
    server.process.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    (server.process.wait().unwrap().code(), said)
}

fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < PATIENCE, "waited in vain until {what}");
        std::thread::yield_now();
    }
}

fn info(connection: &mut Connection) -> String {
    connection.call(&["INFO", "persistence"]).unwrap().text().unwrap()
}

#[test]
fn a_disk_that_refuses_ends_the_process_with_its_own_code() {
    for (call, says) in [("fdatasync", "cannot sync log-"), ("pwrite64", "cannot write log-")] {
        let directory = tempfile::tempdir().unwrap();
        let mut server = Server::start(directory.path(), &[]);
        let mut client = server.connect();
        assert_eq!(client.call(&["SET", "a", "1"]).unwrap(), Value::Simple(b"OK".into()));
        let Some(tampering) = Tampering::begin(&server, call, "error=EIO") else { return };
        assert!(client.call(&["SET", "a", "2"]).is_err(), "{call}: nothing is answered that is not on disk");
        let (code, said) = ended(&mut server);
        drop(tampering);
        assert_eq!(code, Some(74), "{call}: {said}");
        assert!(said.contains(says) && said.contains("Input/output error"), "{call}: {said}");
        let server = Server::start(directory.path(), &[]);
        let kept = server.ask("GET a").text().unwrap();
        assert!(["1", "2"].contains(&kept.as_str()), "{call}: {kept}");
    }
}

#[test]
fn it_stays_for_those_who_read_if_it_is_told_to() {
    let directory = tempfile::tempdir().unwrap();
    let mut server = Server::start(directory.path(), &["--on-log-failure", "stay"]);
    let mut client = server.connect();
    assert_eq!(client.call(&["SET", "a", "1"]).unwrap(), Value::Simple(b"OK".into()));
    assert!(info(&mut client).contains("cauce_log_health:ok"));
    let Some(tampering) = Tampering::begin(&server, "fdatasync", "error=EIO") else { return };
    assert!(client.call(&["SET", "a", "2"]).is_err(), "nothing is answered that is not on disk");
    let mut client = server.connect();
    // What was written and not synced is not shown.
    until("it answers again", || {
        let answer = client.call(&["GET", "a"]);
        if answer.is_err() {
            client = server.connect();
        }
        answer.is_ok_and(|value| value.text().as_deref() == Some("1"))
    });
    for refused in
        [&["SET", "a", "3"][..], &["PUBLISH", "c", "m"], &["XGROUP", "CREATE", "s", "g", "0", "MKSTREAM"]]
    {
        let reply = client.call(refused).unwrap();
        let Value::Error(text) = &reply else { panic!("{refused:?}: {reply:?}") };
        assert!(text.starts_with(b"MISCONF The disk has refused a write"), "{reply:?}");
    }
    assert_eq!(client.call(&["PING"]).unwrap(), Value::Simple(b"PONG".into()));
    let info = info(&mut client);
    assert!(info.contains("aof_last_write_status:err") && info.contains("cauce_log_health:failed"), "{info}");
    assert!(info.contains("cauce_log_failure:cannot sync log-"), "{info}");
    drop(tampering);
    assert!(Command::new("kill").arg(&server.pid).status().unwrap().success());
    let (code, said) = ended(&mut server);
    assert_eq!(code, Some(74), "{said}");
    assert!(said.contains("cannot sync log-") && said.contains("staying for those who read"), "{said}");
    // Started again, it has what the disk has, and writes.
    let server = Server::start(directory.path(), &[]);
    let kept = server.ask("GET a").text().unwrap();
    assert!(["1", "2"].contains(&kept.as_str()), "{kept}");
    assert_eq!(server.ask("SET a 4"), Value::Simple(b"OK".into()));
}

#[test]
fn a_slow_disk_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let mut server = Server::start(directory.path(), &[]);
    let mut client = server.connect();
    client.call(&["SET", "a", "1"]).unwrap();
    // In microseconds.
    let Some(tampering) = Tampering::begin(&server, "fdatasync", "delay_exit=110000") else { return };
    let began = Instant::now();
    assert_eq!(client.call(&["SET", "a", "2"]).unwrap(), Value::Simple(b"OK".into()));
    assert!(began.elapsed() >= Duration::from_millis(100), "the reply waits for the sync");
    until("it is counted", || !info(&mut client).contains("cauce_log_slow_syncs:0"));
    let mut line = String::new();
    BufReader::new(server.process.stderr.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert!(line.contains("the disk is slow") && line.contains("replies wait"), "{line}");
    drop(tampering);
}

/// On real file systems, where they can be mounted: the log fills them, writes are refused, reads go on, and writes too as
/// soon as there is room.
#[test]
fn a_real_disk_that_is_full() {
    for kind in ["tmpfs", "ext4"] {
        let place = tempfile::tempdir().unwrap();
        match SmallDisk::mount(kind, place.path()) {
            Ok(disk) => fills(&disk, kind),
            Err(problem) => println!(
                "a small {kind} cannot be mounted here ({problem}); cauce-broker's tests fill a simulated disk"
            ),
        }
    }
}

fn fills(disk: &SmallDisk<'_>, kind: &str) {
    let ballast = disk.at().join("ballast");
    std::fs::write(&ballast, vec![1; 36 << 20]).unwrap();
    let directory = disk.at().join("data");
    let mut server = Server::start(&directory, &[]);
    let mut client = server.connect();
    let value = "x".repeat(64 * 1024);
    let mut add = || client.call(&["XADD", "s", "*", "f", &value]).unwrap();
    let mut written = 0;
    let refusal = loop {
        let reply = add();
        if reply.is_error() {
            break reply;
        }
        written += 1;
    };
    let full = "MISCONF Errors writing to the AOF file: No space left on device";
    assert_eq!(refusal, Value::Error(full.as_bytes().to_vec()), "{kind}");
    assert!(written > 100, "{kind}: {written}");
    assert_eq!(server.ask("XLEN s"), Value::Integer(written), "{kind}");
    let info = server.ask("INFO persistence").text().unwrap();
    assert!(
        info.contains("aof_last_write_status:err") && info.contains("cauce_log_health:full"),
        "{kind}: {info}"
    );
    let mut said = BufReader::new(server.process.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(said.any(|line| line.contains("the disk is full")), "{kind}");

    std::fs::remove_file(ballast).unwrap();
    until("there is room", || !add().is_error());
    written += 1;
    assert!(said.any(|line| line.contains("there is room on the disk again")), "{kind}");
    server.kill();
    let server = Server::start(&directory, &[]);
    assert_eq!(server.ask("XLEN s"), Value::Integer(written), "{kind}");
    assert!(!server.ask("XADD s * f v").is_error(), "{kind}");
}

/// A file system of 64 MB; gone when dropped.
struct SmallDisk<'a> {
    place: &'a Path,
}

impl<'a> SmallDisk<'a> {
    fn mount(kind: &str, place: &'a Path) -> Result<Self, String> {
        let (image, at) = (place.join("image"), place.join("disk"));
        std::fs::create_dir(&at).unwrap();
        if kind == "tmpfs" {
            run(Command::new("mount").args(["-t", "tmpfs", "-o", "size=64m", "tmpfs"]).arg(&at))?;
        } else {
            std::fs::File::create(&image).unwrap().set_len(64 << 20).unwrap();
            run(Command::new("mkfs.ext4").arg("-q").arg(&image))?;
            run(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&at))?;
        }
        Ok(Self { place })
    }

    fn at(&self) -> std::path::PathBuf {
        self.place.join("disk")
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| error.to_string())?;
    if output.status.success() {
        Ok(())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.at()).status();
    }
}
