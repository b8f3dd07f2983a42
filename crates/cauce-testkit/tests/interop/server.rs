//! The two servers: a real redis-server and our binary, started alike.

use std::env;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// The binary under test, if not the one built beside this test.
const CAUCE_BIN: &str = "CAUCE_BIN";

const START_TIMEOUT: Duration = Duration::from_secs(20);

/// Which program serves.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Program {
    RedisServer,
    Cauce,
}

impl Program {
    pub(crate) const ALL: [Program; 2] = [Program::RedisServer, Program::Cauce];

    /// Neither keeps anything: a restart begins empty on both.
    fn command(self, port: u16, doors: Option<&Doors>) -> Command {
        let port = port.to_string();
        let (mut command, socket_flag) = match self {
            Program::RedisServer => {
                let mut command = Command::new("redis-server");
                command.args(["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
                (command, "--unixsocket")
            }
            Program::Cauce => {
                let mut command = Command::new(cauce_binary());
                command.args(["serve", "--memory", "--port", &port]);
                (command, "--unix-socket")
            }
        };
        if let Some(doors) = doors {
            command.args(["--requirepass", PASSWORD]).arg(socket_flag).arg(doors.socket());
        }
        command
    }
}

/// What a server with a password wants.
pub(crate) const PASSWORD: &str = "hush";

/// The other ways in: a password, and a Unix socket in a directory of its own.
#[derive(Debug)]
struct Doors(TempDir);

impl Doors {
    fn socket(&self) -> PathBuf {
        self.0.path().join("server.sock")
    }
}

/// A running server; killed when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    program: Program,
    port: u16,
    doors: Option<Doors>,
    child: Child,
}

impl Server {
    /// Starts the program on a free port and returns when it listens.
    pub(crate) fn start(program: Program) -> Server {
        Server::start_with(program, None)
    }

    /// Starts the program with a password and a Unix socket.
    pub(crate) fn start_protected(program: Program) -> Server {
        Server::start_with(program, Some(Doors(tempfile::tempdir().expect("a temporary directory"))))
    }

    fn start_with(program: Program, doors: Option<Doors>) -> Server {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a loopback port");
        let port = free.local_addr().expect("a bound socket has an address").port();
        drop(free);
        let child = start(program, port, doors.as_ref());
        Server { program, port, doors, child }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The Unix socket of a protected server.
    pub(crate) fn socket(&self) -> String {
        let doors = self.doors.as_ref().expect("started with a Unix socket");
        doors.socket().display().to_string()
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Kills the server (SIGKILL) and starts another, empty, on the same port.
    pub(crate) fn restart(&mut self) {
        self.stop();
        self.child = start(self.program, self.port, self.doors.as_ref());
    }

    fn stop(&mut self) {
        // Both fail only when the process is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

fn start(program: Program, port: u16, doors: Option<&Doors>) -> Child {
    let mut child = program
        .command(port, doors)
        .current_dir(env::temp_dir())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("{program:?} cannot be started ({error}); run ./test once"));
    let began = Instant::now();
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
        if let Some(status) = child.try_wait().expect("our own child") {
            panic!("{program:?} ended before it listened: {status}");
        }
        assert!(began.elapsed() < START_TIMEOUT, "{program:?} does not listen on port {port}");
        thread::sleep(Duration::from_millis(10));
    }
    child
}

/// `target/PROFILE/cauce`: this test runs as `target/PROFILE/deps/interop-HASH`.
fn cauce_binary() -> PathBuf {
    if let Some(binary) = env::var_os(CAUCE_BIN) {
        return binary.into();
    }
    let test = env::current_exe().expect("the path of this test");
    let binary = test.ancestors().nth(2).expect("the profile's directory").join("cauce");
    assert!(binary.exists(), "{} is not there: cargo build -p cauce-cli", binary.display());
    binary
}

/// The root of the repository.
pub(crate) fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}
