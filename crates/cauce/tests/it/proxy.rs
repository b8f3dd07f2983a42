//! A proxy before a server, to cut connections and to stall them.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// What it does with what passes.
#[derive(Clone, Copy, PartialEq)]
enum State {
    Flowing,
    Stalled,
}

/// Passes everything on, until told otherwise. Ends when dropped.
pub(crate) struct Proxy {
    port: u16,
    state: Arc<watch::Sender<State>>,
    cut: Arc<watch::Sender<u32>>,
    listening: AbortHandle,
}

impl Proxy {
    pub(crate) async fn before(server: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(watch::Sender::new(State::Flowing));
        let cut = Arc::new(watch::Sender::new(0));
        let (states, cuts) = (Arc::clone(&state), Arc::clone(&cut));
        let listening = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(("127.0.0.1", server)).await else { continue };
                let ((from_client, to_client), (from_server, to_server)) =
                    (client.into_split(), server.into_split());
                tokio::spawn(pass(from_client, to_server, states.subscribe(), cuts.subscribe()));
                tokio::spawn(pass(from_server, to_client, states.subscribe(), cuts.subscribe()));
            }
        });
        Self { port, state, cut, listening: listening.abort_handle() }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Ends all connections, in the middle of what is passing.
    pub(crate) fn cut(&self) {
        self.cut.send_modify(|cuts| *cuts += 1);
    }

    /// Passes nothing on for so long; the connections stay open.
    pub(crate) async fn stall(&self, length: Duration) {
        self.state.send_replace(State::Stalled);
        tokio::time::sleep(length).await;
        self.state.send_replace(State::Flowing);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listening.abort();
        self.cut();
    }
}

async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut state: watch::Receiver<State>,
    mut cut: watch::Receiver<u32>,
) {
    let passing = async {
        let mut buffer = vec![0; 4096];
        while let Ok(length) = from.read(&mut buffer).await {
            let flows = state.wait_for(|state| *state == State::Flowing).await.is_ok();
            if length == 0 || !flows || to.write_all(&buffer[..length]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = passing => {}
        _ = cut.changed() => {}
    }
}
