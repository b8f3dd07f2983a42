//! A redis-server of the test's own.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tempfile::TempDir;

/// A redis-server that ends with the test.
pub(crate) struct Server {
    port: u16,
    process: Child,
    settings: Vec<&'static str>,
    directory: TempDir,
}

impl Server {
    /// Without persistence.
    pub(crate) fn start() -> Self {
        Self::with(&["--save", "", "--appendonly", "no"])
    }

    /// Every write is on disk before its reply.
    pub(crate) fn durable() -> Self {
        Self::with(&["--save", "", "--appendonly", "yes", "--appendfsync", "always"])
    }

    pub(crate) fn with(settings: &[&'static str]) -> Self {
        Self::on(free_port(), settings)
    }

    pub(crate) fn on(port: u16, settings: &[&'static str]) -> Self {
        let directory = TempDir::new().unwrap();
        let process = spawn(port, &directory, settings);
        let server = Self { port, process, settings: settings.to_vec(), directory };
        server.wait_until_it_answers();
        server
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) fn socket_url(&self) -> String {
        format!("unix:{}", self.directory.path().join("redis.sock").display())
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// On the same port, with what is on its disk.
    pub(crate) fn start_again(&mut self) {
        self.process = spawn(self.port, &self.directory, &self.settings);
        self.wait_until_it_answers();
    }

    fn wait_until_it_answers(&self) {
        for _ in 0..2_000 {
            // It accepts connections before it has loaded what is on its disk.
            if self.has_loaded().is_ok_and(|loaded| loaded) {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("redis-server does not answer on port {}", self.port);
    }

    /// Whether it answers PING with anything but LOADING: one that wants a password says so.
    fn has_loaded(&self) -> std::io::Result<bool> {
        use std::io::{Read, Write};
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", self.port))?;
        stream.write_all(b"PING\r\n")?;
        let mut reply = [0; 5];
        stream.read_exact(&mut reply)?;
        Ok(&reply != b"-LOAD")
    }

    /// What any client says to it, by redis-cli.
    pub(crate) fn cli(&self, arguments: &[&str]) -> String {
        cli(self.port, arguments)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What any client says to the server of this port, by redis-cli.
pub(crate) fn cli(port: u16, arguments: &[&str]) -> String {
    let port = port.to_string();
    let output = Command::new("redis-cli").args(["-p", &port]).args(arguments).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn spawn(port: u16, directory: &TempDir, settings: &[&str]) -> Child {
    Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--unixsocket", "redis.sock"])
        .arg("--dir")
        .arg(directory.path())
        .args(settings)
        .stdout(Stdio::null())
        .spawn()
        .expect("redis-server is installed")
}

/// A port that nobody listens at, and that no other test gets: not even when its server is away, which clients of that server would take for it.
pub(crate) fn free_port() -> u16 {
    // Below those that the system gives to connections. Processes begin at different places.
    const PORTS: u32 = 20_000;
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    let first = std::process::id().wrapping_mul(997);
    loop {
        let number = first.wrapping_add(TAKEN.fetch_add(1, Ordering::Relaxed)) % PORTS;
        let port = 10_000 + u16::try_from(number).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
