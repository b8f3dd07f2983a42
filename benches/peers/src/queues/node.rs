//! The npm package `rsmq`, in a process of its own that is told what to do line by line.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, ensure};

use crate::server::{QUEUE, Server};
use crate::{Library, Work};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/queues/rsmq.mjs");

pub(crate) struct Node {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Node {
    pub(crate) fn start(server: &Server) -> anyhow::Result<Self> {
        let mut child = Command::new("node")
            .args([SCRIPT, &server.host, &server.port.to_string(), QUEUE])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("is node installed?")?;
        let input = child.stdin.take().context("asked for")?;
        let output = BufReader::new(child.stdout.take().context("asked for")?);
        Ok(Self { child, input, output })
    }
}

impl Library for Node {
    const NAME: &'static str = "npm rsmq";

    async fn run(&mut self, work: Work, messages: usize, in_flight: usize, body: &str) -> anyhow::Result<()> {
        let work = match work {
            Work::Send => "send",
            Work::ReceiveAndDelete => "receive",
            Work::Pop => "pop",
            Work::SendBatches => anyhow::bail!("it has no batches"),
        };
        writeln!(self.input, "{work} {messages} {in_flight} {}", body.len())?;
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        ensure!(line.trim() == "done", "node says: {line}; run `npm ci` in tests/node once");
        Ok(())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // It may have ended already; then there is nothing to end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
