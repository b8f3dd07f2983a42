//! Who reads the streams that have one reader in a group: partitions, and streams whose order is kept.

use std::time::{Duration, SystemTime};

use redis::{Pipeline, Value};

use super::Inspector;
use crate::backend::reply::{self, Attributes};
use crate::error::CommandError;
use crate::partition::streams;
use crate::service::{owner_key, reader_key};

/// One of the streams that a stream is, and who of a group reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PartitionInfo {
    /// Its key.
    pub stream: String,
    /// Its number; `None` if the stream is not partitioned.
    pub partition: Option<u16>,
    /// The consumer that reads it, as long as its lease runs. `None` if there is none at the moment, or the group keeps no order.
    pub owner: Option<String>,
    /// Since when, by the broker's clock.
    pub since: Option<SystemTime>,
}

impl Inspector {
    /// The partitions of a stream, in order, and who of the group reads each; for a stream that is not partitioned, itself.
    ///
    /// # Errors
    /// If the broker can't be asked.
    pub async fn owners(&self, stream: &str, group: &str) -> Result<Vec<PartitionInfo>, CommandError> {
        let streams = streams(&self.link, stream).await?;
        let mut questions = Pipeline::with_capacity(2 * streams.len());
        for (_, stream) in &streams {
            questions.cmd("GET").arg(reader_key(stream, group));
            questions.cmd("HGETALL").arg(owner_key(stream, group));
        }
        let mut replies = self.link.send_all(&questions).await?.into_iter();
        let mut owners = Vec::with_capacity(streams.len());
        for (partition, stream) in streams {
            let owner = replies.next().transpose()?.and_then(reply::text);
            let since = replies.next().transpose()?.and_then(since).filter(|_| owner.is_some());
            owners.push(PartitionInfo { stream, partition, owner, since });
        }
        Ok(owners)
    }
}

fn since(reply: Value) -> Option<SystemTime> {
    let since = Attributes::of(reply)?.take("since").and_then(reply::text)?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(since.parse().ok()?))
}
