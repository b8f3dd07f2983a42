//! The broker of a directory: inside whichever process holds it.
//!
//! Each process that uses a directory has one thread that waits for the directory's lock. Who gets it reads the log and
//! holds the broker until nobody in the process uses the directory any more; the others reach it through a socket. The
//! lock ends with its holder, however that ends, so the next one in line takes over by itself, at once, and nobody polls.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cauce_broker::{ClockSource, Config, Door, FileStorage, Host, connect_directory};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::watch;

use super::dial::ByteStream;
use crate::error::ConnectError;

/// How long opening a connection may take at most; a holder may be reading a long log. See also [`SILENCE_MAX`].
pub(super) const OPEN_TIMEOUT: Duration = Duration::from_secs(300);
/// A holder that takes connections and is silent for as long is not waited for.
const SILENCE_MAX: Duration = Duration::from_secs(10);
/// How soon a connection is tried again while the directory passes from one holder to the next.
const TRY_AGAIN: Duration = Duration::from_millis(5);
/// How soon a process that could not open the broker tries again. Others may succeed meanwhile.
const REFUSED_FOR: Duration = Duration::from_secs(1);
/// How long the last user waits for the broker to be handed over in order.
const HAND_OVER_MAX: Duration = Duration::from_secs(3);

/// A use of a directory; when the last one in the process is gone, the process gives the directory up.
pub(crate) struct Directory {
    place: Arc<Place>,
}

/// What this process has to do with one directory.
#[derive(Debug)]
struct Place {
    path: PathBuf,
    inner: Mutex<Inner>,
    changed: Condvar,
    users: watch::Sender<usize>,
    role: watch::Sender<Role>,
}

#[derive(Debug, Default)]
struct Inner {
    /// The thread that waits for the lock, or holds it, is there.
    kept: bool,
    holding: bool,
}

#[derive(Debug, Clone)]
enum Role {
    /// Another process holds it, or nobody yet.
    Waiting,
    /// This process has the lock and reads the log.
    Opening,
    Holding(Door),
    /// This process had the lock and could not open the broker.
    Refused(Arc<str>),
}

impl Directory {
    /// # Errors
    /// If the directory cannot be made or found.
    pub(super) fn of(path: &Path) -> Result<Self, ConnectError> {
        static PLACES: Mutex<BTreeMap<PathBuf, Arc<Place>>> = Mutex::new(BTreeMap::new());
        std::fs::create_dir_all(path)
            .map_err(|error| failed(&format_args!("cannot make {}: {error}", path.display())))?;
        let path = path.canonicalize().map_err(|error| failed(&error))?;
        let mut places = lock(&PLACES);
        let place = places.entry(path.clone()).or_insert_with(|| Arc::new(Place::new(path)));
        Ok(place.enter())
    }

    /// Connects to the broker, wherever it is.
    ///
    /// # Errors
    /// If there is none and this process cannot open it, or if its holder does not answer.
    pub(super) async fn open(&self) -> Result<Box<dyn ByteStream>, ConnectError> {
        let mut role = self.place.role.subscribe();
        loop {
            let now = role.borrow_and_update().clone();
            if let Role::Holding(door) = &now
                && let Some(pipe) = door.connect()
            {
                return Ok(Box::new(pipe));
            }
            if !matches!(now, Role::Opening) {
                match tokio::time::timeout(SILENCE_MAX, join(&self.place.path)).await {
                    Ok(Ok(stream)) => return Ok(Box::new(stream)),
                    Ok(Err(error)) if is_passing(&error) => {}
                    Ok(Err(error)) => return Err(failed(&error)),
                    Err(_) => return Err(failed(&self.place.silent())),
                }
            }
            if let Role::Refused(problem) = now {
                return Err(failed(&problem));
            }
            tokio::select! {
                // The sender is in the place, which is held here: it ends with news.
                _ = role.changed() => {}
                () = tokio::time::sleep(TRY_AGAIN) => {}
            }
        }
    }
}

impl Clone for Directory {
    fn clone(&self) -> Self {
        self.place.enter()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        self.place.leave();
    }
}

impl fmt::Debug for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Directory").field(&self.place.path).finish()
    }
}

impl Place {
    fn new(path: PathBuf) -> Self {
        Self {
            path,
            inner: Mutex::default(),
            changed: Condvar::new(),
            users: watch::Sender::new(0),
            role: watch::Sender::new(Role::Waiting),
        }
    }

    fn enter(self: &Arc<Self>) -> Directory {
        let mut inner = lock(&self.inner);
        self.users.send_modify(|users| *users += 1);
        if !inner.kept {
            let own = Arc::clone(self);
            let thread = std::thread::Builder::new().name("cauce-holder".to_owned());
            match thread.spawn(move || own.keep()) {
                Ok(_) => inner.kept = true,
                Err(error) => {
                    self.role
                        .send_replace(Role::Refused(format!("no thread can be started: {error}").into()));
                }
            }
        }
        drop(inner);
        Directory { place: Arc::clone(self) }
    }

    /// The last one out hands the broker over, and waits until that is done: the process may be about to end.
    fn leave(&self) {
        let inner = lock(&self.inner);
        self.users.send_modify(|users| *users -= 1);
        if !self.is_used() && inner.holding {
            let going_on = |inner: &mut Inner| inner.holding && !self.is_used();
            // Should it take longer, it goes on while the process lives.
            let _waited = self.changed.wait_timeout_while(inner, HAND_OVER_MAX, going_on);
        }
    }

    fn is_used(&self) -> bool {
        *self.users.borrow() > 0
    }

    /// The thread: holds the broker whenever this process has the lock.
    fn keep(&self) {
        loop {
            // Nobody can be asked to stop waiting for a lock: who is given one that is not needed any more passes it on.
            let held = FileStorage::wait(&self.path);
            if self.ends() {
                return;
            }
            let opened = held.map_err(|error| error.to_string()).and_then(|held| self.open_host(held));
            match opened {
                Ok(host) => self.hold(host),
                Err(problem) => {
                    tracing::error!(directory = %self.path.display(), problem, "the broker cannot be opened");
                    self.role.send_replace(Role::Refused(problem.into()));
                    std::thread::sleep(REFUSED_FOR);
                }
            }
            if self.ends() {
                return;
            }
        }
    }

    /// Whether the thread may end: nobody uses the directory.
    fn ends(&self) -> bool {
        let mut inner = lock(&self.inner);
        inner.kept = self.is_used();
        !inner.kept
    }

    fn open_host(&self, held: FileStorage) -> Result<Host, String> {
        self.role.send_replace(Role::Opening);
        let mut config = Config::default();
        config.clock = ClockSource::System;
        let (host, recovery) = Host::open(held, config).map_err(|error| error.to_string())?;
        let directory = self.path.display();
        tracing::info!(%directory, records = recovery.replayed, "this process holds the broker");
        if let Some(torn) = recovery.torn {
            tracing::warn!(%directory, %torn, "the end of the log was never confirmed to anyone");
        }
        Ok(host)
    }

    fn hold(&self, host: Host) {
        lock(&self.inner).holding = true;
        self.role.send_replace(Role::Holding(host.door()));
        let mut users = self.users.subscribe();
        let failure = host.run(async move {
            // The sender is in the place, which is held here.
            let _unused = users.wait_for(|&users| users == 0).await;
        });
        self.role.send_replace(Role::Waiting);
        lock(&self.inner).holding = false;
        self.changed.notify_all();
        if let Some(failure) = failure {
            tracing::error!(directory = %self.path.display(), %failure, "the broker has ended; what the disk has is read again");
            std::thread::sleep(REFUSED_FOR);
        }
    }

    fn silent(&self) -> String {
        let directory = self.path.display();
        let holder =
            FileStorage::holder(&self.path).map(|process| format!(" (number {process})")).unwrap_or_default();
        format!(
            "the process that holds {directory}{holder} takes connections and does not answer for {} s; if it is stopped, let it go on or end it",
            SILENCE_MAX.as_secs()
        )
    }
}

/// Connects to the holder in another process, and makes sure that it answers: one that ends meanwhile, or is stopped and
/// then killed, has taken nothing with it.
async fn join(directory: &Path) -> io::Result<UnixStream> {
    let mut stream = connect_directory(directory).await?;
    stream.write_all(b"PING\r\n").await?;
    let mut byte = [0];
    while byte != *b"\n" {
        stream.read_exact(&mut byte).await?;
    }
    Ok(stream)
}

/// Whether the directory is only passing from one holder to the next.
fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::UnexpectedEof
            | io::ErrorKind::WouldBlock
    )
}

fn failed(problem: &dyn fmt::Display) -> ConnectError {
    ConnectError::Directory { problem: problem.to_string() }
}

/// Every change under these locks is complete before anything can panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
