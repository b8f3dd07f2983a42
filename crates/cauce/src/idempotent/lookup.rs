//! Events whose replies were lost with a connection, looked for on their stream.
//!
//! First that connection is closed at the broker, from another one: what it had not begun to carry out by then it never will, so what is on the stream
//! now is all there will be. Then the stream is read, from the entry behind which the events must stand. One that is not there never
//! will be, if nothing was deleted since; else nobody can tell.
//!
//! Another life of the server, or another server after a failover, has no such connection: what it kept is all there will be.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Attempts;
use crate::backend::link::{Link, Peer};
use crate::backend::replies::Replies;
use crate::backend::reply::{self, Attributes};
use crate::backend::request::Request;
use crate::backend::wire::Identity;
use crate::entry::EntryId;
use crate::error::CommandError;

/// Entries that are read at once. Few, because each may be large.
const AT_ONCE: usize = 200;

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Appended(EntryId),
    /// It is not on the stream, and never will be.
    Never,
    /// It is not on the stream, and may have been.
    Unclear,
}

/// Those under way: all events of one connection and stream are looked for together.
#[derive(Debug, Default)]
pub(super) struct Lookups {
    open: Mutex<HashMap<(u64, String), Arc<Lookup>>>,
}

#[derive(Debug, Default)]
struct Lookup {
    turn: tokio::sync::Mutex<()>,
    asked: Mutex<HashMap<String, Asked>>,
}

#[derive(Clone, Copy, Debug)]
struct Asked {
    after: EntryId,
    fate: Option<Fate>,
}

/// Leaves the lookup when it is dropped; the last one closes it.
struct Visit<'a> {
    lookups: &'a Lookups,
    key: (u64, String),
    lookup: Arc<Lookup>,
}

impl Lookups {
    /// What became of events that were sent on a connection which is lost, behind an entry.
    ///
    /// # Errors
    /// If the broker can't be asked to the end of the patience.
    pub(super) async fn fates(
        &self,
        link: &Link,
        attempts: &mut Attempts,
        lost: &Peer,
        stream: &str,
        after: EntryId,
        events: &[&str],
    ) -> Result<Vec<Fate>, CommandError> {
        let visit = self.enter(lost.number, stream);
        {
            let mut asked = visit.lookup.asked();
            for event in events {
                asked.insert((*event).to_owned(), Asked { after, fate: None });
            }
        }
        loop {
            let turn = tokio::time::timeout_at(attempts.end(), visit.lookup.turn.lock()).await;
            if let Some(fates) = visit.lookup.known(events) {
                return Ok(fates);
            }
            let looked = match &turn {
                Ok(_) => visit.lookup.look(link, lost, stream).await,
                // Others looked all the time, and did not come to an end.
                Err(_) => Err(attempts.tired()),
            };
            drop(turn);
            if let Err(error) = looked
                && let Some(Err(error)) = attempts.ended::<()>(Err(error)).await
            {
                return Err(error);
            }
        }
    }

    fn enter(&self, connection: u64, stream: &str) -> Visit<'_> {
        let key = (connection, stream.to_owned());
        let lookup = Arc::clone(self.lock().entry(key.clone()).or_default());
        Visit { lookups: self, key, lookup }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(u64, String), Arc<Lookup>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        let mut open = self.lookups.lock();
        // This one and the map's.
        if Arc::strong_count(&self.lookup) == 2 {
            open.remove(&self.key);
        }
    }
}

impl Lookup {
    fn asked(&self) -> MutexGuard<'_, HashMap<String, Asked>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self, events: &[&str]) -> Option<Vec<Fate>> {
        let asked = self.asked();
        events.iter().map(|event| asked.get(*event)?.fate).collect()
    }

    /// Finds out about all that was asked so far.
    async fn look(&self, link: &Link, lost: &Peer, stream: &str) -> Result<(), CommandError> {
        let mut search = {
            let asked = self.asked();
            let open = asked.iter().filter(|(_, asked)| asked.fate.is_none());
            let missing: HashMap<String, Asked> =
                open.map(|(event, asked)| (event.clone(), *asked)).collect();
            Search::new(link, stream, missing)
        };
        let rest = search.run(lost).await?;
        let mut asked = self.asked();
        for (event, id) in search.found {
            asked.entry(event).and_modify(|asked| asked.fate = Some(Fate::Appended(id)));
        }
        for event in search.missing.into_keys() {
            asked.entry(event).and_modify(|asked| asked.fate = Some(rest));
        }
        Ok(())
    }
}

/// One pass over the newest part of a stream.
struct Search<'a> {
    link: &'a Link,
    stream: &'a str,
    missing: HashMap<String, Asked>,
    found: HashMap<String, EntryId>,
    /// The entry behind which all must stand.
    after: EntryId,
    /// That entry is there.
    is_anchored: bool,
    /// How far it was read.
    read: Option<EntryId>,
}

impl<'a> Search<'a> {
    fn new(link: &'a Link, stream: &'a str, missing: HashMap<String, Asked>) -> Self {
        let after = missing.values().map(|asked| asked.after).min().unwrap_or(EntryId::ZERO);
        Self { link, stream, missing, found: HashMap::new(), after, is_anchored: false, read: None }
    }

    /// Says what became of those that are missing afterwards.
    async fn run(&mut self, lost: &Peer) -> Result<Fate, CommandError> {
        let Some(lost) = &lost.identity else { return Ok(Fate::Unclear) };
        let mut request = Request::default();
        lost.close(&mut request);
        self.ask(&mut request);
        let (mut replies, by) = self.link.call_by(&request).await.map_err(|failed| failed.error)?;
        let Some(now) = &by.identity else { return Ok(Fate::Unclear) };
        let same = now.server == lost.server;
        match replies.tree() {
            Err(error) if error.is_transient() => return Err(error),
            Err(_) if same => return Ok(Fate::Unclear),
            _ => {}
        }
        let Some(mut info) = self.take(&mut replies)? else {
            // Deleted, or the server lost it.
            return Ok(if same { Fate::Unclear } else { Fate::Never });
        };
        let end = id(&mut info, "last-generated-id").ok_or(UNEXPECTED)?;
        while !self.missing.is_empty() && self.read.is_some_and(|read| read < end) {
            info = match self.read_on(now).await? {
                Some(info) => info,
                None => return Ok(Fate::Unclear),
            };
        }
        Ok(match (self.is_anchored, same) {
            (true, _) if self.is_complete(info) => Fate::Never,
            // What was confirmed is not there: the server lost it, and everything behind it.
            (false, false) => Fate::Never,
            _ => Fate::Unclear,
        })
    }

    /// Whether nothing behind the anchor was deleted, as of what was asked after the reading.
    fn is_complete(&self, mut info: Attributes) -> bool {
        let first = info.take("first-entry").and_then(reply::entry).map(|(id, _)| id);
        // Servers before 7.0 do not say what was deleted.
        let deleted = id(&mut info, "max-deleted-entry-id");
        first.is_some_and(|first| first <= self.after) && deleted.is_some_and(|deleted| deleted <= self.after)
    }

    /// Reads on, at the same server.
    async fn read_on(&mut self, server: &Identity) -> Result<Option<Attributes>, CommandError> {
        let mut request = Request::default();
        self.ask(&mut request);
        let (mut replies, by) = self.link.call_by(&request).await.map_err(|failed| failed.error)?;
        if by.identity.as_ref().is_none_or(|by| by.server != server.server) {
            let message = "the server was replaced while it was asked".to_owned();
            return Err(CommandError::Refused { code: "TRYAGAIN".to_owned(), message });
        }
        self.take(&mut replies)
    }

    fn ask(&self, request: &mut Request) {
        let from = self.read.map_or_else(|| self.after.to_string(), |read| format!("({read}"));
        request
            .command(6)
            .arg("XRANGE")
            .arg(self.stream)
            .arg(from)
            .arg("+")
            .arg("COUNT")
            .number(AT_ONCE as u64);
        request.command(3).arg("XINFO").arg("STREAM").arg(self.stream);
    }

    /// Takes what was read; says how the stream was afterwards, if there is one.
    fn take(&mut self, replies: &mut Replies) -> Result<Option<Attributes>, CommandError> {
        let entries = reply::entries(replies.tree()?).ok_or(UNEXPECTED)?;
        if self.read.is_none() {
            self.is_anchored = entries.first().is_some_and(|entry| entry.id == self.after);
        }
        // An end is an end: nothing of ours comes after it.
        self.read = if entries.len() < AT_ONCE {
            Some(EntryId::new(u64::MAX, u64::MAX))
        } else {
            entries.last().map(|entry| entry.id)
        };
        for entry in entries {
            if let Some(event) = entry.fields.text("id")
                && self.missing.get(event).is_some_and(|asked| asked.after < entry.id)
            {
                self.missing.remove(event);
                self.found.insert(event.to_owned(), entry.id);
            }
        }
        match replies.tree() {
            Ok(reply) => Attributes::of(reply).map(Some).ok_or(UNEXPECTED),
            Err(CommandError::Refused { message, .. }) if message == "no such key" => Ok(None),
            Err(error) => Err(error),
        }
    }
}

const UNEXPECTED: CommandError = CommandError::Unexpected { command: "XINFO STREAM" };

fn id(info: &mut Attributes, name: &str) -> Option<EntryId> {
    info.take(name).as_ref().and_then(reply::entry_id)
}
