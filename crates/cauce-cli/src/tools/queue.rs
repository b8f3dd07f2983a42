//! `cauce queue`: queues in RSMQ's layout, also those of other programs.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::ensure;
use cauce::{DeadMessage, Message, MessageId, Queue, QueueAttributes, QueueChanges, QueueOptions, Queues};
use clap::Subcommand;
use serde_json::{Value, json};

use super::{Common, given_or_lines, row, seconds, seconds_since_1970, table};

/// Queues in RSMQ's layout: looks at them, sends, receives, redrives.
#[derive(Debug, clap::Args)]
pub(crate) struct QueueArgs {
    #[command(flatten)]
    common: Common,
    /// The namespace (RSMQ's `ns`)
    #[arg(long, global = true, default_value = "rsmq")]
    ns: String,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Lists the queues
    Ls,
    /// Creates a queue
    Create {
        name: String,
        #[command(flatten)]
        settings: Settings,
    },
    /// Deletes a queue and its messages
    Rm { name: String },
    /// Shows a queue's attributes, after changing those that are given
    Attrs {
        name: String,
        #[command(flatten)]
        settings: Settings,
    },
    /// Sends messages: the arguments, or the lines of standard input
    Send {
        name: String,
        messages: Vec<String>,
        /// Seconds until they are visible [default: the queue's]
        #[arg(long, value_parser = seconds)]
        delay: Option<Duration>,
    },
    /// Receives messages; they come again unless they are deleted
    Receive {
        name: String,
        #[arg(long, default_value_t = 1)]
        count: usize,
        /// Seconds for which they are hidden from others [default: the queue's]
        #[arg(long, value_parser = seconds)]
        vt: Option<Duration>,
        /// Wait so many seconds for the first one
        #[arg(long, value_parser = seconds, conflicts_with_all = ["count", "vt"])]
        wait: Option<Duration>,
    },
    /// Receives and deletes messages
    Pop {
        name: String,
        #[arg(long, default_value_t = 1)]
        count: usize,
    },
    /// Deletes messages
    Delete {
        name: String,
        #[arg(required = true)]
        ids: Vec<MessageId>,
    },
    /// Makes a message visible so many seconds from now; 0 is at once
    Visibility {
        name: String,
        id: MessageId,
        #[arg(value_parser = seconds)]
        vt: Duration,
    },
    /// Moves a message to another queue
    Move { from: String, id: MessageId, to: String },
    /// Shows the dead letters of a queue (those in NAME-dead)
    Dead {
        name: String,
        #[arg(long, default_value_t = 100)]
        count: usize,
        /// The queue that holds them [default: NAME-dead]
        #[arg(long, value_name = "QUEUE")]
        letters: Option<String>,
        /// Put this one back to its queue, or with `all` those that are shown
        #[arg(long, value_name = "ID|all")]
        redrive: Option<String>,
    },
}

#[derive(Debug, clap::Args)]
struct Settings {
    /// Seconds for which received messages are hidden from others
    #[arg(long, value_parser = seconds)]
    vt: Option<Duration>,
    /// Seconds until sent messages are visible
    #[arg(long, value_parser = seconds)]
    delay: Option<Duration>,
    /// Longest message in UTF-16 units, 1024 to 65536; -1 for no limit
    #[arg(long, allow_negative_numbers = true, value_parser = maxsize)]
    maxsize: Option<MaxSize>,
}

/// A limit, or none.
#[derive(Debug, Clone, Copy)]
struct MaxSize(Option<u32>);

fn maxsize(text: &str) -> Result<MaxSize, &'static str> {
    match text {
        "-1" => Ok(MaxSize(None)),
        _ => text
            .parse()
            .map(|size| MaxSize(Some(size)))
            .map_err(|_| "give a number from 1024 to 65536, or -1"),
    }
}

impl Settings {
    fn options(&self) -> QueueOptions {
        let mut options = QueueOptions::new();
        if let Some(vt) = self.vt {
            options = options.vt(vt);
        }
        if let Some(delay) = self.delay {
            options = options.delay(delay);
        }
        if let Some(MaxSize(maxsize)) = self.maxsize {
            options = options.maxsize(maxsize);
        }
        options
    }

    /// Nothing if nothing is given.
    fn changes(&self) -> Option<QueueChanges> {
        let mut changes = QueueChanges::new();
        if let Some(vt) = self.vt {
            changes = changes.vt(vt);
        }
        if let Some(delay) = self.delay {
            changes = changes.delay(delay);
        }
        if let Some(MaxSize(maxsize)) = self.maxsize {
            changes = changes.maxsize(maxsize);
        }
        (changes != QueueChanges::new()).then_some(changes)
    }
}

impl QueueArgs {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let Self { common, ns, verb } = self;
        let queues = common.connect().await?.queues().namespace(ns);
        match verb {
            Verb::Ls => list(&common, &queues).await?,
            Verb::Create { name, settings } => {
                queues.create(&name, &settings.options()).await?;
                return common.done(&format!("create {name}"), true);
            }
            Verb::Rm { name } => {
                queues.delete(&name).await?;
                return common.done(&format!("delete {name}"), true);
            }
            Verb::Attrs { name, settings } => {
                let queue = queues.queue(&name)?;
                let attributes = match settings.changes() {
                    Some(changes) => queue.set_attributes(&changes).await?,
                    None => queue.attributes().await?,
                };
                let value = shown(&name, &attributes);
                let text: Vec<_> =
                    value.as_object().into_iter().flatten().map(|(name, value)| row([name, value])).collect();
                common.say(&value, &table(&text))?;
            }
            Verb::Send { name, messages, delay } => {
                send(&common, &queues.queue(&name)?, messages, delay).await?;
            }
            Verb::Receive { name, count, vt, wait } => {
                let queue = queues.queue(&name)?;
                let messages = match wait {
                    Some(wait) => queue.receive_wait(wait).await?.into_iter().collect(),
                    None => queue.receive_many(count, vt).await?,
                };
                return say_messages(&common, &messages);
            }
            Verb::Pop { name, count } => {
                return say_messages(&common, &queues.queue(&name)?.pop_many(count).await?);
            }
            Verb::Delete { name, ids } => {
                let (queue, mut all) = (queues.queue(&name)?, true);
                for id in ids {
                    let deleted = queue.delete(id).await?;
                    common.done(&format!("delete {id}"), deleted)?;
                    all &= deleted;
                }
                return Ok(if all { ExitCode::SUCCESS } else { ExitCode::FAILURE });
            }
            Verb::Visibility { name, id, vt } => {
                let changed = queues.queue(&name)?.change_visibility(id, vt).await?;
                return common.done(&format!("visibility of {id}"), changed);
            }
            Verb::Move { from, id, to } => {
                let moved = queues.queue(&from)?.move_to(id, &queues.queue(&to)?).await?;
                return common.done(&format!("move {id} to {to}"), moved);
            }
            Verb::Dead { name, count, letters, redrive } => {
                let queue = queues.queue(&name)?;
                let dead = match letters {
                    Some(letters) => queues.queue(&letters)?,
                    None => queue.dead_letter_queue()?,
                };
                return dead_letters(&common, &dead, count, redrive.as_deref()).await;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

async fn list(common: &Common, queues: &Queues) -> anyhow::Result<()> {
    let mut rows = vec![row([&"queue", &"messages", &"hidden", &"sent", &"received", &"vt", &"delay"])];
    for name in queues.list().await? {
        match queues.queue(&name)?.attributes().await {
            Ok(all) if common.json => common.say(&shown(&name, &all), "")?,
            Ok(all) => rows.push(row([
                &name,
                &all.msgs,
                &all.hiddenmsgs,
                &all.totalsent,
                &all.totalrecv,
                &all.vt.as_secs(),
                &all.delay.as_secs(),
            ])),
            // One that can't be read does not hide the others.
            Err(error) if common.json => common.say(&json!({ "name": name, "error": error.code() }), "")?,
            Err(error) => rows.push(vec![name, error.code().to_owned()]),
        }
    }
    if !common.json {
        common.say(&Value::Null, &table(&rows))?;
    }
    Ok(())
}

async fn send(
    common: &Common,
    queue: &Queue,
    messages: Vec<String>,
    delay: Option<Duration>,
) -> anyhow::Result<()> {
    let messages = given_or_lines(messages)?;
    let sent = match delay {
        Some(delay) => queue.send_all_in(delay, &messages).await,
        None => queue.send_all(&messages).await,
    };
    let (ids, error) = match sent {
        Ok(ids) => (ids, None),
        Err(mut error) => (std::mem::take(&mut error.confirmed), Some(error)),
    };
    let count = ids.len();
    for id in ids {
        common.say(&json!({ "id": id.to_string() }), &id.to_string())?;
    }
    match error {
        Some(error) => {
            anyhow::bail!("{count} of {} messages were sent, then: {}", messages.len(), error.source)
        }
        None => Ok(()),
    }
}

/// An empty queue is told by the exit code.
fn say_messages(common: &Common, messages: &[Message]) -> anyhow::Result<ExitCode> {
    for message in messages {
        let value = json!({
            "id": message.id.to_string(),
            "message": message.text(),
            "rc": message.receive_count,
            "fr": seconds_since_1970(message.first_received),
            "sent": seconds_since_1970(message.sent()),
        });
        common.say(&value, &format!("{}  {}  {}", message.id, message.receive_count, message.text()))?;
    }
    Ok(if messages.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

async fn dead_letters(
    common: &Common,
    dead: &Queue,
    count: usize,
    redrive: Option<&str>,
) -> anyhow::Result<ExitCode> {
    let letters = dead.dead_letters(count).await?;
    let Some(which) = redrive else {
        for letter in &letters {
            common.say(&shown_letter(letter), &letter_text(letter))?;
        }
        return Ok(ExitCode::SUCCESS);
    };
    let chosen = letters.iter().filter(|letter| which == "all" || letter.id.to_string() == which);
    let chosen: Vec<_> = chosen.collect();
    ensure!(
        which == "all" || !chosen.is_empty(),
        "{which} is not among the first {count} dead letters of {}",
        dead.name()
    );
    for letter in chosen {
        let done = dead.redrive(letter).await?;
        common.done(&format!("redrive {} to {}", letter.id, letter.queue), done)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn letter_text(letter: &DeadMessage) -> String {
    let DeadMessage { id, reason, attempts, error, .. } = letter;
    format!(
        "{id}  {reason} after {attempts} attempts: {error}\n    {}",
        String::from_utf8_lossy(&letter.body)
    )
}

fn shown_letter(letter: &DeadMessage) -> Value {
    json!({
        "id": letter.id.to_string(),
        "message": String::from_utf8_lossy(&letter.body),
        "reason": letter.reason,
        "error": letter.error,
        "attempts": letter.attempts,
        "queue": letter.queue,
        "diedAt": seconds_since_1970(letter.died_at),
    })
}

fn shown(name: &str, attributes: &QueueAttributes) -> Value {
    json!({
        "name": name,
        "vt": attributes.vt.as_secs(),
        "delay": attributes.delay.as_secs(),
        "maxsize": attributes.maxsize.map_or(-1, i64::from),
        "totalrecv": attributes.totalrecv,
        "totalsent": attributes.totalsent,
        "created": seconds_since_1970(attributes.created) as u64,
        "modified": seconds_since_1970(attributes.modified) as u64,
        "msgs": attributes.msgs,
        "hiddenmsgs": attributes.hiddenmsgs,
    })
}
