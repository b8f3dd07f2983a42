//! The names that messages have in a queue's hash.

/// Ids of messages, each with the names of what belongs to it, in one buffer.
#[derive(Default)]
pub(super) struct Names {
    bytes: Vec<u8>,
    /// Where each message begins, and how long its id is.
    ids: Vec<(usize, usize)>,
}

/// What belongs to a message beside its body, which has the id for a name; in the order in which the buffer has them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    ReceiveCount,
    FirstReceived,
    Death,
    Trace,
}

const PARTS: [&[u8]; 4] = [b":rc", b":fr", b":dead", b":trace"];

impl Names {
    pub(super) fn push(&mut self, id: &[u8]) {
        self.ids.push((self.bytes.len(), id.len()));
        for part in PARTS {
            self.bytes.extend_from_slice(id);
            self.bytes.extend_from_slice(part);
        }
    }

    /// Takes the last one back.
    pub(super) fn pop(&mut self) {
        if let Some((begin, _)) = self.ids.pop() {
            self.bytes.truncate(begin);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = &[u8]> {
        self.ids.iter().map(|&(begin, length)| self.slice(begin, length))
    }

    pub(super) fn last(&self, part: Part) -> &[u8] {
        self.ids.len().checked_sub(1).map_or(b"", |place| self.part(place, part))
    }

    /// The name of a part of the message in some place.
    pub(super) fn part(&self, place: usize, part: Part) -> &[u8] {
        let Some(&(begin, length)) = self.ids.get(place) else { return b"" };
        let before = PARTS.iter().take(part as usize).map(|part| length + part.len()).sum::<usize>();
        self.slice(begin + before, length + PARTS.get(part as usize).map_or(0, |part| part.len()))
    }

    /// All names of all messages; without those of what only some queues' messages have, if they are not wanted.
    pub(super) fn all(&self, with_extras: bool) -> Vec<&[u8]> {
        const USUAL: [Part; 2] = [Part::ReceiveCount, Part::FirstReceived];
        const EXTRAS: [Part; 2] = [Part::Death, Part::Trace];
        let mut names = Vec::with_capacity(self.len() * (1 + PARTS.len()));
        for (place, id) in self.ids().enumerate() {
            names.push(id);
            names.extend(USUAL.map(|part| self.part(place, part)));
            if with_extras {
                names.extend(EXTRAS.map(|part| self.part(place, part)));
            }
        }
        names
    }

    fn slice(&self, begin: usize, length: usize) -> &[u8] {
        self.bytes.get(begin..begin + length).unwrap_or_default()
    }
}
