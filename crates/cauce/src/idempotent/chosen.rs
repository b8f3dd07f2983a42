//! Events whose ids their publishers chose: whoever says the same id again, in whatever process, appends nothing.

use std::time::Duration;

use super::{Attempts, PAIRS_MAX};
use crate::backend::command::{companion, xadd};
use crate::backend::link::Link;
use crate::entry::{EntryId, Fields};
use crate::error::CommandError;
use crate::script::Script;

static PUBLISH_ONCE: Script = Script::new(concat!(
    include_str!("../service/scripts/prelude.lua"),
    include_str!("sent.lua"),
    include_str!("publish_once.lua")
));

/// Appends an event once by the id that its publisher chose, whoever publishes it.
///
/// # Errors
/// If the broker refuses, or did not confirm within the patience.
pub(crate) async fn append_once(
    link: &Link,
    patience: Duration,
    stream: &str,
    event: &str,
    fields: &Fields,
) -> Result<EntryId, CommandError> {
    if fields.len() > PAIRS_MAX {
        return link.call(&xadd(stream, fields)).await?.entry_id();
    }
    let keys = SentKeys::of(stream);
    let mut call = PUBLISH_ONCE.with_keys([stream, &keys.sent, &keys.times]);
    call.arg(event).fields(fields);
    let mut attempts = Attempts::new(patience);
    loop {
        let said = call.call(link).await.and_then(|mut replies| replies.entry_id());
        if let Some(outcome) = attempts.ended(said).await {
            return outcome;
        }
    }
}

/// The keys of the marks of ids that publishers chose.
#[derive(Debug)]
pub(crate) struct SentKeys {
    /// A hash: the entry of each event.
    pub(crate) sent: String,
    /// A sorted set: when each was appended.
    pub(crate) times: String,
}

impl SentKeys {
    pub(crate) fn of(stream: &str) -> Self {
        Self { sent: companion(stream, "sent"), times: companion(stream, "sent-times") }
    }
}
