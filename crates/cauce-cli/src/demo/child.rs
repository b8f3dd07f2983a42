//! A part of the demo as a process of its own: this same program, called again.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use anyhow::Context;

use super::desks::HOLD;
use super::signal::Signal;

/// A running part. Its standard input stays open as long as its conductor lives: its end tells the part to
/// finish, whether the conductor closed it or died.
#[derive(Debug)]
pub(super) struct Part {
    /// Which instance it is.
    pub(super) instance: String,
    process: Child,
    input: Option<ChildStdin>,
    log: std::path::PathBuf,
}

impl Part {
    /// Starts `instance` with these arguments; what it signals goes to `signals`, what it complains about to
    /// a file in `dir`.
    pub(super) fn start(
        instance: &str,
        arguments: &[String],
        dir: &Path,
        signals: Sender<(String, Signal)>,
    ) -> anyhow::Result<Self> {
        let log = dir.join(format!("{instance}.log"));
        let mut process = Command::new(std::env::current_exe()?)
            .args(["demo", "part"])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(&log)?)
            .spawn()
            .with_context(|| format!("can't start {instance}"))?;
        let input = process.stdin.take();
        let output = process.stdout.take().context("a child's output was asked for")?;
        let name = instance.to_owned();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let Some(signal) = Signal::decode(&line) else { continue };
                if signals.send((name.clone(), signal)).is_err() {
                    return;
                }
            }
            // Nobody listens any more once the run is over.
            let _ = signals.send((name, Signal::Gone));
        });
        Ok(Self { instance: instance.to_owned(), process, input, log })
    }

    /// Tells it to finish what it has begun, and to end.
    pub(super) fn finish(&mut self) {
        self.input = None;
    }

    /// Tells it to hold the next event that it gets.
    pub(super) fn hold(&mut self) -> anyhow::Result<()> {
        let input = self.input.as_mut().with_context(|| format!("{} is finishing", self.instance))?;
        writeln!(input, "{HOLD}").with_context(|| format!("can't reach {}", self.instance))
    }

    /// Ends it in mid-work, as `kill -9` does.
    pub(super) fn kill(&mut self) -> anyhow::Result<()> {
        self.process.kill().with_context(|| format!("can't kill {}", self.instance))?;
        self.process.wait().with_context(|| format!("can't wait for {}", self.instance))?;
        Ok(())
    }

    /// Waits until it has ended; after `deadline` it is killed. `None` if it had to be.
    pub(super) fn wait(&mut self, deadline: Instant) -> anyhow::Result<Option<ExitStatus>> {
        loop {
            if let Some(status) = self.process.try_wait()? {
                return Ok(Some(status));
            }
            if Instant::now() >= deadline {
                self.kill()?;
                return Ok(None);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The last lines of what it complained about.
    pub(super) fn complaints(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(5)..].join("\n")
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // It may have ended already; then there is nothing to end.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
