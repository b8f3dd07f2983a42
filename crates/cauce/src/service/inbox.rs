//! What a service has handled already, by event id; and what becomes of a handler that has an inbox or a transaction.

use std::sync::Arc;

use super::core::{Core, millis};
use super::handler::HandlerFuture;
use super::lane::{Delivered, Lane};
use super::outcome::{Completion, HandlerError};
use super::transaction::{Collected, Steps};
use crate::backend::backoff::Backoff;
use crate::backend::reply;
use crate::entry::EntryId;
use crate::error::CommandError;
use crate::request::PreparedReply;
use crate::script::{Invocation, Script};

static BEGIN: Script =
    Script::new(concat!(include_str!("scripts/prelude.lua"), include_str!("scripts/begin.lua")));
static APPLY: Script =
    Script::new(concat!(include_str!("scripts/prelude.lua"), include_str!("scripts/apply.lua")));

/// A delivery whose effects are to happen once.
pub(crate) struct Once {
    core: Arc<Core>,
    lane: Arc<Lane>,
    id: EntryId,
    /// Its delivery count; 0 if it is not pending.
    count: u32,
    /// The event's id, if the service has an inbox and the event has an id.
    event: Option<String>,
}

impl Once {
    /// Nothing if it has neither inbox nor transaction to see to.
    pub(crate) fn of(core: &Arc<Core>, delivered: &Delivered, has_transaction: bool) -> Option<Self> {
        let event = core.settings.inbox.and_then(|_| delivered.fields.text("id")).filter(|id| !id.is_empty());
        if event.is_none() && !has_transaction {
            return None;
        }
        Some(Self {
            core: Arc::clone(core),
            lane: Arc::clone(&delivered.lane),
            id: delivered.id,
            count: if delivered.lease.pending { delivered.attempt } else { 0 },
            event: event.map(str::to_owned),
        })
    }

    /// Runs the handler, unless its event was handled already, and applies its transaction.
    pub(crate) async fn run(
        self,
        handler: HandlerFuture,
        transaction: Option<Arc<Collected>>,
    ) -> Result<Completion, HandlerError> {
        if let Some(event) = &self.event
            && !self.begin(event).await?
        {
            return Ok(Completion::Duplicate);
        }
        handler.await?;
        match transaction {
            Some(collected) => self.apply(&collected).await,
            None => Ok(Completion::Handled),
        }
    }

    async fn begin(&self, event: &str) -> Result<bool, CommandError> {
        let mut call = BEGIN.with_keys([&*self.lane.stream, &self.lane.attempts, &self.lane.inbox]);
        call.arg(&*self.core.names.group).arg(self.id.to_string()).arg(event);
        let begun = self.persist(&call).await?;
        Ok(begun == 1)
    }

    async fn apply(&self, collected: &Collected) -> Result<Completion, HandlerError> {
        let steps = collected.take();
        let reply = collected.reply();
        let mut applied = self.persist(&self.applying(&steps, reply)).await;
        if let (Some(reply), Err(error)) = (reply, &applied)
            && error.is_refused("CROSSSLOT")
        {
            // A cluster that has the requester's stream elsewhere. Nothing was done.
            applied = self.persist(&self.applying(&steps, None)).await;
            if let Ok(1) = applied
                && let Err(error) = reply.send(&self.core.link).await
            {
                tracing::warn!(%error, id = %self.id, "a reply is lost; the requester finds out by its timeout");
            }
        }
        match applied {
            Ok(1) => {
                steps.delayed().for_each(|stream| self.core.movers.sooner(stream));
                Ok(Completion::Settled)
            }
            Ok(2) => Ok(Completion::SettledDuplicate),
            Ok(_) => Ok(Completion::Fenced),
            Err(CommandError::Refused { code, message }) if code == "TRANSACTION" => {
                Err(HandlerError::failed(format!(
                    "the transaction is refused, and nothing of it was applied: {message}"
                )))
            }
            Err(error) => Err(HandlerError::from(error).context("the transaction was not applied")),
        }
    }

    fn applying(&self, steps: &Steps, reply: Option<&PreparedReply>) -> Invocation {
        let fixed = [&*self.lane.stream, &self.lane.attempts, &self.lane.inbox];
        let keys = steps.keys(fixed.len());
        let reply_key = fixed.len() + keys.len() + 1;
        let answered = reply.map(|reply| &*reply.stream);
        let mut call = APPLY.with_keys(fixed.into_iter().chain(keys).chain(answered));
        call.arg(&*self.core.names.group).arg(&*self.core.names.consumer).arg(self.id.to_string());
        call.arg(self.count.to_string()).arg(if self.lane.is_side() { "1" } else { "0" });
        call.arg(self.event.as_deref().unwrap_or_default());
        call.arg(self.core.settings.inbox.map_or(0, millis).to_string());
        steps.write(fixed.len(), &mut call);
        if let Some(reply) = reply {
            let arguments: Vec<Vec<u8>> = reply.arguments().collect();
            call.arg("REPLY").arg(reply_key.to_string()).arg(arguments.len().to_string());
            for argument in arguments {
                call.arg(argument);
            }
        }
        call
    }

    /// Tries until the broker answers: who owns the entry decides whether anything happens, so it may be said again. Of an entry that nobody owns
    /// (NOACK) it is said once.
    async fn persist(&self, call: &Invocation) -> Result<i64, CommandError> {
        let mut backoff = Backoff::new();
        loop {
            match call.run(&self.core.link).await {
                Ok(reply) => {
                    return reply::integer(&reply).ok_or(CommandError::Unexpected { command: "EVALSHA" });
                }
                Err(error) if error.is_transient() && self.count > 0 => {
                    tracing::debug!(%error, id = %self.id, "waits for the broker");
                }
                Err(error) => return Err(error),
            }
            backoff.wait().await;
        }
    }
}
