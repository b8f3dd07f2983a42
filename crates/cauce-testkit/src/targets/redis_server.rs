//! A real redis-server as a child process.

use std::env;
use std::ffi::OsString;
use std::io::{self, BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Child, ChildStdout, Command, Stdio};

use tempfile::TempDir;

use super::Features;
use crate::wire::{Address, Connection, Value, WireError};

/// The program to run, if not `redis-server` from the path.
const PROGRAM: &str = "CAUCE_REDIS_SERVER";

/// Where this is set, a missing redis-server is a failure instead of an excuse.
const REQUIRED: &str = "CAUCE_REQUIRE_REDIS_SERVER";

/// A port found free can be taken before the server binds it; then the next is tried.
const ATTEMPTS: usize = 5;

/// Why no redis-server came up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RedisServerError {
    /// It is not installed, and `CAUCE_REQUIRE_REDIS_SERVER` asks for it.
    #[error("redis-server is not installed; install it, or point {PROGRAM} at it")]
    Missing,
    /// It ended before it was ready.
    #[error("redis-server ended before it was ready; its last words: {0}")]
    Ended(String),
    /// It could not be started or spoken to.
    #[error("redis-server could not be started: {0}")]
    Io(#[from] io::Error),
    /// It listens but does not answer.
    #[error("redis-server does not answer: {0}")]
    Silent(#[from] WireError),
}

/// A redis-server without persistence, on a free loopback port and a Unix socket; killed when dropped.
#[derive(Debug)]
pub struct RedisServer {
    child: Child,
    tcp: SocketAddr,
    directory: TempDir,
    version: (u32, u32),
}

impl RedisServer {
    /// Starts one, or says that there is none to start.
    ///
    /// # Errors
    ///
    /// As [`RedisServer::start`].
    pub fn start_if_installed() -> Result<Option<RedisServer>, RedisServerError> {
        match RedisServer::start() {
            Err(RedisServerError::Missing) if env::var_os(REQUIRED).is_none() => Ok(None),
            other => other.map(Some),
        }
    }

    /// Starts one and returns when it answers PING.
    ///
    /// # Errors
    ///
    /// [`RedisServerError`].
    pub fn start() -> Result<RedisServer, RedisServerError> {
        let mut last = None;
        for _ in 0..ATTEMPTS {
            match RedisServer::start_on(free_port()?) {
                Err(RedisServerError::Ended(words)) => last = Some(RedisServerError::Ended(words)),
                other => return other,
            }
        }
        Err(last.expect("at least one attempt was made"))
    }

    /// Its TCP address.
    pub fn tcp(&self) -> Address {
        Address::Tcp(self.tcp)
    }

    /// Its Unix socket.
    pub fn unix(&self) -> Address {
        Address::Unix(self.directory.path().join("redis.sock"))
    }

    /// What this version can do.
    pub fn features(&self) -> Features {
        Features::of_redis(self.version)
    }

    fn start_on(port: u16) -> Result<RedisServer, RedisServerError> {
        let directory = tempfile::tempdir()?;
        let program = env::var_os(PROGRAM).unwrap_or_else(|| OsString::from("redis-server"));
        let spawned = Command::new(program)
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .args(["--unixsocket", "redis.sock", "--daemonize", "no"])
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let mut child = match spawned {
            Ok(child) => child,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(RedisServerError::Missing),
            Err(error) => return Err(error.into()),
        };
        let output = child.stdout.take().expect("its output is piped");
        let mut server = RedisServer {
            child,
            tcp: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            directory,
            version: (0, 0),
        };
        listening(output)?;
        let mut connection = Connection::open(&server.tcp())?;
        let pong = connection.call(&["PING"])?;
        if pong != Value::Simple(b"PONG".to_vec()) {
            return Err(RedisServerError::Ended(format!("somebody else answers on its port: {pong}")));
        }
        server.version = version(&connection.call(&["INFO", "server"])?.text().unwrap_or_default());
        Ok(server)
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        // Both fail only when the process is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// Reads the server's log until it says that it listens. Afterwards nobody reads it: the few later lines are lost.
fn listening(output: ChildStdout) -> Result<(), RedisServerError> {
    let mut words = String::new();
    for line in BufReader::new(output).lines() {
        let line = line?;
        if line.contains("Ready to accept connections") {
            return Ok(());
        }
        words = line;
    }
    Err(RedisServerError::Ended(words))
}

fn version(info: &str) -> (u32, u32) {
    let version = info.lines().find_map(|line| line.strip_prefix("redis_version:")).unwrap_or_default();
    let mut parts = version.split('.').map(|part| part.parse().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}
