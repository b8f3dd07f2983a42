//! A proxy before a server, to cut connections and to stall them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
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
    /// Replies that are still to be lost.
    losing: Arc<AtomicU32>,
    held: Arc<Held>,
    /// Whether new connections get through.
    door: watch::Sender<bool>,
    listening: AbortHandle,
}

/// A request that is held up on the way.
#[derive(Default)]
struct Held {
    next: AtomicBool,
    release: Notify,
    arrived: Notify,
}

impl Proxy {
    pub(crate) async fn before(server: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(watch::Sender::new(State::Flowing));
        let cut = Arc::new(watch::Sender::new(0));
        let losing = Arc::new(AtomicU32::new(0));
        let (held, door) = (Arc::<Held>::default(), watch::Sender::new(true));
        let (holds, mut doors) = (Arc::clone(&held), door.subscribe());
        let (states, cuts, losses) = (Arc::clone(&state), Arc::clone(&cut), Arc::clone(&losing));
        let listening = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if doors.wait_for(|open| *open).await.is_err() {
                    return;
                }
                let Ok(server) = TcpStream::connect(("127.0.0.1", server)).await else { continue };
                let ((from_client, to_client), (from_server, to_server)) =
                    (client.into_split(), server.into_split());
                let (none, holds) = (Arc::default(), Arc::clone(&holds));
                tokio::spawn(pass(
                    from_client,
                    to_server,
                    states.subscribe(),
                    Arc::clone(&cuts),
                    none,
                    holds,
                ));
                let (losses, none) = (Arc::clone(&losses), Arc::default());
                tokio::spawn(pass(
                    from_server,
                    to_client,
                    states.subscribe(),
                    Arc::clone(&cuts),
                    losses,
                    none,
                ));
            }
        });
        Self { port, state, cut, losing, held, door, listening: listening.abort_handle() }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Ends all connections, in the middle of what is passing.
    pub(crate) fn cut(&self) {
        self.cut.send_modify(|cuts| *cuts += 1);
    }

    /// Lets the next request through, and cuts all connections in place of its reply.
    pub(crate) fn lose_next_reply(&self) {
        self.losing.fetch_add(1, Ordering::SeqCst);
    }

    /// Holds the next request up, and cuts its connection on the client's side only.
    pub(crate) fn hold_next_request(&self) {
        self.held.next.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_holding(&self) -> bool {
        !self.held.next.load(Ordering::SeqCst)
    }

    /// Lets what is held up go on to the server; returns when that has it, or has closed the connection.
    pub(crate) async fn release(&self) {
        self.held.release.notify_one();
        self.held.arrived.notified().await;
    }

    /// Whether new connections get through, or wait.
    pub(crate) fn open_door(&self, open: bool) {
        self.door.send_replace(open);
    }

    /// Cuts all connections and lets no new ones through until what is begun then has waited for six seconds; what becomes of it.
    pub(crate) async fn is_waited_for<F: Future>(&self, begin: impl FnOnce() -> F) -> F::Output {
        self.open_door(false);
        self.cut();
        let waiting = begin();
        tokio::pin!(waiting);
        assert!(tokio::time::timeout(Duration::from_secs(6), &mut waiting).await.is_err(), "it waits");
        self.open_door(true);
        waiting.await
    }

    /// Whether every reply that was to be lost has been.
    pub(crate) fn has_lost_all(&self) -> bool {
        self.losing.load(Ordering::SeqCst) == 0
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
    cuts: Arc<watch::Sender<u32>>,
    losing: Arc<AtomicU32>,
    held: Arc<Held>,
) {
    let mut cut = cuts.subscribe();
    let passing = async {
        let mut buffer = vec![0; 4096];
        while let Ok(length) = from.read(&mut buffer).await {
            let lost = losing.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
            if lost.is_ok() {
                cuts.send_modify(|cuts| *cuts += 1);
                return None;
            }
            if length > 0 && held.next.swap(false, Ordering::SeqCst) {
                buffer.truncate(length);
                return Some(buffer);
            }
            let flows = state.wait_for(|state| *state == State::Flowing).await.is_ok();
            if length == 0 || !flows || to.write_all(&buffer[..length]).await.is_err() {
                return None;
            }
        }
        None
    };
    let request = tokio::select! {
        request = passing => request,
        _ = cut.changed() => None,
    };
    if let Some(request) = request {
        cuts.send_modify(|cuts| *cuts += 1);
        drop(from);
        held.release.notified().await;
        let _ = to.write_all(&request).await;
        held.arrived.notify_one();
    }
}
