//! What a handler wants to happen together with the acknowledgement of its entry.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use super::core::millis;
use super::extract::Context;
use crate::backend::command::{companion, slot};
use crate::entry::Fields;
use crate::event::{EncodeError, Event, Metadata, to_fields};
use crate::idempotent::PAIRS_MAX;
use crate::request::PreparedReply;
use crate::schedule::DelayedKeys;
use crate::script::Invocation;

/// Steps of one transaction at most.
const STEPS_MAX: usize = 1_000;

/// Writes and events that happen together with the acknowledgement, when the handler returns `Ok`: all of them or none, once, whatever is
/// killed meanwhile. An argument of a handler:
///
/// ```
/// # use cauce::{Event, HandlerError, Transaction};
/// # use serde::{Deserialize, Serialize};
/// #[derive(Event, Serialize, Deserialize)]
/// #[event(stream = "{shop}:payments", action = "payment.received")]
/// struct Received { account: String, cents: i64 }
///
/// #[derive(Event, Serialize, Deserialize)]
/// #[event(stream = "{shop}:receipts", action = "receipt.due")]
/// struct Receipt { account: String }
///
/// async fn book(event: Received, transaction: Transaction) -> Result<(), HandlerError> {
///     transaction.incr_by(format!("{{shop}}:balance:{}", event.account), event.cents)?;
///     transaction.publish(&Receipt { account: event.account })?;
///     Ok(())
/// }
/// ```
///
/// One script checks that this instance still owns the delivery, that nothing can be refused, applies the steps in order, marks the event in the
/// [inbox](crate::Service::inbox) if there is one, and acknowledges. A handler that fails, panics, exceeds its time or loses its lease leaves nothing behind.
/// If a step is refused (a key of another type, an expectation that does not hold), nothing is applied, and the handler counts as failed. The
/// [reply](crate::Reply) to a request is sent by the same script.
///
/// All keys share a cluster slot with the stream that is read: `{stream}:...` ([`key`](Self::key) makes such a name), or the stream's own hash tag. That is
/// asked for on single servers too, so that the service can move to a cluster. Effects beyond Redis are no part of it.
#[derive(Debug)]
pub struct Transaction {
    collected: Arc<Collected>,
}

/// A step that can't be taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransactionError {
    /// The key can't be in one script with the stream on a cluster.
    #[error(
        "the key `{key}` is in another cluster slot than the stream `{stream}`: name it `{hint}`, or give both the same hash tag, as in {{shop}}:orders and {{shop}}:balance"
    )]
    OtherSlot {
        /// The key.
        key: String,
        /// The stream that the handler's entry came from.
        stream: String,
        /// A name in the right slot.
        hint: String,
    },
    /// More than 1,000 steps.
    #[error("a transaction has at most 1000 steps: do less in one handler")]
    TooManySteps,
    /// More fields than a script can append.
    #[error(
        "the event has {count} fields, and a script appends at most {limit}: put the payload into one field"
    )]
    TooManyFields {
        /// How many there are.
        count: usize,
        /// How many there may be.
        limit: usize,
    },
    /// The event can't be written.
    #[error(transparent)]
    Encode(#[from] EncodeError),
}

impl Transaction {
    /// A name for a key that shares the stream's slot: `{orders}:balance` for `balance` beside the stream `orders`.
    #[must_use]
    pub fn key(&self, name: &str) -> String {
        companion(&self.collected.stream, name)
    }

    /// `SET key value`
    ///
    /// # Errors
    /// If the key is in another slot, or there are too many steps; so with all of them.
    pub fn set(&self, key: impl Into<String>, value: impl Into<Vec<u8>>) -> Result<(), TransactionError> {
        self.step("SET", key, [value.into()])
    }

    /// `DEL key`
    ///
    /// # Errors
    /// As [`set`](Self::set).
    pub fn del(&self, key: impl Into<String>) -> Result<(), TransactionError> {
        self.step("DEL", key, [])
    }

    /// `INCRBY key amount`, within ±2^53.
    ///
    /// # Errors
    /// As [`set`](Self::set).
    pub fn incr_by(&self, key: impl Into<String>, amount: i64) -> Result<(), TransactionError> {
        self.step("INCRBY", key, [amount.to_string().into_bytes()])
    }

    /// `PEXPIRE key`, in milliseconds.
    ///
    /// # Errors
    /// As [`set`](Self::set).
    pub fn expire(&self, key: impl Into<String>, after: Duration) -> Result<(), TransactionError> {
        self.step("PEXPIRE", key, [millis(after).to_string().into_bytes()])
    }

    /// `HSET key field value`
    ///
    /// # Errors
    /// As [`set`](Self::set).
    pub fn hset(
        &self,
        key: impl Into<String>,
        field: impl Into<Vec<u8>>,
        value: impl Into<Vec<u8>>,
    ) -> Result<(), TransactionError> {
        self.step("HSET", key, [field.into(), value.into()])
    }

    /// `HDEL key field`
    ///
    /// # Errors
    /// As [`set`](Self::set).
    pub fn hdel(&self, key: impl Into<String>, field: impl Into<Vec<u8>>) -> Result<(), TransactionError> {
        self.step("HDEL", key, [field.into()])
    }

    /// `HINCRBY key field amount`, within ±2^53.
    ///
    /// # Errors
    /// As [`set`](Self::set).
    pub fn hincr_by(
        &self,
        key: impl Into<String>,
        field: impl Into<Vec<u8>>,
        amount: i64,
    ) -> Result<(), TransactionError> {
        self.step("HINCRBY", key, [field.into(), amount.to_string().into_bytes()])
    }

    /// `SADD key member`
    ///
    /// # Errors
    /// As [`set`](Self::set).
    pub fn sadd(&self, key: impl Into<String>, member: impl Into<Vec<u8>>) -> Result<(), TransactionError> {
        self.step("SADD", key, [member.into()])
    }

    /// `SREM key member`
    ///
    /// # Errors
    /// As [`set`](Self::set).
    pub fn srem(&self, key: impl Into<String>, member: impl Into<Vec<u8>>) -> Result<(), TransactionError> {
        self.step("SREM", key, [member.into()])
    }

    /// `ZADD key score member`; a score that is no number counts as zero.
    ///
    /// # Errors
    /// As [`set`](Self::set).
    pub fn zadd(
        &self,
        key: impl Into<String>,
        score: f64,
        member: impl Into<Vec<u8>>,
    ) -> Result<(), TransactionError> {
        let score = if score.is_nan() { 0.0 } else { score };
        self.step("ZADD", key, [score.to_string().into_bytes(), member.into()])
    }

    /// `ZREM key member`
    ///
    /// # Errors
    /// As [`set`](Self::set).
    pub fn zrem(&self, key: impl Into<String>, member: impl Into<Vec<u8>>) -> Result<(), TransactionError> {
        self.step("ZREM", key, [member.into()])
    }

    /// Nothing is applied unless this string has this value (`None`: does not exist). For what was read before: whoever changed it meanwhile makes this
    /// attempt fail, and the next one reads again.
    ///
    /// # Errors
    /// As [`set`](Self::set).
    pub fn expect(&self, key: impl Into<String>, value: Option<&[u8]>) -> Result<(), TransactionError> {
        self.step("EXPECT", key, value.map(<[u8]>::to_vec))
    }

    /// As [`expect`](Self::expect), for a field of a hash.
    ///
    /// # Errors
    /// As [`set`](Self::set).
    pub fn expect_field(
        &self,
        key: impl Into<String>,
        field: impl Into<Vec<u8>>,
        value: Option<&[u8]>,
    ) -> Result<(), TransactionError> {
        self.step("HEXPECT", key, [Some(field.into()), value.map(<[u8]>::to_vec)].into_iter().flatten())
    }

    /// Publishes an event on its stream, which shares the slot.
    ///
    /// # Errors
    /// As [`set`](Self::set), and if the event can't be written.
    pub fn publish<E: Event>(&self, event: &E) -> Result<(), TransactionError> {
        self.publish_with(event, &Metadata::new())
    }

    /// As [`publish`](Self::publish), with metadata of the publisher's own.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub fn publish_with<E: Event>(&self, event: &E, metadata: &Metadata) -> Result<(), TransactionError> {
        let fields = self.fields(event, metadata)?;
        self.step("XADD", E::STREAM, [b"*".to_vec()].into_iter().chain(parts(&fields)))
    }

    /// Publishes an event after a delay, as [`Bus::publish_in`](crate::Bus::publish_in).
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub fn publish_in<E: Event>(&self, event: &E, delay: Duration) -> Result<(), TransactionError> {
        let metadata = Metadata::new().with_an_id();
        let fields = self.fields(event, &metadata)?;
        let id = metadata.chosen_id().unwrap_or_default().as_bytes().to_vec();
        let arguments = [id, millis(delay).to_string().into_bytes()].into_iter().chain(parts(&fields));
        let keys = DelayedKeys::of(E::STREAM);
        self.collected.check(E::STREAM)?;
        let keys = vec![keys.due, keys.events];
        let arguments = arguments.collect();
        self.collected.push(Step { name: "LATER", keys, arguments, delayed: Some(E::STREAM) })
    }

    fn fields<E: Event>(&self, event: &E, metadata: &Metadata) -> Result<Fields, TransactionError> {
        const {
            assert!(!E::STREAM.is_empty(), "this event has no stream: add #[event(stream = \"...\")]");
            assert!(
                E::PARTITIONS == 0,
                "a transaction publishes to one stream: use an event without `partitions`"
            );
        };
        let fields = to_fields(event, metadata, &self.collected.source)?;
        if fields.len() > PAIRS_MAX {
            return Err(TransactionError::TooManyFields { count: fields.len(), limit: PAIRS_MAX });
        }
        Ok(fields)
    }

    fn step(
        &self,
        name: &'static str,
        key: impl Into<String>,
        arguments: impl IntoIterator<Item = Vec<u8>>,
    ) -> Result<(), TransactionError> {
        let key = key.into();
        self.collected.check(&key)?;
        let arguments = arguments.into_iter().collect();
        self.collected.push(Step { name, keys: vec![key], arguments, delayed: None })
    }
}

fn parts(fields: &Fields) -> impl Iterator<Item = Vec<u8>> {
    fields.iter().flat_map(|(name, value)| [name.to_vec(), value.to_vec()])
}

impl Transaction {
    /// The transaction of the delivery, made when it is asked for.
    pub(crate) fn of<S>(context: &Context<'_, S>) -> Self {
        let collect = || Arc::new(Collected::new(context.stream, context.names.bus.source()));
        Self { collected: Arc::clone(context.transaction.get_or_init(collect)) }
    }
}

/// Where the transaction of a delivery is, if its handler takes one.
pub(crate) type Place = OnceLock<Arc<Collected>>;

/// The steps so far.
#[derive(Debug)]
pub(crate) struct Collected {
    stream: Arc<str>,
    source: Arc<str>,
    steps: Mutex<Vec<Step>>,
    /// What is answered to who asked.
    reply: OnceLock<PreparedReply>,
}

#[derive(Debug)]
struct Step {
    name: &'static str,
    /// The step's key, and what belongs to it.
    keys: Vec<String>,
    arguments: Vec<Vec<u8>>,
    /// The stream on which an event waits for its time.
    delayed: Option<&'static str>,
}

impl Collected {
    fn new(stream: &Arc<str>, source: &str) -> Self {
        Self {
            stream: Arc::clone(stream),
            source: source.into(),
            steps: Mutex::default(),
            reply: OnceLock::new(),
        }
    }

    fn check(&self, key: &str) -> Result<(), TransactionError> {
        if slot(key) == slot(&self.stream) {
            return Ok(());
        }
        let hint = companion(&self.stream, key);
        Err(TransactionError::OtherSlot { key: key.to_owned(), stream: self.stream.to_string(), hint })
    }

    fn push(&self, step: Step) -> Result<(), TransactionError> {
        let mut steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        if steps.len() >= STEPS_MAX {
            return Err(TransactionError::TooManySteps);
        }
        steps.push(step);
        Ok(())
    }

    /// Answers together with the steps.
    pub(crate) fn answer(&self, reply: PreparedReply) {
        // A handler returns once.
        let _ = self.reply.set(reply);
    }

    pub(crate) fn reply(&self) -> Option<&PreparedReply> {
        self.reply.get()
    }

    /// What was collected up to now; what a handler adds after it has returned comes too late.
    pub(crate) fn take(&self) -> Steps {
        Steps(std::mem::take(&mut self.steps.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

/// The steps of a transaction that is to be applied.
pub(crate) struct Steps(Vec<Step>);

impl Steps {
    /// The keys, in the order of the steps; `before` others stand before them.
    pub(crate) fn keys(&self, before: usize) -> Vec<&str> {
        let keys: Vec<&str> = self.0.iter().flat_map(|step| step.keys.iter().map(String::as_str)).collect();
        assert!(keys.len() + before <= 2 * STEPS_MAX + before, "a step has one key or two");
        keys
    }

    /// The streams on which events wait for their time.
    pub(crate) fn delayed(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().filter_map(|step| step.delayed)
    }

    /// Per step its name, the number of its key, how many arguments, and these.
    pub(crate) fn write(&self, before: usize, call: &mut Invocation) {
        let mut key = before + 1;
        for step in &self.0 {
            call.arg(step.name).arg(key.to_string()).arg(step.arguments.len().to_string());
            for argument in &step.arguments {
                call.arg(&**argument);
            }
            key += step.keys.len();
        }
    }
}
