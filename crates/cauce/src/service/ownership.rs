//! Whether this process is the group's one reader of a stream, where order is kept, and what it may do as such.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio::time::Instant;

/// How far this process is with a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    /// Another instance has it, or nobody.
    Foreign,
    /// It is this process's, which takes what is pending: nothing new is read before that is known.
    Taking,
    /// New entries are read by the connection of this id.
    Reading(i64),
    /// It is given up as soon as nothing of it is held any more.
    Leaving,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    /// It is surely this process's until then: the lease at the broker was renewed a lease before, or later.
    until: Instant,
    /// The connection that the broker knows as the reader's.
    connection: String,
}

/// Whether this process is the reader of one stream. What was begun under an earlier epoch is cut off: somebody else may run it.
#[derive(Debug)]
pub(crate) struct Ownership {
    state: Mutex<State>,
    epoch: watch::Sender<u64>,
}

impl Ownership {
    pub(crate) fn new() -> Self {
        let state = State { phase: Phase::Foreign, until: Instant::now(), connection: String::new() };
        Self { state: Mutex::new(state), epoch: watch::Sender::new(0) }
    }

    /// The epoch under which a handler may begin now, if it may.
    pub(crate) fn may_run(&self) -> Option<u64> {
        let state = self.lock();
        let own = matches!(state.phase, Phase::Taking | Phase::Reading(_)) && Instant::now() < state.until;
        own.then(|| *self.epoch.borrow())
    }

    /// Whether new entries may be read by the connection of this id.
    pub(crate) fn may_read(&self, connection: i64) -> bool {
        let state = self.lock();
        state.phase == Phase::Reading(connection) && Instant::now() < state.until
    }

    /// Whether it is this process's at the broker, as far as it knows.
    pub(crate) fn is_held(&self) -> bool {
        self.lock().phase != Phase::Foreign
    }

    /// Whether it is this process's, and what is pending was not asked for since.
    pub(crate) fn is_taking(&self) -> bool {
        self.lock().phase == Phase::Taking
    }

    /// Whether everything that was pending has been taken.
    pub(crate) fn is_reading(&self) -> bool {
        matches!(self.lock().phase, Phase::Reading(_))
    }

    /// Whether it is this process's, and nothing new is read by the connection of this id yet.
    pub(crate) fn is_unread_by(&self, connection: i64) -> bool {
        match self.lock().phase {
            Phase::Taking => true,
            Phase::Reading(by) => by != connection,
            Phase::Foreign | Phase::Leaving => false,
        }
    }

    pub(crate) fn is_leaving(&self) -> bool {
        self.lock().phase == Phase::Leaving
    }

    /// It became this process's. Says under which epoch.
    pub(crate) fn acquired(&self, until: Instant, connection: &str) -> u64 {
        let mut state = self.lock();
        *state = State { phase: Phase::Taking, until, connection: connection.to_owned() };
        *self.epoch.borrow()
    }

    /// The lease was renewed. Says whether that was in time: once it has ended here, something may have been refused already that comes before what
    /// would begin now.
    pub(crate) fn renewed(&self, until: Instant) -> bool {
        let mut state = self.lock();
        let in_time = state.phase != Phase::Foreign && Instant::now() < state.until;
        if in_time {
            state.until = until;
        }
        in_time
    }

    /// Everything that was pending is on its way to the handlers: new entries may be read. Says whether it is still as it was.
    pub(crate) fn open(&self, epoch: u64, connection: i64) -> bool {
        let mut state = self.lock();
        let fits = state.phase == Phase::Taking && *self.epoch.borrow() == epoch;
        if fits {
            state.phase = Phase::Reading(connection);
        }
        fits
    }

    /// The reading connection broke: what was on its way is to be taken before anything new is read.
    pub(crate) fn interrupt(&self) {
        let mut state = self.lock();
        if matches!(state.phase, Phase::Reading(_)) {
            state.phase = Phase::Taking;
        }
    }

    /// It is to be given up. Says whether it was this process's.
    pub(crate) fn leave(&self) -> bool {
        let mut state = self.lock();
        let owned = state.phase != Phase::Foreign;
        if owned {
            state.phase = Phase::Leaving;
        }
        owned
    }

    /// It is not this process's any more: what runs is cut off. Says whether it was.
    pub(crate) fn lose(&self) -> bool {
        let owned = std::mem::replace(&mut self.lock().phase, Phase::Foreign) != Phase::Foreign;
        if owned {
            self.cut();
        }
        owned
    }

    /// Cuts off what runs.
    pub(crate) fn cut(&self) {
        self.epoch.send_modify(|epoch| *epoch += 1);
    }

    /// When the lease ends, if there is one.
    pub(crate) fn until(&self) -> Option<Instant> {
        let state = self.lock();
        (state.phase != Phase::Foreign).then_some(state.until)
    }

    /// The connection that the broker knows as the reader's.
    pub(crate) fn connection(&self) -> String {
        self.lock().connection.clone()
    }

    /// Ends when what was begun under this epoch is to be cut off.
    pub(crate) fn cut_off(&self, epoch: u64) -> impl Future<Output = ()> + use<> {
        let mut epochs = self.epoch.subscribe();
        async move {
            // Without a sender the service is gone.
            let _ = epochs.wait_for(|now| *now > epoch).await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt;

    use super::*;

    const LEASE: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn nothing_begins_after_the_lease() {
        let ownership = Ownership::new();
        assert_eq!((ownership.may_run(), ownership.until()), (None, None));
        let epoch = ownership.acquired(Instant::now() + LEASE, "7 1.2.3.4:5");
        assert_eq!(ownership.may_run(), Some(epoch));
        assert!(!ownership.may_read(7), "before what is pending is known");
        assert!(ownership.open(epoch, 7) && ownership.may_read(7) && !ownership.may_read(8));
        tokio::time::advance(LEASE).await;
        assert!(ownership.may_run().is_none() && !ownership.may_read(7));
        assert!(!ownership.renewed(Instant::now() + LEASE) && !ownership.may_read(7), "too late");
        let epoch = ownership.acquired(Instant::now() + LEASE, "7 1.2.3.4:5");
        assert!(ownership.open(epoch, 7) && ownership.renewed(Instant::now() + LEASE * 2));
        tokio::time::advance(LEASE).await;
        assert!(ownership.may_read(7));
        ownership.interrupt();
        assert!(ownership.is_taking() && ownership.may_run().is_some() && !ownership.may_read(7));
    }

    #[tokio::test(start_paused = true)]
    async fn what_runs_ends_when_the_stream_is_lost() {
        let ownership = Ownership::new();
        let epoch = ownership.acquired(Instant::now() + LEASE, "");
        let cut_off = ownership.cut_off(epoch);
        tokio::pin!(cut_off);
        assert!(ownership.leave() && ownership.may_run().is_none() && ownership.is_held());
        assert!(cut_off.as_mut().now_or_never().is_none(), "what runs may end");
        assert!(ownership.lose() && !ownership.lose());
        cut_off.await;
        let next = ownership.acquired(Instant::now() + LEASE, "");
        assert!(!ownership.open(epoch, 1) && ownership.open(next, 1));
    }
}
