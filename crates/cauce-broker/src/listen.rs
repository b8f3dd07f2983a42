//! Listeners: TCP and Unix sockets.

use std::borrow::Borrow;
use std::fs::File;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use cauce_engine::SessionInfo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener, UnixSocket, UnixStream};

use crate::broker::Broker;
use crate::session;
use crate::shared::{Connected, Shared};

/// What a connection over the limit is told (Redis's text).
const TOO_MANY_CONNECTIONS: &[u8] = b"-ERR max number of clients reached\r\n";
/// How long to wait before accepting again when the system has no descriptors left.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);
/// The socket of a directory, and who may use it: the owner of its files.
const SOCKET: &str = "socket";
const SOCKET_MODE: u32 = 0o600;
/// The longest path that every system takes as the address of a socket.
const SOCKET_PATH_MAX: usize = 100;
/// Connections that may wait to be accepted.
const BACKLOG: u32 = 1024;
/// How often the process's memory and the log are measured.
const MEASURE_EVERY: Duration = Duration::from_millis(500);

/// A socket that is bound and not served yet.
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    Unix { listener: UnixListener, path: PathBuf, trusted: bool },
}

/// A socket that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// The TCP address cannot be bound.
    #[error(
        "cannot listen on {address}: {source}; is another server running there? Choose another port with --port, or stop that server"
    )]
    Tcp {
        /// What was asked for.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The path cannot be bound.
    #[error("cannot listen on the Unix socket {}: {source}; choose another path, or remove what is there", path.display())]
    Unix {
        /// What was asked for.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Beyond this machine without a password.
    #[error(
        "refusing to listen on {0} without a password: everyone who reaches that address could read and change all data; set one with --requirepass, or bind to 127.0.0.1"
    )]
    Unprotected(IpAddr),
}

impl Listener {
    /// Binds a TCP address; port 0 picks a free one. Without a password (`protected` false) only loopback
    /// addresses are allowed.
    ///
    /// # Errors
    /// [`BindError`]
    pub async fn tcp(address: SocketAddr, protected: bool) -> Result<Self, BindError> {
        if !protected && !address.ip().is_loopback() {
            return Err(BindError::Unprotected(address.ip()));
        }
        let listener =
            TcpListener::bind(address).await.map_err(|source| BindError::Tcp { address, source })?;
        Ok(Self { socket: Socket::Tcp(listener) })
    }

    /// Binds a Unix socket, in place of a socket that nobody listens on any longer.
    ///
    /// # Errors
    /// [`BindError::Unix`]
    pub fn unix(path: &Path) -> Result<Self, BindError> {
        let failed = |source| BindError::Unix { path: path.to_owned(), source };
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(failed(io::ErrorKind::AddrInUse.into()));
        }
        match std::fs::symlink_metadata(path) {
            Ok(meta) if std::os::unix::fs::FileTypeExt::is_socket(&meta.file_type()) => {
                std::fs::remove_file(path).map_err(failed)?;
            }
            _ => {}
        }
        let listener = UnixListener::bind(path).map_err(failed)?;
        Ok(Self { socket: Socket::Unix { listener, path: path.to_owned(), trusted: false } })
    }

    /// Binds the socket of a directory, by which other processes reach the broker that holds it; for the holder only.
    /// Who may read the directory's files needs no password there, and nobody else may connect.
    ///
    /// # Errors
    /// [`BindError::Unix`]
    pub fn in_directory(directory: &Path) -> Result<Self, BindError> {
        let path = directory.join(SOCKET);
        let bound = || {
            match std::fs::remove_file(&path) {
                // What a holder left behind that was killed.
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
            let short = ShortPath::of(directory)?;
            let socket = UnixSocket::new_stream()?;
            socket.bind(short.path())?;
            // Before anybody can connect.
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(SOCKET_MODE))?;
            socket.listen(BACKLOG)
        };
        let listener = bound().map_err(|source| BindError::Unix { path: path.clone(), source })?;
        Ok(Self { socket: Socket::Unix { listener, path, trusted: true } })
    }

    /// The TCP address that is listened on.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        match &self.socket {
            Socket::Tcp(listener) => listener.local_addr().ok(),
            Socket::Unix { .. } => None,
        }
    }
}

/// Connects to the broker that holds a directory, whichever process that is in.
///
/// # Errors
/// [`io::ErrorKind::NotFound`] or [`io::ErrorKind::ConnectionRefused`] if nobody serves it now, [`io::ErrorKind::WouldBlock`]
/// if too many are waiting for its holder, or what the system says.
pub async fn connect_directory(directory: &Path) -> io::Result<UnixStream> {
    let short = ShortPath::of(directory)?;
    UnixStream::connect(short.path()).await
}

/// The socket of a directory by a name that the system takes, however long the directory's is.
struct ShortPath {
    path: PathBuf,
    /// The name leads through it.
    _directory: Option<File>,
}

impl ShortPath {
    fn of(directory: &Path) -> io::Result<Self> {
        let path = directory.join(SOCKET);
        if path.as_os_str().as_bytes().len() <= SOCKET_PATH_MAX {
            return Ok(Self { path, _directory: None });
        }
        let directory = File::open(directory)?;
        let path = PathBuf::from(format!("/proc/self/fd/{}/{SOCKET}", directory.as_raw_fd()));
        Ok(Self { path, _directory: Some(directory) })
    }

    fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Socket::Unix { path, .. } = &self.socket {
            // Left behind it would do no harm: the next start removes it.
            let _removed = std::fs::remove_file(path);
        }
    }
}

impl Broker {
    /// Accepts and serves connections for as long as it is polled. Dropping the future closes the listener;
    /// the connections go on.
    pub async fn serve(&self, listener: impl Borrow<Listener>) {
        let listener = listener.borrow();
        self.ensure_tasks();
        let _measuring = AbortOnDrop(tokio::spawn(measure(Arc::downgrade(&self.shared))));
        loop {
            let accepted = match &listener.socket {
                Socket::Tcp(tcp) => self.accept_tcp(tcp).await,
                Socket::Unix { listener, path, trusted } => self.accept_unix(listener, path, *trusted).await,
            };
            if accepted.is_err() {
                // Out of descriptors, or the peer left while it was accepted: both pass.
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }

    async fn accept_tcp(&self, listener: &TcpListener) -> io::Result<()> {
        let (stream, peer) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let info = SessionInfo {
            address: peer.to_string(),
            local_address: stream.local_addr()?.to_string(),
            descriptor: i64::from(stream.as_raw_fd()),
            trusted: false,
        };
        self.admit(stream, info);
        Ok(())
    }

    async fn accept_unix(&self, listener: &UnixListener, path: &Path, trusted: bool) -> io::Result<()> {
        let (stream, _) = listener.accept().await?;
        let address = format!("{}:0", path.display());
        let descriptor = i64::from(stream.as_raw_fd());
        let info = SessionInfo { address: address.clone(), local_address: address, descriptor, trusted };
        self.admit(stream, info);
        Ok(())
    }

    fn admit(&self, mut io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, info: SessionInfo) {
        let shared = &self.shared;
        if shared.connections.load(Ordering::Relaxed) >= shared.limits.connections_max {
            shared.traffic.rejected_connections.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(async move {
                // The peer may be gone already; either way it is not served.
                let _told = io.write_all(TOO_MANY_CONNECTIONS).await;
            });
            return;
        }
        tokio::spawn(session::run(Connected::new(shared), io, info));
    }
}

struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Keeps the figures up to date that `maxmemory` is compared with and that `INFO` shows.
async fn measure(shared: std::sync::Weak<Shared>) {
    let mut ticks = tokio::time::interval(MEASURE_EVERY);
    loop {
        ticks.tick().await;
        let Some(shared) = shared.upgrade() else { return };
        if let Some(bytes) = resident_bytes() {
            shared.traffic.memory_bytes.store(bytes, Ordering::Relaxed);
        }
        shared.measure_log();
    }
}

/// The process's resident memory, where the system tells it.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}
