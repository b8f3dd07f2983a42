//! Runs cases on a target.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::parse::{Action, Case, Condition, Line, Word};
use super::pattern::{Captures, Pattern, Protocol};
use crate::targets::{Observer, Target};
use crate::wire::{Connection, Value, WireError};

/// How long a command may take to begin waiting.
const PATIENCE: Duration = Duration::from_secs(10);

/// A case that does not hold.
#[derive(Debug, thiserror::Error)]
#[error("{case} [{target}, {protocol}], line {line}: {what}")]
#[non_exhaustive]
pub struct CaseFailure {
    /// The case's sentence.
    pub case: String,
    /// The target's name.
    pub target: &'static str,
    /// The protocol.
    pub protocol: Protocol,
    /// The line of the transcript.
    pub line: usize,
    /// What was expected and what came.
    pub what: String,
}

/// Runs cases one after another on one target.
#[derive(Debug)]
pub struct Runner<'a> {
    target: &'a Target,
    observer: Observer,
}

impl<'a> Runner<'a> {
    /// On this target.
    ///
    /// # Errors
    ///
    /// [`WireError`] if it does not answer.
    pub fn new(target: &'a Target) -> Result<Runner<'a>, WireError> {
        Ok(Runner { target, observer: target.observe()? })
    }

    /// Runs a case; the server is empty before, and nobody is left blocked or subscribed after it.
    ///
    /// # Errors
    ///
    /// [`CaseFailure`] at the first line that does not hold.
    pub fn run(&mut self, case: &Case, protocol: Protocol) -> Result<(), CaseFailure> {
        let mut conversation = Conversation {
            target: self.target,
            observer: &mut self.observer,
            protocol,
            peers: BTreeMap::new(),
            captures: Captures::new(),
        };
        let mut last = case.line;
        let outcome = conversation.run(case, &mut last);
        let ended = conversation.end();
        outcome.and(ended).map_err(|What(what)| CaseFailure {
            case: case.name.clone(),
            target: self.target.name(),
            protocol,
            line: last,
            what,
        })
    }
}

/// A case on its way.
struct Conversation<'a> {
    target: &'a Target,
    observer: &'a mut Observer,
    protocol: Protocol,
    peers: BTreeMap<char, Peer>,
    captures: Captures,
}

struct Peer {
    connection: Connection,
    id: i64,
    closed: bool,
    sent: String,
}

impl Conversation<'_> {
    fn run(&mut self, case: &Case, last: &mut usize) -> Result<(), What> {
        self.observer.flush()?;
        for line in &case.lines {
            *last = line.number;
            if line.conditions.iter().all(|condition| self.applies(*condition)) {
                self.line(line)?;
            }
        }
        Ok(())
    }

    fn applies(&self, condition: Condition) -> bool {
        match condition {
            Condition::Feature(feature, wanted) => self.target.features().has(feature) == wanted,
            Condition::Protocol(protocol) => self.protocol == protocol,
        }
    }

    fn line(&mut self, line: &Line) -> Result<(), What> {
        match &line.action {
            Action::Send(words) => {
                let args: Vec<Vec<u8>> = words.iter().map(|word| self.argument(word)).collect();
                let peer = self.peer(line.connection)?;
                peer.sent = args.iter().map(|arg| String::from_utf8_lossy(arg) + " ").collect();
                peer.connection.send(&args).map_err(What::from)
            }
            Action::SendRaw(bytes) => {
                let peer = self.peer(line.connection)?;
                peer.sent = format!("{} raw bytes", bytes.len());
                peer.connection.send_raw(bytes).map_err(What::from)
            }
            Action::Expect { pattern, written } => self.expect(line.connection, pattern, written),
            Action::Blocked => self.blocked(line.connection),
            Action::Closed => {
                let peer = self.peer(line.connection)?;
                peer.closed = true;
                match peer.connection.receive() {
                    Err(WireError::Closed) => Ok(()),
                    Err(error) => Err(What(format!("expected the connection to close, but {error}"))),
                    Ok(value) => Err(What(format!("expected the connection to close, got {value}"))),
                }
            }
        }
    }

    /// A capture that was never made stays as it was typed, so that `$` and `$x` can be sent.
    fn argument(&self, word: &Word) -> Vec<u8> {
        match word {
            Word::Bytes(bytes) => bytes.clone(),
            Word::Captured(name) => match self.captures.get(name) {
                Some(text) => text.clone().into_bytes(),
                None => format!("${name}").into_bytes(),
            },
        }
    }

    fn expect(&mut self, name: char, pattern: &Pattern, written: &str) -> Result<(), What> {
        let protocol = self.protocol;
        let peer = self.peer(name)?;
        let sent = peer.sent.clone();
        let value = peer.connection.receive().map_err(|error| What(format!("after {sent}: {error}")))?;
        if pattern.matches(&value, protocol, &mut self.captures) {
            Ok(())
        } else {
            Err(What(format!("after {sent}: \n    expected {written}\n         got {value}")))
        }
    }

    fn blocked(&mut self, name: char) -> Result<(), What> {
        let id = self.peer(name)?.id;
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if self.observer.blocked(&[id])? == [true] {
                return Ok(());
            }
            let peer = self.peer(name)?;
            if let Some(value) = peer.connection.try_receive()? {
                return Err(What(format!("after {}: expected it to wait, got {value}", peer.sent)));
            }
        }
        Err(What(format!("it neither waits nor answers within {PATIENCE:?}")))
    }

    fn peer(&mut self, name: char) -> Result<&mut Peer, What> {
        if !self.peers.contains_key(&name) {
            let peer = self.introduce()?;
            self.peers.insert(name, peer);
        }
        Ok(self.peers.get_mut(&name).expect("it has just been made"))
    }

    fn introduce(&self) -> Result<Peer, WireError> {
        let mut connection = self.target.connect()?;
        if self.protocol == Protocol::Resp3 {
            connection.call(&["HELLO", "3"])?;
        }
        let id = connection.call(&["CLIENT", "ID"])?.integer().unwrap_or_default();
        Ok(Peer { connection, id, closed: false, sent: String::new() })
    }

    /// Lets everybody go, and finds frames that the case did not mention.
    fn end(&mut self) -> Result<(), What> {
        let mut outcome = Ok(());
        for (name, peer) in &mut self.peers {
            if peer.closed {
                continue;
            }
            let blocked = self.observer.blocked(&[peer.id])? == [true];
            if blocked {
                self.observer.unblock(peer.id)?;
            }
            if peer.connection.send(&["RESET"]).is_err() {
                continue;
            }
            let reset = Value::Simple(b"RESET".to_vec());
            loop {
                match peer.connection.receive() {
                    Ok(value) if value == reset => break,
                    Ok(_) if blocked => {}
                    Ok(value) => outcome = Err(What(format!("the case ends, but {name} still got {value}"))),
                    Err(error) => {
                        outcome = Err(What(format!("the case ends, but {name} can't be reset: {error}")));
                        break;
                    }
                }
            }
        }
        outcome
    }
}

/// What went wrong, as a sentence.
struct What(String);

impl From<WireError> for What {
    fn from(error: WireError) -> What {
        What(error.to_string())
    }
}
