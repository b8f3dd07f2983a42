//! The publishers.

use anyhow::Result;
use cauce::{Bus, Metadata};
use futures_util::{StreamExt, stream};

use crate::events;
use crate::consume::Action;
use crate::peers::payload;

/// Calls under way at once.
const AT_ONCE: usize = 256;

pub async fn cauce(url: &str, events: usize) -> Result<()> {
    let bus = Bus::connect(url).await?;
    let metadata = Metadata::new();
    let mut published = stream::iter(0..events)
        .map(|number| {
            let (bus, metadata) = (&bus, &metadata);
            let event = Action { key_1: number.to_string(), key_2: "value_2".into(), key_3: "value_3".into() };
            async move { bus.publish_with(&event, metadata).await }
        })
        .buffer_unordered(AT_ONCE);
    while let Some(id) = published.next().await {
        id?;
    }
    Ok(())
}

pub async fn raw(url: &str, events: usize) -> Result<()> {
    let mut connection = redis::Client::open(url)?.get_multiplexed_async_connection().await?;
    for first in (0..events).step_by(100) {
        let mut pipeline = redis::Pipeline::with_capacity(100);
        for number in first..(first + 100).min(events) {
            let command = pipeline.cmd("XADD").arg("streamsKey").arg("*").arg("action").arg("action_type");
            command.arg("key_1").arg(number).arg("key_2").arg("value_2").arg("key_3").arg("value_3");
        }
        pipeline.exec_async(&mut connection).await?;
    }
    Ok(())
}

/// Events with all of their payload in one field.
pub async fn raw_in(url: &str, field: &str) -> Result<()> {
    let mut connection = redis::Client::open(url)?.get_multiplexed_async_connection().await?;
    for first in (0..events()).step_by(100) {
        let mut pipeline = redis::Pipeline::with_capacity(100);
        for number in first..(first + 100).min(events()) {
            pipeline.cmd("XADD").arg("streamsKey").arg("*").arg(field).arg(payload(number));
        }
        pipeline.exec_async(&mut connection).await?;
    }
    Ok(())
}
