//! The tools: `cauce queue`, `cauce stream`, `cauce group`, `cauce channel`, `cauce export`, on any broker; `cauce backup`,
//! `cauce restore`, `cauce log`, `cauce repair`, on a directory.
//!
//! Each verb says what it did in plain text, or with `--json` as one JSON value per line for other programs.

mod backup;
mod channel;
mod export;
mod group;
mod log;
mod queue;
mod repair;
mod stream;

pub(crate) use backup::{BackupArgs, RestoreArgs};
pub(crate) use channel::ChannelArgs;
pub(crate) use export::ExportArgs;
pub(crate) use group::GroupArgs;
pub(crate) use log::LogArgs;
pub(crate) use queue::QueueArgs;
pub(crate) use repair::RepairArgs;
pub(crate) use stream::StreamArgs;

use std::io::{BufRead, Write};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use cauce::{Bus, Fields};
use serde_json::{Map, Value, json};

/// Where the broker is, and how to answer.
#[derive(Debug, clap::Args)]
pub(crate) struct Common {
    /// The broker: redis://HOST:PORT, rediss://HOST:PORT, unix:PATH
    #[arg(long, global = true, env = "CAUCE_URL", default_value = "redis://127.0.0.1:6379")]
    url: String,
    /// Answer in JSON, one value per line
    #[arg(long, global = true)]
    json: bool,
}

impl Common {
    async fn connect(&self) -> anyhow::Result<Bus> {
        Ok(Bus::connect(&self.url).await?)
    }

    /// Prints one answer. A reader that has gone away ends the program in order.
    fn say(&self, value: &Value, text: &str) -> anyhow::Result<()> {
        let line = if self.json { value.to_string() } else { text.to_owned() };
        writeln!(std::io::stdout(), "{line}").context("the output can't be written")
    }

    /// Prints what was asked to be done and whether it was; the exit code tells too.
    fn done(&self, what: &str, done: bool) -> anyhow::Result<ExitCode> {
        self.say(&json!({ "done": done }), &format!("{what}: {}", if done { "done" } else { "not there" }))?;
        Ok(if done { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// Runs a tool on a small runtime.
pub(crate) fn run(tool: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(tool)
}

/// The arguments, or the lines of standard input where there are none.
fn given_or_lines(given: Vec<String>) -> anyhow::Result<Vec<String>> {
    if !given.is_empty() {
        return Ok(given);
    }
    let lines: Result<Vec<_>, _> = std::io::stdin().lock().lines().collect();
    lines.context("the standard input can't be read")
}

/// A table: the names of the columns, and rows of as many cells; numbers stand to the right.
fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let cell = |row: &Vec<String>, column: usize| row.get(column).cloned().unwrap_or_default();
    let width = |column| rows.iter().map(|row| cell(row, column).chars().count()).max().unwrap_or(0);
    let is_number = |text: &str| text.starts_with(|first: char| first.is_ascii_digit());
    let lines = rows.iter().enumerate().map(|(index, row)| {
        let cells = (0..columns).map(|column| {
            let (text, width) = (cell(row, column), width(column));
            let below = rows.get(index.max(1)).map(|row| cell(row, column)).unwrap_or_default();
            if is_number(&below) && column > 0 { format!("{text:>width$}") } else { format!("{text:width$}") }
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn row<const N: usize>(cells: [&dyn std::fmt::Display; N]) -> Vec<String> {
    cells.iter().map(ToString::to_string).collect()
}

fn seconds_since_1970(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

fn fields_as_json(fields: &Fields) -> Value {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let pairs = fields.iter().map(|(name, value)| (text(name), Value::String(text(value))));
    Value::Object(pairs.collect::<Map<_, _>>())
}

fn fields_as_text(fields: &Fields) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    fields.iter().map(|(name, value)| format!("{}={}", text(name), text(value))).collect::<Vec<_>>().join(" ")
}

/// A number of seconds, with fractions.
fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds.ok_or_else(|| "give a number of seconds".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_line_up() {
        let rows = [row([&"name", &"messages"]), row([&"jobs", &12]), row([&"longer-name", &3])];
        assert_eq!(table(&rows), "name         messages\njobs               12\nlonger-name         3");
        assert_eq!(table(&[]), "");
    }
}
