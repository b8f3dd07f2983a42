//! A child process that is talked to line by line, and never waited for without a limit.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use crate::server::root;

/// Far above what any line takes on a loaded machine.
const LINE_TIMEOUT: Duration = Duration::from_secs(60);

/// A child process; killed when dropped.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    seen: VecDeque<String>,
}

impl Process {
    /// Starts `program arguments...` in the root of the repository. What it writes to stderr goes among its lines.
    pub(crate) fn start(program: &str, arguments: &[&str]) -> Process {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(root());
        Process::spawn(command)
    }

    pub(crate) fn spawn(mut command: Command) -> Process {
        let name = format!("{command:?}");
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{name} cannot be started ({error}); run ./test once"));
        let (sender, lines) = mpsc::channel();
        forward(child.stdout.take().expect("piped"), sender.clone());
        forward(child.stderr.take().expect("piped"), sender);
        let stdin = child.stdin.take();
        Process { name, child, stdin, lines, seen: VecDeque::new() }
    }

    /// `node SCRIPT arguments...`, the script below `tests/node`.
    pub(crate) fn node(script: &str, arguments: &[&str]) -> Process {
        Process::start("node", &[&[&*format!("tests/node/{script}")], arguments].concat())
    }

    /// `python SCRIPT arguments...` with the packages of `.venv`, the script below `tests/python`.
    pub(crate) fn python(script: &str, arguments: &[&str]) -> Process {
        Process::start(".venv/bin/python", &[&["-u", &*format!("tests/python/{script}")], arguments].concat())
    }

    /// The next line, or `None` when the process has closed its output.
    pub(crate) fn line(&mut self) -> Option<String> {
        match self.lines.recv_timeout(LINE_TIMEOUT) {
            Ok(line) => {
                self.seen.push_back(line.clone());
                Some(line)
            }
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => {
                panic!("{} is silent for {LINE_TIMEOUT:?} after {:#?}", self.name, self.seen)
            }
        }
    }

    /// Reads on until a line begins with `start`, and returns that line.
    pub(crate) fn line_with(&mut self, start: &str) -> String {
        loop {
            let line = self.line();
            let line =
                line.unwrap_or_else(|| panic!("{} ended without `{start}`: {:#?}", self.name, self.seen));
            if line.starts_with(start) {
                return line;
            }
        }
    }

    /// How many lines begin with `start`, of all that it has written until now.
    pub(crate) fn count(&mut self, start: &str) -> usize {
        self.seen.extend(self.lines.try_iter());
        self.seen.iter().filter(|line| line.starts_with(start)).count()
    }

    /// Writes a line to the process.
    pub(crate) fn tell(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("still open");
        writeln!(stdin, "{line}").unwrap_or_else(|error| panic!("{}: {error}", self.name));
    }

    /// Closes its input, reads to the end, and returns everything that it wrote; it must have ended with success.
    pub(crate) fn finish(mut self) -> Vec<String> {
        self.stdin = None;
        while self.line().is_some() {}
        let status = self.child.wait().expect("our own child");
        assert!(status.success(), "{} ended with {status}: {:#?}", self.name, self.seen);
        self.seen.drain(..).collect()
    }

    /// Ends it as a power cut would (SIGKILL).
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("our own child, still there");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only when the process is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Polls until the condition holds; panics with its name when it takes too long.
pub(crate) fn until(condition: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < LINE_TIMEOUT, "in vain waited until {condition}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Hands over what a pipe says, line by line, until it closes.
fn forward(pipe: impl Read + Send + 'static, lines: mpsc::Sender<String>) {
    thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            if lines.send(line).is_err() {
                return;
            }
        }
    });
}
