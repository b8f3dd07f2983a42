//! The same work with other libraries, each in the shape in which it publishes itself: what its users have.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Result;
use futures_util::{StreamExt, stream};
use ruststream_fred::stream::prelude::*;
use sea_streamer_redis::{AutoCommit, AutoStreamReset, RedisConsumerOptions, RedisStreamer};
use sea_streamer_types::{
    Buffer as _, Consumer as _, ConsumerGroup, ConsumerMode, ConsumerOptions as _, Message as _, Producer as _,
    StreamKey, Streamer as _,
};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::events;

/// Calls under way at once.
const AT_ONCE: usize = 256;

#[derive(Debug, Serialize, Deserialize, Outgoing)]
#[outgoing(name = "streamsKey")]
struct Action {
    key_1: String,
    key_2: String,
    key_3: String,
}

/// The payload of one event, as JSON.
pub fn payload(number: usize) -> String {
    format!(r#"{{"key_1":"{number}","key_2":"value_2","key_3":"value_3"}}"#)
}

static HANDLED: AtomicUsize = AtomicUsize::new(0);
static ALL_HANDLED: Notify = Notify::const_new();

fn count(handled: usize) {
    if HANDLED.fetch_add(handled, Ordering::Relaxed) + handled == events() {
        ALL_HANDLED.notify_one();
    }
}

#[subscriber(RedisStream::new("streamsKey").group("group"))]
async fn one(event: &Action) -> HandlerOutcome {
    std::hint::black_box(event);
    count(1);
    HandlerOutcome::ack()
}

#[subscriber(RedisStream::new("streamsKey").group("group"))]
async fn many(events: &[Action]) -> HandlerOutcome {
    std::hint::black_box(events);
    count(events.len());
    HandlerOutcome::ack()
}

/// A typed handler with default options.
pub async fn ruststream(url: &str) -> Result<()> {
    let broker = RedisBroker::standalone(url);
    let app = RustStream::new(AppInfo::new("bench", "0.0.0")).with_broker(broker, |b| {
        b.include(one);
    });
    app.run_until(ALL_HANDLED.notified()).await.map_err(|error| anyhow::anyhow!("{error}"))
}

/// Its quickest way: batches, their acknowledgements in one round trip.
pub async fn ruststream_batches(url: &str) -> Result<()> {
    let broker = RedisBroker::standalone(url);
    let app = RustStream::new(AppInfo::new("bench", "0.0.0")).with_broker(broker, |b| {
        b.include(many.batch(nonzero!(1000)).pipeline());
    });
    app.run_until(ALL_HANDLED.notified()).await.map_err(|error| anyhow::anyhow!("{error}"))
}

pub async fn publish_ruststream(url: &str) -> Result<()> {
    let connected = RedisBroker::standalone(url).connect().await.map_err(|error| anyhow::anyhow!("{error}"))?;
    let publisher = connected.publisher();
    let mut published = stream::iter(0..events())
        .map(|number| {
            let publisher = &publisher;
            async move {
                let event = Action { key_1: number.to_string(), key_2: "value_2".into(), key_3: "value_3".into() };
                publisher.message(&event).publish().await.map_err(|error| anyhow::anyhow!("{error}"))
            }
        })
        .buffer_unordered(AT_ONCE);
    while let Some(result) = published.next().await {
        result?;
    }
    Ok(())
}

async fn streamer(url: &str) -> Result<RedisStreamer> {
    Ok(RedisStreamer::connect(url.parse()?, Default::default()).await?)
}

pub async fn sea_streamer(url: &str) -> Result<()> {
    let mut options = RedisConsumerOptions::new(ConsumerMode::LoadBalanced);
    options.set_consumer_group(ConsumerGroup::new("group"))?;
    options.set_auto_stream_reset(AutoStreamReset::Earliest);
    options.set_auto_commit(AutoCommit::Rolling);
    options.set_auto_commit_interval(Duration::ZERO);
    options.set_batch_size(1000);
    let mut consumer = streamer(url).await?.create_consumer(&[StreamKey::new("streamsKey")?], options).await?;
    for _ in 0..events() {
        let message = consumer.next().await?;
        let event: Action = serde_json::from_slice(message.message().as_bytes())?;
        std::hint::black_box(&event);
        consumer.ack(&message)?;
    }
    consumer.commit_asap()?;
    consumer.end().await?;
    Ok(())
}

pub async fn publish_sea_streamer(url: &str) -> Result<()> {
    let mut producer = streamer(url).await?.create_producer(StreamKey::new("streamsKey")?, Default::default()).await?;
    let mut receipts = std::collections::VecDeque::with_capacity(AT_ONCE);
    for number in 0..events() {
        if receipts.len() == AT_ONCE
            && let Some(oldest) = receipts.pop_front()
        {
            oldest.await?;
        }
        receipts.push_back(producer.send(payload(number))?);
    }
    producer.flush().await?;
    Ok(())
}
