//! Frames of one client, told apart: which command each one answers, or that it came on its own.

use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;

use super::episode::Generated;
use crate::wire::Value;

/// A command as it was sent to one server.
#[derive(Debug, Clone)]
pub(super) struct Sent {
    pub(super) args: Vec<Vec<u8>>,
    pub(super) generated: Rc<Generated>,
}

impl Sent {
    /// Its words; those of the command that it calls if it is a script.
    pub(super) fn words(&self) -> &[Vec<u8>] {
        &self.args[self.generated.inner_at.unwrap_or(0).min(self.args.len())..]
    }

    /// Whether this is the command of that name, or a script that calls it.
    pub(super) fn is(&self, name: &str) -> bool {
        self.words().first().is_some_and(|first| first.eq_ignore_ascii_case(name.as_bytes()))
    }

    /// Whether it is answered by one frame per name instead of by one reply.
    fn confirms(&self) -> bool {
        ["SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE", "UNSUBSCRIBE", "PUNSUBSCRIBE", "SUNSUBSCRIBE"]
            .iter()
            .any(|name| self.is(name))
    }
}

/// One frame and what it answers.
#[derive(Debug, Clone)]
pub(super) struct Frame {
    pub(super) value: Value,
    /// The command that it answers, with what it ran if it was EXEC; none if it came on its own.
    pub(super) answers: Option<(Sent, Vec<Sent>)>,
}

/// What a client waits for.
#[derive(Debug, Default)]
pub(super) struct Conversation {
    waiting: VecDeque<Sent>,
    /// Frames still to come that confirm the first of `waiting`, once one has come.
    confirmations: Option<usize>,
    barrier: Option<Sent>,
    resp3: bool,
    transaction: Option<Vec<Sent>>,
    /// What it listens to: the verb of its confirmation and the name.
    listens: BTreeSet<(String, Vec<u8>)>,
}

impl Conversation {
    /// Notes that commands are sent, with a PING behind them.
    pub(super) fn sent(&mut self, commands: &[Sent], barrier: Sent) {
        self.waiting.extend(commands.iter().cloned());
        self.barrier = Some(barrier);
    }

    /// Whether something is still to come.
    pub(super) fn waits(&self) -> bool {
        self.barrier.is_some()
    }

    /// The command whose reply is the next to come.
    pub(super) fn next(&self) -> Option<&Sent> {
        self.waiting.front()
    }

    /// Whether the next command would be queued.
    pub(super) fn in_transaction(&self) -> bool {
        self.transaction.is_some()
    }

    /// Whether it listens to a channel, a pattern or a shard channel.
    pub(super) fn subscribed(&self) -> bool {
        !self.listens.is_empty()
    }

    /// Whether it speaks RESP3.
    pub(super) fn resp3(&self) -> bool {
        self.resp3
    }

    /// Whether it does, or will when its transaction runs.
    pub(super) fn will_listen(&self) -> bool {
        self.subscribed() || self.transaction.iter().flatten().any(Sent::confirms)
    }

    /// Takes a frame; `None` if it ends the step.
    ///
    /// The barrier is answered by PONG, or queued like everything else in a transaction: it is the first reply after those
    /// that the commands are owed.
    pub(super) fn take(&mut self, value: Value) -> Option<Frame> {
        if let Some(kind) = out_of_band(&value) {
            let answers = self.waiting.front().filter(|sent| sent.confirms()).cloned();
            if !kind.ends_with("message") {
                self.confirm(&kind);
                self.listen(&kind, &value);
            }
            return Some(Frame { value, answers: answers.map(|sent| (sent, Vec::new())) });
        }
        let Some(sent) = self.waiting.pop_front() else {
            let barrier = self.barrier.take()?;
            self.follow(&barrier, &value);
            return None;
        };
        let ran = self.follow(&sent, &value);
        Some(Frame { value, answers: Some((sent, ran)) })
    }

    /// Follows transactions; gives what ran.
    fn follow(&mut self, sent: &Sent, value: &Value) -> Vec<Sent> {
        if *value == Value::Simple(b"QUEUED".to_vec()) {
            if let Some(queued) = &mut self.transaction {
                queued.push(sent.clone());
            }
        } else if sent.is("MULTI") && !value.is_error() {
            self.transaction = Some(Vec::new());
        } else if sent.is("HELLO") && !value.is_error() {
            self.resp3 = matches!(value, Value::Map(_));
        } else if sent.is("RESET") && !value.is_error() {
            self.transaction = None;
            self.resp3 = false;
            self.listens.clear();
        } else if sent.is("DISCARD") && !value.is_error() {
            self.transaction = None;
        } else if sent.is("EXEC") {
            for item in value.elements().unwrap_or_default() {
                if let Some(kind) = out_of_band(item) {
                    self.listen(&kind, item);
                }
            }
            return self.transaction.take().unwrap_or_default();
        }
        Vec::new()
    }

    /// Counts a confirmation towards the command that is owed it.
    fn confirm(&mut self, kind: &str) {
        let Some(sent) = self.waiting.front().filter(|sent| sent.confirms()) else { return };
        let verb = kind.replacen("un", "", 1);
        let names = match sent.args.len() {
            1 => self.listens.iter().filter(|(heard, _)| *heard == verb).count().max(1),
            words => words - 1,
        };
        let left = self.confirmations.take().unwrap_or(names) - 1;
        if left > 0 {
            self.confirmations = Some(left);
        } else {
            self.waiting.pop_front();
        }
    }

    /// Follows what it listens to.
    fn listen(&mut self, kind: &str, value: &Value) {
        let name = value.elements().and_then(|items| items.get(1)).and_then(Value::bytes);
        let heard = (kind.replacen("un", "", 1), name.unwrap_or_default().to_vec());
        if kind.contains("un") {
            self.listens.remove(&heard);
        } else {
            self.listens.insert(heard);
        }
    }
}

/// The kind of a frame of Pub/Sub.
pub(super) fn out_of_band(value: &Value) -> Option<String> {
    let kind = value.elements()?.first()?.text()?;
    let known = [
        "subscribe",
        "psubscribe",
        "ssubscribe",
        "unsubscribe",
        "punsubscribe",
        "sunsubscribe",
        "message",
        "pmessage",
        "smessage",
    ];
    let alone = matches!(value, Value::Push(_) | Value::Array(_)) && known.contains(&kind.as_str());
    alone.then_some(kind)
}

/// Puts in one order what a server sends in the order of a hash table: the messages of one PUBLISH by different patterns, and
/// the names that one UNSUBSCRIBE without names gives up.
pub(super) fn settle_order(values: &mut [Value]) {
    let run_of = |value: &Value| match (out_of_band(value).as_deref(), value.elements()) {
        (Some("pmessage"), Some([_, _, channel, message])) => Some((channel.clone(), message.clone())),
        (Some(kind), _) if kind.contains("unsubscribe") => Some((Value::bulk(kind), Value::Null)),
        _ => None,
    };
    for run in values.chunk_by_mut(|left, right| run_of(left).is_some() && run_of(left) == run_of(right)) {
        let counts: Vec<Value> = run.iter().filter_map(|value| value.elements()?.last().cloned()).collect();
        run.sort_by_key(|value| value.elements().and_then(|items| items.get(1).cloned()));
        for (value, count) in run.iter_mut().zip(counts) {
            if let Value::Array(items) | Value::Push(items) = value
                && let Some(last) = items.last_mut()
            {
                *last = count;
            }
        }
    }
}
