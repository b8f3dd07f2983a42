//! `cauce stream`: streams, also those that no service of Cauce reads.

use std::process::ExitCode;

use anyhow::Context;
use cauce::{EntryId, Fields, StreamInfo};
use clap::Subcommand;
use serde_json::{Value, json};

use super::{Common, fields_as_json, fields_as_text, row, table};

/// Streams: looks at them, appends, reads.
#[derive(Debug, clap::Args)]
pub(crate) struct StreamArgs {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Lists the streams
    Ls,
    /// Shows what is known of a stream
    Attrs { name: String },
    /// Appends an entry
    Send {
        name: String,
        /// Its fields, as NAME=VALUE
        #[arg(required = true)]
        fields: Vec<String>,
    },
    /// Shows entries, without a group
    Receive {
        name: String,
        #[arg(long, default_value_t = 10)]
        count: usize,
        /// The first entry to show
        #[arg(long, default_value = "0-0")]
        from: EntryId,
    },
}

impl StreamArgs {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let Self { common, verb } = self;
        let bus = common.connect().await?;
        match verb {
            Verb::Ls => {
                let mut rows = vec![row([&"stream", &"entries", &"groups", &"last id"])];
                for info in bus.inspect().streams().await? {
                    if common.json {
                        common.say(&shown(&info), "")?;
                    }
                    rows.push(row([&info.name, &info.length, &info.groups, &info.last_id]));
                }
                if !common.json {
                    common.say(&Value::Null, &table(&rows))?;
                }
            }
            Verb::Attrs { name } => {
                let info = bus.inspect().stream(&name).await?;
                let value = shown(&info.with_context(|| format!("there is no stream `{name}`"))?);
                let rows: Vec<_> =
                    value.as_object().into_iter().flatten().map(|(name, value)| row([name, value])).collect();
                common.say(&value, &table(&rows))?;
            }
            Verb::Send { name, fields } => {
                let mut entry = Fields::new();
                for field in &fields {
                    let (name, value) =
                        field.split_once('=').with_context(|| format!("`{field}` is not NAME=VALUE"))?;
                    entry.push(name, value);
                }
                let id = bus.stream(&name).append(&entry).await?;
                common.say(&json!({ "id": id.to_string() }), &id.to_string())?;
            }
            Verb::Receive { name, count, from } => {
                for entry in bus.stream(&name).range(from.., count).await? {
                    let value =
                        json!({ "id": entry.id.to_string(), "fields": fields_as_json(&entry.fields) });
                    common.say(&value, &format!("{}  {}", entry.id, fields_as_text(&entry.fields)))?;
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn shown(info: &StreamInfo) -> Value {
    json!({
        "name": info.name,
        "length": info.length,
        "groups": info.groups,
        "lastId": info.last_id.to_string(),
        "firstEntry": info.first_entry.map(|id| id.to_string()),
        "entriesAdded": info.entries_added,
    })
}
