//! A blocking connection with deadlines.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::{MalformedFrame, Value, decode};

/// How long a connection waits for a frame, if the caller does not say: far beyond what any reply takes, so that only a
/// server that does not answer meets it.
const PATIENCE: Duration = Duration::from_secs(10);

const CHUNK_BYTES: usize = 16 * 1024;

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// Host and port.
    Tcp(SocketAddr),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(address) => write!(f, "{address}"),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Why no frame came.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// The server closed the connection.
    #[error("the server closed the connection")]
    Closed,
    /// The deadline passed.
    #[error("no whole frame came within {0:?}; received so far: {1:?}")]
    TimedOut(Duration, String),
    /// What came is not RESP.
    #[error(transparent)]
    Malformed(#[from] MalformedFrame),
    /// The socket failed.
    #[error("the socket failed: {0}")]
    Io(#[from] io::Error),
}

/// A connection to a server. Frames are given out in the order of the wire.
#[derive(Debug)]
pub struct Connection {
    socket: Socket,
    received: Vec<u8>,
    taken: usize,
}

impl Connection {
    /// Connects, once.
    ///
    /// # Errors
    ///
    /// [`WireError::Io`] if nobody listens there.
    pub fn open(address: &Address) -> Result<Connection, WireError> {
        let socket = match address {
            Address::Tcp(address) => {
                let stream = TcpStream::connect(address)?;
                stream.set_nodelay(true)?;
                Socket::Tcp(stream)
            }
            Address::Unix(path) => Socket::Unix(UnixStream::connect(path)?),
        };
        Ok(Connection { socket, received: Vec::new(), taken: 0 })
    }

    /// Sends one command and waits for one frame.
    ///
    /// # Errors
    ///
    /// As [`Connection::send`] and [`Connection::receive`]. An error reply is a value, not an error.
    pub fn call<A: AsRef<[u8]>>(&mut self, args: &[A]) -> Result<Value, WireError> {
        self.send(args)?;
        self.receive()
    }

    /// Sends one command.
    ///
    /// # Errors
    ///
    /// [`WireError::Io`] if the connection is gone.
    pub fn send<A: AsRef<[u8]>>(&mut self, args: &[A]) -> Result<(), WireError> {
        let mut bytes = Vec::new();
        encode(args, &mut bytes);
        self.send_raw(&bytes)
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    ///
    /// [`WireError::Io`] if the connection is gone.
    pub fn send_raw(&mut self, bytes: &[u8]) -> Result<(), WireError> {
        Ok(self.socket.write_all(bytes)?)
    }

    /// The next frame, waiting for it with patience (ten seconds).
    ///
    /// # Errors
    ///
    /// [`WireError::TimedOut`], [`WireError::Closed`], [`WireError::Malformed`], [`WireError::Io`].
    pub fn receive(&mut self) -> Result<Value, WireError> {
        self.receive_within(PATIENCE)
    }

    /// The next frame, waiting for it at most `patience`.
    ///
    /// # Errors
    ///
    /// As [`Connection::receive`].
    pub fn receive_within(&mut self, patience: Duration) -> Result<Value, WireError> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(value) = self.buffered()? {
                return Ok(value);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let part = String::from_utf8_lossy(&self.received[self.taken..]).into_owned();
                return Err(WireError::TimedOut(patience, part));
            }
            self.socket.read_timeout(left)?;
            self.fill()?;
        }
    }

    /// The next frame if it is there already; does not wait.
    ///
    /// # Errors
    ///
    /// As [`Connection::receive`], but for the deadline.
    pub fn try_receive(&mut self) -> Result<Option<Value>, WireError> {
        if let Some(value) = self.buffered()? {
            return Ok(Some(value));
        }
        self.socket.nonblocking(true)?;
        let filled = self.fill();
        self.socket.nonblocking(false)?;
        filled?;
        self.buffered()
    }

    /// Bytes as they come, for a test that reads no frames; 0 when the server has closed.
    ///
    /// # Errors
    ///
    /// [`WireError::Io`] if the connection failed, and after ten seconds of silence.
    pub fn receive_raw(&mut self, into: &mut [u8]) -> Result<usize, WireError> {
        self.socket.read_timeout(PATIENCE)?;
        Ok(self.socket.read(into)?)
    }

    fn buffered(&mut self) -> Result<Option<Value>, WireError> {
        let Some((value, length)) = decode(&self.received[self.taken..])? else { return Ok(None) };
        self.taken += length;
        if self.taken == self.received.len() {
            self.received.clear();
            self.taken = 0;
        }
        Ok(Some(value))
    }

    /// Reads what is there, or waits for something; that nothing came in time is no error here.
    fn fill(&mut self) -> Result<(), WireError> {
        if self.read_some()? == Some(CHUNK_BYTES) {
            // A frame is looked at from its beginning each time: a large one should not be looked at in small pieces.
            self.socket.nonblocking(true)?;
            let read = self.read_on();
            self.socket.nonblocking(false)?;
            read?;
        }
        Ok(())
    }

    fn read_on(&mut self) -> Result<(), WireError> {
        loop {
            match self.read_some() {
                Ok(Some(_)) => {}
                // That the server has closed is found again by the next read.
                Ok(None) | Err(WireError::Closed) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// One read of the socket; how much came, if anything did in time.
    fn read_some(&mut self) -> Result<Option<usize>, WireError> {
        let before = self.received.len();
        self.received.resize(before + CHUNK_BYTES, 0);
        let read = self.socket.read(&mut self.received[before..]);
        self.received.truncate(before + read.as_ref().map_or(0, |length| *length));
        match read {
            Ok(0) => Err(WireError::Closed),
            Ok(length) => Ok(Some(length)),
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted => Ok(None),
                io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Err(WireError::Closed),
                _ => Err(WireError::Io(error)),
            },
        }
    }
}

/// Appends a command in RESP (an array of bulk strings).
pub fn encode<A: AsRef<[u8]>>(args: &[A], into: &mut Vec<u8>) {
    into.extend_from_slice(format!("*{}\r\n", args.len()).as_bytes());
    for arg in args {
        let arg = arg.as_ref();
        into.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        into.extend_from_slice(arg);
        into.extend_from_slice(b"\r\n");
    }
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    fn read_timeout(&self, timeout: Duration) -> io::Result<()> {
        match self {
            Socket::Tcp(stream) => stream.set_read_timeout(Some(timeout)),
            Socket::Unix(stream) => stream.set_read_timeout(Some(timeout)),
        }
    }

    fn nonblocking(&self, on: bool) -> io::Result<()> {
        match self {
            Socket::Tcp(stream) => stream.set_nonblocking(on),
            Socket::Unix(stream) => stream.set_nonblocking(on),
        }
    }

    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(stream) => stream.read(into),
            Socket::Unix(stream) => stream.read(into),
        }
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Socket::Tcp(stream) => stream.write_all(bytes),
            Socket::Unix(stream) => stream.write_all(bytes),
        }
    }
}
