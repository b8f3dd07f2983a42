//! `cauce serve`: starts, refuses with a message that says what to do, stops when told to.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A running `cauce serve --memory --port 0 ...`; killed when dropped.
pub(crate) struct Server {
    pub(crate) process: Child,
    pub(crate) address: String,
}

impl Server {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_cauce"))
            .args(["serve", "--memory", "--port", "0"])
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let address = line.split_once("serving on ").unwrap().1.split_once(',').unwrap().0.to_owned();
        Self { process, address }
    }

    /// Sends inline commands and reads as many bytes as are expected.
    pub(crate) fn ask(&self, commands: &str, expected: &str) {
        ask(TcpStream::connect(&self.address).unwrap(), commands, expected);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn ask(mut stream: impl Read + Write, commands: &str, expected: &str) {
    stream.write_all(format!("{commands}\r\n").as_bytes()).unwrap();
    let mut reply = vec![0; expected.len()];
    stream.read_exact(&mut reply).unwrap();
    assert_eq!(String::from_utf8(reply).unwrap(), expected);
}

/// Runs `cauce serve` with arguments that it must refuse: its exit code and what it says.
fn refused(arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_cauce")).arg("serve").args(arguments).output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn it_serves_tcp_and_a_unix_socket() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let server = Server::start(&["--unix-socket", path.to_str().unwrap(), "--sync", "everysec"]);
    server.ask("SET k v", "+OK\r\n");
    ask(UnixStream::connect(&path).unwrap(), "GET k", "$1\r\nv\r\n");
}

#[test]
fn it_wants_the_password_that_it_was_given() {
    let server = Server::start(&["--requirepass", "secret"]);
    server.ask("PING", "-NOAUTH Authentication required.\r\n");
    server.ask("AUTH secret\r\nPING", "+OK\r\n+PONG\r\n");
}

#[test]
fn it_stops_on_sigterm() {
    let mut server = Server::start(&[]);
    server.ask("PING", "+PONG\r\n");
    let pid = server.process.id().to_string();
    assert!(Command::new("kill").arg(pid).status().unwrap().success());
    assert_eq!(server.process.wait().unwrap().code(), Some(0));
}

#[test]
fn a_taken_port_is_named() {
    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let (code, message) = refused(&["--memory", "--port", &port]);
    assert_eq!(code, Some(1));
    assert!(message.contains(&format!("cannot listen on 127.0.0.1:{port}")), "{message}");
    assert!(message.contains("--port"), "{message}");
}

#[test]
fn beyond_loopback_a_password_is_needed() {
    let (code, message) = refused(&["--memory", "--bind", "0.0.0.0", "--port", "0"]);
    assert_eq!(code, Some(1));
    assert!(message.contains("without a password") && message.contains("--requirepass"), "{message}");
}

#[test]
fn unknown_flags_and_values_are_wrong_usage() {
    for (arguments, hint) in [
        (&["--memori"][..], "--memory"),
        (&["--memory", "--sync", "sometimes"], "everysec"),
        (&["--memory", "--port", "70000"], "70000"),
        (&["--memory", "--dir", "x"], "cannot be used with"),
    ] {
        let (code, message) = refused(arguments);
        assert_eq!(code, Some(2), "{message}");
        assert!(message.contains(hint), "{message}");
    }
}

#[test]
fn ten_connections_that_say_half_a_command_disturb_nobody() {
    let server = Server::start(&[]);
    let mut silent: Vec<TcpStream> = (0..10).map(|_| TcpStream::connect(&server.address).unwrap()).collect();
    for stream in &mut silent {
        stream.write_all(b"*2\r\n$4\r\nECHO\r\n$100\r\nhalf").unwrap();
    }
    server.ask("PING", "+PONG\r\n");
    for stream in &mut silent {
        stream.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        assert!(stream.read(&mut [0]).is_err(), "nothing is answered before the command is whole");
    }
}

#[test]
fn it_can_be_ended_while_a_script_does_not_end() {
    let mut server = Server::start(&[]);
    server.ask("CONFIG SET busy-reply-threshold 20", "+OK\r\n");
    let mut stuck = TcpStream::connect(&server.address).unwrap();
    stuck.write_all(b"EVAL \"redis.call('SET','k','v') while true do end\" 0\r\n").unwrap();
    let mut operator = TcpStream::connect(&server.address).unwrap();
    let mut is_busy = || {
        operator.write_all(b"PING\r\n").unwrap();
        let mut line = String::new();
        BufReader::new(&operator).read_line(&mut line).unwrap();
        line.starts_with("-BUSY")
    };
    while !is_busy() {}
    // It says so for as long as that lasts: twice a second the broker also measures itself.
    let since = Instant::now();
    while since.elapsed() < Duration::from_millis(1200) {
        assert!(is_busy());
    }
    operator.write_all(b"SHUTDOWN NOSAVE\r\n").unwrap();
    assert!(server.process.wait().unwrap().success());
}
