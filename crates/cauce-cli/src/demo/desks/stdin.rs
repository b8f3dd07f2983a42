//! The end of standard input: the conductor wants this part to finish, or is dead.

use std::io::Read;

use tokio::sync::watch;

/// Waits for the end of standard input.
#[derive(Debug, Clone)]
pub(in super::super) struct StdinClosed(watch::Receiver<()>);

impl StdinClosed {
    /// Watches standard input on a thread of its own: nothing can hold up the end of the process.
    pub(in super::super) fn watch() -> Self {
        let (open, closed) = watch::channel(());
        std::thread::spawn(move || {
            // An input that can't be read is as good as ended.
            let _ = std::io::stdin().lock().read_to_end(&mut Vec::new());
            drop(open);
        });
        Self(closed)
    }

    /// Returns when it has ended.
    pub(in super::super) async fn wait(mut self) {
        while self.0.changed().await.is_ok() {}
    }
}
