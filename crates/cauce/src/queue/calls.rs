//! Calls on a queue and how they become scripts: many calls of one kind are one script.

use tokio::sync::oneshot;

use super::error::QueueError;
use super::keys::Keys;
use super::message::Received;
use super::name::MessageId;
use super::script::{DELETE, Invocation, RECEIVE, SEND, VISIBILITY};
use crate::backend::replies::{Replies, Reply};
use crate::error::CommandError;
use crate::trace::TraceContext;

/// One call of one caller.
#[derive(Debug)]
pub(super) enum Call {
    Send(Letter),
    /// At most so many.
    Receive {
        count: usize,
        take: Take,
    },
    Delete {
        id: MessageId,
        fence: Option<u64>,
    },
    Visibility(Visibility),
}

/// A message that is to be sent.
#[derive(Debug)]
pub(super) struct Letter {
    /// If it is not the queue's.
    pub(super) delay_ms: Option<u64>,
    pub(super) body: Vec<u8>,
    /// The trace that it is sent in.
    pub(super) trace: Option<TraceContext>,
}

/// When a message is to be visible.
#[derive(Clone, Copy, Debug)]
pub(super) struct Visibility {
    pub(super) id: MessageId,
    /// From now.
    pub(super) vt_ms: u64,
    /// The receive count that it must have: it grows with every receipt, so an older one tells that the message is somebody else's.
    pub(super) fence: Option<u64>,
    /// The receipt is taken back.
    pub(super) is_uncounted: bool,
}

/// What becomes of the messages that a receive takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Take {
    /// Hidden for the queue's visibility timeout,
    Hide,
    /// for so many milliseconds,
    HideFor(u64),
    /// or deleted.
    Pop,
}

#[derive(Debug)]
pub(super) enum Answer {
    Sent(MessageId),
    Received(Received),
    /// Whether the message was there (and still the caller's).
    Done(bool),
}

/// Why a call failed. Many callers may get the same.
#[derive(Clone, Debug)]
pub(super) enum Failure {
    TooLong,
    NotFound,
    ForeignUnits { vt: String, delay: String },
    Command(CommandError),
}

impl Failure {
    pub(super) fn into_error(self, queue: &str) -> QueueError {
        let queue = queue.to_owned();
        match self {
            Self::TooLong => QueueError::MessageTooLong,
            Self::NotFound => QueueError::QueueNotFound { queue },
            Self::ForeignUnits { vt, delay } => QueueError::ForeignUnits { queue, vt, delay },
            Self::Command(error) => error.into(),
        }
    }

    pub(super) const fn unexpected() -> Self {
        Self::Command(CommandError::Unexpected { command: "EVALSHA" })
    }

    /// What a script says is wrong with the queue.
    pub(super) fn of(replies: &Replies) -> Option<Self> {
        let mut replies = replies.clone();
        let is_foreign = match replies.value()? {
            Reply::Text(b"queueNotFound") => return Some(Self::NotFound),
            Reply::List(3) => replies.text()? == b"foreignUnits",
            _ => false,
        };
        let mut text = || Some(String::from_utf8_lossy(replies.text()?).into_owned());
        if is_foreign { Some(Self::ForeignUnits { vt: text()?, delay: text()? }) } else { None }
    }
}

pub(super) type Caller = oneshot::Sender<Result<Answer, Failure>>;

/// Calls of one kind that one script carries out.
pub(super) struct Group {
    pub(super) invocation: Invocation,
    callers: Callers,
}

enum Callers {
    Each(Vec<Caller>),
    /// With what their messages' ids end with.
    Sending(Vec<(Suffix, Caller)>),
    /// With how many each wants.
    Sharing(Take, Vec<(usize, Caller)>),
}

/// The random end of a message's id.
pub(super) type Suffix = [u8; MessageId::SUFFIX_LENGTH];

/// Puts calls together by kind, each kind in the order of the calls. Sends come first and receives last: a receive finds what the same
/// round sends.
pub(super) fn groups(keys: &Keys, calls: impl IntoIterator<Item = (Call, Caller)>) -> Vec<Group> {
    let (mut messages, mut senders) = (Vec::new(), Vec::new());
    let (mut visibilities, mut deletes) = (None, None);
    let mut receives: Vec<(Take, Vec<(usize, Caller)>)> = Vec::new();
    for (call, reply) in calls {
        match call {
            Call::Send(letter) => {
                messages.push(letter);
                senders.push(reply);
            }
            Call::Visibility(change) => {
                let (invocation, replies) =
                    visibilities.get_or_insert_with(|| (visibility(keys, &[]), Vec::new()));
                push_visibility(invocation, change);
                replies.push(reply);
            }
            Call::Delete { id, fence } => {
                let (invocation, replies) =
                    deletes.get_or_insert_with(|| (DELETE.with_keys(keys.both()), Vec::new()));
                invocation.arg(id.as_str()).arg(fenced(fence));
                replies.push(reply);
            }
            // Nobody would get the messages.
            Call::Receive { .. } if reply.is_closed() => {}
            Call::Receive { count, take } => match receives.iter_mut().find(|(found, _)| *found == take) {
                Some((_, callers)) => callers.push((count, reply)),
                None => receives.push((take, vec![(count, reply)])),
            },
        }
    }
    let sending = (!messages.is_empty()).then(|| {
        let (invocation, suffixes) = send(keys, false, &messages);
        Group { invocation, callers: Callers::Sending(suffixes.into_iter().zip(senders).collect()) }
    });
    let each = [visibilities, deletes].into_iter().flatten();
    let each = each.map(|(invocation, replies)| Group { invocation, callers: Callers::Each(replies) });
    let sharing = receives.into_iter().map(|(take, callers)| {
        let count = callers.iter().map(|(count, _)| count).sum();
        Group { invocation: receive(keys, count, take), callers: Callers::Sharing(take, callers) }
    });
    sending.into_iter().chain(each).chain(sharing).collect()
}

/// A send of messages with their delays in milliseconds, where those are not the queue's: each of them or, if it is `atomic`, all or
/// none. The ids of the messages will end with the suffixes, which are sorted so that the ids are in the order of the messages.
pub(super) fn send(keys: &Keys, atomic: bool, messages: &[Letter]) -> (Invocation, Vec<Suffix>) {
    let suffixes = suffixes(messages.len());
    let mut invocation = SEND.with_keys(keys.both());
    invocation.arg(keys.units.name()).arg(if atomic { "1" } else { "" }).arg(keys.announcement());
    let is_delayed = messages.iter().any(|letter| letter.delay_ms.is_some());
    let is_traced = messages.iter().any(|letter| letter.trace.is_some());
    let longest = messages.iter().map(|letter| letter.body.len()).max().unwrap_or(0);
    invocation.arg(if is_delayed { "1" } else { "" }).arg(if is_traced { "1" } else { "" });
    invocation.number(longest as u64);
    for (suffix, letter) in suffixes.iter().zip(messages) {
        invocation.arg(suffix).arg(&letter.body);
    }
    for letter in messages.iter().filter(|_| is_delayed) {
        invocation.arg(letter.delay_ms.map(|delay| delay.to_string()).unwrap_or_default());
    }
    for letter in messages.iter().filter(|_| is_traced) {
        invocation.arg(letter.trace.map(|trace| trace.to_string()).unwrap_or_default());
    }
    (invocation, suffixes)
}

/// Random ends of ids, sorted.
pub(super) fn suffixes(count: usize) -> Vec<Suffix> {
    let random = |_| {
        let mut suffix = Suffix::default();
        suffix.fill_with(|| fastrand::alphanumeric() as u8);
        suffix
    };
    let mut suffixes: Vec<_> = (0..count).map(random).collect();
    suffixes.sort_unstable();
    suffixes
}

/// The id that begins as a send replied.
pub(super) fn sent_id(prefix: &[u8], suffix: &Suffix) -> Option<MessageId> {
    MessageId::from_parts(prefix, suffix)
}

fn receive(keys: &Keys, count: usize, take: Take) -> Invocation {
    let mut invocation = RECEIVE.with_keys(keys.both());
    invocation.arg(keys.units.name()).number(count as u64);
    match take {
        Take::Hide => invocation.arg(""),
        Take::HideFor(ms) => invocation.number(ms),
        Take::Pop => invocation.arg("pop"),
    };
    invocation
}

pub(super) fn visibility(keys: &Keys, changes: &[Visibility]) -> Invocation {
    let mut invocation = VISIBILITY.with_keys(keys.both());
    invocation.arg(keys.units.name());
    for change in changes {
        push_visibility(&mut invocation, *change);
    }
    invocation
}

fn push_visibility(invocation: &mut Invocation, change: Visibility) {
    invocation
        .arg(change.id.as_str())
        .arg(change.vt_ms.to_string())
        .arg(fenced(change.fence))
        .arg(if change.is_uncounted { "1" } else { "" });
}

pub(super) fn fenced(fence: Option<u64>) -> String {
    fence.map(|count| count.to_string()).unwrap_or_default()
}

impl Group {
    pub(super) const fn is_receive(&self) -> bool {
        matches!(self.callers, Callers::Sharing(..))
    }

    /// Hands each caller its part. Returns the messages that nobody takes any more and that are still in the queue.
    pub(super) fn answer(self, result: Result<Replies, CommandError>) -> Vec<super::Message> {
        let result = result.map_err(Failure::Command).and_then(|replies| match Failure::of(&replies) {
            Some(failure) => Err(failure),
            None => Ok(replies),
        });
        match (self.callers, result) {
            (Callers::Each(replies), Err(failure)) => refuse(replies, &failure),
            (Callers::Sending(senders), Err(failure)) => {
                refuse(senders.into_iter().map(|(_, reply)| reply), &failure);
            }
            (Callers::Sharing(_, callers), Err(failure)) => {
                refuse(callers.into_iter().map(|(_, reply)| reply), &failure);
            }
            (Callers::Each(replies), Ok(value)) => answer_each(replies, value),
            (Callers::Sending(senders), Ok(value)) => answer_senders(senders, value),
            (Callers::Sharing(take, callers), Ok(value)) => match Received::of(value) {
                Some(received) => return share(take, callers, received),
                None => refuse(callers.into_iter().map(|(_, reply)| reply), &Failure::unexpected()),
            },
        }
        Vec::new()
    }
}

fn refuse(callers: impl IntoIterator<Item = Caller>, failure: &Failure) {
    for caller in callers {
        let _ = caller.send(Err(failure.clone()));
    }
}

fn answer_each(callers: Vec<Caller>, mut replies: Replies) {
    let mut answers = replies.numbers().unwrap_or_default().into_iter();
    for caller in callers {
        let answer = answers.next().map(|done| Answer::Done(done == 1));
        // A caller that has gone does not want to know.
        let _ = caller.send(answer.ok_or_else(Failure::unexpected));
    }
}

fn answer_senders(senders: Vec<(Suffix, Caller)>, mut replies: Replies) {
    let items = replies.list().unwrap_or(0);
    let prefix = replies.text().map(<[u8]>::to_vec).unwrap_or_default();
    let too_long: Vec<_> = (1..items).filter_map(|_| replies.count()).collect();
    for (place, (suffix, caller)) in (0..).zip(senders) {
        let _ = caller.send(match sent_id(&prefix, &suffix) {
            _ if too_long.contains(&place) => Err(Failure::TooLong),
            Some(id) => Ok(Answer::Sent(id)),
            None => Err(Failure::unexpected()),
        });
    }
}

fn share(take: Take, callers: Vec<(usize, Caller)>, received: Received) -> Vec<super::Message> {
    let Received { mut messages, next_due } = received;
    for (count, reply) in callers {
        let rest = messages.split_off(count.min(messages.len()));
        let part = Received { messages: std::mem::replace(&mut messages, rest), next_due };
        if let Err(Ok(Answer::Received(mut part))) = reply.send(Ok(Answer::Received(part))) {
            // It has gone while its messages were on the way: the next one gets them.
            part.messages.append(&mut messages);
            messages = part.messages;
        }
    }
    if take == Take::Pop {
        if !messages.is_empty() {
            tracing::warn!(count = messages.len(), "messages were popped for callers that have gone");
        }
        return Vec::new();
    }
    messages
}
