//! Streams by name: entries that are not typed events, and reading without a group.

mod follower;

pub use follower::Follower;

use std::borrow::Cow;
use std::ops::{Bound, RangeBounds};

use redis::cmd;
use serde::Serialize;

use crate::backend::command::xadd;
use crate::backend::reply;
use crate::bus::Bus;
use crate::codec;
use crate::entry::{Entry, EntryId, Fields};
use crate::error::{CommandError, PublishError};
use crate::event::{Metadata, envelope};
use crate::service::Start;

/// A stream, by name. Services read it with [`Service`](crate::Service); this is for entries as they are.
#[derive(Clone, Copy)]
pub struct Stream<'a> {
    bus: &'a Bus,
    name: &'a str,
}

impl<'a> Stream<'a> {
    pub(crate) fn new(bus: &'a Bus, name: &'a str) -> Self {
        Self { bus, name }
    }

    /// Appends an entry of these fields and nothing else. As durable as [`Bus::publish`](crate::Bus::publish), but said once: if the reply is lost, it is
    /// not known whether it was appended.
    ///
    /// # Errors
    /// If the broker refuses (an entry needs at least one field), or did not confirm.
    pub async fn append(&self, fields: &Fields) -> Result<EntryId, CommandError> {
        self.bus.link().call(&xadd(self.name, fields)).await?.entry_id()
    }

    /// Appends an event whose action is only known when the program runs: what [`Bus::publish_with`](crate::Bus::publish_with) writes for a
    /// typed event with the default codec.
    ///
    /// # Errors
    /// If the payload can't be JSON, or the broker did not confirm.
    pub async fn publish<T: Serialize>(
        &self,
        action: impl Into<Cow<'static, str>>,
        payload: &T,
        metadata: &Metadata,
    ) -> Result<EntryId, PublishError> {
        let mut fields = Fields::with_capacity(2);
        codec::json::encode(payload, &mut fields)?;
        let fields = envelope(&action.into(), &fields, metadata, self.bus.source());
        Ok(self.bus.append(self.name, &fields, metadata).await?)
    }

    /// At most `count` entries of a range of ids, in order. A stream that does not exist is empty.
    ///
    /// # Errors
    /// If the broker can't be asked, or the key is not a stream.
    pub async fn range(
        &self,
        ids: impl RangeBounds<EntryId>,
        count: usize,
    ) -> Result<Vec<Entry>, CommandError> {
        let bound = |bound: Bound<&EntryId>, open: &str| match bound {
            Bound::Included(id) => id.to_string(),
            Bound::Excluded(id) => format!("({id}"),
            Bound::Unbounded => open.to_owned(),
        };
        // No id is below zero or above the greatest, and Redis refuses to look for one.
        if ids.start_bound() == Bound::Excluded(&EntryId::new(u64::MAX, u64::MAX))
            || ids.end_bound() == Bound::Excluded(&EntryId::ZERO)
        {
            return Ok(Vec::new());
        }
        let mut command = cmd("XRANGE");
        command.arg(self.name).arg(bound(ids.start_bound(), "-")).arg(bound(ids.end_bound(), "+"));
        command.arg("COUNT").arg(count);
        let reply = self.bus.link().send(&command).await?;
        reply::entries(reply).ok_or(CommandError::Unexpected { command: "XRANGE" })
    }

    /// Reads on from a place as entries come, without a group: every follower gets every entry, and nothing is acknowledged. When this
    /// returns, the place is fixed: what is appended from now on will be read.
    ///
    /// # Errors
    /// If the broker can't be asked, or the key is not a stream.
    pub async fn follow(&self, start: Start) -> Result<Follower, CommandError> {
        let after = match start {
            Start::Beginning => EntryId::ZERO,
            Start::Id(id) => id,
            Start::New => self.last_id().await?,
        };
        Ok(Follower::new(self.bus.link().endpoint().clone(), self.name, after))
    }

    async fn last_id(&self) -> Result<EntryId, CommandError> {
        match self.bus.link().send(cmd("XINFO").arg("STREAM").arg(self.name)).await {
            Ok(reply) => reply::Attributes::of(reply)
                .and_then(|mut info| info.take("last-generated-id"))
                .and_then(|id| reply::entry_id(&id))
                .ok_or(CommandError::Unexpected { command: "XINFO STREAM" }),
            Err(CommandError::Refused { message, .. }) if message == "no such key" => Ok(EntryId::ZERO),
            Err(error) => Err(error),
        }
    }
}

impl std::fmt::Debug for Stream<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Stream").field(&self.name).finish()
    }
}
