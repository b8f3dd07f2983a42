//! A server by its URL, and a plain blocking connection to it, for what needs no toolkit: setting up,
//! clearing away, measuring.

pub(crate) mod resp;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::{Context, bail};

use resp::{Cursor, Token, encode};

/// Longest wait for a reply outside the measured loops: a server that takes longer is stuck.
const REPLY_TIMEOUT: Duration = Duration::from_secs(30);

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    /// `host:port`.
    Tcp(String),
    /// A Unix socket's path.
    Unix(String),
}

/// A server.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    /// How the report calls it.
    pub(crate) label: String,
    address: Address,
    database: Option<String>,
    /// AUTH's arguments: a password, or a user name and a password.
    credentials: Vec<String>,
}

/// A connected stream socket of either kind, blocking.
#[derive(Debug)]
pub(crate) enum Stream {
    /// Over TCP.
    Tcp(TcpStream),
    /// Over a Unix socket.
    Unix(UnixStream),
}

impl Server {
    /// Reads `redis://[[user]:password@]host[:port][/database]` or `unix:PATH`.
    pub(crate) fn from_url(url: &str) -> anyhow::Result<Self> {
        let mut server = Self {
            label: url.to_owned(),
            address: Address::Unix(String::new()),
            database: None,
            credentials: Vec::new(),
        };
        if let Some(rest) = url.strip_prefix("redis://") {
            let (userinfo, place) = rest.rsplit_once('@').unwrap_or(("", rest));
            let (host, database) = place.split_once('/').unwrap_or((place, ""));
            let host = if host.contains(':') { host.to_owned() } else { format!("{host}:6379") };
            server.address = Address::Tcp(host);
            server.database = (!database.is_empty()).then(|| database.to_owned());
            let credentials = userinfo.split(':').filter(|part| !part.is_empty());
            server.credentials = credentials.map(str::to_owned).collect();
        } else if let Some(path) = url.strip_prefix("unix:") {
            server.address = Address::Unix(format!("/{}", path.trim_start_matches('/')));
        } else {
            bail!("'{url}' is not an address known here; write redis://HOST:PORT or unix:PATH");
        }
        Ok(server)
    }

    /// Opens a connection, authenticated where the URL has a password.
    pub(crate) fn connect(&self) -> anyhow::Result<Stream> {
        let stream = match &self.address {
            Address::Tcp(host) => {
                let stream =
                    TcpStream::connect(host).with_context(|| format!("can't reach {}", self.label))?;
                stream.set_nodelay(true)?;
                Stream::Tcp(stream)
            }
            Address::Unix(path) => Stream::Unix(
                UnixStream::connect(path).with_context(|| format!("can't reach {}", self.label))?,
            ),
        };
        stream.set_read_timeout(Some(REPLY_TIMEOUT))?;
        let mut control = Control { stream, label: self.label.clone(), bytes: Vec::new() };
        if !self.credentials.is_empty() {
            let mut auth: Vec<&[u8]> = vec![b"AUTH"];
            auth.extend(self.credentials.iter().map(String::as_bytes));
            control.call(&auth)?;
        }
        if let Some(database) = &self.database {
            control.call(&[b"SELECT", database.as_bytes()])?;
        }
        Ok(control.stream)
    }

    /// Opens a connection for commands outside the measured loops.
    pub(crate) fn control(&self) -> anyhow::Result<Control> {
        Ok(Control { stream: self.connect()?, label: self.label.clone(), bytes: Vec::new() })
    }

    /// The process whose processor time can be read: the server's, if it runs on this machine.
    pub(crate) fn local_pid(&self) -> anyhow::Result<Option<u32>> {
        let local = match &self.address {
            Address::Tcp(host) => host.starts_with("127.") || host.starts_with("localhost"),
            Address::Unix(_) => true,
        };
        if !local {
            return Ok(None);
        }
        let info = self.control()?.call(&[b"INFO", b"server"])?;
        let info = String::from_utf8_lossy(&info);
        let pid = info.lines().find_map(|line| line.strip_prefix("process_id:"));
        Ok(pid.and_then(|pid| pid.trim().parse().ok()))
    }
}

impl Stream {
    fn set_read_timeout(&self, timeout: Option<Duration>) -> std::io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.set_read_timeout(timeout),
            Self::Unix(stream) => stream.set_read_timeout(timeout),
        }
    }

    /// Makes reads and writes return at once.
    pub(crate) fn set_nonblocking(&self) -> std::io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.set_nonblocking(true),
            Self::Unix(stream) => stream.set_nonblocking(true),
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Unix(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// One command at a time, for setting up and clearing away.
#[derive(Debug)]
pub(crate) struct Control {
    stream: Stream,
    label: String,
    bytes: Vec<u8>,
}

impl Control {
    /// Sends one command and returns its reply's first string or number (empty for null).
    pub(crate) fn call(&mut self, arguments: &[&[u8]]) -> anyhow::Result<Vec<u8>> {
        Ok(self.call_all(arguments)?.into_iter().next().unwrap_or_default())
    }

    /// Sends one command and returns all strings and numbers of its reply, whatever their nesting.
    pub(crate) fn call_all(&mut self, arguments: &[&[u8]]) -> anyhow::Result<Vec<Vec<u8>>> {
        let mut request = Vec::new();
        encode(&mut request, arguments);
        self.stream.write_all(&request)?;
        let name = String::from_utf8_lossy(arguments[0]).into_owned();
        self.reply().with_context(|| format!("{name} on {}", self.label))
    }

    /// Sends `count` copies of an encoded request, `depth` at a time, and waits for their replies.
    pub(crate) fn repeat(&mut self, request: &[u8], count: usize, depth: usize) -> anyhow::Result<()> {
        for sent in (0..count).step_by(depth) {
            let batch = depth.min(count - sent);
            self.send_batch(&request.repeat(batch), batch)?;
        }
        Ok(())
    }

    /// Sends `count` encoded requests at once and waits for their replies.
    pub(crate) fn send_batch(&mut self, requests: &[u8], count: usize) -> anyhow::Result<()> {
        self.stream.write_all(requests)?;
        (0..count).try_for_each(|_| self.reply().map(drop))
    }

    fn reply(&mut self) -> anyhow::Result<Vec<Vec<u8>>> {
        loop {
            let mut cursor = Cursor::new(&self.bytes);
            if let Some(reply) = whole_reply(&mut cursor).transpose() {
                let used = cursor.position();
                self.bytes.drain(..used);
                return reply;
            }
            let mut buffer = [0; 16 * 1024];
            match self.stream.read(&mut buffer) {
                Ok(0) => bail!("{} closed the connection", self.label),
                Ok(n) => self.bytes.extend_from_slice(&buffer[..n]),
                Err(error) => return Err(error).with_context(|| format!("no reply from {}", self.label)),
            }
        }
    }
}

/// Passes one reply, if it is whole, and returns its strings and numbers.
fn whole_reply(cursor: &mut Cursor<'_>) -> anyhow::Result<Option<Vec<Vec<u8>>>> {
    let mut missing = 1;
    let mut strings = Vec::new();
    while missing > 0 {
        let Some(token) = cursor.next_token()? else { return Ok(None) };
        missing -= 1;
        match token {
            Token::Array(items) => missing += items.unwrap_or(0),
            Token::Bulk(text) => strings.push(text.unwrap_or_default().to_vec()),
            Token::Line(text) => strings.push(text.to_vec()),
        }
    }
    Ok(Some(strings))
}

/// Processor time that a process has used so far, in user and system mode; `None` if it is gone.
pub(crate) fn processor_time(pid: u32) -> Option<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    // utime is the 14th field of the line, the 12th after the command's name; stime follows it.
    let user: u64 = fields.nth(11)?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    // Linux counts these in ticks of 10 ms on every architecture that it shows to programs.
    Some(Duration::from_millis((user + system) * 10))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(url: &str, expected: Option<(Address, &str, Option<&str>)>) {
        let found = Server::from_url(url).ok();
        let found = found.map(|server| (server.address, server.credentials.join(" "), server.database));
        assert_eq!(
            found,
            expected.map(|(address, credentials, database)| {
                (address, credentials.to_owned(), database.map(str::to_owned))
            })
        );
    }

    #[test]
    fn urls() {
        check("redis://127.0.0.1:7000", Some((Address::Tcp("127.0.0.1:7000".into()), "", None)));
        check("redis://:s@h:1/3", Some((Address::Tcp("h:1".into()), "s", Some("3"))));
        check("redis://localhost/", Some((Address::Tcp("localhost:6379".into()), "", None)));
        check("redis://:pass@host:1", Some((Address::Tcp("host:1".into()), "pass", None)));
        check("redis://user:pass@host:1", Some((Address::Tcp("host:1".into()), "user pass", None)));
        check("unix:/tmp/a.sock", Some((Address::Unix("/tmp/a.sock".into()), "", None)));
        check("unix:///tmp/a.sock", Some((Address::Unix("/tmp/a.sock".into()), "", None)));
        check("http://example.org", None);
    }

    #[test]
    fn this_process_uses_processor_time() {
        assert!(processor_time(std::process::id()).is_some());
        assert_eq!(processor_time(u32::MAX), None);
    }
}
