//! Whether the log's thread, when it is woken, waits a moment for others before it commits.
//!
//! The first of many connections whose requests are run now wakes it; without the wait, that one would have a sync for itself, and the others wait for
//! the next. A client alone is never made to wait.

use std::time::{Duration, Instant};

/// So many connections must have shared a commit lately.
const MIN: usize = 4;
/// From 20 to 80 µs nothing changes; without, commits are small, and with much more, all wait for nothing.
const WAIT: Duration = Duration::from_micros(40);

/// How many usually share a commit.
#[derive(Debug, Default)]
pub(super) struct Company {
    /// Those of the batch that is being filled.
    joined: usize,
    /// Those of the fullest of the last batches; fewer, the longer ago that was.
    usual: usize,
}

impl Company {
    /// Something was appended to the batch, by one connection.
    pub(super) fn joins(&mut self) {
        self.joined += 1;
    }

    /// The batch is taken to be written.
    pub(super) fn leaves(&mut self) {
        if self.joined > 0 {
            self.usual -= self.usual.div_ceil(8);
            self.usual = self.usual.max(std::mem::take(&mut self.joined));
        }
    }

    pub(super) fn is_expected(&self) -> bool {
        self.usual >= MIN
    }
}

/// Lets others append. A sleep so short would take twice as long.
pub(super) fn wait() {
    let began = Instant::now();
    while began.elapsed() < WAIT {
        std::thread::yield_now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_waits_for_those_who_were_not_there() {
        let mut company = Company::default();
        let mut commit = |clients: usize| {
            (0..clients).for_each(|_| company.joins());
            company.leaves();
            company.is_expected()
        };
        assert!((0..100).all(|_| !commit(1)), "a client alone");
        assert!(commit(20));
        assert!(commit(0) && (0..5).all(|_| commit(1)), "some commits are small among large ones");
        assert!((0..20).any(|_| !commit(1)), "the others have gone");
        assert!(!commit(1));
    }
}
