//! One of the two servers, with the clients of an episode.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::episode::{Arg, Generated, Step};
use super::frames::{Conversation, Frame, Sent};
use super::normalise::Names;
use super::world::{ALL_KEYS, GROUPS, Holds, KEYS, World};
use crate::targets::{Observer, Target};
use crate::wire::{Connection, Value, WireError, encode};

/// Clients per side.
pub(super) const CLIENTS: usize = 6;

/// Where collections change their encoding: the parameter, its usual value, and one that small collections reach.
pub(super) const THRESHOLDS: [(&str, &str, &str); 5] = [
    ("hash-max-listpack-entries", "128", "3"),
    ("hash-max-listpack-value", "64", "4"),
    ("zset-max-listpack-entries", "128", "3"),
    ("zset-max-listpack-value", "64", "1"),
    // Not below the number of members that a command names, one of them twice: see docs/differences.md.
    ("set-max-intset-entries", "512", "5"),
];

/// One more client, which looks at everything when an episode ends.
pub(super) const AUDITOR: usize = CLIENTS;

/// A timeout up to this long is waited for; a longer one is taken for endless.
const SHORT_MS: u64 = 1_000;

/// How long a step may take; generous, as only a server that hangs meets it.
const PATIENCE: Duration = Duration::from_secs(3);

/// What a step did on one side.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// The frames of each client, in their order.
    pub(super) frames: Vec<Vec<Frame>>,
    /// Who waits.
    pub(super) waits: Vec<bool>,
}

#[derive(Debug)]
pub(super) struct Side {
    clients: Vec<Client>,
    observer: Observer,
    /// The ids that differ between the sides.
    pub(super) names: Names,
}

#[derive(Debug)]
struct Client {
    connection: Connection,
    id: i64,
    conversation: Conversation,
    frames: Vec<Frame>,
}

impl Side {
    pub(super) fn new(target: &Target) -> Result<Side, WireError> {
        let mut clients = Vec::new();
        let mut names = Names::default();
        for index in 0..=AUDITOR {
            let mut connection = target.connect()?;
            let id = connection.call(&["CLIENT", "ID"])?.integer().unwrap_or_default();
            names.clients.insert(id, index);
            clients.push(Client {
                connection,
                id,
                conversation: Conversation::default(),
                frames: Vec::new(),
            });
        }
        Ok(Side { clients, observer: target.observe()?, names })
    }

    /// Back to the beginning: nobody waits, listens or is in a transaction; no keys.
    pub(super) fn reset(&mut self) -> Result<(), WireError> {
        for index in 0..=AUDITOR {
            while self.clients[index].conversation.waits() && self.waits_for_ever(index)? {
                self.observer.unblock(self.clients[index].id)?;
            }
            let client = &mut self.clients[index];
            client.connection.send(&["RESET"])?;
            while client.connection.receive_within(PATIENCE)? != Value::Simple(b"RESET".to_vec()) {}
            client.conversation = Conversation::default();
            client.frames.clear();
        }
        self.names.autos.clear();
        self.names.auto_ids.clear();
        // A server without scripts has none to forget.
        self.observer.call(&["SCRIPT", "FLUSH"])?;
        let thresholds = THRESHOLDS.iter().flat_map(|(name, usual, _)| [*name, *usual]);
        let set: Vec<&str> = ["CONFIG", "SET"].into_iter().chain(thresholds).collect();
        self.observer.call(&set)?;
        // 7.0 knows no listpacks of sets, and does not know this parameter.
        self.observer.call(&["CONFIG", "SET", "set-max-listpack-entries", "0"])?;
        self.observer.flush()
    }

    /// The commands that the server knows, as COMMAND LIST names them.
    pub(super) fn commands(&mut self) -> Result<BTreeSet<String>, WireError> {
        let list = self.observer.call(&["COMMAND", "LIST"])?;
        Ok(list.elements().unwrap_or_default().iter().filter_map(Value::text).collect())
    }

    /// Tells the world what the keys hold.
    pub(super) fn survey(&mut self, world: &mut World) -> Result<(), WireError> {
        let ask = |key| [vec!["TYPE", key], vec!["GETRANGE", key, "0", "40"], vec!["XINFO", "GROUPS", key]];
        let questions: Vec<Vec<&str>> = KEYS.into_iter().flat_map(ask).collect();
        let answers = self.observer.calls(&questions)?;
        for (key, answer) in answers.chunks_exact(3).enumerate() {
            world.set_holds(key, held(&answer[0], &answer[1]));
            let named = |group: &&str| {
                let rows = answer[2].elements().unwrap_or_default();
                rows.iter().filter_map(Value::elements).any(|row| row.get(1) == Some(&Value::bulk(group)))
            };
            world.set_groups(key, GROUPS.iter().copied().filter(named).collect());
        }
        Ok(())
    }

    /// Whether this client can't take a step now.
    pub(super) fn waits(&self, client: usize) -> bool {
        self.clients[client].conversation.waits()
    }

    pub(super) fn in_transaction(&self, client: usize) -> bool {
        self.clients[client].conversation.in_transaction()
    }

    pub(super) fn subscribed(&self, client: usize) -> bool {
        self.clients[client].conversation.subscribed()
    }

    pub(super) fn resp3(&self, client: usize) -> bool {
        self.clients[client].conversation.resp3()
    }

    /// Whether it listens, or will when its transaction runs.
    pub(super) fn will_listen(&self, client: usize) -> bool {
        self.clients[client].conversation.will_listen()
    }

    /// Brings everybody to rest after a step was sent.
    pub(super) fn finish(&mut self, step: &Step) -> Result<Outcome, WireError> {
        self.rest(step.client)?;
        for client in 0..CLIENTS {
            let conversation = &self.clients[client].conversation;
            if client != step.client && conversation.subscribed() && !conversation.waits() {
                self.listen(client)?;
            }
        }
        let others: Vec<usize> = (0..CLIENTS).filter(|client| self.waits(*client)).collect();
        let ids: Vec<i64> = others.iter().map(|client| self.clients[*client].id).collect();
        if !others.is_empty() {
            let blocked = self.observer.blocked(&ids)?;
            for (client, blocked) in others.into_iter().zip(blocked) {
                if blocked { self.drain(client)? } else { self.rest(client)? }
            }
        }
        if step.runs_out() {
            self.pass_time()?;
        }
        Ok(Outcome {
            waits: (0..=AUDITOR).map(|client| self.waits(client)).collect(),
            frames: self.clients.iter_mut().map(|client| std::mem::take(&mut client.frames)).collect(),
        })
    }

    /// Sends a step, with a barrier behind it.
    pub(super) fn send(&mut self, step: &Step) -> Result<(), WireError> {
        let commands: Vec<Sent> = step
            .commands
            .iter()
            .map(|generated| Sent {
                args: generated.args.iter().map(|arg| self.resolve(arg)).collect(),
                generated: Rc::clone(generated),
            })
            .collect();
        let mut bytes = Vec::new();
        for command in &commands {
            encode(&command.args, &mut bytes);
        }
        let barrier = barrier();
        encode(&barrier.args, &mut bytes);
        let client = &mut self.clients[step.client];
        client.conversation.sent(&commands, barrier);
        client.connection.send_raw(&bytes)
    }

    fn resolve(&self, arg: &Arg) -> Vec<u8> {
        match arg {
            Arg::Bytes(bytes) => bytes.clone(),
            Arg::Auto(number) => self.names.auto_ids.get(*number).cloned().unwrap_or_else(|| b"9-9".to_vec()),
            Arg::Client(client) => self.clients[*client].id.to_string().into_bytes(),
        }
    }

    /// Waits until the client has got everything, or waits for ever.
    fn rest(&mut self, client: usize) -> Result<(), WireError> {
        if self.clients[client].conversation.waits() {
            self.waits_for_ever(client)?;
        }
        Ok(())
    }

    /// Takes what comes until everything has come (`false`) or the client waits for others (`true`).
    fn waits_for_ever(&mut self, index: usize) -> Result<bool, WireError> {
        let deadline = Instant::now() + PATIENCE;
        while self.clients[index].conversation.waits() {
            let client = &mut self.clients[index];
            let timeout = client.conversation.next().and_then(timeout_ms);
            if timeout.is_none_or(|timeout| timeout <= SHORT_MS && timeout > 0) {
                let value = client.connection.receive_within(PATIENCE)?;
                client.take(value);
                continue;
            }
            if self.observer.blocked(&[client.id])? == [true] {
                self.drain(index)?;
                return Ok(self.clients[index].conversation.waits());
            }
            if let Some(value) = self.clients[index].connection.try_receive()? {
                self.clients[index].take(value);
            }
            if Instant::now() > deadline {
                return Err(WireError::TimedOut(
                    PATIENCE,
                    format!("client {index} neither waits nor answers"),
                ));
            }
        }
        Ok(false)
    }

    /// Takes what has come to a waiting client.
    fn drain(&mut self, client: usize) -> Result<(), WireError> {
        // One more turn of the server, so that what it wrote before is here.
        self.observer.call(&["PING"])?;
        let client = &mut self.clients[client];
        while let Some(value) = client.connection.try_receive()? {
            client.take(value);
        }
        Ok(())
    }

    /// Takes the messages of a client that listens and does nothing else.
    fn listen(&mut self, index: usize) -> Result<(), WireError> {
        let client = &mut self.clients[index];
        if client.conversation.in_transaction() {
            return self.drain(index);
        }
        let barrier = barrier();
        client.connection.send(&barrier.args)?;
        client.conversation.sent(&[], barrier);
        while client.conversation.waits() {
            let value = client.connection.receive_within(PATIENCE)?;
            client.take(value);
        }
        Ok(())
    }

    /// Lets a time to live of two milliseconds run out, and has the server notice.
    fn pass_time(&mut self) -> Result<(), WireError> {
        let until = Instant::now() + Duration::from_millis(5);
        while Instant::now() < until {
            self.observer.call(&["PING"])?;
        }
        let mut exists = vec!["EXISTS"];
        exists.extend(ALL_KEYS);
        let select = |database| vec!["SELECT", database];
        self.observer.calls(&[select("1"), exists.clone(), select("0"), exists]).map(drop)
    }
}

/// What a key holds, by its type and the beginning of its text.
fn held(kind: &Value, text: &Value) -> Holds {
    match kind.text().as_deref() {
        Some("none") => Holds::Nothing,
        Some("hash") => Holds::Hash,
        Some("set") => Holds::Set,
        Some("zset") => Holds::SortedSet,
        Some("stream") => Holds::Stream,
        Some("string") => {
            let text = text.text().unwrap_or_default();
            if text.parse::<i64>().is_ok_and(|number| number.unsigned_abs() < 1 << 60) {
                Holds::Integer
            } else if text.parse::<f64>().is_ok_and(f64::is_finite) {
                Holds::Float
            } else {
                Holds::Text
            }
        }
        _ => Holds::Other,
    }
}

impl Client {
    fn take(&mut self, value: Value) {
        if let Some(frame) = self.conversation.take(value) {
            self.frames.push(frame);
        }
    }
}

/// What is sent behind the commands of a step; its reply says that theirs are complete.
fn barrier() -> Sent {
    let generated = Rc::new(Generated::plain(&["PING", "barrier"]));
    Sent { args: vec![b"PING".to_vec(), b"barrier".to_vec()], generated }
}

/// The timeout of a command that may wait.
fn timeout_ms(sent: &Sent) -> Option<u64> {
    if sent.generated.inner_at.is_some() {
        return None;
    }
    let text = |at: usize| std::str::from_utf8(sent.args.get(at)?).ok();
    if sent.is("XREAD") || sent.is("XREADGROUP") {
        let at = sent.args.iter().position(|arg| arg.eq_ignore_ascii_case(b"BLOCK"))?;
        return text(at + 1)?.parse().ok();
    }
    let at = match () {
        () if sent.is("BZPOPMIN") || sent.is("BZPOPMAX") => sent.args.len() - 1,
        () if sent.is("BZMPOP") => 1,
        () => return None,
    };
    let seconds: f64 = text(at)?.parse().ok()?;
    (seconds >= 0.0).then_some((seconds * 1_000.0) as u64)
}
