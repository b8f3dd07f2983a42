//! Dead letters: messages of another queue, with a field beside each that says how it died. RSMQ's clients see plain messages.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use redis::{Pipeline, cmd};
use serde::{Deserialize, Serialize};

use super::error::QueueError;
use super::name::MessageId;
use super::queue::{Queue, Relocation};
use crate::backend::reply;
use crate::error::CommandError;

/// How a message died, as it is written; the script puts the time behind.
#[derive(Serialize)]
pub(super) struct Death<'a> {
    pub(super) reason: &'static str,
    pub(super) error: &'a str,
    pub(super) attempts: u64,
    pub(super) queue: &'a str,
}

impl Death<'_> {
    pub(super) fn to_text(&self) -> String {
        serde_json::to_string(self).expect("texts and numbers are always JSON")
    }
}

#[derive(Deserialize)]
struct Known {
    reason: String,
    error: String,
    attempts: u64,
    queue: String,
    died_at_ms: u64,
}

/// A message that is not tried again.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadMessage {
    /// Its id, which it kept.
    pub id: MessageId,
    /// What it says, in bytes.
    pub body: Vec<u8>,
    /// Why it died: `failed`, `panicked`, `timed out`, `rejected`, `undecodable`, or `never finished` when every delivery ended in the
    /// death of its process. Empty if it was put here by something else than a worker.
    pub reason: String,
    /// What the last attempt said.
    pub error: String,
    /// How often it was received.
    pub attempts: u64,
    /// The queue that it died on.
    pub queue: String,
    /// When it died, by the server's clock.
    pub died_at: SystemTime,
}

impl Queue {
    /// The queue that workers on this one bury in unless told otherwise: its name with `-dead` behind.
    ///
    /// # Errors
    /// If the name is too long for that.
    pub fn dead_letter_queue(&self) -> Result<Self, QueueError> {
        self.sibling(&format!("{}-dead", self.name()))
    }

    /// The first `count` messages of this queue of dead letters, hidden ones included, without receiving them.
    ///
    /// # Errors
    /// If the broker can't be reached or refuses.
    pub async fn dead_letters(&self, count: usize) -> Result<Vec<DeadMessage>, QueueError> {
        let calls = &self.calls;
        let Some(last) = count.checked_sub(1) else { return Ok(Vec::new()) };
        let mut command = cmd("ZRANGE");
        let ids = calls.link.send(command.arg(&calls.keys.messages).arg(0).arg(last)).await?;
        let ids = reply::list(ids).ok_or(CommandError::Unexpected { command: "ZRANGE" })?;
        let ids: Vec<_> =
            ids.into_iter().filter_map(|id| MessageId::from_bytes(&reply::bytes(id)?)).collect();
        let mut questions = Pipeline::with_capacity(ids.len());
        for id in &ids {
            let id = id.as_str();
            questions
                .cmd("HMGET")
                .arg(&calls.keys.hash)
                .arg(id)
                .arg(format!("{id}:dead"))
                .arg(format!("{id}:rc"));
        }
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut letters = Vec::with_capacity(ids.len());
        for (id, fields) in ids.into_iter().zip(calls.link.send_all(&questions).await?) {
            let mut fields = reply::list(fields?).unwrap_or_default().into_iter();
            // One that was deleted in between has no body any more.
            let Some(body) = fields.next().and_then(reply::bytes) else { continue };
            let known = fields.next().and_then(reply::bytes);
            let known = known.and_then(|text| serde_json::from_slice::<Known>(&text).ok());
            let received = fields.next().and_then(|count| reply::count(&count)).unwrap_or(0);
            letters.push(letter(id, body, known, received));
        }
        Ok(letters)
    }

    /// Puts a dead letter of this queue back to the queue that it died on, in one step: visible at once, with no attempt counted.
    /// `false` if it is not there any more.
    ///
    /// # Errors
    /// If the queue that it died on is not there or not known, or the broker did not confirm.
    pub async fn redrive(&self, letter: &DeadMessage) -> Result<bool, QueueError> {
        let origin = self.sibling(&letter.queue)?;
        let how = Relocation { id: letter.id, fence: None, death: None, make: false, forget: true };
        self.relocate(&origin, &how).await
    }
}

fn letter(id: MessageId, body: Vec<u8>, known: Option<Known>, received: u64) -> DeadMessage {
    let known = known.unwrap_or(Known {
        reason: String::new(),
        error: String::new(),
        attempts: received,
        queue: String::new(),
        died_at_ms: 0,
    });
    DeadMessage {
        id,
        body,
        reason: known.reason,
        error: known.error,
        attempts: known.attempts,
        queue: known.queue,
        died_at: UNIX_EPOCH + Duration::from_millis(known.died_at_ms),
    }
}
