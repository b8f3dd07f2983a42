//! The consumers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Result;
use cauce::{Bus, Event, Service, State};
use redis::{Value, cmd};
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, mpsc};

#[derive(Event, Serialize, Deserialize)]
#[event(stream = "streamsKey", action = "action_type", codec = "fields")]
pub struct Action {
    pub key_1: String,
    pub key_2: String,
    pub key_3: String,
}

#[derive(Clone)]
struct Counted(Arc<(AtomicUsize, Notify)>, usize);

pub async fn cauce(url: &str, events: usize) -> Result<()> {
    async fn count(event: Action, State(Counted(counted, events)): State<Counted>) {
        std::hint::black_box(&event);
        if counted.0.fetch_add(1, Ordering::Relaxed) + 1 == events {
            counted.1.notify_one();
        }
    }
    let bus = Bus::connect(url).await?;
    let counted = Counted(Arc::default(), events);
    let running = Service::new("group").state(counted.clone()).on(count).start(&bus).await?;
    counted.0.1.notified().await;
    let report = running.stop().await;
    anyhow::ensure!(report.handled as usize == events && report.late == 0, "{report}");
    Ok(())
}

/// The entries of a reply of XREADGROUP: id and values.
pub fn entries(reply: Value) -> Vec<(Vec<u8>, Vec<Value>)> {
    let mut all = Vec::new();
    let streams = match reply {
        Value::Array(streams) => streams,
        Value::Map(streams) => streams.into_iter().map(|(name, entries)| Value::Array(vec![name, entries])).collect(),
        _ => return all,
    };
    for stream in streams {
        let Value::Array(mut parts) = stream else { continue };
        let Some(Value::Array(entries)) = parts.pop() else { continue };
        for entry in entries {
            let Value::Array(mut parts) = entry else { continue };
            if let (Some(Value::Array(fields)), Some(Value::BulkString(id))) = (parts.pop(), parts.pop()) {
                all.push((id, fields));
            }
        }
    }
    all
}

fn read(count: usize) -> redis::Cmd {
    let mut command = cmd("XREADGROUP");
    command.arg("GROUP").arg("group").arg(std::process::id()).arg("COUNT").arg(count).arg("STREAMS").arg("streamsKey").arg(">");
    command
}

pub fn ack(ids: &[Vec<u8>]) -> redis::Cmd {
    let mut command = cmd("XACK");
    command.arg("streamsKey").arg("group").arg(ids);
    command
}

pub async fn plain(url: &str, events: usize) -> Result<()> {
    let mut connection = redis::Client::open(url)?.get_multiplexed_async_connection().await?;
    let mut seen = 0;
    while seen < events {
        let batch = entries(read(100).query_async(&mut connection).await?);
        let mut ids = Vec::with_capacity(batch.len());
        for (id, fields) in batch {
            std::hint::black_box(&fields);
            ids.push(id);
        }
        seen += ids.len();
        if !ids.is_empty() {
            ack(&ids).exec_async(&mut connection).await?;
        }
    }
    Ok(())
}

pub async fn ceiling(url: &str, events: usize) -> Result<()> {
    let client = redis::Client::open(url)?;
    let mut reading = client.get_multiplexed_async_connection().await?;
    let mut writing = client.get_multiplexed_async_connection().await?;
    let (sender, mut batches) = mpsc::channel::<Value>(1);
    let reader = tokio::spawn(async move {
        loop {
            let reply: Value = read(1000).query_async(&mut reading).await?;
            if sender.send(reply).await.is_err() {
                return Ok::<_, redis::RedisError>(());
            }
        }
    });
    let mut seen = 0;
    let mut acks = tokio::task::JoinSet::new();
    while seen < events {
        let Some(reply) = batches.recv().await else { break };
        let mut ids = Vec::with_capacity(1000);
        for (id, fields) in entries(reply) {
            std::hint::black_box(&fields);
            ids.push(id);
        }
        seen += ids.len();
        if !ids.is_empty() {
            let mut writing = writing.clone();
            acks.spawn(async move { ack(&ids).exec_async(&mut writing).await });
        }
    }
    while let Some(acked) = acks.join_next().await {
        acked??;
    }
    cmd("PING").exec_async(&mut writing).await?;
    reader.abort();
    Ok(())
}
