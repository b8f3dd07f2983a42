//! `cauce log`: what a directory's log and checkpoint say.

use std::convert::Infallible;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use cauce_engine::{Description, Detail, describe};
use cauce_log::{
    Inspection, LogEnd, OpenError, PlacedRecord, ReadOnlyStorage, checkpoint_position, inspect,
    look_at_checkpoint, while_unchanged,
};
use serde_json::{Map, Value, json};

/// Shows the records of a directory's log, one per line, and then how it ends.
///
/// Only reads, also while a server works in the directory: then it shows what had been written when it began.
///
/// Exit codes: 0 the log is whole, or its end is torn (what was never confirmed is cut off at the next start); 3 it is damaged.
#[derive(Debug, clap::Args)]
pub(crate) struct LogArgs {
    /// The directory
    dir: PathBuf,
    /// The records of the checkpoint instead: the state that it stands for
    #[arg(long)]
    checkpoint: bool,
    /// From this record on
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    from: u64,
    /// Up to this record
    #[arg(long, value_name = "NUMBER", default_value_t = u64::MAX, hide_default_value = true)]
    to: u64,
    /// Only these effects, as the lines name them: append, ack, set-string, …; may be given several times
    #[arg(long, value_name = "NAME")]
    effect: Vec<String>,
    /// Only what concerns this key
    #[arg(long)]
    key: Option<String>,
    /// Answer in JSON, one value per line
    #[arg(long)]
    json: bool,
}

/// Exit code for a damaged log.
pub(super) const DAMAGED: u8 = 3;

impl LogArgs {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        match self.show() {
            // Whoever read it has seen enough.
            Err(error) if is_broken_pipe(&error) => Ok(ExitCode::SUCCESS),
            shown => shown,
        }
    }

    fn show(&self) -> anyhow::Result<ExitCode> {
        let storage = ReadOnlyStorage::open(&self.dir);
        let storage = storage.with_context(|| format!("cannot look at {}", self.dir.display()))?;
        let mut out = BufWriter::new(io::stdout().lock());
        if self.checkpoint {
            return self.show_checkpoint(&storage, &mut out);
        }
        let mut shown = self.from - self.from.min(1);
        let inspection = while_unchanged(&storage, || {
            inspect(&storage, self.from, |placed| {
                // What a first attempt showed is not shown again.
                if placed.number > shown && placed.number <= self.to {
                    shown = placed.number;
                    self.record(&placed, &mut out)?;
                }
                Ok::<_, io::Error>(())
            })
        });
        let inspection = inspection.map_err(anyhow::Error::from)?;
        let position = checkpoint_position::<Infallible>(&storage);
        self.summary(&inspection, position.as_ref().ok().copied().flatten(), &mut out)?;
        if let Err(error) = &position {
            writeln!(
                out,
                "{}",
                if self.json {
                    json!({ "checkpoint": error.to_string() }).to_string()
                } else {
                    error.to_string()
                }
            )?;
        }
        out.flush()?;
        let damaged = position.is_err() || matches!(inspection.end, LogEnd::Damaged(..));
        Ok(if damaged { ExitCode::from(DAMAGED) } else { ExitCode::SUCCESS })
    }

    fn show_checkpoint(&self, storage: &ReadOnlyStorage, out: &mut impl Write) -> anyhow::Result<ExitCode> {
        let mut number = 0;
        let position = look_at_checkpoint(storage, |record| {
            number += 1;
            if number < self.from || number > self.to {
                return Ok(());
            }
            self.line(json!({ "part": number }), &number.to_string(), record, out)
        });
        match position {
            Ok(position) => {
                let text = match position {
                    Some(position) => {
                        format!("{number} records make the state behind record {position} of the log")
                    }
                    None => "there is no checkpoint".to_owned(),
                };
                let value = json!({ "summary": { "checkpoint": position, "records": number } });
                writeln!(out, "{}", if self.json { value.to_string() } else { text })?;
                out.flush()?;
                Ok(ExitCode::SUCCESS)
            }
            Err(OpenError::Damaged(damage)) => {
                writeln!(out, "{damage}")?;
                out.flush()?;
                Ok(ExitCode::from(DAMAGED))
            }
            Err(other) => Err(other.into()),
        }
    }

    fn record(&self, placed: &PlacedRecord<'_>, out: &mut impl Write) -> io::Result<()> {
        let place = json!({ "number": placed.number, "file": placed.file, "offset": placed.offset });
        let text = format!("{} {}@{}", placed.number, placed.file, placed.offset);
        self.line(place, &text, placed.bytes, out)
    }

    /// Shows one record if it is asked for.
    fn line(&self, mut value: Value, place: &str, record: &[u8], out: &mut impl Write) -> io::Result<()> {
        let described = match describe(record) {
            Ok(described) => described,
            Err(error) => {
                value["error"] = error.to_string().into();
                value["bytes"] = BASE64_STANDARD.encode(record).into();
                let text = format!("{place} cannot be read: {error}");
                return writeln!(out, "{}", if self.json { value.to_string() } else { text });
            }
        };
        let other_effect =
            !self.effect.is_empty() && !self.effect.iter().any(|name| name == described.effect);
        let other_key = self.key.as_ref().is_some_and(|key| key.as_bytes() != described.key);
        if other_effect || other_key {
            return Ok(());
        }
        if self.json {
            value["effect"] = described.effect.into();
            value["database"] = described.database.into();
            value["key"] = text_as_json(described.key);
            for (name, detail) in &described.details {
                value[*name] = as_json(detail);
            }
            return writeln!(out, "{value}");
        }
        writeln!(out, "{place} {}", as_text(&described))
    }

    fn summary(&self, found: &Inspection, checkpoint: Option<u64>, out: &mut impl Write) -> io::Result<()> {
        let first = found.segments.first().map_or(1, |segment| segment.first);
        let (state, what) = match &found.end {
            LogEnd::Torn(torn) => ("torn", Some(torn.to_string())),
            LogEnd::Damaged(damage, _) => ("damaged", Some(damage.to_string())),
            _ => ("whole", None),
        };
        if self.json {
            let segments = found.segments.iter().map(|segment| {
                json!({ "file": segment.file, "first": segment.first, "bytes": segment.bytes, "end": segment.end })
            });
            let summary = json!({
                "checkpoint": checkpoint, "first": first, "last": found.last, "end": state, "problem": what,
                "segments": segments.collect::<Vec<_>>(),
            });
            return writeln!(out, "{}", json!({ "summary": summary }));
        }
        let records = match found.last >= first {
            true => format!("records {first} to {}", found.last),
            false => "no records".to_owned(),
        };
        let checkpoint = match checkpoint {
            Some(position) => format!("a checkpoint stands for those up to {position}"),
            None => "there is no checkpoint".to_owned(),
        };
        writeln!(out, "{records} in {} segments; {checkpoint}", found.segments.len())?;
        what.map_or(Ok(()), |what| writeln!(out, "{what}"))
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let causes = error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>());
    causes.into_iter().any(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

fn as_text(described: &Description<'_>) -> String {
    let mut text = format!("{} db{} {}", described.effect, described.database, quoted(described.key));
    for (name, detail) in &described.details {
        let value = match detail {
            Detail::Number(number) => number.to_string(),
            Detail::Text(bytes) => quoted(bytes),
            Detail::Word(word) => (*word).to_owned(),
            Detail::Id(id) => id.to_string(),
            Detail::Ids(ids) => list(ids.iter().map(ToString::to_string)),
            Detail::Texts(texts) => list(texts.iter().map(|bytes| quoted(bytes))),
            Detail::Scored(scored) => {
                list(scored.iter().map(|(score, member)| format!("{}:{score}", quoted(member))))
            }
            Detail::Deliveries(entries) => list(entries.iter().map(|(id, at, count)| {
                let at = at.map(|at| format!("@{at}")).unwrap_or_default();
                format!("{id}{at}x{count}")
            })),
            other => format!("{other:?}"),
        };
        text.push_str(&format!(" {name}={value}"));
    }
    text
}

fn list(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(" "))
}

/// In double quotes, with `\xHH` and the like for what is no printable ASCII.
fn quoted(bytes: &[u8]) -> String {
    format!("\"{}\"", bytes.escape_ascii())
}

fn as_json(detail: &Detail<'_>) -> Value {
    match detail {
        Detail::Number(number) => (*number).into(),
        Detail::Text(bytes) => text_as_json(bytes),
        Detail::Word(word) => (*word).into(),
        Detail::Id(id) => id.to_string().into(),
        Detail::Ids(ids) => ids.iter().map(ToString::to_string).collect(),
        Detail::Texts(texts) => texts.iter().map(|bytes| text_as_json(bytes)).collect(),
        Detail::Scored(scored) => scored
            .iter()
            .map(|(score, member)| json!({ "member": text_as_json(member), "score": score.to_string() }))
            .collect(),
        Detail::Deliveries(entries) => entries
            .iter()
            .map(|(id, at, count)| {
                let mut entry = Map::new();
                entry.insert("id".to_owned(), id.to_string().into());
                entry.extend(at.map(|at| ("delivered-at-ms".to_owned(), at.into())));
                entry.insert("deliveries".to_owned(), (*count).into());
                Value::Object(entry)
            })
            .collect(),
        other => format!("{other:?}").into(),
    }
}

/// A string, or `{"base64": …}` where the bytes are no text.
fn text_as_json(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => json!({ "base64": BASE64_STANDARD.encode(bytes) }),
    }
}
