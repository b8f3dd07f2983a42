//! What a call of the engine gives out, in buffers that the caller owns and reuses.

use std::ops::Range;

use crate::engine::AbsentBlock;
use crate::records::RecordBuf;
use crate::session::SessionId;

/// A place in the log: how many records had been emitted when something happened. Replies carry the position
/// that they depend on; a durable broker sends them once the log is safe up to there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position(pub u64);

/// How a command ended for the session that sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
#[must_use]
pub enum Outcome {
    /// Its reply is in [`Outputs::replies`] (nothing, if the client switched replies off).
    Replied,
    /// It waits. Its reply will come as a [`Delivery`] of kind [`DeliveryKind::Unblocked`] from a later call;
    /// until then the session's further commands must not be applied.
    Blocked,
    /// Its reply is in [`Outputs::replies`], and the connection is to be closed once that is sent.
    Close,
    /// The broker was told to end (`SHUTDOWN`). There is no reply.
    Shutdown,
    /// It reads history that is on disk only: [`Outputs::absent`] says what. Nothing was applied and there is no reply
    /// yet. The session's further commands must not be applied until [`Engine::resume`](crate::Engine::resume) was
    /// called, after [`Engine::supply`](crate::Engine::supply) for what could be read.
    NeedsBlocks,
}

/// Bytes for a session other than the one whose command ran.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The session to send to.
    pub to: SessionId,
    /// What it means for that session.
    pub kind: DeliveryKind,
    /// Where in [`Outputs::shared`] the bytes lie. Several deliveries may share the same bytes.
    pub bytes: Range<usize>,
    /// The position that the bytes depend on.
    pub after: Position,
}

/// See [`Outputs::gates`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplyGate {
    /// Index of the first byte of [`Outputs::replies`] behind the gate.
    pub from: usize,
    /// The position that the bytes from there on depend on.
    pub after: Position,
}

/// What a [`Delivery`] means for its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeliveryKind {
    /// A message of a subscription.
    Push,
    /// The reply of a blocked command: the session goes on.
    Unblocked,
    /// The connection is to be closed at once (`CLIENT KILL`); there are no bytes.
    Close,
}

/// The buffers of one or more calls. The engine only appends; the caller clears.
#[derive(Debug, Default)]
pub struct Outputs {
    /// Replies to the session whose commands were applied, in order, with pushes to itself in between.
    pub replies: Vec<u8>,
    /// From which byte of `replies` on the bytes depend on a newer position than those before; ascending in
    /// both. Bytes before the first gate depend on nothing.
    pub gates: Vec<ReplyGate>,
    /// What others get, in the order in which they must get it.
    pub deliveries: Vec<Delivery>,
    /// The bytes of `deliveries`.
    pub shared: Vec<u8>,
    /// The effects on the keyspace, for the log.
    pub records: RecordBuf,
    /// The blocks that the last command needs, if it ended as [`Outcome::NeedsBlocks`].
    pub absent: Vec<AbsentBlock>,
}

impl Outputs {
    /// Empties all buffers and keeps their memory.
    pub fn clear(&mut self) {
        self.replies.clear();
        self.gates.clear();
        self.deliveries.clear();
        self.shared.clear();
        self.records.clear();
        self.absent.clear();
    }

    /// The newest position that anything in `replies` depends on.
    #[must_use]
    pub fn after(&self) -> Position {
        self.gates.last().map(|gate| gate.after).unwrap_or_default()
    }

    /// Notes that the replies from byte `from` on depend on `after`.
    pub(crate) fn gate(&mut self, from: usize, after: Position) {
        if after > self.after() {
            self.gates.push(ReplyGate { from, after });
        }
    }

    pub(crate) fn deliver(
        &mut self,
        to: SessionId,
        kind: DeliveryKind,
        bytes: Range<usize>,
        after: Position,
    ) {
        self.deliveries.push(Delivery { to, kind, bytes, after });
    }
}
