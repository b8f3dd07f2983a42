//! `cauce group`: the consumer groups of a stream.

use std::process::ExitCode;

use cauce::PendingQuery;
use clap::Subcommand;
use serde_json::{Value, json};

use super::{Common, row, table};

/// Consumer groups: who reads a stream, how far, and what is pending.
#[derive(Debug, clap::Args)]
pub(crate) struct GroupArgs {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Lists the groups of a stream
    Ls { stream: String },
    /// Lists the consumers of a group
    Consumers { stream: String, group: String },
    /// Shows entries that are delivered and not acknowledged
    Pending {
        stream: String,
        group: String,
        #[arg(long, default_value_t = 100)]
        count: usize,
    },
}

impl GroupArgs {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let Self { common, verb } = self;
        let inspector = common.connect().await?.inspect();
        let (mut rows, mut values) = (Vec::new(), Vec::new());
        match verb {
            Verb::Ls { stream } => {
                rows.push(row([&"group", &"consumers", &"pending", &"lag", &"last delivered"]));
                for group in inspector.groups(&stream).await? {
                    // Unknown is not zero.
                    let lag = group.lag.map_or("?".to_owned(), |lag| lag.to_string());
                    rows.push(row([
                        &group.name,
                        &group.consumers,
                        &group.pending,
                        &lag,
                        &group.last_delivered,
                    ]));
                    values.push(json!({
                        "name": group.name,
                        "consumers": group.consumers,
                        "pending": group.pending,
                        "lag": group.lag,
                        "lastDelivered": group.last_delivered.to_string(),
                    }));
                }
            }
            Verb::Consumers { stream, group } => {
                rows.push(row([&"consumer", &"pending", &"idle s"]));
                for consumer in inspector.consumers(&stream, &group).await? {
                    let idle = consumer.idle.as_secs_f64();
                    rows.push(row([&consumer.name, &consumer.pending, &format!("{idle:.1}")]));
                    values.push(json!({ "name": consumer.name, "pending": consumer.pending, "idle": idle }));
                }
            }
            Verb::Pending { stream, group, count } => {
                rows.push(row([&"entry", &"deliveries", &"idle s", &"consumer"]));
                for entry in inspector.pending(&stream, &group, &PendingQuery::new().count(count)).await? {
                    let idle = entry.idle.as_secs_f64();
                    rows.push(row([&entry.id, &entry.deliveries, &format!("{idle:.1}"), &entry.consumer]));
                    values.push(json!({
                        "id": entry.id.to_string(),
                        "deliveries": entry.deliveries,
                        "idle": idle,
                        "consumer": entry.consumer,
                    }));
                }
            }
        }
        if !common.json {
            common.say(&Value::Null, &table(&rows))?;
            return Ok(ExitCode::SUCCESS);
        }
        for value in values {
            common.say(&value, "")?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
