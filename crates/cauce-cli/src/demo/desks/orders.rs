//! What the conductor orders on standard input.

use std::io::BufRead;

use tokio::sync::watch;

/// The line that makes a part hold the next event that it gets, until it is killed over it.
pub(in super::super) const HOLD: &str = "hold";

/// Orders as they stand. The end of standard input is one too: the conductor wants this part to finish, or
/// is dead.
#[derive(Debug, Clone)]
pub(in super::super) struct Orders(watch::Receiver<bool>);

impl Orders {
    /// Reads standard input on a thread of its own: nothing can hold up the end of the process.
    pub(in super::super) fn read() -> Self {
        let (hold, orders) = watch::channel(false);
        std::thread::spawn(move || {
            // An input that can't be read is as good as ended.
            for line in std::io::stdin().lock().lines().map_while(Result::ok) {
                if line == HOLD {
                    hold.send_replace(true);
                }
            }
        });
        Self(orders)
    }

    /// Whether the next event is to be held.
    pub(super) fn hold(&self) -> bool {
        *self.0.borrow()
    }

    /// Returns when this part is to finish.
    pub(in super::super) async fn finish(mut self) {
        while self.0.changed().await.is_ok() {}
    }
}
