//! Servers that the benchmark starts itself, and ends when it is done.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::client::Server;

/// How long a started server may take until it answers.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// A server process; killed when dropped.
#[derive(Debug)]
pub(super) struct Peer {
    child: Child,
    socket: Option<PathBuf>,
}

impl Peer {
    /// Starts `redis-server` without persistence.
    pub(super) fn redis(unix: bool) -> anyhow::Result<(Self, Server)> {
        let place = Place::new("redis", unix)?;
        let mut command = Command::new("redis-server");
        command.args(["--save", "", "--appendonly", "no", "--bind", "127.0.0.1"]);
        command.args(["--port", &place.port.to_string()]);
        if let Some(socket) = &place.socket {
            command.arg("--unixsocket").arg(socket);
        }
        Self::start(command, place, "redis-server")
    }

    /// Starts this same binary's broker in memory.
    pub(super) fn cauce(unix: bool) -> anyhow::Result<(Self, Server)> {
        let place = Place::new("cauce", unix)?;
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["serve", "--memory", "--port", &place.port.to_string()]);
        if let Some(socket) = &place.socket {
            command.arg("--unix-socket").arg(socket);
        }
        Self::start(command, place, "cauce serve")
    }

    fn start(mut command: Command, place: Place, name: &str) -> anyhow::Result<(Self, Server)> {
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.spawn().with_context(|| format!("can't start {name}; is it installed?"))?;
        let url = match &place.socket {
            Some(socket) => format!("unix:{}", socket.display()),
            None => format!("redis://127.0.0.1:{}", place.port),
        };
        let mut peer = Self { child, socket: place.socket };
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

/// Where a started server listens.
struct Place {
    port: u16,
    socket: Option<PathBuf>,
}

impl Place {
    /// A port that was free a moment ago; with `unix`, a socket in the temporary directory too.
    fn new(name: &str, unix: bool) -> anyhow::Result<Self> {
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let file = format!("cauce-bench-{name}-{}.sock", std::process::id());
        Ok(Self { port, socket: unix.then(|| std::env::temp_dir().join(file)) })
    }
}
