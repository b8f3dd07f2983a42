//! Servers that the benchmark starts itself, and ends when it is done.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tempfile::TempDir;

use crate::client::Server;

/// How long a started server may take until it answers.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// A server process; killed when dropped.
#[derive(Debug)]
pub(super) struct Peer {
    child: Child,
    socket: Option<PathBuf>,
    /// Where it keeps its data; removed with it.
    _directory: Option<TempDir>,
}

impl Peer {
    /// Starts `redis-server`, without persistence or with an append-only file that is synced as `appendfsync` says.
    pub(super) fn redis(unix: bool, appendfsync: Option<&str>) -> anyhow::Result<(Self, Server)> {
        let mut place = Place::new("redis", unix)?;
        let mut command = Command::new("redis-server");
        command.args(["--save", "", "--bind", "127.0.0.1", "--port", &place.port.to_string()]);
        if let Some(socket) = &place.socket {
            command.arg("--unixsocket").arg(socket);
        }
        let Some(when) = appendfsync else {
            command.args(["--appendonly", "no"]);
            return Self::start(command, place, "redis-server");
        };
        command.args(["--appendonly", "yes", "--appendfsync", when]).arg("--dir").arg(place.directory()?);
        Self::start(command, place, &format!("redis-server, appendfsync {when},"))
    }

    /// Starts this same binary's broker, in memory or durable.
    pub(super) fn cauce(unix: bool, durable: bool) -> anyhow::Result<(Self, Server)> {
        let mut place = Place::new("cauce", unix)?;
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["serve", "--port", &place.port.to_string()]);
        if let Some(socket) = &place.socket {
            command.arg("--unix-socket").arg(socket);
        }
        if !durable {
            command.arg("--memory");
            return Self::start(command, place, "cauce serve");
        }
        command.args(["--sync", "always"]).arg("--dir").arg(place.directory()?);
        Self::start(command, place, "cauce serve --sync always")
    }

    fn start(mut command: Command, place: Place, name: &str) -> anyhow::Result<(Self, Server)> {
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.spawn().with_context(|| format!("can't start {name}; is it installed?"))?;
        let url = match &place.socket {
            Some(socket) => format!("unix:{}", socket.display()),
            None => format!("redis://127.0.0.1:{}", place.port),
        };
        let mut peer = Self { child, socket: place.socket, _directory: place.directory };
        let mut server = Server::from_url(&url)?;
        let deadline = Instant::now() + START_TIMEOUT;
        while server.control().and_then(|mut control| control.call(&[b"PING"])).is_err() {
            if let Some(status) = peer.child.try_wait()? {
                bail!("{name} ended at once ({status})");
            }
            if Instant::now() > deadline {
                bail!("{name} did not answer within {} s", START_TIMEOUT.as_secs());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        server.label = format!("{name} at {url}");
        Ok((peer, server))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // The process may have ended already; then there is nothing to end.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(socket) = &self.socket {
            let _ = std::fs::remove_file(socket);
        }
    }
}

/// Where a started server listens, and keeps its data.
struct Place {
    port: u16,
    socket: Option<PathBuf>,
    directory: Option<TempDir>,
}

impl Place {
    /// A port that was free a moment ago; with `unix`, a socket in the temporary directory too.
    fn new(name: &str, unix: bool) -> anyhow::Result<Self> {
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let file = format!("cauce-bench-{name}-{}.sock", std::process::id());
        let socket = unix.then(|| std::env::temp_dir().join(file));
        Ok(Self { port, socket, directory: None })
    }

    /// A new directory in the temporary one.
    fn directory(&mut self) -> anyhow::Result<&Path> {
        let directory =
            TempDir::with_prefix("cauce-bench-").context("no directory can be made for the data")?;
        Ok(self.directory.insert(directory).path())
    }
}
