//! `cauce channel`: publishes on channels, and shows what is published.

use std::process::ExitCode;
use std::time::Duration;

use cauce::Received;
use clap::Subcommand;
use serde_json::json;

use super::{Common, given_or_lines, seconds};

/// Channels (Pub/Sub): publishes, subscribes.
#[derive(Debug, clap::Args)]
pub(crate) struct ChannelArgs {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Publishes messages: the arguments, or the lines of standard input
    Send { name: String, messages: Vec<String> },
    /// Shows messages as they come
    Receive {
        #[arg(required = true)]
        names: Vec<String>,
        /// The names are patterns (*, ?, [a-z])
        #[arg(long)]
        pattern: bool,
        /// End after so many messages
        #[arg(long)]
        count: Option<usize>,
        /// End after so many seconds
        #[arg(long, value_parser = seconds)]
        wait: Option<Duration>,
    },
}

impl ChannelArgs {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let Self { common, verb } = self;
        let bus = common.connect().await?;
        match verb {
            Verb::Send { name, messages } => {
                for message in given_or_lines(messages)? {
                    let receivers = bus.channel(&name).publish(&message).await?;
                    common.say(&json!({ "receivers": receivers }), &format!("{receivers} received it"))?;
                }
            }
            Verb::Receive { names, pattern, count, wait } => {
                let mut subscription = match pattern {
                    true => bus.psubscribe::<String>(names).await?,
                    false => bus.subscribe::<String>(names).await?,
                };
                let end = wait.map(|wait| tokio::time::Instant::now() + wait);
                let mut left = count.unwrap_or(usize::MAX);
                while left > 0 {
                    let received = match end {
                        Some(end) => match tokio::time::timeout_at(end, subscription.next()).await {
                            Ok(received) => received,
                            Err(_) => break,
                        },
                        None => subscription.next().await,
                    };
                    left -= usize::from(show(&common, received)?);
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Whether it was a message.
fn show(common: &Common, received: Received<String>) -> anyhow::Result<bool> {
    match received {
        Received::Message { channel, body } => {
            common.say(&json!({ "channel": channel, "message": body }), &format!("{channel}  {body}"))?;
        }
        Received::Undecodable { channel, body, .. } => {
            let body = String::from_utf8_lossy(&body);
            common.say(&json!({ "channel": channel, "message": body }), &format!("{channel}  {body}"))?;
        }
        Received::Missed(count) => {
            eprintln!("cauce: {count} messages were missed: they came faster than they could be shown");
            return Ok(false);
        }
        _ => {
            eprintln!("cauce: the connection was lost and is there again; what came meanwhile is missing");
            return Ok(false);
        }
    }
    Ok(true)
}
